"""How fast collect reads PubMed files, against pubmed_parser, and how much memory it takes.

    python benchmarks/collect.py                  # some four minutes on an idle machine
    python benchmarks/collect.py --small-only     # without the 300,000 articles: half of that

The corpus is made of the real records in ../shared/data/pubmed/baseline_gz (or ELARA_SHARED_DATA),
repeated with PMIDs and DOIs of their own: 30,000 and 300,000 articles in files of 15,000, so that
two processes have work in both. Every figure comes from fresh processes; those of Elara read the
files several times over, so that their start counts little. The two programs take turns, each with
one process and each with two: a ratio is never between different numbers of processes. Results go
to benchmarks/collect.json.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from isal import igzip

PROJECT = Path(__file__).resolve().parents[1]
PEER = PROJECT / "_build" / "peers" / "pubmed_parser"
PEER_PACKAGE = "pubmed_parser==0.5.1"
PER_FILE = 15_000
SMALL, LARGE = 30_000, 300_000
OVER = 4  # times that ours reads the files, so that starting processes is a small part of it
HEAD = b'<?xml version="1.0" encoding="utf-8"?>\n<PubmedArticleSet>\n'
_RECORD = re.compile(rb"<PubmedArticle>.*?</PubmedArticle>", re.DOTALL)

# Each program is given the number of processes and the files, and prints seconds and articles.
OURS = """
import sys, time
from pathlib import Path
from elara.collect import pubmed
from elara.collect.payload import open_chunks
from elara.machine.workers import spread
def read(file):
    return sum(p.article is not None for p in pubmed.parse(open_chunks(Path(file))))
if __name__ == "__main__":
    started = time.perf_counter()
    total = sum(spread(read, sys.argv[2:], int(sys.argv[1])))
    print(time.perf_counter() - started, total)
"""
THEIRS = """
import sys, time
from multiprocessing import Pool
import pubmed_parser
def read(file):
    return sum(1 for _ in pubmed_parser.parse_medline_xml(file))
if __name__ == "__main__":
    started = time.perf_counter()
    if sys.argv[1] == "1":
        total = sum(map(read, sys.argv[2:]))
    else:
        with Pool(int(sys.argv[1])) as pool:
            total = sum(pool.imap_unordered(read, sys.argv[2:]))
    print(time.perf_counter() - started, total)
