"""Whose text an article holds and under which licence; what notices of retraction do."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from elara.collect import collect_folder, outcome_table, redistributable
from elara.collect.merge import merge
from elara.collect.notices import names_in, says_retracted
from elara.collect.parsed import Parsed
from elara.records import Article, Section

BODY = [Section("", "body")]


def record(
    id: str, licence: str = "unknown", *, retracts: tuple[str, ...] = (), **fields: object
) -> Parsed:
    article = Article(
        id=id, source=id.split(":")[0], licence=licence, redistributable=redistributable(licence),
        **{"title": "T", "doi": "10.5555/a", **fields},  # type: ignore[arg-type]
    )  # fmt: skip
    return Parsed(record=0, article=article, article_id=id, file=id, retracts=[*retracts])


# Records that describe one article: (source, licence, abstract, body), then what comes out: its
# licence, whose abstract, whose body.
CASES = {
    "abstract asks for more": (
        [("jats", "CC-BY-NC-ND-4.0", 1, 0), ("pmc", "CC-BY-4.0", 0, 1)], "CC-BY-4.0", "", "pmc",
    ),
    "abstract asks for no more": (
        [("jats", "CC-BY-4.0", 1, 0), ("pmc", "CC-BY-NC-4.0", 0, 1)], "CC-BY-NC-4.0", "jats", "pmc",
    ),
    "other limits, not fewer": (
        [("jats", "CC-BY-ND-4.0", 1, 0), ("pmc", "CC-BY-NC-4.0", 0, 1)], "CC-BY-NC-4.0", "", "pmc",
    ),
    "share alike is a limit": (
        [("jats", "CC-BY-SA-4.0", 1, 0), ("pmc", "CC-BY-4.0", 0, 1)], "CC-BY-4.0", "", "pmc",
    ),
    "silence is strict": (
        [("pubmed", "unknown", 1, 0), ("pmc", "CC-BY-4.0", 0, 1)], "CC-BY-4.0", "", "pmc",
    ),
    "a free abstract frees no body": (
        [("pubmed", "CC-BY-4.0", 1, 0), ("pmc", "unknown", 1, 1)], "unknown", "pmc", "pmc",
    ),
    "of equal records the freer": (
        [("pubmed", "unknown", 1, 0), ("europepmc", "CC-BY-4.0", 1, 0)],
        "CC-BY-4.0", "europepmc", "",
    ),
    "keywords are no text": (
        [("pubmed", "unknown", 0, 0), ("pmc", "CC0-1.0", 1, 1)], "CC0-1.0", "pmc", "pmc",
    ),
    "private gives nothing": (
        [("own", "private", 1, 0), ("pmc", "CC-BY-4.0", 0, 1)], "CC-BY-4.0", "", "pmc",
    ),
    "private takes and stays": (
        [("own", "private", 0, 1), ("pubmed", "unknown", 1, 0)], "private", "pubmed", "own",
    ),
    "three records": (
        [("jats", "CC-BY-NC-4.0", 1, 0), ("pmc", "CC-BY-4.0", 0, 1), ("pubmed", "CC0-1.0", 1, 0)],
        "CC-BY-4.0", "pubmed", "pmc",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("records", "licence", "abstract", "body"), CASES.values(), ids=CASES.keys()
)
def test_a_licence_belongs_to_text(
    records: list[tuple[str, str, int, int]], licence: str, abstract: str, body: str
) -> None:
    for order in itertools.permutations(records):
        found = [
            record(
                f"{source}:1", terms, keywords=[source],
                abstract=f"by {source}" * with_abstract,
                body=[Section("", f"by {source}")] * with_body,
            )
            for source, terms, with_abstract, with_body in order
        ]  # fmt: skip
        (article,), outcomes, pieces = merge(found)
        assert (article.licence, article.redistributable) == (licence, redistributable(licence))
        assert article.abstract == (f"by {abstract}" if abstract else "")
        assert [s.text for s in article.body] == ([f"by {body}"] if body else [])
        terms = {f"{source}:1": terms for source, terms, *_ in records}
        assert all(p.licence == terms[p.file] and p.article_id == article.id for p in pieces)
        given = {p.piece: p.file.split(":")[0] for p in pieces}
        expected = {"abstract": abstract, "body": body}
        assert {k: v for k, v in given.items() if k != "title"} == {
            k: v for k, v in expected.items() if v
        }
        if any(not abstract and has for *_, has, _ in records) and "own" not in str(records):
            assert any("its abstract is not added" in o.reason for o in outcomes)


def test_one_text_under_two_licences_has_the_stricter_in_any_order() -> None:
    for source in ("jats", "own"):
        pair = [record(f"{source}:1", terms, body=BODY) for terms in ("CC-BY-4.0", "CC-BY-NC-4.0")]
        for order in (pair, pair[::-1]):
            (article,), _, pieces = merge(order)
            assert (article.licence, article.redistributable) == ("CC-BY-NC-4.0", False)
            assert {p.licence for p in pieces} == {"CC-BY-NC-4.0"}


def test_a_record_with_only_a_body_is_given_a_title() -> None:
    bare = record("pmc:1", "CC-BY-4.0", title="", body=BODY)
    (article,), *_ = merge([bare, record("pubmed:1", "CC0-1.0", title="A title")])
    assert (article.title, article.licence) == ("A title", "CC-BY-4.0")


def test_one_record_has_no_pieces_to_tell_apart() -> None:
    assert merge([record("pmc:1", "CC-BY-4.0")])[2] == []


def test_a_notice_marks_its_target_by_any_name_in_any_order() -> None:
    for name in ("DOI 10.5555/a", "PMID 7", "PMCID PMC7"):
        notice = record("pubmed:9", doi="10.5555/n", pmid="9", retracts=(name,))
        # The target is merged, and only one of its records has the name.
        target = [record("pubmed:7", pmid="7"), record("pmc:PMC7", pmcid="PMC7", body=BODY)]
        for order in itertools.permutations([notice, *target]):
            articles, outcomes, _ = merge(order)
            assert {a.id: a.retracted for a in articles} == {"pmc:PMC7": True, "pubmed:9": False}
            (reason,) = [o.reason for o in outcomes if "retracted" in o.reason]
            assert reason == "retracted, says the notice in record 0 of pubmed:9"
    (alone,), *_ = merge([record("pubmed:9", retracts=("DOI 10.5555/a",))])
    assert not alone.retracted  # it names only itself


PUBMED = """<PubmedArticle><MedlineCitation><PMID>{0}</PMID><Article><Journal><JournalIssue>
<PubDate><Year>2020</Year></PubDate></JournalIssue></Journal><ArticleTitle>{1}</ArticleTitle></Article>
<CommentsCorrectionsList><CommentsCorrections RefType="{2}"><RefSource>{3}</RefSource>{4}
</CommentsCorrections></CommentsCorrectionsList></MedlineCitation></PubmedArticle>"""
JATS = """<article xmlns:xlink="http://www.w3.org/1999/xlink" article-type="{0}"><front>
<article-meta><article-id pub-id-type="doi">{1}</article-id><title-group>
<article-title>T</article-title></title-group>{2}</article-meta></front></article>"""
RELATED = '<related-article related-article-type="{}" ext-link-type="{}" xlink:href="{}"/>'


def test_retraction_is_read_in_both_directions(tmp_path: Path) -> None:
    pubmed = [
        (1, "A", "ErratumIn", "J", "<PMID>11</PMID>"),
        (2, "B", "Cites", "J", ""),
        (3, "C", "PartialRetractionIn", "J", ""),
        (4, "D", "RetractedandRepublishedIn", "J", ""),
        (5, "E", "Cites", "J", ""),
        (11, "Notice", "ErratumFor", "J", "<PMID>1</PMID>"),
        (12, "Notice", "RetractionOf", "J 2018", "<PMID>2</PMID>"),
        (15, "Again", "RetractedandRepublishedFrom", "J", "<PMID>5</PMID>"),
        (16, "Notice", "PartialRetractionOf", "J. 2018; doi: 10.5555/Six.", ""),
    ]
    (tmp_path / "z.xml").write_text(
        "<PubmedArticleSet>" + "".join(PUBMED.format(*p) for p in pubmed) + "</PubmedArticleSet>"
    )
    jats = [
        ("research-article", "10.5555/six", ""),
        ("research-article", "10.5555/seven", RELATED.format("retraction-forward", "doi", "x")),
        ("research-article", "10.5555/eight", ""),
        ("retraction", "10.5555/n8", RELATED.format("retracted-article", "uri",
         "info:doi/10.5555%2FEIGHT")),
        ("retraction", "10.5555/n3", RELATED.format("retracted-article", "pubmed", "3")),
        ("correction", "10.5555/c", RELATED.format("corrected-article", "doi", "10.5555/ten")),
        ("research-article", "10.5555/ten", ""),
    ]  # fmt: skip
    for number, fields in enumerate(jats):
        (tmp_path / f"{number}.xml").write_text(JATS.format(*fields))
    collection = collect_folder(tmp_path)
    retracted = collection.articles.filter("retracted").collect()["id"].to_list()
    assert retracted == [
        "jats:10.5555/eight", "jats:10.5555/seven", "jats:10.5555/six",
        "pubmed:2", "pubmed:3", "pubmed:4", "pubmed:5",
    ]  # fmt: skip
    table = outcome_table(collection.outcomes)
    # Every mark has its reason: that of the record, of the notice, or of both.
    told = dict(
        table.filter(pl.col("reason").str.contains("retracted")).select("reason", "count").rows()
    )
    assert told == {
        "retracted, says the notice …": 4,
        "retracted, says the record": 2,
        "retracted, says the record; retracted, says the notice …": 1,
    }


@pytest.mark.parametrize(
    ("title", "retracted"),
    [
        ("RETRACTED: Zinc and sleep", True),
        ("Retracted: Zinc and sleep", True),
        ("[Retracted] Zinc and sleep.", True),
        ("RETRACTED ARTICLE: Zinc", True),
        ("[RETRACTED ARTICLE] Zinc", True),
        ("WITHDRAWN: Zinc for sleep", True),
        ("Withdrawn", True),
        ("Zinc and sleep (Retracted article. See vol. 5, 2020)", True),
        ("Zinc and sleep [retracted]", True),
        ("Zinc and sleep - RETRACTED", True),
        ("ARTÍCULO RETRACTADO: Zinc", True),
        ("TEMPORARY REMOVAL: Zinc", True),
        ("Retraction: Zinc and sleep", False),
        ("RETRACTION NOTE to: Zinc", False),
        ("Retracted papers in oncology: a survey", False),
        ("Withdrawn patients: how trials count them", False),
        ("Outcomes of children withdrawn from treatment", False),
        ("RETRACTED Zinc and sleep", True),
        ("**RETRACTED** Zinc and sleep", True),
        ("Retratado: Zinco", True),
        ("撤稿：锌与睡眠", True),
        ("The retracted eardrum", False),
        ("Retracted: how the eardrum looks in otitis media", False),
        ("RETRACTED TYMPANIC MEMBRANE", False),
        ("Eyelid position: retracted", False),
        ("Rofecoxib - withdrawn", False),
        ("Ranitidine [withdrawn], famotidine and the heart", False),
        ("Socially withdrawn (withdrawn) adolescents", False),
        ("Retirada: catéter vesical", False),
        ("REMOVED: FOREIGN BODY IN EAR", False),
        ("Fate of retracted articles", False),
    ],
)
def test_a_title_says_that_its_article_is_retracted(title: str, retracted: bool) -> None:
    assert says_retracted(title) is retracted


def test_names_are_found_in_addresses_and_citations() -> None:
    assert names_in("Lancet. 2018;1(2):3. doi: 10.1016/S0140-6736(18)1-5. PMID: 12345") == [
        "DOI 10.1016/s0140-6736(18)1-5", "PMID 12345",
    ]  # fmt: skip
    assert names_in("https://pmc.ncbi.nlm.nih.gov/articles/PMC77/") == ["PMCID PMC77"]
    assert names_in("77", "pmc") == ["PMCID PMC77"]
    assert names_in("77") == []


def test_a_translation_under_a_stricter_licence_is_named_and_left_where_it_is() -> None:
    found = [
        Parsed(record=0, article_id=source, file=source, article=Article(
            id=source, source=source, title="T", doi="10.1/x", body=[Section("H", kind, kind)],
            licence=licence,
        ))
        for source, kind, licence in [
            ("pubmed", "translation", "CC-BY-NC-4.0"), ("pmc", "text", "CC-BY-4.0")
        ]
    ]  # fmt: skip
    (article,), outcomes, _ = merge(found)
    assert [s.kind for s in article.body] == ["text"]
    assert "its translation is not added" in outcomes[-1].reason + outcomes[0].reason


def test_two_articles_with_one_doi_share_their_records_out_in_any_order() -> None:
    found = [
        record("pubmed:7", pmid="7", abstract="u", doi=""),
        record("pubmed:8", pmid="8", abstract="v"),
        record("pmc:3", "CC-BY-4.0", body=BODY),
        record("europepmc:4", "CC-BY-4.0", pmid="7", abstract="z"),
    ]
    seen = set()
    for order in itertools.permutations(found):
        articles, _, _ = merge([replace(p, article=replace(p.article)) for p in order if p.article])
        seen.add(tuple((a.id, a.licence, a.abstract, len(a.body)) for a in articles))
    assert seen == {(("pmc:3", "CC-BY-4.0", "z", 1), ("pubmed:8", "unknown", "v", 0))}


def test_every_decision_about_a_licence_or_a_retraction_has_its_reason(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "licence.txt").write_text("private")
    (tmp_path / "mine" / "a.csv").write_text("doi,abstract\n10.5555/x,Ours.\n")
    (tmp_path / "b.csv").write_text(
        "title,text,licence\nOdd,One.,CC BY but ask us\nRETRACTED: Two,Two.,CC0\n"
        "Same,Three.,CC0\nSame,Three.,CC BY-NC 4.0\n"
    )
    related = "<permissions><license><license-p>CC BY</license-p></license></permissions>"
    jats = JATS.format("research-article", "10.5555/x", related)
    (tmp_path / "c.xml").write_text(jats.replace("</front>", "</front><body><p>Text.</p></body>"))
    collection = collect_folder(tmp_path)
    outcomes = collection.outcomes.collect()
    told = outcomes.filter(pl.col("reason") != "").select("file", "record", "reason").rows()
    by_record = {(file, record): reason for file, record, reason in told}
    assert by_record["b.csv", 0] == "licence 'CC BY but ask us' is not known"
    assert by_record["b.csv", 1] == "retracted, says the title"
    assert by_record["b.csv", 2].endswith("; it states another licence (CC0-1.0)")
    assert by_record["mine/a.csv", 0].endswith("nothing of it is added, since it is private")
    reasons = outcome_table(outcomes)["reason"].to_list()
    assert "licence … is not known" in reasons
    assert (
        "same DOI as another record, which is kept; nothing of it is added, since it is private"
        in (reasons)
    )
