"""Go from accepted feedback to a tuned adapter that the gate has looked at, and stop there.

What it makes lies in `loop/`, a workspace of its own inside the one that it starts from: the same
training data, the tuned adapter, its evaluation, the gate's result. Nothing that is served changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from elara import evaluate
from elara.audit.certificate import certify
from elara.audit.passport import with_verdict
from elara.continual.feedback import answers
from elara.continual.preference import Preferred, prefer
from elara.continual.saving import save_preferred, write_preference_passport
from elara.continual.trainers import PreferenceConfig
from elara.evaluate.gate import Gate, pass_gate
from elara.evaluate.gate_rows import BLOCKED
from elara.model import WEIGHTS_FILE
from elara.train.config import TrainingError
from elara.workspace import Workspace, file_sha256, write_atomically
from elara.workspace.formats import read_table

PLAN_FILE = "plan.yaml"
_SPLITS = ("train", "validation", "test")
_SETTINGS = {"max_length": 1024, "resamples": 9999, "seed": 0, "repeat_items": 12}
_PLAN = """\
# What an experiment declares before it begins; it cannot be changed afterwards. The guide is
# "Experiments". Fill in what is empty: the experiment does not start without it.
name: ""
question: ""
reviewed_by: ""
standing: {standing}
candidate: {candidate}
share: 0.5
metric: thumbs
effect: 0.05
alpha: 0.05
window_days: 7
most_people: 2000
harm: {{margin: 0.0, reports: 3}}
"""


@dataclass(frozen=True)
class Looped:
    """What came of the loop.

    Args:
        place: the workspace `loop/`.
        preferred: the tuned model and its margins.
        gate: what the gate found.
        left_out: judgements that were not used, since they hold held-out text.
        unusable: accepted feedback in which there is nothing to learn from.
    """

    place: Workspace
    preferred: Preferred
    gate: Gate
    left_out: int
    unusable: int

    def lines(self) -> Iterator[str]:
        """What happened, what the gate found, and what a person has to type to go on."""
        held = self.preferred.margins.filter(split="held_out").row(0, named=True)
        yield (
            f"Tuned by {self.preferred.method.upper()} on accepted feedback; {self.left_out} "
            f"judgements left out since they hold held-out text, {self.unusable} with nothing to "
            f"learn from, {self.preferred.left_out} too long."
        )
        yield (
            f"Reward margin on {held['questions']} held-out questions: {held['margin']:.3f} "
            f"[{held['low']:.3f}, {held['high']:.3f}]"
        )
        yield from self.gate.lines()
        adapter = self.place.folder("train") / "adapter"
        if self.gate.result == BLOCKED:
            yield f"The gate blocks {adapter}: there is nothing to compare with people."
            return
        yield (
            f"Nothing that is served has changed. To compare {adapter} with the standing adapter, "
            f"read the guide on experiments, copy the adapter to where your server finds its "
            f"adapters, fill in {self.place.root / PLAN_FILE}, and type:"
        )
        above = self.place.root.parent
        yield f"elara ab start --plan {self.place.root / PLAN_FILE} --workspace {above}"


def run_loop(
    home: Workspace, feedback: pl.DataFrame, config: PreferenceConfig, *, unusable: int = 0
) -> Looped:
    """Tune the trained adapter on feedback, evaluate it, let it pass the gate, and stop.

    A loop that was killed goes on from its last checkpoint when it is called again.

    Args:
        home: the workspace in which the adapter was trained and evaluated; it is only read.
        feedback: accepted `Preference` rows.
        config: settings of preference tuning.
        unusable: accepted feedback that is not among these rows, to be told.

    Raises:
        TrainingError: there is no feedback, or too little of a kind.
        WorkspaceError: the workspace has no finished adapter.
        AuditError: the adapter is not as it was sealed.
    """
    if feedback.is_empty():
        raise TrainingError(
            "No feedback was accepted yet: look through it with `elara feedback list`, and accept "
            "what may be learned from with `elara feedback accept ID`."
        )
    home.manifest("train")
    place = Workspace(home.root / "loop")
    splits = _copied(home, place)
    held_out = {name: splits[name] for name in _SPLITS[1:]}
    leaked = certify(answers(feedback), held_out).dropped["train_id"].unique()
    used = feedback.filter(~pl.col("id").is_in(leaked.implode()))
    preferred = _tuned(home.folder("train") / "adapter", used, config, place, held_out)
    _evaluated(home, place, preferred)
    adapter = place.folder("train") / "adapter"
    gate = pass_gate(adapter, workspace=str(place.root))
    weights = {"standing": home.folder("train") / "adapter", "candidate": adapter}
    hashes = {name: file_sha256(folder / WEIGHTS_FILE) for name, folder in weights.items()}
    write_atomically(place.root / PLAN_FILE, _PLAN.format(**hashes))
    return Looped(place, preferred, gate, len(feedback) - len(used), unusable)


def _copied(home: Workspace, place: Workspace) -> dict[str, pl.DataFrame]:
    """The examples of the home workspace, as the expand stage of the other one."""
    home.manifest("expand")
    folder = home.folder("expand")
    files = [folder / f"{name}.jsonl" for name in _SPLITS]
    files += [path for path in (folder / "links.parquet",) if path.exists()]
    tables = {path.name: read_table(path) for path in files}
    place.begin("expand", {}).write(tables)
    return {name: tables[f"{name}.jsonl"] for name in _SPLITS}


def _tuned(
    earlier: Path,
    feedback: pl.DataFrame,
    config: PreferenceConfig,
    place: Workspace,
    held_out: dict[str, pl.DataFrame],
) -> Preferred:
    """Train on the feedback, and leave the sealed adapter as the train stage."""
    stage = place.begin("train", {})
    stage.path("expand", "train.jsonl")
    preferred = prefer(earlier, feedback, config, stage.home / ".checkpoints")
    adapter = stage.draft / "adapter"
    save_preferred(preferred, config, adapter, earlier=earlier)
    certificate = certify(answers(feedback), held_out)
    write_preference_passport(adapter, preferred, feedback, certificate, earlier=earlier)
    stage.write({})
    return preferred


def _evaluated(home: Workspace, place: Workspace, preferred: Preferred) -> None:
    """Judge the adapter against its own base model by the losses of the held-out answers."""
    earlier = home.folder("evaluate") / "manifest.json"
    told = home.manifest("evaluate")["parameters"] if earlier.exists() else {}
    settings: dict[str, Any] = {n: told.get(n, value) for n, value in _SETTINGS.items()}
    drawn = {name: settings[name] for name in ("resamples", "seed")}
    stage = place.begin("evaluate", {})
    stage.parameters |= settings
    test, adapter = stage.read("expand", "test.jsonl"), stage.path("train", "adapter")
    links = place.folder("expand") / "links.parquet"
    topics = evaluate.topics_of(pl.read_parquet(links)) if links.exists() else {}
    lm, longest = preferred.model, settings["max_length"]
    losses = evaluate.answer_losses(lm, test, max_length=longest)
    scores = evaluate.loss_scores(losses, test, topics)
    judgement = evaluate.judge(scores, **drawn)
    items = settings["repeat_items"]
    again = evaluate.measure_again(lm, test, max_length=longest, items=items)
    verdict, repeats = evaluate.confirm(judgement, scores, again, topics, **drawn)
    passport, _ = with_verdict(adapter, verdict)
    names = ("verdict.json", "scores.parquet", "repeats.parquet", "passport.json")
    stage.write(dict(zip(names, (verdict, scores, repeats, passport), strict=True)))
