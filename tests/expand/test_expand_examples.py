"""Recipes quote articles, gates refuse, repeats go, and whole topics are held out."""

from __future__ import annotations

from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elara.audit.tracing import text_sha256
from elara.expand import (
    curated_examples,
    grounded_examples,
    outlook,
    read_cases,
    split_by_topic,
    topic_clusters,
    validate,
    without_repeats,
)
from elara.expand.cases import SecondAnswer
from elara.expand.recipes import quoted
from elara.model import SYSTEM_PROMPT
from elara.records import Article, Example, Message, Section, frame, records

AGREED = SecondAnswer(status="agreed")

WORDS = (
    "Iron deficiency is the commonest cause of anaemia in adults, found by a low ferritin value. "
    "Treatment replaces the iron, and the source of the bleeding is looked for in every patient."
)


def article(n: int = 1, **fields: object) -> Article:
    base: dict[str, object] = {
        "title": f"Title {n}.",
        "language": "en",
        "redistributable": True,
        "licence": "CC0-1.0",
    }
    return Article(id=f"pubmed:{n}", source="pubmed", **(base | fields))  # type: ignore[arg-type]


def example(n: int, answer: str, question: str = "", source: str = "") -> Example:
    return Example(
        id=f"x:{n}/key_points/0",
        messages=[
            Message("system", "s"),
            Message("user", question or f"Question {n}?"),
            Message("assistant", answer),
        ],
        specialty="General",
        origin="grounded",
        recipe="key_points",
        article_ids=[source or f"x:{n}"],
        licence="CC0-1.0",
        redistributable=True,
    )


def pairs(*articles: Article, **options: object) -> list[tuple[str, str, str]]:
    made = grounded_examples(frame(articles, Article), "system", **options)  # type: ignore[arg-type]
    found = records(made.examples, Example)
    by_id = {a.id: a for a in articles}
    for one in found:  # each answer is the text of its spans, and at most a caution
        last = [s for s in one.spans if s.turn == len(one.messages) - 1]
        answer = quoted(by_id[one.article_ids[0]], [(s.part, s.start, s.end) for s in last])
        said = one.messages[-1].content
        assert said == answer or said.removeprefix(answer).startswith("\n\nThis is educational")
        assert one.article_sha256 == text_sha256(by_id[one.article_ids[0]])
    return [(e.recipe, e.messages[-2].content, e.messages[-1].content) for e in found]


def refused(*articles: Article) -> list[tuple[str, str]]:
    return grounded_examples(frame(articles, Article), "s").rejected.select("recipe", "rule").rows()


def test_a_structured_abstract_gives_its_conclusion_and_its_points() -> None:
    abstract = f"OBJECTIVE: To look.\nMETHODS: Some way of looking.\nRESULTS: {WORDS}"
    found = {
        recipe: (q, a)
        for recipe, q, a in pairs(article(abstract=f"{abstract}\nCONCLUSIONS: {WORDS}"))
    }
    question, answer = found["conclusion"]
    assert '"Title 1"' in question
    assert WORDS in question
    assert answer == WORDS
    assert found["key_points"][1] == f"{WORDS} {WORDS}"


@pytest.mark.parametrize(
    "claim",
    [
        "It fell in 12 patients",  # a number
        "Ceftriaxone may replace the iron",  # a drug
        "Xylotrophin is the source of the bleeding",  # a technical term
        "There is no bleeding",  # a negation
        "The risk of bleeding is higher",  # a direction
    ],
)
def test_a_conclusion_that_the_findings_do_not_show_is_refused(claim: str) -> None:
    abstract = f"RESULTS: {WORDS}\nCONCLUSIONS: {claim}, and {WORDS[0].lower()}{WORDS[1:]}"
    assert refused(article(abstract=abstract)) == [("conclusion", "not shown in the findings")]


def test_a_plain_abstract_is_its_own_answer() -> None:
    ((recipe, question, answer),) = pairs(article(abstract=WORDS, title="Iron deficiency."))
    assert (recipe, answer) == ("key_points", WORDS)
    assert "iron deficiency" in question


def test_questions_take_their_best_answer_and_follow_each_other() -> None:
    body = [
        Section("Why?", "Because I ask.", "question"),
        Section("A", f"Best. {WORDS}", "answer"),
        Section("B", f"Second. {WORDS}", "answer"),
        Section("", "what is (are) Anaemia ?", "question"),
        Section("C", f"Anaemia. {WORDS}", "answer"),
    ]
    made = grounded_examples(frame([article(body=body)], Article), "system").examples
    first, second = records(made, Example)
    assert [m.content for m in first.messages[1:]] == ["Why?\n\nBecause I ask.", f"Best. {WORDS}"]
    assert [m.role for m in second.messages] == ["system", *["user", "assistant"] * 2]
    assert second.messages[1:3] == first.messages[1:]
    assert second.messages[3].content == "What is Anaemia?"
    assert [span.turn for span in second.spans] == [2, 4]


