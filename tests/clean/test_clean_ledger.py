"""The ledger: protected terms survive, and a rule that loses one is caught and named."""

from __future__ import annotations

import gzip
from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elara.clean import PROTECTED, LostTerms, Rule, clean, compare, removing, terms
from elara.clean.repair import repaired
from elara.records import Article, frame

NONE = pl.DataFrame(schema={"key": pl.Int64, "text": pl.String})


def one(text: str) -> pl.DataFrame:
    return pl.DataFrame({"key": [0], "text": [text]})


def found(text: str) -> set[tuple[str, str]]:
    return set(terms(one(text)).select("kind", "term").iter_rows())


@pytest.mark.parametrize("kind", PROTECTED, ids=lambda p: p.kind)
def test_each_kind_finds_its_example(kind: object) -> None:
    assert kind.kind in {k for k, _ in found(f"It was {kind.example} there")}  # type: ignore[attr-defined]


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
        ("given i.v. twice", "dotted", "i.v."),
        ("S. aureus grew", "species", "S. aureus"),
        ("without fever", "negation", "without"),
        ("effect −0.7", "negative_number", "−0.7"),
    ],
)
def test_terms(text: str, kind: str, term: str) -> None:
    assert (kind, term) in found(text)


def test_damaged_and_repaired_terms_are_one() -> None:
    damaged = "5 Âµg, p &amp;lt; 0.05, <i>S. aureus</i>, 10<sup>9</sup>"
    assert compare(one(damaged), NONE, one("5 µg, p < 0.05, S. aureus, 10⁹")).is_empty()


def test_a_term_may_go_with_the_passage_that_held_it() -> None:
    before, after = one("5 mg daily. Then 5 mg more."), one("Then 5 mg more.")
    assert compare(before, one("5 mg daily."), after).is_empty()
    lost = compare(before, NONE, after)
    assert lost.select("kind", "term", "before", "after").rows() == [("quantity", "5 mg", 2, 1)]


def article(text: str, number: int = 1) -> Article:
    return Article(id=f"s:{number}", source="s", title="T", abstract=text)


BROKEN = {
    "all_brackets": (r"<[^>]*>", "Age p<0.05 and >3 years old"),
    "ascii_only": (r"[^\x00-\x7f]", "5 µg of β-blocker"),
    "no_dots": (r"\.", "S. aureus"),
    "stop_words": (r"(?i)\b(?:the|no|not)\b ?", "There was no fever"),
    "no_hyphens": (r"-", "IL-6 rose"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_cleaner_is_caught(name: str) -> None:
    pattern, text = BROKEN[name]
    broken = Rule(name, "Why.", "", "", lambda t: t.str.replace_all(pattern, ""))
    with pytest.raises(LostTerms, match=f"rule '{name}' loses the .* of article s:1"):
        clean(frame([article(text)], Article), rules=[broken])


def test_refused_changes_are_listed_and_leave_the_text_alone() -> None:
    broken = Rule("broken", "Why.", "", "", lambda t: t.str.replace_all("<[^>]*>", ""))
    table = frame([article("p<0.05 and >3 mg"), article("a <x> b", 2)], Article)
    result = clean(table, rules=[broken], stop_on_lost_term=False)
    assert result.articles["abstract"].to_list() == ["p<0.05 and >3 mg", "a  b"]
    assert result.lost["id"].unique().to_list() == ["s:1"]
    assert result.lost["rule"].unique().to_list() == ["broken"]
    assert {"<0.05", "p<0.05"} <= set(result.lost["term"])


def test_a_removing_rule_must_name_what_it_removes() -> None:
    pattern = r" Dose: 5 mg\."
    table = frame([article("Fever fell. Dose: 5 mg.")], Article)
    honest = removing("dose", "Why.", "", "", pattern)
    result = clean(table, rules=[honest])
    assert result.removed.select("rule", "text").rows() == [("dose", " Dose: 5 mg.")]
    silent = Rule("dose", "Why.", "", "", honest.apply)
    with pytest.raises(LostTerms, match="'5 mg'"):
        clean(table, rules=[silent])


TERMS = ["5 mg/dL", "p<0.05", ">3", "≥ 90", "10⁹/L", "S. aureus", "β", "IL-6", "not", "± 2", "i.v."]
NOISE = ["<p>", "</p>", "<br/>", "<i>", "</i>", "&amp;lt;", "&nbsp;", "Âµg", "\u00ad", "\n", "\t",
         "  ", "\u00a0", "hyper-\ntension", "ﬁ", "word", "The end.", "© 2020 The Authors.",
         "(https://x.org/a)", "&", "<", ">", "<sup>2</sup>", "E-mail: a@example.org", "Ã",
         "é"]  # fmt: skip
MESSY = st.lists(st.sampled_from(TERMS + NOISE), max_size=14).map(" ".join)
GLUED = st.lists(st.sampled_from(NOISE), max_size=12).map("".join)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(MESSY, GLUED, st.text(max_size=60)), min_size=1, max_size=6))
def test_cleaning_twice_is_cleaning_once(texts: list[str]) -> None:
    table = frame([article(t, i) for i, t in enumerate(texts)], Article)
    once = clean(table, boilerplate_repeats=2, stop_on_lost_term=False)
    again = clean(once.articles.drop("phi"), boilerplate_repeats=2, stop_on_lost_term=False)
    assert again.changes.is_empty()
    assert again.articles.equals(once.articles)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(TERMS), st.sampled_from(TERMS))
def test_repair_keeps_terms_between_damage(first: str, second: str) -> None:
    text = f"<p>xÂµ {first} &amp; <i>{second}</i></p>"
    fixed = pl.DataFrame({"t": [text]}).select(repaired(pl.col("t"))).item()
    assert first in fixed
    assert second in fixed


def abstracts(folder: Path) -> list[str]:
    texts: list[str] = []
    for path in sorted(folder.rglob("*.xml*")):
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        try:
            root = ElementTree.fromstring(raw)
        except ElementTree.ParseError:
            continue
        for abstract in root.iter("Abstract"):
            parts = ["".join(p.itertext()) for p in abstract.findall("AbstractText")]
            texts.append("\n".join(parts))
        if len(texts) > 600:
            break
    return texts


def test_real_abstracts_lose_no_term_and_are_clean_after_one_pass(shared_data: Path) -> None:
    texts = abstracts(shared_data / "pubmed")
    assert len(texts) > 300
    table = frame([article(t, i) for i, t in enumerate(texts)], Article)
    once = clean(table)  # raises on a lost term
    assert once.lost.is_empty()
    assert once.protected_terms > 3000
    assert not once.changes.is_empty()
    assert clean(once.articles.drop("phi")).changes.is_empty()


def test_every_rule_can_be_applied_to_an_empty_collection() -> None:
    result = clean(frame([], Article))
    assert result.articles.is_empty()
    assert result.protected_terms == 0
