"""PubMed XML: every field. A second reading by other code is in `test_collect_agreement`."""

from __future__ import annotations

from pathlib import Path

import pytest

from elara.collect import collect_folder, pubmed
from elara.collect.fields import iso_date, language_code, medline_date, partial_date
from elara.collect.merge import merge
from elara.collect.parsed import Parsed
from elara.collect.payload import PayloadError
from elara.records import Article, Section

FULL = """<PubmedArticleSet><PubmedArticle><MedlineCitation><PMID Version="2">7</PMID>
<DateRevised><Year>2021</Year><Month>06</Month><Day>10</Day></DateRevised>
<Article><Journal><JournalIssue><PubDate>{date}</PubDate></JournalIssue>
<Title>The  Journal</Title></Journal>
<ArticleTitle>H<sub>2</sub>O in <i>E. coli</i>
at <mml:math xmlns:mml="m"><mml:mi>x</mml:mi></mml:math></ArticleTitle>
<ELocationID EIdType="doi">10.1/Wrong</ELocationID>
<Abstract><AbstractText Label="Methods">We &amp;lt; waited.</AbstractText><AbstractText>No label
 here.</AbstractText><AbstractText Label="EMPTY"/>
<CopyrightInformation>CC BY-NC 4.0</CopyrightInformation></Abstract>
<AuthorList><Author><LastName>Diop</LastName><ForeName>Awa</ForeName></Author>
<Author ValidYN="N"><LastName>Diopp</LastName></Author>
<Author><LastName>Only</LastName><Initials>O</Initials></Author>
<Author><CollectiveName>The Group</CollectiveName></Author></AuthorList><Language>fre</Language>
<PublicationTypeList><PublicationType>Review</PublicationType></PublicationTypeList></Article>
<MeshHeadingList><MeshHeading><DescriptorName>Humans</DescriptorName></MeshHeading></MeshHeadingList>
<OtherAbstract Language="eng"><AbstractText>A second one.</AbstractText></OtherAbstract>
<KeywordList><Keyword>Cardiology</Keyword></KeywordList>
{extra}</MedlineCitation><PubmedData><ArticleIdList>
<ArticleId IdType="doi">https://doi.org/10.1000/ABC</ArticleId>
<ArticleId IdType="pmc">PMC77</ArticleId></ArticleIdList><ReferenceList><Reference><ArticleIdList>
<ArticleId IdType="doi">10.9/cited</ArticleId>
</ArticleIdList></Reference></ReferenceList></PubmedData>
</PubmedArticle></PubmedArticleSet>"""
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


def one(date: str = "<Year>2020</Year>", extra: str = "") -> Article:
    (found,) = pubmed.parse([FULL.format(date=date, extra=extra).encode()])
    assert found.article is not None
    assert found.revision == "00022021-06-10"
    return found.article


def test_every_field_is_read() -> None:
    article = one()
    assert article.id == "pubmed:7"
    assert article.title == "H2O in E. coli at x"
    assert article.abstract == "METHODS: We &lt; waited.\nNo label here."
    assert article.authors == ["Awa Diop", "O Only", "The Group"]
    assert (article.doi, article.pmcid, article.pmid) == ("10.1000/abc", "PMC77", "7")
    assert (article.licence, article.redistributable) == ("CC-BY-NC-4.0", False)
    assert (article.language, article.journal) == ("fr", "The Journal")
    assert (article.mesh, article.keywords) == (["Humans"], ["Cardiology"])
    assert article.publication_types == ["Review"]
    assert article.retracted is False
    assert [(s.heading, s.text, s.kind) for s in article.body] == [
        ("Other abstract", "A second one.", "text")
    ]


def test_a_retraction_shows_in_either_place() -> None:
    note = '<CommentsCorrectionsList><CommentsCorrections RefType="{}"/></CommentsCorrectionsList>'
    assert one(extra=note.format("RetractionIn")).retracted
    assert not one(extra=note.format("RetractionOf")).retracted
    typed = FULL.replace("Review", "Retracted Publication").format(date="", extra="")
    (found,) = pubmed.parse([typed.encode()])
    assert found.article is not None
    assert found.article.retracted


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("<Year>2020</Year><Month>Mar</Month><Day>5</Day>", "2020-03-05"),
        ("<Year>2020</Year><Month>11</Month>", "2020-11"),
        ("<Year>2020</Year><Season>Spring</Season>", "2020"),
        ("<Year>2021</Year><Month>Feb</Month><Day>30</Day>", "2021-02"),
        ("<MedlineDate>1998 Dec-1999 Jan</MedlineDate>", "1998-12"),
        ("<MedlineDate>2000 Spring</MedlineDate>", "2000"),
        ("<MedlineDate>1977-1978</MedlineDate>", "1977"),
        ("<MedlineDate>2003 Oct 2-8</MedlineDate>", "2003-10-02"),
        ("", ""),
    ],
)
def test_a_date_is_as_precise_as_the_source(date: str, expected: str) -> None:
    assert one(date=date).published == expected


