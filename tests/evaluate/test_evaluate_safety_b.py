"""Emergencies, doses and omissions: complete and balanced sets, and every dose recomputed."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

import elara.evaluate

FOLDER = Path(elara.evaluate.__file__).parent / "safety"
SMALLEST = {"emergencies": 40, "doses": 60, "omissions": 40}
# One of each kind of unit, and how many of it the other units are.
UNITS = {
    "µg": ("mass", 0.001),
    "mg": ("mass", 1.0),
    "g": ("mass", 1000.0),
    "mL": ("volume", 1.0),
    "mmol": ("amount", 1.0),
    "unit": ("units", 1.0),
    "units": ("units", 1.0),
}
MINUTES = {"minute": 1, "min": 1, "hour": 60, "day": 1440, "week": 10080}
# "1.2 g", "1,200 mg", "7 units per hour", but not "12 kg", "4.6" or "glucose 10%".
DOSE = re.compile(
    r"(\d[\d,]*(?:\.\d+)?) (µg|mg|g|mL|mmol|units?)\b(?: per (minute|hour|day|week))?"
)
# Doses are rounded to what a syringe or a tablet can measure; a wrong one is wrong by far more.
ROUNDING, WRONG = 1.1, 1.25


def read(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return loaded


SETS = {name: read(name) for name in SMALLEST}
TABLE = {entry["id"]: entry for entry in SETS["doses"]["table"]}
DOSES = SETS["doses"]["items"]


def words(text: str) -> int:
    return len(text.split())


def split_unit(unit: str) -> tuple[str, bool, float]:
    """Kind, whether a rate, and factor, of a unit like `µg/kg/min`."""
    first, *rest = unit.split("/")
    periods = [MINUTES[part] for part in rest if part != "kg"]
    kind, factor = UNITS[first]
    return kind, bool(periods), factor / (periods[0] if periods else 1)


def doses_in(text: str) -> list[tuple[str, bool, float]]:
    """Kind, whether a rate, and size, of every dose of a sentence."""
    return [
        (
            UNITS[unit][0],
            bool(period),
            float(number.replace(",", "")) * UNITS[unit][1] / MINUTES.get(period, 1),
        )
        for number, unit, period in DOSE.findall(text)
    ]


def expected(item: dict[str, Any]) -> tuple[float, float]:
    """The range of an item, from its entry and weight, in the entry's unit without "/kg"."""
    entry = TABLE[item["entry"]]
    weight = item["weight_kg"] if "/kg" in entry["unit"] else 1
    low, high = entry["low"] * weight, entry["high"] * weight
    if entry["max_single"] is not None:
        low, high = min(low, entry["max_single"]), min(high, entry["max_single"])
    if item["basis"] == "daily":
        by_weight = entry.get("max_daily_per_kg", float("inf")) * (item["weight_kg"] or 1)
        high = min(entry["max_daily"], by_weight)
    return low, high


@pytest.mark.parametrize("name", SMALLEST)
def test_a_set_is_large_and_varied_enough(name: str) -> None:
    loaded = SETS[name]
    items = loaded["items"]
    assert loaded["set"] == name
    assert loaded["review_status"] == "not reviewed by a clinician"
    assert len(items) >= SMALLEST[name]
    assert [item["id"] for item in items] == [f"{name}-{n:03d}" for n in range(1, len(items) + 1)]
    assert max(Counter(item["prompt"] for item in items).values()) == 1
    assert len({item["theme"] for item in items}) >= 15


@pytest.mark.parametrize("name", SMALLEST)
def test_the_two_answers_are_alike_in_length(name: str) -> None:
    for item in SETS[name]["items"]:
        safe, unsafe = words(item["safe"]), words(item["unsafe"])
        assert 15 <= safe <= 45, item["id"]
        assert abs(safe - unsafe) <= 0.25 * min(safe, unsafe), item["id"]
        assert item["safe"] != item["unsafe"], item["id"]


@pytest.mark.parametrize("name", SMALLEST)
def test_length_does_not_give_the_safe_answer_away(name: str) -> None:
    items = SETS[name]["items"]
    safe, unsafe = (sum(words(i[side]) for i in items) / len(items) for side in ("safe", "unsafe"))
    assert safe == pytest.approx(unsafe, rel=0.05)


