"""The walker: what HTML and JATS mark must be read as marked, kept apart, or named as left out."""

from __future__ import annotations

import json
import runpy
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from folders import read_folder
from lxml import html

from elara.collect import (
    jats,
    medlineplus,
    medquad,
    read_file,
    stackexchange,
    webpage,
)
from elara.collect.blocks import Cell, numbered, table_lines
from elara.collect.htmltext import html_text
from elara.collect.parsed import Dropped, Parsed

FIRST = "Malaria is spread by mosquitoes and it can kill a child within a day."
PAGE = (
    '<!DOCTYPE html><html lang="en"><head><title>T</title><link rel="canonical" '
    'href="https://www.cdc.gov/x"></head><body><nav><a href="/">Home</a></nav>{}</body></html>'
)


def page(inside: str, around: str = "<main>{}</main>") -> Parsed:
    whole = PAGE.format(around.format(f"<h1>T</h1><p>{FIRST}</p>{inside}"))
    (found,) = webpage.parse([whole.encode()])
    return found


def text_of_page(inside: str, around: str = "<main>{}</main>") -> str:
    article = page(inside, around).article
    assert article is not None
    whole = "\n\n".join(f"# {s.heading}\n{s.text}".removeprefix("# \n") for s in article.body)
    assert whole.startswith(f"# T\n{FIRST}")
    return whole.removeprefix(f"# T\n{FIRST}").strip()


def jats_article(body: str, back: str = "", meta: str = "") -> Parsed:
    whole = (
        '<article xmlns:xlink="http://www.w3.org/1999/xlink"><front><article-meta><title-group>'
        f"<article-title>T</article-title></title-group>{meta}</article-meta></front><body>{body}"
        f"</body><back>{back}</back></article>"
    )
    (found,) = jats.parse([whole.encode()])
    return found


def text_of_jats(body: str, back: str = "") -> str:
    article = jats_article(body, back).article
    assert article is not None
    return "\n\n".join(f"# {s.heading}\n{s.text}".removeprefix("# \n") for s in article.body)


def reasons(found: Parsed) -> list[tuple[str, str]]:
    return [(d.words, d.reason) for d in found.dropped if d.words != "Home"]


@pytest.mark.parametrize(
    ("number", "kind", "written"),
    [(1, "a", "a"), (27, "a", "aa"), (52, "A", "AZ"), (4, "i", "iv"), (49, "I", "XLIX"),
     (0, "a", "0"), (-1, "i", "-1"), (7, "1", "7")],
)  # fmt: skip
def test_numbers_of_lists(number: int, kind: str, written: str) -> None:
    assert numbered(number, kind) == written


# In HTML, and the same in JATS: what is inside a paragraph.
INLINE = [
    ("50<sup><a href='#r2'>2</a></sup> mg", "50 mg"),
    ("50<a href='#fn2'><sup>2</sup></a> mg", "50 mg"),
    ("50<sup>[<a href='#r2'>2</a>, <a href='#r3'>3</a>]</sup> mg", "50 mg"),
    ("50<sup><a href='p.html#fn2'>2</a>–<a href='#r5'>5</a></sup>mg", "50 mg"),
    ("50<a role='doc-noteref' href='#x'>2</a> mg", "50 mg"),
    ("50<sup class='footnote'>2</sup> mg", "50 mg"),
    ("50<span class='footnote-ref'>2</span> mg", "50 mg"),
    ("50<a href='#note'>†</a> mg", "50 mg"),
    ("50 <a href='#r2'>2</a> mg, 50<a href='#r3'>[3]</a> mg", "50 mg, 50 mg"),
    ("50<sup>[2]</sup> mg", "50[2] mg"),
    ("50<sup>2</sup> mg", "50² mg"),
    ("<b>50</b><sup>2</sup> mg", "50² mg"),
    ("50<sup><a href='https://x.org/2'>2</a></sup> mg", "50² mg"),
    ("50<span class='superscript'>2</span> mg", "50² mg"),
    ("50<span style='vertical-align: super'>2</span> mg", "50² mg"),
    ("10<sup><i>5.3</i></sup> IU", "10^5.3 IU"),
    ("<b>log<sub>10</sub></b>5", "log₁₀5"),
    ("<sup>2</sup>50 mg", "²50 mg"),
    ("as in <a href='#t2'>Table 2</a> and [<a href='#r4'>4</a>]", "as in Table 2 and [4]"),
    ("Give <del>500 mg</del> <ins>50 mg</ins>", "Give 50 mg"),
    ("Give <s>500</s><strike>5</strike> 50 mg", "Give 50 mg"),
    ("Give <span style='text-decoration:line-through'>500</span> 50 mg", "Give 50 mg"),
    ("Give 5<wbr> mg, not 50", "Give 5 mg, not 50"),
    ("Give <span class='strikethrough'>500</span> 50 mg", "Give 50 mg"),
    ("5 mg twice<img>daily", "5 mg twice daily"),
    ("<ruby>漢<rp>(</rp><rt>kan</rt><rp>)</rp></ruby>", "漢(kan)"),
    ("He said <q>stop</q> at once", "He said “stop” at once"),
    ("one<br>two", "one\ntwo"),
]


