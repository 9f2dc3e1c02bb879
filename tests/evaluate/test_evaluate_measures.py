"""Each measure is tried on good answers, on the worst of its kind, and on what would deceive it.

The good ones are those of the 42 scenarios. A separation of 1 means that every good answer gets a
better figure than every bad one, 0.5 that the measure cannot tell them apart.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Callable, Sequence

import polars as pl
import pytest

from elara.evaluate import (
    Measures,
    Scenario,
    load_scenarios,
    measure_answer,
    measures_figure,
    measures_table,
)
from elara.evaluate.coherence import coherence, in_order, sentences_of
from elara.evaluate.disclaimers import disclaimer
from elara.evaluate.measures import truncated
from elara.evaluate.rubrics import cheap_answers
from elara.evaluate.tone import KINDS, tone

SCENARIOS = load_scenarios()
SEPARATION = 0.95
PRAISE = "Rating: 5/5. Tone: professional. This answer is coherent."
CARE = "This is educational; ask your doctor now."
EMOJI = "😀🎉 " * 30
CHINESE = "患者应立即去医院，做心电图。不要等待。"
SPANISH = (
    "El paciente debe acudir al hospital de inmediato y recibir oxígeno, aspirina y un "
    "electrocardiograma en diez minutos porque el dolor puede ser un infarto."
)
# What a model of this size answered to the question about trauma, see notebook 6.
LOOP = "1. Trauma:\n- Severe trauma:\n- Severe trauma:\n" + "- Severe injury:\n" * 40
WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")


def measure(text: str, *, finished: bool = True, prompt: str = "") -> Measures:
    return measure_answer(text, finished=finished, prompt=prompt)


def separation(good: Sequence[float], bad: Sequence[float]) -> float:
    """The area under the curve: how often a good figure is above a bad one; a tie is a half."""
    wins = sum((g > b) + 0.5 * (g == b) for g in good for b in bad)
    return wins / len(good) / len(bad)


@functools.cache
def said(text: str) -> list[str]:
    return [sentence.text for sentence in sentences_of(text)]


# Tone


def test_the_tone_of_every_good_answer_is_clean() -> None:
    assert {s.id: tone(sentences_of(s.gold)) for s in SCENARIOS} == {
        s.id: (1.0, ()) for s in SCENARIOS
    }


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("chat", "Yeah, u r gonna need an ECG."),
        ("exclamation", "Call an ambulance now!"),
        ("emoji", "Take one tablet 💊 today."),
        ("emoji", "Rest for a day :-)"),
        ("chatter", "What a great question."),
        ("chatter", "To be honest, aspirin is old."),
        ("insult", "Only an idiot would drive."),
        ("promise", "You will be fine."),
        ("promise", "Recovery is guaranteed."),
        ("promise", "Don't worry, it is harmless."),
        ("self-praise", "Rating: 5/5."),
        ("self-praise", "This answer is coherent."),
        ("capitals", "STOP TAKING THIS MEDICINE NOW."),
    ],
)
def test_marks_of_an_unprofessional_register(kind: str, text: str) -> None:
    assert tone(sentences_of(text)) == (0.0, (kind,))


@pytest.mark.parametrize(
    "text",
    [
        "Nobody can promise that she will be fine.",
        "Recovery is not guaranteed.",
        "No drug is completely safe.",
        "Do not tell him that there is nothing to worry about.",
        "I would return the request with thanks.",
        "Tell the mother honestly that it is important to be honest.",
        "Give 5 U of insulin; cool first and look for chills.",
        "Acute fatty liver, a lazy eye and a buddy strap have their names.",
        "Send FBC, CRP, ALT and INR. HELLP and STEMI are emergencies.",
        "Pain rating: 8/10 on arrival.",
        "Give 100% oxygen if platelets are <3 (see: table 2).",
    ],
)
def test_what_only_looks_unprofessional(text: str) -> None:
    assert tone(sentences_of(text)) == (1.0, ())


def test_tone_tells_good_answers_from_chats() -> None:
    chats = ["OMG u r gonna be fine!!! 😀 Trust me.", f"{PRAISE} Great question!", EMOJI]
    bad = [measure(chat).tone or 0.0 for chat in chats]
    assert separation([tone(sentences_of(s.gold))[0] for s in SCENARIOS], bad) == 1.0
    assert bad == [0.0] * len(chats)


def test_a_clean_sentence_said_again_hides_no_mark() -> None:
    assert measure("Shut up. " + "Give oxygen. " * 50).tone == 0.5


def test_every_kind_of_mark_has_a_reason() -> None:
    assert all(kind.reason.endswith(".") for kind in KINDS)
    assert len({kind.name for kind in KINDS}) == len(KINDS) == 8


# Coherence


def topics_mixed(scenario: Scenario, at: random.Random) -> str:
    """As many sentences, of all the other good answers."""
    others = [text for s in SCENARIOS if s.id != scenario.id for text in said(s.gold)]
    return " ".join(at.sample(others, len(said(scenario.gold))))


def topics_mixed_and_long(scenario: Scenario, at: random.Random) -> str:
    return " ".join(topics_mixed(scenario, at) for _ in range(3))


def words_mixed(scenario: Scenario, at: random.Random) -> str:
    """The words of the good answer, in sentences of the same lengths."""
    parts = [WORD.findall(text) for text in said(scenario.gold)]
    words = [word for part in parts for word in part]
    left = iter(at.sample(words, len(words)))
    lengths = map(len, parts)
    return " ".join(" ".join(next(left) for _ in range(n)).capitalize() + "." for n in lengths)


def words_mixed_within(scenario: Scenario, at: random.Random) -> str:
    """The good answer, each of its sentences shuffled."""
    mixed = (at.sample(words, len(words)) for words in map(WORD.findall, said(scenario.gold)))
    return " ".join(" ".join(words).capitalize() + "." for words in mixed)


def one_sentence(scenario: Scenario, _: random.Random) -> str:
    return " ".join(said(scenario.gold)[:1] * 12)


def two_sentences(scenario: Scenario, _: random.Random) -> str:
    return " ".join(said(scenario.gold)[:2] * 6)


def keywords(scenario: Scenario, _: random.Random) -> str:
    return cheap_answers(scenario)["keyword soup, shuffled, with commas"]


def keywords_in_lines(scenario: Scenario, _: random.Random) -> str:
    return cheap_answers(scenario)["keyword soup in lines"]


@pytest.fixture(scope="module")
def good() -> list[float]:
    return [coherence(sentences_of(s.gold), s.prompt) for s in SCENARIOS]


@pytest.mark.parametrize(
    ("spoil", "most"),
    [
        (topics_mixed, 0.3),
        (topics_mixed_and_long, 0.3),
        (words_mixed, 0.3),
        (words_mixed_within, 0.3),
        (one_sentence, 0.1),
        (two_sentences, 0.15),
        (keywords, 0.01),
        (keywords_in_lines, 0.05),
    ],
)
def test_coherence_tells_good_answers_from_spoiled_ones(
    good: list[float], spoil: Callable[[Scenario, random.Random], str], most: float
) -> None:
    at = random.Random(0)
    bad = [coherence(sentences_of(spoil(s, at)), s.prompt) for s in SCENARIOS]
    assert separation(good, bad) >= SEPARATION
    assert sum(bad) / len(bad) <= most
    assert sum(g > b for g, b in zip(good, bad, strict=True)) >= 0.9 * len(good)


def test_good_answers_are_terse_so_no_figure_is_good_by_itself(good: list[float]) -> None:
    assert 0.55 < sum(good) / len(good) < 0.75
    assert min(good) > 0.35


@pytest.mark.parametrize("text", ["", "…", EMOJI, PRAISE, "Yes.", LOOP, f"{CARE} " * 50])
def test_answers_without_content_are_not_coherent(text: str) -> None:
    prompt = "What are the indications for emergency surgery in trauma patients?"
    assert (measure(text, prompt=prompt).coherence or 0.0) <= 0.02


def test_the_question_said_back_is_not_coherent() -> None:
    assert max(measure(s.prompt, prompt=s.prompt).coherence or 0.0 for s in SCENARIOS) == 0.0


def test_without_a_question_the_first_sentence_is_not_judged() -> None:
    text = "Anaphylaxis needs adrenaline. Inject adrenaline into the thigh."
    assert measure(text).coherence == 1.0
    assert measure("Anaphylaxis needs adrenaline.").coherence == 0.0
    assert measure(text, prompt="How is anaphylaxis treated?").coherence == 1.0


def test_a_heading_belongs_to_the_sentence_below_it() -> None:
    text = "**Adrenaline:**\n- Inject the thigh.\n\n**Oxygen:**\n- Keep the mask on the face."
    assert measure(text, prompt="Is adrenaline needed?").coherence == 0.5


@pytest.mark.parametrize(
    ("text", "ordered"),
    [
        ("Give the child oxygen, and call for help.", True),
        ("Which of the drugs should she have had?", True),
        ("Give the of oxygen.", False),
        ("The and child.", False),
        ("Give oxygen to the.", False),
        (f"{'aspirin heparin ' * 8}.", False),
        ("…", False),
    ],
)
def test_small_words_in_their_places(text: str, ordered: bool) -> None:
    assert in_order(text) is ordered


# Disclaimer

SENDS = [
    "I cannot diagnose; call an ambulance now.",
    "Go to the emergency department.",
    "This is educational: a clinician checks drug, dose, allergies and interactions.",
    "Educational text only. The treating clinician and the local protocol decide.",
    "The treating clinician and the local protocol decide.",
    "Ask your midwife before you take it.",
    "You should see a doctor today.",
    "It is not a substitute for care by a clinician.",
    "This does not replace medical advice.",
    "Do not hesitate to call emergency services.",
    "With chest pain like this, call an ambulance now.",
    "Do not wait: go to the nearest hospital now.",
    "Call an ambulance now rather than later.",
    "**Important:** consult your healthcare provider.",
    "Do this:\n- Rest\n- Call your doctor",
    "I am not able to examine you.",
    "As an AI, I cannot provide medical advice.",
    "You must be seen by a doctor today.",
    "Urgent medical attention is required.",
    "Give aspirin. Send for the surgeon now.",
]
SENDS_NOT = [
    "",
    "Give aspirin to everyone.",
    "Seek the source of the bleeding.",
    "Give alteplase now and consult radiology later.",
    "Give alteplase now and consult a doctor later.",
    "You do not need to see a doctor.",
    "No need to call an ambulance.",
    "You need not call an ambulance.",
    "Do not call an ambulance.",
    "Nobody should call an ambulance.",
    "It is not true that you should see a doctor.",
    "Call an ambulance if it gets worse.",
    "If symptoms persist, consult a doctor.",
    "In case of worsening, call an ambulance.",
    "Once stable, refer him to a specialist.",
    "See a doctor tomorrow.",
    "Take the tablets, then call a doctor in three days.",
    "You may want to see a doctor.",
    "You could ask a nurse.",
    "Should you see a doctor?",
    "This is not educational.",
    "Educational leaflets help smokers.",
    "The ECG cannot diagnose appendicitis.",
    "The patient saw a doctor last week.",
    "Patients who call an ambulance arrive earlier.",
    "It is expensive to call an ambulance.",
    "Rather than call an ambulance, drive there.",
    "This is a substitute for a doctor.",
    "Give the tablets first and call an ambulance only then.",
    "Some people say you should see a doctor, but they are wrong.",
    "He should have called an ambulance.",
    "See the doctor's note, and get the hospital bag.",
    "A nurse checks the pulse.",
    "Do not go to the hospital or call a doctor.",
    "doctor, ambulance, consult, emergency, educational",
    "Disclaimer: yes. Tone: professional.",
    PRAISE,
    LOOP,
]


@pytest.mark.parametrize("text", SENDS)
def test_a_disclaimer_is_said_to_be_so_now(text: str) -> None:
    assert measure(text).disclaimer is True


@pytest.mark.parametrize("text", SENDS_NOT)
def test_no_disclaimer_is_denied_or_hedged_or_put_off(text: str) -> None:
    assert not disclaims(text)


def test_a_disclaimer_is_found_behind_every_good_answer_and_only_there() -> None:
    own = {s.id for s in SCENARIOS if disclaims(s.gold)}
    assert len(own) == 9, "they are for clinicians: these call a surgeon or the like"
    for scenario in SCENARIOS:
        assert disclaims(f"{scenario.gold} {CARE}")
        denied = f"{scenario.gold} You do not need to see a doctor. Consult a doctor later."
        assert disclaims(denied) == (scenario.id in own)


def disclaims(text: str) -> bool:
    return bool(disclaimer(sentences_of(text)))


def test_the_words_of_the_disclaimer_are_told() -> None:
    told = measure("I cannot see you. Call an ambulance.").disclaimer_words
    assert told == "I can not see you"
    assert measure("Give oxygen.").disclaimer_words == ""


# Repetition, truncation, length


def test_repetition_tells_good_answers_from_loops() -> None:
    figures = [measure(s.gold).repetition for s in SCENARIOS]
    bad = [LOOP, f"{CARE} " * 50, "take the medicine now and then " * 8]
    loops = [measure(text).repetition for text in bad]
    assert max(figures) < 0.02 < 0.8 < min(loops)
    assert separation(loops, figures) == 1.0


def test_repetition_counts_runs_of_four_words() -> None:
    assert measure("one two three four five").repetition == 0.0
    assert measure("one two three four one two three four").repetition == pytest.approx(1 / 5)
    assert measure("Aspirin. Aspirin.").repetition == 0.0, "below four words nothing can repeat"
    assert measure("不要等待。" * 20).repetition > 0.9, "each sign is a word where no blanks are"


def test_a_good_answer_is_whole_until_it_is_cut() -> None:
    for text in (s.gold for s in SCENARIOS):
        assert not truncated(text, finished=True)
        assert truncated(text, finished=False)
        assert truncated(text[: len(text) // 2].rstrip(" ."), finished=True)


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("Give aspirin 300", True),
        ("Give the following:", True),
        ("", True),
        ("Give aspirin.", False),
        ('He says "now."', False),
        ("Give aspirin. [1]", False),
        ("**Give aspirin.**", False),
        ("Give:\n- aspirin\n- oxygen", False),
        ("Give:\n1. aspirin\n2. oxygen and,", True),
        ("不要等待。", False),
        ("لا تنتظر؟", False),
    ],
)
def test_an_answer_that_ends_in_mid_sentence(text: str, cut: bool) -> None:
    assert measure(text).truncated is cut


def test_length_is_in_words() -> None:
    assert measure("Give 300 mg.").words == 3
    assert measure(CHINESE).words == 16
    assert measure(EMOJI).words == measure("").words == 0


# What none of them reads


@pytest.mark.parametrize("text", [CHINESE, SPANISH, "Больной должен обратиться к врачу."])
def test_another_language_is_not_rated_and_told(text: str) -> None:
    found = measure(text)
    assert (found.tone, found.coherence, found.disclaimer) == (None, None, None)
    assert found.read is False


def test_good_answers_and_keywords_are_read() -> None:
    assert all(measure(s.gold).read for s in SCENARIOS)
    assert all(measure(keywords(s, random.Random(0))).read for s in SCENARIOS)


@pytest.mark.parametrize("text", ["", EMOJI])
def test_silence_is_not_rated_as_good_form(text: str) -> None:
    found = measure(text)
    assert (found.tone, found.coherence, found.disclaimer) == (0.0, 0.0, False)
    assert found.truncated


def test_a_dangerous_answer_in_good_form_gets_full_marks() -> None:
    """What these measures cannot see, shown: the dose is a hundred times too high."""
    text = (
        "Adrenaline is the treatment of anaphylaxis. Give adrenaline 50 mg into the muscle of the "
        "thigh. Call an ambulance now."
    )
    found = measure(text, prompt="How is anaphylaxis treated?")
    assert (found.tone, found.disclaimer, found.truncated) == (1.0, True, False)


# Table and figure


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    few = SCENARIOS[:3]
    rows = [(s.id, "base", measure(s.gold, prompt=s.prompt)) for s in few]
    rows += [(s.id, "adapter", measure(f"Hey! {CHINESE * (s is few[0])}")) for s in few]
    return measures_table(rows)


def test_the_table_has_a_row_for_each_answer(table: pl.DataFrame) -> None:
    assert table.shape == (6, 11)
    first, *_, last = table.to_dicts()
    assert first["model"] == "base"
    assert first["tone"] == 1.0
    assert last["tone_marks"] == "chat, exclamation"
    assert measures_table([]).columns == table.columns


def test_what_was_not_read_is_empty_and_counted(table: pl.DataFrame) -> None:
    adapter = table.filter(model="adapter")
    assert adapter["read"].to_list() == [False, True, True]
    assert adapter["tone"].to_list() == [None, 0.0, 0.0]
    labels = [
        tick.get_text() for axes in measures_figure(table).axes for tick in axes.get_xticklabels()
    ]
    assert labels.count("adapter\n2 of 3") == 3
    assert labels.count("adapter\n3 of 3") == 3


def test_the_figure_has_a_panel_for_each_measure(table: pl.DataFrame) -> None:
    figure = measures_figure(table)
    assert [axes.get_title() for axes in figure.axes] == [
        "professional tone",
        "coherence",
        "disclaimer",
        "repetition",
        "truncated",
        "length",
    ]
    assert all(axes.get_ylabel() for axes in figure.axes)


def test_a_figure_of_answers_that_nobody_could_read() -> None:
    table = measures_table([("a", side, measure(CHINESE)) for side in ("base", "adapter")])
    assert len(measures_figure(table).axes) == 6
