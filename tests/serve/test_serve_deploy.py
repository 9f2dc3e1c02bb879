"""The files for containers fit the server: settings, counts, commands, files and rights."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from elara.cli import app
from elara.serve import Settings
from elara.serve.config import PREFIX
from elara.serve.metrics import Metrics
from elara.serve.upstream import read_upstreams


@pytest.fixture
def deploy(project: Path) -> Path:
    return project / "deploy"


@pytest.fixture
def services(deploy: Path) -> dict[str, Any]:
    told = yaml.safe_load((deploy / "compose.yaml").read_text(encoding="utf-8"))
    return dict(told["services"])


def expressions(deploy: Path) -> list[str]:
    rules = yaml.safe_load((deploy / "alerts.yml").read_text(encoding="utf-8"))
    board = json.loads((deploy / "grafana" / "dashboard.json").read_text(encoding="utf-8"))
    found = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    return found + [t["expr"] for panel in board["panels"] for t in panel["targets"]]


def test_every_count_that_is_asked_for_is_kept(deploy: Path) -> None:
    kept = {name for family in Metrics().registry.collect() for name in _names(family)}
    asked = {name for e in expressions(deploy) for name in re.findall(r"\belara_\w+", e)}
    assert asked
    assert asked <= kept


def _names(family: Any) -> list[str]:
    ends = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    return [family.name + end for end in ends.get(family.type, [""])]


def test_labels_are_those_of_the_counts(deploy: Path) -> None:
    samples = [s for family in Metrics().registry.collect() for s in family.samples]
    kept = {(s.name, *pair) for s in samples for pair in s.labels.items()}
    kept |= {("elara_cache_total", "result", value) for value in ("hit", "miss")}
    asked = re.findall(r'(elara_\w+)(?:_bucket)?\{(\w+)="([^"]+)"', " ".join(expressions(deploy)))
    assert {name for name, *_ in asked} >= {"elara_probes_total", "elara_citations_total"}
    assert set(asked) <= kept


@pytest.mark.parametrize(
    "name",
    [
        *("elara_probe_agreement", "elara_probes_total", "elara_question_drift"),
        "elara_citations_total",
    ],
)
def test_what_changes_slowly_has_an_alert_and_a_panel(deploy: Path, name: str) -> None:
    found = [e for e in expressions(deploy) if re.search(rf"\b{name}\b", e)]
    assert len(found) >= 2


def test_the_settings_are_settings(services: dict[str, Any]) -> None:
    given = services["api"]["environment"]
    fields = {name.removeprefix(PREFIX).lower() for name in given}
    assert fields <= Settings.model_fields.keys()
    assert read_upstreams(given["ELARA_SERVE_UPSTREAMS"])
    assert given["ELARA_SERVE_PROBE_HOURS"] == "6"  # as the guide to serving says
    proxy = services["proxy"]["networks"]["front"]["ipv4_address"]
    assert given["ELARA_SERVE_TRUSTED_PROXIES"] == f"{proxy}/32"


def test_commands_are_commands(services: dict[str, Any], deploy: Path) -> None:
    dockerfile = (deploy / "Dockerfile").read_text(encoding="utf-8")
    start = json.loads(re.findall(r"^CMD (\[.*\])$", dockerfile, re.M)[0])
    for command in (start, services["signer"]["command"]):
        assert command[0] == "elara"
        group: Any = get_command(app)
        words = iter(command[1:])
        while hasattr(group, "commands"):
            group = group.commands[next(words)]
        options = {option for parameter in group.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options


def test_what_is_mounted_and_copied_is_there(services: dict[str, Any], deploy: Path) -> None:
    mounts = [str(m) for s in services.values() for m in s.get("volumes", [])]
    for mount in mounts:
        if mount.startswith("./"):
            assert (deploy / mount.split(":")[0]).is_file(), mount
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (deploy / "Dockerfile").read_text(), re.M)
    for name in " ".join(copied).split():
        assert (deploy.parent / name).exists(), name


def test_nothing_runs_as_root_or_at_any_version(services: dict[str, Any], deploy: Path) -> None:
    assert re.search(r"^USER elara$", (deploy / "Dockerfile").read_text(), re.M)
    images = [s["image"] for s in services.values() if "image" in s]
    images += re.findall(r"^FROM (\S+)", (deploy / "Dockerfile").read_text(), re.M)
    for image in images:
        assert re.search(r":v?\d+\.\d+", image), image
    assert services["signer"]["user"].split(":")[0] != "10001"  # not the server's own user
    ports = [p for s in services.values() for p in s.get("ports", [])]
    assert all(p == "443:443" or p.startswith("127.0.0.1:") for p in ports)