def test_sections_are_explained_under_their_heading() -> None:
    body = [Section("2.1. Signs", WORDS), Section("", WORDS + " More is known.")]
    questions = [q for _, q, _ in pairs(article(body=body, title="Anaemia"))]
    assert questions[0] in (
        "What are the symptoms and signs of anaemia?",
        "How does anaemia present?",
    )
    assert "anaemia" in questions[1]
    assert "Signs" not in questions[1]


@pytest.mark.parametrize(
    ("heading", "text", "rule"),
    [
        ("Materials and methods", WORDS, "not content"),
        ("2. Statistical analysis", WORDS, "not content"),
        ("Acknowledgements", WORDS, "not content"),
        ("Ethics approval", WORDS, "not content"),
        ("Signs", f"{WORDS} See Table 2.", "points elsewhere"),
        ("Signs", f"{WORDS} The curve is shown in Fig. 3.", "points elsewhere"),
        ("Signs", f"We think so. {WORDS}", "speaks of itself"),
        ("Signs", f"{WORDS} This study was small.", "speaks of itself"),
        ("Signs", "Pallor is the first sign of anaemia.", "short answer"),
        (
            "Signs",
            "\n".join(["- pallor of the skin, of the nails and of the eyes"] * 4),
            "bare list",
        ),
    ],
)
def test_a_gate_refuses_and_says_so(heading: str, text: str, rule: str) -> None:
    filler = Section("", WORDS)
    assert refused(article(body=[Section(heading, text), filler])) == [("explain", rule)]


def test_a_list_of_sentences_is_an_answer() -> None:
    text = "\n".join(f"- {sentence}." for sentence in WORDS.rstrip(".").split(". "))
    assert len(pairs(article(body=[Section("Signs", text)]))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "Sharks swim all day and rest at night near the reef, where the water is warm and calm. "
        * 2,
        "The router wraps each packet in layers, one for every node that passes it on to another. ",
    ],
)
def test_what_is_not_medicine_gives_nothing(text: str) -> None:
    made = grounded_examples(frame([article(abstract=text * 2, title="Layers")], Article), "s")
    assert made.skipped.rows() == [("pubmed:1", "not about medicine")]


@pytest.mark.parametrize(
    ("text", "cautioned"),
    [
        (f"{WORDS} Ferrous sulfate is taken once a day.", True),
        (f"{WORDS} Give 5 mg.", True),
        (WORDS, False),
    ],
)
def test_a_drug_or_a_dose_brings_one_caution(text: str, cautioned: bool) -> None:
    ((_, _, answer),) = pairs(article(abstract=text))
    assert answer.count("This is educational") == cautioned


@pytest.mark.parametrize(
    ("language", "text", "asks"),
    [
        ("es", "La anemia es una enfermedad frecuente en pacientes con sangrado crónico. ", "¿"),
        (
            "fr",
            "L'anémie est une maladie fréquente chez les patients avec un traitement. ",
            "Quels",
        ),
        (
            "pt",
            "A anemia é uma doença frequente nos pacientes com tratamento prolongado. ",
            "Quais",
        ),
        (
            "sw",
            "Ugonjwa wa malaria una dalili nyingi na matibabu ya haraka huokoa afya yake. ",
            "Ni",
        ),
    ],
)
def test_a_question_speaks_the_language_of_its_answer(language: str, text: str, asks: str) -> None:
    title = "Un título más largo que un tema breve"
    one = article(abstract=(text * 3).strip(), language=language, title=title)
    made = grounded_examples(frame([one], Article), "s")
    (found,) = records(made.examples, Example)
    assert found.language == language
    assert found.messages[1].content.startswith(asks)
    english = grounded_examples(frame([one], Article), "s", languages=["en"])
    assert english.skipped["reason"].to_list() == [f"language {language} is not among `languages`"]


def test_languages_without_questions_are_named() -> None:
    with pytest.raises(ValueError, match=r"'de' is unknown\. There are questions in en, es"):
        grounded_examples(frame([], Article), "s", languages=["en", "de"])
    with pytest.raises(ValueError, match="it is empty"):
        grounded_examples(frame([], Article), "s", languages=[])


def test_the_seed_chooses_the_phrasing() -> None:
    one = article(abstract=WORDS)
    asked = {pairs(one, seed=seed)[0][1] for seed in range(20)}
    assert len(asked) == 3
    assert pairs(one, seed=1) == pairs(one, seed=1)


