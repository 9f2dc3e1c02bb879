"""Seal an adapter folder, and verify it: every byte is as it was, the model gives the same losses.

The folder holds `SHA256SUMS`, one line per file, in the format of the `sha256sum` program. The
file is compared with what it should be byte for byte, so that a change in it is noticed like a
change in any other file; its own hash is the adapter's fingerprint. The losses of a few examples
are recorded in the folder when it is made.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from elara.audit.certificate import AuditError
from elara.model import TRAINING_FILE, LanguageModel, ModelError, encode, load_adapter, load_base
from elara.model.chat import Encoded
from elara.model.losses import batch_losses
from elara.workspace import file_hashes, file_sha256, withdrawn, write_atomically
from elara.workspace.names import escaped

SUMS_FILE = "SHA256SUMS"
PASSPORT_FILE, PAGE_FILE = "passport.json", "passport.html"
PROBE_FILE = "probe.json"
SIZE = 8  # examples: enough to notice another model, few enough for a laptop's patience
LONGEST = 512  # tokens of an example in the slice
SIDES = ("base", "adapter")
UNIT = "nats per answer token"
BOUND = 1e-3  # nats per answer token: how close a loss measured again must come


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

    def lines(self) -> Iterator[str]:
        """One line per check, and the fingerprint, with how to compare it if it was not."""
        words = {True: "ok", False: "FAILED", None: "not checked"}
        for check in self.checks:
            yield f"adapter {check.name}: {words[check.passed]}: {escaped(check.detail)}"
        if self.fingerprint:
            yield f"adapter fingerprint: {self.fingerprint}"
        if all(check.name != "fingerprint" for check in self.checks):
            yield (
                "adapter: not checked: whether somebody computed every hash anew; to know, get the"
            )
            yield "  fingerprint from who made the adapter and add --expect FINGERPRINT"


def verify(
    folder: Path,
    base: str | LanguageModel | None = None,
    *,
    rerun: bool = True,
    expect: str = "",
) -> Verification:
    """Verify an adapter: its files, its passport, and its losses on the recorded slice.

    A folder with a changed file is not loaded. One that was withdrawn fails, whatever its losses.

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
    if why := withdrawn(folder):
        checks.append(Check("retraction", False, why))
    if expect:
        same = fingerprint == expect.strip().lower()
        told = "as expected" if same else f"{fingerprint or 'none'}, expected {expect}"
        checks.append(Check("fingerprint", same, told))
    if wrong:
        why = "since the files are not as they were sealed"
        return Verification([*checks, *(Check(n, None, why) for n in ("passport", "losses"))], "")
    checks.append(_passport(folder))
    not_measured = Check("losses", None, "not measured, as asked")
    checks.append(_losses(folder, base) if rerun else not_measured)
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


def _passport(folder: Path) -> Check:
    try:
        passport = json.loads((folder / PASSPORT_FILE).read_text(encoding="utf-8"))
        told: dict[str, str] = passport["files"]
        page = (folder / PAGE_FILE).read_text(encoding="utf-8")
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Check("passport", False, f"{PASSPORT_FILE} or {PAGE_FILE} cannot be read: {error}")
    found = files_of(folder)
    del found[PASSPORT_FILE], found[PAGE_FILE]
    if told != found:
        names = sorted({name for name, _ in told.items() ^ found.items()})
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
    again = _measure_again(lm, probe)
    worst = again.sort("difference", descending=True, nulls_last=False).row(0, named=True)
    told = (
        f"{len(probe['examples'])} examples, with adapter and base: largest difference "
        f"{worst['difference']:.1e} nats per answer token (at most {probe['bound']:g} is allowed)"
    )
    # written so that what is not a number is off too (polars holds it for the largest)
    off = again.filter((again["difference"] > probe["bound"]) | again["difference"].is_nan())
    if off.is_empty():
        return Check("losses", True, told)
    there, here = probe["precision"], lm.precision
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
    name, dtype = record["base_model"], probe["precision"]["dtype"]
    if not isinstance(base, LanguageModel):
        base = load_base(base or name, quantisation=record["quantisation"], precision=dtype)
    return dataclasses.replace(base, name=name)


