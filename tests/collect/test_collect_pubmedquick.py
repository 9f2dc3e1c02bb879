"""The quick reader of PubMed records gives what the reader of trees gives, or steps aside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from elara.collect import pubmed
from elara.collect.listing import list_files
from elara.collect.parsed import Parsed
from elara.collect.payload import PayloadError, open_chunks
from elara.collect.pubmedquick import OddRecordError, quick_article
from elara.collect.xmlrecords import split_records, squeeze
from elara.records import Article

USUAL = """<PubmedArticle><MedlineCitation Status="MEDLINE" Owner="NLM"><PMID Version="2">7</PMID>
<DateCompleted><Year>2020</Year><Month>01</Month><Day>02</Day></DateCompleted><DateRevised>
<Year>2021</Year><Month>06</Month><Day>10</Day></DateRevised><Article PubModel="Print"><Journal>
<ISSN IssnType="Print">0</ISSN><JournalIssue CitedMedium="Print"><PubDate><Year>2020</Year><Month>
Mar</Month></PubDate></JournalIssue><Title>Heart</Title></Journal><ArticleTitle>{0}</ArticleTitle>
<Abstract><AbstractText Label="AIM" NlmCategory="OBJECTIVE">{1}</AbstractText><AbstractText>{2}
</AbstractText><CopyrightInformation>CC BY 4.0</CopyrightInformation></Abstract>
<AuthorList CompleteYN="Y"><Author ValidYN="Y"><LastName>{3}</LastName><ForeName>{4}</ForeName>
<Initials>A</Initials><AffiliationInfo><Affiliation>x</Affiliation></AffiliationInfo></Author>
<Author ValidYN="Y"><LastName>Sow</LastName><ForeName>Fa</ForeName></Author></AuthorList>
<Language>fre</Language>
<PublicationTypeList><PublicationType UI="D016428">{5}</PublicationType></PublicationTypeList>
</Article><MeshHeadingList><MeshHeading>
<DescriptorName UI="D1" MajorTopicYN="N">{6}</DescriptorName></MeshHeading></MeshHeadingList>
<KeywordList Owner="NOTNLM"><Keyword MajorTopicYN="N">{7}</Keyword></KeywordList></MedlineCitation>
<PubmedData><ArticleIdList><ArticleId IdType="pubmed">7</ArticleId>
<ArticleId IdType="doi">10.1/{8}</ArticleId></ArticleIdList><ReferenceList><Reference>
<ArticleIdList><ArticleId IdType="doi">10.9/cited</ArticleId></ArticleIdList></Reference>
</ReferenceList></PubmedData></PubmedArticle>"""


def tree_reading(record: bytes) -> Parsed:
    (found,) = pubmed._read(0, record)
    return found


def quick_reading(record: bytes) -> tuple[Article, str] | None:
    try:
        return quick_article(record)
    except (OddRecordError, UnicodeDecodeError, etree.XMLSyntaxError):
        return None


def test_the_usual_layout_is_read_quickly() -> None:
    record = USUAL.format(*"abcdefghi").encode()
    article, revision = quick_article(record)
    assert (article, revision) == (tree_reading(record).article, "00022021-06-10")
    assert article.authors == ["e d", "Fa Sow"]
    assert (article.abstract, article.doi) == ("AIM: b\nc", "10.1/i")


def test_records_read_the_same_and_nearly_all_quickly(
    source_files: Path, least: Callable[[int], int]
) -> None:
    quick = records = 0
    for file in list_files(source_files / "pubmed"):
        for record in split_records(open_chunks(file.path), ("PubmedArticle",)):
            records += 1
            if found := quick_reading(record):
                quick += 1
                expected = tree_reading(record)
                assert found == (expected.article, expected.revision), file.name
    assert quick > 0.95 * records > least(800)


pieces = st.sampled_from([
    "Asthma", " ", "\n", "\u2009", "\xa0", "β", "a | b", "&lt;", "&amp;lt;", "&amp;", "&#233;",
    "&ensp;", "<i>E. coli</i>", "10<sup>9</sup>", "10<sub>2</sub>", "<!-- no -->", "]]", ">", "!",
    '<mml:math xmlns:mml="m"><mml:mi>x</mml:mi></mml:math>', "<![CDATA[<b>]]>",
    "Retracted Publication", "N/A", "[Not Available].", "-", "10<sup>5.3</sup>", "<sup>", "</sup>",
    "10&lt;sup&gt;5.3&lt;/sup&gt;", "9<b><sup>-</sup></b><sup>6</sup>", "10", ".", "<sup>-</sup>",
    "<sup> 6\n</sup>", "<sub>2</sub>", "<sup>&lt;5</sup>",
    "<i>4</i>", "<b></b>", "<u>", "</u>","<?x </Abstract> ?>",
])  # fmt: skip
texts = st.lists(pieces, max_size=5).map("".join)


@settings(max_examples=300, deadline=None)
@given(st.lists(texts, min_size=9, max_size=9), texts)
def test_any_text_reads_the_same_or_not_at_all(fields: list[str], vernacular: str) -> None:
    own = f"</PublicationTypeList><VernacularTitle>{vernacular}</VernacularTitle>"
    record = USUAL.replace("</PublicationTypeList>", own).format(*fields).encode()
    expected = tree_reading(record)
    found = quick_reading(record)
    assert found is None or found == (expected.article, expected.revision)


TAGS = [
    "<ArticleTitle>", "</ArticleTitle>", "<Abstract>", "</Abstract>", "<AuthorList",
    "</AuthorList>", "<Author ", "</Author>", "</Journal>", "</PubDate>", "</MedlineCitation>",
    "</Article>",
    "<PMID ", "</PMID>", "<MeshHeadingList>", "</MeshHeadingList>", "<KeywordList", "<Keyword ",
    "</Keyword>", "</ArticleIdList>", "</ArticleId>", "</PubmedArticle>", "<AbstractText>",
    "</AbstractText>", "<PubDate>", "</Title>", "</LastName>", "</DescriptorName>", "<Language>",
]  # fmt: skip


@pytest.mark.parametrize("tag", TAGS)
def test_a_missing_tag_is_never_overlooked(tag: str) -> None:
    record = USUAL.format(*"abcdefghi")
    assert quick_reading(record.encode())
    assert tag in record
    assert quick_reading(record.replace(tag, "", 1).encode()) is None


@pytest.mark.parametrize("bad", ["a & b", "a < b", "&nope;", "\x01", "]]>", "\ufffe", "<i>open"])
def test_a_malformed_text_is_never_overlooked(bad: str) -> None:
    for place in range(9):
        fields = [*"abcdefghi"]
        fields[place] = bad
        record = USUAL.format(*fields).encode()
        assert quick_reading(record) is None
        assert tree_reading(record).status == "error"
    assert quick_reading(USUAL.format(*"abcdefghi").encode().replace(b">a<", b">\xe9<")) is None


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=0, max_size=300))
def test_white_space_is_squeezed_as_python_splits_it(text: str) -> None:
    for long in (text, text * 40, "word " * 60 + text):
        assert squeeze(long) == " ".join(long.split())


def test_a_broken_end_is_still_told(tmp_path: Path) -> None:
    record = USUAL.format(*"abcdefghi").encode()
    with pytest.raises(PayloadError, match="breaks off"):
        list(pubmed.parse([b"<PubmedArticleSet>" + record]))
