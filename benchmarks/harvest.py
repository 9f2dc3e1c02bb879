"""Measure a collection from live sources, against a local mirror that serves real PubMed records.

`python benchmarks/harvest.py` does three things and writes `benchmarks/harvest.json`:

1. throughput: all topics without rate limit and faults, from the first request to the table;
2. the whole collection of 39,299 articles over 108 topics and 484 African ones in five batches,
   with faults injected;
3. politeness: the most requests in any sliding second under the limit of three.

The records are those of `../shared/data/pubmed` (or below `ELARA_SHARED_DATA`), each many times
under numbers of its own.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from elara import collect
from elara.collect.live.entrez import Entrez, Query
from elara.collect.live.harvest import harvest
from elara.collect.live.sources import topic_hits
from elara.collect.live.store import Store, payload_table
from elara.collect.topics import african_batches, load_searches
from elara.mirror import Faults, Mirror
from elara.mirror.answers import Answer
from elara.mirror.records import Corpus, read_raw
from elara.mirror.server import Request
from elara.workspace import file_sha256

PROJECT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("ELARA_SHARED_DATA", PROJECT.parent / "shared" / "data")) / "pubmed"
CONTACT = "name@example.org"
DAY = "2026-11-23"
ARTICLES, AFRICAN = 39_299, 484
COPIES = 60  # of 898 real records: more than the collection takes
FAULTS = 0.2
RUNS = 3

Hits = dict[str, int]


def topics() -> list[Query]:
    return [Query(s.id, s.query) for s in load_searches()]


def batches() -> list[Query]:
    return [Query(b.id, b.query) for b in african_batches()]


def plan_hits() -> Hits:
    """How many hits each query needs so that the collection has exactly the planned size.

    Searches overlap, and a record counts for the first search that finds it.
    """
    pubmed, _, places = read_raw(DATA)
    corpus = Corpus(pubmed, places, COPIES, 10**9, {"": 10**9})
    hits: Hits = {}
    for queries, total in ((topics(), ARTICLES), (batches(), AFRICAN)):
        known: set[int] = set()
        for left, query in zip(range(len(queries), 0, -1), queries, strict=True):
            wanted = (total - len(known)) // left
            new = 0
            for count, at in enumerate(corpus.search(query.term), start=1):
                number = corpus.numbers[at]
                new += number not in known
                known.add(number)
                if new == wanted:
                    hits[query.term.lower()] = count
                    break
        assert len(known) == total
    return hits


class Logged(Mirror):
    """A mirror whose log is on disk, so that it outlives the process."""

    file: Path

    def respond(self, request: Request) -> tuple[Answer, int]:
        """Answer a request, and write it down."""
        answered = super().respond(request)
        with self._lock, self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dataclasses.asdict(request)) + "\n")
        return answered


def serve(hits: Hits, rate: float, log: Path, queue: Any) -> None:
    """The mirror, in a process of its own as a server is."""
    faults = Faults(seed=1, rate=rate, retry_after=0.1, slow_seconds=0.2)
    with Logged(DATA, faults, COPIES, hits=hits) as mirror:
        mirror.file = log
        queue.put(mirror.url)
        threading.Event().wait()


@contextmanager
def mirror(hits: Hits, rate: float, log: Path) -> Iterator[str]:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=serve, args=(hits, rate, log, queue), daemon=True)
    process.start()
    try:
        yield str(queue.get(timeout=120))
    finally:
        process.kill()
        process.join()


def sources(url: str, *, african: bool, per_second: int = 0) -> list[Entrez]:
    found = [("pubmed", topics())] + ([("african_pubmed", batches())] if african else [])
    return [
        Entrez(name, queries, CONTACT, until=DAY, base_url=f"{url}/eutils", per_second=per_second)
        for name, queries in found
    ]


def collect_all(url: str, folder: Path, african: bool) -> None:
    """One collection, from the first request to the table (run as a process by `main`)."""
    harvest(sources(url, african=african), folder / "payloads", CONTACT, longest_pause=0.2)
    (folder / "tables").mkdir()
    collect.collect_folder(folder / "payloads", into=folder / "tables")


def timed_process(url: str, folder: Path, african: bool) -> float:
    command = [sys.executable, __file__, "--collect", url, str(folder), "1" if african else ""]
    started = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - started


def log_lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def most_in_a_second(times: list[float]) -> int:
    times = sorted(times)
    return max(
        sum(t <= other < t + 1.0 for other in times[i : i + 50]) for i, t in enumerate(times)
    )


def throughput(hits: Hits, folder: Path) -> dict[str, Any]:
    seconds = []
    with mirror(hits, 0.0, folder / "log.jsonl") as url:
        for number in range(RUNS):
            seconds.append(timed_process(url, folder / f"run{number}", False))
    articles = pl.scan_parquet(folder / "run0/tables/articles.parquet").select(pl.len())
    count = articles.collect().item()
    return {
        "articles": count,
        "seconds": [round(s, 2) for s in seconds],
        "median_seconds": round(statistics.median(seconds), 2),
        "articles_per_second": round(count / statistics.median(seconds)),
    }


def whole_collection(hits: Hits, folder: Path) -> dict[str, Any]:
    log = folder / "log.jsonl"
    with mirror(hits, FAULTS, log) as url:
        seconds = timed_process(url, folder / "run", True)
    payloads, tables = folder / "run/payloads", folder / "run/tables"
    kept = {name: Store(payloads, name) for name in ("pubmed", "african_pubmed")}
    ids = {n: [i for p in s.steps.values() for i in p.ids] for n, s in kept.items()}
    table = collect.coverage(topic_hits(payloads), pl.scan_parquet(tables / "articles.parquet"))
    figure = collect.coverage_figure(table)
    figure.savefig(PROJECT / "_build" / "coverage.png", dpi=90)
    found = Counter(line["fault"] or "none" for line in log_lines(log))
    outcomes = pl.read_parquet(tables / "outcomes.parquet")
    return {
        "seconds": round(seconds, 1),
        "planned": {"pubmed": ARTICLES, "african_pubmed": AFRICAN},
        "fetched": {name: len(set(found)) for name, found in ids.items()},
        "fetched_twice": {name: len(found) - len(set(found)) for name, found in ids.items()},
        "percent": {
            name: round(100 * len(set(ids[name])) / planned, 2)
            for name, planned in (("pubmed", ARTICLES), ("african_pubmed", AFRICAN))
        },
        "topics": table.height,
        "topics_complete": table.filter(pl.col("found") == pl.col("kept")).height,
        "batches": len(set(topic_hits(payloads, "african_pubmed")["topic"])),
        "articles_in_table": pl.scan_parquet(tables / "articles.parquet")
        .select(pl.len()).collect().item(),
        "errors_in_table": outcomes.filter(pl.col("status") == "error").height,
        "damaged_payloads": sum(
            file_sha256(payloads / file) != sha256
            for file, sha256 in payload_table(payloads).select("file", "sha256").iter_rows()
        ),
        "requests": sum(found.values()),
        "faults": dict(sorted(found.items())),
    }  # fmt: skip


def politeness(hits: Hits, folder: Path) -> dict[str, Any]:
    log = folder / "log.jsonl"
    few = topics()[:12]
    with mirror(hits, 0.0, log) as url:
        address = f"{url}/eutils"
        pair = [
            Entrez(name, few, CONTACT, until=DAY, base_url=address, most=60, per_second=3, page=20)
            for name in ("first", "second")
        ]
        harvest(pair, folder / "payloads", CONTACT)
    times = [line["time"] for line in log_lines(log)]
    return {
        "limit": 3,
        "requests": len(times),
        "seconds": round(max(times) - min(times), 1),
        "most_in_any_second": most_in_a_second(times),
    }


def main() -> None:
    if not DATA.is_dir():
        sys.exit(f"No PubMed records at {DATA}: set ELARA_SHARED_DATA to the shared data.")
    (PROJECT / "_build").mkdir(exist_ok=True)
    hits = plan_hits()
    result: dict[str, Any] = {
        "command": "python benchmarks/harvest.py",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {n: importlib.metadata.version(n) for n in ("httpx", "lxml", "polars")},
    }
    for name, measure in (
        ("throughput", throughput),
        ("whole_collection", whole_collection),
        ("politeness", politeness),
    ):
        with tempfile.TemporaryDirectory() as temporary:
            result[name] = measure(hits, Path(temporary))
        print(name, json.dumps(result[name], indent=2), flush=True)
    path = PROJECT / "benchmarks" / "harvest.json"
    path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--collect"]:
        Path(sys.argv[3]).mkdir()
        collect_all(sys.argv[2], Path(sys.argv[3]), bool(sys.argv[4]))
    else:
        main()
