"""Base models are found by their names, and computed as the hardware computes well."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from elara.model import (
    ModelError,
    choose_precision,
    load_base,
    packaged,
    packaged_folder,
    split_revision,
)


def test_revisions_are_part_of_the_name(tmp_path: Path) -> None:
    assert split_revision("owner/name@v1.0") == ("owner/name", "v1.0")
    assert split_revision("owner/name") == ("owner/name", None)
    assert split_revision("owner/name@") == ("owner/name@", None)
    folder = tmp_path / "a@b"
    folder.mkdir()
    assert split_revision(str(folder)) == (str(folder), None)


def test_the_revision_reaches_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    asked = {}

    def remember(**place: Any) -> None:
        asked.update(place)
        raise OSError("abc is not a valid git identifier (branch name, tag name or commit id)")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", remember)
    with pytest.raises(ModelError, match="Cannot load owner/name@abc: abc is not a valid git"):
        load_base("owner/name@abc")
    assert asked == {"pretrained_model_name_or_path": "owner/name", "revision": "abc"}


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (
            "You are trying to access a gated repo.\n403 Client Error.",
            r"gated. Accept its licence at https.*`hf auth login`",
        ),
        (
            "x is no valid identifier. If this is a private repository, …",
            "for a private model run `hf auth login`",
        ),
        ("We couldn't connect to 'https://huggingface.co'.", "Check the name, or the network"),
    ],
)
def test_models_that_cannot_be_had(
    raised: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    def fail(**_: Any) -> None:
        raise OSError(raised)

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", fail)
    with pytest.raises(ModelError, match=message):
        load_base("owner/name")


@pytest.mark.parametrize(
    ("cuda", "capability", "amx", "expected"),
    [
        (True, (8, 0), False, ("cuda", "bfloat16")),
        (True, (9, 0), True, ("cuda", "bfloat16")),
        (True, (7, 5), False, ("cuda", "float32")),
        (False, (0, 0), True, ("cpu", "float32")),
        (False, (0, 0), False, ("cpu", "float32")),
    ],
)
def test_precision_follows_the_hardware(
    cuda: bool,
    capability: tuple[int, int],
    amx: bool,
    expected: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hardware(monkeypatch, cuda=cuda, capability=capability, amx=amx)
    found = choose_precision.__wrapped__()
    assert (found.device, found.dtype) == expected
    assert found.reason
    insisted = choose_precision.__wrapped__("float32")
    assert (insisted.device, insisted.dtype) == (expected[0], "float32")


def test_precision_that_the_hardware_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    choose = choose_precision.__wrapped__
    hardware(monkeypatch, cuda=True, capability=(7, 5), amx=False)
    with pytest.raises(ModelError, match="older than Ampere and has no bfloat16"):
        choose("bfloat16")
    assert choose("float16").dtype == "float16"
    hardware(monkeypatch, cuda=False, capability=(0, 0), amx=False)
    with pytest.raises(ModelError, match="float16 is slow and inexact on a CPU"):
        choose("float16")
    with pytest.raises(ModelError, match="Unknown precision 'half'"):
        choose("half")


def hardware(
    monkeypatch: pytest.MonkeyPatch, *, cuda: bool, capability: tuple[int, int], amx: bool
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)


def test_precision_reaches_the_weights(tiny_folder: Path) -> None:
    lm = load_base(str(tiny_folder), precision="bfloat16")
    assert str(lm.model.dtype) == "torch.bfloat16"
    assert lm.dtype == "bfloat16"


def test_the_packaged_tokenizer_cuts_digits_as_its_model_learned() -> None:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(packaged_folder())
    pieces = [tokenizer.decode([i]) for i in tokenizer("Steps:\n\n1. Take 250 mg").input_ids]
    assert pieces[2:5] == ["\n\n", "1", "."]
    assert [p for p in pieces if p.strip().isdigit()] == ["1", "2", "5", "0"]


def test_of_two_that_need_the_packaged_model_one_unpacks_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    written: list[Path] = []

    def write(weights: Path, folder: Path) -> None:
        assert not list(folder.iterdir())  # the other one is not here too
        time.sleep(0.2)
        (folder / "source.sha256").write_text("x")
        written.append(folder)

    monkeypatch.setenv("ELARA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(packaged, "_write", write)
    with ThreadPoolExecutor(2) as both:
        found = list(both.map(lambda _: packaged.packaged_folder(), range(2)))
    assert len(written) == 1
    assert found[0] == found[1] != written[0]
    assert [p.name for p in found[0].iterdir()] == ["source.sha256"]
