"""The explorer shows each example beside its article, with the quoted passages marked."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import polars as pl
from chromium import MARKS, headless, overflow, violations

from elara.expand import (
    Explorer,
    coverage,
    coverage_figure,
    coverage_table,
    grounded_examples,
)
from elara.records import Article, Section, frame

TEXT = (
    "Iron deficiency is the commonest cause of anaemia in adults & is found by a low ferritin. "
    "Treatment replaces the iron, and the source of the bleeding is looked for in every patient."
)


def explorer(most: int = 60) -> Explorer:
    articles = [
        Article(
            id=f"{source}:{n}",
            source=source,
            title=f"Anaemia {'ABCDEF'[n]}",
            url=f"https://example.org/{source}/{n}",
            abstract=f"{TEXT} It is told <b>in place {n}</b>." if source == "pubmed" else "",
            body=[] if source == "pubmed" else [Section(heading="Overview", text=f"{TEXT} {n}.")],
            language="en",
            licence="CC0-1.0",
            redistributable=True,
            topics=["Hematology" if n % 2 else "Pediatrics"],
        )
        for source in ("pubmed", "who")
        for n in range(4)
    ]
    table = frame(articles, Article)
    examples = grounded_examples(table, "A system message.").examples
    return Explorer(examples.with_columns(split=pl.lit("train")), table, most=most)


class Marked(HTMLParser):
    """Collects what is marked on a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._inside = tag == "mark"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.texts.append(data)
            self._inside = False


def test_the_marked_passages_are_the_answers() -> None:
    shown = explorer()
    answers = [row["messages"][-1]["content"] for row in shown.examples.iter_rows(named=True)]
    assert len(answers) == len(shown.examples.select("specialty", "recipe", "source").unique())
    marked = Marked(shown._repr_html_()).texts
    assert len(marked) == len(answers)
    assert all(text in answer for text, answer in zip(marked, answers, strict=True))
    assert "<b>in place" not in shown._repr_html_()  # texts of articles are escaped
    assert "A system message" not in shown._repr_html_()


def test_a_large_set_makes_no_large_page() -> None:
    assert repr(explorer(most=2)).startswith("2 examples")


@MARKS[0]
@MARKS[1]
def test_a_reader_filters_and_leafs_through(tmp_path: Path) -> None:
    page_file = tmp_path / "page.html"
    head = "<!doctype html><html lang='en'><meta charset='utf-8'><title>Examples</title><main>"
    page_file.write_text(f"{head}<h1>Examples</h1>{explorer()._repr_html_()}</main>")
    with headless() as browser:
        page = browser.new_page(viewport={"width": 400, "height": 700})
        page.goto(page_file.as_uri())
        assert page.locator("section:visible").count() == 1
        every = page.locator("output").inner_text()
        page.select_option("select[data-key=specialty]", "Hematology")
        assert page.locator("output").inner_text() != every
        first = page.locator("section:visible").inner_text()
        page.click("text=next")
        assert page.locator("section:visible").inner_text() != first
        page.click("text=previous")
        assert page.locator("section:visible").inner_text() == first
        assert overflow(page) <= 0
        assert violations(page) == []


def test_the_coverage_counts_every_example_once_and_says_what_is_lacking() -> None:
    examples = explorer().examples
    rest = examples.head(3).with_columns(split=pl.lit("test"), origin=pl.lit("curated"))
    both = pl.concat([examples, rest])
    counts = coverage(both.drop("source"), frame([], Article))
    assert counts["examples"].sum() == both.height
    assert set(counts.filter(split="test")["source"]) == {"curated"}
    table = coverage_table(counts, wanted=5)
    assert table.filter(specialty="Hematology").select("examples", "lacking").row(0) == (4, 1)
    texts = [text.get_text() for text in coverage_figure(counts).axes[0].texts]
    assert sum(map(int, texts)) == both.height
