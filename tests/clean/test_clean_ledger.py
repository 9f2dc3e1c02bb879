"""The ledger: protected terms survive, and a rule that loses one is caught and named."""

from __future__ import annotations

import re

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_text import clean_text

from elara.clean import (
    PROTECTED,
    RULES,
    Protected,
    Rule,
    clean,
    count_terms,
    lost,
    removing,
    terms,
)
from elara.clean.ledger import _cut_out, _rarer, findings
from elara.records import Article, frame


@pytest.mark.parametrize("kind", PROTECTED, ids=lambda p: p.kind)
def test_each_kind_finds_its_example(kind: Protected) -> None:
    text = f"It was {kind.example} there"
    assert kind.kind in {k for k, _ in terms(text)}
    assert count_terms(pl.Series([text])) > 0


@pytest.mark.parametrize(
    ("text", "kind", "term"),
    [
        ("dose 0.5 µg/kg/min given", "quantity", "0.5 µg/kg/min"),
        ("glucose 126 mg/dL.", "quantity", "126 mg/dL"),
        ("potassium 5.5 mmol/L", "quantity", "5.5 mmol/L"),
        ("platelets 4.5 ×10⁹/L", "power_of_ten", "4.5 ×10⁹/L"),
        ("age ≥ 65", "comparison", "≥ 65"),
        ("(p<0.001)", "p_value", "p<0.001"),
        ("mean ± 2.1", "plus_minus", "± 2.1"),
        ("2-20 days", "range", "2-20"),
        ("TNF-α", "greek", "α"),
        ("CYP2D6 and IL-6", "name_with_digits", "IL-6"),
        ("1,25-dihydroxyvitamin D", "name_with_digits", "1,25-dihydroxyvitamin"),
        ("BRCA mutated", "acronym", "BRCA"),
        ("given i.v. twice", "dotted", "i.v."),
        ("S. aureus grew", "species", "S. aureus"),
        ("without fever", "negation", "without"),
        ("effect −0.7", "negative_number", "−0.7"),
    ],
)
def test_terms(text: str, kind: str, term: str) -> None:
    assert (kind, term) in terms(text)


def test_damaged_and_repaired_terms_are_one() -> None:
    damaged = "5 Âµg, p &amp;lt; 0.05, <i>S. aureus</i>, 10<sup>9</sup>, â‰¥ 2, hypo\u00adtension"
    assert lost(damaged, "5 µg, p < 0.05, S. aureus, 10⁹, ≥ 2, hypotension") == []


def test_an_unknown_name_in_brackets_is_a_term_and_no_tag() -> None:
    assert [x.term for x in lost("low <CRP> and <i>fever</i>", "low  and fever")] == ["CRP"]


def test_a_term_may_go_with_the_passage_that_held_it() -> None:
    before, after = "5 mg daily. Then 5 mg more.", " Then 5 mg more."
    assert lost(before, after, ["5 mg daily."]) == []
    rarer = {(x.kind, x.term, x.before, x.after) for x in lost(before, after)}
    assert ("quantity", "5 mg", 2, 1) in rarer


def test_a_passage_that_ends_inside_a_word_is_a_loss() -> None:
    assert lost("Summary-level data", "level data", ["Summary-"])


@pytest.mark.parametrize("kind", PROTECTED, ids=lambda p: p.kind)
def test_a_legal_line_may_hold_no_term_of_the_full_list(kind: Protected) -> None:
    assert kind.kind in {x.kind for x in findings(f"© 2020 Elsevier. It was {kind.example} there")}
    assert not findings("© 2020 U.S. Society. No commercial use without permission.")


@pytest.mark.parametrize(
    ("before", "after", "gone"),
    [
        ("screen-dete-\ncted", "screen-detected", []),
        ("screen-dete-\ncted", "screen-dete-cted", []),
        ("beta-\nblocker", "beta-blocker", []),
        ("pre-\nand post", "pre- and post", []),
        ("5-\n10 mg", "510 mg", ["range", "number", "number"]),
        ("IL-\n6", "IL6", ["acronym"]),
        ("non-\nsmall", "nonsmall", ["negation"]),
        ("not-\nand", "notand", ["negation"]),
        ("BRCA-\npositive", "BRCApositive", ["acronym"]),
    ],
)
def test_the_ledger_knows_what_a_line_end_split(before: str, after: str, gone: list[str]) -> None:
    losses = {x.kind for x in lost(f"It was {before} there.", f"It was {after} there.")}
    assert set(gone) <= losses
    assert bool(gone) == bool(losses)