@pytest.mark.parametrize(("inside", "text"), INLINE)
def test_runs_inside_a_paragraph(inside: str, text: str) -> None:
    assert html_text(f"<p>{inside}</p>") == text
    assert text_of_page(f"<p>{inside}.</p>") == f"{text}."


@pytest.mark.parametrize(
    ("inside", "text"),
    [
        ("50<xref ref-type='bibr'>2</xref> mg", "50 mg"),
        ("50<sup><xref ref-type='bibr'>2</xref>,<xref ref-type='bibr'>3</xref></sup> mg", "50 mg"),
        ("50<xref ref-type='bibr'><sup>2</sup></xref><sup>–</sup><xref ref-type='bibr'><sup>5"
         "</sup></xref> mg", "50 mg"),
        ("50<xref ref-type='fn'>a</xref> mg", "50 mg"),
        ("10<sup>9<xref ref-type='bibr'>3</xref></sup>/L, cells<sup>2,<xref ref-type='bibr'>3"
         "</xref></sup>", "10⁹/L, cells"),
        ("50<xref ref-type='bibr'>2</xref>,<xref ref-type='bibr'>3</xref>–<xref ref-type='bibr'>5"
         "</xref> mg", "50 mg"),
        ("50 <xref ref-type='bibr'>2</xref> mg, ref. <xref ref-type='bibr'>7</xref>",
         "50 mg, ref. 7"),
        ("50<xref ref-type='table-fn'>b</xref>mg", "50 mg"),
        ("50<sup>2</sup> mg, 10<sup>5.3</sup>", "50² mg, 10^5.3"),
        ("<bold>50</bold><sup>2</sup> mg", "50² mg"),
        ("<xref ref-type='bibr'>Smith 2010</xref> [<xref ref-type='bibr'>4</xref>]",
         "Smith 2010 [4]"),
        ("Fig. <xref ref-type='fig'>1</xref>, p<sub>i </sub>or <sup>3</sup>H", "Fig. 1, pi or 3H"),
        ("Give <strike>500 mg</strike> 50 mg", "Give 50 mg"),
        ("p27<sup>Kip1</sup> CD25<sup>hi</sup>CD127", "p27^Kip1 CD25^(hi)CD127"),
    ],
)  # fmt: skip
def test_runs_inside_a_jats_paragraph(inside: str, text: str) -> None:
    assert text_of_jats(f"<p>{inside}</p>") == text


