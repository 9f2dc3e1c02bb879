"""One value in pyproject.toml gives a fork its buttons; without it there are none."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml


@pytest.fixture(scope="module")
def script(project: Path) -> ModuleType:
    """book/build.py, which lies outside of any package."""
    spec = importlib.util.spec_from_file_location("book_build", project / "book" / "build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def config(project: Path) -> str:
    return (project / "_config.yml").read_text(encoding="utf-8")


def options(config: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(config)["sphinx"]["config"]["html_theme_options"]
    return found


def fork(folder: Path, urls: str) -> Path:
    (folder / "pyproject.toml").write_text(f'[project]\nname = "elara"\n{urls}\n')
    return folder


def test_without_a_repository_there_are_no_buttons(
    script: ModuleType, config: str, tmp_path: Path
) -> None:
    assert script.repository(fork(tmp_path, "")) == ""
    assert script.configured(config, "") == config
    assert options(config)["launch_buttons"] == {}
    assert not {name for name in options(config) if name.startswith("repository")}


def test_one_value_gives_every_button(script: ModuleType, config: str, tmp_path: Path) -> None:
    url = "https://github.com/someone/my.fork"
    fork(tmp_path, f'[project.urls]\nRepository = "{url}/"')
    assert script.repository(tmp_path) == url
    changed = script.configured(config, url)
    found = options(changed)
    assert found["repository_url"] == url
    assert found["use_repository_button"] is found["use_issues_button"] is True
    assert {"binderhub_url", "colab_url"} < found["launch_buttons"].keys()
    for name, value in options(config).items():  # all else stays
        assert name == "launch_buttons" or found[name] == value
    before, after = yaml.safe_load(config), yaml.safe_load(changed)
    for settings in (before, after):
        del settings["sphinx"]["config"]["html_theme_options"]
    assert before == after


def test_colab_is_offered_for_github_alone(script: ModuleType, config: str) -> None:
    found = options(script.configured(config, "https://gitlab.com/group/part/elara"))
    assert "colab_url" not in found["launch_buttons"]
    assert "binderhub_url" in found["launch_buttons"]


@pytest.mark.parametrize("url", ["OWNER/elara", "git@github.com:a/b.git", "https://github.com/a"])
def test_what_is_no_repository_is_refused(script: ModuleType, tmp_path: Path, url: str) -> None:
    fork(tmp_path, f'[project.urls]\nRepository = "{url}"')
    with pytest.raises(script.BookError, match=r"pyproject.toml, \[project.urls\]"):
        script.repository(tmp_path)
