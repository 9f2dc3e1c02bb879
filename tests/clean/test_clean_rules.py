"""Each rule does what its example says, and leaves medicine alone."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import polars as pl
import pytest
import real_texts
from hypothesis import given, settings
from hypothesis import strategies as st
from one_text import clean_text

from elara.clean import RULES, Rule, clean, clean_file
from elara.records import Article, Section, frame
from elara.text.folding import SPACES


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
        "5-\n10 mg",
        "1,2-\ndiol",
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
        ("cafÃ© and cafe\u0301", "café and café"),
        ("2 Âµg 每日（饭后）", "2 µg 每日（饭后）"),
        ("Ελλάδα: patientâ€™s", "Ελλάδα: patient’s"),
        ("l'hÃ´pital Ã  Paris, dÃ©jÃ ", "l'hôpital à Paris, déjà "),
        ("ä¸­æ–‡ 5 мг", "中文 5 мг"),
        ("ﬂuid ＞ ５ mg", "fluid > 5 mg"),
    ],
)
def test_encoding(before: str, after: str) -> None:
    assert apply(rule("encoding"), before) == after


@pytest.mark.parametrize(
    "text",
    [
        "每日两次，每次5毫克（饭后）。注意！",
        "用量：１００ｍｇ。ﾖｳﾘｮｳ",
        "カプセル（５０ｍｇ）",
        "한국어（５）",
        "ﷺ ﻻ تتناول שָׁלוֹם",
        "Ελληνικά: μg, Ω; не превышать 5 мг; İstanbul'da ığdır",
        "Thuốc uống không quá 5 mg",
        unicodedata.normalize("NFD", "Thuốc không quá, café"),
        "क़लम ẹ́ ń̩ ĳs ǆep paraŀlel",
        "5 Ω K Å ½ x² H₂O ™ № Ⅲ ㎎",
        "CAFÉ… NÃO É” «Â» DÉJÀ—VU MÃ SỐ Ñ‘x’",
    ],
)
def test_sound_letters_of_any_script_stay(text: str) -> None:
    assert clean_text(text, RULES) == text


def test_real_texts_in_many_languages_keep_every_letter(shared_data: Path) -> None:
    files = real_texts.sets(shared_data)["multilingual/tico19"]
    texts = [t for path in files for t in real_texts.texts(path)][::7]
    assert len(texts) > 1000
    assert [t for t in texts if apply(rule("encoding"), t) != t] == []


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


@settings(max_examples=150)
@given(st.text(st.sampled_from([*" \n\n\r\t", *SPACES, *"abéµ日😀\x00Â\u200b\u3001\u2027"])))
def test_blanks_of_every_kind_become_one(text: str) -> None:
    """The rule's code splits and joins; this says the same in regular expressions."""
    lines = re.sub("\r\n?|[\x0b\x0c\x85\u2028\u2029]", "\n", text)
    lines = re.sub(r" ?\n ?", "\n", re.sub(r"[^\S\n]+", " ", lines))
    assert apply(rule("white_space"), text) == re.sub(r"\n{3,}", "\n\n", lines).strip()


def test_superscripts_with_letters_and_lists() -> None:
    text = "10<SUP>-9</SUP> Ca<sup>2+</sup> pain.<sup>1,2</sup> B<sub>max</sub>"
    assert apply(rule("superscripts"), text) == "10⁻⁹ Ca²⁺ pain.¹,² Bmax"


PARAGRAPH = "Patients were asked at home by a nurse whether they had slept well. " * 4
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
        # Half sentences: the rest of each differs from article to article.
        "It was kindly approved by Prof. {name} of this place.",
        "The course was as described by Green et al. In {name} children fell ill.",
        "{name} was helped by Dr. Helen and many other people there.",
        "The signs (which all of them had. They were mild in {name}) went away.",
    ],
)
def test_protected_sentences_are_never_boilerplate(sentence: str) -> None:
    names = ("Ash", "Birch", "Cedar", "Elm", "Fir", "Oak")
    table = articles(*(f"{n} is new. {sentence.format(name=n)}" for n in names))
    assert clean(table).changes.is_empty()