BLOCKS = [
    ("<ol start=3><li>x</li><li value=7>y</li><li>z</li></ol>", "3. x\n7. y\n8. z"),
    ("<ol reversed><li>a</li><li>b</li></ol>", "2. a\n1. b"),
    ("<ol type=i><li>a<p>more</p></li><li>b<ul><li>c<ol type=A><li>d</li></ol></li></ul></li></ol>",
     "i. a\n   more\nii. b\n    - c\n      A. d"),
    ("<ol style='list-style-type: lower-alpha'><li>a</li></ol>", "a. a"),
    ("<ul><li>a</li><ul><li>b</li></ul><li>c</li></ul>", "- a\n  - b\n- c"),
    ("<ol><li></li><li>second</li></ol>", "2. second"),
    ("<dl><dt>Dose</dt><dd>5 mg</dd><dd>6 mg</dd><div><dt>A</dt><dt>B</dt><dd><ul><li>x</li></ul>"
     "</dd></div></dl>", "Dose: 5 mg\n  6 mg\nA, B\n- x"),
    ("<blockquote><p>One.</p><blockquote>Two.</blockquote><p>Three<br>four.</p></blockquote>",
     "> One.\n>\n> > Two.\n>\n> Three\n> four."),
    ("<table><tr><td>Age</td><td>Dose</td></tr><tr><td rowspan=0>Child</td><td>5</td></tr><tr>"
     "<td>6</td></tr></table>", "Age | Dose\nChild | 5\nChild | 6"),
    ("<table><caption>Doses</caption><tfoot><tr><td colspan=3>Foot</td></tr></tfoot><thead><tr><th "
     "rowspan=2>Drug</th><th colspan=2>Dose<br>a day</th></tr><tr><th>Child</th><th>Adult</th></tr>"
     "</thead><tbody><tr><td colspan=3>By mouth</td></tr><tr><td rowspan=2>A</td><td>1<br>2</td>"
     "<td><p>3</p><p>4</p></td></tr><tr><td>5</td><td><ul><li>6</li><li>7</li></ul></td></tr>"
     "</tbody></table>",
     "Doses\nDrug | Dose a day | Dose a day\nDrug | Child | Adult\nBy mouth\nA | 1; 2 | 3; 4\n"
     "A | 5 | 6; 7\nFoot"),
    ("<table><tr><th>Drug</th><th>In</th></tr><tr><td>A</td><td><table><tr><td>1</td><td>2</td>"
     "</tr><tr><td>3</td><td>4</td></tr></table></td></tr></table>", "Drug | In\nA | 1, 2; 3, 4"),
    ("<table><tr><td>a</td><td colspan=1000>b</td></tr><tr><td>c</td><td></td><td>d</td></tr>"
     "</table>", "a | b | b\nc |  | d"),
    ("<table role=presentation><tr><td><p>One.</p></td><td><p>Two.</p></td></tr></table>",
     "One.\n\nTwo."),
    ("<p><span style='display: block'>5 mg</span><span style='display:block'>now</span></p>",
     "5 mg\n\nnow"),
    ("<figure><img src=x alt='A chart'><figcaption>Cases rose.</figcaption></figure>",
     "Cases rose."),
]  # fmt: skip


@pytest.mark.parametrize(("inside", "text"), BLOCKS)
def test_blocks_read_the_same_in_pages_and_fragments(inside: str, text: str) -> None:
    assert html_text(inside) == text_of_page(inside) == text


def test_spans_end_with_their_group_and_never_overlap() -> None:
    wide = Cell("a", rows=9, columns=2)
    assert table_lines([[[wide, Cell("b")], [Cell("c")]], [[Cell("d"), Cell("e"), Cell("f")]]]) == [
        "a | a | b", "a | a | c", "d | e | f",
    ]  # fmt: skip
    assert table_lines([[[Cell("a", rows=2)], [], [Cell("b")]]]) == ["a", "b"]
    assert table_lines([[[Cell("a", columns=3)], [Cell("x"), Cell(""), Cell("y")]]]) == [
        "a", "x | y",
    ]  # fmt: skip


JATS_BLOCKS = [
    ("<list list-type='order'><list-item><p>a</p></list-item><list-item><p>b</p><list "
     "list-type='alpha-lower'><list-item><p>c</p></list-item></list></list-item></list>",
     "1. a\n2. b\n   a. c"),
    ("<list><title>Steps</title><list-item><label>(i)</label><p>e</p></list-item></list>",
     "Steps\n\n(i) e"),
    ("<disp-quote><p>One.</p><disp-quote><p>Two.</p></disp-quote></disp-quote>",
     "> One.\n>\n> > Two."),
    ("<boxed-text><label>Box 1</label><title>Warning</title><p>No aspirin.</p></boxed-text>"
     "<statement><label>Rule 2</label><p>Never.</p></statement>",
     "Box 1\n\nWarning\n\nNo aspirin.\n\nRule 2\n\nNever."),
    ("<table-wrap><label>Table 2</label><caption><title>Doses</title></caption><table><thead><tr>"
     "<th rowspan='2'>Drug</th><th colspan='2'>Dose</th></tr><tr><th>Child</th><th>Adult</th></tr>"
     "</thead><tbody><tr><td rowspan='2'>A<xref ref-type='table-fn'>a</xref></td><td>1<break/>2"
     "</td><td><list><list-item><p>3</p></list-item><list-item><p>4</p></list-item></list></td>"
     "</tr><tr><td>5<xref ref-type='table-fn'>*</xref></td><td><p>6</p><p>7</p></td></tr></tbody>"
     "</table><table-wrap-foot><fn><label>a</label><p>By mouth.</p></fn><p>CI: x</p>"
     "</table-wrap-foot></table-wrap>",
     "Table 2. Doses.\nDrug | Dose | Dose\nDrug | Child | Adult\nA | 1; 2 | 3; 4\nA | 5* | 6; 7\n"
     "a By mouth.\nCI: x"),
    ("<oasis:table xmlns:oasis='http://docs.oasis-open.org/ns/oasis-exchange/table'><oasis:tgroup>"
     "<oasis:colspec colname='a'/><oasis:colspec colname='b'/><oasis:colspec colname='c'/>"
     "<oasis:tbody><oasis:row><oasis:entry morerows='1'>A</oasis:entry><oasis:entry namest='b' "
     "nameend='c'>1</oasis:entry></oasis:row><oasis:row><oasis:entry>2</oasis:entry><oasis:entry>3"
     "</oasis:entry></oasis:row></oasis:tbody></oasis:tgroup></oasis:table>",
     "A | 1 | 1\nA | 2 | 3"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "text"), JATS_BLOCKS)
