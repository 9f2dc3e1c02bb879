"""Save a preference-tuned adapter like any other, and carry on the earlier one's passport."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import polars as pl

from elara.audit.card import hub_name, metadata
from elara.audit.certificate import Certificate, described
from elara.audit.passport import (
    MANIFEST_FILE,
    NOT_YET,
    carried_on,
    environment,
    finish,
    head,
)
from elara.audit.verify import PROBE_FILE, mean_losses, measured
from elara.continual.feedback import answers
from elara.continual.preference import Preferred
from elara.continual.trainers import PreferenceConfig
from elara.model import TRAINING_FILE, load_adapter
from elara.train.config import TrainingConfig, TrainingError
from elara.train.save import adapter_record, save_files
from elara.workspace.formats import write_file


def save_preferred(
    preferred: Preferred, config: PreferenceConfig, folder: Path, *, earlier: Path
) -> dict[str, Any]:
    """Save adapter, tokenizer, settings and a short card.

    Args:
        preferred: the tuned model.
        config: the settings of `prefer`.
        folder: where to; made when needed. Not the earlier adapter's folder.
        earlier: the folder of the adapter that was tuned; its record goes on in the new one.

    Returns:
        The content of `training.json`: that of the earlier adapter, with `preference`.
    """
    lm = preferred.model
    told = json.loads((earlier / TRAINING_FILE).read_text(encoding="utf-8"))
    # What the earlier run was set to stays, where the adapter does not say it itself.
    earlier_config = TrainingConfig(**told["config"])
    own = adapter_record(lm, earlier_config, preferred.adapter_dtype, earlier=earlier)
    record: dict[str, Any] = told | {n: own[n] for n in own if n != "earlier_examples"}
    judged = preferred.rewards.filter(split="train")["id"].unique().sort()
    record["preference"] = {
        "method": preferred.method,
        "config": dataclasses.asdict(config),
        "feedback": judged.to_list(),
        "left_out": preferred.left_out,
        "margins": preferred.margins.to_dicts(),
    }
    save_files(lm, preferred.adapter_dtype, record, _card(record, lm.name), folder)
    return record


def _card(record: dict[str, Any], base: str) -> str:
    preference = record["preference"]
    rows = "\n".join(
        f"| {row['split']} | {row['questions']} | {row['margin']:.3f} | {row['accuracy']:.2f} |"
        for row in preference["margins"]
    )
    return f"""{metadata(record, "adapter", "lora", preference["method"])}
# LoRA adapter tuned on preferences, made with Elara {record["elara"]}

## Intended use
Research and teaching on how feedback changes a language model. It is **not** a medical device and
must not be used for diagnosis, treatment or any decision about a person's care. Feedback says what
people liked to read, not what is true. Read the evaluation that was made with it before any use.

## Training
`{hub_name(base)}` with an adapter that had seen {len(record["examples"])} examples, tuned with
{preference["method"].upper()} (beta {preference["config"]["beta"]}, learning rate
{preference["config"]["learning_rate"]}) on {len(preference["feedback"])} judgements, listed by id
in `training.json`.

| split | questions | reward margin | accuracy |
|---|---:|---:|---:|
{rows}

Before tuning every margin is 0. A margin on held-out questions above 0 says that the model favours
the kind of answer that was preferred; it says nothing about whether that answer is correct.
"""


def write_preference_passport(
    folder: Path,
    preferred: Preferred,
    feedback: pl.DataFrame,
    certificate: Certificate,
    *,
    earlier: Path,
) -> dict[str, Any]:
    """Complete an adapter folder that `save_preferred` left: recorded losses, passport and seal.

    What the earlier adapter was trained on is carried over from its passport, which is named by
    its hash. Its recorded slice of examples is measured again with the tuned adapter. The words
    of the feedback stay out of the folder: the passport names judgements by their ids.

    Args:
        folder: what `save_preferred` left.
        preferred: the tuned model.
        feedback: the `Preference` rows that were given to `prefer`.
        certificate: what `certify` found for `answers(feedback)`.
        earlier: the sealed folder of the adapter that was tuned.

    Returns:
        The content of `passport.json`.

    Raises:
        TrainingError: the certificate is about other feedback.
        AuditError: it or the earlier adapter's is not clean; the earlier adapter is not as it was
            sealed, or has no passport.
    """
    record = json.loads((folder / TRAINING_FILE).read_text(encoding="utf-8"))
    if certificate.compared["train"]["sha256"] != described(answers(feedback))["sha256"]:
        raise TrainingError(
            "The certificate is about other feedback than was learned from: certify "
            "`answers(feedback)`."
        )
    certificate.require_clean()
    lm = load_adapter(folder)
    begun = carried_on(earlier)
    begun.manifest.write_ndjson(folder / MANIFEST_FILE)
    probe = begun.probe | {
        "precision": dataclasses.asdict(lm.precision),
        "examples": [measured(lm, row) for row in begun.probe["examples"]],
    }
    write_file(folder / PROBE_FILE, probe)
    again = {"file": PROBE_FILE, "examples": len(probe["examples"])} | mean_losses(probe)
    old = begun.passport
    first = head(folder, record)
    passport = first | {
        "title": f"{first['title']}, tuned on preferences",
        "preference": _preference(record["preference"], feedback, certificate, begun.continues),
        "data": old["data"],
        "certificate": old["certificate"],
        "config": old["config"],
        "environment": environment(dataclasses.asdict(lm.precision)),
        "losses": old["losses"] | {"slice": again},
        "evaluation": NOT_YET,
    }
    if "continues" in old:
        passport["continues"] = old["continues"]
    return finish(folder, passport, begun.manifest)


def _preference(
    record: dict[str, Any],
    feedback: pl.DataFrame,
    certificate: Certificate,
    continues: dict[str, Any],
) -> dict[str, Any]:
    learned = feedback.filter(pl.col("id").is_in(record["feedback"]))
    sources = learned.group_by("source").len().sort("source")
    return {
        "method": record["method"],
        "config": record["config"],
        "judgements": learned.height,
        "left_out": record["left_out"],
        "sources": dict(sources.iter_rows()),
        "margins": record["margins"],
        "certificate": certificate.record(),
        "continues": continues,
    }
