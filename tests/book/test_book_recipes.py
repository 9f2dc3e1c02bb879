"""The recipes on the page for GPUs fit their cards, and their figures are computed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from elara.train.devices import gpu


@pytest.fixture(scope="module")
def recipes(project: Path) -> ModuleType:
    """book/_ext/recipes.py, which draws the table."""
    path = project / "book" / "_ext" / "recipes.py"
    spec = importlib.util.spec_from_file_location("book_recipes", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_profile_for_a_gpu_has_a_row(recipes: ModuleType, project: Path) -> None:
    profiles = {p.stem for p in (project / "notebooks" / "profiles").glob("gpu*.yaml")}
    assert recipes.CARDS.keys() == profiles
    page = (project / "book" / "gpu.md").read_text(encoding="utf-8")
    assert page.count("```{recipes}\n```") == 1


def test_every_recipe_fits_its_card(recipes: ModuleType) -> None:
    for profile, (gigabytes, _) in recipes.CARDS.items():
        plan, memory = recipes.predicted(profile)
        assert memory < gigabytes * 2**30
        assert 0 < plan.bytes <= gpu.USABLE * memory, profile
        assert plan.seconds > 0, profile
        config = recipes.settings(profile)
        assert plan.batch * plan.accumulation == config.batch_size * config.gradient_accumulation


def test_a_row_says_what_the_plan_says(
    recipes: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = SimpleNamespace(batch=2, accumulation=2, checkpointed_layers=7, bytes=3 * 2**30)
    plan.compiled, plan.seconds = False, 90.0

    def fixed(*_: object, **given: object) -> SimpleNamespace:
        assert given["tokens"] == recipes.TOKENS
        assert given["quantised"]
        return plan

    monkeypatch.setattr(gpu, "predict", fixed)
    row = recipes.row("gpu-8gib")
    assert row[0] == "gpu-8gib"
    assert row[3] == "2 × 1,024 tokens, 2 in turn"
    assert row[4:] == ("7 of 32", "3.0 GiB", "2")
    plan.compiled, plan.seconds = True, 0.0
    assert recipes.row("gpu-8gib")[3].endswith("in turn, compiled")
    assert recipes.row("gpu-8gib")[-1] == "not predicted"


def test_a_faster_link_and_fewer_gpus_waste_less(recipes: ModuleType) -> None:
    size, step = recipes.gradient_bytes(), 4.0
    assert size == 4 * 41_943_040  # the adapter of a 16-bit model is kept in 32 bits
    rows = [recipes.link_row(link, size, step) for link in recipes.LINKS]
    assert rows[0][1] == f"{1000 * size / 450e9:.1f} ms"  # two exchange all, each way once
    gains = [[float(cell.split()[0]) for cell in row[2::2]] for row in rows]
    for column, most in enumerate(recipes.PROCESSES):
        speeds = [gain[column] for gain in gains]
        assert speeds == sorted(speeds, reverse=True)
        assert speeds[-1] < speeds[0] <= most