def article(text: str, number: int = 1) -> Article:
    return Article(id=f"s:{number}", source="s", title="T", abstract=text)


# For each kind a rule that loses it and one that alters it; none of them knows the ledger.
HARMFUL = {
    "quantity": [(r" ?m?g/dL", ""), ("mg/dL", "g/L")],
    "power_of_ten": [("⁹", ""), ("10⁹", "109")],
    "comparison": [("≥ ", ""), ("≥", ">")],
    "plus_minus": [("± ?", ""), ("±", "+/-")],
    "range": [(r"(\d+)-\d+ days", r"\1 days"), (r"(\d)-(\d)", r"\1\2")],
    "p_value": [(r"<[^>]*>", ""), (r"p<", "p=")],
    "negative_number": [("−", ""), ("−", "- ")],
    "number": [(r"1,234", ""), (r"(\d),(\d)", r"\1\2")],
    "greek": [(r"[^\x00-\x7f]", ""), ("α", "alpha")],
    "raised_sign": [("₂", ""), ("H₂O", "H2O")],
    "name_with_digits": [("IL-6", ""), (r"IL-(\d)", r"IL \1")],
    "acronym": [("BRCA ", ""), ("BRCA", "brca")],
    "hyphenated": [("beta-blocker", ""), ("beta-blocker", "betablocker")],
    "dotted": [(r"i\.v\. ", ""), (r"\.v\.", "v")],
    "species": [("S. aureus", ""), ("S. aureus", "S. epidermidis")],
    "negation": [(r"\b(?:no|not) ", ""), ("without", "with")],
}
STUDY = (
    "Glucose was 126 mg/dL and platelets 4.5 ×10⁹/L at ≥ 65 years, mean ± 2.1 over 2-20 days "
    "(p<0.05 and >3), effect −0.7 in 1,234 BRCA carriers; TNF-α, H₂O and IL-6 fell on a "
    "beta-blocker given i.v. against S. aureus without harm, not rash."
)


def test_every_kind_has_a_harmful_rule() -> None:
    assert HARMFUL.keys() == {p.kind for p in PROTECTED}


@pytest.mark.parametrize(
    ("kind", "pattern", "instead"), [(k, *rule) for k, both in HARMFUL.items() for rule in both]
)
def test_a_harmful_rule_is_caught(kind: str, pattern: str, instead: str) -> None:
    broken = Rule(f"broken_{kind}", "Why.", "", "", lambda t: re.sub(pattern, instead, t))
    assert kind in {x.kind for x in lost(STUDY, broken.apply(STUDY))}
    done = clean(frame([article(STUDY)], Article), rules=[broken])
    assert done.articles["abstract"].to_list() == [STUDY]
    assert (f"broken_{kind}", "abstract", kind) in done.review.select(
        "rule", "field", "kind"
    ).rows()


def test_the_real_rules_leave_the_study_alone() -> None:
    assert clean_text(STUDY, RULES) == STUDY


def test_refused_changes_are_listed_and_leave_the_text_alone() -> None:
    broken = Rule("broken", "Why.", "", "", lambda t: re.sub("<[^>]*>", "", t))
    table = frame([article("p<0.05 and >3 mg"), article("a <x> b", 2)], Article)
    result = clean(table, rules=[broken])
    assert result.articles["abstract"].to_list() == ["p<0.05 and >3 mg", "a  b"]
    assert result.review["id"].unique().to_list() == ["s:1"]
    assert result.review["rule"].unique().to_list() == ["broken"]
    assert {"<0.05", "p<0.05"} <= set(result.review["term"])
    assert result.counts["review"] == result.review.height
    assert result.counts["lost"] == 0


