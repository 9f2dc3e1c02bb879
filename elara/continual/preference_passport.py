"""The passport of an adapter that was tuned on preferences: that of its examples, carried on."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import polars as pl

import elara
from elara.audit.card import INTENDED_USE, shown_name
from elara.audit.certificate import Certificate, described
from elara.audit.passport import (
    MANIFEST_FILE,
    NOT_YET,
    Begun,
    carried_on,
    data_manifest,
    environment,
    finish,
    overview,
    settings,
)
from elara.audit.probe import BOUND, PROBE_FILE, UNIT, mean_losses, measured
from elara.continual.feedback import answers
from elara.continual.preference import Preferred
from elara.model import TRAINING_FILE, WEIGHTS_FILE, load_adapter
from elara.records import Example, schema
from elara.train.config import TrainingConfig, TrainingError
from elara.workspace.formats import write_file


def write_preference_passport(
    folder: Path,
    preferred: Preferred,
    feedback: pl.DataFrame,
    certificate: Certificate,
    *,
    earlier: Path | None = None,
    allow_contaminated: bool = False,
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
        earlier: the sealed folder of the adapter that was tuned; None where it was new.
        allow_contaminated: write a passport that says `contaminated` instead of refusing.

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
    if not allow_contaminated:
        certificate.require_clean()
    lm = load_adapter(folder)
    begun = _new(record, certificate) if earlier is None else carried_on(earlier)
    begun.require_clean(allow_contaminated)
    begun.manifest.write_ndjson(folder / MANIFEST_FILE)
    probe = begun.probe | {
        "precision": dataclasses.asdict(lm.precision),
        "examples": [measured(lm, row) for row in begun.probe["examples"]],
    }
    write_file(folder / PROBE_FILE, probe)
    weights = (folder / WEIGHTS_FILE).stat().st_size
    again = {"file": PROBE_FILE, "examples": len(probe["examples"])} | mean_losses(probe)
    old = begun.passport
    passport = {
        "title": f"LoRA adapter on {shown_name(record['base_model'])}, tuned on preferences",
        "made": time.strftime("%Y-%m-%d", time.gmtime()),
        "elara": elara.__version__,
        "intended_use": INTENDED_USE,
        "base_model": old["base_model"],
        "adapter": old["adapter"] | {"bytes": weights, "dtype": record["adapter_dtype"]},
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


_OF_ADAPTER = ("base_model", "quantisation", "precision", "lora_")


def _new(record: dict[str, Any], certificate: Certificate) -> Begun:
    """An adapter that has seen no examples."""
    manifest = data_manifest(pl.DataFrame(schema=schema(Example)))
    passport = {
        "base_model": shown_name(record["base_model"]),
        "adapter": {
            "trainable_parameters": record["trainable_parameters"],
            "total_parameters": record["total_parameters"],
        },
        "data": overview(manifest, []),
        "certificate": certificate.record(),
        "config": [
            row
            for row in settings(TrainingConfig(**record["config"]))
            if row["setting"].startswith(_OF_ADAPTER)  # the others are of training on examples
        ],
        "losses": {
            "unit": UNIT,
            "steps": 0,
            "tokens": 0,
            "base": None,
            "final": None,
            "training": [],
            "validation": [],
        },
    }
    return Begun(passport, manifest, {"bound": BOUND, "unit": UNIT, "examples": []}, {})


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
        "continues": continues or None,
    }
