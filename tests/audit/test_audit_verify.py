"""Verification notices every changed byte, and measures the recorded losses again."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import tiny_run
from typer.testing import CliRunner

from elara.audit import AuditError
from elara.audit.passport import write_passport
from elara.audit.verify import SUMS_FILE, _measure_again, damage, seal, verify
from elara.cli import app
from elara.model import load_base

SMALL = 12_000  # bytes up to which every single one is changed


def test_an_untouched_adapter_passes_with_the_same_losses(sealed: Path) -> None:
    result = verify(sealed)
    assert result.passed
    assert [(c.name, c.passed) for c in result.checks] == [
        ("files", True),
        ("passport", True),
        ("losses", True),
    ]
    assert verify(sealed, rerun=False, expect=result.fingerprint).passed
    assert not verify(sealed, rerun=False, expect="0" * 64).passed


def test_the_slice_is_held_out_and_its_adapter_loss_is_the_lower(sealed: Path) -> None:
    probe = json.loads((sealed / "probe.json").read_text())
    assert [row["split"] for row in probe["examples"]] == ["validation"] * 4 + ["train"] * 4
    assert all(row["adapter"] < row["base"] for row in probe["examples"])


def _changed(path: Path, place: int, rng: random.Random) -> None:
    """Change one byte to any other value, without touching the rest of the file."""
    with path.open("r+b") as handle:
        handle.seek(place)
        old = handle.read(1)[0]
        handle.seek(place)
        handle.write(bytes([(old + rng.randrange(1, 256)) % 256]))


@pytest.mark.long
def test_every_single_byte_change_is_noticed(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules[damage.__module__]  # `elara.audit.verify` is the function's name too
    rng = random.Random(0)
    hashes = module.files_of(copy)
    for path in sorted(copy.iterdir()):
        whole, size = path.read_bytes(), path.stat().st_size
        # The other files' hashes are known; only the changed file's is computed each time.
        fixed = {name: digest for name, digest in hashes.items() if name != path.name}

        def files(folder: Path, path: Path = path, fixed: dict[str, str] = fixed) -> dict[str, str]:
            own = {} if path.name == SUMS_FILE else {path.name: module.file_sha256(path)}
            return dict(sorted((fixed | own).items()))

        monkeypatch.setattr(module, "files_of", files)
        ends = {0, 1, 7, 8, size // 2, size - 2, size - 1}  # safetensors: 8 bytes give the header
        places = range(size) if size <= SMALL else ends | {rng.randrange(size) for _ in range(60)}
        for place in places:
            _changed(path, place, rng)
            assert damage(copy), f"byte {place} of {path.name}"
            path.write_bytes(whole)
    monkeypatch.undo()
    assert damage(copy) == []


def _append(folder: Path) -> None:
    with (folder / "adapter_model.safetensors").open("ab") as handle:
        handle.write(b"\0")


def _cut(folder: Path) -> None:
    path = folder / "training.json"
    path.write_bytes(path.read_bytes()[:-1])


def _swap(folder: Path) -> None:
    one, two = folder / "passport.json", folder / "passport.html"
    a, b = one.read_bytes(), two.read_bytes()
    one.write_bytes(b)
    two.write_bytes(a)


def _nested(folder: Path) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "x.bin").write_bytes(b"")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_append, "adapter_model.safetensors was changed"),
        (_cut, "training.json was changed"),
        (_swap, "passport.html was changed; passport.json was changed"),
        (_nested, "more/x.bin was added"),
        (lambda f: (f / "README.md").unlink(), "README.md is missing"),
        (
            lambda f: (f / "README.md").rename(f / "readme"),
            "README.md is missing; readme was added",
        ),
        (lambda f: (f / SUMS_FILE).unlink(), "SHA256SUMS is missing"),
        (lambda f: (f / SUMS_FILE).write_text(""), "README.md was added"),
        (lambda f: (f / SUMS_FILE).open("a").write("\n"), "SHA256SUMS was changed"),
    ],
)
def test_other_damage_is_named(copy: Path, change: Callable[[Path], object], told: str) -> None:
    change(copy)
    result = verify(copy)
    assert not result.passed
    assert told in result.checks[0].detail
    assert [c.passed for c in result.checks[1:]] == [None, None], "a damaged adapter is not loaded"


def test_a_folder_that_was_sealed_again_still_disagrees_with_its_passport(copy: Path) -> None:
    known = verify(copy, rerun=False).fingerprint
    path = copy / "training.json"
    path.write_text(path.read_text().replace('"steps": 8', '"steps": 9'))
    seal(copy)
    result = verify(copy, rerun=False, expect=known)
    assert damage(copy) == []
    assert [c.name for c in result.checks if c.passed is False] == ["fingerprint", "passport"]
    assert "training.json" in result.checks[-2].detail


def _reseal_with(folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    """Change the probe as someone would who seals again and mends the passport too."""
    probe = json.loads((folder / "probe.json").read_text())
    change(probe)
    (folder / "probe.json").write_text(json.dumps(probe))
    seal(folder)


def test_a_loss_that_is_not_reproduced_fails(copy: Path) -> None:
    def shift(probe: dict[str, object]) -> None:
        probe["examples"][2]["adapter"] += 2e-3  # type: ignore[index]

    _reseal_with(copy, shift)
    check = verify(copy).checks[-1]
    assert check.passed is False
    assert "largest difference 2.0e-03" in check.detail
    assert "base model itself differs" not in check.detail


def test_another_base_model_is_noticed(sealed: Path, tiny_folder: Path, tmp_path: Path) -> None:
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_folder)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.mul_(1.5)
        model.model.embed_tokens.weight.mul_(1.5)
    other = tmp_path / "other"
    shutil.copytree(tiny_folder, other)
    model.save_pretrained(other)
    check = verify(sealed, str(other)).checks[-1]
    assert check.passed is False
    assert "the base model itself differs" in check.detail


def test_the_base_model_may_have_moved(sealed: Path, tiny_folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(tiny_folder, moved)
    assert verify(sealed, str(moved)).passed
    assert verify(sealed, load_base(str(moved))).passed


def test_a_missing_base_model_is_a_clear_failure(sealed: Path, tmp_path: Path) -> None:
    check = verify(sealed, str(tmp_path / "nowhere")).checks[-1]
    assert check.passed is False
    assert "Check the name, or the network" in check.detail
    with pytest.raises(AuditError, match="There is no adapter folder"):
        verify(tmp_path / "nothing")


def test_text_that_may_not_be_passed_on_never_travels(
    sealed_run: tuple[Path, object], tmp_path: Path
) -> None:
    from elara.audit.certificate import certify

    made, training = sealed_run
    folder = tmp_path / "adapter"
    shutil.copytree(made, folder)
    for name in ("SHA256SUMS", "probe.json", "passport.json", "passport.html"):
        (folder / name).unlink()
    secret = pl.lit(False).alias("redistributable")
    splits = {
        "train": tiny_run.examples(16).with_columns(secret),
        "validation": tiny_run.examples(4, start=100).with_columns(secret),
    }
    config = tiny_run.config(Path(json.loads((folder / "training.json").read_text())["base_model"]))
    passport = write_passport(folder, training, config, splits, certify(splits["train"], {}))  # type: ignore[arg-type]
    assert passport["data"]["may_not_be_passed_on"] == 16
    assert json.loads((folder / "probe.json").read_text())["examples"] == []
    result = verify(folder)
    assert result.passed
    assert result.checks[-1].passed is None
    assert "condition with" not in (folder / "data_manifest.jsonl").read_text()


@pytest.mark.slow
@pytest.mark.model
def test_the_packaged_model_gives_its_recorded_losses_again(tmp_path: Path) -> None:
    from elara import train
    from elara.audit.certificate import certify
    from elara.model import PACKAGED, load_adapter

    config = tiny_run.config(Path(PACKAGED), epochs=1, learning_rate=1e-3, lora_dropout=0.0)
    splits = {"train": tiny_run.examples(8), "validation": tiny_run.examples(4, start=100)}
    lm = load_base(PACKAGED)
    data = train.tokenise(lm.tokenizer, splits["train"], splits["validation"], config)
    training = train.fine_tune(lm, data, config, tmp_path / "checkpoints")
    folder = tmp_path / "adapter"
    train.save_adapter(training, config, data, {"CC0-1.0": 8}, folder)
    write_passport(folder, training, config, splits, certify(splits["train"], {}))
    result = verify(folder)
    assert result.passed, result
    probe = json.loads((folder / "probe.json").read_text())
    assert _measure_again(load_adapter(folder), probe)["difference"].max() < 1e-4


def test_a_pipe_a_linked_folder_and_a_strange_name_are_named(copy: Path, tmp_path: Path) -> None:
    pipe = copy / "pipe"
    os.mkfifo(pipe)
    assert damage(copy) == ["pipe is not a regular file"]
    pipe.unlink()
    (copy / "more").symlink_to(tmp_path, target_is_directory=True)
    assert damage(copy) == ["more is not a regular file"]
    (copy / "more").unlink()
    (copy / os.fsdecode(b"caf\xe9")).write_bytes(b"")
    assert damage(copy) == [f"{os.fsdecode(b'caf' + bytes([0xE9]))} was added"]


def test_files_may_be_links_as_the_hubs_client_leaves_them(copy: Path, tmp_path: Path) -> None:
    moved = (copy / "training.json").rename(tmp_path / "blob")
    (copy / "training.json").symlink_to(moved)
    assert damage(copy) == []
    moved.write_text("{}")
    assert damage(copy) == ["training.json was changed"]


def test_what_was_never_an_adapter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lora_adapters" / "adapter").mkdir(parents=True)
    with pytest.raises(AuditError, match=r"is not an adapter.*Name .*lora_adapters/adapter"):
        verify(tmp_path)


def test_the_command_says_what_hashes_alone_cannot_tell(sealed: Path) -> None:
    command = ["verify", "--no-rerun", "--adapter", str(sealed)]
    alone = CliRunner().invoke(app, command)
    assert alone.exit_code == 0
    assert "whether somebody computed every hash anew" in alone.stdout
    known = verify(sealed, rerun=False).fingerprint
    expected = CliRunner().invoke(app, [*command, "--expect", known])
    assert expected.exit_code == 0
    assert "computed every hash anew" not in expected.stdout
