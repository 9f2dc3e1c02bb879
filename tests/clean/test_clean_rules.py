"""Each rule does what its example says, and leaves medicine alone."""

from __future__ import annotations

import polars as pl
import pytest

from elara.clean import RULES, Rule, clean
from elara.records import Article, Section, frame


def apply(rule: Rule, text: str) -> str:
    return rule.apply(text)


def rule(name: str) -> Rule:
    return next(r for r in RULES if r.name == name)


@pytest.mark.parametrize("each", RULES, ids=lambda r: r.name)
def test_example(each: Rule) -> None:
    assert apply(each, each.before) == each.after
    assert each.why.endswith(".")


def test_names_are_unique() -> None:
    assert len({r.name for r in RULES}) == len(RULES)


@pytest.mark.parametrize(
    "text",
    [
        "p<0.05 and >3",
        "a <b and c> d, n<i, x>5",
        "TNF-α 5 µg/mL and 5 μg/mL, 10⁹/L, H₂O, ½ dose, x²",
        "Å, ‘quoted’ “twice” 5′-end – and — dashes",
        "R&D, AT&T, &copy without end",
        "S. aureus, i.v. q.i.d., p.o.",
        "(c) vomiting and (d) fever occurred in 12 patients.",
        "Lipitor© 20 mg lowered LDL.",
        "Copyright law protects images of patients.",
        "The registry is at https://example.org/registry and open to all.",
        "IL-\n6 rose",
        "Cyfra 21-1\nnon-small cell",
        "Summary-level data and abstract thought.",
        "5. Methods of control failed",
        "Abstract reasoning fell in 3.2. Results",
    ],
)
def test_text_that_no_rule_may_touch(text: str) -> None:
    for each in RULES:
        assert apply(each, text) == text, each.name


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Âµg/kg, Î²-blocker, patientâ€™s, â‰¥ 90", "µg/kg, β-blocker, patient’s, ≥ 90"),
        ("plus ou moins ã©levã© caf\u0065\u0301", None),
        ("ﬂuid ＞ ５ mg", "fluid > 5 mg"),
    ],
)
def test_encoding(before: str, after: str | None) -> None:
    fixed = apply(rule("encoding"), before)
    assert fixed == after if after else "café" in fixed


@pytest.mark.parametrize(
    "tail",
    [
        "© 2019 The Authors.",
        "©2018 AACR.",
        "Copyright © 2024 Elara Press. All rights reserved. correspondence: e@example.org",
        "Published by Elsevier Inc.",
        "(c) 2021 APA, all rights reserved).",
        "This article is protected by copyright. All rights reserved.",
    ],
)
def test_copyright_tails(tail: str) -> None:
    text = f"Mortality fell to 5%. {tail}"
    assert apply(rule("copyright_tail"), text) == "Mortality fell to 5%."
    removes = rule("copyright_tail").removes
    assert removes is not None
    assert [t.strip() for t in removes(text)] == [tail]


def test_a_tail_far_from_the_end_is_no_tail() -> None:
    text = "© 2019 The Authors. " + "The patients were followed for a year. " * 12
    assert apply(rule("copyright_tail"), text) == text


def test_superscripts_with_letters_and_lists() -> None:
    text = "10<SUP>-9</SUP> Ca<sup>2+</sup> pain.<sup>1,2</sup> B<sub>max</sub>"
    assert apply(rule("superscripts"), text) == "10⁻⁹ Ca²⁺ pain.¹,² Bmax"


BOILERPLATE = "Further research is needed in this important field."


def articles(*texts: str, kind: str = "text") -> pl.DataFrame:
    rows = [
        Article(id=f"s:{i}", source="s", title=f"T{i}", body=[Section("H", t, kind)])  # type: ignore[arg-type]
        for i, t in enumerate(texts)
    ]
    return frame(rows, Article)


def bodies(table: pl.DataFrame) -> list[str]:
    return [row[0]["text"] for row in table["body"].to_list()]


def test_boilerplate_goes_from_the_number_of_articles_that_is_asked_for() -> None:
    table = articles(*(f"Finding number {i} is new. {BOILERPLATE}" for i in range(5)))
    assert bodies(clean(table, boilerplate_repeats=5).articles) == [
        f"Finding number {i} is new." for i in range(5)
    ]
    assert clean(table, boilerplate_repeats=6).changes.is_empty()


def test_boilerplate_counts_articles_not_occurrences() -> None:
    table = articles(f"{BOILERPLATE} Then x. " * 1 + BOILERPLATE, "Y is new.")
    assert clean(table, boilerplate_repeats=2).changes.is_empty()


@pytest.mark.parametrize(
    "sentence",
    [
        "No serious adverse events were reported here.",
        "All of the patients received 5 mg daily.",
        "The strain of S. aureus was sensitive to it.",
        "Too short this one.",
    ],
)
def test_protected_sentences_are_never_boilerplate(sentence: str) -> None:
    table = articles(*(f"Finding {'abcdefg'[i]} is new. {sentence}" for i in range(6)))
    assert clean(table).changes.is_empty()


def test_answers_keep_what_they_share() -> None:
    table = articles(*([BOILERPLATE] * 6), kind="answer")
    assert bodies(clean(table).articles) == [BOILERPLATE] * 6


def test_boilerplate_below_two_is_an_error() -> None:
    with pytest.raises(ValueError, match="boilerplate_repeats is 1"):
        clean(articles("x"), boilerplate_repeats=1)


def test_cells_of_a_table_do_not_run_together() -> None:
    assert apply(rule("html_tags"), "<td>5</td><td>6</td>").split() == ["5", "6"]


PARAGRAPH = "Patients were asked at home by a nurse whether they had slept well. " * 4


def test_a_paragraph_stays_where_it_stands_first() -> None:
    table = articles(f"One.\n{PARAGRAPH}", f"Two.\n{PARAGRAPH}", f"Three.\n{PARAGRAPH}")
    result = clean(table, boilerplate_repeats=9)
    assert bodies(result.articles) == [f"One.\n{PARAGRAPH.strip()}", "Two.", "Three."]
    assert result.removed.select("rule", "id").rows() == [
        ("shared_paragraphs", "s:1"),
        ("shared_paragraphs", "s:2"),
    ]


def test_a_paragraph_may_keep_its_findings_since_it_stands_elsewhere() -> None:
    dose = PARAGRAPH + "They took 5 mg/kg, p<0.05."
    assert bodies(clean(articles(f"One.\n{dose}", f"Two.\n{dose}")).articles)[1] == "Two."


def test_a_paragraph_is_repeated_in_an_article_from_forty_characters_on() -> None:
    line = "Aspirin was given to all of the patients."
    result = clean(articles(f"{line}\nX.\nX.\n{line.upper()}"))
    assert bodies(result.articles) == [f"{line}\nX.\nX."]
    assert result.removed["rule"].to_list() == ["repeated_paragraphs"]


def test_a_paragraph_whose_keeper_is_dropped_stays_in_the_next() -> None:
    table = articles(f"Mrs. Moyo slept.\n{PARAGRAPH}", f"Two.\n{PARAGRAPH}")
    result = clean(table, boilerplate_repeats=9, keep_phi=False)
    assert result.dropped.rows() == [("s:0", "may_identify_a_patient")]
    assert bodies(result.articles) == [f"Two.\n{PARAGRAPH.strip()}"]
