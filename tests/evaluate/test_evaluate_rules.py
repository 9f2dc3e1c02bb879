"""Answers that try to deceive a rule: negations, hedges, conditions, lists, numbers and order."""

from __future__ import annotations

import time

import pytest

from elara.evaluate.clauses import cut
from elara.evaluate.plain import plain
from elara.evaluate.quantities import quantities, quantity
from elara.evaluate.rules import Before, Kind, Rule, Value, met, prepare, read

GIVE = ["give*", "start*", "administer*"]


def rule(*terms: list[str], **parts: object) -> Rule:
    return Rule(list(terms), **parts)  # type: ignore[arg-type]


def meets(wanted: Rule, text: str, kind: Kind = "must", *, prompt: str = "") -> bool:
    return met(wanted, read(prepare(text, prompt), [wanted]), kind) is not None


GIVEN = rule(["aspirin"], GIVE)
AVOIDED = rule(["aspirin"], GIVE, polarity="negated")


@pytest.mark.parametrize(
    "text",
    [
        "Give aspirin.",
        "Start aspirin now, not heparin.",
        "Do not give heparin but give aspirin.",
        "Instead of heparin give aspirin.",
        "Rather than giving heparin, give aspirin.",
        "If there is chest pain, give aspirin.",
        "If he is not breathing well give aspirin",
        "Give aspirin unless allergic.",
        "Give aspirin if not contraindicated.",
        "No contraindication, so give aspirin.",
        "**Aspirin** – give 300 mg",
        "1. **Aspirin:** Give 300 mg",
        "Give:\n- oxygen\n- aspirin",
        "Give oxygen, aspirin and heparin.",
        "Give aspirin (not heparin).",
        "Do not forget to give aspirin.",
        "Do not hesitate to give aspirin.",
        "Do not wait for troponin before giving aspirin.",
        "Never delay: give aspirin.",
        "Do not panic, give aspirin.",
        "Do not panic or wait, but give aspirin.",
        "Do not wait to give aspirin.",
        "Give aspirin – do not wait.",
        "Give aspirin without delay.",
        "Give aspirin as it may save his life.",
        "Give aspirin while he waits.",
        "Stop the infusion and give aspirin.",
        "Avoid heparin and give aspirin.",
        "Do not give heparin; give aspirin.",
        "Aspirin should be given.",
        "Aspirin must be given, not ibuprofen.",
        "It is not true that giving aspirin is wrong.",
    ],
)
def test_affirmed(text: str) -> None:
    assert meets(GIVEN, text)
    assert not meets(AVOIDED, text)


@pytest.mark.parametrize(
    "text",
    [
        "Do not give aspirin.",
        "Don’t give aspirin.",
        "Never give aspirin.",
        "Aspirin should not be given.",
        "Aspirin is not to be given",
        "Avoid giving aspirin.",
        "Refrain from giving aspirin.",
        "Hold off giving aspirin.",
        "Giving aspirin is dangerous.",
        "Giving aspirin would be wrong.",
        "Give heparin, not aspirin.",
        "Give heparin but not aspirin.",
        "Give heparin (not aspirin).",
        "Give heparin instead of aspirin.",
        "Give heparin rather than aspirin.",
        "Instead of giving aspirin, give heparin.",
        "Do not:\n- give aspirin\n- give heparin",
        "**Do not**\n\n- give aspirin",
        "## Things to avoid\n1. Giving aspirin",
        "Avoid:\n* giving aspirin",
        "Do not, under any circumstances, give aspirin.",
        "Do not give heparin, aspirin or warfarin.",
        "Do not give heparin or start aspirin.",
        "Neither give aspirin nor heparin.",
        "No one should give aspirin.",
        "Do not attempt lavage, give aspirin, or wait.",
        "Do not attempt lavage, wait, or give aspirin.",
        "Aspirin is useless here and should not be given.",
        "It is not true that you should give aspirin.",
    ],
)
def test_negated(text: str) -> None:
    assert not meets(GIVEN, text)
    assert meets(AVOIDED, text)


