"""Which adapters may be served: those in one folder, without a line of code."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from elara.serve.adapters import AdapterRefused, adapters, check_adapter, find_adapter

WEIGHTS = "adapter_model.safetensors"


def adapter(place: Path, weights: bytes = b"1234") -> Path:
    place.mkdir(parents=True)
    (place / WEIGHTS).write_bytes(weights)
    (place / "adapter_config.json").write_text(json.dumps({"r": 16, "auto_mapping": None}))
    return place


def digest(weights: bytes) -> str:
    return hashlib.sha256(weights).hexdigest()


def test_adapters_are_found_by_their_hash(tmp_path: Path) -> None:
    one = adapter(tmp_path / "adapter")
    two = adapter(tmp_path / "versions" / "v0001", b"other")
    adapter(tmp_path / "versions" / "v0002")  # the same weights again
    adapter(tmp_path / ".checkpoints" / "9", b"unfinished")
    assert adapters(tmp_path) == {digest(b"1234"): one, digest(b"other"): two}
    assert find_adapter(tmp_path, digest(b"other")) == two
    assert find_adapter(tmp_path, "versions/v0001") == two
    with pytest.raises(AdapterRefused, match=f"SHA-256 {digest(b'none')}: copy its folder there"):
        find_adapter(tmp_path, digest(b"none"))
    check_adapter(one, tmp_path)


@pytest.mark.parametrize("name", ["../outside", "{}/outside", "link", "adapter/../../outside"])
def test_a_name_that_leads_outside_is_refused(name: str, tmp_path: Path) -> None:
    outside, inside = adapter(tmp_path / "outside", b"other"), tmp_path / "inside"
    adapter(inside / "adapter")
    (inside / "link").symlink_to(outside)
    (inside / "with-a-link").mkdir()
    (inside / "with-a-link" / WEIGHTS).symlink_to(outside / WEIGHTS)
    with pytest.raises(AdapterRefused, match=r"outside of .*inside: copy its folder there"):
        check_adapter(find_adapter(inside, name.format(tmp_path)), inside)
    assert list(adapters(inside)) == [digest(b"1234")]


@pytest.mark.parametrize(
    "name", ["adapter_model.bin", "optimizer.PT", "deep/rng_state.pth", "x.pkl", "y.pickle"]
)
def test_pickles_are_refused(name: str, tmp_path: Path) -> None:
    place = adapter(tmp_path / "adapter")
    (place / name).parent.mkdir(exist_ok=True)
    (place / name).write_bytes(b"")
    with pytest.raises(AdapterRefused, match=rf"holds {name}.* runs code.*safetensors"):
        check_adapter(place, tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "refused"),
    [
        ("config.json", '{"auto_map": {"AutoModel": "modeling.Own"}}', True),
        ("tokenizer_config.json", '{"auto_map": {"AutoTokenizer": "x.Y"}}', True),
        ("config.json", '{"auto_map": broken', True),
        ("modeling.py", "", True),
        ("config.json", '{"auto_map": null}', False),
        ("tokenizer.json", '{"vocab": {"auto_map": 1}}', False),
        ("README.md", "auto_map", False),
    ],
)
def test_code_of_its_own_is_refused(name: str, content: str, refused: bool, tmp_path: Path) -> None:
    place = adapter(tmp_path / "adapter")
    (place / name).write_text(content)
    if refused:
        with pytest.raises(AdapterRefused, match=rf"code of its own \({name}\), which is never"):
            check_adapter(place, tmp_path)
    else:
        check_adapter(place, tmp_path)


def test_a_folder_without_weights_is_none(tmp_path: Path) -> None:
    for name in ("nowhere", ""):
        with pytest.raises(AdapterRefused, match=r"could not be loaded.*elara run --only train"):
            check_adapter(tmp_path / name, tmp_path)


def test_a_withdrawn_adapter_is_refused(tmp_path: Path) -> None:
    place = adapter(tmp_path / "adapter")
    (place / "WITHDRAWN.json").write_text(json.dumps({"why": "withdrawn: invented data"}))
    with pytest.raises(AdapterRefused, match="is withdrawn: invented data"):
        check_adapter(place, tmp_path)
