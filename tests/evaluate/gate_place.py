"""A workspace with a sealed adapter and its evaluation, as the notebooks leave one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import polars as pl

from elara import audit, evaluate
from elara.model import load_adapter
from elara.workspace import Workspace

SETTINGS = {"max_length": 128, "resamples": 199, "seed": 0}
FILES = ("verdict.json", "scores.parquet", "repeats.parquet", "passport.json")


def expanded(place: Workspace, splits: dict[str, pl.DataFrame]) -> None:
    """The training data of stage 4."""
    stage = place.begin("expand", {})
    stage.write({f"{name}.jsonl": table for name, table in splits.items()})


def trained(place: Workspace, adapter: Path) -> None:
    """Stage 5, by an adapter that was trained elsewhere."""
    stage = place.begin("train", {})
    stage.read("expand", "train.jsonl")
    shutil.copytree(adapter, stage.draft / "adapter")
    stage.write({})


def evaluated(place: Workspace) -> None:
    """Stage 6, as notebook 06 does it."""
    stage = place.begin("evaluate", dict(SETTINGS))
    stage.parameters |= SETTINGS
    test, adapter = stage.read("expand", "test.jsonl"), stage.path("train", "adapter")
    lm = load_adapter(adapter)
    losses = evaluate.answer_losses(lm, test, max_length=SETTINGS["max_length"])
    scores = evaluate.loss_scores(losses, test, {})
    settings: Any = {name: SETTINGS[name] for name in ("resamples", "seed")}
    judgement = evaluate.judge(scores, **settings)
    again = evaluate.measure_again(lm, test, max_length=SETTINGS["max_length"], items=12)
    verdict, repeats = evaluate.confirm(judgement, scores, again, {}, **settings)
    passport, _ = audit.with_verdict(adapter, verdict)
    stage.write(dict(zip(FILES, (verdict, scores, repeats, passport), strict=True)))


def rewritten(place: Workspace, name: str, content: Any) -> None:
    """Replace a file of the evaluation, and compute the manifest anew, as a forger would."""
    home = place.folder("evaluate")
    inputs = place.manifest("evaluate")["inputs"]
    kept = {f.name: f for f in home.iterdir() if f.is_file() and f.name in FILES}
    texts = {n: pl.read_parquet(f) if f.suffix == ".parquet" else _json(f) for n, f in kept.items()}
    stage = place.begin("evaluate", {})
    stage.parameters |= SETTINGS
    stage._inputs.update(inputs)
    stage.write(texts | {name: content})


def _json(path: Path) -> Any:
    import json

    return json.loads(path.read_text(encoding="utf-8"))
