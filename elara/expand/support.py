"""Find what a conclusion states that the findings in its question do not show.

An example whose answer goes beyond what its question shows teaches a model to invent. Every number,
every technical term and every direction (more, less, no difference) has to stand in the findings.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

from elara.expand.cautions import drugs
from elara.expand.drugnames import translated_drugs
from elara.text.wordlist import SUFFIXES, is_word

_NUMBER = re.compile(r"\d+(?:[.,·]\d+)*")
_WORD = re.compile(r"[^\W\d_]{4,}")
# Endings that only medicine has, as other languages write them, too.
_MEDICAL = re.compile(
    rf"[^\W\d_]{{3,}}(?:{SUFFIXES}|[eé]mi[ae]|pat[ií]a|pathie|[eo]ctom[ií]a|"
    r"[eo]ctomie|scop[ií]a|scopie|graf[ií]a|graphie|p[eé]ni[ae]|algie|urie|pl[eé]gi[ae]|plejia|"
    r"coc[oa]s?|coques?|bactéri[ea]s?|iti|emi|osi)"
)

# How each language says that something is more, that it is less, and that it is not.
_DIRECTIONS = {
    "en": (
        r"\b(?:increas|higher|great|rise|rais|elevat|more|improv|better|superior|gain|up)\w*",
        r"\b(?:decreas|lower|reduc|fewer|less|fall|fell|declin|drop|wors|inferior|prevent|down|loss)"
        r"\w*",
        r"\b(?:no|not|nor|without|neither|none|fail\w*|lack\w*|similar\w*|un\w+)\b",
    ),
    "es": (
        r"\b(?:aument|increment|mayor|más\b|superior|mejor|elev|crec|ascen|sub(?:e|i))\w*",
        r"\b(?:disminu|reduc|reduj|menor|menos|inferior|baj|descen|peor|empeor|previn|previen|"
        r"prevenir|pérdida|decre)\w*",
        r"\b(?:no|ni|sin|ningun\w*|ningún|tampoco|nunca|falta|ausencia|ausente\w*|similar\w*)\b",
    ),
    "fr": (
        r"\b(?:augment|accr|hausse|plus\b|supérieur|meilleur|mieux|amélior|élev|major)\w*",
        r"\b(?:diminu|rédu|baiss|moins|moindre|inférieur|pire|aggrav|préven|prévien|perte|"
        r"faible)\w*",
        r"\b(?:ne\b|n['’]|pas\b|ni\b|sans\b|non\b|aucun\w*|jamais|absence|similaire\w*)",
    ),
    "pt": (
        r"\b(?:aument|increment|maior|mais\b|superior|melhor|elev|cresc|ascen|subi)\w*",
        r"\b(?:diminu|redu[zç]|menor|menos|inferior|baix|queda|caiu|pior|previn|previne|prevenir|"
        r"perda|decr)\w*",
        r"\b(?:não|nem|sem|nenhum\w*|tampouco|nunca|falta|ausência|ausente\w*|similar\w*|"
        r"semelhante\w*)\b",
    ),
    "sw": (
        r"\b(?:\w*ongez\w*|zaidi|\w*kubwa|juu|bora|\w*panda)\b",
        r"\b(?:\w*pungu\w*|\w*dogo|chini|\w*zui[al]\w*|\w*shuka|mbaya)\b",
        r"\b(?:si|sio|siyo|bila|hakuna|hapana|ha(?:i|u|wa|zi|vi|ku|tu)(?:ku|ta|ja|na|wez)\w*)\b",
    ),
}


def unsupported(conclusion: str, findings: str, language: str = "en") -> str:
    """What a conclusion states that the findings do not show, or "".

    A technical term is a drug, or in English a word of no general word list (an organism, a
    gene), in other languages one with an ending that only medicine has.

    Args:
        conclusion: the answer.
        findings: what the question shows, title included.
        language: ISO 639-1 code of both.
    """
    shown = Counter(_NUMBER.findall(findings))
    for number in _NUMBER.findall(conclusion):
        if not shown[number]:
            return str(number)
    known = {word.removesuffix("s") for word in _words(findings)}
    for word in _words(conclusion):
        if word.removesuffix("s") not in known and _technical(word, language):
            return str(word)
    for direction in _directions(language):
        if (found := direction.search(conclusion)) and not direction.search(findings):
            return str(found[0])
    return ""


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _technical(word: str, language: str) -> bool:
    """Other word lists than the English one lack too many inflected forms to be trusted."""
    if translated_drugs(word, language, drugs(word)):
        return True
    return not is_word(word) if language == "en" else _MEDICAL.fullmatch(word) is not None


@cache
def _directions(language: str) -> list[re.Pattern[str]]:
    return [re.compile(form, re.IGNORECASE) for form in _DIRECTIONS[language]]
