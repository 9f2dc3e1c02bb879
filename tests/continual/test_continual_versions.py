"""Adapters are kept whole, told apart, brought back, and survive a rerun of the stage."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from elara.continual.versions import Versions, weights_distance
from elara.train.config import TrainingError
from elara.workspace import Workspace, WorkspaceError

MODULE = "base_model.model.model.layers.0.self_attn.q_proj"


def adapter(
    folder: Path, *, seed: int = 0, rate: float = 1e-3, ids: tuple[str, ...] = ("a",)
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    weights = {
        f"{MODULE}.lora_A.weight": rng.normal(size=(2, 6)).astype("float32"),
        f"{MODULE}.lora_B.weight": rng.normal(size=(4, 2)).astype("float32"),
    }
    save_file(weights, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"r": 2, "lora_alpha": 4}))
    training = {"base_model": "tiny", "config": {"learning_rate": rate}, "examples": list(ids)}
    (folder / "training.json").write_text(json.dumps(training))
    return folder


def losses(value: float) -> pl.DataFrame:
    rows = [("train", 1, 3.0), ("train", 9, value), ("validation", 9, value + 1)]
    return pl.DataFrame(rows, schema=["split", "step", "loss"], orient="row")


def test_what_is_kept_is_listed_and_does_not_change_with_the_original(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    first = versions.keep(adapter(tmp_path / "adapter"), "the first", losses=losses(2.0))
    second = versions.keep(adapter(tmp_path / "adapter", seed=1), parent=first)
    listed = versions.listed()
    assert listed["version"].to_list() == [first, second]
    assert first.startswith("v0001-")
    assert second.startswith("v0002-")
    row = listed.row(0, named=True)
    assert (row["note"], row["base_model"], row["examples"]) == ("the first", "tiny", 1)
    assert (row["train_loss"], row["validation_loss"]) == (2.0, 3.0)
    assert listed["parent"].to_list() == ["", first]
    assert listed["damage"].to_list() == ["", ""]
    assert listed["bytes"].min() > 200
    assert len(row["sha256"]) == 64


def test_the_same_adapter_is_one_version(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    first = versions.keep(adapter(tmp_path / "adapter"))
    assert versions.keep(adapter(tmp_path / "elsewhere")) == first
    assert len(versions.listed()) == 1


def test_copies_share_no_file_with_the_original(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    name = versions.keep(adapter(tmp_path / "adapter"))
    kept = tmp_path / "versions" / name / "adapter_model.safetensors"
    assert not kept.samefile(tmp_path / "adapter" / "adapter_model.safetensors")
    assert kept.stat().st_nlink == 1


def test_versions_survive_the_stage_running_again(workspace: Workspace) -> None:
    home = workspace.folder("train")
    stage = workspace.begin("train", {"rate": 1})
    adapter(stage.draft / "adapter")
    (stage.draft / "adapter" / "old.txt").write_text("only the first run writes this")
    stage.write({"losses.parquet": losses(2.0)})
    kept = Versions(home).keep()
    assert Versions(home).listed()["train_loss"].to_list() == [2.0]

    again = workspace.begin("train", {"rate": 2})
    adapter(again.draft / "adapter", seed=1)
    again.write({"losses.parquet": losses(1.0)})
    assert not (home / "adapter" / "old.txt").exists()
    assert not workspace.damage("train")
    listed = Versions(home).listed()
    assert listed["version"].to_list() == [kept]
    assert listed["damage"].to_list() == [""]


def test_a_restored_version_is_the_current_adapter_and_the_manifest_says_so(
    workspace: Workspace,
) -> None:
    home = workspace.folder("train")
    identities = []
    for seed in (0, 1):
        stage = workspace.begin("train", {"rate": 1})
        adapter(stage.draft / "adapter", seed=seed)
        identities.append(stage.write({})["identity"])
        if seed == 0:
            first = Versions(home).keep()
    versions = Versions(home)
    weights = home / "adapter" / "adapter_model.safetensors"
    newest = weights.read_bytes()
    assert versions.restore(first) == home / "adapter"
    assert weights.read_bytes() != newest
    manifest = workspace.manifest("train")
    assert manifest["restored"] == first
    assert manifest["identity"] == identities[0] != identities[1]
    assert not workspace.damage("train")
    listed = versions.listed()
    assert listed["note"].to_list() == ["", f"replaced by {first}"]
    versions.restore(listed["version"][1])
    assert weights.read_bytes() == newest
    assert not list(home.glob(".re*"))


@pytest.mark.parametrize(
    "stopped",
    [{"adapter.old"}, {"adapter"}, {"manifest.json"}],
    ids=["before the swap", "between the moves", "before the manifest"],
)
def test_an_interrupted_restore_is_finished_by_the_next_use(
    workspace: Workspace, stopped: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = workspace.folder("train")
    stage = workspace.begin("train", {})
    adapter(stage.draft / "adapter")
    stage.write({})
    first = Versions(home).keep()
    adapter(home / "adapter", seed=1)
    with monkeypatch.context() as patch:
        whole = Path.replace

        def replace(self: Path, target: Path) -> Path:
            if target.name in stopped:
                raise KeyboardInterrupt
            return whole(self, target)

        patch.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            Versions(home).restore(first)
    versions = Versions(home)
    assert workspace.manifest("train")["restored"] == first
    assert not workspace.damage("train")
    assert not list(home.glob(".re*"))
    assert len(versions.listed()) == 2


def test_an_interrupted_keep_leaves_no_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = adapter(tmp_path / "adapter")

    def full(*_: object, **__: object) -> None:
        assert (tmp_path / "versions" / ".keeping").is_dir()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("elara.continual.versions._copy", full)
        with pytest.raises(WorkspaceError, match=r"no space left.*stored is untouched"):
            Versions(tmp_path).keep(source)
    (tmp_path / "versions" / ".keeping").mkdir()  # as a killed process leaves it
    assert Versions(tmp_path).listed().is_empty()
    assert Versions(tmp_path).keep(source).startswith("v0001-")


def test_two_processes_never_make_the_same_version(tmp_path: Path) -> None:
    adapter(tmp_path / "adapter")
    file = tmp_path / "versions" / ".lock"
    file.parent.mkdir()
    code = (
        "import sys, time; from pathlib import Path\n"
        "from elara.workspace import lock\n"
        "held = lock(Path(sys.argv[1]), 'a change of the versions')\n"
        "print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(WorkspaceError, match="a change of the versions is already running"):
            Versions(tmp_path).keep()
        holder.kill()
    assert Versions(tmp_path).keep().startswith("v0001-")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "training.json").unlink(), "training.json is missing"),
        (lambda f: (f / "adapter_config.json").write_text("{}"), "adapter_config.json was changed"),
        (lambda f: (f / "extra").touch(), "extra was added"),
        (lambda f: (f / "version.json").write_text("{"), "version.json is missing or cannot be"),
    ],
)
def test_a_damaged_version_is_named_and_never_restored(tmp_path: Path, damage, message) -> None:  # type: ignore[no-untyped-def]
    versions = Versions(tmp_path)
    name = versions.keep(adapter(tmp_path / "adapter"))
    damage(tmp_path / "versions" / name)
    assert message in versions.listed()["damage"][0]
    with pytest.raises(TrainingError, match=f"{name} .* is damaged: {message}"):
        versions.restore(name)


def test_one_flipped_bit_of_the_weights_is_found(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    name = versions.keep(adapter(tmp_path / "adapter"))
    weights = tmp_path / "versions" / name / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert versions.damage(name) == "adapter_model.safetensors was changed"


def test_a_comparison_names_settings_examples_losses_and_weights(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    a = versions.keep(adapter(tmp_path / "a", ids=("x", "y")), losses=losses(2.0))
    b = versions.keep(
        adapter(tmp_path / "b", seed=1, rate=1e-4, ids=("y", "z")), losses=losses(1.5)
    )
    found = versions.compare(a, b)
    assert found.settings.rows() == [("config.learning_rate", "0.001", "0.0001")]
    assert (found.added, found.removed) == (["z"], ["x"])
    assert found.losses.rows() == [("train", 2.0, 1.5), ("validation", 3.0, 2.5)]
    assert found.weights["module"].to_list() == ["model.layers.0.self_attn.q_proj"]
    assert versions.compare(a, a).settings.is_empty()
    assert versions.compare(a, a).weights["distance"].to_list() == [0.0]


def test_the_distance_is_that_of_the_products(tmp_path: Path) -> None:
    def dense(seed: int) -> np.ndarray:  # type: ignore[type-arg]
        rng = np.random.default_rng(seed)
        a, b = rng.normal(size=(2, 6)), rng.normal(size=(4, 2))
        return 2.0 * b.astype("float32").astype(float) @ a.astype("float32").astype(float)

    row = weights_distance(adapter(tmp_path / "a"), adapter(tmp_path / "b", seed=1)).row(
        0, named=True
    )
    assert row["norm_a"] == pytest.approx(np.linalg.norm(dense(0)))
    assert row["distance"] == pytest.approx(np.linalg.norm(dense(0) - dense(1)))
    assert row["relative"] == pytest.approx(row["distance"] / row["norm_a"])


def test_other_factors_of_the_same_product_are_no_distance(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    turned = adapter(tmp_path / "turned") / "adapter_model.safetensors"
    weights = load_file(turned)
    weights[f"{MODULE}.lora_A.weight"] = weights[f"{MODULE}.lora_A.weight"] * 2
    weights[f"{MODULE}.lora_B.weight"] = weights[f"{MODULE}.lora_B.weight"] / 2
    save_file(weights, turned)
    row = weights_distance(adapter(tmp_path / "a"), tmp_path / "turned").row(0, named=True)
    assert row["norm_a"] > 1
    assert row["distance"] < 1e-6


def test_what_is_no_adapter_or_not_kept(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    assert versions.listed().is_empty()
    with pytest.raises(TrainingError, match="holds no adapter"):
        versions.keep()
    with pytest.raises(TrainingError, match="'v0009-00000000' is not kept in"):
        versions.restore("v0009-00000000")
    with pytest.raises(TrainingError, match=r"'\.\./adapter' is not kept in"):
        versions.compare("../adapter", "../adapter")
    with pytest.raises(TrainingError, match="'v1' is not kept in"):
        versions.keep(adapter(tmp_path / "adapter"), parent="v1")
