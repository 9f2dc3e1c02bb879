"""Every validator refuses what it is for, says why, and lets all else pass."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from elara.expand import (
    VALIDATORS,
    curated_examples,
    grounded_examples,
    read_cases,
    taken,
    validate,
)
from elara.expand.cases import SecondAnswer
from elara.model import SYSTEM_PROMPT
from elara.records import Article, Example, Message, Section, Span, frame, records

WORDS = (
    "Iron deficiency is the commonest cause of anaemia in adults, found by a low ferritin value. "
    "Treatment replaces the iron, and the source of the bleeding is looked for in every patient."
)
SPANISH = (
    "La anemia por falta de hierro es la más frecuente en los adultos, y las mujeres con "
    "hemorragias son las que más la sufren; el tratamiento es con hierro, pero una causa está "
    "siempre detrás y los pacientes la deben conocer."
)
ARTICLE = Article(
    id="pubmed:1",
    source="pubmed",
    title="Iron deficiency",
    abstract=f"{WORDS} Ferrous sulfate is given.",
    body=[
        Section("", "What is anaemia?", "question"),
        Section("A", f"{WORDS} It is treated.", "answer"),
        Section("", "How is anaemia treated?", "question"),
        Section("B", f"Iron is given by mouth. {WORDS}", "answer"),
    ],
    language="en",
    licence="CC-BY-4.0",
    redistributable=True,
)
ARTICLES = frame([ARTICLE], Article)


def made() -> list[Example]:
    return records(grounded_examples(ARTICLES, SYSTEM_PROMPT).examples, Example)


def rules(example: Example, **options: object) -> list[tuple[str, str]]:
    """Rule and evidence of what refuses an example that stands beside a sound one."""
    sound = copy.deepcopy(made()[0])
    sound.id = "sound"
    done = validate(frame([sound, example], Example), ARTICLES, **options)  # type: ignore[arg-type]
    assert "sound" in done.examples["id"].to_list()
    assert done.examples.height == 2 - done.rejected["id"].n_unique()
    return done.rejected.select("rule", "evidence").rows()


def test_what_the_recipes_make_passes() -> None:
    found = made()
    assert {len(example.messages) for example in found} == {3, 5}
    assert any("This is educational" in example.messages[-1].content for example in found)
    done = validate(frame(found, Example), ARTICLES)
    assert done.rejected.rows() == []
    assert records(done.examples, Example) == found


def test_curated_cases_pass() -> None:
    agreed = {"second_answer": SecondAnswer(status="agreed")}
    cases = [case.model_copy(update=agreed) for case in read_cases()]
    curated = curated_examples(SYSTEM_PROMPT, cases)
    assert validate(curated, ARTICLES).rejected.rows() == []
    assert curated.height == len(cases)


def answer(example: Example, text: str) -> None:
    example.messages[-1].content = text


CHANGES: dict[str, tuple[Callable[[Example], object], str, str]] = {
    "no id": (lambda e: setattr(e, "id", " "), "schema", "it has no id"),
    "taken": (lambda e: setattr(e, "id", "sound"), "schema", "an earlier example has its id"),
    "nameless": (lambda e: setattr(e, "article_ids", []), "schema", "it names no article"),
    "order": (lambda e: e.messages.reverse(), "schema", "its turns are assistant,user,system"),
    "no turn": (lambda e: e.messages.clear(), "schema", "its turns are "),
    "no system": (lambda e: e.messages.pop(0), "schema", "its turns are user,assistant"),
    "empty": (lambda e: setattr(e.messages[1], "content", " \n"), "schema", "turn 1 is empty"),
    "mark": (
        lambda e: setattr(e.messages[1], "content", "What is <|im_end|> it?"),
        "schema",
        "turn 1 holds a mark",
    ),
    "gap": (
        lambda e: setattr(e.messages[1], "content", "What is {title}?"),
        "schema",
        "gap that was not filled in: What is {title}?",
    ),
    "origin": (lambda e: setattr(e, "origin", "dream"), "schema", "its origin is dream"),
    "split": (lambda e: setattr(e, "split", "dev"), "schema", "its split is dev"),
    "invented": (lambda e: answer(e, f"{WORDS} And so on."), "own words", "turn 2 is not the text"),
    "added": (
        lambda e: answer(e, f"{e.messages[-1].content}\n\nBelieve me."),
        "own words",
        "turn 2 is not the text",
    ),
    "shifted": (lambda e: setattr(e.spans[0], "start", 3), "own words", "turn 2 is not the text"),
    "outside": (
        lambda e: setattr(e.spans[-1], "end", 9999),
        "own words",
        "no characters 0 to 9999",
    ),
    "backwards": (lambda e: setattr(e.spans[0], "end", -1), "own words", "no characters 0 to -1"),
    "no part": (
        lambda e: setattr(e.spans[0], "part", "body/9"),
        "own words",
        "pubmed:1, body/9 is not among",
    ),
    "stranger": (
        lambda e: setattr(e.spans[0], "article_id", "pubmed:2"),
        "own words",
        "pubmed:2, abstract is not among",
    ),
    "of no answer": (lambda e: setattr(e.spans[0], "turn", 1), "own words", "is of no answer"),
    "spanless": (lambda e: e.spans.clear(), "own words", "turn 2 names no passage"),
    "licence": (lambda e: setattr(e, "licence", "mine"), "licence", "does not know the licence"),
    "claims": (lambda e: setattr(e, "licence", "CC-BY-NC-4.0"), "licence", "does not allow that"),
    "other": (lambda e: setattr(e, "licence", "CC0-1.0"), "licence", "its article CC-BY-4.0"),
    "tongue": (lambda e: setattr(e, "language", "de"), "language", "de is not among"),
    "labelled": (lambda e: answer(e, SPANISH), "language", "says en, reads es"),
    "machine": (
        lambda e: answer(e, f"As an AI language model I say: {WORDS}"),
        "disclaimer",
        "a machine speaks of itself: As an AI",
    ),
    "only": (
        lambda e: answer(e, "This is not a substitute for a visit. Please consult your doctor."),
        "disclaimer",
        "only a disclaimer",
    ),
    "system": (
        lambda e: setattr(e.messages[0], "content", "Be helpful."),
        "disclaimer",
        "not the one with the caution: Be helpful.",
    ),
    "harm": (lambda e: answer(e, f"{WORDS} Vaccines cause autism."), "harm", "denies vaccination"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_fault_has_a_row_with_rule_and_evidence(change: str) -> None:
    alter, rule, evidence = CHANGES[change]
    example = next(e for e in made() if len(e.messages) == 3 and e.recipe == "key_points")
    alter(example)
    found = dict(rules(example))
    assert rule in found
    assert evidence in found[rule]


def test_the_earlier_answer_of_a_conversation_is_checked_too() -> None:
    example = next(e for e in made() if len(e.messages) == 5)
    example.messages[2].content += " Truly."
    assert rules(example) == [("own words", f"turn 2 is not the text of its spans: {WORDS[:80]}")]


PERSONAL = {
    "e-mail address": "Write to a.b@example.org about it.",
    "telephone number": "Tel: +44 20 7946 0000",
    "social security number": "She is 123-45-6789 there.",
    "record number": "MRN: 0012345",
    "date of birth": "DOB: 12/04/1961",
    "account number": "Pay to GB82 WEST 1234 5698 7654 32 today.",
}


@pytest.mark.parametrize("kind", PERSONAL)
def test_personal_data_is_named_and_never_copied(kind: str) -> None:
    example = made()[0]
    example.messages[1].content = PERSONAL[kind]
    assert rules(example) == [("personal data", f"{kind} in turn 1")]


@pytest.mark.parametrize(
    "text",
    [
        "Call the helpline on 1-800-222-1222 at any hour.",
        "Phone 112 or 911 at once.",
        "Between 2010 and 2015, 1,200 of 3,400 patients (CAS 50-78-2) took 150-300 mg.",
        "The ratio was 120 (15) 130-150 at 37 °C, as in NCT00123456.",
        "The patient was born on a Tuesday and weighed 3,200 g.",
        "Cl- + 2 K+ and +12.5 % in 1999-2004",
        "Response: complete in 3 of 4.\nHuman: 5 mg/kg, \\text{mg} <5 and >2 </b> [INR]",
    ],
)
def test_what_looks_like_personal_data_or_marks_stays(text: str) -> None:
    example = made()[0]
    example.messages[1].content = text
    assert rules(example) == []


def test_an_answer_with_a_disclaimer_stays_where_it_says_something() -> None:
    article = copy.deepcopy(ARTICLE)
    article.body = []
    article.abstract = f"{WORDS} Talk to your doctor before you take iron."
    articles = frame([article], Article)
    found = grounded_examples(articles, SYSTEM_PROMPT).examples
    assert found.height == 1
    assert validate(found, articles).rejected.rows() == []


def test_closed_texts_pass_only_where_all_licences_do() -> None:
    article = copy.deepcopy(ARTICLE)
    article.licence, article.redistributable = "CC-BY-NC-4.0", False
    articles = frame([article], Article)
    found = grounded_examples(articles, SYSTEM_PROMPT, licences="any").examples
    assert validate(found, articles, licences="any").rejected.rows() == []
    done = validate(found, articles)
    assert done.examples.is_empty()
    assert set(done.rejected["rule"]) == {"licence"}
    assert set(done.rejected["source"]) == {"pubmed"}


@pytest.mark.parametrize("listed", [True, False])
def test_retracted_articles_give_nothing(listed: bool) -> None:
    found = frame(made(), Example)
    articles = ARTICLES.with_columns(retracted=pl.lit(not listed))
    done = validate(found, articles, retracted=["pubmed:1"] if listed else [])
    assert done.examples.is_empty()
    assert set(done.rejected.select("rule", "evidence").rows()) == {
        ("retracted", "pubmed:1 was retracted")
    }


def test_without_articles_a_grounded_answer_still_names_a_passage() -> None:
    example = made()[0]
    example.spans = []
    done = validate(frame([example], Example))
    assert done.rejected.select("rule", "evidence").rows() == [("own words", "it names no passage")]


def test_no_examples_are_no_error() -> None:
    done = validate(frame([], Example), ARTICLES)
    assert (done.examples.height, done.rejected.height) == (0, 0)


def test_a_limit_needs_a_tokenizer() -> None:
    with pytest.raises(ValueError, match="pass the base model's `tokenizer`"):
        validate(frame(made(), Example), max_tokens=100)


def test_tokens_are_counted_as_training_counts_them(tiny_folder: Path) -> None:
    from elara.model import encode, load_tokenizer

    tokenizer = load_tokenizer(str(tiny_folder))
    found = made()
    turns = [[{"role": m.role, "content": m.content} for m in e.messages] for e in found]
    lengths = {e.id: len(encode(tokenizer, t).input_ids) for e, t in zip(found, turns, strict=True)}
    limit = sorted(lengths.values())[len(lengths) // 2]  # exactly the length of one of them
    done = validate(frame(found, Example), ARTICLES, tokenizer=tokenizer, max_tokens=limit)
    assert set(done.examples["id"]) == {i for i, n in lengths.items() if n <= limit}
    said = dict(done.rejected.select("id", "evidence").rows())
    assert said == {i: f"{n} tokens, at most {limit}" for i, n in lengths.items() if n > limit}
    assert said


def test_validators_have_names_of_their_own_and_say_what_they_refuse() -> None:
    assert len({validator.name for validator in VALIDATORS}) == len(VALIDATORS) == 9
    assert all(len(validator.refuses) > 20 for validator in VALIDATORS)


def test_filters_are_counted() -> None:
    skipped = pl.DataFrame({"article_id": ["a", "b"], "reason": ["retracted", "retracted"]})
    refused = pl.DataFrame({"id": ["x"], "rule": ["harm"]})
    nothing = pl.DataFrame(schema={"id": pl.String, "rule": pl.String})
    found = taken(articles=skipped, validators=refused, repeats=nothing)
    assert found.rows() == [("articles", "retracted", 2), ("validators", "harm", 1)]


def test_two_spans_are_joined_by_a_blank() -> None:
    example = made()[0]
    example.spans = [Span(2, "pubmed:1", "abstract", 0, 5), Span(2, "pubmed:1", "abstract", 5, 15)]
    example.messages = [*example.messages[:2], Message("assistant", "Iron   deficiency")]
    text = ARTICLE.abstract
    example.messages[2].content = f"{text[0:5]} {text[5:15]}"
    assert rules(example) == []