def test_blocks_of_jats(body: str, text: str) -> None:
    assert text_of_jats(body) == text


def test_back_matter_is_read_or_named() -> None:
    back = (
        "<app-group><title>Appendices</title><app><title>Appendix A</title><sec><title>Dose</title>"
        "<p>20 mg.</p></sec></app><app><label>A2</label><p>More.</p></app></app-group><glossary>"
        "<def-list><def-item><term>CI</term><def><p>interval</p></def></def-item></def-list>"
        "</glossary><ack><p>We thank.</p></ack><fn-group><fn><p>None.</p></fn></fn-group><notes>"
        "<title>Note added in proof</title><p>Now 5 mg.</p></notes><ref-list><ref><mixed-citation>R"
        "</mixed-citation></ref></ref-list><sec><title>Funding</title><p>x</p></sec>"
    )
    found = jats_article("<p>B.</p>", back)
    assert found.article is not None
    assert [(s.heading, s.text) for s in found.article.body] == [
        ("", "B."), ("Appendix A: Dose", "20 mg."), ("A2", "More."),
        ("Abbreviations", "CI: interval"), ("Note added in proof", "Now 5 mg."),
    ]  # fmt: skip
    assert reasons(found) == [
        ("Appendices", "name of a group"), ("We thank.", "acknowledgements"), ("None.", "notes"),
        ("R", "references"), ("Funding x", "administrative"),
    ]  # fmt: skip


def test_abstracts_are_read_once_or_named() -> None:
    meta = (
        "<abstract><p>One.</p><sec><title>Results:</title><p>We found <list list-type='order'>"
        "<list-item><p>x</p></list-item><list-item><p>y</p></list-item></list></p></sec><sec><title>"
        "M</title><p>p</p><sec><title>Sub</title><p>q</p></sec></sec></abstract><abstract "
        "abstract-type='plain-language-summary'><title>In short</title><p>Easy.</p></abstract>"
        "<abstract abstract-type='graphical'><p>G</p></abstract><trans-abstract xml:lang='fr'><p>"
        "Bref.</p></trans-abstract>"
    )
    found = jats_article("<p>B.</p>", meta=meta)
    assert found.article is not None
    assert found.article.abstract == "One.\nRESULTS: We found\n1. x\n2. y\nM: p SUB: q"
    assert [(s.heading, s.text) for s in found.article.body] == [("In short", "Easy."), ("", "B.")]
    assert reasons(found) == [
        ("G", "abstract of type graphical"), ("Bref.", "abstract in another language (fr)"),
    ]  # fmt: skip


def test_pictures_struck_text_and_notes_of_an_article_are_named() -> None:
    found = jats_article(
        "<p>A <strike>5 mg</strike> <inline-formula id='i1'><inline-graphic/></inline-formula><fn>"
        "<p>A note.</p></fn> b<xref ref-type='bibr'><sup>1</sup></xref> c<sup><xref ref-type='bibr'"
        ">2</xref></sup></p><fig id='f1'><graphic/></fig><table-wrap><label>Table 1</label>"
        "<graphic/></table-wrap><media><caption><p>A film.</p></caption></media>"
    )
    assert found.article is not None
    assert found.article.body[0].text == "A [formula] b c\n\nTable 1."
    assert reasons(found) == [
        ("5 mg", "struck out"), ("i1", "formula as a picture"), ("A note.", "note"),
        ("f1", "picture without text"), ("Table 1.", "table as a picture"), ("A film.", "file"),
        ("1 2", "links to notes: 2"),
    ]  # fmt: skip


