"""What may not be removed as a copy, though nearly all of its words are the same; and what may."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import polars as pl
import pytest

from elara.inspection import near_duplicates, report, score, select
from elara.inspection.differences import difference
from elara.records import Article, Section, frame

LEAFLET = (
    "Drugone is used to treat high blood pressure. Take one 5 mg tablet by mouth each morning with "
    "a glass of water. Do not stop taking it without asking your doctor. It should never be given "
    "to children under 2 years. Tumour size fell by 0.5 cm in the left lung (p < 0.05; TNF-α 5 "
    "µg/mL). The follow-up was long – 12 months. HER2- women had 1,000 cells and 10⁵ more. Drugone "
    "was better than placebo in first-line therapy of hypertension. At 5 mM it increases the risk "
    "of Hepatitis B and S. aureus. The 2019 guideline says it can be used. We reviewed 2020 cases."
)
OTHERS = """
Drugone > Drugtwo | 5 mg > 50 mg | 5 mg > 0.5 mg | 5 mg > 5 µg | 5 mg > 5 g | 0.5 cm > 0.5 mm
0.5 cm > 05 cm | 0.5 cm > 0,5 cm | 0.5 cm > 0.5 | 5 mM > 5 mm | µg/mL > µg/L | 1,000 > 1.000
10⁵ > 105 | p < > p ≤ | by 0.5 > by -0.5 | HER2- > HER2+ | HER2- > HER2 | α > β
12 months > 12 weeks | never > always | should never be > should be
never be > be | Do not > Do | without > with
can be > cannot be | can be > can't be | hypertension > hypotension | left > right | lung > liver
children > adults | women > men | 2 years > 12 years | first-line > second-line | 2019 > 2020
2020 cases > 2021 cases | increases > decreases | better > worse | each morning > each evening
each morning > each morning and evening | each morning > each week | one 5 mg > two 5 mg
is used to > is only used to | be used. > be used unless ill. | Drugone was > Drugone plus drugx was
Drugone was better than placebo > Placebo was better than Drugone | Hepatitis B > Hepatitis C
S. aureus > S. epidermidis | and S. > or S. | by mouth > by vein | high blood > low blood
"""
COPIES = """
follow-up > follow‐up | follow-up > follow up | follow-up > followup | long – 12 > long - 12
5 mg > 5\u00a0mg | 5 mg > 5mg | 5 mg > 5 MG | 5 mg > 5 milligrams | µg > μg | µg > mcg | α > alpha
0.5 > .5 | 0.5 > 0·5 | 0.5 > 0.50 | 1,000 > 1000 | 10⁵ > 10^5 | p < > p &lt; | Tumour > Tumor
first > ﬁrst | glass of water > “glass of water” | water. > water.\n\n | Take one > Take 1
says it > tells that it | increases > raises | 5 mM > 5\u202fmM
"""


def pairs(table: str) -> list[tuple[str, str]]:
    lines = [entry for line in table.strip().split("\n") for entry in line.split(" | ")]
    return [(a, b) for a, b in (entry.split(" > ", 1) for entry in lines if " > " in entry)]


def scored(texts: dict[str, str], **fields: object) -> pl.DataFrame:
    articles = [Article(id=i, source="s", title="", abstract=t, **fields) for i, t in texts.items()]  # type: ignore[arg-type]
    return score(frame(articles, Article))


def exact_copies(table: pl.DataFrame) -> pl.DataFrame:
    return near_duplicates(table).removed.filter(pl.col("reason") == "same_text")


@pytest.mark.parametrize(("old", "new"), pairs(OTHERS))
def test_another_text_is_never_a_copy(old: str, new: str) -> None:
    other = LEAFLET.replace(old, new)
    assert other != LEAFLET
    assert difference(LEAFLET, other) != ""
    assert difference(other, LEAFLET) != ""


@pytest.mark.parametrize(("old", "new"), pairs(COPIES.replace("\n\n |", "¶ |").replace("¶", " ")))
def test_typography_and_ordinary_words_make_no_other_text(old: str, new: str) -> None:
    other = LEAFLET.replace(old, new)
    assert other != LEAFLET
    assert difference(LEAFLET, other) == ""


@pytest.mark.parametrize(
    ("kept", "other", "copy"),
    [
        ("{}", "{} Copyright © 2021 Elsevier Ltd. All rights reserved.", True),
        ("{} © 2020 The Authors.", "{} © 2021 The Authors.", True),
        ("{}", "{} © 2021 X, and it must never be given to children.", False),
        ("{}\nLast updated: 5 May 2020", "{}\nLast updated: 12 March 2023.", True),
        ("{}", "BACKGROUND: {}", True),
        ("{} It was seen in 5 of 12.", "{}", True),
        ("{}", "{} It was seen in 5 of 12.", False),
        ("{} It is not for infants under 5 kg.", "{} It is not for inf", True),
        ("{} It took 125 days", "{} It took 12", False),
        ("{} Mix it 1:2.", "{} Mix it 1-2.", False),
    ],
)
def test_what_only_one_of_two_texts_has(kept: str, other: str, copy: bool) -> None:
    assert (difference(kept.format(LEAFLET), other.format(LEAFLET)) == "") is copy


def test_upper_case_is_typography() -> None:
    text = LEAFLET.replace("5 mM", "5 ml")
    assert difference(text, text.upper()) == ""


def test_differences_are_named_in_their_words() -> None:
    other = LEAFLET.replace("5 mg", "50 mg").replace("Do not", "Do")
    assert difference(LEAFLET, other) == "5 mg → 50 mg; Do not stop → Do stop"


def test_a_book_is_not_compared_word_by_word() -> None:
    book = " ".join(f"w{i}" for i in range(30_000))
    assert "too much" in difference(book, book.replace("w1", "v1"))


def test_a_template_is_listed_and_stays_and_true_copies_among_its_leaflets_go() -> None:
    drugs = [f"drug{a}{b}ol" for a in "abcdef" for b in "abcdef"]
    texts = {f"a:{d}": LEAFLET.replace("Drugone", d) for d in drugs}
    texts |= {f"b:{d}": texts[f"a:{d}"].replace("follow-up", "follow–up") for d in drugs[::6]}
    table = scored(texts)
    clusters = near_duplicates(table)
    assert clusters.removed.select("id", "kept_id").rows() == [
        (f"b:{d}", f"a:{d}") for d in drugs[::6]
    ]
    assert set(clusters.review["id"]) <= {f"a:{d}" for d in drugs}
    assert clusters.review.height == len(drugs) - 1, "all but the one that is kept first"
    assert clusters.review["difference"].str.contains("drug..ol → drug..ol").all()
    selection = select(table, clusters, keep_non_english=True)
    assert selection.review.height == len(drugs) - 1
    assert "35 pairs to review" in selection.summary()
    assert report(table, clusters, selection)["duplicates"]["records_for_review"] == 35
    gone = select(table.with_columns(quality=pl.lit(0.1)), clusters)
    assert gone.review.is_empty(), "what is removed needs no review"


@pytest.mark.parametrize(
    "text",
    [
        "本研究旨在评估口服补液盐的疗效。结论：口服组的不良反应较少，值得推广使用。",
        "ยานี้ใช้รักษาความดันโลหิตสูง ห้ามใช้ในเด็ก ควรรับประทานยาหลังอาหาร",
        "この薬は高血圧の治療に用います。小児には投与しないでください。",
        "ថ្នាំនេះប្រើសម្រាប់ព្យាបាលជំងឺលើសឈាម មិនត្រូវប្រើចំពោះកុមារ",
        "COVID-19疫苗对成人安全有效，每次5 mg，孕妇不应使用该疫苗。",
    ],
)
def test_copies_are_found_in_scripts_without_blanks(text: str) -> None:
    long = " ".join([text] * 3)
    table = scored({"a": long, "b": long, "c": long[:-3], "d": text[::-1] * 3}, language="zh")
    removed = near_duplicates(table).removed
    assert removed.select("id", "reason").rows() == [("b", "same_text"), ("c", "near_duplicate")]


def test_of_two_texts_of_which_one_is_cut_off_the_whole_one_stays() -> None:
    whole, cut = LEAFLET + " It harmed 5 of them. It was stopped.", LEAFLET
    for best in (0, 1):
        for ids in ("ab", "ba"):
            table = scored(dict(zip(ids, (whole, cut), strict=True)))
            table = table.with_columns(
                quality=pl.Series([0.8 - best / 100, 0.8 - (1 - best) / 100])
            )
            clusters = near_duplicates(table)
            assert clusters.removed.select("id", "kept_id").rows() == [(ids[1], ids[0])]
            assert clusters.review.is_empty()
    table = table.with_columns(redistributable=pl.Series([False, True]))
    clusters = near_duplicates(table)
    assert clusters.removed.is_empty(), "what may not be passed on stands for nothing that may"
    assert clusters.review.height == 1


def test_a_negation_in_chinese_is_listed() -> None:
    text = (
        "本研究旨在评估口服补液盐在儿童急性腹泻治疗中的疗效。结论：推荐在基层医院使用口服补液盐。"
    )
    clusters = near_duplicates(scored({"a": text, "b": text.replace("推荐", "不推荐")}))
    assert clusters.removed.is_empty()
    assert clusters.review["difference"].item() in ("论 推 → 论 不 推", "论 不 推 → 论 推")


@pytest.mark.parametrize(
    ("one", "other", "copy"),
    [
        ("It was 5 mg.", "it was 5 mg", True),
        ("He said “take it”.", "He said 'take it'", True),
        ("p < 0.05", "p > 0.05", False),
        ("a change of -5", "a change of 5", False),
        ("take 1.5 mg", "take 1,5 mg", False),
        ("take 1.5 mg", "take 1 5 mg", False),
        ("take 5 %", "take 5", False),
        ("HER2+ women", "HER2- women", False),
        ("HER2- women", "HER2 women", False),
        ("a 5 mg dose", "a 5 µg dose", False),
        ("口服补液盐", "口服补液盐", True),
        ("No abstract available.", "No abstract available.", False),
    ],
)
def test_short_texts_are_copies_word_by_word_and_sign_by_sign(
    one: str, other: str, copy: bool
) -> None:
    assert (exact_copies(scored({"a": one, "b": other})).height == 1) is copy
    long = [text + " and so on" * 10 for text in (one, other)]
    if "abstract" not in one:
        found = exact_copies(scored({"a": long[0], "b": long[1]}))
        assert (found.height == 1) is copy


def test_letters_of_one_title_are_no_copies() -> None:
    def letters(first: Article, second: Article) -> int:
        return exact_copies(score(frame([first, second], Article))).height

    def letter(number: int, **fields: object) -> Article:
        return Article(**({"id": f"a:{number}", "source": "s", "title": "Reply"} | fields))  # type: ignore[arg-type]

    assert letters(letter(1), letter(2)) == 0
    assert (
        letters(letter(1, journal="J", authors=["A"]), letter(2, journal="J", authors=["A"])) == 0
    )
    assert letters(letter(1, abstract="We agree."), letter(2, abstract="We agree.")) == 1
    other = letter(2, abstract="We agree.", authors=["B"])
    assert letters(letter(1, abstract="We agree.", authors=["A"]), other) == 0
    sections = [[Section(f"Dose for {who}", "Take 5 mg.")] for who in ("adults", "children")]
    assert letters(letter(1, body=sections[0]), letter(2, body=sections[1])) == 0
    assert letters(letter(1, body=sections[0]), letter(2, body=sections[0])) == 1


def test_no_two_sentences_in_ten_languages_are_taken_for_one(project: Path) -> None:
    folder = project.parent / "shared" / "data" / "multilingual" / "tico19"
    if not folder.exists():
        pytest.skip("needs ../shared/data/multilingual, which is not there")
    texts: dict[str, str] = {}
    for path in sorted(folder.glob("*.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines][:400]
        texts |= {f"{row['lang']}:{row['id']}": row["text"] for row in rows}
        texts |= {f"en:{row['id']}": row["en"] for row in rows}
    table = scored(texts)
    removed = exact_copies(table)
    bare = {i: re.sub(r"[\W_]+", "", text).lower() for i, text in texts.items()}
    assert all(bare[a] == bare[b] for a, b in removed.select("id", "kept_id").iter_rows())
    doubled = scored(texts | {f"{i}/2": text for i, text in texts.items()})
    assert exact_copies(doubled).height == removed.height + len(texts)