@pytest.mark.parametrize(
    "text",
    [
        "Aspirin is contraindicated.",
        "Aspirin is not indicated.",
        "Aspirin: avoid.",
        "Aspirin - contraindicated",
        "Contraindicated: aspirin",
        "Avoid: aspirin, heparin.",
        "Avoid ibuprofen and aspirin.",
        "Ibuprofen, aspirin and naproxen should be avoided.",
        "Do not:\n- aspirin",
        "Hold aspirin.",
        "Stop aspirin.",
        "Aspirin should be withheld.",
        "There is no role for aspirin.",
        "Aspirin has no role.",
        "Advise against aspirin.",
    ],
)
def test_a_word_that_negates_stands_for_do_not_give(text: str) -> None:
    assert meets(AVOIDED, text)
    assert not meets(GIVEN, text)


@pytest.mark.parametrize(
    "text",
    [
        "Some would give aspirin, but do not.",
        "Consider giving aspirin.",
        "You might give aspirin.",
        "Should you give aspirin?",
        "Aspirin exists.",
        "Give heparin if aspirin fails.",
        "Whether to give aspirin is debated.",
        "Do not",
    ],
)
def test_neither_affirmed_nor_negated(text: str) -> None:
    assert not meets(GIVEN, text)
    assert not meets(AVOIDED, text)


@pytest.mark.parametrize(
    "text",
    [
        "It is not true that you should withhold aspirin.",
        "Do not withhold aspirin.",
        "Aspirin should not be withheld.",
        "Aspirin is not contraindicated.",
        "Should aspirin be avoided?",
        "Do not stop aspirin.",
    ],
)
def test_twice_negated_is_not_negated(text: str) -> None:
    assert not meets(AVOIDED, text)
    assert meets(rule(["aspirin"]), text) is not text.endswith("?")


def test_a_negating_word_that_the_rule_looks_for_negates_nothing() -> None:
    stop = rule(["stop*", "hold", "withhold*"], ["ramipril"])
    assert meets(stop, "Stop ramipril and metformin.")
    assert meets(stop, "Stop metformin, ramipril and ibuprofen.")
    assert meets(stop, "Ramipril should be stopped.")
    assert not meets(stop, "Do not stop ramipril.")
    assert not meets(stop, "It is not true that you should stop ramipril.")


def test_what_is_waited_for() -> None:
    waits = rule(["pass", "appear"], ["wait*"])
    assert meets(waits, "Wait for it to pass.")
    assert not meets(waits, "Do not wait for it to pass.")
    assert not meets(waits, "Do not wait for symptoms to appear.")


def test_do_not_reaches_over_two_verbs_and_over_a_list() -> None:
    clean = rule(["wound"], ["clean*"])
    assert meets(clean, "Open and clean the wound.")
    assert not meets(clean, "Do not open and clean the wound.")
    stop = rule(["stop*"], ["insulin"])
    assert not meets(stop, "What not to do:\n- Stop insulin")
    assert not meets(stop, "**Do not:** stop insulin")
    text = "1. **Medications to avoid**:\n   - Aspirin\n   - Do not give heparin\n2. Give insulin"
    assert meets(AVOIDED, text)
    assert meets(rule(["heparin"], GIVE, polarity="negated"), text)
    assert meets(rule(["insulin"], GIVE), text)


def test_a_label_belongs_to_what_it_names() -> None:
    assert meets(DOSE, "2. **Administer adrenaline**: Give 0.5 mg IM.", "number")
    assert not meets(rule(["calcium"], GIVE), "Stop the drip: do not give calcium.")


def test_and_behind_do_not_is_left_open() -> None:
    for wanted in (rule(["throat"], ["examine*"]), rule(["throat"], polarity="negated")):
        assert not meets(wanted, "Do not lie the child flat and examine the throat.")