def test_answers_keep_what_they_share() -> None:
    table = articles(*([BOILERPLATE] * 6), kind="answer")
    assert bodies(clean(table).articles) == [BOILERPLATE] * 6


def test_boilerplate_below_two_is_an_error() -> None:
    with pytest.raises(ValueError, match="boilerplate_repeats is 1"):
        clean(articles("x"), boilerplate_repeats=1)


def test_cells_of_a_table_do_not_run_together() -> None:
    assert apply(rule("html_tags"), "<td>5</td><td>6</td>").split() == ["5", "6"]


def test_a_paragraph_stays_where_it_stands_first() -> None:
    table = articles(f"One.\n{PARAGRAPH}", f"Two.\n{PARAGRAPH}", f"Three.\n{PARAGRAPH}")
    result = clean(table, boilerplate_repeats=9)
    assert bodies(result.articles) == [f"One.\n{PARAGRAPH.strip()}", "Two.", "Three."]
    assert result.removed.select("rule", "id").rows() == [
        ("shared_paragraphs", "s:1"),
        ("shared_paragraphs", "s:2"),
    ]


@pytest.mark.parametrize(
    "term", ["They took 5 mg/kg.", "It is not for children.", "It is long-term."]
)
def test_a_paragraph_with_a_protected_term_stays_wherever_it_stands(term: str) -> None:
    """The second leaflet of a pair needs its warnings too."""
    table = articles(f"One.\n{PARAGRAPH}{term}", f"Two.\n{PARAGRAPH}{term}")
    assert clean(table).counts["removed"] == 0


def test_an_article_says_a_paragraph_once_from_two_hundred_characters_on() -> None:
    text = PARAGRAPH.strip()
    result = clean(articles(f"{text}\n\nX.\n\nX.\n\n{text}"))
    assert bodies(result.articles) == [f"{text}\n\nX.\n\nX."]
    assert result.removed["rule"].to_list() == ["repeated_paragraphs"]
    short = "Aspirin was given to all of the patients."
    assert clean(articles(f"{short}\nX.\nX.\n{short}")).changes.is_empty()


@pytest.mark.parametrize(
    "text",
    [
        "Arm | deaths\nChildren\n{} | many\nAdults\n{} | many",
        "Children:\n- {}\n\nAdults:\n- {}",
        "1. {}\n2. {}",
        "a) {}\nb) {}",
        "• Ask.\n{}\n\n• Tell.\n{}",
        "[doctor] Well?\n[patient] {}\n[doctor] And now?\n[patient] {}",
        "Doctor: Well?\n\nPatient: {}\n\nDoctor: And now?\n\nPatient: {}",
        "Q: Who?\nA: {}\nQ: When?\nA: {}",
        "Doctor: Well?\n\n{}\n\nDoctor: And now?\n\n{}",
    ],
)
@pytest.mark.parametrize("passage", [PARAGRAPH.strip(), BOILERPLATE])
def test_rows_items_and_turns_are_never_judged_alone(text: str, passage: str) -> None:
    filled = text.format(passage, passage)
    table = articles(*(f"Case {c}.\n\n{filled}" for c in "ABCDEF"))
    done = clean(table)
    assert done.counts["removed"] == 0
    assert [b.split() for b in bodies(done.articles)] == [b.split() for b in bodies(table)]


def test_a_question_that_many_ask_stays() -> None:
    asked = "How have you been feeling since then?"
    assert clean(articles(*(f"Case {c}. {asked} Well." for c in "ABCDEF"))).counts["removed"] == 0


def test_a_paragraph_whose_keeper_is_dropped_stays_in_the_next(tmp_path: Path) -> None:
    table = articles(f"Mrs. Moyo slept.\n{PARAGRAPH}", f"Two.\n{PARAGRAPH}")
    table.write_parquet(tmp_path / "in.parquet")
    result = clean_file(tmp_path / "in.parquet", tmp_path / "out", boilerplate_repeats=9)
    assert result.dropped.rows() == [("s:0", "may_identify_a_patient")]
    assert bodies(result.articles) == [f"Two.\n{PARAGRAPH.strip()}"]
