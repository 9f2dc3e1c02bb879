"""Find references to publications, trials and pages in a text."""

from __future__ import annotations

import re

URL = r"(?i:https?://|\bwww\.)[^\s()<>\"]+"
_URL = re.compile(URL)
_SCHEME = re.compile(r"(?:https?://)?(?:www\.)?")
_DOI = re.compile(r"\b10\.\d{4,9}/[^\s\"<>]*[^\s\"<>.,;)\]]")
_PMCID = re.compile(r"\bPMC(\d+)", re.IGNORECASE)
_PMID = re.compile(r"(?:pubmed\.ncbi\.nlm\.nih\.gov/|/pubmed/|\bPMID:? ?)(\d+)", re.IGNORECASE)
# Source: https://clinicaltrials.gov/policy/protocol-definitions
_TRIAL = re.compile(r"\bNCT\d{8}\b", re.IGNORECASE)
# Every reference holds a number or an address; most sentences hold neither.
_ANY = re.compile(r"\d|://|[wW]{3}\.")
_AUTHORS = re.compile(r"\b([A-ZÀ-Þ][\w'’-]*) et al\.?,? ?[(\[]?((?:19|20)\d\d)\b")


def articles_named(text: str) -> list[str]:
    """The articles that a text names by a number: `DOI 10.1000/abc`, `PMCID PMC1`, `PMID 1`.

    Args:
        text: for example `info:doi/10.1000/abc` or `Lancet. 2018. PMID: 12345`.
    """
    plain = text.replace("%2F", "/").replace("%2f", "/")
    found = [f"DOI {doi.lower()}" for doi in _DOI.findall(plain)]
    found += [f"PMCID PMC{number}" for number in _PMCID.findall(text)]
    return found + [f"PMID {number}" for number in _PMID.findall(text)]


def references(text: str) -> set[str]:
    """What a text refers to, each once, in a form that is the same however it is written.

    Args:
        text: prose, as people or models write it.

    Returns:
        Names as of `articles_named`, `NCT00000001`, `smith et al. 2019`, and the addresses of
        pages that are none of these.
    """
    if not _ANY.search(text):
        return set()
    plain = text.replace("*", "")  # Markdown, as in *et al.*
    found: set[str] = set()
    for url in _URL.findall(plain):
        address = _SCHEME.sub("", url.casefold(), count=1).rstrip(".,;:!?_]'’/")
        found |= _numbers(url) or {address}
    rest = _URL.sub(" ", plain)
    authors = {f"{name.casefold()} et al. {year}" for name, year in _AUTHORS.findall(rest)}
    return found | _numbers(rest) | authors


def _numbers(text: str) -> set[str]:
    return {*articles_named(text), *(number.upper() for number in _TRIAL.findall(text))}
