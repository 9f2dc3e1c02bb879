"""The passport of an adapter tuned on preferences carries on that of its examples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import synthetic_preferences
import tiny_preference
import tiny_run
import torch
from transformers import Trainer

from elara.audit.certificate import AuditError, Certificate, certify
from elara.audit.page import passport_html
from elara.audit.passport import MANIFEST_FILE, read_manifest, with_verdict
from elara.audit.verify import damage, seal, verify
from elara.continual.feedback import answers
from elara.continual.preference import Preferred, prefer
from elara.continual.saving import save_preferred, write_preference_passport
from elara.train.config import TrainingError
from elara.workspace import file_sha256

FEEDBACK = synthetic_preferences.pairs(12)


def certificate(feedback: pl.DataFrame = FEEDBACK) -> Certificate:
    return certify(answers(feedback), {"test": tiny_run.examples(4, start=200)})


@pytest.fixture(scope="module")
def tuned(
    sealed_run: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Preferred, dict[str, Any]]:
    """The sealed adapter tuned further, with its passport."""
    out = tmp_path_factory.mktemp("tuned")
    settings = tiny_preference.config(epochs=1)
    preferred = prefer(sealed_run[0], FEEDBACK, settings, out / "checkpoints")
    save_preferred(preferred, settings, out / "adapter", earlier=sealed_run[0])
    passport = write_preference_passport(
        out / "adapter", preferred, FEEDBACK, certificate(), earlier=sealed_run[0]
    )
    return out / "adapter", preferred, passport


def test_it_passes_verification_and_names_the_adapter_that_it_continues(
    tuned: tuple[Path, Preferred, dict[str, Any]], sealed: Path
) -> None:
    folder, _, passport = tuned
    result = verify(folder)
    assert result.passed, result
    assert [check.passed for check in result.checks] == [True, True, True]
    before = json.loads((sealed / "passport.json").read_text())
    assert passport == json.loads((folder / "passport.json").read_text())
    assert passport["data"] == before["data"]
    assert passport["certificate"] == before["certificate"]
    assert passport["losses"]["training"] == before["losses"]["training"]
    continues = passport["preference"]["continues"]
    assert continues["passport_sha256"] == file_sha256(sealed / "passport.json")
    assert continues["fingerprint"] == file_sha256(sealed / "SHA256SUMS")
    assert read_manifest(folder).equals(read_manifest(sealed))


def test_its_losses_are_its_own(
    tuned: tuple[Path, Preferred, dict[str, Any]], sealed: Path
) -> None:
    old, new = (json.loads((f / "probe.json").read_text())["examples"] for f in (sealed, tuned[0]))
    assert [row["id"] for row in old] == [row["id"] for row in new]
    assert [row["input_ids"] for row in old] == [row["input_ids"] for row in new]
    for before, after in zip(old, new, strict=True):
        assert after["base"] == pytest.approx(before["base"], abs=1e-5)
        assert abs(after["adapter"] - before["adapter"]) > 1e-3


def test_the_page_says_what_was_preferred_and_keeps_its_words_to_itself(
    tuned: tuple[Path, Preferred, dict[str, Any]], tmp_path: Path
) -> None:
    folder, preferred, passport = tuned
    told = passport["preference"]
    assert (told["method"], told["judgements"], told["sources"]) == ("dpo", 9, {"synthetic": 9})
    assert told["margins"] == preferred.margins.to_dicts()
    assert told["certificate"]["verdict"] == "clean"
    page = (folder / "passport.html").read_text()
    assert "DPO on 9 judgements (9 from synthetic; 0 were too long)" in page
    held = preferred.margins.filter(split="held_out")["margin"].item()
    assert f"0 → {held:.2f}" in page
    assert told["continues"]["fingerprint"] in page
    for file in folder.iterdir():
        assert b"What helps against" not in file.read_bytes(), file.name
    judged, _ = with_verdict(folder, {"verdict": "It did not help.", "difference": 0.0})
    assert judged["evaluation"]["text"] == "It did not help."
    assert not damage(folder)


def test_held_out_questions_in_the_feedback_are_refused(
    tuned: tuple[Path, Preferred, dict[str, Any]], sealed: Path
) -> None:
    folder, preferred, _ = tuned
    leak = certify(answers(FEEDBACK), {"test": answers(FEEDBACK[:1])})
    with pytest.raises(AuditError, match="held-out items are in the training data"):
        write_preference_passport(folder, preferred, FEEDBACK, leak, earlier=sealed)
    other = certificate(FEEDBACK[:5])
    with pytest.raises(TrainingError, match="The certificate is about other feedback"):
        write_preference_passport(folder, preferred, FEEDBACK, other, earlier=sealed)
    assert not damage(folder)


def test_held_out_items_of_an_earlier_adapter_are_said_and_not_passed_on(
    tuned: tuple[Path, Preferred, dict[str, Any]], copy: Path
) -> None:
    passport = json.loads((copy / "passport.json").read_text())
    passport["certificate"]["contaminated_items"] = 2
    assert "<dd>2 items" in passport_html(passport, read_manifest(copy), "0" * 64)
    (copy / "passport.json").write_text(json.dumps(passport))
    seal(copy)
    with pytest.raises(AuditError, match="held-out items are in its training data"):
        write_preference_passport(tuned[0], tuned[1], FEEDBACK, certificate(), earlier=copy)
    assert not damage(tuned[0])


def test_an_earlier_adapter_that_was_changed_cannot_vouch(
    tuned: tuple[Path, Preferred, dict[str, Any]], copy: Path
) -> None:
    (copy / MANIFEST_FILE).write_text("")
    with pytest.raises(AuditError, match=r"no longer as it was sealed: .* was changed"):
        write_preference_passport(tuned[0], tuned[1], FEEDBACK, certificate(), earlier=copy)


def test_out_of_memory_says_what_to_change(
    sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Trainer, "training_step", full)
    with pytest.raises(TrainingError, match="Lower `batch_size`"):
        prefer(sealed, FEEDBACK, tiny_preference.config(), tmp_path)
