"""The quality score: bounds, what moves it, and the flags."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from elara.inspection import (
    feature_table,
    inspect_files,
    near_duplicates,
    score,
    select,
)
from elara.inspection.features import FEATURES
from elara.records import Article, Section, frame

ABSTRACT = (
    "Sepsis is a frequent cause of death in intensive care. We treated 120 patients with early "
    "antibiotics and compared mortality with that of 118 patients who were given antibiotics "
    "after the culture result. Mortality was lower with early treatment. Renal failure and shock "
    "were as common in both groups, and no patient had an allergic reaction to the drug."
)
FRENCH = (
    "Le sepsis est une cause fréquente de décès en réanimation. Nous avons traité des malades "
    "par des antibiotiques précoces et comparé la mortalité avec celle des malades traités après "
    "le résultat des cultures. La mortalité était plus faible avec le traitement précoce."
)


def article(number: int, **fields: object) -> Article:
    defaults: dict[str, object] = {
        "id": f"pubmed:{number}",
        "source": "pubmed",
        "title": "Early antibiotics in sepsis",
        "abstract": ABSTRACT,
        "language": "en",
    }
    return Article(**(defaults | fields))  # type: ignore[arg-type]


def scored(*articles: Article) -> pl.DataFrame:
    return score(frame(articles, Article))


def test_weights_sum_to_one_and_every_feature_is_documented() -> None:
    assert sum(f.weight for f in FEATURES) == pytest.approx(1.0)
    assert feature_table().height == len(FEATURES) == len({f.name for f in FEATURES})
    assert all(f.meaning and f.low < f.high for f in FEATURES)


def test_score_adds_columns_and_keeps_rows() -> None:
    table = frame([article(2), article(1, abstract="")], Article)
    result = score(table)
    assert result.select(table.columns).equals(table)
    added = result.columns[len(table.columns) :]
    assert added == ["quality", "bucket", *(f"feature_{f.name}" for f in FEATURES), "flags"]
    numbers = result.select(pl.selectors.starts_with("feature_", "quality"))
    assert numbers.null_count().sum_horizontal().item() == 0
    assert numbers.to_numpy().min() >= 0
    assert numbers.to_numpy().max() <= 1


def test_score_of_nothing_is_an_empty_table() -> None:
    result = scored()
    assert result.height == 0
    assert "quality" in result.columns
    assert result.schema["flags"] == pl.List(pl.String)


def test_quality_is_the_weighted_sum_and_buckets_follow() -> None:
    result = scored(article(1), article(2, abstract=""), article(3, abstract=ABSTRACT[:140]))
    for row in result.iter_rows(named=True):
        total = sum(row[f"feature_{f.name}"] * f.weight for f in FEATURES)
        assert row["quality"] == pytest.approx(total, abs=1e-5)
        limits = {"high": (0.7, 1.01), "medium": (0.4, 0.7), "low": (0.0, 0.4)}[row["bucket"]]
        assert limits[0] <= row["quality"] < limits[1]
    assert result["bucket"][0] == "high"
    assert result["bucket"][1] == "low"


@pytest.mark.parametrize(
    ("feature", "worse"),
    [
        ("abstract", {"abstract": ""}),
        ("length", {"abstract": ABSTRACT[:200]}),
        ("sentences", {"abstract": ". ".join(ABSTRACT.replace(".", "").split())}),
        ("medical", {"abstract": "The old clock on the wall of the town hall was late. " * 6}),
        ("symbols", {"abstract": ABSTRACT.replace(" ", " # @ ")}),
        ("repetition", {"abstract": "The patient was given a drug. " * 12}),
        ("language", {"abstract": FRENCH}),
    ],
)
def test_each_feature_falls_with_what_it_measures(feature: str, worse: dict[str, str]) -> None:
    good, bad = scored(article(1), article(2, **worse))[f"feature_{feature}"]
    assert bad < good


def test_metadata_counts_six_kinds() -> None:
    full = article(
        2, published="2021", journal="J", authors=["A"], mesh=["Sepsis"], pmid="2",
        licence="CC-BY-4.0",
    )  # fmt: skip
    assert scored(article(1), full)["feature_metadata"].to_list() == [0.0, 1.0]


def test_words_of_the_collections_headings_count_as_medical() -> None:
    text = "We saw many zygomycota there and it was the first time that they were found. " * 3
    without, with_heading = (
        article(1, abstract=text),
        article(2, abstract=text, mesh=["Zygomycota"]),
    )
    alone = scored(without)["feature_medical"][0]
    assert alone < scored(without, with_heading)["feature_medical"][0]


def test_a_translation_is_not_judged() -> None:
    body = [Section("", ABSTRACT), Section("Abstract (fr)", FRENCH, "translation")]
    with_it, without = scored(article(1, body=body), article(2)), scored(
        article(1, body=body[:1]), article(2, body=body[1:])
    )  # fmt: skip
    added = pl.selectors.by_name("quality", "flags") | pl.selectors.starts_with("feature_")
    assert with_it.select(added).equals(without.select(added))


def test_flags() -> None:
    result = scored(
        article(1),
        article(2, retracted=True),
        article(3, abstract=FRENCH, language="fr"),
        article(4, abstract="", title="[Not Available]."),
        article(5, abstract=""),
        article(6, abstract="", body=[Section("", ABSTRACT)]),
        article(7, language="fr"),  # French journal, English abstract
        article(8, abstract=FRENCH, language="en"),  # stated wrongly
    )
    assert result["flags"].to_list() == [
        [],
        ["retracted"],
        ["non_english"],
        ["empty", "no_abstract"],
        ["no_abstract"],
        ["no_abstract"],
        [],
        ["non_english"],
    ]
    assert result["feature_abstract"][5] > 0.5  # a body stands in for the abstract


@pytest.mark.parametrize("language", ["fr", "es-LA", "sw", "zu", "ha"])
def test_language_flag_on_real_translations(shared_data: Path, language: str) -> None:
    path = shared_data / "multilingual" / "tico19" / f"en-{language}.jsonl.gz"
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    long = [row for row in rows if len(row["en"].split()) > 30][:200]
    assert len(long) > 50
    english = [article(i, title="", abstract=row["en"]) for i, row in enumerate(long)]
    foreign = [
        article(i, title="", abstract=row["text"], language=row["lang"])
        for i, row in enumerate(long)
    ]
    flagged = pl.col("flags").list.contains("non_english")
    assert scored(*english).filter(flagged).height <= 0.01 * len(long)
    assert scored(*foreign).filter(flagged).height >= 0.98 * len(long)


NOTICES = [
    "Erratum: dose of drug A.", "Erratum.", "Errata", "Corrigendum to \"Zinc and sleep\" [Sleep 5]",
    "Correction to: Zinc and sleep.", "Correction: Zinc and sleep", "Correction.", "Corrections",
    "Author Correction: Zinc", "Publisher Correction: Zinc", "Publisher’s Correction to: Zinc",
    "Author's correction: Zinc", "Correction for Moyo et al., Zinc and sleep", "[Erratum] Zinc",
    "Correction for: Zinc", "Retraction: Zinc", "RETRACTION NOTE to: Zinc", "Retraction Note: Zinc",
    "Retraction notice to \"Zinc\"", "Notice of Retraction: Zinc", "Statement of retraction",
    "Partial retraction: Zinc", "Retraction of “Zinc and sleep”", "Withdrawal notice to Zinc",
    "Expression of concern: Zinc", "Editorial Expression of Concern: Zinc", "Addendum: Zinc",
    "Addendum to Zinc", "Zinc and sleep: erratum", "Zinc and sleep (Correction)",
    "Publisher's note: Zinc", "Editor's note and expression of concern [Expression of Concern]",
]  # fmt: skip
ARTICLES = [
    "Correction of anaemia in renal failure", "Correction for guessing in dental examinations",
    "Corrections of clubfoot with casts", "Retraction of the gingiva before impressions",
    "Retraction pockets of the eardrum", "Withdrawal of steroids in ulcerative colitis",
    "Withdrawal from opioids at home", "Drug errata? How labels are corrected",
    "Leukodystrophy: remyelination, no cross-correction.", "Zinc and sleep [corrected].",
    "Correctional health care", "Concerns expressed by mothers",
    "Addendum-free reporting in pathology", "Reply.", "Errors in prescribing: a review",
    "Surgical correction: outcomes after ten years", "Notice of privacy and consent",
]  # fmt: skip


def test_notices_about_articles_are_told_from_articles_by_their_title() -> None:
    titled = scored(*(article(n, title=t) for n, t in enumerate(NOTICES + ARTICLES)))
    flagged = titled.filter(pl.col("flags").list.contains("notice"))["title"].to_list()
    assert flagged == [t for t in NOTICES + ARTICLES if t in flagged]
    assert set(NOTICES) - set(flagged) == set()
    assert set(flagged) - set(NOTICES) == set()


@pytest.mark.parametrize(
    ("types", "notice"),
    [
        (["Published Erratum"], True),
        (["Journal Article", "Retraction of Publication"], True),
        (["Expression of Concern"], True),
        (["published erratum", "Correction"], True),
        (["correction"], True),
        (["expression-of-concern"], True),
        (["partial-retraction"], True),
        (["Corrected and Republished Article"], False),
        (["Journal Article", "Review"], False),
        (["corrected-article"], False),
        ([], False),
    ],
)
def test_notices_are_told_by_what_their_source_calls_them(types: list[str], notice: bool) -> None:
    flags = scored(article(1, publication_types=types))["flags"].to_list()
    assert flags == [["notice"] if notice else []]


def test_a_notice_is_removed_by_name_on_both_roads(tmp_path: Path) -> None:
    table = frame(
        [
            article(1),
            article(2, title="Erratum: early antibiotics", doi="10.1/a"),
            article(3, title="Retraction: early antibiotics", retracted=True),
        ],
        Article,
    )
    result = score(table)
    removed = select(result, near_duplicates(result)).removed
    assert dict(removed.select("id", "reason").iter_rows()) == {
        "pubmed:2": "notice",
        "pubmed:3": "retracted",
    }
    table.write_parquet(tmp_path / "a.parquet")
    inspect_files([tmp_path / "a.parquet"], tmp_path / "out")
    streamed = pl.read_parquet(tmp_path / "out" / "removed.parquet")
    assert streamed.select("id", "reason").equals(removed.select("id", "reason"))
