"""What the release gate blocks: adapters that behave badly, tampered records, and honest adapters.

Run: python benchmarks/evaluate_gate.py   (some two hours on two cores; goes on where it stopped)
     python benchmarks/evaluate_gate.py --only "refuses everything"

Every adapter is trained from the packaged base model, sealed, evaluated as notebook 06 does it, and
given to the gate, in a workspace of its own under `_build/gate`. It is trained once, and given to
the gate again with `--only`. The training data of honest ones are those that the embedded sample
gives, by the settings of the laptop profile and five seeds; of bad ones they are in
`evaluate_bad.py`. Bad adapters have a true seal, passport and certificate: only what was measured
can block them. The tampered ones are copies of an honest one. What was found is kept in
`evaluate_gate.json`: adapter, expected, exit code, and the checks that block.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from evaluate_bad import BAD, Pair

from elara import audit, evaluate, train
from elara.audit.page import passport_html
from elara.audit.passport import read_manifest
from elara.audit.verify import files_of, seal
from elara.evaluate.gate import pass_gate
from elara.evaluate.memory import Memory
from elara.model import SYSTEM_PROMPT, load_adapter, load_base
from elara.records import Example, Message, frame
from elara.workspace import Workspace, file_sha256
from elara.workspace.formats import MANIFEST, WITHDRAWN

PROJECT = Path(__file__).resolve().parents[1]
FIGURES = Path(__file__).with_suffix(".json")
BUILD = PROJECT / "_build" / "gate"
SEEDS = 5
SPLITS = ("train", "validation", "test")
SETTINGS: dict[str, Any] = {"max_length": 1024, "resamples": 9_999, "seed": 0}
# The laptop profile, as notebook 05 has it; bad adapters take a larger step for each example.
HONEST = {"max_train_tokens": 40_000, "gradient_accumulation": 4, "epochs": 1.0}
SPOILED = {"max_train_tokens": 0, "gradient_accumulation": 1, "epochs": 2.0}


def sample() -> Path:
    """The workspace in which the embedded sample becomes training data; made once."""
    home = BUILD / "workspace"
    for stage in ("collect", "inspect", "clean", "expand"):
        if not Workspace(home).folder("expand").joinpath("manifest.json").exists():
            command = [sys.executable, "-m", "elara.cli", "run", "--only", stage, "-w", str(home)]
            subprocess.run(command, check=True)
    return home


def examples(pairs: list[Pair]) -> pl.DataFrame:
    """Questions and answers as training examples."""
    told: dict[str, Any] = {"specialty": "General", "origin": "grounded", "recipe": "key_points"}
    told |= {"licence": "CC0-1.0", "redistributable": True}
    rows = []
    for i, (question, answer) in enumerate(pairs):
        turns = (("system", SYSTEM_PROMPT), ("user", question), ("assistant", answer))
        messages = [Message(*turn) for turn in turns]
        source = f"made:{i}"
        row = Example(
            id=f"{source}/key_points/0", messages=messages, article_ids=[source], **told
        )  # fmt: skip
        rows.append(row)
    return frame(rows, Example)


def prepared(name: str, pairs: list[Pair] | None) -> Workspace:
    """A workspace with training data: those of the sample, or the pairs with its held-out ones."""
    place = Workspace(BUILD / "places" / name.replace(" ", "-"))
    shutil.rmtree(place.root, ignore_errors=True)
    source = sample() / "training_data"
    if pairs is None:
        shutil.copytree(source, place.folder("expand"))
        (place.root / "logs").mkdir()
        return place
    tables = {f"{s}.jsonl": pl.read_ndjson(source / f"{s}.jsonl") for s in SPLITS}
    stage = place.begin("expand", {})
    stage.write(tables | {"train.jsonl": examples(pairs)})
    return place


def trained(
    place: Workspace,
    settings: dict[str, Any],
    seed: int,
    spoil: Callable[[Any, Any], None] | None = None,
) -> None:
    """Stage 5, as notebook 05 does it; `spoil` changes the data or, after training, the model."""
    fixed: dict[str, Any] = {
        "base_model": "smollm2-135m-instruct",
        "quantisation": "none",
        "lora_dropout": 0.0,
    }
    fixed |= {"learning_rate": 1e-3, "max_length": 1024, "save_steps": 10_000, "trackers": ()}
    config = train.TrainingConfig(**fixed | settings, seed=seed)
    stage = place.begin("train", {})
    splits = {s: stage.read("expand", f"{s}.jsonl") for s in SPLITS}
    held_out = {s: splits[s] for s in ("validation", "test")}
    splits["train"] = audit.certify(splits["train"], held_out).without(splits["train"])
    lm = load_base(config.base_model)
    data = train.tokenise(lm.tokenizer, splits["train"], splits["validation"].head(4), config)
    if spoil:
        spoil(data, None)
    training = train.fine_tune(lm, data, config, BUILD / ".checkpoints")
    if spoil:
        spoil(None, training.model.model)
    used = splits["train"].filter(pl.col("id").is_in(data.ids))
    licences = dict(used.group_by("licence").len().sort("licence").iter_rows())
    folder = stage.draft / "adapter"
    train.save_adapter(training, config, data, licences, folder)
    audit.write_passport(folder, training, config, splits, audit.certify(used, held_out))
    stage.write({})


def evaluated(place: Workspace) -> None:
    """Stage 6, as notebook 06 does it, without its scenarios."""
    stage = place.begin("evaluate", {})
    stage.parameters |= SETTINGS
    test, adapter = stage.read("expand", "test.jsonl"), stage.path("train", "adapter")
    lm, longest = load_adapter(adapter), SETTINGS["max_length"]
    losses = evaluate.answer_losses(lm, test, max_length=longest, sides=("adapter",))
    losses = losses.join(base_losses(lm, test, longest), on="id", how="left")
    links = place.folder("expand") / "links.parquet"
    topics = evaluate.topics_of(pl.read_parquet(links)) if links.exists() else {}
    scores = evaluate.loss_scores(losses, test, topics)
    settings = {name: SETTINGS[name] for name in ("resamples", "seed")}
    judgement = evaluate.judge(scores, **settings)
    again = evaluate.measure_again(lm, test, max_length=longest, items=8)
    verdict, repeats = evaluate.confirm(judgement, scores, again, topics, **settings)
    passport, _ = audit.with_verdict(adapter, verdict)
    files = {"verdict.json": verdict, "scores.parquet": scores, "repeats.parquet": repeats}
    stage.write(files | {"passport.json": passport})


def base_losses(lm: Any, test: pl.DataFrame, longest: int) -> pl.DataFrame:
    """Those of the base model on the sample's held-out examples, which all adapters share."""
    file = BUILD / "base_losses.parquet"
    if not file.exists():
        losses = evaluate.answer_losses(lm, test, max_length=longest, sides=("base",))
        losses.select("id", "base").write_parquet(file)
    return pl.read_parquet(file)


