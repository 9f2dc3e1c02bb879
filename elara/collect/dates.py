"""Read publication dates as precisely as the source states them, and no more."""

from __future__ import annotations

import datetime
import re
from functools import lru_cache

_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {m: n for n, name in enumerate(_NAMES, 1) for m in (name, str(n), f"{n:02}")}
_MEDLINE = re.compile(r"\b([12]\d{3})\b(?:\s+([A-Za-z]{3,})(?:\s+(\d{1,2})\b)?)?")


@lru_cache(maxsize=1 << 14)  # records share their dates
def partial_date(year: str, month: str = "", day: str = "") -> str:
    """Put a date together from its parts.

    Args:
        year: four digits; anything else gives "".
        month: number or English name, or "" where unknown.
        day: number, or "" where unknown.

    Returns:
        `2021`, `2021-11` or `2021-11-05`. A month or day that cannot be is left out.
    """
    year = year.strip()
    if not re.fullmatch("[0-9]{4}", year):
        return ""
    number = _MONTHS.get(month.strip()[:3].lower())
    if not number:
        return year
    try:
        return datetime.date(int(year), number, int(day)).isoformat()
    except ValueError:
        return f"{year}-{number:02}"


def medline_date(text: str) -> str:
    """Read a free-text MEDLINE date; a range gives its beginning, a season its year.

    Args:
        text: for example `1998 Dec-1999 Jan` or `2000 Spring`.

    Source: MedlineDate, https://www.nlm.nih.gov/bsd/licensee/elements_descriptions.html
    """
    found = _MEDLINE.search(text)
    return partial_date(found[1], found[2] or "", found[3] or "") if found else ""


def iso_date(text: str) -> str:
    """The date at the beginning of an ISO 8601 text, or "".

    Args:
        text: `2021`, `2021-11`, `2021-11-05T10:00:00Z` or `2021/11/05`.
    """
    parts = re.match(r"(\d{4})(?:[-/](\d{1,2})(?:[-/](\d{1,2}))?)?(?!\d)", text.strip())
    return partial_date(parts[1], parts[2] or "", parts[3] or "") if parts else ""
