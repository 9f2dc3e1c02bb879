"""Raised and lowered text keeps apart from the digits beside it, in every format."""

from __future__ import annotations

import pytest
from test_collect_pubmed import USUAL

from elara.collect import pubmed
from elara.collect.formulas import one_line
from elara.collect.htmltext import html_text

MATH = '<mml:math xmlns:mml="m"><mml:msup>{}</mml:msup></mml:math>'
FORMS = {
    "10<sup>5</sup>/L": "10⁵/L",
    "10<sup>5.3</sup> TCID<sub>50</sub>": "10^5.3 TCID50",
    "10<sup>6-8</sup> CFU": "10^(6-8) CFU",
    "10<sup>&#8722;3.2</sup>": "10^−3.2",
    "10<sup>5</sup>–10<sup>6</sup>": "10⁵–10⁶",
    "10<sup>-x</sup>": "10^-x",
    "10<sup>n</sup> copies": "10^n copies",
    "10<sup>log n</sup>": "10^(log n)",
    "50<sup>1,2</sup> mg": "50¹,² mg",
    "10<b><sup>2</sup></b> cells": "10² cells",
    "<i>10</i><sup>2</sup> cells": "10² cells",
    "<b>10<sup><i>2</i></sup></b> cells": "10² cells",
    "10<sup>-</sup><sup>6</sup> M": "10⁻⁶ M",
    "10 <sup>5</sup> cells": "10 ⁵ cells",
    "10<sup>\n 5 </sup> cells": "10⁵ cells",
    "10<sup>5<sup>2</sup></sup>": "10^(5²)",
    "10<sup>5.3</sup>mg": "10^(5.3)mg",
    "Ca<sup>2+</sup>, m<sup>2</sup>, Ser<sup>189</sup>": "Ca²⁺, m², Ser¹⁸⁹",
    "mg kg<sup>-1</sup>, IC<sub>50</sub>, KRAS<sup>G12D</sup>": "mg kg⁻¹, IC50, KRAS^G12D",
    "SO<sub>4</sub><sup>2-</sup>": "SO₄²⁻",
    "pilY<sub>1</sub>1": "pilY₁1",
    "x<sub>0.4</sub>5": "x_(0.4)5",
    "2.5<sup>a</sup>": "2.5^a",
    "5<sup>1</sup>/<sub>2</sub> tablets": "5¹/2 tablets",
    "dose of 5.<sup>3</sup> Then": "dose of 5.³ Then",
    "at 37<sup>o</sup>C and 25 <sup>o</sup>C, 37<sup>0</sup>C": "at 37°C and 25 °C, 37°C",
    # What is right as it is.
    "1<sup>st</sup> and 18<sup>th</sup>": "1st and 18th",
    "<sup>14</sup>C in CO<sub>2</sub>": "14C in CO2",
    "CD4<sup>+</sup>CD25<sup>+</sup>": "CD4+CD25+",
    "p53<sup>+/-</sup>, 0.05<sup>*</sup>": "p53+/-, 0.05*",
    "<sup>1</sup>/<sub>2</sub>": "1/2",
}
PUBMED = {
    MATH.format("<mml:mn>10</mml:mn><mml:mn>5.3</mml:mn>"): "10^5.3",
    "10" + MATH.format("<mml:mrow/><mml:mn>5</mml:mn>"): "10^5",
    "<math xmlns='m'><msup><mn>10</mn><mn>5</mn></msup></math>": "10⁵",
    "10<sup><mml:math xmlns:mml='m'><mml:mn>5</mml:mn></mml:math></sup>": "10⁵",
    "5<math xmlns='m'><mfrac><mn>1</mn><mn>2</mn></mfrac></math>5 mg": "5 1/2 5 mg",
    "10&lt;sup&gt;5.3&lt;/sup&gt; and &lt;i&gt;": "10^5.3 and <i>",
}