def test_dates_and_languages_that_cannot_be_are_left_out() -> None:
    assert partial_date("20", "1", "1") == ""
    assert partial_date("2020", "13", "1") == "2020"
    assert medline_date("no year") == ""
    assert iso_date("2021/3/04 more") == "2021-03-04"
    assert iso_date("20210304") == ""
    assert [language_code(n) for n in ("eng", "en-US", "Spanish", "xxx", "")] == [
        "en", "en", "es", "und", "und",
    ]  # fmt: skip


def test_the_usual_layout_is_read() -> None:
    (found,) = pubmed.parse([USUAL.format(*"abcdefghi").encode()])
    assert found.article is not None
    assert found.revision == "00022021-06-10"
    assert found.article.authors == ["e d", "Fa Sow"]
    assert (found.article.abstract, found.article.doi) == ("AIM: b\nc", "10.1/i")


@pytest.mark.parametrize("bad", ["a & b", "a < b", "&nope;", "\x01", "]]>", "\ufffe", "<i>open"])
def test_a_malformed_text_is_never_overlooked(bad: str) -> None:
    for place in range(9):
        fields = [*"abcdefghi"]
        fields[place] = bad
        (found,) = pubmed.parse([USUAL.format(*fields).encode()])
        assert found.status == "error"


def test_a_broken_end_is_told() -> None:
    record = USUAL.format(*"abcdefghi").encode()
    with pytest.raises(PayloadError, match="breaks off"):
        list(pubmed.parse([b"<PubmedArticleSet>" + record]))


def test_exponents_stay_exponents() -> None:
    record = (
        b"<PubmedArticle><MedlineCitation><PMID>1</PMID><Article><ArticleTitle>10<sup>9</sup>/L and"
        b" Na<sup>+</sup> in 5 mg m<sup>2</sup></ArticleTitle></Article></MedlineCitation>"
        b"</PubmedArticle>"
    )
    (found,) = pubmed.parse([record])
    assert found.article is not None
    assert found.article.title == "10⁹/L and Na+ in 5 mg m²"


def test_a_record_without_pmid_is_an_error() -> None:
    (found,) = pubmed.parse([b"<PubmedArticle><MedlineCitation/></PubmedArticle>"])
    assert (found.status, found.record) == ("error", 0)
    assert "no PMID" in found.reason


OTHER = "<OtherAbstract {}><AbstractText>{}</AbstractText></OtherAbstract>"


def usual(number: object, *changes: tuple[str, str]) -> str:
    """A record of the usual layout with some changes."""
    record = USUAL.format("A title", "one", "two", *"defghi").replace(">7<", f">{number}<", 2)
    for old, new in changes:
        assert old in record, old
        record = record.replace(old, new, 1)
    return record


def test_both_titles_and_all_abstracts_are_kept() -> None:
    own = ("</PublicationTypeList>", "</PublicationTypeList><VernacularTitle>Un titre"
           "</VernacularTitle>")  # fmt: skip
    others = "".join([
        OTHER.format('Type="Publisher" Language="spa"', "Uno"),
        OTHER.format('Type="plain-language-summary" Language="eng"', "Easily said"),
        OTHER.format('Language="xxq"', "Q"),
        OTHER.format('Language="fre"', "Abstract available from the publisher."),
        OTHER.format('Language="eng"', "[Not available]"),
    ])  # fmt: skip
    records = [
        usual(1, ("A title", "[Not Available]."), own),
        usual(2, ("A title", "[A title]."), own),
        usual(3, ("</MedlineCitation>", f"{others}</MedlineCitation>")),
        usual(4, (">one<", "><"), (">two\n<", "><"),
              ("</MedlineCitation>", OTHER.format("", "Only here") + "</MedlineCitation>")),
    ]  # fmt: skip
    found = list(pubmed.parse(["".join(records).encode()]))
    articles = [p.article for p in found]
    assert [a.title for a in articles] == ["Un titre", "[A title].", "A title", "A title"]
    assert [[(s.heading, s.text, s.kind) for s in a.body] for a in articles] == [
        [],
        [("Title (fr)", "Un titre", "translation")],
        [
            ("Abstract (es)", "Uno", "translation"),
            ("Plain language summary", "Easily said", "text"),
            ("Abstract (xxq)", "Q", "translation"),
        ],
        [],
    ]
    assert articles[3].abstract == "Only here"
    assert [[d.block for d in p.dropped] for p in found] == [
        ["ArticleTitle"], [], ["OtherAbstract", "OtherAbstract"], [],
    ]  # fmt: skip


