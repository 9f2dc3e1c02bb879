"""Read what fields of a record say: dates, languages and identifiers."""

from __future__ import annotations

import datetime
import re
from functools import lru_cache

_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {m: n for n, name in enumerate(_NAMES, 1) for m in (name, str(n), f"{n:02}")}
_MEDLINE = re.compile(r"\b([12]\d{3})\b(?:\s+([A-Za-z]{3,})(?:\s+(\d{1,2})\b)?)?")
NO_PMID = (
    "no PMID, which is a number of at most 8 digits that begins with 1 to 9: fetch the record again"
)
_PMID = re.compile("[1-9][0-9]{0,7}")
# Three-letter codes and English names of the languages that medical sources use most.
_CODES = {
    "eng": "en", "fre": "fr", "fra": "fr", "ger": "de", "deu": "de", "spa": "es", "ita": "it",
    "por": "pt", "rus": "ru", "jpn": "ja", "chi": "zh", "zho": "zh", "kor": "ko", "pol": "pl",
    "dut": "nl", "nld": "nl", "swe": "sv", "dan": "da", "nor": "no", "nob": "nb", "nno": "nn",
    "fin": "fi", "cze": "cs", "ces": "cs", "slo": "sk", "slk": "sk", "hun": "hu", "rum": "ro",
    "ron": "ro", "bul": "bg", "ukr": "uk", "gre": "el", "ell": "el", "tur": "tr", "heb": "he",
    "ara": "ar", "per": "fa", "fas": "fa", "hin": "hi", "tha": "th", "vie": "vi", "ind": "id",
    "may": "ms", "msa": "ms", "hrv": "hr", "srp": "sr", "scr": "hr", "scc": "sr", "slv": "sl",
    "lit": "lt", "lav": "lv", "est": "et", "ice": "is", "isl": "is", "cat": "ca", "glg": "gl",
    "baq": "eu", "eus": "eu", "geo": "ka", "kat": "ka", "arm": "hy", "hye": "hy", "aze": "az",
    "uzb": "uz", "kaz": "kk", "afr": "af", "swa": "sw", "amh": "am", "hau": "ha", "yor": "yo",
    "ibo": "ig", "zul": "zu", "xho": "xh", "som": "so", "kin": "rw", "wel": "cy", "cym": "cy",
    "gle": "ga", "lat": "la", "mac": "mk", "mkd": "mk", "alb": "sq", "sqi": "sq", "bos": "bs",
    "english": "en", "spanish": "es", "french": "fr", "portuguese": "pt", "arabic": "ar",
}  # fmt: skip


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


def language_code(name: str) -> str:
    """Turn a source's language into ISO 639-1.

    Args:
        name: a code (`eng`, `en`, `en-US`) or an English name (`Spanish`).

    Returns:
        Two letters, or `und` where the language is not known.

    Source: https://www.loc.gov/standards/iso639-2/php/code_list.php
    """
    plain = name.strip().lower().replace("_", "-").split("-")[0]
    if len(plain) == 2 and plain.isalpha():
        return plain
    return _CODES.get(plain, "und")


def plain_doi(text: str) -> str:
    """A DOI in lower case without resolver prefix, or "" where the text holds none.

    Args:
        text: for example `https://doi.org/10.1000/ABC`.

    Source: DOIs compare case-insensitively, https://www.doi.org/doi-handbook/HTML/case-sensitivity.html
    """
    start = text.find("10.")
    return text[start:].strip().lower() if start >= 0 else ""


def plain_pmid(text: str) -> str:
    """A PubMed id, or "" where the text is none: a number of at most 8 digits, 1 or above.

    Args:
        text: for example `31452104`.
    """
    return found[0] if (found := _PMID.fullmatch(text.strip())) else ""
