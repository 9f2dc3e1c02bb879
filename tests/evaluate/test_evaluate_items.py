"""The multiple-choice items are whole, evenly keyed, and not the cases the adapter learns from."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from elara.evaluate import SPECIALTIES


def runs(text: str, length: int = 8) -> set[tuple[str, ...]]:
    """Every run of this many words, whatever stands between them."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}


@pytest.fixture(scope="module")
def files(project: Path) -> dict[str, dict[str, Any]]:
    folder = project / "elara" / "items"
    return {path.stem: yaml.safe_load(path.read_text()) for path in sorted(folder.glob("*.yaml"))}


@pytest.fixture(scope="module")
def items(files: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [item for file in files.values() for item in file["items"]]


def right(item: dict[str, Any]) -> str:
    option: str = item["options"]["ABCD".index(item["key"])]
    return option


def test_each_specialty_has_eleven_items_and_says_who_reviewed_them(
    files: dict[str, dict[str, Any]],
) -> None:
    assert {file["specialty"] for file in files.values()} == {*SPECIALTIES}
    for slug, file in files.items():
        assert slug == file["specialty"].replace("OB/", "ob").partition("/")[0].lower().replace(
            " ", "-"
        )
        assert file["review_status"] == "not reviewed by a clinician"
        assert [item["id"] for item in file["items"]] == [f"{slug}-{n:02}" for n in range(1, 12)]


def test_an_item_is_whole_and_asked_once(items: list[dict[str, Any]]) -> None:
    assert len({item["question"] for item in items}) == len(items) == 143
    for item in items:
        assert item.keys() == {"id", "question", "options", "key", "reason", "source"}
        assert item["question"].endswith("?"), item["id"]
        assert len({option.lower() for option in item["options"]}) == 4, item["id"]
        assert item["key"] in tuple("ABCD"), item["id"]
        assert item["reason"].strip(), item["id"]
        assert item["source"].strip(), item["id"]


def test_no_letter_is_the_better_guess(files: dict[str, dict[str, Any]]) -> None:
    total: Counter[str] = Counter()
    for slug, file in files.items():
        keys = Counter(item["key"] for item in file["items"])
        assert all(2 <= keys[letter] <= 4 for letter in "ABCD"), slug
        total += keys
    assert max(total.values()) - min(total.values()) <= 3


def test_the_longest_option_is_no_better_guess(items: list[dict[str, Any]]) -> None:
    longest = [i["id"] for i in items if len(right(i)) == max(map(len, i["options"]))]
    shortest = [i["id"] for i in items if len(right(i)) == min(map(len, i["options"]))]
    assert len(longest) <= 0.35 * len(items), longest
    assert len(shortest) <= 0.35 * len(items), shortest


def test_no_item_repeats_a_case_that_is_trained_on(
    project: Path, items: list[dict[str, Any]]
) -> None:
    cases = sorted((project / "elara" / "expand" / "curated").glob("*.yaml"))
    trained = set().union(*(runs(yaml.safe_load(p.read_text())["instruction"]) for p in cases))
    assert trained
    assert [item["id"] for item in items if runs(item["question"]) & trained] == []


def test_no_item_repeats_another(items: list[dict[str, Any]]) -> None:
    seen: dict[tuple[str, ...], str] = {}
    for item in items:
        for run in runs(item["question"]):
            assert seen.setdefault(run, item["id"]) == item["id"], (run, item["id"])
