"""Settings come from the environment, and say clearly when they cannot be used."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elara.serve import Settings, SettingsError
from elara.serve.config import PREFIX
from elara.serve.judged import adapter_identity, read_evaluation
from elara.workspace import Workspace


def test_every_field_has_a_variable(tmp_path: Path) -> None:
    given = Settings.from_environment(
        {
            "ELARA_SERVE_ADAPTER": str(tmp_path),
            "ELARA_SERVE_VERDICT": str(tmp_path / "v.json"),
            "ELARA_SERVE_HOST": "0.0.0.0",
            "ELARA_SERVE_PORT": "9000",
            "ELARA_SERVE_CORS_ORIGINS": "http://a.example, http://b.example",
            "ELARA_SERVE_MAX_NEW_TOKENS": "32",
            "ELARA_SERVE_TEMPERATURE": "0.5",
        }
    )
    assert given == Settings(
        adapter=tmp_path,
        verdict=tmp_path / "v.json",
        host="0.0.0.0",
        port=9000,
        cors_origins=("http://a.example", "http://b.example"),
        max_new_tokens=32,
        temperature=0.5,
    )


def test_the_guide_says_of_every_setting_what_it_is_by_default(project: Path) -> None:
    guide = (project / "book" / "serving.md").read_text(encoding="utf-8")
    told = dict(re.findall(rf"^\| `{PREFIX}(\w+)` \| (.+?) \| .+ \|$", guide, re.M))
    fields = {name.upper(): field.default for name, field in Settings.model_fields.items()}
    assert told.keys() == fields.keys()
    for name, default in fields.items():
        said = told[name].replace(",", "")
        if isinstance(default, bool):
            assert said == ("yes" if default else "no"), name
        elif isinstance(default, int | float):
            assert float(said) == default, name
        elif isinstance(default, str) and default:
            assert said == default.replace(",", ""), name
        elif default:
            assert said.split() == [*default], name
        else:
            assert not said[0].isdigit(), name  # in words where it comes from, or `none`


@pytest.mark.parametrize("name", ["TEXT_KEY", "AUDIT_TEXT", "SIGNING_KEY"])
def test_what_is_about_a_log_is_refused_without_one(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name.lower()} is about a log"):
        Settings.from_environment({f"ELARA_SERVE_{name}": "yes"})


def test_only_this_computer_by_default() -> None:
    assert Settings().host == "127.0.0.1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "abc"),
        ("PORT", "0"),
        ("TEMPERATURE", "3"),
        ("PORT", "70000"),
        ("ANSWER_SECONDS", "inf"),
        ("BODY_SECONDS", "inf"),
        ("STOP_SECONDS", "inf"),
    ],
)
def test_a_bad_value_is_an_error_that_names_the_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"ELARA_SERVE_{name} is '{value}'"):
        Settings.from_environment({f"ELARA_SERVE_{name}": value})


@pytest.mark.parametrize("origin", ["*", "http://*.example", "http://a.example/", "a.example"])
def test_an_origin_that_no_browser_sends_is_refused(origin: str) -> None:
    with pytest.raises(SettingsError, match=r"ELARA_SERVE_CORS_ORIGINS .*write origins as"):
        Settings.from_environment({"ELARA_SERVE_CORS_ORIGINS": f"http://b.example,{origin}"})


def test_the_command_line_wins_over_the_environment(workspace: Workspace) -> None:
    found = Settings.from_environment(
        {"ELARA_SERVE_PORT": "9000"}, workspace=str(workspace.root), port=9001, host=None
    )
    assert (found.port, found.host) == (9001, "127.0.0.1")


def test_the_workspace_supplies_adapter_and_verdict(trained: Workspace) -> None:
    found = Settings.from_environment({}, workspace=str(trained.root))
    assert found.adapter == trained.folder("train") / "adapter"
    assert found.verdict == trained.folder("evaluate") / "verdict.json"


def test_an_unfinished_training_run_is_not_served(trained: Workspace) -> None:
    (trained.folder("train") / "manifest.json").unlink()
    assert Settings.from_environment({}, workspace=str(trained.root)).adapter is None


def test_the_identity_traces_the_weights_to_their_run(trained: Workspace) -> None:
    adapter = trained.folder("train") / "adapter"
    identity = adapter_identity(adapter)
    assert identity.weights_sha256 == hashlib.sha256(b"1234").hexdigest()
    assert identity.training_run == trained.manifest("train")["identity"]
    (adapter / "adapter_model.safetensors").write_bytes(b"changed")
    assert adapter_identity(adapter).training_run is None


def test_the_verdict_on_this_adapter_is_shown(trained: Workspace, verdict: dict[str, Any]) -> None:
    sentence, figures = read_evaluation(Settings.from_environment({}, workspace=str(trained.root)))
    assert sentence == verdict["verdict"]
    assert figures is not None
    assert figures.model_dump() == verdict


def test_a_verdict_on_another_adapter_is_not_shown(
    trained: Workspace, train: Callable[[Workspace, bytes], None], verdict: dict[str, Any]
) -> None:
    train(trained, b"trained again")
    sentence, figures = read_evaluation(Settings.from_environment({}, workspace=str(trained.root)))
    assert figures is None
    assert verdict["verdict"] not in sentence
    assert "another training run" in sentence


def test_an_adapter_without_a_verdict_says_so(trained: Workspace) -> None:
    adapter = trained.folder("train") / "adapter"
    sentence, figures = read_evaluation(Settings(adapter=adapter))
    assert figures is None
    assert "has not been evaluated" in sentence


def test_a_broken_verdict_is_an_error(trained: Workspace) -> None:
    settings = Settings.from_environment({}, workspace=str(trained.root))
    assert settings.verdict is not None
    settings.verdict.write_text("{}")
    with pytest.raises(
        SettingsError, match=r"verdict\.json .*\(verdict: Field required\).*06-evaluate"
    ):
        read_evaluation(settings)
