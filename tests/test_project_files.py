"""What stands beside the code: valid, and of one mind with the code and with pyproject.toml."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from elara.serve import Settings


@pytest.fixture(scope="module")
def package(project: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((project / "pyproject.toml").read_text())
    return found


def test_citation_says_what_the_package_says(project: Path, package: dict[str, Any]) -> None:
    # Source: https://github.com/citation-file-format/citation-file-format (schema guide, 1.2.0)
    cited = yaml.safe_load((project / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()  # all that it demands
    assert all(author.keys() == {"name"} for author in cited["authors"])  # else it is a person
    told = package["project"]
    assert cited["title"].lower() == told["name"]
    assert cited["version"] == told["version"]
    assert cited["license"] == told["license"]
    assert cited["abstract"] == told["description"]
    address = told.get("urls", {}).get("Repository")
    assert cited.get("repository-code", address) == address


def test_the_changelog_is_kept_for_this_version(project: Path, package: dict[str, Any]) -> None:
    # Source: https://keepachangelog.com/en/1.1.0/
    text = (project / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[(.+?)\]( - \d{4}-\d\d-\d\d)?$", text, re.MULTILINE)
    assert len(versions) == len(re.findall(r"^## ", text, re.MULTILINE))
    assert versions[0] == ("Unreleased", "") or versions[0][0] == package["project"]["version"]
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_every_file_that_contributing_names_exists(project: Path) -> None:
    text = (project / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`([\w./-]+(?:/|\.(?:py|md|yaml|toml|yml)))`", text))
    assert len(named) > 20
    assert [name for name in sorted(named) if not (project / name).exists()] == []


def test_every_line_of_help_names_a_target_and_says_what_it_does(project: Path) -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
    )
    makefile = (project / "Makefile").read_text()
    lines = shown.stdout.splitlines()
    assert len(lines) == len(re.findall(r"^[\w-]+:.* ## ", makefile, re.MULTILINE))
    for line in lines:
        found = re.fullmatch(r"  make ([a-z-]+) {2,}(\w[^$]*)", line)
        assert found, line
        assert re.search(rf"^{found[1]}:", makefile, re.MULTILINE), line
        assert len(found[2].split()) >= 3, line


def test_hooks_run_what_make_install_installs(project: Path, package: dict[str, Any]) -> None:
    path = project / ".pre-commit-config.yaml"
    subprocess.run([sys.executable, "-m", "pre_commit", "validate-config", path], check=True)
    (local,) = yaml.safe_load(path.read_text())["repos"]
    assert local["repo"] == "local"  # nothing is fetched
    group = [name for name in package["dependency-groups"]["test"] if isinstance(name, str)]
    installed = {re.split(r"[>=]", name)[0] for name in group}
    programs = [h["entry"].split()[0] for h in local["hooks"] if h["language"] == "system"]
    assert len(programs) == 3
    for program in programs:
        assert program.startswith(".venv/bin/")
        assert Path(program).name in installed


def test_the_hook_against_results_refuses_them_and_nothing_of_ours(project: Path) -> None:
    (local,) = yaml.safe_load((project / ".pre-commit-config.yaml").read_text())["repos"]
    (hook,) = (h for h in local["hooks"] if h["id"] == "no-results")
    refused = re.compile(hook["files"])
    for name in ("workspace/raw/a.parquet", "adapter_model.safetensors", "training/train.jsonl"):
        assert refused.search(name)
    if not (project / ".git").exists():
        pytest.skip("not a git checkout: there is no list of files")
    listed = subprocess.run(
        ["git", "ls-files"], cwd=project, capture_output=True, text=True, check=True
    )
    assert [name for name in listed.stdout.splitlines() if refused.search(name)] == []


def test_the_container_is_one_in_which_make_install_works(
    project: Path, package: dict[str, Any]
) -> None:
    container = json.loads((project / ".devcontainer" / "devcontainer.json").read_text())
    lowest = package["project"]["requires-python"].removeprefix(">=")
    assert f"python:{lowest}" in container["image"]
    assert container["postCreateCommand"] == "make install"
    assert Settings().port in container["forwardPorts"]


def test_the_security_page_tells_where_the_server_listens(project: Path) -> None:
    assert f"`{Settings().host}`" in (project / "SECURITY.md").read_text()


def test_readme_and_book_ask_for_the_same_machine(project: Path) -> None:
    asked = {
        page: re.findall(r"(\d+) GB of (disk|free memory)", (project / page).read_text())
        for page in ("README.md", "book/installation.md")
    }
    assert len(asked["README.md"]) == 2
    assert asked["README.md"] == asked["book/installation.md"]
