"""Bans over a series, reasons, results, waiting and checking: what each of them denies."""

from __future__ import annotations

from dataclasses import replace

import pytest

from elara.evaluate.quantities import quantities
from elara.evaluate.rules import Kind, Rule, Value, met, prepare, read

GIVE = ["give*", "administer*"]
VOMIT = Rule([["vomit*"], ["induc*", "make*"]])
CHARCOAL = Rule([["charcoal"], GIVE])
TUBE = Rule([["tube"], ["pass*", "insert*"]])
ACTS = (VOMIT, CHARCOAL, TUBE)


def meets(rule: Rule, text: str, kind: Kind = "must") -> bool:
    return met(rule, read(prepare(text), [rule]), kind) is not None


@pytest.mark.parametrize(
    "text",
    [
        "Do not induce vomiting, give charcoal, or pass a tube.",
        "Do not induce vomiting, give charcoal or pass a tube.",
        "Do not induce vomiting and do not give charcoal and do not pass a tube.",
        "Do not induce vomiting, do not give charcoal or pass a tube.",
        "Don't induce vomiting, nor give charcoal, nor pass a tube.",
        "Never induce vomiting, give charcoal, or pass a tube.",
        "Nobody should induce vomiting, give charcoal, or pass a tube.",
        "Under no circumstances induce vomiting, give charcoal, or pass a tube.",
        "At no time induce vomiting, give charcoal, or pass a tube.",
        "Neither induce vomiting nor give charcoal nor pass a tube.",
        "I would not induce vomiting, give charcoal, or pass a tube.",
        "Do not induce vomiting, give charcoal, or even pass a tube.",
        "Do not try to induce vomiting, to give charcoal, or to pass a tube.",
        "Avoid inducing vomiting, giving charcoal, and passing a tube.",
        "I do not recommend inducing vomiting, giving charcoal, or passing a tube.",
        "It is dangerous to induce vomiting, give charcoal, or pass a tube.",
        "There is no reason to induce vomiting, give charcoal, or pass a tube.",
        "He should not be made to vomit, be given charcoal, or have a tube passed.",
        "Inducing vomiting, giving charcoal, and passing a tube are contraindicated.",
        "Inducing vomiting, giving charcoal or passing a tube is dangerous.",
        "Stay calm; do not induce vomiting, give charcoal, or pass a tube; call the center.",
    ],
)
def test_a_ban_reaches_over_a_series_of_acts(text: str) -> None:
    for act in ACTS:
        assert not meets(act, text, "must_not")
        assert meets(replace(act, polarity="negated"), text)


@pytest.mark.parametrize(
    "text",
    [
        "Give charcoal, pass a tube, or call.",
        "Do not panic: give charcoal.",
        "Don't be afraid to give charcoal.",
        "Avoid milk; give charcoal or water.",
        "Do not give milk; give charcoal or call.",
        "Stop the drip, give charcoal, or call a center.",
        "Do not induce vomiting but give charcoal or water.",
        "Do not delay: give charcoal.",
        "It is not wrong to give charcoal.",
    ],
)
def test_a_ban_ends(text: str) -> None:
    assert meets(CHARCOAL, text, "must_not")


CHECK = Rule([["check*", "confirm*", "ensure*", "verif*", "make sure"], ["pregnan*", "allerg*"]])


@pytest.mark.parametrize("kind", ["ask", "must"])
def test_the_thing_to_check_may_be_that_there_is_none(kind: Kind) -> None:
    for text in (
        "Check that she is not pregnant.",
        "Confirm she isn't pregnant, then go on.",
        "Before the film, make sure that there is no pregnancy.",
        "Ensure that the patient is not allergic.",
        "Verify that he has no allergy.",
        "Please check carefully that the woman is not pregnant or breastfeeding.",
    ):
        assert meets(CHECK, text, kind), text
    for text in (
        "Do not check whether she is pregnant.",
        "There is no need to check that she is not pregnant.",
        "Never confirm that she is not pregnant.",
        "She is not pregnant, so check nothing.",
    ):
        assert not meets(CHECK, text, kind), text