"""
# The whole stage: parse, merge, write. Prints the peak memory of this process and of the largest
# of its workers too, in KiB.
WHOLE = """
import resource, sys, time
from pathlib import Path
from elara.collect import collect_folder
if __name__ == "__main__":
    started = time.perf_counter()
    found = collect_folder(Path(sys.argv[2]), Path(sys.argv[3]), workers=int(sys.argv[1]))
    seconds = time.perf_counter() - started
    peaks = [resource.getrusage(w).ru_maxrss
             for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(seconds, found.articles.select("id").collect().height, *peaks)
"""


def real_records() -> list[bytes]:
    """The distinct records that the corpus is made of."""
    named = os.environ.get("ELARA_SHARED_DATA")
    folder = (Path(named) if named else PROJECT.parent / "shared" / "data") / "pubmed"
    if not folder.is_dir():
        raise SystemExit(f"No PubMed records at {folder}: set ELARA_SHARED_DATA to their parent.")
    files = sorted((folder / "baseline_gz").glob("*.xml.gz"))
    return [r for f in files for r in _RECORD.findall(gzip.decompress(f.read_bytes()))]


def renumbered(record: bytes) -> Iterator[bytes]:
    """The parts of a record between which its number belongs: in its PMID, DOIs and PMCID."""
    own = re.search(rb"<PMID[^>]*>(\d+)</PMID>", record)
    assert own
    places = rb'"pubmed">%b(?=<)|"doi"[^>]*>[^<]*(?=<)|"pmc">PMC[^<]*(?=<)' % own[1]
    yield record[: own.start(1)]
    at = own.end(1)
    end = record.find(b"<ReferenceList")
    for found in re.finditer(places, record[: end if end > 0 else len(record)]):
        if found.start() >= at:
            stop = found.end() - len(own[1]) * (b'"pubmed">' in found[0])
            yield record[at:stop] + (b"." if b"doi" in found[0] else b"")
            at = found.end()
    yield record[at:]


def make_corpus(folder: Path, articles: int, per_file: int = PER_FILE) -> list[Path]:
    """Write `articles` records with numbers of their own."""
    parts = [list(renumbered(r)) for r in real_records()]
    folder.mkdir()
    files = []
    for first in range(0, articles, per_file):
        files.append(folder / f"pubmed99n{first // per_file:04}.xml.gz")
        with igzip.open(files[-1], "wb", compresslevel=3) as target:
            target.write(HEAD)
            for number in range(first, min(first + per_file, articles)):
                pmid = b"%d" % (40_000_000 + number)
                target.write(pmid.join(parts[number % len(parts)]) + b"\n")
            target.write(b"</PubmedArticleSet>\n")
    return files


def peer() -> Path:
    """The Python of an environment that holds pubmed_parser and nothing of ours."""
    python = PEER / "bin" / "python"
    if not python.exists():
        venv.create(PEER, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-qq", PEER_PACKAGE], check=True)
    return python


def run(python: Path | str, program: str, *arguments: object) -> list[float]:
    """Run a program in a fresh process; the numbers that it prints."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "program.py"  # a file, because its workers import it
        script.write_text(program)
        command = [str(python), str(script), *map(str, arguments)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return [float(number) for number in done.stdout.splitlines()[-1].split()]


def compare(processes: int, files: list[Path], times: int) -> dict[str, Any]:
    """Articles per second of both programs with as many processes, the median of several runs."""
    rates: dict[str, list[float]] = {"elara": [], "pubmed_parser": []}
    theirs = peer()
    for _ in range(times):
        seconds, articles = run(sys.executable, OURS, processes, *files * OVER)
        rates["elara"].append(articles / seconds)
        seconds, articles = run(theirs, THEIRS, processes, *files)
        rates["pubmed_parser"].append(articles / seconds)
    found: dict[str, Any] = {
        name: {
            "articles_per_second": round(statistics.median(values)),
            "from_to": [round(min(values)), round(max(values))],
        }
        for name, values in rates.items()
    }
    mine, other = (statistics.median(values) for values in rates.values())
    return {**found, "ratio": round(mine / other, 2)}


def whole(folder: Path, processes: int) -> dict[str, Any]:
    """Seconds and peak memory of the whole stage."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as into:
        seconds, articles, main, worker = run(sys.executable, WHOLE, processes, folder, into)
    return {
        "articles": round(articles),
        "seconds": round(seconds, 2),
        "articles_per_second": round(articles / seconds),
        "peak_mib_main": round(main / 1024),
        "peak_mib_worker": round(worker / 1024),
        "peak_mib_all": round((main + processes * worker) / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--times", type=int, default=3, help="runs of each rate")
    parser.add_argument("--small-only", action="store_true", help="leave the 300,000 articles out")
    chosen = parser.parse_args()
    peer()
    started = time.time()
    with tempfile.TemporaryDirectory(prefix="elara-collect-") as temporary:
        folder = Path(temporary)
        files = make_corpus(folder / "small", SMALL)
        result: dict[str, Any] = {"corpus": _described(files)}
        for processes in (1, 2):
            key = f"{processes} process" + "es" * (processes > 1)
            result[key] = compare(processes, files, chosen.times)
            print(key, result[key], flush=True)
        result["whole stage, small"] = whole(folder / "small", 2)
        print(result["whole stage, small"], flush=True)
        if not chosen.small_only:
            shutil.rmtree(folder / "small")
            make_corpus(folder / "large", LARGE)
            result["whole stage, large"] = whole(folder / "large", 2)
            large, small = (result[f"whole stage, {n}"]["peak_mib_all"] for n in ("large", "small"))
            result["memory of 300,000 against 30,000"] = round(large / small, 2)
    result["machine"] = {
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "python": platform.python_version(),
        "seconds": round(time.time() - started),
        "pubmed_parser": PEER_PACKAGE.partition("==")[2],
        **{name: version(name) for name in ("lxml", "isal", "polars", "pyarrow")},
    }
    text = json.dumps(result, indent=2) + "\n"
    (PROJECT / "benchmarks" / "collect.json").write_text(text)
    print(text)


def _described(files: list[Path]) -> dict[str, Any]:
    unpacked = sum(len(gzip.decompress(f.read_bytes())) for f in files[:1])
    return {
        "distinct_records": len(real_records()),
        "kib_per_article": round(unpacked / PER_FILE / 1024, 1),
        "files": len(files),
        "mib": round(sum(f.stat().st_size for f in files) / 2**20),
    }


if __name__ == "__main__":
    main()