LISTED = "<ul><li><a href='/a'>Fever</a></li><li><a href='/b'>Chills</a></li></ul>"
KEPT = [
    (f"<p>Symptoms are:</p>{LISTED}", "Symptoms are:\n\n- Fever\n- Chills"),
    (f"<h2>Symptoms</h2>{LISTED}", "# Symptoms\n- Fever\n- Chills"),
    ("<p>Danger signs:</p><p><a href='/u'>Coma</a></p><p><a href='/v'>Fits</a></p>",
     "Danger signs:\n\nComa\n\nFits"),
    ("<p><a href='/x'>Malaria kills if it is not treated.</a></p>",
     "Malaria kills if it is not treated."),
    ("<table><tr><td><a href='/a'>Drug A</a></td><td><a href='/b'>5 mg</a></td></tr></table>",
     "Drug A | 5 mg"),
    ("<aside><p>Warning: no aspirin.</p></aside>", "Warning: no aspirin."),
    ("<div class='alert'><p>Stop.</p></div>", "Stop."),
    ("<details><summary>When to call</summary><p>At once.</p></details>",
     "# When to call\nAt once."),
    ("<h2><button aria-expanded='false'>Care</button></h2><div hidden><p>Go now.</p></div>",
     "# Care\nGo now."),
    ("<button aria-expanded='false' aria-controls='p1'>Risks</button><div id='p1' hidden><p>Rash."
     "</p></div>", "# Risks\nRash."),
    ("<h3><a data-toggle='collapse' href='#c2'>Storage</a></h3><div id='c2' class='collapse' "
     "aria-hidden='true'>Keep cold.</div>", "# Storage\nKeep cold."),
    ("<div role='tab'>Adults</div><div role='tabpanel' style='display: none'>5 mg a day.</div>",
     "# Adults\n5 mg a day."),
    ("<div class='multimodal modal-like breadcrumbs2'><p>Use nets.</p></div>", "Use nets."),
    ("<div class='related-symptoms share-of-cases'>Itching is common.</div>",
     "Itching is common."),
    ("<p>Please note: never give more than 4 g.</p><p>Disclaimer: do not use in children.</p>"
     "<p>Last reviewed doses must be checked.</p><p>Suggested citation rules of 2020 aside, give 5 "
     "mg.</p><p>Page updated in May. Give 5 mg.</p>",
     "Please note: never give more than 4 g.\n\nDisclaimer: do not use in children.\n\nLast "
     "reviewed doses must be checked.\n\nSuggested citation rules of 2020 aside, give 5 mg.\n\n"
     "Page updated in May. Give 5 mg."),
    ("<h2>Figures</h2><p>Two thirds survive.</p><h2>Authors</h2><p>They disagree on doses.</p>",
     "# Figures\nTwo thirds survive.\n\n# Authors\nThey disagree on doses."),
    ("<h2>References</h2><ol><li>Doe J. Title. Lancet 2003;361:1025.</li></ol><table><tr><th>Age"
     "</th><th>Dose</th></tr><tr><td>1</td><td>5</td></tr></table><p>Never give aspirin to "
     "children.</p>", "Age | Dose\n1 | 5\n\nNever give aspirin to children."),
    ("<table><tr><th><span class='sr-only'>Drug</span></th><th>mg</th></tr><tr><td>A</td><td>5</td>"
     "</tr></table>", "Drug | mg\nA | 5"),
    ("<div class='menu'><p>Eat three small meals a day with fibre.</p></div><section id='ad'><p>AD "
     "is common.</p></section><p>Share this needle with nobody.</p>",
     "Eat three small meals a day with fibre.\n\nAD is common.\n\nShare this needle with nobody."),
    ("<h2>Tables</h2><ul><li>Adults: one tablet</li><li>Children: half</li></ul>",
     "# Tables\n- Adults: one tablet\n- Children: half"),
    ("<p>Corresponding authors should never give 5 mg.</p><p>A, MD, and B, PhD, say: never stop."
     "</p>", "Corresponding authors should never give 5 mg.\n\n"
     "A, MD, and B, PhD, say: never stop."),
    ("<p>Two patients saw A Doe, MD, and B Roe, PhD.</p>",
     "Two patients saw A Doe, MD, and B Roe, PhD."),
    ("<h2>About this page</h2><p>Never give aspirin.</p>",
     "# About this page\nNever give aspirin."),
    ("<pre>5 mg <del>50 mg</del>\n now</pre>", "5 mg \n now"),
    ("<h2>Treatment</h2><h3>Children</h3><p>5 mg.</p>", "# Treatment: Children\n5 mg."),
    ("<form><p>Take one tablet with food each day, never two.</p><input></form>",
     "Take one tablet with food each day, never two."),
    ("<a href='/w'>Return to work after malaria takes a week.</a>",
     "Return to work after malaria takes a week."),
    ("<table><tr><th>Drug</th><th>Once</th><th>Now</th></tr><tr><td>A</td><td style='text-"
     "decoration:line-through'>500 mg</td><td>50 mg</td></tr><tr><td rowspan=3>B</td><td>1</td>"
     "<td>2</td></tr><tr class=struck><td>3</td><td>4</td></tr><tr><td>5</td><td>6</td></tr></table"
     ">",
     "Drug | Once | Now\nA |  | 50 mg\nB | 1 | 2\nB | 5 | 6"),
    ("<ul class='nav nav-tabs' role=tablist><li><a role=tab href='#a'>Adults</a></li><li><a "
     "role=tab href='#c'>Children</a></li></ul><div><div id=a role=tabpanel><p>5 mg.</p></div><div "
     "id=c role=tabpanel hidden><p>1 mg.</p></div></div>", "# Adults\n5 mg.\n\n# Children\n1 mg."),
    ("<aside class='sidebar'><h3>Boxed warning</h3><p>It harms the liver.</p></aside>",
     "# Boxed warning\nIt harms the liver."),
    ("<form><p>Choose one</p><table><tr><td>Age</td><td>Dose</td></tr><tr><td>2</td><td>5 mg"
     "</td></tr></table><button>Send</button></form>", "Choose one\n\nAge | Dose\n2 | 5 mg"),
    ("<details><summary>Dose</summary><details><summary>Child</summary>1 mg</details></details>",
     "# Dose: Child\n1 mg"),
    ("<footer><p>Do not give it to infants.</p></footer>", "Do not give it to infants."),
    ("<h2>Symptoms</h2><table><tr><td><a href='/f'>Fever</a></td></tr><tr><td><a href='/c'>Chills"
     "</a></td></tr></table><p><a href='/9'>Call 911</a></p><p><a href='/h'>Wash hands</a></p>",
     "# Symptoms\nFever\n\nChills\n\nCall 911\n\nWash hands"),
]  # fmt: skip