def test_a_ban_that_is_to_be_ensured_stays_a_ban() -> None:
    given = Rule([["aspirin"], ["give*", "take*"]])
    for text in ("Make sure that aspirin is not given.", "Ensure that he does not take aspirin."):
        assert not meets(given, text, "must_not")
        assert meets(replace(given, polarity="negated"), text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Delay risks necrosis.", True),
        ("Delaying surgery causes necrosis.", True),
        ("Any delay in surgery raises the risk of necrosis.", True),
        ("Postponing the operation may lead to necrosis.", True),
        ("Withholding antibiotics has led to necrosis.", True),
        ("Failure to operate results in necrosis.", True),
        ("The delay caused necrosis.", True),
        ("There is no necrosis.", False),
        ("Aspirin avoids necrosis.", False),
    ],
)
def test_what_comes_of_a_delay_is_not_denied(text: str, said: bool) -> None:
    assert meets(Rule([["necrosis"]]), text, "red_flag") is said


def test_what_is_delayed_is_denied() -> None:
    for text in ("Delay surgery.", "Delay surgery until the drug is cleared.", "Avoid surgery."):
        assert not meets(Rule([["surgery"]]), text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Aspirin is contraindicated because of active bleeding.", True),
        ("Aspirin is contraindicated due to active bleeding.", True),
        ("Aspirin should be avoided on account of the bleeding.", True),
        ("Aspirin is not safe owing to bleeding.", True),
        ("Never give aspirin in view of the bleeding.", True),
        ("Stop heparin as a result of the bleeding.", True),
        ("The pain is not due to bleeding.", False),
        ("The anemia is not because of bleeding.", False),
        ("It is not thought to be due to bleeding.", False),
    ],
)
def test_the_reason_of_a_ban_is_not_denied(text: str, said: bool) -> None:
    assert meets(Rule([["bleeding"]]), text, "red_flag") is said


@pytest.mark.parametrize(
    "text",
    [
        "Do not wait for it to pass.",
        "Do not wait for it to pass before going to the hospital.",
        "Go now and do not wait for it to pass before you call.",
        "Don't sit and wait for it to pass.",
        "Never wait until it passes.",
        "Go without waiting for it to pass.",
        "There is no time to wait for it to pass.",
        "Do not stay at home and wait for it to pass.",
    ],
)
def test_what_must_not_be_waited_for(text: str) -> None:
    assert not meets(Rule([["pass"], ["wait*"]]), text, "must_not")


def test_no_delay_is_no_delay() -> None:
    delayed = Rule([["vaccine"], ["delay*"]])
    assert meets(delayed, "Delay the vaccine.", "must_not")
    for text in ("Give the vaccine without delay.", "Do not delay the vaccine before the test."):
        assert not meets(delayed, text, "must_not")


@pytest.mark.parametrize(
    "text",
    [
        "Avoid aspirin; oxygen if saturation is low.",
        "Do not give aspirin; oxygen by mask.",
        "Stop the drip; oxygen at 10 L/min.",
        "Avoid ibuprofen, aspirin; oxygen and fluids.",
    ],
)
def test_a_ban_ends_at_a_semicolon(text: str) -> None:
    oxygen = Rule([["oxygen"]])
    assert meets(oxygen, text, "red_flag")
    assert not meets(replace(oxygen, polarity="negated"), text)


def test_avoid_using_is_a_ban() -> None:
    assert not meets(Rule([["aspirin"]]), "Avoid using aspirin.")
    assert meets(Rule([["fever"]]), "Cool him to avoid harm by fever.")


@pytest.mark.parametrize(
    "words",
    [
        "a day",
        "per day",
        "daily",
        "/day",
        "each day",
        "every morning",
        "once daily",
        "by mouth daily",
    ],
)
def test_a_dose_for_a_day_is_no_single_dose(words: str) -> None:
    text = f"Give prednisolone 40 mg {words}."
    for unit, right in (("mg", False), ("mg/day", True)):
        rule = Rule([["prednisolone"], GIVE], value=Value(30, 60, unit))
        assert meets(rule, text, "number") is right


@pytest.mark.parametrize("words", ["", "twice daily", "now, then 5 mg daily", "every 8 hours"])
def test_a_single_dose_is_none_for_a_day(words: str) -> None:
    text = f"Give prednisolone 40 mg {words}."
    for unit, right in (("mg", True), ("mg/day", False)):
        rule = Rule([["prednisolone"], GIVE], value=Value(30, 60, unit))
        assert meets(rule, text, "number") is right


def test_what_is_no_dose_may_be_told_for_a_day() -> None:
    (rise,) = quantities("8 mmol/L per day")
    assert rise.within(8, 8, "mmol/L")