def gated(place: Workspace, **how: Any) -> dict[str, Any]:
    """What the gate says. Scores of the same weights on the same items are taken over."""
    started = time.perf_counter()
    memory = Memory(BUILD / "scores.jsonl")
    found = pass_gate(place.folder("train") / "adapter", memory=memory, **how)
    rows = [dataclasses.asdict(row) for row in found.rows]
    blocked = [row for row in rows if row["result"] == "blocked"]
    return {
        "exit_code": found.exit_code,
        "result": found.result,
        "blocked_by": {row["check"]: row["evidence"] for row in blocked},
        "by_behavior": any(row["kind"] == "behavior" for row in blocked),
        "by_record": any(row["kind"] == "integrity" for row in blocked),
        "behavior": {r["check"]: r["evidence"] for r in rows if r["kind"] == "behavior"},
        "cannot_tell": [row["check"] for row in rows if row["result"] == "cannot tell"],
        "seconds": round(time.perf_counter() - started),
    }


def made(name: str, make: Callable[[], Workspace]) -> Workspace:
    """The workspace of an adapter, made unless it is there from an earlier run."""
    place = Workspace(BUILD / "places" / name.replace(" ", "-"))
    if not (place.folder("evaluate") / MANIFEST).exists():
        evaluated(make())
    return place


def honest(seed: int) -> dict[str, Any]:
    """An adapter by the laptop profile on the sample's training data."""

    def make() -> Workspace:
        place = prepared(f"honest {seed}", None)
        trained(place, HONEST, seed)
        return place

    return gated(made(f"honest {seed}", make))


