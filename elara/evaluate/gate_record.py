"""Check an adapter's seal, passport, data and evaluation record for the release gate."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from elara import audit
from elara.audit.certificate import certify, contaminated_items, described
from elara.audit.verify import BOUND, PASSPORT_FILE
from elara.evaluate.deciding import HURT, TOO_FEW
from elara.evaluate.gate_rows import Row, integrity
from elara.evaluate.repeat import settled
from elara.evaluate.scores import PRIMARY, EvaluationError
from elara.evaluate.verdict import judge
from elara.model import TRAINING_FILE, LanguageModel, ModelError, encode, load_tokenizer
from elara.model.losses import answer_losses
from elara.workspace import Workspace, WorkspaceError, withdrawn
from elara.workspace.formats import read_table

REMEASURED = 8  # held-out examples whose losses are measured again
COARSE = 20  # times the bound where numbers have 16 bits, which round by device
_ASKED = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is 1.5 mg?\n\n  - é <b>"},
    {"role": "assistant", "content": "A dose."},
]
_NO_WORKSPACE = "no workspace is known in which it was made: name it with --workspace"


@dataclass(frozen=True)
class Subject:
    """What the gate looks at.

    Args:
        folder: the adapter folder.
        place: the workspace in which it was made and evaluated; None where it is not known.
        fingerprint: of the adapter's seal.
    """

    folder: Path
    place: Workspace | None
    fingerprint: str

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file of the adapter."""
        found: dict[str, Any] = json.loads((self.folder / name).read_text(encoding="utf-8"))
        return found


def seal_rows(folder: Path, base: str | None, expect: str) -> tuple[list[Row], str]:
    """Verify the seal, the passport, and the recorded losses of adapter and base model.

    Args:
        folder: the adapter folder.
        base: the base model, where it is not found under the recorded name.
        expect: the fingerprint that the adapter should have, or "".

    Returns:
        Rows, and the fingerprint; that is "" where the files are not as they were sealed.

    Raises:
        AuditError: the folder is not there, or is no adapter.
    """
    found = audit.verify(folder, base, expect=expect)
    names = {"files": "seal", "losses": "base weights and recorded losses"}
    rows = [
        integrity(names.get(check.name, check.name), check.passed, _seal_told(check))
        for check in found.checks
        if check.name != "retraction"
    ]
    why = withdrawn(folder)
    rows.append(integrity("retraction", not why, why or "the folder bears no mark of withdrawal"))
    return rows, found.fingerprint


def _seal_told(check: Any) -> str:
    if check.name == "losses" and check.passed:
        return (
            f"the record holds no hash of the base weights; that they are the same follows from "
            f"losses measured again: {check.detail}"
        )
    return str(check.detail)


def template_row(subject: Subject, lm: LanguageModel) -> Row:
    """Compare the chat template and tokenizer in the adapter folder with those in use.

    Args:
        subject: what the gate looks at.
        lm: the model with its adapter; it speaks in the base model's template.
    """
    check = "chat template"
    try:
        own = load_tokenizer(str(subject.folder))
        same = own.chat_template == lm.tokenizer.chat_template
        alike = encode(own, _ASKED) == encode(lm.tokenizer, _ASKED)
    except ModelError as error:
        return integrity(check, False, f"the adapter's tokenizer cannot be used: {error}")
    if not same:
        return integrity(check, False, "the adapter was saved with another one than its base has")
    if not alike:
        return integrity(check, False, "the adapter's tokenizer splits text unlike its base's")
    return integrity(check, True, "the adapter's template and tokens are those of its base")


def data_rows(subject: Subject, asked: pl.DataFrame) -> Iterator[Row]:
    """Check that the certificate is clean, is about this data, and that no item was trained on.

    Args:
        subject: what the gate looks at.
        asked: the gate's own items: id, question, answer.
    """
    passport, ids = subject.read(PASSPORT_FILE), subject.read(TRAINING_FILE)["examples"]
    count = contaminated_items(passport)
    told = passport["certificate"]["verdict"]
    clean = not count and told == "clean"
    yield integrity("certificate", clean, f"{told}: {count} held-out items in the training data")
    names = ("certificate's data", "gate's items apart from the data")
    compared = passport["certificate"]["compared"]["train"]
    if compared["items"] != len(ids):
        why = f"it is about {compared['items']} examples, and the run used {len(ids)}"
        yield integrity(names[0], False, why)
        yield integrity(names[1], None, "which data were used is not known")
        return
    train, why = _training_data(subject, ids)
    if train is None:
        yield from (integrity(name, None, why) for name in names)
        return
    stale = described(train)["sha256"] != compared["sha256"]
    why = "it is about other texts than those of the examples that the run names: stale"
    fine = f"it is about the {len(ids)} examples that the run used, by their SHA-256"
    yield integrity(names[0], not stale, why if stale else fine)
    dropped = certify(train, {"gate": asked}).dropped
    leaked = ", ".join(dropped["item"].unique().sort().head(3))
    why = f"{dropped['item'].n_unique()} of its items were trained on: {leaked}"
    fine = f"none of {asked.height} items was found in the training data"
    yield integrity(names[1], dropped.is_empty(), fine if dropped.is_empty() else why)


