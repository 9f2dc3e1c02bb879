"""Write the adapter passport: what an adapter was made from, how, and what it is worth.

It is written into the adapter folder before the folder is sealed, when no evaluation exists yet.
The evaluation completes a copy, which names the passport that it completes by its hash: the
adapter's own folder never changes after it was sealed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

import elara
from elara.audit.card import INTENDED_USE, shown_name
from elara.audit.certificate import AuditError, Certificate, contaminated_items, described
from elara.audit.page import passport_html
from elara.audit.verify import (
    PAGE_FILE,
    PASSPORT_FILE,
    PROBE_FILE,
    SUMS_FILE,
    UNIT,
    damage,
    files_of,
    mean_losses,
    record_probe,
    seal,
)
from elara.model import TRAINING_FILE, WEIGHTS_FILE, load_adapter
from elara.records import PRIVATE
from elara.workspace import file_sha256, withdrawn
from elara.workspace.formats import json_text, made_with, read_table, write_file

MANIFEST_FILE = "data_manifest.jsonl"
NOT_YET = {
    "status": "not evaluated",
    "text": "Not evaluated yet. Nothing is known about whether the training helped.",
}
_COLUMNS = (
    *("id", "source", "article_ids", "title", "url"),
    *("licence", "redistributable", "specialty", "origin"),
)
_MANIFEST: dict[str, Any] = dict.fromkeys(_COLUMNS, pl.String) | {
    "article_ids": pl.List(pl.String),
    "redistributable": pl.Boolean,
}
_HUB = {
    "pubmed": "https://pubmed.ncbi.nlm.nih.gov/{}/",
    "pmc": "https://pmc.ncbi.nlm.nih.gov/articles/{}/",
}


def write_passport(
    folder: Path,
    training: Any,
    config: Any,
    examples: Mapping[str, pl.DataFrame],
    certificate: Certificate,
    *,
    articles: pl.DataFrame | None = None,
) -> dict[str, Any]:
    """Complete an adapter folder: data manifest, recorded losses, passport, and the seal.

    An adapter that was trained on carries on what the earlier one's passport says of its data.
    The losses are measured on the adapter as it is loaded from the folder.

    Args:
        folder: what `save_adapter` left.
        training: the finished run, an `elara.train.Training`.
        config: its settings, an `elara.train.TrainingConfig`.
        examples: the `Example` rows of `train` and `validation`; those that the run did not use
            are left aside.
        certificate: what `certify` found for exactly the training examples that were used.
        articles: `Article` rows; they give titles and addresses of the sources.

    Returns:
        The content of `passport.json`.

    Raises:
        AuditError: the certificate is about other examples, or it or an earlier adapter's is
            not clean; an earlier adapter is not as it was sealed, or has no passport.
    """
    record = json.loads((folder / TRAINING_FILE).read_text(encoding="utf-8"))
    # The adapter's own rank, alpha, dropout and variant.
    config = dataclasses.replace(config, **record["config"])
    train = examples["train"].filter(pl.col("id").is_in(record["examples"]))
    if certificate.compared["train"]["sha256"] != described(train)["sha256"]:
        raise AuditError(
            "The certificate is about other training examples than the run used: certify "
            "`train.filter(pl.col('id').is_in(data.ids))`."
        )
    certificate.require_clean()
    rows = data_manifest(train, articles)
    begun = carried_on(training.earlier) if training.earlier else None
    if begun:
        rows = pl.concat([rows, begun.manifest.join(rows, on="id", how="anti")]).sort("id")
    rows.write_ndjson(folder / MANIFEST_FILE)
    longest = record["config"]["max_length"]
    probe = record_probe(load_adapter(folder), examples["validation"], train, max_length=longest)
    write_file(folder / PROBE_FILE, probe)
    passport = head(folder, record) | {
        "data": _overview(rows, record["data"]),
        "certificate": certificate.record(),
        "config": _settings(config),
        "environment": environment(record["precision"]),
        "losses": _losses(training, record, probe),
        "evaluation": NOT_YET,
    }
    if begun:
        passport["continues"] = begun.continues | {
            "examples": begun.manifest.height,
            "judgements": begun.passport.get("preference", {}).get("judgements", 0),
            "contaminated_items": contaminated_items(begun.passport),
        }
    return finish(folder, passport, rows)


def head(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """What a passport says first: what it is about, when it was made, and its size.

    Args:
        folder: the adapter folder.
        record: the content of `training.json`.
    """
    base = shown_name(record["base_model"])
    sizes = {name: record[name] for name in ("trainable_parameters", "total_parameters")}
    stored = {"dtype": record["adapter_dtype"], "bytes": (folder / WEIGHTS_FILE).stat().st_size}
    return {
        "title": f"LoRA adapter on {base}",
        "made": time.strftime("%Y-%m-%d", time.gmtime()),
        "elara": elara.__version__,
        "intended_use": INTENDED_USE,
        "base_model": base,
        "adapter": sizes | stored,
    }


def finish(folder: Path, passport: dict[str, Any], rows: pl.DataFrame) -> dict[str, Any]:
    """Write the passport and its page, and seal the folder.

    Args:
        folder: an adapter folder that holds everything else.
        passport: all but the files' hashes.
        rows: the data manifest.

    Returns:
        The content of `passport.json`.
    """
    passport = passport | {"files": files_of(folder)}
    write_file(folder / PASSPORT_FILE, passport)
    digest = file_sha256(folder / PASSPORT_FILE)
    (folder / PAGE_FILE).write_text(passport_html(passport, rows, digest), encoding="utf-8")
    seal(folder)
    return passport


def with_verdict(folder: Path, verdict: Any) -> tuple[dict[str, Any], str]:
    """Complete an adapter's passport by its evaluation, for the evaluation's own folder.

    Args:
        folder: the sealed adapter folder; it is not changed.
        verdict: what the evaluation found: a dataclass or mapping with `verdict`, one sentence,
            and its numbers.

    Returns:
        The completed passport for a JSON file, and its page. Both name the adapter's own passport
        and fingerprint by their hashes.

    Raises:
        AuditError: the folder is not as it was sealed, so the verdict would not be about it.
    """
    if wrong := damage(folder):
        raise AuditError(f"The adapter in {folder} is not as it was sealed: {'; '.join(wrong)}.")
    numbers = dict(verdict) if isinstance(verdict, Mapping) else dataclasses.asdict(verdict)
    passport = json.loads((folder / PASSPORT_FILE).read_text(encoding="utf-8"))
    passport["evaluation"] = {
        "status": "evaluated",
        "text": numbers.pop("verdict"),
        "made": time.strftime("%Y-%m-%d", time.gmtime()),
        "numbers": numbers,
    }
    passport["completes"] = _hashes(folder)
    rows = read_manifest(folder)
    digest = hashlib.sha256(json_text(passport).encode()).hexdigest()
    return passport, passport_html(passport, rows, digest)


def data_manifest(train: pl.DataFrame, articles: pl.DataFrame | None = None) -> pl.DataFrame:
    """Say for every training example where its text comes from and under which licence.

    Titles and addresses of private texts are left out, since the manifest travels with the
    adapter and a title is often the first line of a text.

    Args:
        train: `Example` rows.
        articles: `Article` rows, where they are at hand.

    Returns:
        Columns id, source, article_ids, title, url, licence, redistributable, specialty, origin,
        by id. An address that is not known is "".
    """
    known = {}
    if articles is not None:
        known = {a: (t, u) for a, t, u in articles.select("id", "title", "url").iter_rows()}
    columns = ("id", "article_ids", "licence", "redistributable", "specialty", "origin")
    rows = []
    for row in train.sort("id").select(columns).iter_rows(named=True):
        article = row["article_ids"][0]
        source, _, native = article.partition(":")
        private = row["licence"] == PRIVATE
        title, url = ("", "") if private else known.get(article, ("", ""))
        url = url or _HUB.get(source, "").format(native)
        source = source if native else row["origin"]
        rows.append(row | {"source": source, "title": title, "url": url})
    return pl.DataFrame(rows, schema=_MANIFEST)


def read_manifest(folder: Path) -> pl.DataFrame:
    """The data manifest of an adapter folder; empty where no example was trained on."""
    return read_table(folder / MANIFEST_FILE, _MANIFEST)


def _settings(config: Any) -> list[dict[str, Any]]:
    """Every setting beside its value in the reference run, without the path of a local model."""
    rows: list[dict[str, Any]] = config.beside_reference()
    for row in rows:
        if row["setting"] == "base_model":
            row["value"] = shown_name(row["value"])
    return rows


@dataclass(frozen=True)
class Begun:
    """What is known of an adapter before it was trained on or tuned.

    Args:
        passport: its passport, or what there would be in it.
        manifest: its data manifest.
        probe: its recorded slice.
        continues: title, and hashes of its passport and its seal; none where the adapter was new.
    """

    passport: dict[str, Any]
    manifest: pl.DataFrame
    probe: dict[str, Any]
    continues: dict[str, Any]


def carried_on(earlier: Path) -> Begun:
    """Read what a sealed adapter says of itself.

    Args:
        earlier: its folder.

    Raises:
        AuditError: it is not as it was sealed, was withdrawn, or held-out items are in its data.
    """
    if wrong := damage(earlier):
        raise AuditError(
            f"The adapter in {earlier} is no longer as it was sealed: {'; '.join(wrong)}. Continue "
            "from an adapter that passes `elara verify`."
        )
    if why := withdrawn(earlier):
        raise AuditError(f"The adapter in {earlier} is {why}")
    passport = json.loads((earlier / PASSPORT_FILE).read_text(encoding="utf-8"))
    if contaminated_items(passport):
        raise AuditError(
            f"The passport of {earlier} says that held-out items are in its training data: "
            "continue from an adapter with clean data."
        )
    continues = {"title": passport["title"]} | _hashes(earlier)
    probe = json.loads((earlier / PROBE_FILE).read_text(encoding="utf-8"))
    return Begun(passport, read_manifest(earlier), probe, continues)


def _hashes(folder: Path) -> dict[str, str]:
    names = {"passport_sha256": PASSPORT_FILE, "fingerprint": SUMS_FILE}
    return {name: file_sha256(folder / file) for name, file in names.items()}


def _overview(rows: pl.DataFrame, tokens: list[dict[str, Any]]) -> dict[str, Any]:
    """Count what the training data are, beside the table of tokens per split."""
    found = {
        "manifest": MANIFEST_FILE,
        "examples": rows.height,
        "articles": rows["article_ids"].explode().n_unique(),
        "may_not_be_passed_on": int((~rows["redistributable"]).sum()),
        "tokens": tokens,
    }
    named = {"sources": "source", "licences": "licence"}
    named |= {"specialties": "specialty", "origins": "origin"}
    for name, column in named.items():
        counts = rows.group_by(column).len().sort(["len", column], descending=[True, False])
        found[name] = dict(counts.iter_rows())
    return found


def environment(precision: Mapping[str, Any]) -> dict[str, Any]:
    """Device, number format, system and library versions.

    Args:
        precision: `device`, `dtype` and `reason`, as `elara.model` chose them.
    """
    import torch

    made = made_with()
    on_gpu = precision["device"] == "cuda"
    return {
        "device": torch.cuda.get_device_name() if on_gpu else f"CPU ({platform.machine()})",
        "precision": dict(precision),
        "system": platform.system(),
        "python": made["python"],
        "libraries": made["libraries"],
    }


def _losses(training: Any, record: dict[str, Any], probe: dict[str, Any]) -> dict[str, Any]:
    losses: pl.DataFrame = training.losses.select("split", "step", "epoch", "loss")

    def curve(split: str) -> list[dict[str, float]]:
        return losses.filter(split=split).drop("split").to_dicts()

    held = curve("validation")
    return {
        "unit": UNIT,
        "start": "earlier adapter" if training.earlier else "base model",
        "steps": record["steps"],
        "tokens": record["tokens"],
        "seconds": record["seconds"],
        "base": held[0]["loss"] if held and held[0]["step"] == 0 else None,
        "final": held[-1]["loss"] if held else None,
        "training": curve("train"),
        "validation": held,
        "slice": {"file": PROBE_FILE, "examples": len(probe["examples"])} | mean_losses(probe),
    }
