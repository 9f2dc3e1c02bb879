"""MEDLINE text: the same record reads the same as in XML, and damage stays in its record."""

from __future__ import annotations

import textwrap
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from elara.collect import collect_folder, medline, pubmed, raw_record, read_file
from elara.collect.parsed import Parsed
from elara.records import Article

FULL = """
PMID- 7
OWN - NLM
LR  - 20210610
DP  - 1998 Dec-1999 Jan
TI  - [A translated title that goes on
      over two lines.]
TT  - Un titre.
AB  - AIM: To see. RNA: we know it. METHODS: We
      looked (AIM: no). MATERIALS AND METHODS: All. RESULTS: p<0.05; RESULTS: seen.
CI  - Copyright 2020. CC BY-NC 4.0
FAU - Diop, Awa Jr
AU  - Diop A Jr
AU  - Only OP
CN  - The Group
FIR - Not, An Author
IR  - Not AA
LA  - fre
LA  - eng
PT  - Review
PT  - Retracted Publication
TA  - J Short
JT  - The long journal
MH  - *Heart Failure/drug therapy/*genetics
MH  - Humans
OT  - *Cardiology
LID - 10.1/LID [doi]
PMC - PMC77
AID - S0140(20)1 [pii]
AID - 10.1000/ABC [doi]
SO  - J Short. 1998 Dec-1999 Jan.
"""


def parse(content: str) -> list[Parsed]:
    return list(medline.parse([content.encode()]))


def one(content: str = FULL) -> Article:
    (found,) = parse(content)
    assert found.article is not None, found.reason
    return found.article


def test_every_field_is_read() -> None:
    article = one()
    assert (article.id, article.pmid, article.pmcid) == ("pubmed:7", "7", "PMC77")
    assert article.title == "[A translated title that goes on over two lines.]"
    assert (article.published, article.language) == ("1998-12", "fr")
    assert article.journal == "The long journal"
    assert article.authors == ["Awa Diop", "OP Only", "The Group"]
    assert article.mesh == ["Heart Failure", "Humans"]
    assert article.keywords == ["Cardiology"]
    assert article.publication_types == ["Review", "Retracted Publication"]
    assert article.doi == "10.1000/abc"
    assert (article.licence, article.redistributable) == ("CC-BY-NC-4.0", False)
    assert article.retracted
    assert parse(FULL)[0].revision == "00012021-06-10"


def test_an_abstract_is_split_at_certain_labels_only() -> None:
    assert one().abstract.splitlines() == [
        "AIM: To see. RNA: we know it.",
        "METHODS: We looked (AIM: no).",
        "MATERIALS AND METHODS: All.",
        "RESULTS: p<0.05; RESULTS: seen.",
    ]
    plain = FULL.replace("AB  - AIM: To", "AB  - To")
    assert "\n" not in one(plain).abstract


def test_what_is_missing_is_taken_from_the_second_place() -> None:
    drop = ("DP  ", "TI  ", "      over", "JT  ", "AID - 10", "PT  - Retracted")
    lines = [line for line in FULL.splitlines() if not line.startswith(drop)]
    article = one("\n".join([*lines[:3], "RIN - J. 2020", "DEP - 20200305", *lines[3:]]))
    assert (article.title, article.journal) == ("Un titre.", "J Short")
    assert (article.published, article.doi) == ("2020-03-05", "10.1/lid")
    assert article.retracted


def test_a_book_chapter_ends_with_its_identifiers() -> None:
    book = (
        "PMID- 8\nCTDT- 20170612\nDP  - 2024 Jan\nTI  - Asthma\nBTI - StatPearls\nFAU - A, B\n"
        "PT  - Study Guide\nAID - NBK1 [bookaccession]\n"
    )
    article = one(book)
    assert (article.title, article.journal, article.published) == (
        "Asthma", "StatPearls", "2017-06-12",
    )  # fmt: skip
    assert article.publication_types == ["Study Guide", "Book chapter"]
    assert "cut off" in parse(book.replace("AID ", "EDAT"))[0].reason


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda r: r.split("LA  -")[0], "cut off before its SO field"),
        (lambda r: r.replace("MH  - Humans", "Humans and more"), "line 24 of the record"),
        (lambda r: r.replace("PMID- 7", "PMID- x"), "no PMID"),
        (lambda r: r.replace("PMID- 7", "PMID- 007"), "no PMID"),
        (lambda r: r.replace("Awa", "Aw\udcff"), "utf-8"),
    ],
)
def test_a_damaged_record_is_an_error_and_its_neighbours_are_read(damage, reason: str) -> None:
    bad = damage(FULL.lstrip("\n"))
    whole = f"{FULL}\n{bad}\n{FULL.replace('PMID- 7', 'PMID- 9')}"
    found = list(medline.parse([whole.encode("utf-8", "surrogateescape")]))
    assert [(p.record, p.status) for p in found] == [(0, "article"), (1, "error"), (2, "article")]
    assert reason in found[1].reason


def test_text_before_the_first_record_is_an_error() -> None:
    assert [p.status for p in parse("STAT- MEDLINE\n" + FULL)] == ["error", "article"]


