"""What the scorers of stage 6 measure: agreement with lm-evaluation-harness, speed, letters.

Run: python benchmarks/evaluate.py --part letters   (merges the part into evaluate.json beside it)

- `harness`: the same prompts, in a local file, go through lm-evaluation-harness in an environment
  of its own (`_build/peers/lm_eval`), offline; both have to choose the same letter on each item.
- `speed`: seconds for the letters of 500 items, once as published.
- `seeds`: the verdict over the honest adapters of `evaluate_gate.py`, which differ by their seed,
  and the spread of the single ones.
- `batches`: all held-out examples of the first of them, read 1, 8 and 16 at a time, each time in
  another order, and the verdict under each.
- `letters`: accuracy of the base model by each scorer, beside chance, and the letters that it
  chooses: what is knowledge, and what is a preference for a letter.

`seeds` and `batches` need the adapters that `evaluate_gate.py` made. The items are those of
AfriMed-QA, and Elara's own. What was measured before is remembered in
`_build/evaluate/scores.jsonl`, except by `speed`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from elara.evaluate.accuracy import accuracy_table, letter_table, letters_told
from elara.evaluate.choices import LETTERS, Choice, own_choices, sound
from elara.evaluate.letters import score_letters, score_words
from elara.evaluate.memory import Memory
from elara.evaluate.public_sets import read_public_sets
from elara.evaluate.repeat import confirm, measure_again
from elara.evaluate.scores import topics_of
from elara.evaluate.verdict import Verdict, judge
from elara.model import LanguageModel, load_adapter, load_base
from elara.workspace import MANIFEST, Workspace

PROJECT = Path(__file__).resolve().parents[1]
FIGURES = Path(__file__).with_suffix(".json")
BUILD = PROJECT / "_build" / "evaluate"
HARNESS = "lm_eval==0.4.13"
DATA = Path(os.environ.get("ELARA_SHARED_DATA", PROJECT.parent / "shared" / "data")) / "qa"


def public(count: int) -> list[Choice]:
    """So many sound items of AfriMed-QA, from its whole length."""
    asked, _ = sound(read_public_sets(DATA, ("afrimedqa",))[0])
    return asked[:: max(1, len(asked) // count)][:count]


def remembered() -> Memory:
    return Memory(BUILD / "scores.jsonl")


def harness_python() -> Path:
    """The Python of the harness's own environment; made once. It shares torch and transformers."""
    home = PROJECT / "_build" / "peers" / "lm_eval"
    python = home / "bin" / "python"
    if not (home / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        packages = next(home.glob("lib/python*/site-packages"))
        (packages / "host.pth").write_text(str(Path(pl.__file__).parents[1]) + "\n")
        pins = str(PROJECT / "constraints.txt")
        subprocess.run([str(python), "-m", "pip", "install", "-q", HARNESS, "-c", pins], check=True)
        (home / "done").touch()
    return python


TASK = """\
task: elara_letters
dataset_path: json
dataset_kwargs: {{data_files: {{test: {items}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{prompt}}}}"
doc_to_choice: letters
doc_to_target: key
target_delimiter: ""
metric_list: [{{metric: acc}}]
"""


def harness(asked: argparse.Namespace, lm: LanguageModel) -> dict[str, Any]:
    """Item by item, the letter that each of the two chooses."""
    choices = public(asked.items)
    scores = score_letters(lm, choices, side="base", memory=remembered())
    folder = BUILD / "harness"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"id": row["id"], "prompt": row["prompt"], "letters": list(LETTERS[: row["options"]]),
         "key": LETTERS.index(row["key"])}
        for row in scores.iter_rows(named=True)
    ]  # fmt: skip
    items = folder / "items.jsonl"
    items.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "elara_letters.yaml").write_text(TASK.format(items=items), encoding="utf-8")
    theirs = _harness_answers(folder, str(lm.model.name_or_path), asked.items)
    same = [
        abs(theirs[row["id"]][letter] - value) < 0.01
        for row in scores.iter_rows(named=True)
        for letter, value in enumerate(row["logs"])
    ]
    chosen = {
        key: LETTERS[max(range(len(logs)), key=logs.__getitem__)] for key, logs in theirs.items()
    }
    ours = dict(scores.select("id", "predicted").iter_rows())
    agree = sum(chosen[key] == letter for key, letter in ours.items())
    return {"harness": HARNESS, "items": len(ours), "agree": agree,
            "logs": len(same), "logs_within_0.01": sum(same)}  # fmt: skip