def test_nothing_is_made_of_a_translation() -> None:
    assert pairs(article(body=[Section("Abstract (fr)", WORDS, "translation")])) == []


def test_long_answers_end_with_a_whole_sentence() -> None:
    (found,) = pairs(article(abstract=" ".join([WORDS] * 40)), max_answer_words=50)
    assert found[2].endswith((" patient.", " value."))
    assert len(found[2].split()) <= 50


def test_every_article_without_example_is_named() -> None:
    medical = "Anaemia in patients"
    rows = [
        article(1, title=medical),
        article(2, abstract=WORDS, redistributable=False, licence="CC-BY-NC-4.0"),
        article(3, abstract=WORDS, retracted=True),
    ]
    made = grounded_examples(frame(rows, Article), "system")
    assert made.skipped.rows() == [
        ("pubmed:1", "no passage answers a question"),
        ("pubmed:2", "licence CC-BY-NC-4.0 does not allow redistribution"),
        ("pubmed:3", "retracted"),
    ]
    assert made.examples.is_empty()


def test_private_training_may_use_any_licence() -> None:
    closed = article(abstract=WORDS, redistributable=False, licence="unknown")
    assert not pairs(closed)
    assert len(pairs(closed, licences="any")) == 1
    with pytest.raises(ValueError, match="use `redistributable` or `any`"):
        pairs(closed, licences="all")


def test_text_that_its_owner_marked_private_may_be_trained_on() -> None:
    own = article(abstract=WORDS, redistributable=False, licence="private")
    made = grounded_examples(frame([own], Article), "system")
    assert made.examples.select("licence", "redistributable").rows() == [("private", False)]


def test_a_run_says_what_training_will_see() -> None:
    curated = curated_examples("system")
    some = grounded_examples(frame([article(abstract=WORDS)], Article), "system")
    assert outlook(curated, some) == (
        f"Training can draw on the {curated.height} curated cases and on 1 examples built from 1 "
        "articles."
    )
    closed = [article(n, abstract=WORDS, redistributable=False, licence="unknown") for n in (1, 2)]
    said = outlook(curated, grounded_examples(frame([*closed, article(3)], Article), "system"))
    count = curated.height
    assert said.startswith(f"Training will see only the {count} curated cases: none of the 3 art")
    assert "\n  2 × licence unknown does not allow redistribution\n" in said
    assert "`-p licences=any`" in said


def test_a_run_without_examples_says_which_filter_took_how_many() -> None:
    curated = curated_examples(SYSTEM_PROMPT)
    talking = article(1, abstract=f"We say so. {WORDS}")
    grounded = grounded_examples(frame([talking, article(2, abstract=WORDS)], Article), "other")
    checked = validate(pl.concat([curated, grounded.examples]))
    said = outlook(curated, grounded, checked).splitlines()
    assert said[0].startswith(f"Training will see only the {curated.height} curated cases")
    assert "  1 × speaks of itself (gate)" in said
    assert "  1 × no passage answers a question" in said
    assert "  1 × disclaimer (validator)" in said


@given(st.lists(st.sampled_from([WORDS, "Pain.  " * 9, "No end at all"]), min_size=1, max_size=30))
def test_an_answer_is_always_a_passage_of_the_article(sentences: list[str]) -> None:
    text = " ".join(sentences)
    for _, _, answer in pairs(article(abstract=text)):
        assert answer in text
        assert len(answer.split()) <= 160


def test_repeated_questions_and_answers_go() -> None:
    rows = [
        example(1, "Same  answer."),
        example(2, "same answer."),
        example(3, "Other.", "Question 1?"),
    ]
    found = without_repeats(frame(rows, Example))
    assert found.examples["id"].to_list() == ["x:1/key_points/0"]
    assert found.dropped.select("id", "rule").rows() == [
        ("x:2/key_points/0", "equal answer"),
        ("x:3/key_points/0", "equal question"),
    ]


def test_answers_alike_go_unless_they_differ_in_what_matters() -> None:
    long = f"{WORDS} {WORDS.replace('Iron', 'Folate')}"
    rows = [
        example(1, f"{long} Give aspirin 75 mg."),
        example(2, f"{long} Please give aspirin 75 mg."),
        example(3, f"{long} Give aspirin 300 mg."),
        example(4, f"{long} Do not give aspirin 75 mg."),
        example(5, f"{long} Give clopidogrel 75 mg."),
        example(6, "Give aspirin at once."),
        example(7, "Do not give aspirin."),
    ]
    found = without_repeats(frame(rows, Example))
    assert found.dropped.select("id", "rule", "repeats").rows() == [
        ("x:2/key_points/0", "answer alike", "x:1/key_points/0")
    ]
    assert found.alike.height == 4  # of 1, 3, 4 and 5
    articles = frame([article(n, title=f"{'abcdefghi'[n] * 5}") for n in range(1, 8)], Article)
    for row in rows:
        row.article_ids = [f"pubmed:{row.id[2]}"]
    clusters, _ = topic_clusters(articles, frame(rows, Example), [], found.alike)
    assert len({clusters[f"pubmed:{n}"] for n in (1, 3, 4, 5)}) == 1


