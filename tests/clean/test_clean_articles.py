"""Cleaning as a whole: ids, structure, the account of changes, PHI, and the embedded sample."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from elara.clean import PHI, Cleaned, clean, find_phi
from elara.clean.fields import pack, unpack
from elara.collect import collect_folder, sample_folder
from elara.records import Article, Section, frame, schema


@pytest.fixture(scope="module")
def sample() -> pl.DataFrame:
    return collect_folder(sample_folder()).articles


@pytest.fixture(scope="module")
def cleaned(sample: pl.DataFrame) -> Cleaned:
    return clean(sample)


def test_unpack_and_pack_are_inverse(sample: pl.DataFrame) -> None:
    assert pack(sample, unpack(sample)).equals(sample)


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
    shrunk = cleaned.characters_before - cleaned.characters_after
    assert cleaned.changes["count"].sum() == shrunk
    excerpts = cleaned.changes.select(pl.col("before", "after").str.len_chars().max())
    assert max(excerpts.row(0)) <= 120
    assert (cleaned.changes["before"] != cleaned.changes["after"]).all()


def test_what_was_removed_is_filed_by_rule(cleaned: Cleaned) -> None:
    files = cleaned.files()
    assert "removed/copyright_tail.parquet" in files
    assert files["removed/boilerplate.parquet"].columns == ["id", "field", "text"]
    assert sum(f.height for f in files.values()) == cleaned.removed.height
    assert cleaned.effects()["passages"].sum() == cleaned.removed.height
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


@pytest.mark.parametrize("kind", PHI, ids=lambda p: p.kind)
def test_phi_example_is_found_and_only_its_place_is_told(kind: object) -> None:
    example = kind.example  # type: ignore[attr-defined]
    text = f"As noted: {example}."
    found = find_phi(pl.DataFrame({"id": ["s:1"], "field": ["abstract"], "text": [text]}))
    assert found.columns == ["id", "field", "kind", "start", "end"]
    spans = {k: text[s:e] for _, _, k, s, e in found.iter_rows()}
    assert kind.kind in spans  # type: ignore[attr-defined]
    assert spans[kind.kind] in text  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text",
    [
        "Variation of Ms and Mr. The observed traits are magnetic.",
        "The range was 120-140 mm Hg in 2020-2021 and 12-34 in 1999.",
        "Trial NCT01234567 enrolled 1234567 doses (PMID 12345678).",
        "© 2020 Ada Moyo and John Doe.",
        "Patients were admitted on 3 May 2020.",
    ],
)
def test_what_is_no_phi(text: str) -> None:
    table = pl.DataFrame({"id": ["s:1"], "field": ["abstract"], "text": [text]})
    assert find_phi(table).is_empty()


def test_patients_raise_the_flag_and_authors_do_not() -> None:
    texts = ["Mrs. Moyo had fever.", "Write to x@example.org for data.", "Dr. Okafor agreed."]
    rows = [Article(id=f"s:{i}", source="s", title="T", abstract=t) for i, t in enumerate(texts)]
    result = clean(frame(rows, Article))
    assert result.articles["phi"].to_list() == [True, False, False]
    assert set(result.phi["kind"]) == {"patient_name", "email", "clinician_name"}
    span = result.phi.row(by_predicate=pl.col("kind") == "patient_name", named=True)
    assert texts[0][span["start"] : span["end"]] == "Mrs. Moyo"


def test_planted_addresses_and_numbers_are_found(shared_data: Path) -> None:
    path = shared_data / "phi" / "presidio" / "synth_dataset_v2.json.gz"
    rows = json.loads(gzip.decompress(path.read_bytes()))
    for entity, kind, share in (("EMAIL_ADDRESS", "email", 0.95), ("US_SSN", "ssn", 0.6)):
        texts = [
            row["full_text"]
            for row in rows
            if entity in {span["entity_type"] for span in row["spans"]}
        ]
        table = pl.DataFrame({"id": map(str, range(len(texts))), "field": "t", "text": texts})
        found = find_phi(table).filter(pl.col("kind") == kind)["id"].n_unique()
        assert len(texts) > 10
        assert found >= share * len(texts), entity
