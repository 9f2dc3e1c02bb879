"""Verify an adapter folder: every byte is as it was sealed, and the model gives the same losses."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elara.audit.certificate import AuditError
from elara.audit.probe import PROBE_FILE, measure_again
from elara.audit.seal import PAGE_FILE, PASSPORT_FILE, SUMS_FILE, damage, files_of
from elara.model import TRAINING_FILE, LanguageModel, ModelError, load_adapter, load_base
from elara.workspace import file_sha256


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Args:
        name: what, in a few words.
        passed: whether it holds; None where it could not be looked at.
        detail: what was found, in one sentence.
    """

    name: str
    passed: bool | None
    detail: str


@dataclass(frozen=True)
class Verification:
    """What the verification of an adapter found.

    Args:
        checks: every check, in order.
        fingerprint: SHA-256 of `SHA256SUMS`, "" where there is none. Whoever passes an adapter on
            can tell it by another way; then nobody can exchange the folder as a whole unnoticed.
    """

    checks: list[Check]
    fingerprint: str

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(check.passed is not False for check in self.checks)


def verify(
    folder: Path,
    base: str | LanguageModel | None = None,
    *,
    rerun: bool = True,
    expect: str = "",
) -> Verification:
    """Verify an adapter: its files, its passport, and its losses on the recorded slice.

    A folder with a changed file is not loaded.

    Args:
        folder: the adapter folder.
        base: its base model, or the name of it, where it is not found under the recorded name
            (another path, say). That it is the right one follows from its losses.
        rerun: whether to load the model and measure the slice again.
        expect: the fingerprint that the folder should have; "" takes any.

    Raises:
        AuditError: the folder is not there, or is not an adapter.

    Source: https://www.gnu.org/software/coreutils/manual/html_node/sha2-utilities.html
    """
    _check_is_adapter(folder)
    sums = folder / SUMS_FILE
    fingerprint = file_sha256(sums) if sums.is_file() else ""
    wrong = damage(folder)
    files = sum(1 for p in folder.rglob("*") if not p.is_dir())
    checks = [Check("files", not wrong, "; ".join(wrong) or f"{files} files, every byte as sealed")]
    if expect:
        same = fingerprint == expect.strip().lower()
        told = "as expected" if same else f"{fingerprint or 'none'}, expected {expect}"
        checks.append(Check("fingerprint", same, told))
    if wrong:
        return Verification(
            [*checks, *_not_made("since the files are not as they were sealed")], ""
        )
    checks.append(_passport(folder))
    if not rerun:
        checks.append(Check("losses", None, "not measured, as asked"))
    else:
        checks.append(_losses(folder, base))
    return Verification(checks, fingerprint)


def _check_is_adapter(folder: Path) -> None:
    """Refuse in a moment what was never an adapter; one that lacks a file is damaged instead."""
    if not folder.is_dir():
        raise AuditError(f"There is no adapter folder {folder}.")
    signs = (SUMS_FILE, PASSPORT_FILE, TRAINING_FILE, "adapter_config.json")
    if any((folder / name).is_file() for name in signs):
        return
    inside = folder / "lora_adapters" / "adapter"
    where = inside if inside.is_dir() else "the folder that holds adapter_config.json"
    raise AuditError(
        f"{folder} is not an adapter folder: it has none of {', '.join(signs)}. Name {where}."
    )


def _not_made(why: str) -> list[Check]:
    return [Check(name, None, why) for name in ("passport", "losses")]


def _passport(folder: Path) -> Check:
    try:
        told: dict[str, str] = json.loads((folder / PASSPORT_FILE).read_text(encoding="utf-8"))[
            "files"
        ]
        page = (folder / PAGE_FILE).read_text(encoding="utf-8")
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Check("passport", False, f"{PASSPORT_FILE} or {PAGE_FILE} cannot be read: {error}")
    own = {PASSPORT_FILE, PAGE_FILE}
    found = {name: digest for name, digest in files_of(folder).items() if name not in own}
    if told != found:
        names = sorted(n for n in told.keys() | found.keys() if told.get(n) != found.get(n))
        return Check("passport", False, f"it tells other hashes than the files have: {names}")
    digest = file_sha256(folder / PASSPORT_FILE)
    if digest not in page:
        return Check("passport", False, f"{PAGE_FILE} was not made from this {PASSPORT_FILE}")
    return Check("passport", True, f"describes these files; SHA-256 {digest[:16]}…")


def _losses(folder: Path, base: str | LanguageModel | None) -> Check:
    try:
        probe = json.loads((folder / PROBE_FILE).read_text(encoding="utf-8"))
        record = json.loads((folder / TRAINING_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return Check("losses", False, f"{PROBE_FILE} or {TRAINING_FILE} cannot be read: {error}")
    if not probe["examples"]:
        return Check("losses", None, "not measured: no example of this run may be passed on")
    try:
        lm = load_adapter(folder, base=_base(record, probe, base))
    except ModelError as error:
        return Check("losses", False, f"{error} Name a copy elsewhere with `base`.")
    again = measure_again(lm, probe)
    worst = again.sort("difference", descending=True, nulls_last=False).row(0, named=True)
    within = bool((again["difference"] <= probe["bound"]).all())
    told = (
        f"{len(probe['examples'])} examples, with adapter and base: largest difference "
        f"{worst['difference']:.1e} nats per answer token (at most {probe['bound']:g} is allowed)"
    )
    if within:
        return Check("losses", True, told)
    there, here = probe["precision"], lm.precision
    off = again.filter((again["difference"] > probe["bound"]) | again["difference"].is_nan())
    if (off["side"] == "base").any():
        told += "; the base model itself differs: is it the one that was trained on?"
    if (there["device"], there["dtype"]) != (here.device, here.dtype):
        told += (
            f"; recorded on {there['device']} in {there['dtype']}, measured on {here.device} in "
            f"{here.dtype}, which rounds differently"
        )
    return Check("losses", False, f"{told}; the worst is {worst['id']} ({worst['side']})")


def _base(
    record: dict[str, Any], probe: dict[str, Any], base: str | LanguageModel | None
) -> LanguageModel:
    """The base model in the number format of the record, under the name that the record has."""
    if isinstance(base, LanguageModel):
        return dataclasses.replace(base, name=record["base_model"])
    lm = load_base(
        base or record["base_model"],
        quantisation=record["quantisation"],
        precision=probe["precision"]["dtype"],
    )
    return dataclasses.replace(lm, name=record["base_model"])
