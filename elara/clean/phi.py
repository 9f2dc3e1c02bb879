"""Find what may identify a person, by rules, and report where it is. The text is never copied.

Rules find forms, not people: a name without a title, a place, or a rare combination of facts
passes unseen. What is found is a reason to look, what is not found is no proof.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

_NO_NAME = r"(?!(?:The|This|These|In|It|We|And|Our|All|For|A|An)\b)"
_NAME = rf"{_NO_NAME}[A-Z][a-zà-ÿ'’-]+(?:\s[A-Z]\.)?(?:\s[A-Z][a-zà-ÿ'’-]+)*"
_MONTH = (
    r"(?:January|February|March|April|May|June|July|August|September|October|November|December)"
)
_DATE = (
    r"(?:\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}-\d{2}-\d{2}"
    rf"|\d{{1,2}}\s{_MONTH}\s\d{{4}}|{_MONTH}\s\d{{1,2}},?\s\d{{4}})"
)


@dataclass(frozen=True)
class PhiKind:
    """One form of personal data.

    Args:
        kind: its name in phi.parquet.
        pattern: regular expression (Python syntax).
        gate: cheaper regular expression (Rust syntax); texts without it are not searched.
        patient: whether it points to a patient; addresses of authors do not.
        example: what it finds.
    """

    kind: str
    pattern: str
    gate: str
    patient: bool
    example: str


PHI = (
    PhiKind("email", r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}", "@", False, "a@example.org"),
    PhiKind(
        "phone",
        r"(?:(?i:phone|tel(?:ephone)?|fax|mobile|call)\b[.:]?\s*(?:number\s*)?"
        r"\+?\d[\d\s().-]{6,}\d)|\(\d{3}\)\s?\d{3}-\d{4}\b|\b\d{3}-\d{3}-\d{4}\b",
        r"\d{3}.?.?\d",
        False,
        "Tel: +44 20 7946 0000",
    ),
    PhiKind(
        "ssn", r"\b(?!000|666|9\d\d)\d{3}-\d{2}-\d{4}\b", r"\d{3}-\d{2}-\d{4}", True, "123-45-6789"
    ),
    PhiKind(
        "mrn",
        r"(?i:\b(?:MRN|medical record (?:number|no\.?)|patient ID))\s*[:#]?\s*[A-Z]{0,3}-?\d{4,}",
        r"(?i)MRN|medical record n|patient id",
        True,
        "MRN: 0012345",
    ),
    PhiKind(
        "birth_date",
        rf"(?i:\b(?:DOB|date of birth|born on)\b)\s*:?\s*{_DATE}",
        r"(?i)DOB|date of birth|born on",
        True,
        "DOB: 12/04/1961",
    ),
    PhiKind(
        "dated_name",
        rf"\b(?:Mr|Mrs|Ms|Miss|[Pp]atient)\b\.?\s{_NAME}\b[^.\n]{{0,60}}?\b{_DATE}",
        r"(?:Mr|Mrs|Ms|Miss|[Pp]atient)\.?\s[A-Z]",
        True,
        "Patient Ada Moyo was admitted on 3 May 2020",
    ),
    PhiKind(
        "patient_name",
        rf"\b(?:Mr|Mrs|Ms|Miss)\b\.?\s{_NAME}",
        r"(?:Mr|Mrs|Ms|Miss)\.?\s[A-Z]",
        True,
        "Mrs. Moyo",
    ),
    PhiKind(
        "clinician_name",
        rf"\b(?:Dr|Prof)\b\.?\s{_NAME}",
        r"(?:Dr|Prof)\.?\s[A-Z]",
        False,
        "Dr. Okafor",
    ),
)
_SCHEMA = {
    "id": pl.String,
    "field": pl.String,
    "kind": pl.String,
    "start": pl.Int64,
    "end": pl.Int64,
}


def find_phi(texts: pl.DataFrame) -> pl.DataFrame:
    """Report where texts hold what may identify a person.

    Args:
        texts: `id`, `field` and `text`.

    Returns:
        `id`, `field`, `kind`, `start`, `end` (character positions in that text, end exclusive),
        sorted; never the text itself.

    Source: the identifiers of 45 CFR 164.514(b)(2),
        https://www.ecfr.gov/current/title-45/section-164.514
    """
    rows = []
    for phi in PHI:
        pattern = re.compile(phi.pattern)
        maybe = texts.filter(pl.col("text").str.contains(phi.gate))
        for article, field, text in maybe.select("id", "field", "text").iter_rows():
            rows += [(article, field, phi.kind, *m.span()) for m in pattern.finditer(text)]
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row").sort("id", "field", "start", "kind")


def patient_kinds() -> list[str]:
    """The kinds that point to a patient."""
    return [phi.kind for phi in PHI if phi.patient]
