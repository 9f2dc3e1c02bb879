"""Cleaning a file in batches: the same as text by text, in bounded memory, with clear errors."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
import clean as benchmark

from elara.clean import Rule, clean_file, tables
from elara.machine import memory
from elara.records import Article, frame
from elara.workspace import WorkspaceError


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "articles.parquet"
    benchmark.build(path, 2500, seed=3)  # more than one batch
    return path


@pytest.mark.long
def test_batches_leave_what_text_by_text_leaves(corpus: Path, tmp_path: Path) -> None:
    done = clean_file(corpus, tmp_path / "ours", keep_phi=True)
    benchmark.run_plain(corpus, tmp_path / "plain")
    assert benchmark.differences(tmp_path / "ours", tmp_path / "plain") == []
    rules = set(done.effects["rule"])
    assert {"encoding", "boilerplate", "shared_paragraphs", "repeated_paragraphs"} <= rules


def test_the_same_input_gives_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        clean_file(corpus, tmp_path / name)
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.parquet"))
    assert len(files) == 6
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_what_was_planted_about_patients_does_not_pass(corpus: Path, tmp_path: Path) -> None:
    done = clean_file(corpus, tmp_path / "clean")
    assert done.counts["dropped"] > 0
    assert set(done.dropped["reason"]) == {"may_identify_a_patient", "empty_after_cleaning"} or set(
        done.dropped["reason"]
    ) == {"may_identify_a_patient"}
    assert done.counts["articles"] + done.counts["dropped"] == 2500
    assert not done.articles["phi"].any()
    assert not done.articles["abstract"].str.contains("Moyo").any()
    assert set(done.dropped["id"]) <= set(done.phi["id"])


def test_rows_wait_until_they_are_a_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_PIECE", 20_000)
    with tables.Writers(tmp_path) as out:
        for number in range(1000):
            out.rows("dropped", [(f"{number:03}", "x" * 90)])  # 125 bytes in memory
            out.table("small", pa.table({"id": [f"{number:03}"], "n": ["y" * 18]}))  # 53 bytes
    large, small = (pq.ParquetFile(tmp_path / f) for f in ("dropped.parquet", "small.parquet"))
    assert 6 <= large.num_row_groups <= 12  # of 1,000 pieces
    assert 2 <= small.num_row_groups <= 6
    for table in (large.read(), small.read()):
        assert table["id"].to_pylist() == [f"{number:03}" for number in range(1000)]


def test_memory_between_batches_goes_back_to_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How much that saves is measured by benchmarks/clean.py."""
    trimmed: list[int] = []
    library = SimpleNamespace(malloc_trim=trimmed.append)
    monkeypatch.setattr(memory, "ctypes", SimpleNamespace(CDLL=lambda name: library))
    monkeypatch.setattr(tables, "_ROWS", 2)
    path = tmp_path / "articles.parquet"
    rows = [Article(id=f"s:{n}", source="s", title="T") for n in range(20)]
    frame(rows, Article).write_parquet(path)
    clean_file(path, tmp_path / "clean")
    assert trimmed.count(0) == len(trimmed) > 10  # of two rounds over ten batches


def test_a_system_that_cannot_take_memory_back_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "ctypes", SimpleNamespace(CDLL=lambda name: SimpleNamespace()))
    memory.give_back()


@pytest.mark.parametrize("content", [b"no table", b""], ids=["text", "empty"])
def test_a_file_that_is_no_table_is_one_clear_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "articles.parquet"
    path.write_bytes(content)
    with pytest.raises(WorkspaceError, match=r"articles\.parquet cannot be read as a table"):
        clean_file(path, tmp_path / "clean")


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "articles.parquet"
    pl.DataFrame({"id": ["a"], "title": ["T"], "body": [[""]]}).write_parquet(path)
    with pytest.raises(WorkspaceError, match="no column abstract"):
        clean_file(path, tmp_path / "clean")


def test_an_interrupted_run_leaves_no_articles(tmp_path: Path) -> None:
    def interrupt(text: str) -> str:
        raise KeyboardInterrupt

    path = tmp_path / "articles.parquet"
    frame([Article(id="s:1", source="s", title="T")], Article).write_parquet(path)
    with pytest.raises(KeyboardInterrupt):
        clean_file(path, tmp_path / "clean", rules=[Rule("stop", "Why.", "", "", interrupt)])
    assert not (tmp_path / "clean" / "articles.parquet").exists()
    assert not list((tmp_path / "clean").glob(".work-*"))
