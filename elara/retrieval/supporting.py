"""Find how many words a passage and a sentence share, and what speaks against it as its source.

"Take 5 mg" and "do not take 50 mg" have nearly the same vector. So numbers with their units,
negations, directions (more, less) and names are compared by themselves. The rules are coarse, and
in doubt find something: a source that is not named does less harm than a wrong one.
"""

from __future__ import annotations

import re
from functools import lru_cache

from elara.text.wordlist import SUFFIXES, is_word

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_LONG_WORD = re.compile(r"[^\W\d_]{3,}")
_BEGINNING = 6  # letters of a word that have to agree: `infected` and `infection` do

_COUNTED = "two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
_COUNTS = {word: str(n) for n, word in enumerate(_COUNTED.split("|"), 2)}
_UNITS = {
    "%": "% percent per",
    "kg": "kg kilogram",
    "g": "g gram gramme",
    "mg": "mg milligram milligramme",
    "µg": "µg μg ug mcg microgram microgramme",
    "l": "l liter litre",
    "ml": "ml milliliter millilitre",
    "year": "year yr",
    "month": "month",
    "week": "week wk",
    "day": "day",
    "hour": "hour hr h",
    "minute": "minute min",
    "mm": "mm millimeter millimetre",
    "cm": "cm centimeter centimetre",
    "inch": "inch",
    "mmol": "mmol millimole",
    "unit": "unit iu",
}
_UNIT = {name: unit for unit, names in _UNITS.items() for name in names.split()}
_NUMBER = re.compile(rf"(?<![\w.])(\d+(?:[.,]\d+)*|(?:{_COUNTED})\b)(?:[\s-]{{0,2}}(%|[a-zµμ]+))?")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_NOT = re.compile(r"\b(?:no|not|never|neither|nor|none|without|cannot|nothing)\b|n['’]t\b")
_UP = re.compile(r"\b(?:increas|rais|ris(?:e|ing)|higher|elevat|greater|improv|gain)")
_DOWN = re.compile(r"\b(?:decreas|reduc|lower|fewer|less\b|fall|declin|drop|wors|loss|los[ei])")
_MEDICAL = re.compile(rf"[^\W\d_]{{3,}}(?:{SUFFIXES})s?")


def content(text: str) -> frozenset[str]:
    """The beginnings of the words of three letters and more.

    Args:
        text: any text.
    """
    return frozenset(word[:_BEGINNING] for word in _LONG_WORD.findall(text.casefold()))


def overlap(sentence: str, passage: str) -> float:
    """The share of a sentence's words that a passage has, 0 where the sentence has none.

    Args:
        sentence: of an answer.
        passage: its whole text, title included.
    """
    words = content(sentence)
    return len(words & content(passage)) / len(words) if words else 0.0


def contradiction(sentence: str, likest: str, passage: str) -> str:
    """What a sentence says otherwise than a passage: `number`, `negation`, `direction`, `name`.

    Args:
        sentence: of an answer.
        likest: the sentence of the passage that is most like it.
        passage: its whole text, title included.

    Returns:
        The first that was found, or "". A name is a word with a medical ending, or one of no word
        list; the name of a common drug is in these lists, so that aspirin in the place of
        ibuprofen is not seen here.
    """
    sentence, likest, passage = (t.casefold() for t in (sentence, likest, passage))
    known = _numbers(passage)
    for number, unit in _numbers(sentence):
        units = {u for n, u in known if n == number}
        if not units or (unit and not units & {unit, ""}):
            return "number"
    if len(_NOT.findall(sentence)) % 2 != len(_NOT.findall(likest)) % 2:
        return "negation"
    said, told = (_direction(text) for text in (sentence, likest))
    if said * told < 0:
        return "direction"
    missing = (w for w in _WORD.findall(sentence) if w[:_BEGINNING] not in _beginnings(passage))
    return "name" if any(map(_is_technical, missing)) else ""


def _numbers(text: str) -> set[tuple[str, str]]:
    found = _NUMBER.findall(_THOUSANDS.sub("", text))
    return {
        (_COUNTS.get(number, number), _UNIT.get(unit, _UNIT.get(unit.removesuffix("s"), "")))
        for number, unit in found
    }


def _direction(text: str) -> int:
    """1 where a text speaks of more, -1 of less, 0 of neither or both."""
    return bool(_UP.search(text)) - bool(_DOWN.search(text))


@lru_cache(maxsize=256)
def _beginnings(text: str) -> frozenset[str]:
    return frozenset(w[:_BEGINNING] for w in _WORD.findall(text))


def _is_technical(word: str) -> bool:
    if len(word) < 5 or word.removesuffix("s") in _UNIT:
        return False
    return _MEDICAL.fullmatch(word) is not None or not is_word(word)
