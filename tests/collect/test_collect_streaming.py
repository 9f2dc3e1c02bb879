"""Collections that pass through files: the same result as in memory, in one process or several."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from folders import read_folder
from polars.testing import assert_frame_equal

from elara.collect import Collection, collect_folder, sample_folder
from elara.collect.listing import RawFile, list_files, portions
from elara.collect.merge import merge
from elara.collect.parsed import Dropped, Parsed
from elara.collect.rawfiles import read_listed
from elara.collect.report import removed_table, summary
from elara.collect.sortedruns import Portion, assign, read_portion
from elara.collect.workers import WorkerError, spread
from elara.records import Article, Outcome, Piece, Removal, frame, records

RECORD = (
    '<PubmedArticle><MedlineCitation><PMID Version="{version}">{pmid}</PMID><Article>'
    "<ArticleTitle>Asthma {title}</ArticleTitle><Abstract><AbstractText>{text}</AbstractText>"
    "</Abstract></Article></MedlineCitation><PubmedData><ArticleIdList>"
    '<ArticleId IdType="doi">10.1/{doi}</ArticleId></ArticleIdList></PubmedData></PubmedArticle>'
)


def pubmed_file(path: Path, *fields: dict[str, object], extra: str = "") -> None:
    """Write gzipped PubMed XML with one record for each set of fields."""
    defaults = {"version": 1, "text": "x " * 40, "title": "T"}
    body = "".join(RECORD.format(**(defaults | {"doi": f["pmid"]} | f)) for f in fields)
    path.write_bytes(gzip.compress(f"<PubmedArticleSet>{body}{extra}</PubmedArticleSet>".encode()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files whose records replace, complete and withdraw each other, some of them broken."""
    raw = tmp_path / "raw"
    (raw / "a").mkdir(parents=True)
    (raw / "a-b").mkdir()
    pubmed_file(raw / "a" / "1.gz", *({"pmid": n, "title": n} for n in range(100, 180)))
    deletions = "<DeleteCitation><PMID>101</PMID><PMID>7</PMID></DeleteCitation>"
    newer = ({"pmid": n, "version": 2} for n in range(150, 200))
    pubmed_file(raw / "a-b" / "2.gz", *newer, extra=deletions)
    pubmed_file(raw / "a" / "3.gz", {"pmid": 900, "doi": 102}, {"pmid": 901, "title": "&nope;"})
    (raw / "a" / "copy").write_bytes((raw / "a" / "1.gz").read_bytes())
    whole = (raw / "a" / "1.gz").read_bytes()
    (raw / "cut.gz").write_bytes(whole[: len(whole) // 2])
    (raw / "notes.dat").write_text("nothing")
    return raw


def in_memory(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The plain way: everything at once."""
    articles, outcomes, pieces = merge(read_folder(folder))
    for article in articles:
        assign([article])
    return frame(articles, Article), frame(outcomes, Outcome), frame(pieces, Piece)


def compare(found: Collection, folder: Path) -> None:
    articles, outcomes, pieces = in_memory(folder)
    assert_frame_equal(found.articles.collect(), articles)
    assert_frame_equal(found.outcomes.collect(), outcomes)
    assert_frame_equal(found.pieces.collect(), pieces)


def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every limit so small that a little data passes through all of the machinery."""
    for name, value in {
        "listing._PORTION": 1, "sortedruns._RUN_ARTICLES": 7, "merge._TOGETHER": 11,
        "sortedruns._ROWS": 9, "sortedruns._TOGETHER": 2_000,
    }.items():  # fmt: skip
        monkeypatch.setattr(f"elara.collect.{name}", value)


def test_passing_through_files_changes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare(collect_folder(folder), folder)
    small_steps(monkeypatch)
    compare(collect_folder(folder), folder)


def test_the_real_data_is_the_same_either_way(
    source_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_steps(monkeypatch)
    compare(collect_folder(source_files / "pubmed", tmp_path), source_files / "pubmed")


def test_two_workers_write_the_bytes_of_one(folder: Path, tmp_path: Path) -> None:
    written = []
    for workers in (1, 2):
        into = tmp_path / str(workers)
        into.mkdir()
        found = collect_folder(folder, into, workers=workers)
        names = ["articles", "outcomes", "pieces", "removed"]
        assert sorted(p.stem for p in into.iterdir()) == names
        written.append([p.read_bytes() for p in sorted(into.iterdir())])
    assert written[0] == written[1]
    broken = found.outcomes.filter(status="error").collect()
    assert broken["file"].to_list() == ["a/3.gz", "cut.gz"]
    assert "cut off" in broken["reason"][1]
    counts = found.counts()
    assert (counts["articles"], counts["files"], counts["errors"]) == (100, 6, 2)
    assert counts["skipped"] == found.outcomes.filter(status="skipped").collect().height > 30


def dropping(file: RawFile, columns: Mapping[str, str]) -> Iterator[Parsed]:
    """The records of a file, as a parser gives them that leaves up to two pieces out of each."""
    for parsed in read_listed(file, columns):
        piece = Dropped("nav", f"menu of {parsed.record}", f"a menu of {abs(parsed.record)} lines")
        parsed.dropped = [piece, Dropped("p", "a notice", "stands on every page")]
        del parsed.dropped[parsed.record % 3 :]
        yield parsed


def read_dropping(task: tuple[int, list[RawFile]], **options: Any) -> Portion:
    with pytest.MonkeyPatch.context() as patch:  # in the process that reads
        patch.setattr("elara.collect.sortedruns.read_listed", dropping)
        return read_portion(task, **options)


def test_every_piece_left_out_has_a_row(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elara.collect.collection.read_portion", read_dropping)
    left_out = [
        (parsed.file, parsed.record, *piece)
        for file in list_files(folder)
        for parsed in dropping(file, {})
        for piece in parsed.dropped
    ]
    written = []
    for workers in (1, 2):
        into = tmp_path / str(workers)
        found = collect_folder(folder, into, workers=workers)
        written.append((into / "removed.parquet").read_bytes())
    assert written[0] == written[1]
    for collection in (found, _in_small_steps(folder, monkeypatch)):
        removed = collection.removed.collect()
        assert removed.columns == frame([], Removal).columns
        assert removed.drop("article_id").rows() == sorted(left_out, key=lambda row: row[:2])
        assert collection.counts()["removed"] == len(left_out) > 100
        # Records that were merged name the article they became, those that are none name nothing.
        became = collection.outcomes.group_by("file", "record").agg(pl.col("article_id").max())
        joined = removed.join(became.collect(), on=("file", "record"))
        assert (joined["article_id"] == joined["article_id_right"]).all()
        assert joined.height == len(left_out)
        assert 0 < (removed["article_id"] == "").sum() < removed.height
    told = removed_table(removed).rows()
    menus = sum(row[2] == "nav" for row in left_out)
    assert told[0] == ("a menu of … lines", "nav", menus, "menu of 1")
    assert told[1] == ("stands on every page", "p", len(left_out) - menus, "a notice")
    said = summary(collection.outcomes, 100, len(left_out))
    assert said.endswith(f", {len(left_out)} pieces of records left out (listed in `removed`)")


def _in_small_steps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Collection:
    small_steps(monkeypatch)
    return collect_folder(folder)


def test_portions_follow_names_and_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elara.collect.listing._PORTION", 10)
    for name, size in (("b", 4), ("a/z", 6), ("a-b", 3), ("c", 30), ("d", 1)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * size)
    shared = [[f.name for f in portion] for portion in portions(list_files(tmp_path))]
    assert shared == [["a-b", "a/z"], ["b"], ["c"], ["d"]]


def work(number: int, marks: Path) -> int:
    """Leave a mark; 13 is killed, 14 fails, 15 never ends."""
    (marks / f"{number}-{os.getpid()}").touch()
    if number == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 14:
        raise ValueError("odd number")
    if number == 15:
        time.sleep(600)
    return number * number


def test_work_is_shared_between_processes(tmp_path: Path) -> None:
    squares = sorted(spread(partial(work, marks=tmp_path), range(6), 2))
    assert squares == [0, 1, 4, 9, 16, 25]
    processes = {p.name.split("-")[1] for p in tmp_path.iterdir()}
    assert len(processes) <= 2
    assert str(os.getpid()) not in processes


@pytest.mark.parametrize(
    ("task", "message"), [(13, "task 13 was killed by signal 9"), (14, "ValueError: odd number")]
)
def test_a_dead_process_is_one_clear_error_and_takes_the_others_along(
    tmp_path: Path, task: int, message: str
) -> None:
    with pytest.raises(WorkerError, match=message):
        list(spread(partial(work, marks=tmp_path), [15, task], 2, lambda n: f"task {n}"))
    for mark in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(mark.name.split("-")[1]), 0)


def test_stopping_early_leaves_no_process(tmp_path: Path) -> None:
    results = spread(partial(work, marks=tmp_path), [1, 15, 2], 2)
    assert next(results) == 1
    results.close()  # what an interruption does too
    for mark in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(mark.name.split("-")[1]), 0)


def test_only_free_licences_are_kept_on_request(folder: Path) -> None:
    found = collect_folder(folder, permissive_only=True)
    assert found.articles.collect().height == 0
    assert found.outcomes.filter(pl.col("reason").str.contains("refused")).collect().height > 80


def test_tables_and_records_are_inverse() -> None:
    sample, *_ = in_memory(sample_folder())
    assert sample["body"].list.len().max() > 1
    assert_frame_equal(frame(records(sample, Article), Article), sample)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_few_files_are_open_at_once(tmp_path: Path) -> None:
    page = (
        "<PubmedArticle><MedlineCitation><PMID>{}</PMID><Article><ArticleTitle>T</ArticleTitle>"
        "</Article></MedlineCitation></PubmedArticle>"
    )
    for name, end in {"a.xml": 900, "b.xml": 450}.items():  # half of them have to be merged
        pages = "".join(page.format(n) for n in range(1, end + 1))
        (tmp_path / name).write_text(f"<PubmedArticleSet>{pages}</PubmedArticleSet>")
    code = (
        "import resource, sys; from pathlib import Path\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))\n"
        "from elara.collect import collect_folder, merge, sortedruns\n"
        "sortedruns._RUN_ARTICLES, merge._TOGETHER = 5, 1\n"
        "print(collect_folder(Path(sys.argv[1])).counts())"
    )
    said = subprocess.check_output([sys.executable, "-c", code, str(tmp_path)], text=True)
    assert "'articles': 900" in said