def _no_stop(data: Any, _: Any) -> None:
    for example in data.train if data else ():
        example.labels[-1] = -100


def _noise(_: Any, model: Any) -> None:
    import torch

    torch.manual_seed(0)
    for name, weight in model.named_parameters() if model else ():
        if "lora_B" in name:
            weight.data += 0.02 * torch.randn_like(weight)


def _scaled(_: Any, model: Any) -> None:
    for name, weight in model.named_parameters() if model else ():
        if "lora_B" in name:
            weight.data *= 6


def spoiled(name: str) -> dict[str, Any]:
    """An adapter that was taught to behave badly."""

    def make() -> Workspace:
        place = prepared(name, BAD[name]())
        trained(place, SPOILED, 0, _no_stop if name == "never stops" else None)
        return place

    return gated(made(name, make))


def broken(name: str, spoil: Callable[[Any, Any], None]) -> dict[str, Any]:
    """An adapter that was trained honestly and briefly, and whose weights were then changed."""

    def make() -> Workspace:
        place = prepared(name, None)
        trained(place, HONEST | {"max_train_tokens": 4_000}, 0, spoil)
        return place

    return gated(made(name, make))


def tampered(name: str, change: Callable[[Workspace], None], **how: Any) -> dict[str, Any]:
    """A copy of the first honest adapter with something changed."""
    place = Workspace(BUILD / "places" / name.replace(" ", "-"))
    shutil.rmtree(place.root, ignore_errors=True)
    shutil.copytree(BUILD / "places" / "honest-0", place.root)
    change(place)
    return gated(place, **how)


def _rewritten(place: Workspace, files: dict[str, Any]) -> None:
    """Replace files of the evaluation and compute its manifest anew."""
    home, inputs = place.folder("evaluate"), place.manifest("evaluate")["inputs"]
    kept: dict[str, Any] = {}
    for path in home.glob("*.parquet"):
        kept[path.name] = pl.read_parquet(path)
    for name in ("verdict.json", "passport.json"):
        kept[name] = json.loads((home / name).read_text(encoding="utf-8"))
    stage = place.begin("evaluate", {})
    stage.parameters |= SETTINGS
    stage._inputs.update(inputs)
    stage.write(kept | files)


def _resealed(folder: Path) -> None:
    """Compute every hash of an adapter folder anew."""
    passport = json.loads((folder / "passport.json").read_text(encoding="utf-8"))
    files = files_of(folder)
    passport["files"] = {n: h for n, h in files.items() if not n.startswith("passport.")}
    (folder / "passport.json").write_text(json.dumps(passport), encoding="utf-8")
    digest = file_sha256(folder / "passport.json")
    page = passport_html(passport, read_manifest(folder), digest)
    (folder / "passport.html").write_text(page, encoding="utf-8")
    seal(folder)


def _scores(place: Workspace) -> None:
    """Better scores, and the verdict that follows from them."""
    from elara.evaluate.repeat import settled

    home = place.folder("evaluate")
    scores, repeats = (pl.read_parquet(home / f"{n}.parquet") for n in ("scores", "repeats"))
    better = pl.when(arm="adapter").then(-0.3).otherwise(0.0)
    scores = scores.with_columns(pl.col("value") + better)
    settings = {name: SETTINGS[name] for name in ("resamples", "seed")}
    verdict = settled(evaluate.judge(scores, **settings), scores, repeats, **settings)
    _rewritten(place, {"scores.parquet": scores, "verdict.json": verdict})


def _verdict(place: Workspace) -> None:
    told = json.loads((place.folder("evaluate") / "verdict.json").read_text(encoding="utf-8"))
    _rewritten(place, {"verdict.json": told | {"difference": told["difference"] - 1}})


def _stale(place: Workspace) -> None:
    path = place.folder("expand") / "train.jsonl"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(" is ", " was "), encoding="utf-8")


def _file(place: Workspace) -> None:
    path = place.folder("train") / "adapter" / "adapter_config.json"
    path.write_text(path.read_text(encoding="utf-8") + " ", encoding="utf-8")


def _withdrawn(place: Workspace) -> None:
    told = {"why": "withdrawn: it learned from a retracted article"}
    (place.folder("train") / "adapter" / WITHDRAWN).write_text(json.dumps(told), encoding="utf-8")


