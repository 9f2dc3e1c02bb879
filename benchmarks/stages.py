"""Measure what each stage takes, for `elara run --dry-run` to estimate from.

    python benchmarks/stages.py [--workspace FOLDER]

The seven notebooks of the laptop run go through the embedded sample, each in its turn, as
`elara run` runs them. Noted are the seconds, the highest resident memory of the run with all its
processes (looked at five times a second), and the bytes that the stage added to the workspace.

What an article more adds to stages 2 to 4 comes from the same notebooks on made-up articles
(benchmarks/corpus.py); to stage 1, from benchmarks/collect.json. What a token adds to stage 5 and a
held-out example to stage 6 comes from the seconds of the cell that goes through them. The result is
written to benchmarks/stages.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import corpus
import nbformat
import polars as pl
import psutil

from elara import pipeline
from elara.collect import sample_folder
from elara.machine.cores import usable_cores
from elara.records import Article, schema
from elara.workspace import Workspace

HERE = Path(__file__).resolve().parent
MORE = 20_000  # made-up articles


def main() -> None:
    """Run all notebooks on the sample, and notebooks 2 to 4 on made-up articles."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, help="train on fewer tokens than the notebook does")
    parser.add_argument("--workspace", help="keep the run in this folder, which must be empty")
    given = parser.parse_args()
    settings = {}
    if given.tokens:
        settings = {"max_train_tokens": given.tokens, "sweep_tokens": given.tokens // 4}
    larger = _with_more_articles()
    with tempfile.TemporaryDirectory(prefix="elara-stages-") as folder:
        plan = pipeline.make_plan(Workspace(given.workspace or folder), parameters=settings)
        stages = {notebook.stage: _measure(plan, notebook.stage) for notebook in plan.notebooks}
        articles = plan.workspace.manifest("collect")["counts"]["articles"]
        _note_tokens(plan, stages)
        _note_examples(plan, stages)
    for name, more in larger.items():
        own = stages[name]
        own["at"] = {"articles": articles}
        own["each"] = {
            key: max(0.0, (more[key] - own[key]) / (MORE - articles))
            for key in ("seconds", "peak_mib", "disk_bytes")
        }
    _note_collecting(stages["collect"], articles)
    found = {
        "command": "python benchmarks/stages.py",
        "cores": usable_cores(),
        "python": platform.python_version(),
        "input_bytes": _bytes(sample_folder()),
        "stages": stages,
    }
    text = json.dumps(found, indent=2) + "\n"
    (HERE / "stages.json").write_text(text, encoding="utf-8")


def _with_more_articles() -> dict[str, dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="elara-stages-") as folder:
        files = Path(folder) / "corpus"
        corpus.generate(files, MORE)
        rows = pl.read_ndjson(sorted(files.glob("*.jsonl")), schema=schema(Article))
        rows = rows.with_columns(pl.col(pl.List).fill_null([]), pl.col(pl.String).fill_null(""))
        plan = pipeline.make_plan(Workspace(Path(folder) / "workspace"))
        plan.workspace.begin("collect", {}).write({"articles.parquet": rows})
        return {stage: _measure(plan, stage) for stage in ("inspect", "clean", "expand")}


def _note_collecting(own: dict[str, Any], articles: int) -> None:
    measured = json.loads((HERE / "collect.json").read_text(encoding="utf-8"))
    small, large = measured["whole stage, small"], measured["whole stage, large"]
    more = large["articles"] - small["articles"]
    own["at"] = {"articles": articles}
    own["each"] = {"seconds": (large["seconds"] - small["seconds"]) / more}
    # From some size on all cores parse, and memory no longer grows.
    own["most_mib"] = own["peak_mib"] + large["peak_mib_all"]
    own["bytes_per_article"] = round(measured["corpus"]["kib_per_article"] * 1024)


def _note_tokens(plan: pipeline.Plan, stages: dict[str, Any]) -> None:
    (notebook,) = pipeline.select(plan, only="train")
    values = notebook.defaults | plan.overrides[notebook.name]
    adapter = plan.workspace.folder("train") / "adapter"
    record = json.loads((adapter / "training.json").read_text(encoding="utf-8"))
    compared = values["sweep_tokens"] * len(values["sweep_rates"])
    own = stages["train"]
    own["at"] = {"tokens": record["tokens"] + compared}
    own["each"] = {"seconds": _cell(plan, "train", "train.fine_tune(") / record["tokens"]}
    own["tokens_per_example"] = round(record["tokens"] / len(record["examples"]))


def _note_examples(plan: pipeline.Plan, stages: dict[str, Any]) -> None:
    files = plan.workspace.manifest("expand")["files"]
    examples = {split: files[f"{split}.jsonl"]["rows"] for split in ("train", "test")}
    own = stages["evaluate"]
    own["at"] = {"examples": examples["test"]}
    seconds = _cell(plan, "evaluate", "evaluate.answer_losses(")
    own["each"] = {"seconds": seconds / examples["test"]}
    stages["expand"]["examples"] = examples


def _cell(plan: pipeline.Plan, stage: str, code: str) -> float:
    """The seconds of the cell that holds some code, as papermill noted them."""
    (notebook,) = pipeline.select(plan, only=stage)
    document = nbformat.read(plan.record_path(notebook).with_suffix(".ipynb"), as_version=4)
    (cell,) = [c for c in document.cells if c.cell_type == "code" and code in c.source]
    return float(cell.metadata.papermill.duration)


def _measure(plan: pipeline.Plan, stage: str) -> dict[str, Any]:
    before = _bytes(plan.workspace.root)
    (notebook,) = pipeline.select(plan, only=stage)
    with _memory() as seen:
        pipeline.run(plan, [notebook])
    record = json.loads(plan.record_path(notebook).read_text(encoding="utf-8"))
    return {
        "seconds": record["seconds"],
        "peak_mib": round(max(seen) / 2**20),
        "disk_bytes": _bytes(plan.workspace.root) - before,
    }


@contextlib.contextmanager
def _memory() -> Iterator[list[int]]:
    seen, done = [0], threading.Event()

    def look() -> None:
        this = psutil.Process()
        while not done.wait(0.2):
            total = 0
            for process in (this, *this.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    total += process.memory_info().rss
            seen.append(total)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


def _bytes(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


if __name__ == "__main__":
    main()
