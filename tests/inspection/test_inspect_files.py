"""Files in, files out: what was planted is found, nothing else is removed, nothing is lost."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

from elara.inspection import InputError, inspect_files, near_duplicates, reading, score, select
from elara.records import Article, frame

OUTPUTS = (
    *("articles.parquet", "removed.parquet", "report.html", "report.json", "review.parquet"),
    *("scores.parquet", "skipped.parquet"),
)


@pytest.fixture(scope="session")
def rows(corpus: Path) -> dict[str, dict[str, object]]:
    lines = (line for f in sorted(corpus.glob("*.jsonl")) for line in f.open(encoding="utf-8"))
    return {row["id"]: row for row in map(json.loads, lines)}


@pytest.fixture(scope="session")
def shingles(rows: dict[str, dict[str, object]]) -> dict[str, set[tuple[str, ...]]]:
    """Word triples, from a regular expression and Python sets."""
    found = {}
    for key, row in rows.items():
        words = re.findall(r"[^\W_]+", f"{row['title']}\n{row['abstract']}".lower())
        found[key] = set(zip(words, words[1:], words[2:], strict=False))
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def jaccard(a: set[tuple[str, ...]], b: set[tuple[str, ...]]) -> float:
    return len(a & b) / len(a | b)


def test_planted_copies_are_found(corpus: Path, inspected: Path) -> None:
    found = set(pl.read_parquet(inspected / "removed.parquet")["id"])
    for column in ("id", "kept_id"):  # what differs in a word that counts is there to be reviewed
        found |= set(pl.read_parquet(inspected / "review.parquet")[column])
    truth = pl.read_parquet(corpus / "bench.truth.parquet")
    planted = truth.filter(pl.col("jaccard") >= 0.8)
    assert planted.height > 120
    missed = [r for r in planted.rows() if not {r[0], r[1]} & found]
    assert missed == []


def test_every_removed_copy_is_one_by_an_independent_count(
    inspected: Path, shingles: dict[str, set[tuple[str, ...]]]
) -> None:
    removed = pl.read_parquet(inspected / "removed.parquet")
    copies = removed.filter(pl.col("kept_id") != "")
    kept = set(pl.read_parquet(inspected / "articles.parquet")["id"])
    review = pl.read_parquet(inspected / "review.parquet")
    assert set(copies["reason"]) == {"same_text"}, "the planted edits put in other words"
    assert review.height > 50
    assert set(review["id"]) <= kept
    assert (review["difference"] != "").all()
    same = ["id", "kept_id", "similarity"]
    for row in pl.concat([copies.select(same), review.select(same)]).iter_rows(named=True):
        exact = jaccard(shingles[row["id"]], shingles[row["kept_id"]])
        assert exact >= 0.8
        assert row["similarity"] == pytest.approx(exact, abs=1e-6)
        assert row["kept_id"] in kept


def test_no_two_articles_that_stay_are_near_duplicates_and_not_listed(
    inspected: Path, shingles: dict[str, set[tuple[str, ...]]]
) -> None:
    kept = pl.read_parquet(inspected / "articles.parquet")["id"].to_list()
    having = defaultdict(list)
    for key in kept:
        for shingle in shingles[key]:
            having[shingle].append(key)
    shared: Counter[tuple[str, str]] = Counter()
    for keys in having.values():  # every pair that shares anything at all
        if len(keys) < 50:
            shared.update((a, b) for i, a in enumerate(keys) for b in keys[i + 1 :])
    resembling = [(a, b) for (a, b), n in shared.items() if n > 30]
    assert len(resembling) > 10, "the test needs pairs below the threshold"
    listed = set(pl.read_parquet(inspected / "review.parquet")["id"])
    alike = [p for p in resembling if jaccard(shingles[p[0]], shingles[p[1]]) >= 0.8]
    assert [p for p in alike if not listed & {*p}] == []


def test_files_are_inspected_as_a_table_in_memory_is(
    rows: dict[str, dict[str, object]], inspected: Path
) -> None:
    scored = score(frame([Article(**row) for row in rows.values()], Article))  # type: ignore[arg-type]
    selection = select(scored, near_duplicates(scored))
    removed = pl.read_parquet(inspected / "removed.parquet")
    assert removed.equals(selection.removed)
    assert pl.read_parquet(inspected / "review.parquet").equals(selection.review)
    kept = pl.read_parquet(inspected / "articles.parquet")
    assert kept.columns == scored.columns
    assert kept.with_columns(pl.col("bucket").cast(pl.String)).equals(selection.kept)
    report = json.loads((inspected / "report.json").read_text())
    assert report["articles"] == len(rows) == kept.height + removed.height


def test_result_depends_neither_on_the_size_of_parts_nor_on_the_format(
    corpus: Path, inspected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted(corpus.glob("*.jsonl"))
    whole = pl.concat([pl.read_ndjson(f, infer_schema_length=None) for f in files])
    whole.write_parquet(tmp_path / "all.parquet", row_group_size=700)
    whole.write_parquet(tmp_path / "one.parquet")  # in a single row group
    (tmp_path / "all.jsonl").write_bytes(b"".join(f.read_bytes() for f in files))
    monkeypatch.setattr(reading, "PART_BYTES", 300_000)
    for name in ("all.parquet", "one.parquet", "all.jsonl"):
        inspect_files([tmp_path / name], tmp_path / "out")
        for table in ("articles.parquet", "removed.parquet", "review.parquet"):
            expected = pl.read_parquet(inspected / table)
            assert pl.read_parquet(tmp_path / "out" / table).equals(expected)


def test_same_input_same_bytes(corpus: Path, inspected: Path, tmp_path: Path) -> None:
    inspect_files(corpus, tmp_path)
    assert contents(tmp_path) == contents(inspected)
    assert sorted(contents(tmp_path)) == sorted(OUTPUTS)


def test_a_run_that_is_killed_leaves_what_was_there(corpus: Path, tmp_path: Path) -> None:
    first = sorted(corpus.glob("*.jsonl"))[:2]
    inspect_files(first, tmp_path)
    before = contents(tmp_path)
    code = (
        "import os, sys; from pathlib import Path; from elara.inspection import files\n"
        "files._sink = lambda *_: os._exit(9)\n"
        "files.inspect_files(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(corpus), str(tmp_path)], check=False)
    assert killed.returncode == 9
    assert list(tmp_path.glob(".*/*.arrow")), "it was to be killed in the middle"
    assert contents(tmp_path) == before
    inspect_files(first, tmp_path)
    assert contents(tmp_path) == before
    assert not list(tmp_path.glob(".*"))


def test_a_record_without_id_is_named_and_nothing_stored_is_lost(
    corpus: Path, tmp_path: Path
) -> None:
    good = sorted(corpus.glob("*.jsonl"))[:1]
    inspect_files(good, tmp_path)
    before = contents(tmp_path)
    bad = tmp_path / "input" / "bad.parquet"
    bad.parent.mkdir()
    pl.DataFrame({"title": ["t"]}).write_parquet(bad)
    with pytest.raises(ValueError, match=r"bad.parquet: a record without `id`, at row 1"):
        inspect_files([*good, bad], tmp_path)
    assert contents(tmp_path) == before
    assert not list(tmp_path.glob(".*"))


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n \n")
    (tmp_path / "a.parquet").write_text("no parquet")
    (tmp_path / "wide.jsonl").write_text('\n{"id": "a:1"}', encoding="utf-16")
    for name, said in {
        "absent.jsonl": "absent.jsonl cannot be read",
        "a.csv": "a.csv is neither",
        "a.parquet": "a.parquet cannot be read",
        "empty.jsonl": "there is no article",
        "wide.jsonl": "wide.jsonl, line 1: no record ('utf-8' codec",
    }.items():
        with pytest.raises(InputError, match=re.escape(said)):
            inspect_files([tmp_path / name], tmp_path / "out")


def test_fields_that_a_record_does_not_state_have_their_defaults(tmp_path: Path) -> None:
    (tmp_path / "few.jsonl").write_text('{"id": "a:1", "title": "T", "mesh": null, "extra": 1}')
    inspect_files([tmp_path / "few.jsonl"], tmp_path, minimum=0)
    kept = pl.read_parquet(tmp_path / "articles.parquet")
    expected = frame([Article(id="a:1", source="", title="T")], Article)
    assert kept.select(expected.columns).equals(expected)


def test_corpus_is_the_same_for_a_seed(generator: ModuleType, corpus: Path, tmp_path: Path) -> None:
    again = generator.generate(tmp_path, articles=3000, seed=7)
    assert contents(again) == contents(corpus)
    truth = pl.read_parquet(corpus / "bench.truth.parquet")
    assert 0.03 < truth.filter(pl.col("kind") != "related").height / 3000 < 0.065