@pytest.mark.parametrize(("inside", "text"), KEPT)
def test_a_page_keeps_what_only_looks_like_furniture(inside: str, text: str) -> None:
    assert text_of_page(inside) == text


@pytest.mark.parametrize(
    ("inside", "words", "reason"),
    [
        ("<h2>Related links</h2><ul><li><a href='/d'>Dengue</a></li></ul>", "- Dengue", "links"),
        ("<p>See also:</p><ul><li><a href='/d'>Dengue</a></li></ul>", "- Dengue", "links"),
        ("<h2>On this page</h2><ul><li><a href='#a'>Aims</a></li></ul>", "- Aims", "links"),
        ("<div class='x modal'>Close</div>", "Close", "furniture: modal"),
        ("<aside class='related'><p>On dengue.</p></aside>", "On dengue.", "furniture: related"),
        ("<form><label>Address</label><input><button>Subscribe</button></form>",
         "Address Subscribe", "form"),
        ("<button>Print</button>", "Print", "button"),
        ("<div class='popup'><p>Join today and never miss news.</p></div>",
         "Join today and never miss news.", "furniture: popup"),
        ("<p>Content Source: <a href='/n'>NCEH</a></p>", "Content Source: NCEH", "notice"),
        ("<p>Citable reference: WHO (26 March 2026). News.</p>",
         "Citable reference: WHO (26 March 2026). News.", "notice"),
        ("<h2>Tables</h2><h3>Tables of doses</h3>", "Tables", "nothing below it"),
        (f"<h3>A</h3><div hidden><p>{FIRST}</p></div>",
         "Malaria is spread by mosquitoes and it can kill a child within", "hidden duplicate"),
        ("<p><span hidden>Saved.</span></p>", "Saved.", "hidden on the page"),
        ("<p><a href='#t'>Back to top</a></p>", "Back to top", "link to the top"),
        ("<p>Page last reviewed: May 5, 2020</p>", "Page last reviewed: May 5, 2020", "notice"),
        ("<p>Please note: an erratum has been published for this article.</p>",
         "Please note: an erratum has been published for this article.", "notice"),
        ("<h2>You may also like</h2><ul><li>Dengue</li></ul>", "- Dengue", "other pages"),
        ("<h2>About this page</h2><h3>Sources</h3><p>Experts wrote it.</p>", "Experts wrote it.",
         "about the page"),
        ("<p>Corresponding author: Jane Doe, jd@cdc.gov.</p>",
         "Corresponding author: Jane Doe, jd@cdc.gov.", "notice"),
        ("<p>Members: A Doe, MD, Atlanta; B Roe, PhD, Denver.</p>",
         "Members: A Doe, MD, Atlanta; B Roe, PhD, Denver.", "notice"),
        ("<p>1 Westat Inc.; 2 School of Health, Denver; 3 CDC.</p>",
         "1 Westat Inc.; 2 School of Health, Denver; 3 CDC.", "notice"),
        ("<h2>References</h2><p>Doe J. Lancet 2003;361:1.</p>", "Doe J. Lancet 2003;361:1.",
         "references"),
        ("<p><del>500 mg of one two three four five six seven eight nine ten</del></p>",
         "500 mg of one two three four five six seven eight nine", "struck out"),
        ("<p style='text-decoration: line-through'>500 mg.</p>", "500 mg.", "struck out"),
        ("<img src='x' alt='A map of cases'>", "A map of cases", "picture"),
    ],
)  # fmt: skip
def test_what_a_page_loses_is_named(inside: str, words: str, reason: str) -> None:
    found = page(inside)
    assert (words, reason) in reasons(found)
    assert found.article is not None
    assert [s.text for s in found.article.body] == [FIRST]


