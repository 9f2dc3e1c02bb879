"""Decide in which language a text is written, by the small words that every sentence needs.

A page may state no language, or a wrong one: a Spanish page that is labelled English would get
English questions. A word that several of the languages share counts for each of them, and tells
them apart the less.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import chain

_BEGINNING = 2000  # characters that are read
_FEWEST = 3  # small words that a decision needs
_ENOUGH = 0.12  # of all words
_AHEAD = 1.5  # times what the next language has, by words that few share


# Languages without questions stand here so that they are told from those with.
_SMALL_WORDS = {
    "en": "the of and to in is that for with are was were be by this from or which not have has it "
    "at on can an as their may been these you your if when",
    "es": "el la los las de del y en que por con para una un es se al como más su o pero son fue "
    "puede está no este esta entre también sin sobre ser ha han hay sus si lo "
    "hasta desde según cuando muy",
    "fr": "le la les des de du et en est que qui dans pour par une un sur au aux avec sont ce "
    "cette ou plus il elle être ont été ne pas se peut chez vous l d qu n s j c ces a autres lors",
    "pt": "o a os as de do da dos das e em que por com para uma um é se ao como mais não são foi "
    "na no nas nos pela pelo ou ser pode está também entre seu sua seus há sem à às",
    "sw": "ya wa na kwa ni za la katika hii kuwa huu hizi cha vya au kama ambayo yake wao watu "
    "hilo hiyo ili lakini pia sana yenye mwa pa bila baada kabla vya la kutoka zaidi hadi kwenye "
    "ikiwa wakati kwamba kila je una nina bado",
    "de": "der die das und in von zu mit den dem des ist im für auf ein eine nicht sich wurde "
    "werden sind bei als auch oder wird durch nach",
    "it": "il lo la gli le di del della e in che per con una un è si da al come più sono nel "
    "nella dei delle non anche essere stato",
    "ha": "da a na ta kuma cikin ya ba ga ko daga su wanda don ke sun aka an mai masu tare zuwa "
    "suna ma cewa suka yi ne wasu yana wannan kamar wani kan za",
    "lg": "mu ku n nga ne ng era oba nti bw bwe y bwa kw ky olw okuva okuba kya obw ya by gw z "
    "buli ate ba wa",
    "ln": "ya na oyo mpe bato po ba mingi ete ezali yango te to moko eza soki mpona ndenge bango "
    "bazali kasi esika nyonso kati lokola",
    "rw": "mu n ku na y ko ya muri no yo cyangwa abantu by ni cya ry byo bwo w kandi kuri ari bwa "
    "bw nk cy kugira uko kuba wa iyo",
    "so": "oo ee iyo ah la ay ayaa ku in u ka uu si loo waxaa waxa kale laga soo ama waxay ugu "
    "aan inay sida aad isku wax waa ilaa leh",
    "zu": "futhi ukuthi noma kanye ukuze uma lapho abantu phakathi ngenxa kodwa kube njengoba "
    "lokhu kufanele ngaphandle wonke kusukela kuye ezinye",
    "nl": "de het een en van in is dat op te met voor zijn niet aan er die bij ook of wordt werd "
    "door naar uit",
}


def language_of(text: str, stated: str = "und") -> str:
    """The language of a text.

    Args:
        text: title and text of an article; its beginning is read.
        stated: ISO 639-1 code of the language that its source states, or `und`.

    Returns:
        ISO 639-1 code: what the words say, if they say it clearly; else what is stated.
    """
    words = text[:_BEGINNING].casefold().replace("’", " ").replace("'", " ").split()
    codes = _codes()
    known = [codes[word] for word in words if word in codes]
    if sum(stated in languages for languages in known) > 0.3 * len(words):
        return stated  # the common case: no other language needs to be weighed
    counts = Counter(chain.from_iterable(known))
    own = dict.fromkeys([*counts, "und", ""], 0.0)
    for languages in known:
        for code in languages:
            own[code] += 1 / len(languages)
    first, second = sorted(own, key=lambda code: -own[code])[:2]
    clear = counts[first] >= max(_FEWEST, _ENOUGH * len(words))
    ahead = own[first] > _AHEAD * own[second]
    if clear and (ahead or first == stated):
        return first
    return stated


@cache
def _codes() -> dict[str, tuple[str, ...]]:
    """The languages of each small word."""
    codes: dict[str, tuple[str, ...]] = {}
    for code, words in _SMALL_WORDS.items():
        for word in dict.fromkeys(words.split()):
            codes[word] = (*codes.get(word, ()), code)
    return codes
