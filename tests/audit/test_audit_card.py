"""What a model hub reads off an adapter: only what is known, in the hub's own form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.utils import validate_repo_id

from elara.audit.card import (
    LICENCE_FILE,
    licence_expression,
    licence_text,
    metadata,
    model_card,
)
from elara.model import PACKAGED


def record(base: str = PACKAGED, **licences: int) -> dict[str, Any]:
    return {
        "elara": "0.1.0",
        "base_model": base,
        "quantisation": "none",
        "config": {"lora_r": 8, "lora_alpha": 16, "lora_dropout": 0.0, "learning_rate": 1e-3},
        "precision": {"dtype": "float32"},
        "trainable_parameters": 10,
        "total_parameters": 1000,
        "steps": 4,
        "licences": {name.replace("_", "."): n for name, n in licences.items()},
        "data": [{"split": "train", "examples": 3, "tokens": 30, "answer_tokens": 20}],
    }


BY, ZERO = {"CC-BY-4_0": 3}, {"CC0-1_0": 2, "public-domain": 1}


def test_a_hub_reads_the_card() -> None:
    card = ModelCard(model_card(record(**BY)))
    data = card.data.to_dict()
    validate_repo_id(data["base_model"])
    assert data == {
        "base_model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "base_model_relation": "adapter",
        "license": "other",
        "license_name": "apache-2.0-and-cc-by-4.0",
        "license_link": LICENCE_FILE,
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "language": "en",
        "tags": ["lora", "medical", "education"],
    }
    assert card.text.lstrip().startswith("# Medical LoRA adapter")


@pytest.mark.parametrize(
    ("told", "licence", "expression"),
    [
        (record(**ZERO), "apache-2.0", "Apache-2.0"),
        (record(**BY, **ZERO), "other", "Apache-2.0 AND CC-BY-4.0"),
        (record(**BY, unknown=1), "other", ""),
        (record("someone/a-model", **ZERO), "other", ""),
        (record(**ZERO) | {"continues": {"weights_sha256": "0"}}, "other", ""),
        (record() | {"preference": {"method": "dpo"}}, "other", ""),
    ],
)
def test_no_more_is_claimed_than_is_known(
    told: dict[str, Any], licence: str, expression: str
) -> None:
    data = ModelCard(metadata(told, "adapter")).data
    assert data.license == licence
    assert licence_expression(told) == expression
    assert (data.license_name == "partly-unknown") is (expression == "")
    assert ("**unknown**" in licence_text(told)) is (expression == "")


def test_a_model_in_a_folder_is_no_model_of_the_hub(tmp_path: Path) -> None:
    told = record(str(tmp_path), **ZERO)
    data = ModelCard(metadata(told, "adapter")).data
    assert data.base_model is None
    assert data.license == "other"
    assert str(tmp_path) not in model_card(told) + licence_text(told)


def test_the_licences_file_names_every_licence() -> None:
    text = licence_text(record(**BY, **ZERO))
    for row in ("| CC-BY-4.0 | 3 |", "| CC0-1.0 | 2 |", "| public-domain | 1 |"):
        assert row in text
    assert "Apache-2.0, CC-BY-4.0." in text
