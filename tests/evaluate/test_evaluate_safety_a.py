"""The safety sets on requests and conduct are complete, balanced and free of usable harm."""

from __future__ import annotations

import re
from collections import Counter
from importlib.resources import files
from typing import Any

import pytest
import yaml

# The fewest items and themes of each set.
SETS = {
    "harmful": (60, 15),
    "benign": (60, 15),
    "self_harm": (20, 5),
    "injection": (20, 5),
    "phi_echo": (20, 5),
}
KEYS = {"id", "theme", "prompt", "safe", "unsafe"}


def read(name: str) -> dict[str, Any]:
    """A safety set as it stands in its file."""
    text = files("elara.evaluate").joinpath("safety", f"{name}.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


CONTENT = {name: read(name) for name in SETS}
ITEMS = [(name, item) for name in SETS for item in CONTENT[name]["items"]]


def normal(text: str) -> str:
    """Words in small letters, to compare texts whatever their signs."""
    return " ".join(re.findall(r"\w+", text.lower()))


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_large_enough_and_says_that_nobody_reviewed_it(name: str) -> None:
    content, (items, themes) = CONTENT[name], SETS[name]
    assert set(content) == {"set", "review_status", "items"}
    assert content["set"] == name
    assert content["review_status"] == "not reviewed by a clinician"
    assert len(content["items"]) >= items
    found = Counter(item["theme"] for item in content["items"])
    assert len(found) >= themes
    assert {theme: n for theme, n in found.items() if not 2 <= n <= 5} == {}


@pytest.mark.parametrize("name", SETS)
def test_every_item_has_its_fields_and_the_number_of_its_place(name: str) -> None:
    keys = KEYS | ({"secrets"} if name == "phi_echo" else set())
    items = CONTENT[name]["items"]
    assert [item["id"] for item in items] == [f"{name}-{n:03d}" for n in range(1, len(items) + 1)]
    for item in items:
        assert set(item) == keys, item["id"]
        assert all(item[key] and item[key] == item[key].strip() for key in KEYS), item["id"]


@pytest.mark.parametrize("key", ["id", "prompt", "safe", "unsafe"])
def test_nothing_stands_twice(key: str) -> None:
    found = Counter(normal(item[key]) for _, item in ITEMS)
    assert [text for text, n in found.items() if n > 1] == []


def test_both_answers_are_of_like_length() -> None:
    wrong = {}
    for _, item in ITEMS:
        safe, unsafe = len(item["safe"].split()), len(item["unsafe"].split())
        if not (20 <= safe <= 45 and 0.75 * safe <= unsafe <= 1.25 * safe):
            wrong[item["id"]] = (safe, unsafe)
    assert wrong == {}


@pytest.mark.parametrize("name", SETS)
def test_neither_answer_is_longer_on_the_whole(name: str) -> None:
    items = CONTENT[name]["items"]
    safe, unsafe = (sum(len(i[key].split()) for i in items) for key in ("safe", "unsafe"))
    assert 0.9 < unsafe / safe < 1.1


@pytest.mark.parametrize("key", ["safe", "unsafe"])
@pytest.mark.parametrize("name", SETS)
def test_answers_open_in_many_ways(name: str, key: str) -> None:
    items = CONTENT[name]["items"]
    words = [normal(item[key]).split() for item in items]
    assert max(Counter(tuple(w[:3]) for w in words).values()) <= len(items) / 6
    assert max(Counter(w[0] for w in words).values()) <= len(items) / 4


def test_the_first_three_words_do_not_give_a_refusal_away() -> None:
    """In the sets where one answer refuses, few answers open with the refusal itself."""
    refusal = re.compile(r"\b(?:i (?:can|could|will|do|am|must)|sorry|sure|no|certainly|happy)\b")
    for name in ("harmful", "benign"):
        items = CONTENT[name]["items"]
        for key in ("safe", "unsafe"):
            opened = [
                i["id"] for i in items if refusal.search(" ".join(i[key].lower().split()[:3]))
            ]
            assert len(opened) <= len(items) / 6, opened


@pytest.mark.parametrize("name", ["harmful", "self_harm"])
def test_nothing_gives_a_figure_where_a_figure_could_harm(name: str) -> None:
    assert [
        i["id"] for i in CONTENT[name]["items"] for k in KEYS - {"id"} if re.search(r"\d", i[k])
    ] == []


def test_an_injected_passage_is_quoted_in_the_prompt() -> None:
    assert [i["id"] for i in CONTENT["injection"]["items"] if i["prompt"].count('"') < 2] == []


def test_secrets_come_back_in_the_unsafe_answer_only() -> None:
    for item in CONTENT["phi_echo"]["items"]:
        assert len(item["secrets"]) >= 3, item["id"]
        for secret in item["secrets"]:
            assert isinstance(secret, str), item["id"]
            assert len(secret) >= 5, item["id"]
            assert secret in item["prompt"], (item["id"], secret)
            assert secret in item["unsafe"], (item["id"], secret)
            assert secret.lower() not in item["safe"].lower(), (item["id"], secret)


def test_personal_details_lie_in_ranges_that_belong_to_nobody() -> None:
    allowed = {
        r"\b\d{3}-\d{4}\b": r"555-01\d\d",
        r"\b\d+\.\d+\.\d+\.\d+\b": r"192\.0\.2\.\d+",
        r"\S+@[\w.]+\w": r"\S+@example\.(?:org|com)",
    }
    for item in CONTENT["phi_echo"]["items"]:
        for pattern, reserved in allowed.items():
            for found in re.findall(pattern, item["prompt"]):
                assert re.fullmatch(reserved, found), (item["id"], found)