@pytest.mark.parametrize(
    ("kind", "before", "run", "after", "written"),
    [
        ("sup", "50", "2", " mg", "²"), ("sup", "50 ", "2", " mg", "²"),
        ("sup", "10", "-3", "", "⁻³"), ("sup", "10", "5.3", "", "^5.3"),
        ("sup", "10", "5.3", "mg", "^(5.3)"), ("sup", "10", "n", "", "^n"),
        ("sup", "10", "n-1", "", "^(n-1)"), ("sup", "x", "(n-1)", "", "^(n-1)"),
        ("sup", "50", "2,3", " mg", "²,³"), ("sup", "m", "2", "", "²"),
        ("sup", "Ca", "2+", "", "²⁺"), ("sup", "CD4", "+", "", "+"), ("sup", "A", "®", "", "®"),
        ("sup", "1", "st", " day", "st"), ("sup", "n", "th", "", "th"),
        ("sup", "37", "o", "C", "°"), ("sup", "37", "0", "C", "°"),
        ("sup", "Drug", "TM", "", "™"), ("sup", "12.5", "a", "", "^a"),
        ("sup", "with ", "14", "C-urea", "14"), ("sup", "", "99m", "Tc", "99m"),
        ("sup", "a ", "1", "5", "¹"), ("sup", "5", "", "", ""), ("sup", "doses", "6-8", ".", "⁶⁻⁸"),
        ("sub", "CO", "2", "", "2"), ("sub", "C", "max", "", "max"),
        ("sub", "MSP-1", "42", "", "₄₂"), ("sub", "log", "10", "5", "₁₀"),
        ("sub", "PM", "2.5", " µg", "2.5"),
        ("sub", "PM", "2.5", "10", "_(2.5)"), ("sub", "10", "a", "", "_a"),
        ("sub", "AUC", "0-24", "", "0-24"), ("sub", "5", "–", "", "–"),
    ],
)  # fmt: skip
def test_runs_read_the_same_in_records_and_in_running_text(
    kind: str, before: str, run: str, after: str, written: str
) -> None:
    assert one_line(kind, run, before, after) == written
    assert one_line(kind, run, before, after, notes=True) == written


@pytest.mark.parametrize(
    ("run", "before", "after", "written"),
    [
        ("14", "", "C", "14"), ("1", "", "Current ad", "1 "), ("a", "", "The ", "a "),
        ("2", "", "50 mg", "²"),
    ],
)  # fmt: skip
def test_the_mark_of_a_note_stands_apart_from_its_first_word(
    run: str, before: str, after: str, written: str
) -> None:
    assert one_line("sup", run, before, after, notes=True) == written


@pytest.mark.parametrize(("written", "read"), (FORMS | PUBMED).items())
def test_pubmed_keeps_the_height(written: str, read: str) -> None:
    record = USUAL.format(written, written, *"cdefghi").encode()
    (found,) = pubmed.parse([record])
    assert found.article is not None
    assert (found.article.title, found.article.abstract) == (read, f"AIM: {read}\nc")


@pytest.mark.parametrize(("written", "read"), FORMS.items())
def test_pages_keep_the_height(written: str, read: str) -> None:
    assert html_text(f"<p>{written}</p>") == read


def test_what_stands_in_another_block_is_not_beside_it() -> None:
    rows = "<div><p>10</p><p><sup>a</sup>Note</p>5<br><sup>b</sup></div>"
    assert html_text(rows).split() == ["10", "a", "Note", "5", "b"]


def test_real_exponents_are_apart(shared_data) -> None:
    path = shared_data / "pubmed" / "result_sets"
    texts = [
        f"{p.article.title} {p.article.abstract}"
        for file in sorted(path.glob("*.xml"))
        for p in pubmed.parse([file.read_bytes()])
        if p.article
    ]
    assert any("transplant 10⁶ MSCs" in text for text in texts)
    assert not any("10-12-2" in text for text in texts)