def _training_data(subject: Subject, ids: list[str]) -> tuple[pl.DataFrame | None, str]:
    """The examples that a run used, or why they are not at hand."""
    if subject.place is None:
        return None, _NO_WORKSPACE
    path = subject.place.folder("expand") / "train.jsonl"
    try:
        train = read_table(path).filter(pl.col("id").is_in(ids))
    except (OSError, pl.exceptions.PolarsError) as error:
        return None, f"the training data cannot be read: {error}"
    if train.height != len(ids):
        return None, f"{path} holds {train.height} of the {len(ids)} examples that the run used"
    return train, ""


EVALUATION = ("evaluation record", "verdict", "verdict from scores", "scores from the model")


def evaluation_rows(subject: Subject, lm: LanguageModel, seed: int) -> Iterator[Row]:
    """Check the evaluation: it is about this adapter, and verdict and scores can be had again.

    Args:
        subject: what the gate looks at.
        lm: the model with its adapter.
        seed: which held-out examples are measured again.
    """
    place = subject.place
    why = _NO_WORKSPACE
    try:
        manifest = place.manifest("evaluate") if place else None
    except WorkspaceError as error:
        manifest, why = None, str(error)
    if place is None or manifest is None:
        yield from (integrity(name, None, why) for name in EVALUATION)
        return
    yield _record_row(subject, place, manifest)
    home = place.folder("evaluate")
    try:
        verdict = json.loads((home / "verdict.json").read_text(encoding="utf-8"))
        scores, repeats = (pl.read_parquet(home / f"{n}.parquet") for n in ("scores", "repeats"))
        settings = {name: manifest["parameters"][name] for name in ("resamples", "seed")}
        yield _word_row(verdict["word"])
        yield _verdict_row(verdict, scores, repeats, settings)
        yield _scores_row(scores, place, manifest["parameters"]["max_length"], lm, seed)
    except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
        why = f"its files cannot be read ({type(error).__name__}: {error}): evaluate again"
        yield integrity("evaluation files", None, why)


def _record_row(subject: Subject, place: Workspace, manifest: dict[str, Any]) -> Row:
    check, home = EVALUATION[0], place.folder("evaluate")
    try:
        passport = json.loads((home / "passport.json").read_text(encoding="utf-8"))
        named = passport["completes"]["fingerprint"]
        wrong = place.damage("evaluate")
        read, now = manifest["inputs"]["expand"], place.manifest("expand")["identity"]
    except (OSError, ValueError, KeyError, TypeError, WorkspaceError) as error:
        return integrity(check, None, f"it cannot be read ({type(error).__name__}: {error})")
    if named != subject.fingerprint:
        return integrity(check, False, f"it is about the adapter with the fingerprint {named}")
    if wrong:
        return integrity(check, False, f"it is not as it was written: {wrong}")
    if read != now:
        return integrity(check, False, "it was made with other held-out data than are there now")
    return integrity(check, True, "every byte as written, and about this adapter's fingerprint")


def _word_row(word: str) -> Row:
    holds = {HURT: False, TOO_FEW: None}.get(word, True)
    return integrity(EVALUATION[1], holds, f"the evaluation's word is *{word}*")


def _verdict_row(
    verdict: dict[str, Any], scores: pl.DataFrame, repeats: pl.DataFrame, settings: dict[str, Any]
) -> Row:
    check = EVALUATION[2]
    try:
        again = settled(judge(scores, **settings), scores, repeats, **settings)
    except EvaluationError as error:
        return integrity(check, False, f"no verdict follows from the scores: {error}")
    wrong = [n for n, v in dataclasses.asdict(again).items() if not _same(v, verdict.get(n))]
    if wrong:
        first = wrong[-1] if wrong == ["verdict"] else next(n for n in wrong if n != "verdict")
        told = f"{first} is {verdict.get(first)!r}, and from the scores {getattr(again, first)!r}"
        return integrity(check, False, f"verdict.json does not follow from scores.parquet: {told}")
    return integrity(check, True, "computed again from scores.parquet, it is the same")


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)
    return bool(a == b)


def _scores_row(
    scores: pl.DataFrame, place: Workspace, longest: int, lm: LanguageModel, seed: int
) -> Row:
    """Measure losses of some held-out examples again; all others must be there, or be too long."""
    check, main = EVALUATION[3], scores.filter(metric=PRIMARY)
    test = read_table(place.folder("expand") / "test.jsonl")
    named = main["item"].unique()
    unknown = named.filter(~named.is_in(test["id"].implode()))
    if unknown.len():
        return integrity(check, False, f"{unknown[0]} is among the scores and not in test.jsonl")
    scored = pl.col("id").is_in(named.implode())
    for name, messages in test.filter(~scored).select("id", "messages").rows():
        if len(encode(lm.tokenizer, messages).input_ids) <= longest:
            return integrity(check, False, f"{name} of test.jsonl has no score")
    some = test.filter(scored).sort("id")
    some = some.sample(min(REMEASURED, some.height), seed=seed, shuffle=True)
    losses = answer_losses(lm, some, max_length=longest)
    again = losses.unpivot(("base", "adapter"), index="id", variable_name="arm", value_name="now")
    both = again.join(main, left_on=("id", "arm"), right_on=("item", "arm"), how="left")
    off = float((both["now"] - both["value"]).abs().fill_null(math.inf).to_numpy().max())
    bound = BOUND * (1 if lm.dtype == "float32" else COARSE)
    told = (
        f"losses of {some.height} held-out examples measured again differ by at most {off:.1e} "
        f"nats per answer token ({bound:g} is allowed)"
    )
    return integrity(check, off <= bound, told)
