"""The page on feedback and continual learning does what it says: its code runs, in order."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest
import synthetic_preferences
import tiny_run

from elara import train
from elara.model import load_base
from elara.train.audit.certificate import certify
from elara.train.audit.passport import write_passport
from elara.train.audit.verify import damage
from elara.train.preferences.feedback import read_preferences
from elara.workspace import Workspace


def blocks(project: Path, language: str) -> list[str]:
    page = (project / "book" / "continual.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


@pytest.mark.long
def test_the_pages_code_runs_from_top_to_bottom(
    project: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELARA_WORKSPACE", str(tmp_path))
    stage = Workspace().begin("train", {})
    settings = tiny_run.config(tiny_folder, epochs=0.5)
    data = train.tokenise(
        load_base(str(tiny_folder)).tokenizer,
        tiny_run.examples(8),
        tiny_run.examples(0),
        settings,
    )
    training = train.fit(load_base(str(tiny_folder)), data, settings, tmp_path / "checkpoints")
    train.save_adapter(training, settings, data, {"CC0-1.0": 8}, stage.draft / "adapter")
    splits = {"train": tiny_run.examples(8), "validation": tiny_run.examples(0)}
    certificate = certify(splits["train"], {"test": tiny_run.examples(4, start=200)})
    write_passport(stage.draft / "adapter", training, settings, splits, certificate)
    stage.write({"losses.parquet": training.losses})
    home = Workspace().folder("train")
    synthetic_preferences.pairs(10).write_ndjson(home / "feedback.jsonl")
    names: dict[str, object] = {
        "base_model": str(tiny_folder),
        "old_examples": tiny_run.examples(8),
        "new_examples": tiny_run.examples(8, start=50),
        "validation": tiny_run.examples(2, start=100),
        "old_test": tiny_run.examples(4, start=200).with_columns(split=pl.lit("test")),
    }
    for block in blocks(project, "python"):
        exec(compile(block, "book/continual.md", "exec"), names)
    assert not Workspace().damage("train")
    assert not damage(home / "preferred")


def test_the_pages_feedback_can_be_read(project: Path, tmp_path: Path) -> None:
    (shown,) = blocks(project, "json")
    path = tmp_path / "feedback.jsonl"
    path.write_text(shown, encoding="utf-8")
    assert read_preferences(path)["label"].to_list() == ["pair", "desirable"]
    assert [json.loads(line)["id"] for line in shown.splitlines()] == ["f1", "f2"]
