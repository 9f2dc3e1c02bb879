"""What was planted in the embedded sample is found, and nothing else is."""

from __future__ import annotations

from html.parser import HTMLParser

import polars as pl
import pytest

from elara.collect import collect_folder, sample_folder
from elara.inspection import (
    Clusters,
    Selection,
    feature_figure,
    near_duplicates,
    quality_figure,
    report,
    report_html,
    score,
    select,
)

EXACT = {("99000003", "99000043"), ("99001004", "99001037")}
NEAR = {
    ("99000010", "99000044"),
    ("99000020", "99000045"),
    ("99001015", "99001038"),
    ("99002002", "99002019"),
}


@pytest.fixture(scope="module")
def scored() -> pl.DataFrame:
    return score(collect_folder(sample_folder()).articles.collect())


@pytest.fixture(scope="module")
def clusters(scored: pl.DataFrame) -> Clusters:
    return near_duplicates(scored)


@pytest.fixture(scope="module")
def selection(scored: pl.DataFrame, clusters: Clusters) -> Selection:
    return select(scored, clusters)


def pairs(clusters: Clusters, *reasons: str) -> set[tuple[str, ...]]:
    rows = clusters.removed.filter(pl.col("reason").is_in(reasons)).select("id", "kept_id")
    return {tuple(sorted(i.removeprefix("pubmed:") for i in row)) for row in rows.iter_rows()}


def test_exactly_the_planted_duplicates_are_found(clusters: Clusters) -> None:
    assert pairs(clusters, "same_text", "same_doi", "same_pmid", "same_pmcid") == EXACT
    assert pairs(clusters, "near_duplicate") == NEAR


def test_exactly_the_planted_flags_in_pubmed(scored: pl.DataFrame) -> None:
    pubmed = scored.filter(pl.col("source") == "pubmed")

    def flagged(flag: str) -> list[str]:
        return pubmed.filter(pl.col("flags").list.contains(flag))["id"].to_list()

    assert flagged("retracted") == ["pubmed:99000048"]
    assert flagged("non_english") == ["pubmed:99000047"]
    assert flagged("empty") == []
    without = pubmed.filter(pl.col("abstract") == "")["id"].to_list()
    assert flagged("no_abstract") == without
    assert len(without) >= 3


def test_other_languages_are_exactly_those_that_the_sources_state(scored: pl.DataFrame) -> None:
    found = scored.filter(pl.col("flags").list.contains("non_english"))
    assert (found["language"] != "en").all()
    assert found.height == scored.filter(~pl.col("language").is_in(["en", "und"])).height


def test_the_noisy_record_stays_for_cleaning(selection: Selection) -> None:
    assert "pubmed:99000046" in selection.kept["id"].to_list()


def test_selection_removes_for_these_reasons_only(
    scored: pl.DataFrame, selection: Selection
) -> None:
    reasons = dict(selection.reasons().iter_rows())
    assert reasons["near_duplicate"] == len(NEAR)
    assert reasons["same_text"] == len(EXACT)
    assert reasons["retracted"] == 1
    low = selection.removed.filter(pl.col("reason") == "low_quality")["id"]
    assert scored.filter(pl.col("id").is_in(low.implode()))["abstract"].unique().to_list() == [""]
    assert set(reasons) == {
        "near_duplicate",
        "same_text",
        "retracted",
        "non_english",
        "low_quality",
    }


def test_the_outcome_is_told_in_a_line(scored: pl.DataFrame, selection: Selection) -> None:
    told = selection.summary()
    assert told.startswith(f"{selection.kept.height} of {scored.height} articles kept, ")
    assert f"{len(NEAR)} near_duplicate" in told
    assert selection.advice() == ""
    nothing = Selection(selection.kept.clear(), selection.removed)
    assert "`minimum_quality`" in nothing.advice()


def test_keeping_other_languages_is_a_choice(
    scored: pl.DataFrame, clusters: Clusters, selection: Selection
) -> None:
    more = select(scored, clusters, keep_non_english=True)
    assert more.kept.height > selection.kept.height
    assert "pubmed:99000047" in more.kept["id"].to_list()


class _Outline(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.alts: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag == "img":
            self.alts.append(dict(attrs).get("alt"))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_report_adds_up(scored: pl.DataFrame, clusters: Clusters, selection: Selection) -> None:
    found = report(scored, clusters, selection)
    assert found["articles"] == found["kept"] + sum(found["removed"].values())
    sources = pl.DataFrame(found["sources"])
    assert sources["articles"].sum() == scored.height
    assert sources["kept"].sum() == selection.kept.height
    assert found["duplicates"]["verified_pairs"] == len(NEAR)

    page = report_html(found, {"quality.png": 'a "histogram" <of> quality'})
    outline = _Outline()
    outline.feed(page)
    assert outline.open == []
    assert outline.alts == ['a "histogram" <of> quality']
    assert {"main", "h1", "caption", "th", "title"} <= set(outline.seen)


def test_figures_have_labelled_axes(scored: pl.DataFrame, clusters: Clusters) -> None:
    for figure in (quality_figure(scored), clusters.plot()):
        (axes,) = figure.axes
        assert axes.get_xlabel()
        assert axes.get_ylabel()
    assert len(feature_figure(scored).axes) == 8