def _harness_answers(folder: Path, model: str, limit: int) -> dict[str, list[float]]:
    """Log probabilities of the letters of each item, their sum being 1, as the harness has them."""
    import math

    out = folder / "out"
    command = [str(harness_python()), "-m", "lm_eval", "--model", "hf", "--tasks", "elara_letters"]
    command += ["--model_args", f"pretrained={model},dtype=float32", "--include_path", str(folder)]
    command += ["--batch_size", "16", "--log_samples", "--output_path", str(out), "--device", "cpu"]
    offline = dict.fromkeys(("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"), "1")
    subprocess.run(command, check=True, env=os.environ | offline, cwd=folder)
    file = max(out.rglob("samples_*.jsonl"), key=lambda path: path.stat().st_mtime)
    found = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        logs = [float(part[0]) for part in row["filtered_resps"]]
        whole = math.log(sum(map(math.exp, logs)))
        found[row["doc"]["id"]] = [value - whole for value in logs]
    return found


def speed(asked: argparse.Namespace, lm: LanguageModel) -> dict[str, Any]:
    """Seconds for the letters of the items, nothing remembered."""
    choices = public(asked.items)
    started = time.perf_counter()
    score_letters(lm, choices, side="base")
    seconds = time.perf_counter() - started
    load = os.getloadavg()[0]
    return {"items": len(choices), "seconds": round(seconds, 1), "load": round(load, 1)}


def letters(asked: argparse.Namespace, lm: LanguageModel) -> dict[str, Any]:
    """The base model by each scorer, on Elara's items and on those of AfriMed-QA."""
    found = {}
    for name, choices in (("elara", sound(own_choices())[0]), ("afrimedqa", public(asked.items))):
        if choices:
            found[name] = _by_scorer(lm, choices[: asked.items])
    return found


def _by_scorer(lm: LanguageModel, choices: list[Choice]) -> dict[str, Any]:
    memory = remembered()
    kinds: list[Callable[[], pl.DataFrame]] = [
        lambda: score_letters(lm, choices, side="base", memory=memory),
        lambda: score_letters(lm, choices, side="base", calibration="prior", memory=memory),
        lambda: score_letters(lm, choices, side="base", calibration="cyclic", memory=memory),
        lambda: score_words(lm, choices, side="base", memory=memory),
    ]
    found: dict[str, Any] = {"lengths": _lengths(choices)}
    for measure in kinds:
        scores = measure()
        row = accuracy_table(scores).row(0, named=True)
        found[row.pop("scorer")] = row | {
            "letters": letter_table(scores).to_dicts(), "told": letters_told(scores)
        }  # fmt: skip
    return found


def _lengths(choices: list[Choice]) -> dict[str, float]:
    """How often the key is the longest or the shortest option: what a wordy taste would score."""
    long = sum(c.options[c.key] == max(c.options, key=len) for c in choices)
    short = sum(c.options[c.key] == min(c.options, key=len) for c in choices)
    return {"longest": round(long / len(choices), 3), "shortest": round(short / len(choices), 3)}


def seeds(asked: argparse.Namespace, lm: LanguageModel) -> dict[str, Any]:
    """One verdict over all seeds, and the difference of each."""
    parts = [
        pl.read_parquet(place.folder("evaluate") / "scores.parquet").with_columns(seed=pl.lit(i))
        for i, place in enumerate(honest_places())
    ]
    alone = [judge(part).verdict for part in parts]
    return {
        "verdict": _told(judge(pl.concat(parts)).verdict),
        "each": [{"difference": v.difference, "word": v.word} for v in alone],
    }


def batches(asked: argparse.Namespace, lm: LanguageModel) -> dict[str, Any]:
    """Largest change of a loss, and the verdict, under each batch size."""
    place = honest_places()[0]
    adapter = load_adapter(place.folder("train") / "adapter")
    test = pl.read_ndjson(place.folder("expand") / "test.jsonl")
    topics = topics_of(pl.read_parquet(place.folder("expand") / "links.parquet"))
    scores = pl.read_parquet(place.folder("evaluate") / "scores.parquet")
    again = measure_again(adapter, test, max_length=1024, items=test.height)
    verdict, rows = confirm(judge(scores), scores, again, topics)
    return {"verdict": _told(verdict), "sizes": rows.to_dicts()}


def honest_places() -> list[Workspace]:
    """The workspaces of the honest adapters, by seed."""
    homes = sorted((PROJECT / "_build" / "gate" / "places").glob("honest-*"))
    found = [
        place for place in map(Workspace, homes) if (place.folder("evaluate") / MANIFEST).exists()
    ]
    if len(found) < 3:
        raise SystemExit("Fewer than three honest adapters: run benchmarks/evaluate_gate.py first.")
    return found


def _told(verdict: Verdict) -> dict[str, Any]:
    names = ("word", "difference", "low", "high", "topics", "seeds", "seed_low", "seed_high")
    return {name: getattr(verdict, name) for name in names}


PARTS = {
    "harness": harness, "speed": speed, "letters": letters, "seeds": seeds, "batches": batches
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the scorers of stage 6.")
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--items", type=int, default=500)
    asked = parser.parse_args()
    figures = PARTS[asked.part](asked, load_base())
    print(json.dumps(figures, indent=1))
    known = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
    text = json.dumps(known | {asked.part: figures}, indent=1, sort_keys=True)
    FIGURES.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