def record_probe(
    lm: LanguageModel, validation: pl.DataFrame, train: pl.DataFrame, *, max_length: int
) -> dict[str, Any]:
    """Choose the slice and measure it with adapter and base model.

    Only examples that may be passed on are taken, since their tokens travel with the adapter:
    held-out ones first, training examples where those are too few. The choice depends on the
    examples' ids alone.

    Args:
        lm: the model with its trained adapter.
        validation: `Example` rows that were not trained on.
        train: `Example` rows that were.
        max_length: longest example of the run, in tokens.

    Returns:
        The content of `probe.json`; `examples` is empty where no example may be passed on.
    """
    chosen: list[dict[str, Any]] = []
    for split, table in (("validation", validation), ("train", train)):
        rows = table.filter("redistributable").select("id", "licence", "messages").to_dicts()
        rows.sort(key=lambda row: hashlib.sha256(row["id"].encode()).digest())
        for row in rows:
            if len(chosen) == SIZE:
                break
            encoded = encode(lm.tokenizer, row["messages"])
            if len(encoded.input_ids) > min(max_length, LONGEST):
                continue
            tokens = dataclasses.asdict(encoded)
            digest = hashlib.sha256(repr([*tokens.values()]).encode()).hexdigest()
            named = {"id": row["id"], "split": split, "licence": row["licence"], "sha256": digest}
            chosen.append(measured(lm, named | tokens))
    precision = dataclasses.asdict(lm.precision)
    return {"bound": BOUND, "unit": UNIT, "precision": precision, "examples": chosen}


def measured(lm: LanguageModel, row: dict[str, Any]) -> dict[str, Any]:
    """An example of the slice with its losses.

    Args:
        lm: the model with its adapter.
        row: its `input_ids` and `labels`, and what else is known of it.
    """
    one = [Encoded(row["input_ids"], row["labels"])]
    return row | {s: batch_losses(lm, one, adapter=s == "adapter")[0] for s in SIDES}


def mean_losses(probe: dict[str, Any]) -> dict[str, float]:
    """The slice's mean losses as recorded.

    Args:
        probe: the content of `probe.json`.

    Returns:
        `base` and `adapter`; nothing where the slice is empty.
    """
    rows = probe["examples"]
    return {s: sum(r[s] for r in rows) / len(rows) for s in SIDES if rows}


def _measure_again(lm: LanguageModel, probe: dict[str, Any]) -> pl.DataFrame:
    """The slice's losses as recorded and measured again: two rows per example, base and adapter."""
    rows = []
    for row in probe["examples"]:
        again = measured(lm, row)
        rows += [(row["id"], side, row[side], again[side]) for side in SIDES]
    numbers = dict.fromkeys(("recorded", "measured"), pl.Float64)
    schema = {"id": pl.String, "side": pl.String} | numbers
    table = pl.DataFrame(rows, schema=schema, orient="row")
    return table.with_columns(difference=(pl.col("measured") - pl.col("recorded")).abs())


def files_of(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder, `SHA256SUMS` at its top left out.

    Args:
        folder: an adapter folder.

    Returns:
        Path relative to the folder to hash, sorted by path.
    """
    return {name: digest for name, digest in file_hashes(folder).items() if name != SUMS_FILE}


def seal(folder: Path) -> str:
    """Write `SHA256SUMS`. Nothing in the folder may change after it.

    Args:
        folder: the finished adapter folder.

    Returns:
        The fingerprint: the hash of `SHA256SUMS`.
    """
    write_atomically(folder / SUMS_FILE, _sums(files_of(folder)))
    return file_sha256(folder / SUMS_FILE)


def _sums(files: dict[str, str]) -> str:
    return "".join(f"{digest}  {name}\n" for name, digest in files.items())


def damage(folder: Path) -> list[str]:
    """Compare a sealed folder with its `SHA256SUMS`.

    Args:
        folder: an adapter folder.

    Returns:
        One sentence per file that was changed, removed or added; none where every byte is as it
        was sealed.
    """
    sums = folder / SUMS_FILE
    if not sums.is_file():
        return [f"{SUMS_FILE} is missing: this folder was never sealed, or the file was removed"]
    sealed = sums.read_bytes()
    # A pipe would never end, and a linked folder is not looked into. A link to a file is as good
    # as the file: the hub's client leaves such.
    folders = {p for p in folder.rglob("*") if p.is_dir() and not p.is_symlink()}
    if odd := [p for p in folder.rglob("*") if p not in folders and not p.is_file()]:
        return [f"{p.relative_to(folder)} is not a regular file" for p in odd]
    try:
        found = files_of(folder)
    except OSError as error:
        return [f"{error.filename} cannot be read ({error.strerror})"]
    text = sealed.decode(errors="surrogateescape")
    if text == _sums(found):
        return []
    lines = (line.partition("  ") for line in text.split("\n") if line)
    wrong = changes({name: digest for digest, _, name in lines}, found)
    return wrong or [f"{SUMS_FILE} was changed"]


def changes(recorded: dict[str, str], found: dict[str, str]) -> list[str]:
    """What became of recorded files: one sentence per file that is missing, new or changed.

    Args:
        recorded: name to hash, as it was.
        found: the same, as it is now.
    """
    return [
        *(f"{name} is missing" for name in sorted(recorded.keys() - found.keys())),
        *(f"{name} was added" for name in sorted(found.keys() - recorded.keys())),
        *(
            f"{name} was changed"
            for name in found
            if recorded.get(name, found[name]) != found[name]
        ),
    ]
