"""How long stage 4 takes for 100,000 examples, and how much memory, up to five times as many.

    python benchmarks/expand.py

The articles are made up: the language of benchmarks/corpus.py, which states no fact. In three of
five, words that the gates refuse ("our", "was", "this study") are replaced, and every fourth of
these has an abstract in parts whose conclusion repeats some of its findings. The others stay as
they are, and nearly all of them are refused. One in 25 copies an earlier abstract, half of these
with a few words changed, and one in 25 has no licence. So about 160,000 articles give 100,000
examples. What comes out teaches nothing; it costs what real text costs.

Each figure is that of a fresh process that does what notebook 4 does from the first cell to the
last: recipes, gates, validators, repeats, a comparison with 2,000 made-up items of an exam,
topics, splits, files, hashes, manifest. Memory is the sum over this process and those that it
starts, looked at 20 times a second. Another run, with more processes and smaller batches, has to
leave the same bytes. Results go to benchmarks/expand.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import corpus as made
import numpy as np
import polars as pl
import psutil

from elara.expand import streaming
from elara.machine.cores import usable_cores
from elara.records import Article, schema
from elara.workspace import Workspace

HERE = Path(__file__).resolve().parent
CORPORA = HERE.parent / "_build" / "corpus"
PIECE = 500  # articles that are made at once
KEPT = 300  # of these, how many speak as the gates like it
SENTENCE = re.compile(r"(?<=\.) (?=[A-Z])")
# Words that the gates refuse, or count as a report on how a study was made.
SAID = (
    "our:the this:the these:the was:is were:are had:has study:review trial:course cohort:ward "
    "placebo:aspirin randomised:regular analysis:imaging confirmed:limits observed:shows "
    "measured:shows reported:follows compared:combines developed:precedes required:requires "
    "included:includes suggested:suggests showed:shows received:receives failed:fails "
    "responded:responds underwent:undergoes predicted:predicts remained:remains "
    "improved:improves reduced:reduces increased:raises decreased:lowers"
)
PLAIN = dict(pair.split(":") for pair in SAID.split())


def plainer(word: str) -> str:
    """A word as the gates like it."""
    core = word.rstrip(".,")
    other = PLAIN.get(core.lower())
    if other is None:
        return word
    return (other.capitalize() if core[0].isupper() else other) + word[len(core) :]


def articles(count: int, seed: int) -> Iterator[list[dict[str, Any]]]:
    """So many articles, piece by piece; the same for the same seed."""
    plain, raw = made.Writer(seed), made.Writer(seed + 1000)
    plain.vocabulary.words = [plainer(word) for word in plain.vocabulary.words]
    pool: list[str] = []
    for start in range(0, count, PIECE):
        wanted = min(PIECE, count - start)
        kept = min(KEPT, wanted)
        rows: list[dict[str, Any]] = plain.articles("", start, kept)
        if wanted > kept:
            rows += raw.articles("", start + kept, wanted - kept)
        for number, row in enumerate(rows):
            row |= {
                "id": f"pubmed:{seed}{start + number:08d}",
                "pmid": f"{seed}{start + number:08d}",
            }
            shape(plain, row, number, pool)
        yield rows


def shape(writer: made.Writer, row: dict[str, Any], number: int, pool: list[str]) -> None:
    """Give an article parts, make it a copy, or take its licence."""
    sentences = SENTENCE.split(row["abstract"])
    if number % 25 == 1 and pool:
        text = pool[int(writer.rng.integers(len(pool)))]
        row["abstract"] = text if number % 2 else writer.edited(text, 3)
    elif number % 25 == 2:
        row |= {"licence": "unknown", "redistributable": False}
    elif number < KEPT and number % 4 == 0 and len(sentences) > 3:
        findings, last = " ".join(sentences[1:]), " ".join(sentences[3:0:-1])
        row["abstract"] = f"BACKGROUND: {sentences[0]}\nFINDINGS: {findings}\nCONCLUSIONS: {last}"
    elif number < KEPT and len(sentences) > 3 and len(pool) < 50_000:
        pool.append(row["abstract"])


def corpus(count: int, times: int) -> Path:
    """The articles so many times over, each time with other texts and ids; made once."""
    path = CORPORA / f"expand-{count}x{times}.parquet"
    if not path.exists():
        import pyarrow.parquet as pq

        path.parent.mkdir(parents=True, exist_ok=True)
        draft, columns = path.with_suffix(".draft"), schema(Article)
        shaped = pl.DataFrame(schema=columns).to_arrow(compat_level=pl.CompatLevel.oldest())
        with pq.ParquetWriter(draft, shaped.schema, compression="zstd") as writer:
            for seed in range(times):
                for rows in articles(count, seed):
                    whole = [{"body": [], "keywords": []} | row for row in rows]
                    told = {name: kind for name, kind in columns.items() if name in whole[0]}
                    table = pl.DataFrame(whole, told, orient="row")
                    table = pl.concat([pl.DataFrame(schema=columns), table], how="diagonal")
                    empty = pl.col(pl.String).fill_null("")
                    table = table.with_columns(empty, pl.col(pl.List(pl.String)).fill_null([]))
                    writer.write_table(table.to_arrow(compat_level=pl.CompatLevel.oldest()))
        draft.replace(path)
    return path


# --- the measurement ----------------------------------------------------------------------------


def one(source: Path, root: Path, workers: int, batch: int) -> None:
    """What a measured process does: notebook 4; it prints the seconds of each step as JSON."""
    from elara import audit, expand
    from elara.model import SYSTEM_PROMPT

    laps: dict[str, float] = {}
    last = [time.perf_counter()]

    def lap(name: str) -> None:
        now = time.perf_counter()
        laps[name], last[0] = round(now - last[0], 1), now

    stage = Workspace(root).begin("expand", {"seed": 0})
    scanned = pl.scan_parquet(source)
    cases = expand.read_cases()
    curated = expand.curated_examples(SYSTEM_PROMPT, cases)
    settings = expand.Settings()
    made = expand.expand_file(source, stage.draft, curated, settings, workers=workers, batch=batch)
    lap("recipes, gates, validators")
    repeats = expand.without_repeats(made.examples)
    lap("repeats")
    leaks = audit.certify(repeats.examples, {"exam": exam()}, articles=scanned)
    unique = repeats.examples.without(leaks.rejected["id"])
    lap("certificate")
    topics, links = expand.topic_clusters(scanned, unique, cases, repeats.alike)
    lap("topics")
    examples = expand.split_by_topic(unique, topics)
    figure = expand.coverage_figure(expand.coverage(examples.index))
    expand.Explorer(examples, scanned)._repr_html_()
    lap("splits, figures")
    expand.write_splits(examples, stage.draft)
    expand.write_dataset(examples, scanned, stage.draft, contamination=str(leaks))
    lap("files")
    files = {"repeated.parquet": repeats.dropped, "links.parquet": links, "coverage.png": figure}
    manifest = stage.write(files | {"contamination.parquet": leaks.findings})
    lap("manifest")
    found = {"articles": made.counts["articles"], "made": len(made.examples)}
    found |= {"examples": len(examples), "topics": len(set(topics.values()))}
    largest = examples.index.group_by("topic").len()["len"].max()
    files = {name: entry["sha256"] for name, entry in manifest["files"].items()}
    print(json.dumps(found | {"largest_topic": largest, "steps": laps, "files": files}))


def exam(items: int = 2000) -> pl.DataFrame:
    """Questions and answers in the language of the articles."""
    texts = made.Writer(77).texts(np.tile([1, 2], items))
    names = [f"item {number}" for number in range(items)]
    return pl.DataFrame({"id": names, "question": texts[::2], "answer": texts[1::2]})


def measure(source: Path, workers: int = 0, batch: int = streaming.BATCH) -> dict[str, Any]:
    """Seconds and memory of a fresh process and of all that it starts."""
    workers = workers or usable_cores()
    with tempfile.TemporaryDirectory(dir=CORPORA) as folder:
        given = [str(source), folder, str(workers), str(batch)]
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, __file__, "--one", *given], stdout=subprocess.PIPE, text=True
        )
        peak, watched = 0, psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, memory(watched))
            time.sleep(0.05)
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        assert process.stdout
        lines = process.stdout.read().splitlines()
    if process.returncode:
        raise SystemExit(f"The run on {source} ended with {process.returncode}.")
    cpu = sum(getattr(after, n) - getattr(before, n) for n in ("ru_utime", "ru_stime"))
    figures = {"seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1)}
    told: dict[str, Any] = json.loads(lines[-1])
    return figures | {"peak_rss_mib": round(peak / 2**20)} | told


def memory(process: psutil.Process) -> int:
    """Bytes of a process and of those it started; what they share is counted more than once."""
    found = 0
    try:
        for one in (process, *process.children(recursive=True)):
            found += one.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--one", nargs=4, help="one run: source, folder, workers, batch")
    parser.add_argument("--articles", type=int, default=made.ARTICLES)
    parser.add_argument("--runs", type=int, default=1, help="of the simple size")
    parser.add_argument("--growth", type=int, nargs="*", default=[5])
    parser.add_argument("--json", type=Path, default=HERE / "expand.json")
    asked = parser.parse_args()
    if asked.one:
        source, root, workers, batch = asked.one
        return one(Path(source), Path(root), int(workers), int(batch))
    source = corpus(asked.articles, 1)
    runs = [measure(source) for _ in range(asked.runs)]
    print(runs[0], flush=True)
    other = measure(source, workers=usable_cores() + 1, batch=777)
    same = all(run["files"] == other["files"] for run in runs)
    grown = {1: min(runs, key=lambda run: run["seconds"])}
    for times in asked.growth:
        grown[times] = measure(corpus(asked.articles, times))
        print(grown[times], flush=True)
    for run in grown.values():
        run.pop("files")
        run["memory_ratio"] = round(run["peak_rss_mib"] / grown[1]["peak_rss_mib"], 2)
    result = {
        "command": " ".join(["python benchmarks/expand.py", *sys.argv[1:]]),
        "machine": {"cores": usable_cores(), "python": platform.python_version()},
        "versions": {name: version(name) for name in ("elara", "polars", "pyarrow", "numpy")},
        "seconds_of_runs": [run["seconds"] for run in runs],
        "same_bytes": same,
        "times": grown,
    }
    asked.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for times, run in grown.items():
        told = {name: value for name, value in run.items() if name != "steps"}
        print(f"{times}x", *(f"{name} {value}" for name, value in told.items()), sep="\t")
    print(f"same bytes with other processes and batches: {same}")


if __name__ == "__main__":
    main()
