"""Read Europe PMC search answers: records of journals, preprints and other literature."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from elara.collect.africa import countries
from elara.collect.fields import iso_date, language_code, medline_date, plain_doi, plain_pmid
from elara.collect.htmltext import html_text
from elara.collect.licences import licence_of, redistributable
from elara.collect.notices import names_in
from elara.collect.parsed import Parsed
from elara.records import Article

_HEADING = re.compile(r"<h4>(.*?)</h4>", re.IGNORECASE | re.DOTALL)
# A "<" that begins none of the tags in use is a sign of the text, as in "a<b".
_SIGN = re.compile(
    r"<(?!/?(?:h4|p|br|div|span|a|i|b|u|em|strong|sub|sup|ul|ol|li)(?:\s[^<>]*=[^<>]*)?\s*/?>)",
    re.IGNORECASE,
)
_RETRACTED = ("retracted publication", "retracted article")
_RETRACTED_IN = ("retraction in", "partial retraction in", "retracted and republished in")
_RETRACTS = ("retraction of", "partial retraction of", "retracted and republished from")


def parse(chunks: Iterable[bytes]) -> Iterator[Parsed]:
    """Read an answer of Europe PMC's search in JSON.

    Abstracts, licences and MeSH headings are there only if `resultType=core` was asked for.

    Args:
        chunks: pieces of one answer, in order.

    Yields:
        One `Parsed` per result, or a single error where the JSON cannot be read.

    Source: https://europepmc.org/RestfulWebService
    """
    try:
        results = json.loads(b"".join(chunks))["resultList"]["result"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"not a Europe PMC search answer ({error}): fetch it again"
        yield Parsed(record=0, status="error", reason=reason)
        return
    for number, result in enumerate(results):
        yield _parsed(number, result if isinstance(result, dict) else {})


def _parsed(number: int, result: dict[str, Any]) -> Parsed:
    source, native = str(result.get("source", "")), str(result.get("id", ""))
    name = f"{source}:{native}"
    if not source or not native or not result.get("title"):
        reason = "result without source, id or title: search with resultType=core"
        return Parsed(record=number, native_id=native, status="skipped", reason=reason)
    try:
        article = _article(result, source, native)
    except (AttributeError, TypeError, ValueError) as error:
        reason = f"result with unexpected values ({error}): fetch it again"
        return Parsed(record=number, native_id=name, status="error", reason=reason)
    return Parsed(
        record=number,
        native_id=name,
        article=article,
        revision=iso_date(str(result.get("dateOfRevision", ""))),
        retracts=[
            name
            for notice in _listed(result, "commentCorrectionList", "commentCorrection")
            if str(notice.get("type", "")).lower() in _RETRACTS
            for name in names_in(str(notice.get("id", "")), "pmid")
            + names_in(str(notice.get("reference", "")))
        ],
    )


def _article(result: dict[str, Any], source: str, native: str) -> Article:
    issue = result.get("journalInfo") or {}
    types = list(map(str, _listed(result, "pubTypeList", "pubType")))
    notices = _listed(result, "commentCorrectionList", "commentCorrection")
    licence = licence_of(str(result.get("license", "")))
    journal = (issue.get("journal") or {}).get("title") or result.get("journalTitle")
    publisher = (result.get("bookOrReportDetails") or {}).get("publisher")  # preprints, books
    return Article(
        id=f"europepmc:{source}:{native}",
        source="europepmc",
        title=_line(str(result["title"])),
        abstract=_abstract(str(result.get("abstractText", ""))),
        language=language_code(str(result.get("language", ""))),
        published=medline_date(str(issue.get("dateOfPublication", "")))
        or iso_date(str(issue.get("printPublicationDate", "")))
        or iso_date(str(result.get("firstPublicationDate", "")))
        or iso_date(str(result.get("pubYear", ""))),
        journal=_line(str(journal or publisher or "")),
        keywords=[_line(str(k)) for k in _listed(result, "keywordList", "keyword")],
        mesh=[str(m["descriptorName"]) for m in _listed(result, "meshHeadingList", "meshHeading")],
        volume=str(issue.get("volume", "")),
        pages=str(result.get("pageInfo", "")),
        authors=_authors(result),
        affiliation_countries=countries(affiliations=_affiliations(result)),
        publication_types=types,
        url=f"https://europepmc.org/article/{source}/{native}",
        doi=plain_doi(str(result.get("doi", ""))),
        pmid=plain_pmid(str(result.get("pmid", ""))),
        pmcid=str(result.get("pmcid", "")).upper(),
        licence=licence,
        redistributable=redistributable(licence),
        retracted=any(t.lower() in _RETRACTED for t in types)
        or any(str(n.get("type", "")).lower() in _RETRACTED_IN for n in notices),
    )


def _affiliations(result: dict[str, Any]) -> list[str]:
    places = [
        place
        for author in _listed(result, "authorList", "author")
        for place in _listed(author, "authorAffiliationDetailsList", "authorAffiliation")
    ]
    return [str(place.get("affiliation", "")) for place in (*places, result)]


def _listed(result: dict[str, Any], outer: str, inner: str) -> list[Any]:
    return (result.get(outer) or {}).get(inner) or []


def _line(text: str) -> str:
    return " ".join(html_text(_SIGN.sub("&lt;", text)).split())


def _abstract(text: str) -> str:
    """One line per part, as in PubMed; headings are inside the text here."""
    before, *parts = _HEADING.split(text)
    lines = [_line(before)]
    for heading, content in zip(parts[::2], parts[1::2], strict=True):
        label = _line(heading).rstrip(":").upper()
        if plain := _line(content):
            lines.append(f"{label}: {plain}" if label else plain)
    return "\n".join(line for line in lines if line)


def _authors(result: dict[str, Any]) -> list[str]:
    names = []
    for author in _listed(result, "authorList", "author"):
        last = str(author.get("lastName", ""))
        given = str(author.get("firstName") or author.get("initials") or "")
        name = f"{given} {last}".strip() if last else author.get("collectiveName")
        names.append(_line(str(name or author.get("fullName", ""))))
    if not names:
        names = str(result.get("authorString", "")).rstrip(".").split(", ")
    return [name for name in names if name]