def test_a_licence_does_not_reach_to_a_text_with_another_one() -> None:
    other = "<CopyrightInformation>© A publisher.</CopyrightInformation></OtherAbstract>"
    text = OTHER.format('Language="spa"', "Uno").replace("</OtherAbstract>", other)
    record = usual(1, ("</MedlineCitation>", f"{text}</MedlineCitation>"))
    (found,) = pubmed.parse([record.encode()])
    assert (found.article.licence, found.article.redistributable) == ("unknown", False)
    assert found.reason == "licence unknown, the strictest that its abstracts state"
    # A folder's licence comes in the place of neither line.
    assert "© A publisher." in found.licence_stated


def test_full_text_takes_the_place_of_a_translation_and_keeps_it() -> None:
    found = [
        Parsed(record=0, article_id=source, file=source, article=Article(
            id=source, source=source, title="T", doi="10.1/x", body=[Section("H", kind, kind)]
        ))
        for source, kind in [("pubmed", "translation"), ("pmc", "text")]
    ]  # fmt: skip
    ((article,), _, _) = merge(found)
    assert (article.id, [s.kind for s in article.body]) == ("pmc", ["text", "translation"])


HIDING = [
    ("one", "<![CDATA[one</AbstractText></PubmedArticle><PubmedArticle>&nbsp;<ReferenceList>]]>"),
    ("one", "o<!-- <PubmedArticle></AbstractText> -->ne"),
    (
        "<PubmedData>",
        '<PubmedData><?x <ArticleIdList><ArticleId IdType="doi">10.1/no</ArticleId>?>',
    ),
    ("<PubmedData>", "<PubmedData><!-- <ArticleIdList></ArticleIdList> -->"),
    ('PubModel="Print"', 'PubModel="a>b"'),
    ("</PubmedArticle>", "</PubmedArticle\n>"),
    ("<ReferenceList>", "<!-- </ReferenceList> --><ReferenceList>"),
]
NO_PMID = ["abc", "-5", "9" * 400, "0", "007", "1234567890123", "", "٣", "1.0"]


@pytest.mark.parametrize("size", [1, 7, 64, 1000, 100_000])
def test_records_are_understood_before_they_are_cut(size: int) -> None:
    records = [usual(n, change) for n, change in enumerate(HIDING, start=1)]
    document = (
        '<!DOCTYPE a [<!ENTITY x "<PubmedArticle>]>">]><PubmedArticleSet>'
        f"<!-- {usual(9)} -->{''.join(records)}{''.join(map(usual, NO_PMID))}"
        "<DeleteCitation><PMID>12</PMID><PMID>x1</PMID></DeleteCitation></PubmedArticleSet>"
    ).encode()
    found = list(pubmed.parse([document[i : i + size] for i in range(0, len(document), size)]))
    good, bad = found[: len(HIDING)], found[len(HIDING) : -2]
    assert [p.native_id for p in good] == [str(n) for n in range(1, len(HIDING) + 1)]
    assert {p.article.doi for p in good} == {"10.1/i"}
    assert {p.article.title for p in good} == {"A title"}
    assert [p.status for p in bad] == ["error"] * len(NO_PMID)
    assert all("no PMID" in p.reason and len(p.reason) < 200 for p in bad)
    assert [(p.status, p.native_id) for p in found[-2:]] == [("deletion", "12"), ("error", "")]


def test_every_pmid_of_the_real_data_is_accounted_for(shared_data: Path) -> None:
    collection = collect_folder(shared_data / "pubmed")
    articles = collection.articles.filter(source="pubmed").collect()
    outcomes = collection.outcomes.collect()
    withdrawn = outcomes.filter(outcomes["reason"].str.starts_with("withdrawn"))
    assert articles.height + withdrawn.height == 899 + 2  # two of them MEDLINE text
    assert withdrawn["native_id"].to_list() == ["1002"]
    assert articles["id"].is_sorted()
    assert articles["id"].n_unique() == articles.height
    books = articles.filter(articles["publication_types"].list.contains("Book chapter"))
    assert books["pmid"].to_list() == ["29165978"]
    assert articles.filter(pmid="1001")["title"].item() == "Revised title for article one."
    assert articles.filter(pmid="1001")["pmcid"].item() == "PMC7654321"
    folder = shared_data / "pubmed"
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert set(outcomes["file"]) == files
    assert outcomes.filter(status="error").height == 0
    assert (
        outcomes.filter((outcomes["status"] != "article") & (outcomes["reason"] == "")).height == 0
    )
    assert outcomes["reason"].str.contains("byte-identical to pubchunks/karger_1.xml").sum() == 1
