"""Time the inspection of 161,712 articles against others, and check what it removed.

    python benchmarks/inspection.py

Everything is a process of its own on files that were read once before, and takes turns with the
others; the median of five runs counts, of three for Daft, and of one for what takes minutes. The
corpus is made by benchmarks/corpus.py, peers are installed under _build/peers. It prints a table
and writes benchmarks/inspect.json.

The peers that use MinHash have Elara's settings, 32 bands of 4 hashes over runs of three words,
with which they too reach a recall of 0.995 (with the defaults of datatrove, 14 bands of 8, a pair
of similarity 0.8 is found with probability 0.92). What
each of them found is compared with what was planted.

`elara` reads JSON Lines and finds duplicates by identifiers and texts, as the peers do.
`elara_parquet` does the same from one Parquet file, and `elara_notebook` compares citations too:
it is what notebook 2 runs.

Ratios: `orjson_parse` is Elara's time over that of parsing alone; every other ratio is the peer's
time over Elara's. `growth` runs Elara on three and ten times the corpus.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "_build"
THRESHOLD = 0.8

# What is installed for a peer, one command each, and how often it is run.
PEERS: dict[str, tuple[list[str], int]] = {
    "orjson_parse": (["orjson"], 5),
    "plain_python": ([], 1),
    "daft": (["daft"], 3),
    "datasketch": (["datasketch orjson pyarrow"], 1),
    "datatrove": (["datatrove[processing,io] spacy orjson"], 1),
    "text_dedup": (
        # The package asks for tools of its other methods, which MinHash does not use: --no-deps.
        [
            "--no-deps text-dedup==0.4.0",
            "click-option-group numpy scipy regex rich xxhash ftfy bitarray psutil tqdm fire",
            "pybloom-live zstandard datasets<4 setuptools<81",
        ],
        1,
    ),
}
DISTRIBUTIONS = {"orjson_parse": "orjson", "text_dedup": "text-dedup"}
ELARA = (
    "import sys; from pathlib import Path; from elara.inspection import inspect_files; "
    "inspect_files(Path(sys.argv[1]), Path(sys.argv[2]), by_citation={})"
)
PARQUET = (
    "import sys; from pathlib import Path; import polars as pl; "
    "from elara.records import Article, schema; files = sorted(Path(sys.argv[1]).glob('*.jsonl')); "
    "lines = pl.scan_ndjson(files, schema=schema(Article)); "
    "lines.sink_parquet(sys.argv[2], compression='zstd')"
)


def corpus_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("corpus", HERE / "corpus.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def corpus(articles: int, times: int) -> Path:
    """The corpus so many times over, each time with other texts and ids; made once."""
    folder = BUILD / "corpus" / f"{articles}x{times}"
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        generator = [sys.executable, str(HERE / "corpus.py"), "--articles", str(articles)]
        for seed in range(times):
            into = ["--into", str(folder), "--seed", str(seed), "--prefix", f"bench{seed}"]
            subprocess.run([*generator, *into], check=True)
        (folder / "done").touch()
    return folder


def as_parquet(folder: Path) -> Path:
    """The corpus as one Parquet file with all columns, as notebook 1 leaves it; made once.

    By a process of its own: what this one has held in memory, all that it starts is charged with.
    """
    path = folder / "articles.parquet"
    if not path.exists():
        subprocess.run([sys.executable, "-c", PARQUET, str(folder), str(path)], check=True)
    return path


def environment(peer: str) -> Path:
    """The Python of a peer's own environment; made once."""
    home = BUILD / "peers" / peer
    python = home / "bin" / "python"
    if not (home / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        for wanted in PEERS[peer][0]:
            install = [str(python), "-m", "pip", "install", "-q", *wanted.split()]
            subprocess.run(install, check=True)
        (home / "done").touch()
    return python


def version(python: Path, distribution: str) -> str:
    code = f"import importlib.metadata as m; print(m.version({distribution!r}))"
    return subprocess.check_output([str(python), "-c", code], text=True).strip()


def run(command: list[str], source: Path, into: Path) -> tuple[float, float]:
    """Run a command on a corpus into an empty folder; wall seconds and peak memory in MiB."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    os.sync()  # or this command would wait for what the one before it has written
    with (into.parent / f"{into.name}.log").open("w") as log:
        started = time.perf_counter()
        process = subprocess.Popen([*command, str(source), str(into)], stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:3])} failed: see {log.name}")
    return seconds, usage.ru_maxrss / 1024


def measure(
    commands: dict[str, tuple[list[str], Path, int]], results: Path
) -> dict[str, dict[str, Any]]:
    """Run each command on its input so many times, in turns: a slow while hits all of them."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for turn in range(max(runs for *_, runs in commands.values())):
        for name, (command, source, runs) in commands.items():
            if turn < runs:
                found[name].append(run(command, source, results / name))
    return {name: summary(runs) for name, runs in found.items()}


def summary(runs: list[tuple[float, float]]) -> dict[str, Any]:
    seconds = [round(s, 3) for s, _ in runs]
    return {
        "median_s": round(statistics.median(seconds), 3),
        "spread_s": round(max(seconds) - min(seconds), 3),
        "runs_s": seconds,
        "peak_rss_mib": round(max(m for _, m in runs)),
    }


def accuracy(source: Path, into: Path) -> dict[str, Any]:
    """What was planted against what was removed; each removal is counted again with sets."""
    import polars as pl

    made = corpus_module()
    removed = pl.read_parquet(into / "removed.parquet")
    copies = removed.filter(pl.col("kept_id") != "")
    truth = pl.read_parquet(sorted(source.glob("*.truth.parquet")))
    wanted = set(copies["id"]) | set(copies["kept_id"])
    texts = {row["id"]: made.shingles(row) for row in rows(source) if row["id"] in wanted}
    right = sum(
        made.jaccard(texts[a], texts[b]) >= THRESHOLD
        for a, b in copies.select("id", "kept_id").iter_rows()
    )
    # What differs in a word that counts is no copy: it stays, and is listed to be reviewed.
    review = pl.read_parquet(into / "review.parquet")
    listed = {*review["id"], *review["kept_id"]}
    return recall(truth, {*removed["id"], *listed}) | {
        "listed_for_review": review.height,
        "precision": round(right / copies.height, 5),
        "copies_removed": copies.height,
        "copies_planted": truth.filter(pl.col("jaccard") >= THRESHOLD).height,
    }


def rows(source: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(source.glob("*.jsonl")):
        with path.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def recall(truth: pl.DataFrame, gone: set[str]) -> dict[str, float]:
    """Of the planted pairs those of which a record was found."""
    import polars as pl

    found = {}
    for name, planted in {
        "exact_recall": truth.filter(pl.col("kind") == "exact"),
        "near_recall": truth.filter((pl.col("kind") != "exact") & (pl.col("jaccard") >= THRESHOLD)),
    }.items():
        hits = sum(a in gone or b in gone for a, b, *_ in planted.iter_rows())
        found[name] = round(hits / planted.height, 5)
    return found


def quality(source: Path, kept: Path, elara: Path) -> dict[str, float]:
    """How well a peer did on the records that have an abstract, the text that peers compare.

    A removal is right if the record is one of a planted pair, or of a pair that Elara confirmed.
    """
    import polars as pl

    stayed = {line.strip() for line in kept.open(encoding="utf-8")}
    gone = {row["id"] for row in rows(source) if row["abstract"] and row["id"] not in stayed}
    truth = pl.read_parquet(sorted(source.glob("*.truth.parquet")))
    alike = truth.filter(pl.col("jaccard") >= THRESHOLD).select("id", "other_id")
    names = ("removed.parquet", "review.parquet")
    found = [pl.read_parquet(elara / n).select("id", "kept_id") for n in names]
    confirmed = pl.concat(found).filter(pl.col("kept_id") != "")
    pairs = [*alike.get_columns(), confirmed["id"], confirmed["kept_id"]]
    return recall(truth, gone) | {
        "precision": round(len(gone & set(pl.concat(pairs))) / max(len(gone), 1), 5),
        "removed": len(gone),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made = corpus_module()
    parser.add_argument("--articles", type=int, default=made.ARTICLES)
    parser.add_argument("--runs", type=int, default=5, help="of Elara and of orjson")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--growth", nargs="*", type=int, default=[3, 10], help="times the corpus")
    parser.add_argument("--output", type=Path, default=HERE / "inspect.json")
    asked = parser.parse_args()
    source = corpus(asked.articles, 1)
    results = BUILD / "benchmark"
    elara, notebook = ([sys.executable, "-c", ELARA.format(c)] for c in (False, True))
    run(elara, source, results / "elara")  # compiles, and brings the files into memory
    parquet = as_parquet(source)

    commands = {
        "elara": (elara, source, asked.runs),
        "elara_parquet": (elara, parquet, asked.runs),
        "elara_notebook": (notebook, parquet, asked.runs),
    }
    pythons = {peer: environment(peer) for peer in asked.peers}
    for peer, python in pythons.items():
        command = [str(python), "-P", str(HERE / "inspection_peers.py"), peer]
        commands[peer] = command, source, min(asked.runs, PEERS[peer][1])
    times = measure(commands, results)
    ours, ours_parquet, ours_notebook = (times.pop(name) for name in list(commands)[:3])
    found: dict[str, Any] = {
        "command": "python benchmarks/inspection.py " + " ".join(sys.argv[1:]),
        "articles": asked.articles,
        "bytes": sum(f.stat().st_size for f in source.glob("*.jsonl")),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "runs": asked.runs,
        "versions": {"python": platform.python_version()}
        | {n: importlib.metadata.version(n) for n in ("elara", "numba", "polars", "pyarrow")},
        "elara": ours,
        "elara_parquet": ours_parquet,
        "elara_notebook": ours_notebook,
        "peak_rss_mib": ours["peak_rss_mib"],
        "peers": times,
        "ratios": {},
    }
    for peer, python in pythons.items():
        theirs = times[peer]["median_s"] / ours["median_s"]
        found["ratios"][peer] = round(1 / theirs if peer == "orjson_parse" else theirs, 2)
        if PEERS[peer][0]:
            name = DISTRIBUTIONS.get(peer, peer)
            found["versions"][name] = version(python, name)
        if peer != "orjson_parse":
            listed = [str(python), "-P", str(HERE / "inspection_peers.py"), f"{peer}_ids"]
            run(listed, results / peer, results / f"{peer}_ids")
        shutil.rmtree(results / peer)
    found["growth"] = [growth(elara, asked.articles, n, results, found) for n in (1, *asked.growth)]
    # Last, because a process is charged with the memory of the one that started it.
    found |= accuracy(source, results / "elara")
    for peer in found["peers"]:
        if peer != "orjson_parse":
            kept = results / f"{peer}_ids" / "kept.txt"
            found["peers"][peer] |= quality(source, kept, results / "elara")
    asked.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(table(found))


def growth(
    elara: list[str], articles: int, times: int, results: Path, found: dict[str, Any]
) -> dict[str, Any]:
    """Seconds and memory on so many times the corpus, and how often those of the corpus."""
    base = found["elara"]
    if times == 1:
        seconds, memory = base["median_s"], base["peak_rss_mib"]
    else:
        seconds, memory = run(elara, corpus(articles, times), results / "grown")
    return {
        "times": times,
        "articles": articles * times,
        "seconds": round(seconds, 2),
        "peak_rss_mib": round(memory),
        "seconds_ratio": round(seconds / base["median_s"], 2),
        "memory_ratio": round(memory / base["peak_rss_mib"], 2),
    }


def table(found: dict[str, Any]) -> str:
    """The result for reading."""
    lines = [f"{'':15}{'median s':>10}{'spread s':>10}{'peak MiB':>10}{'ratio':>8}"]
    own = {name: found[name] for name in ("elara", "elara_parquet", "elara_notebook")}
    for name, one in {**own, **found["peers"]}.items():
        ratio = found["ratios"].get(name, "")
        values = f"{one['median_s']:>10}{one['spread_s']:>10}{one['peak_rss_mib']:>10}{ratio:>8}"
        lines.append(f"{name:15}{values}")
    lines.append("")
    for one in found["growth"]:
        lines.append(
            f"{one['times']:>3} x {found['articles']:,} articles: {one['seconds']} s "
            f"({one['seconds_ratio']} times), {one['peak_rss_mib']} MiB ({one['memory_ratio']})"
        )
    names = ("exact_recall", "near_recall", "precision")
    lines += ["", f"{'':14}" + "".join(f"{name:>14}" for name in names)]
    for name, one in {"elara": found, **found["peers"]}.items():
        if "precision" in one:
            lines.append(f"{name:14}" + "".join(f"{one[n]:>14}" for n in names))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
