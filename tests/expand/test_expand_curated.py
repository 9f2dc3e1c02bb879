"""The thirteen cases are complete, and an incomplete one is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from elara.expand import CuratedError, curated_examples
from elara.records import Example, records

CASES = {
    "Cardiology": "STEMI",
    "Internal Medicine": "creatinine",
    "Infectious Disease": "meningitis",
    "Hematology": "reversal",
    "Neurology": "thrombolysis",
    "Pediatrics": "24-day-old",
    "Surgery/Trauma": "hemoperitoneum",
    "Emergency Medicine": "embolism",
    "Radiology": "chest",
    "Psychiatry": "suicid",
    "Dermatology": "melanoma",
    "Orthopedics": "hip",
    "OB/GYN": "preeclampsia",
}
WHOLE = {
    "id": "curated-99",
    "specialty": "Cardiology",
    "title": "A case",
    "instruction": "What now?",
    "reasoning": "Because.",
    "management": ["First.", "Then."],
    "red_flags": ["Pain"],
    "safety_note": "Educational only.",
    "guidelines": ["None 2020"],
}


def test_every_specialty_has_its_case() -> None:
    found = records(curated_examples("system"), Example)
    assert {e.specialty for e in found} == set(CASES)
    assert len(found) == len({e.id for e in found}) == 13
    for example in found:
        text = " ".join([example.id, *(m.content for m in example.messages)])
        assert re.search(CASES[example.specialty], text, re.IGNORECASE), example.id


@pytest.mark.parametrize(
    "example", records(curated_examples("system"), Example), ids=lambda e: e.id
)
def test_an_answer_has_its_four_parts_in_order(example: Example) -> None:
    system, question, answer = example.messages
    assert (system.role, question.role, answer.role) == ("system", "user", "assistant")
    assert question.content.endswith("?")
    headings = re.findall(r"^\*\*(.+)\*\*$", answer.content, re.MULTILINE)
    assert headings == ["Clinical reasoning", "Management", "Red flags", "Safety note"]
    steps = re.findall(r"^(\d+)\. \S", answer.content, re.MULTILINE)
    assert steps == [str(n) for n in range(1, len(steps) + 1)]
    assert len(steps) >= 5
    assert len(re.findall(r"^- \S", answer.content, re.MULTILINE)) >= 3
    assert "ducational" in answer.content.split("**Safety note**")[1]
    assert example.redistributable
    assert example.split == "train"


def write(folder: Path, case: object) -> None:
    (folder / "99.yaml").write_text(yaml.safe_dump(case))


def test_a_whole_case_is_rendered(tmp_path: Path) -> None:
    write(tmp_path, WHOLE)
    (example,) = records(curated_examples("system", tmp_path), Example)
    assert example.messages[2].content == (
        "**Clinical reasoning**\nBecause.\n\n**Management**\n1. First.\n2. Then.\n\n"
        "**Red flags**\n- Pain\n\n**Safety note**\nEducational only."
    )


@pytest.mark.parametrize("key", sorted(WHOLE))
def test_a_missing_part_is_named(tmp_path: Path, key: str) -> None:
    write(tmp_path, {k: v for k, v in WHOLE.items() if k != key})
    with pytest.raises(CuratedError, match=rf"99\.yaml: `{key}` must be"):
        curated_examples("system", tmp_path)


def test_a_list_item_that_yaml_read_as_a_mapping_is_named(tmp_path: Path) -> None:
    write(tmp_path, WHOLE | {"red_flags": [{"Fever": "stop"}]})
    with pytest.raises(CuratedError, match="every item of `red_flags` must be text"):
        curated_examples("system", tmp_path)


@pytest.mark.parametrize("text", ["a: [", "just words"])
def test_a_file_that_is_no_case(tmp_path: Path, text: str) -> None:
    (tmp_path / "99.yaml").write_text(text)
    with pytest.raises(CuratedError, match=r"99\.yaml"):
        curated_examples("system", tmp_path)