@given(st.integers(3, 60), st.integers(0, 5), st.floats(0.05, 0.6), st.floats(0, 0.3))
def test_no_source_stands_in_two_splits(n: int, seed: int, test: float, validation: float) -> None:
    rows = [example(i, f"Answer {i}.", source=f"x:{i // 2}") for i in range(2 * n)]
    table = split_by_topic(
        frame(rows, Example), {}, test_share=test, validation_share=validation, seed=seed
    )
    assert table["id"].to_list() == [r.id for r in rows]
    per_source = table.group_by(pl.col("article_ids").list.first()).agg(pl.col("split").n_unique())
    assert per_source["split"].to_list() == [1] * n
    assert table.filter(split="test").height >= 2 * n * test - 1e-9


def test_articles_on_one_topic_stay_together() -> None:
    titles = [
        "Tuberculosis",
        "Tuberculosis in South African clinics: testing early when HIV is common.",
        "Iron-Deficiency Anemia",
        "Iron deficiency anaemia in adults: confirm it, find the source.",
        "Severe aortic stenosis: grading and when to replace the valve.",
        "Gout",
    ]
    titles += [
        f"{w} of the {v}" for w in ("Fracture", "Injury") for v in ("wrist", "ankle", "spine")
    ]
    articles = frame([article(n, title=title) for n, title in enumerate(titles)], Article)
    rows = frame([example(n, f"A {n}.", source=f"pubmed:{n}") for n in range(len(titles))], Example)
    clusters, links = topic_clusters(articles, rows)
    assert clusters["pubmed:0"] == clusters["pubmed:1"]
    assert clusters["pubmed:2"] == clusters["pubmed:3"]
    assert len({clusters[f"pubmed:{n}"] for n in (0, 2, 4, 5)}) == 4
    assert links.filter("kept").height >= 2
    for seed in range(9):
        splits = split_by_topic(rows, clusters, test_share=0.3, seed=seed)["split"].to_list()
        assert splits[0] == splits[1]
        assert splits[2] == splits[3]


def test_no_topic_grows_beyond_its_share() -> None:
    articles = frame(
        [article(n, title=f"Asthma {'abcdefghij'[n % 10] * 4}") for n in range(80)], Article
    )
    rows = frame([example(n, f"A {n}.", source=f"pubmed:{n}") for n in range(80)], Example)
    clusters, links = topic_clusters(articles, rows)
    assert max(Counter(clusters.values()).values()) <= 8
    assert len(set(clusters.values())) == 10
    assert links["kept"].all()


def test_a_topic_with_a_curated_case_trains() -> None:
    case = next(case for case in read_cases() if case.specialty == "Cardiology")
    articles = frame([article(n, title=f"{'abcdefghi'[n] * 5}") for n in range(8)], Article)
    articles = pl.concat([articles, frame([article(9, title=case.title)], Article)])
    rows = frame([example(n, f"A {n}.", source=f"pubmed:{n}") for n in (*range(8), 9)], Example)
    curated = curated_examples("s", [case.model_copy(update={"second_answer": AGREED})])
    clusters, _ = topic_clusters(articles, rows, [case])
    assert clusters["pubmed:9"] == clusters[case.id]
    for seed in range(9):
        table = split_by_topic(pl.concat([curated, rows]), clusters, test_share=0.6, seed=seed)
        assert table.filter(pl.col("id").str.starts_with("x:9/"))["split"].to_list() == ["train"]


def test_curated_cases_always_train() -> None:
    rows = pl.concat(
        [curated_examples("s"), frame([example(i, f"A {i}.") for i in range(9)], Example)]
    )
    table = split_by_topic(rows, {}, test_share=0.5)
    assert set(table.filter(origin="curated")["split"]) == {"train"}


def test_too_few_sources_and_wrong_shares_are_errors() -> None:
    rows = frame([example(i, f"A {i}.") for i in range(2)], Example)
    with pytest.raises(ValueError, match="2 topics are too few"):
        split_by_topic(rows, {})
    with pytest.raises(ValueError, match="must be positive"):
        split_by_topic(rows, {}, test_share=0.9, validation_share=0.2)