@pytest.mark.parametrize("size", [3, 7, 64, 10_000])
def test_the_pieces_and_line_ends_make_no_difference(size: int) -> None:
    content = (FULL + FULL.replace("PMID- 7", "PMID- 8")).replace("\n", "\r\n").encode()
    content = b"\xef\xbb\xbf" + content
    pieces = [content[i : i + size] for i in range(0, len(content), size)]
    found = [p.article for p in medline.parse(pieces)]
    assert [a.pmid for a in found if a] == ["7", "8"]
    assert found[0] == one()


def test_a_raw_record_can_be_read_back(tmp_path: Path) -> None:
    (tmp_path / "search.nbib").write_text(FULL + FULL.replace("PMID- 7", "PMID- 8"))
    articles = collect_folder(tmp_path).articles.collect()
    assert articles["raw_record"].to_list() == [0, 1]
    raw = raw_record(tmp_path, "search.nbib", 1)
    assert raw.startswith(b"PMID- 8\nOWN - NLM")
    assert raw.endswith(b"SO  - J Short. 1998 Dec-1999 Jan.")
    with pytest.raises(IndexError):
        raw_record(tmp_path, "search.nbib", 2)


def test_real_records(shared_data: Path) -> None:
    folder = shared_data / "pubmed" / "biopython_medline"
    (first,) = read_file(folder / "pubmed_result1.txt", "a", "")
    assert first.article is not None
    assert first.article.title == "The Bio* toolkits--a brief overview."
    assert first.article.mesh[0] == "Computational Biology"
    (other,) = read_file(folder / "pubmed_result3.txt", "b", "")
    assert other.article is not None
    assert [line.split(":")[0] for line in other.article.abstract.splitlines()] == [
        "PURPOSE", "METHODS", "RESULTS", "CONCLUSIONS",
    ]  # fmt: skip
    assert other.article.mesh[1] == "High-Intensity Focused Ultrasound Ablation"
    assert (other.article.doi, other.article.published) == ("10.1118/1.4748329", "2012-10")


def as_medline(record: ET.Element) -> str:
    """A PubMed XML record as NLM writes it in MEDLINE text."""
    citation = record.find("MedlineCitation")
    article = record.find("MedlineCitation/Article")
    assert citation is not None
    assert article is not None

    def full(element: ET.Element | None) -> str:
        return "" if element is None else " ".join("".join(element.itertext()).split())

    date = article.find("Journal/JournalIssue/PubDate")
    parts = [
        f"{part.get('Label', '')}: {full(part)}" if part.get("Label") else full(part)
        for part in article.findall("Abstract/AbstractText")
        if full(part)
    ]
    fields = [
        ("PMID", full(citation.find("PMID"))),
        ("DP", " ".join(full(child) for child in ([] if date is None else date))),
        ("TI", full(article.find("ArticleTitle"))),
        ("AB", " ".join(parts)),
    ]
    for author in article.findall("AuthorList/Author[@ValidYN='Y']"):
        last, fore = full(author.find("LastName")), full(author.find("ForeName"))
        if name := full(author.find("CollectiveName")):
            fields.append(("CN", name))
        elif fore:
            fields += [("FAU", f"{last}, {fore}"), ("AU", last)]
    fields += [("PT", full(e)) for e in article.findall("PublicationTypeList/PublicationType")]
    fields.append(("JT", full(article.find("Journal/Title"))))
    for heading in citation.findall("MeshHeadingList/MeshHeading"):
        fields.append(("MH", "/*".join(full(e) for e in heading)))
    fields += [("TT", full(article.find("VernacularTitle"))), ("SO", "end")]
    wrapped = (
        textwrap.fill(f"{tag:<4}- {value}", 88, subsequent_indent="      ",
                      break_long_words=False, break_on_hyphens=False)
        for tag, value in fields if value
    )  # fmt: skip
    return "\n".join(wrapped) + "\n"


def test_a_record_reads_the_same_in_both_formats(shared_data: Path) -> None:
    compared = split = structured = 0
    for path in sorted((shared_data / "pubmed" / "metapub_pmid_xml").iterdir()):
        (record,) = ET.parse(path).getroot().findall("PubmedArticle")
        (parsed,) = pubmed.parse([ET.tostring(record, encoding="utf-8")])
        expected, found = parsed.article, one(as_medline(record))
        assert expected is not None
        names = ["id", "published", "journal", "mesh", "publication_types", "pmid", "retracted"]
        if b"<su" not in path.read_bytes():
            names.append("title")
            assert " ".join(found.abstract.split()) == " ".join(expected.abstract.split())
            # A line break is only where the XML has one as well.
            assert set(found.abstract.split("\n")[1:]) <= set(expected.abstract.split("\n")) or (
                len(found.abstract.split("\n")) < len(expected.abstract.split("\n"))
            )
            structured += "\n" in expected.abstract
            split += "\n" in expected.abstract and found.abstract == expected.abstract
        if not record.findall(".//Author[ValidYN='N']") and not record.findall(".//Suffix"):
            names.append("authors")
        assert {n: getattr(found, n) for n in names} == {n: getattr(expected, n) for n in names}
        compared += 1
    assert compared == 109
    assert split > 0.8 * structured > 0