def test_no_text_stops_the_others() -> None:
    def fail(text: str) -> str:
        raise RecursionError("too deep") if "deep" in text else KeyError("x")

    def swing(text: str) -> str:
        return text.replace("left", "right") if "left" in text else text.replace("right", "left")

    failing = Rule("fails", "Why.", "", "", fail, triggers=("deep",))
    swinging = Rule("swings", "Why.", "", "", swing)
    rows = [article("deep  water", 1), article("turn left  now", 2), article("quiet  text", 3)]
    done = clean(frame(rows, Article), rules=[failing, swinging, *RULES])
    assert done.articles["abstract"].to_list() == ["deep water", "turn left now", "quiet text"]
    assert {(i, r, k) for i, r, k in done.review.select("id", "rule", "kind").iter_rows()} == {
        ("s:1", "fails", "error"),
        ("s:2", "swings, white_space", "unsettled"),
    }


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_reading_what_differs_gives_the_verdict_of_reading_all(data: st.DataObject) -> None:
    words = st.sampled_from(
        [*TERMS, *NOISE, "the", "was", "given", "mm Hg", "5 to", "10", "p", "S."]
    )
    parts = data.draw(st.lists(words, min_size=4, max_size=30))
    cut, size = (data.draw(st.integers(0, len(parts))) for _ in range(2))
    other = data.draw(st.lists(words, max_size=3))
    before, after = " ".join(parts), " ".join([*parts[:cut], *other, *parts[cut + size :]])
    gone = [before[: len(before) // 3]] if data.draw(st.booleans()) else []
    whole = [] if before.split() == after.split() and not gone else _rarer(before, after, gone)
    if "-\n" not in before and not (gone and _cut_out(before, gone, after)):
        assert lost(before, after, gone) == whole


def test_a_removing_rule_must_name_what_it_removes() -> None:
    table = frame([article("Fever fell. Read on page one.")], Article)
    honest = removing("pages", "Why.", "", "", r" Read on page \w+\.")
    result = clean(table, rules=[honest])
    assert result.removed.select("rule", "text").rows() == [("pages", " Read on page one.")]
    silent = Rule("dose", "Why.", "", "", lambda t: t.replace(" Dose: 5 mg.", ""))
    done = clean(frame([article("Fever fell. Dose: 5 mg.")], Article), rules=[silent])
    assert "5 mg" in set(done.review["term"])
    # Even a passage that is named may hold no term.
    greedy = Rule("greedy", "Why.", "", "", lambda t: t[:11], lambda t: [t[11:]])
    done = clean(frame([article("Fever fell. Never stop it.")], Article), rules=[greedy])
    assert done.articles["abstract"].to_list() == ["Fever fell. Never stop it."]
    assert ("greedy", "negation", "Never") in done.review.select("rule", "kind", "term").rows()


TERMS = ["5 mg/dL", "p<0.05", ">3", "≥ 90", "10⁹/L", "S. aureus", "β", "IL-6", "not", "± 2", "i.v."]
NOISE = ["<p>", "</p>", "<br/>", "<i>", "</i>", "&amp;lt;", "&nbsp;", "Âµg", "\u00ad", "\n", "\t",
         "  ", "\u00a0", "hyper-\ntension", "ﬁ", "word", "The end.", "© 2020 The Authors.",
         "(https://x.org/a)", "&", "<", ">", "<sup>2</sup>", "E-mail: a@example.org", "Ã", "é",
         "\nGo to:\n", "Abstract: ", "Further research is needed in this field."]  # fmt: skip
MESSY = st.lists(st.sampled_from(TERMS + NOISE), max_size=14).map(" ".join)
GLUED = st.lists(st.sampled_from(NOISE), max_size=12).map("".join)


# A collection of many texts takes as long as one of few.
@settings(max_examples=12, deadline=None)
@given(st.lists(st.one_of(MESSY, GLUED, st.text(max_size=60)), min_size=6, max_size=24))
def test_cleaning_twice_is_cleaning_once(texts: list[str]) -> None:
    table = frame([article(t, i) for i, t in enumerate(texts)], Article)
    once = clean(table, boilerplate_repeats=2)
    again = clean(once.articles.drop("phi"), boilerplate_repeats=2)
    assert again.changes.is_empty()
    assert again.articles.equals(once.articles)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(TERMS), st.sampled_from(TERMS))
def test_repair_keeps_terms_between_damage(first: str, second: str) -> None:
    fixed = clean_text(f"<p>xÂµ {first} &amp; <i>{second}</i></p>", RULES)
    assert first in fixed
    assert second in fixed


def test_an_empty_collection_is_clean() -> None:
    result = clean(frame([], Article))
    assert result.articles.is_empty()
    assert result.counts["changes"] == 0