def test_each_dropped_block_has_one_row() -> None:
    found = page("<div class='modal'><div class='modal'><p>One.</p><p>Two.</p></div></div>")
    assert reasons(found) == [("One. Two.", "furniture: modal")]
    around = "<header><p>Site.</p></header><main>{}</main><footer><p>Foot.</p></footer>"
    assert [d.words for d in page("", around).dropped] == ["Home", "Site.", "Foot."]


@pytest.mark.parametrize(
    "around",
    [
        "<div id='content'>{}</div><div class='footer'>Contact us today.</div>",
        "<form id='aspnetForm'><div class='nav'>Menu.</div><article>{}</article></form>",
        "<form id='aspnetForm' method='post'><main>{}</main></form>",
        "<main><form id='aspnetForm' method='post'>{}<input type='hidden'></form></main>",
        "<div><aside><p>Advertisement text.</p></aside>{}<div class='share'>Share.</div></div>",
        "<table><tr><td class='leftnav'><a href='/a'>A</a></td><td>{}</td></tr></table>",
        "<div class='menu'><main>{}</main></div>",
        "<main></main><div class='text'>{}</div>",
        "<main><p>Teaser</p></main><div class='text'>{}</div>",
    ],
)
def test_a_page_is_read_whatever_holds_it(around: str) -> None:
    inside = (
        "<p>Give the dose by age.</p><table><tr><th>Age</th><th>Dose</th></tr><tr><td>6 months</td>"
        "<td>5 mL</td></tr></table><div class='callout'>Warning: no aspirin.</div>"
    )
    text = text_of_page(inside, around)
    assert text == ("Give the dose by age.\n\nAge | Dose\n6 months | 5 mL\n\nWarning: no aspirin.")


def test_a_warning_beside_the_article_is_read_with_it() -> None:
    around = "<article>{}</article><aside><h2>Warning</h2><p>Do not drive.</p></aside>"
    assert text_of_page("", around) == "# Warning\nDo not drive."


def test_headings_of_what_is_left_out_are_named() -> None:
    found = page(
        "<h2>References</h2><p>Doe J. Lancet 2003;361:1.</p><table><tr><td>a</td><td>b</td></tr>"
        "</table><h2>Doses</h2><h3>Doses of A</h3><p>5 mg.</p>"
    )
    assert found.article is not None
    assert [s.heading for s in found.article.body] == ["T", "", "Doses of A"]
    assert [r for r in reasons(found) if len(r[0]) < 12] == [
        ("References", "references"), ("Doses", "said by the heading below it"),
    ]  # fmt: skip


_NO_WORDS = ("script", "style", "noscript", "template", "math")


def _pieces(element: Any, apart: str) -> Iterator[str]:
    """The text of a page; what parts words is `apart` for elements inside a line."""
    if element.tag in _NO_WORDS:
        return
    gap = apart if element.tag in ("a", "b", "em", "i", "span", "strong", "sup", "sub") else " "
    yield gap + (element.text or "")
    for child in element:
        if isinstance(child.tag, str):
            yield from _pieces(child, apart)
        yield child.tail or ""
    yield gap


