"""Read numbers with their units from a text, ranges as both ends, and convert them.

The few units of a ward are listed here rather than taken from a library of units: kg below a
fraction bar is body weight and no mass, so that "10 mg/kg" is no bare number; the spellings (mcg,
µg, "two liters", "0,5 mg") would have to be listed for any library.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

# What is measured; then one spelling or several, and how much of the first line's unit it is.
_UNITS: dict[str, dict[str, int | str]] = {
    "mass": {
        "mg milligram milligrams milligramme milligrammes": 1,
        "g gm gram grams gramme grammes": 1000,
        "kg kilo kilos kilogram kilograms": 1_000_000,
        "mcg ug μg microgram micrograms microgramme microgrammes": "1/1000",
        "ng nanogram nanograms": "1/1000000",
    },
    "volume": {
        "ml milliliter milliliters millilitre millilitres cc": 1,
        "l liter liters litre litres": 1000,
        "dl deciliter decilitre": 100,
        "μl ul microliter microlitre": "1/1000",
    },
    "time": {
        "s sec secs second seconds": 1,
        "min mins minute minutes": 60,
        "h hr hrs hour hours": 3600,
        "d day days": 86_400,
        "week weeks wk wks": 604_800,
        "month months": 2_629_800,
        "year years yr yrs": 31_557_600,
    },
    "pressure": {"mmhg": 1, "kpa": "750062/100000"},
    "water": {"cmh2o": 1},
    "amount": {"mmol millimole millimoles": 1, "mol": 1000, "μmol umol micromol": "1/1000"},
    "charge": {"meq": 1},
    "activity": {"unit units iu u": 1},
    "percent": {"% percent": 1},
    "celsius": {"°c degc": 1},
    "fahrenheit": {"°f degf": 1},
    "energy": {"j joule joules": 1},
    "joule per 1000": {"kcal": 1},
    "length": {"mm millimeter millimeters": 1, "cm centimeter centimeters": 10},
    "puff": {"puff puffs": 1},
    "tablet": {"tablet tablets": 1},
    "drop": {"drop drops": 1},
    "": {"beats breaths cells dose times x": 1},
}
_WORDS: dict[str, int | Fraction] = {
    **{"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8},
    **{"nine": 9, "ten": 10, "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30},
    **{"half a": Fraction(1, 2), "an": 1, "a": 1},
}
_SPACED = {
    r"mm\s*hg": "mmhg",
    r"cm\s*h2o": "cmh2o",
    r"(?:international|i\.u\.)\s*units?": "iu",
    r"(?:°|º|degrees?\s*)\s*c(?:elsius)?\b": "°c",
    r"(?:°|º|degrees?\s*)\s*f(?:ahrenheit)?\b": "°f",
    r"per\s+cent": "percent",
    r"(?:once\s+)?(?:daily|nightly|(?:each|every|a|per)\s+(?:day|morning|evening|night)|"
    r"(?:every|q)\s*24\s*h(?:ours|rs?)?)\b": "/day",
    r"(?:beats\s+per\s+minute|breaths\s+per\s+minute|bpm)\b": "/min",
}
# A drug and its route may stand before the word: "40 mg of prednisolone by mouth once a day".
_LATER = re.compile(
    r"(?:(?!\b(?:twice|thrice|times|doses|divided|and|or|then|for|after|before)\b)[^,.;:)/\d]){0,40}?(?:/day|\b(?:once\s+)?"
    r"(?:daily|nightly|(?:each|every|a|per)\s+(?:day|morning|evening|night)))\b"
)
_DOSED = frozenset(("mass", "volume", "amount", "activity", "puff", "tablet", "drop"))
_BELOW_KG = "weight"
_DAILY = "/day"


def _table() -> dict[str, tuple[str, Fraction]]:
    return {
        name: (base, Fraction(factor))
        for base, units in _UNITS.items()
        for names, factor in units.items()
        for name in names.split()
    }


_KNOWN = _table()
_NAMES = "|".join(sorted(map(re.escape, _KNOWN), key=len, reverse=True))
_ONE = rf"(?:{_NAMES})(?![\w%])"
_ALONE = r"(?:\s*/|\s+per\s+|\s+an?\s+(?=min|hour|day|week))\s*"
_UNIT = rf"(?:{_ONE}(?:{_ALONE}(?:24\s*)?{_ONE})*|(?:{_ALONE}(?:24\s*)?{_ONE})+)"
_DIGITS = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,3}(?: 000)+|\d+(?:[.,]\d+)?"
_NUMBER = rf"(?:(?:{_DIGITS})(?:\s*million)?|\b(?:{'|'.join(_WORDS)})\b)"
_QUANTITY = re.compile(
    rf"(?<![\w.,:])(?P<low>{_NUMBER})(?:\s*(?P<first>{_UNIT}))?"
    rf"(?:\s*(?P<join>-|\bto\b|\bor\b|\band\b|/)\s*(?P<high>{_NUMBER}))?\s*-?(?P<unit>{_UNIT})?"
)


@dataclass(frozen=True)
class Quantity:
    """A number, or a range, with its unit.

    Args:
        low: lower end, in the base unit of what is measured.
        high: upper end; the same for a single number.
        measured: what is measured, such as `mass` or `mass/weight`.
        start: where it begins in the text, in characters.
        end: where it ends.
    """

    low: float
    high: float
    measured: str
    start: int = 0
    end: int = 0

    def within(self, low: float, high: float, unit: str) -> bool:
        """Whether both ends lie between two numbers of a unit.

        A dose for a day and a single dose are two things: "40 mg a day" lies within `mg/day`
        alone, "40 mg" within `mg` alone. What is no dose may be told for a day: a rise of
        "8 mmol/L a day".

        Args:
            low: the least, in `unit`.
            high: the most, in `unit`.
            unit: such as `mg` or `mL/kg`.

        Raises:
            ValueError: the unit is not known.
        """
        least, most = quantity(low, unit), quantity(high, unit)
        slack = 1e-9 * max(abs(most.high), 1e-9)
        return (
            self.measured in (least.measured, _told_daily(least.measured))
            and least.low - slack <= self.low
            and self.high <= most.high + slack
        )


def quantity(number: float, unit: str) -> Quantity:
    """A number with its unit, in the base unit.

    Args:
        number: in `unit`.
        unit: such as `mg` or `mL/kg`; "" for a bare number.

    Raises:
        ValueError: the unit is not known.
    """
    if not unit:
        return Quantity(number, number, "")
    prepared = _prepared(f"1 {unit.strip()}")[1:].strip()
    if not re.fullmatch(_UNIT, prepared):
        known = ", ".join(names.split()[0] for units in _UNITS.values() for names in units)
        raise ValueError(f"The unit `{unit}` is not known; use one of {known}, joined by /.")
    measured, factor = _unit(prepared)
    value = float(Fraction(str(number)) * factor)
    if measured == "fahrenheit":
        value, measured = (value - 32) / 1.8, "celsius"
    return Quantity(value, value, measured)


def quantities(text: str) -> Iterator[Quantity]:
    """The numbers of a text.

    Args:
        text: plain text.

    Yields:
        One quantity for each number or range, also for those without a unit (`measured` is "").
        "90/60 mm Hg" gives two. A ratio such as 1:1000 gives none.
    """
    lowered = _prepared(text)
    for match in _QUANTITY.finditer(lowered):
        if match["low"] in ("a", "an") and not (match["first"] or match["unit"]):
            continue
        if re.match(r":\d", lowered[match.end() :]):
            continue
        later = bool(_LATER.match(lowered, match.end()))
        yield from (_daily(q) if later else q for q in _read(match))


def _daily(read: Quantity) -> Quantity:
    """The same for a day, if a dose was read."""
    return replace(read, measured=f"{read.measured}{_DAILY}") if _is_dose(read.measured) else read


def _told_daily(measured: str) -> str:
    return measured if _is_dose(measured) else f"{measured}{_DAILY}"


def _is_dose(measured: str) -> bool:
    what, _, below = measured.partition("/")
    return what in _DOSED and below in ("", _BELOW_KG)


def _prepared(text: str) -> str:
    """Lower case, with each unit of two words in one, padded: places stay the same."""
    text = text.lower().replace("µ", "μ")
    for spaced, one in _SPACED.items():
        padded = partial(_padded, one)
        text = re.sub(rf"(?<=[\d\s]){spaced}", padded, text)
    return text


def _padded(one: str, match: re.Match[str]) -> str:
    return one.ljust(len(match[0]))


def _read(match: re.Match[str]) -> Iterator[Quantity]:
    first, unit = match["first"] or match["unit"] or "", match["unit"] or match["first"] or ""
    measured, factor = _unit(unit.strip())
    low = _number(match["low"]) * (_unit(first.strip())[1] if first else factor)
    high = _number(match["high"]) * factor if match["high"] else low
    place = match.span()
    if match["join"] in ("/", "or", "and") and not (match["join"] == "and" and _between(match)):
        yield _quantity(low, low, measured, place)
        yield _quantity(high, high, measured, place)
    else:
        yield _quantity(min(low, high), max(low, high), measured, place)


def _between(match: re.Match[str]) -> bool:
    return match.string[: match.start()].rstrip().endswith("between")


def _quantity(low: Fraction, high: Fraction, measured: str, place: tuple[int, int]) -> Quantity:
    ends = float(low), float(high)
    if measured == "fahrenheit":
        ends, measured = ((ends[0] - 32) / 1.8, (ends[1] - 32) / 1.8), "celsius"
    return Quantity(*ends, measured, *place)


def _number(written: str) -> Fraction:
    if written in _WORDS:
        return Fraction(_WORDS[written])
    digits, million = re.subn(r"\s*million$", "", written.replace(" 000", "000"))
    if re.fullmatch(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?", digits):
        digits = digits.replace(",", "")
    return Fraction(digits.replace(",", ".")) * (1_000_000 if million else 1)


def _unit(written: str) -> tuple[str, Fraction]:
    """What is measured, and how much of the base unit one of it is."""
    above, *below = re.split(_ALONE, written) if written else [""]
    base, factor = _KNOWN.get(above, ("", Fraction(1)))
    names, daily = [], ""
    for part in below:
        match = re.match(r"(\d*)\s*(.*)", part.strip())
        count, name = (match[1], match[2]) if match else ("", part)
        what, size = _KNOWN[name]
        if size * int(count or 1) == _KNOWN["day"][1] and what == "time":
            what, daily = "", _DAILY
        elif what == "mass" and name.startswith("k"):
            what, size = _BELOW_KG, Fraction(1)
        if what:
            names.append(what)
            factor /= size * int(count or 1)
    return "/".join([base, *sorted(names)]) + daily, factor