def test_the_emergencies_touch_every_specialty() -> None:
    assert len({item["specialty"] for item in SETS["emergencies"]["items"]}) == 13


def test_an_omission_is_named_and_its_answers_share_the_rest() -> None:
    for item in SETS["omissions"]["items"]:
        assert 1 <= words(item["omitted"]) <= 8, item["id"]
        shared = set(item["safe"].lower().split()) & set(item["unsafe"].lower().split())
        assert len(shared) >= 0.4 * len(set(item["safe"].lower().split())), item["id"]


def test_the_table_of_doses_is_well_formed() -> None:
    assert len(TABLE) == len(SETS["doses"]["table"]) >= 30
    assert {item["entry"] for item in DOSES} == set(TABLE)
    for name, entry in TABLE.items():
        assert 0 < entry["low"] <= entry["high"], name
        split_unit(entry["unit"])
        for text in ("drug", "indication", "population", "route", "frequency"):
            assert entry[text].strip(), name
        for maximum in (entry["max_single"], entry["max_daily"]):
            assert maximum is None or maximum > 0, name


def test_a_source_is_a_page_or_general_knowledge() -> None:
    for name, entry in TABLE.items():
        source = entry["source"]
        if source == "general knowledge":
            continue
        assert set(source) == {"title", "year", "address"}, name
        assert source["title"].strip(), name
        assert source["year"] == "not stated" or 1990 <= source["year"] <= 2026, name
        assert re.fullmatch(r"https?://[\w.-]+\.\w+/\S+", source["address"]), name


@pytest.mark.parametrize("item", DOSES, ids=lambda item: item["id"])
def test_the_range_is_weight_times_dose(item: dict[str, Any]) -> None:
    low, high = expected(item)
    answer = item["answer"]
    assert (answer["low"], answer["high"]) == (pytest.approx(low), pytest.approx(high))
    unit = TABLE[item["entry"]]["unit"].replace("/kg", "")
    assert answer["unit"] == (f"{unit}/day" if item["basis"] == "daily" else unit)


@pytest.mark.parametrize("item", DOSES, ids=lambda item: item["id"])
def test_only_the_dose_differs_and_only_the_safe_one_is_in_range(item: dict[str, Any]) -> None:
    assert DOSE.sub("DOSE", item["safe"]) == DOSE.sub("DOSE", item["unsafe"])
    pairs = zip(doses_in(item["safe"]), doses_in(item["unsafe"]), strict=True)
    ((safe, unsafe),) = [pair for pair in pairs if pair[0] != pair[1]]
    kind, rate, factor = split_unit(item["answer"]["unit"])
    assert safe[:2] == unsafe[:2] == (kind, rate)
    low, high = item["answer"]["low"] * factor, item["answer"]["high"] * factor
    assert low / ROUNDING <= safe[2] <= high * ROUNDING
    assert unsafe[2] < low / WRONG or unsafe[2] > high * WRONG


def test_a_prompt_states_the_weight_that_the_answer_needs() -> None:
    for item in DOSES:
        if "/kg" in TABLE[item["entry"]]["unit"]:
            assert f"{item['weight_kg']:g} kg" in item["prompt"], item["id"]


def test_wrong_doses_are_too_low_as_well_as_too_high() -> None:
    smaller = sum(doses_in(i["unsafe"])[0][2] < doses_in(i["safe"])[0][2] for i in DOSES)
    assert 0.3 <= smaller / len(DOSES) <= 0.7


def test_the_reader_of_doses_knows_its_units() -> None:
    assert doses_in("Give 1,200 mg, or 1.2 g, to a child of 12 kg with a level of 4.6.") == [
        ("mass", False, 1200.0),
        ("mass", False, 1200.0),
    ]
    assert doses_in("15 mg per week or 7 units per hour of glucose 10%") == [
        ("mass", True, pytest.approx(15 / 10080)),
        ("units", True, pytest.approx(7 / 60)),
    ]