def test_the_last_sentence_of_an_answer_that_was_cut_off_counts_for_nothing() -> None:
    text = "Call for help. You should give aspirin only if"
    assert met(GIVEN, read(prepare(text), [GIVEN])) is not None
    assert met(GIVEN, read(prepare(text), [GIVEN], finished=False)) is None
    whole = read(prepare("Give aspirin."), [GIVEN], finished=False)
    assert met(GIVEN, whole) == "Give aspirin"


DOSE = rule(["adrenaline"], ["give*"], value=Value(0.3, 0.5, "mg"))


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("Give adrenaline 0.5 mg.", True),
        ("Give adrenaline 500 µg.", True),
        ("Give adrenaline 500 micrograms IM.", True),
        ("Give adrenaline, 0,5 mg IM.", True),
        ("Give 0.3 – 0.5 mg adrenaline.", True),
        ("Give adrenaline 0.5 mL of 1:1000 (0.5\u00a0mg).", True),
        ("Give adrenaline 0.5 mg/kg.", False),
        ("Give adrenaline 5 mg.", False),
        ("Give adrenaline 0.5 g.", False),
        ("Give adrenaline 0.5-1 mg.", False),
        ("Give adrenaline, not 0.5 mg.", False),
    ],
)
def test_a_dose_is_read_with_its_unit(text: str, right: bool) -> None:
    assert meets(DOSE, text, "number") is right


@pytest.mark.parametrize(
    ("text", "low", "high", "unit"),
    [
        ("1,000 mg", 1, 1, "g"),
        ("1\u00a0000 mg", 1, 1, "g"),
        ("5 to 10 mg", 5, 10, "mg"),
        ("between 5 and 10 mg", 5, 10, "mg"),
        ("10 mg to 1 g", 10, 1000, "mg"),
        ("10 mg per kg", 10, 10, "mg/kg"),
        ("5 μg/kg/min", 0.3, 0.3, "mg/kg/h"),
        ("two litres", 2, 2, "L"),
        ("half a liter", 500, 500, "mL"),
        ("½ mL", 0.5, 0.5, "mL"),
        ("101 °F", 38.3333333333, 38.3333333334, "°C"),
        ("2.4 million units", 2_400_000, 2_400_000, "IU"),
        ("100 beats per minute", 100, 100, "/min"),
        ("6.5 mmol/L", 6.5, 6.5, "mmol/L"),
        ("13 g/dL", 130, 130, "g/L"),
        ("30 mL per kg", 30, 30, "mL/kg"),
        ("92 %", 92, 92, "%"),
        ("200 joules", 200, 200, "J"),
        ("an hour", 60, 60, "min"),
        ("40 to 60 mg a day", 40, 60, "mg/day"),
        ("40 mg/day", 40, 40, "mg/day"),
        ("40 mg daily", 40, 40, "mg/day"),
        ("4 g/24 h", 4, 4, "g/day"),
        ("75 mg/kg/day", 75, 75, "mg/kg/day"),
    ],
)
def test_numbers_are_converted(text: str, low: float, high: float, unit: str) -> None:
    (found,) = quantities(plain(text))
    assert found.within(low, high, unit)


def test_numbers_that_are_two_or_none() -> None:
    assert [q.low for q in quantities("BP 90/60 mm Hg")] == [90, 60]
    assert [q.measured for q in quantities("0.5 mL of 1:1000")] == ["volume"]
    assert list(quantities("a child")) == []
    assert not next(quantities("40 mg")).within(40, 40, "mg/day")
    assert not next(quantities("40 mg/h")).within(0, 100, "mg")
    with pytest.raises(ValueError, match=r"The unit `spoons` is not known; use one of"):
        quantity(1, "spoons")


ORDER = rule(["thiamine"], before=Before([["glucose"]]))


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("Give thiamine, then glucose.", True),
        ("Give thiamine. Then give glucose.", True),
        ("1. Thiamine 250 mg\n2. Glucose 50 mL", True),
        ("Give thiamine before glucose.", True),
        ("Before giving glucose, give thiamine.", True),
        ("After thiamine, give glucose.", True),
        ("Give glucose after thiamine.", True),
        ("Give glucose, then thiamine.", False),
        ("Give glucose before thiamine.", False),
        ("After glucose, give thiamine.", False),
        ("Give thiamine after glucose.", False),
        ("Give thiamine.", False),
        ("Do not give thiamine. Give glucose.", False),
    ],
)
def test_order(text: str, right: bool) -> None:
    assert meets(ORDER, text, "order") is right


