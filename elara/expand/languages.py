"""Decide in which language a text is written, by the small words that every sentence needs.

A page may state no language, or a wrong one: a Spanish page that is labelled English would get
English questions. Words that two of the languages share count for both.
"""

from __future__ import annotations

from functools import cache

_BEGINNING = 800  # characters that are read
_FEWEST = 3  # small words that a decision needs
_ENOUGH = 0.12  # of all words
_AHEAD = 1.5  # times as many as of the next language


# Languages without questions stand here so that they are told from those with.
_SMALL_WORDS = {
    "en": "the of and to in is that for with are was were be by this from or which not have has it "
    "at on can an as their may been these you your if when",
    "es": "el la los las de del y en que por con para una un es se al como más su o pero son fue "
    "puede está no este esta entre también sin sobre ser",
    "fr": "le la les des de du et en est que qui dans pour par une un sur au aux avec sont ce "
    "cette ou plus il elle être ont été ne pas se peut chez vous",
    "pt": "o a os as de do da dos das e em que por com para uma um é se ao como mais não são foi "
    "na no nas nos pela pelo ou ser pode está também entre",
    "sw": "ya wa na kwa ni za la katika hii kuwa huu hizi cha vya au kama ambayo yake wao watu "
    "hilo hiyo ili lakini pia sana yenye mwa pa bila baada kabla",
    "de": "der die das und in von zu mit den dem des ist im für auf ein eine nicht sich wurde "
    "werden sind bei als auch oder wird durch nach",
    "it": "il lo la gli le di del della e in che per con una un è si da al come più sono nel "
    "nella dei delle non anche essere stato",
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
    words = text[:_BEGINNING].casefold().split()
    small = _sets()
    if stated in small and sum(map(small[stated].__contains__, words)) > 0.3 * len(words):
        return stated  # the common case: no other language needs to be counted
    counts = {code: sum(map(known.__contains__, words)) for code, known in small.items()}
    first, second = sorted(counts, key=lambda code: -counts[code])[:2]
    clear = counts[first] >= max(_FEWEST, _ENOUGH * len(words))
    ahead = counts[first] > _AHEAD * counts[second]
    if clear and (ahead or first == stated):
        return first
    return stated


@cache
def _sets() -> dict[str, frozenset[str]]:
    return {code: frozenset(words.split()) for code, words in _SMALL_WORDS.items()}