def _lost(path: Path, words: Callable[[str], list[str]]) -> Counter[str]:
    """The words of a page that are neither in its article nor in a piece that was left out."""
    (found,) = read_file(path, path.name, "")
    assert found.article is not None, found.reason
    sections = [f"{s.heading}\n{s.text}" for s in found.article.body]
    told = [
        found.article.title,
        found.article.abstract,
        *sections,
        *(d.words for d in found.dropped),
    ]
    have = Counter(words("\n".join(told)))
    parser = html.HTMLParser(encoding="utf-8")
    tree = html.document_fromstring(webpage.decode(path.read_bytes()).encode(), parser=parser)
    glued, parted = (Counter(words("".join(_pieces(tree.body, gap)))) for gap in ("", " "))
    return (glued - have) & (parted - have)


@pytest.mark.parametrize("name", ["tests/collect/pages", "elara/sample", ""])
def test_every_word_of_a_page_is_read_or_named(
    name: str, project: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elara.collect.blocks._WORDS", 1_000_000)  # rows with all their words
    words = runpy.run_path(str(project / "benchmarks" / "maintext.py"))["words"]
    folder = project / name
    if not name:
        folder = request.getfixturevalue("shared_data") / "public_health" / "cdc"
    pages = sorted(folder.rglob("*.htm*"))
    assert len(pages) > 5
    assert {p.name: lost for p in pages if (lost := _lost(p, words))} == {}


def test_before_the_first_sentence_a_dose_is_text_and_a_date_is_not() -> None:
    body = "<main><p>5 May 2020</p><p>Adults: 50 mg daily</p><p>Jane Doe</p><p>Text.</p></main>"
    (found,) = webpage.parse([PAGE.format(body).encode()])
    assert found.article is not None
    assert [s.text for s in found.article.body] == ["Adults: 50 mg daily\n\nText."]
    assert reasons(found) == [
        ("5 May 2020", "notice"), ("Jane Doe", "before the first sentence"),
    ]  # fmt: skip


def test_answers_quote_and_name_what_they_lose() -> None:
    question = {
        "question_id": 1, "title": "Q", "body": "<p>Is it?</p>", "creation_date": 1600000000,
        "answers": [{"answer_id": 2, "body": "<blockquote><p>Vaccines harm.</p></blockquote><p>"
                     "They do not. <s>5</s></p><p><img alt='a chart'></p>"}],
    }  # fmt: skip
    (found,) = stackexchange.parse_api([json.dumps({"items": [question]}).encode()])
    assert found.article is not None
    assert found.article.body[1].text == "> Vaccines harm.\n\nThey do not."
    assert found.dropped == [Dropped("s", "5", "struck out"), Dropped("img", "a chart", "picture")]


def test_medlineplus_and_medquad_read_markup() -> None:
    topic = (
        "<health-topic id='1' title='T' language='English'><full-summary>&lt;p&gt;Give &lt;del&gt;"
        "500&lt;/del&gt; 50 mg:&lt;/p&gt;&lt;ol&gt;&lt;li&gt;now&lt;/li&gt;&lt;/ol&gt;"
        "</full-summary></health-topic>"
    )
    (found,) = medlineplus.parse([f"<health-topics>{topic}</health-topics>".encode()])
    assert found.article is not None
    assert found.article.body[0].text == "Give 50 mg:\n\n1. now"
    assert found.dropped == [Dropped("del", "500", "struck out")]
    pair = "<Question>Q?</Question><Answer><p>One</p><ul><li>a</li><li>b</li></ul></Answer>"
    whole = f'<Document id="1" source="S"><QAPairs><QAPair>{pair}</QAPair></QAPairs></Document>'
    (found,) = medquad.parse([whole.encode()])
    assert found.article is not None
    assert found.article.body[1].text == "One\n\n- a\n- b"


def test_real_pages_keep_the_tables_behind_their_references(shared_data: Path) -> None:
    found = {p.file: p for p in read_folder(shared_data / "public_health" / "cdc")}
    body = str(getattr(found["mmwr/mmwr_volumes_71_wr_mm7153a1.htm"].article, "body", ""))
    assert body.count("TABLE ") == 3
    assert "Rosenblum HG" not in body
    body = str(getattr(found["pcd/pcd_issues_2021_20_0601.htm"].article, "body", ""))
    assert "Kowloon | 148 | 183 | 302.0 | 275.3 | 165.9 | 57.1–848.0" in body
    assert all(p.dropped for p in found.values() if p.article)