def test_conditions() -> None:
    fluids = rule(["fluid*"], ["give*"], not_if=["if", "unless"])
    assert meets(fluids, "Give fluids.")
    assert not meets(fluids, "If shocked, take cultures, give fluids and call.")
    assert not meets(fluids, "Give fluids, unless the lungs are wet.")
    back = rule(["return*"], ["rash"])
    assert meets(back, "Return if the rash spreads.", "red_flag")
    assert meets(back, "If the rash spreads, return at once.", "red_flag")


def test_what_counts_depends_on_the_kind() -> None:
    torsion = rule(["torsion"])
    assert meets(torsion, "This may be torsion.", "red_flag")
    assert not meets(torsion, "This may be torsion.", "must")
    assert not meets(torsion, "This is not torsion.", "red_flag")
    allergy = rule(["ask*", "check*", "what", "which"], ["allerg*"])
    assert meets(allergy, "Which allergies are known?", "ask")
    assert meets(allergy, "Check that there is no allergy.", "ask")
    assert not meets(allergy, "Do not ask about allergies.", "ask")
    assert not meets(allergy, "Which allergies are known?", "must")


def test_scopes() -> None:
    text = "Give fluids; take cultures. Call the surgeon."
    assert not meets(rule(["fluids"], ["cultures"]), text)
    assert meets(rule(["fluids"], ["cultures"], scope="sentence"), text)
    assert not meets(rule(["fluids"], ["surgeon"], scope="sentence"), text)
    assert meets(rule(["fluids"], ["surgeon"], scope="answer"), text)


def test_what_repeats_the_question_counts_for_nothing() -> None:
    prompt = "A woman of 60 is to start aspirin after a fall. What do you advise?"
    assert not meets(GIVEN, "A woman of 60 is to start aspirin after a fall.", prompt=prompt)
    assert meets(GIVEN, "Start aspirin after a fall.", prompt=prompt)


def test_keywords_are_no_statement() -> None:
    wanted = rule(["aspirin", "asa", "acetylsalicylic acid"], GIVE, ["chew*", "300 mg", "now"])
    terms = [term.replace("*", "") for group in wanted.terms for term in group] * 2
    for sign in (" ", ", ", "\n", ". ", "; "):
        assert not meets(wanted, sign.join(terms))
    assert meets(wanted, "Give aspirin now.")


def test_terms() -> None:
    pacing = rule(["transcutaneous pac*"], GIVE)
    assert meets(pacing, "Start **transcutaneous-pacing**.")
    assert meets(rule(["beta-blocker"]), "Give beta blockers.")
    assert meets(rule(["haemorrhage"]), "Stop the hemorrhage.")
    assert meets(rule(["immobilize"]), "Immobilise the neck.")
    assert not meets(rule(["im"]), "Improve the diet.")


def test_clauses_can_be_read_alone() -> None:
    def said(text: str) -> list[str]:
        return [c.text for s in cut(plain(text)) for c in s.clauses]

    assert said("If shocked, give fluids, take cultures and call.") == [
        "If shocked, give fluids",
        "If shocked, take cultures",
        "If shocked, call",
    ]
    assert said("Do not give nitrates, morphine or diuretics; start pacing.") == [
        "Do not give nitrates",
        "Do not give morphine or diuretics",
        "start pacing",
    ]


def test_a_hundred_answers_take_a_moment() -> None:
    text = "Give adrenaline 0.5 mg IM now, and repeat it after 5 minutes if he is no better. " * 10
    start = time.perf_counter()
    for number in range(100):
        meets(DOSE, f"{text} {number}.")
    assert time.perf_counter() - start < 4
