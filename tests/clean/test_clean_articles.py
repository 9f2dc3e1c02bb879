"""Cleaning as a whole: ids, structure, the account of changes, PHI, and the embedded sample."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from elara.clean import Cleaned, clean, clean_file
from elara.clean.tables import pack, unpack
from elara.collect import collect_folder, sample_folder
from elara.records import Article, Section, frame, schema


@pytest.fixture(scope="module")
def sample() -> pl.DataFrame:
    return collect_folder(sample_folder()).articles.collect()


@pytest.fixture(scope="module")
def cleaned(sample: pl.DataFrame) -> Cleaned:
    return clean(sample)


def test_unpack_and_pack_are_inverse(sample: pl.DataFrame) -> None:
    table = sample.to_arrow()
    assert pl.DataFrame(pack(table, unpack(table).values)).equals(sample)


def test_articles_keep_ids_order_columns_and_sections(
    sample: pl.DataFrame, cleaned: Cleaned
) -> None:
    assert cleaned.articles["id"].to_list() == sample["id"].to_list()
    assert cleaned.articles.columns == [*schema(Article), "phi"]
    assert cleaned.articles["body"].list.len().to_list() == sample["body"].list.len().to_list()
    untouched = [c for c in sample.columns if c not in ("title", "abstract", "body")]
    assert cleaned.articles.select(untouched).equals(sample.select(untouched))


def test_the_planted_noise_is_gone_and_its_medicine_is_there(cleaned: Cleaned) -> None:
    row = cleaned.articles.row(by_predicate=pl.col("id") == "pubmed:99000046", named=True)
    for noise in ("Â", "Î", "â€", "&amp;", "&lt;", "  ", "Copyright", "@"):
        assert noise not in row["title"] + row["abstract"]
    for kept in ("<90 mm Hg", ">30 min", ">2 mmol/L", "µg/kg/min", "β-blockers", "isn’t"):
        assert kept in row["abstract"]
    rules = set(cleaned.changes.filter(pl.col("id") == "pubmed:99000046")["rule"])
    assert {"encoding", "entities", "copyright_tail"} <= rules


def test_no_text_changes_without_a_line_in_changes(sample: pl.DataFrame, cleaned: Cleaned) -> None:
    both = zip(sample.iter_rows(named=True), cleaned.articles.iter_rows(named=True), strict=True)
    differ = {b["id"] for b, a in both if any(b[c] != a[c] for c in ("title", "abstract", "body"))}
    assert differ == set(cleaned.changes["id"])
    assert differ
    shrunk = cleaned.counts["characters_before"] - cleaned.counts["characters_after"]
    assert cleaned.changes["count"].sum() == shrunk
    excerpts = cleaned.changes.select(pl.col("before", "after").str.len_chars().max())
    assert max(excerpts.row(0)) <= 120
    assert (cleaned.changes["before"] != cleaned.changes["after"]).all()


def test_what_was_removed_is_filed_by_rule(cleaned: Cleaned) -> None:
    assert {"copyright_tail", "boilerplate"} <= set(cleaned.removed["rule"])
    assert cleaned.removed.columns == ["id", "rule", "field", "text", "kind", "terms"]
    held = cleaned.removed.filter(pl.col("terms") > 0)
    assert set(held["kind"]) <= {"legal", "address", "citation", "label"}
    assert held.height
    assert cleaned.effects["passages"].sum() == cleaned.counts["removed"] == cleaned.removed.height
    assert cleaned.effects["texts"].sum() == cleaned.counts["changes"] == cleaned.changes.height
    assert cleaned.plot().axes[0].get_xlabel()


def test_the_sample_is_clean_after_one_pass(cleaned: Cleaned) -> None:
    again = clean(cleaned.articles.drop("phi"))
    assert again.changes.is_empty()
    assert again.articles.equals(cleaned.articles)


def test_an_article_without_text_left_is_dropped_by_name() -> None:
    rows = [
        Article(id="s:1", source="s", title=" ", abstract="© 2020 The Authors."),
        Article(id="s:2", source="s", title="Kept"),
    ]
    result = clean(frame(rows, Article))
    assert result.dropped.rows() == [("s:1", "empty_after_cleaning")]
    assert result.articles["id"].to_list() == ["s:2"]


def test_sections_and_answers_keep_their_places() -> None:
    body = [
        Section("Q", "What  is it?", "question"),
        Section("A", "© 2020 The Authors.", "answer"),
        Section("B", "It is\ta sign.", "answer"),
    ]
    result = clean(frame([Article(id="s:1", source="s", title="T", body=body)], Article))
    assert [(s["text"], s["kind"]) for s in result.articles["body"][0]] == [
        ("What is it?", "question"),
        ("", "answer"),
        ("It is a sign.", "answer"),
    ]
    assert set(result.changes["field"]) == {"body[0].text", "body[1].text", "body[2].text"}


def test_patients_raise_the_flag_and_authors_do_not(tmp_path: Path) -> None:
    texts = ["Mrs. Moyo had fever.", "Write to x@example.org for data.", "Dr. Okafor agreed."]
    rows = [Article(id=f"s:{i}", source="s", title="T", abstract=t) for i, t in enumerate(texts)]
    result = clean(frame(rows, Article))
    assert result.articles["phi"].to_list() == [True, False, False]
    frame(rows, Article).write_parquet(tmp_path / "in.parquet")
    without = clean_file(tmp_path / "in.parquet", tmp_path / "out")
    assert without.articles["id"].to_list() == ["s:1", "s:2"]
    assert without.dropped.rows() == [("s:0", "may_identify_a_patient")]
    assert set(without.phi["id"]) == {"s:0", "s:1", "s:2"}
    assert set(result.phi["kind"]) == {"patient_name", "email", "clinician_name"}
    span = result.phi.row(by_predicate=pl.col("kind") == "patient_name", named=True)
    assert texts[0][span["start"] : span["end"]] == "Mrs. Moyo"