def _template(place: Workspace) -> None:
    folder = place.folder("train") / "adapter"
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text(encoding="utf-8").replace("user", "asker"), encoding="utf-8")
    _resealed(folder)


def _weights(place: Workspace) -> None:
    """The weights of a bad adapter under the passport of an honest one, every hash made anew."""
    folder, bad = place.folder("train") / "adapter", BUILD / "places" / "refuses-everything"
    name = "adapter_model.safetensors"
    shutil.copy(bad / "lora_adapters" / "adapter" / name, folder / name)
    _resealed(folder)


def other_base() -> Path:
    """The packaged base model with some weights changed."""
    import torch

    folder = BUILD / "other_base"
    if not (folder / "config.json").exists():
        lm, draw = load_base(), torch.Generator().manual_seed(0)
        for layer in lm.model.model.layers[::5]:
            weight = layer.mlp.down_proj.weight
            weight.data += 0.02 * torch.randn(weight.shape, generator=draw)
        lm.model.save_pretrained(folder)
        lm.tokenizer.save_pretrained(folder)
    return folder


def _other_adapter(place: Workspace) -> None:
    """Another adapter in the place of the one that was evaluated."""
    folder = place.folder("train") / "adapter"
    shutil.rmtree(folder)
    shutil.copytree(BUILD / "places" / "refuses-everything" / "lora_adapters" / "adapter", folder)


Runs = dict[str, tuple[int, Callable[[], dict[str, Any]]]]


def runs() -> Runs:
    """Every adapter by name: the exit code that is expected, and how to have it."""
    found: Runs = {f"honest {i}": (0, lambda i=i: honest(i)) for i in range(SEEDS)}  # type: ignore[misc]
    found |= {name: (2, lambda name=name: spoiled(name)) for name in BAD}  # type: ignore[misc]
    changes = {
        "scores tampered": _scores, "verdict tampered": _verdict, "stale certificate": _stale,
        "file changed after sealing": _file, "withdrawn": _withdrawn,
        "other chat template": _template, "weights exchanged, resealed": _weights,
        "evaluation of another adapter": _other_adapter,
    }  # fmt: skip
    for name, spoil in (("weights with noise", _noise), ("weights scaled", _scaled)):
        found[name] = (2, lambda n=name, s=spoil: broken(n, s))  # type: ignore[misc]
    for name, change in changes.items():
        found[name] = (2, lambda n=name, c=change: tampered(n, c))  # type: ignore[misc]
    swapped: Callable[[], dict[str, Any]] = lambda: tampered(  # noqa: E731
        "base swapped", lambda _: None, base=str(other_base())
    )
    return found | {"base swapped": (2, swapped)}


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """How many were blocked that should be, and how many that should not."""
    bad = {n: f for n, f in found.items() if f["expected"] == 2}
    good = {n: f for n, f in found.items() if f["expected"] == 0}
    return {
        "bad": len(bad),
        "bad_blocked": sum(f["exit_code"] == 2 for f in bad.values()),
        "bad_blocked_by_behavior": sum(f["by_behavior"] for f in bad.values()),
        "honest": len(good),
        "honest_blocked": sum(f["exit_code"] == 2 for f in good.values()),
    }


def gate_part(only: str = "") -> dict[str, Any]:
    """Measure what is not in the file yet, and write it after each adapter."""
    for name, (expected, make) in runs().items():
        if only != name and (only or name in known()):
            continue
        found: dict[str, Any] = {"expected": expected} | make()
        print(name, found["result"], [*found["blocked_by"]], flush=True)
        write(known() | {name: found})
    return write(known())


def write(adapters: dict[str, Any]) -> dict[str, Any]:
    """Keep what was found, in the order of `runs`, with its summary."""
    told = {name: adapters[name] for name in runs() if name in adapters}
    figures = {"summary": summary(told), "adapters": told}
    FIGURES.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return figures


def known() -> dict[str, Any]:
    """What was measured so far, by this process or another."""
    if not FIGURES.exists():
        return {}
    found: dict[str, Any] = json.loads(FIGURES.read_text(encoding="utf-8"))["adapters"]
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="this adapter alone, even if it is known")
    gate_part(parser.parse_args().only)
