"""Recall and precision of the main text of pages, against text that was marked by hand.

Run: python benchmarks/maintext.py   (prints a table, writes maintext.json beside it)

Four sets: 17 pages of the CDC as they were served, the MedlinePlus topics that have a summary,
eight pages written for Elara in the markup of the WHO and of institutes of the NIH, and three
more in the markup of all three, which nobody had seen who wrote the reader (both in
tests/collect/pages). What is main text was marked by reading the pages: gold.json there names
the elements, so that no text is stored twice. Words are then taken from the marked elements by
the few lines below, which share nothing with Elara's reader.

Main text is what an article says: headings, paragraphs, lists, tables, captions, notes with a
sentence in them, boxed warnings. It is not: menus, dates, authors, references, notices that stand
on every page, forms, tests for readers. What may be filed either way counts neither for nor
against: the title, thanks and disclosures, formulas, numbers that mark a citation or an item of a
list, notes that are nothing but an address, and the copies of a cell that spans several.

Measures, with every word as often as it occurs (the order is not compared):
- recall: the share of the words of the main text that were extracted;
- precision: the share of the extracted words that are main text.

Beside Elara stands `trafilatura.extract(page, include_tables=True)`: its default extraction of
everything that an article can hold, given each page as Elara decodes it.
"""

from __future__ import annotations

import functools
import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lxml import etree, html

from elara.collect import read_file
from elara.collect.webpage import decode

PROJECT = Path(__file__).resolve().parents[1]
PAGES = PROJECT / "tests" / "collect" / "pages"
TOPICS = "medlineplus/medlineplus_topics_sample.xml"
SETS = ("cdc", "medlineplus", "written", "unseen")
# The summary of a topic, but for the line that names the institute that wrote it.
TOPIC = {"wanted": ["//body"], "except": ["//p[starts-with(normalize-space(), 'NIH:')]"]}

Words = Counter[str]

# Elements that do not part words. Raised and lowered text does.
_INLINE = {
    "a", "abbr", "b", "big", "cite", "em", "font", "i", "q", "s", "small", "span", "strong", "u",
}  # fmt: skip
_SILENT = {"script", "style", "noscript"}
_RAISED = re.compile("([⁰¹²³⁴-⁹]+|[₀-₉]+)")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200d\u2060\ufeff]")
_CITED = r"[\d\s,–-]*\d[\d\s,–-]*"  # by number


def words(text: str) -> list[str]:
    """The words and numbers of a text, in lower case: `B12` is two, as `B<sub>12</sub>` is."""
    plain = unicodedata.normalize("NFKC", _RAISED.sub(r" \1 ", _INVISIBLE.sub("", text)))
    return re.findall(r"[^\W\d_]+|\d+", plain.lower())


@functools.cache
def gold() -> dict[str, Any]:
    """The marks of every page, set by set."""
    found = json.loads((PAGES / "gold.json").read_text(encoding="utf-8"))
    layouts = found.pop("layouts")
    for marks in [m for pages in found.values() for m in pages.values()]:
        layout = layouts.get(marks.get("layout"), {})
        for kind in ("wanted", "except", "neutral"):
            marks[kind] = [*layout.get(kind, ()), *marks.get(kind, ())]
    return dict(found)


def marked(tree: Any, marks: dict[str, Any]) -> tuple[Words, Words]:
    """The words of the main text, and those that count neither for nor against.

    Args:
        tree: a page.
        marks: `wanted`, `except` and `neutral`: each a list of XPaths, or of pairs `from` and
            `to` of elements between which everything is meant, the first one included.
    """
    chosen = {kind: _places(tree, marks.get(kind, ())) for kind in ("wanted", "except", "neutral")}
    neutral = chosen["neutral"] - chosen["except"]
    wanted = chosen["wanted"] - chosen["except"] - neutral
    may = Counter(words(_text(tree, neutral)))
    for element in tree.iter("a", "em", "i", "sup"):
        marker = "[a-z]" if element.tag == "sup" else _CITED
        text = "".join(element.itertext()).strip()
        if (element, False) in wanted and re.fullmatch(marker, text):
            wanted.discard((element, False))
            may.update(words(text))
    for element in tree.iter("td", "th", "li"):
        cell = _text(element, wanted)
        if element.tag == "li" and element.getparent().tag == "ol" and cell.strip():
            may[str(1 + len(list(element.itersiblings("li", preceding=True))))] += 1
        for _ in range(_span(element, "rowspan") * _span(element, "colspan") - 1):
            may.update(words(cell))
    return Counter(words(_text(tree, wanted))), may


def _span(cell: Any, name: str) -> int:
    value = cell.get(name, "").strip()
    return min(int(value), 50) if value.isdigit() and value != "0" else 1


def _places(tree: Any, paths: list[Any]) -> set[tuple[Any, bool]]:
    """The pieces of text that are meant: the element, and whether it is what follows it."""
    found: set[tuple[Any, bool]] = set()
    for path in paths:
        if isinstance(path, dict):
            start, end = path["from"], path["to"]
            pieces = tree.xpath(
                f"//text()[(preceding::{start} or ancestor::{start}) and following::{end}]"
            )
        else:
            pieces = [t for e in tree.xpath(path) for t in e.xpath(".//text()")]
        found |= {(t.getparent(), t.is_tail) for t in pieces}
    return found


def _text(element: Any, places: set[tuple[Any, bool]]) -> str:
    return "".join(_pieces(element, places))


def _pieces(element: Any, places: set[tuple[Any, bool]]) -> Iterator[str]:
    if element.tag in _SILENT:
        return
    apart = "" if element.tag in _INLINE else " "
    yield apart
    yield element.text or "" if (element, False) in places else ""
    for child in element:
        if isinstance(child.tag, str):
            yield from _pieces(child, places)
        yield child.tail or "" if (child, True) in places else " "
    yield apart


def measure(text: str, main: Words, may: Words) -> dict[str, int]:
    """Count the words of a text that are main text.

    Args:
        text: what was extracted.
        main: the words of the main text.
        may: words that count neither for nor against.

    Returns:
        `right`: words that are main text, `found`: words that had to be, `gold`: those there are.
    """
    got = Counter(words(text))
    right = got & main
    neutral = (got - right) & may
    return {
        "right": right.total(),
        "found": got.total() - neutral.total(),
        "gold": main.total(),
    }


def cases(data: Path, name: str) -> Iterator[tuple[str, Words, Words, str, str]]:
    """The pages of a set: name, main text, neutral words, HTML, and what Elara makes of it."""
    if name == "medlineplus":
        path = data / "public_health" / TOPICS
        found = elara_texts(path)
        for topic in etree.parse(path).iter("health-topic"):
            if summary := topic.findtext("full-summary"):
                page = f"<html><body>{summary}</body></html>"
                main, may = marked(html.document_fromstring(page), TOPIC)
                yield topic.get("url", ""), main, may, page, found[topic.get("id", "")]
        return
    folder = data / "public_health" if name == "cdc" else PAGES
    for place, marks in gold()[name].items():
        page = decode((folder / place).read_bytes())
        parser = html.HTMLParser(encoding="utf-8")
        main, may = marked(html.document_fromstring(page.encode(), parser=parser), marks)
        yield place, main, may, page, "".join(elara_texts(folder / place).values())


def elara_texts(path: Path) -> dict[str, str]:
    """What Elara makes of a file: the body of each record, by the id that its source gave it."""
    texts = {}
    for parsed in read_file(path, path.name, ""):
        body = parsed.article.body if parsed.article else []
        texts[parsed.native_id] = "\n\n".join(f"{s.heading}\n{s.text}" for s in body)
    return texts


def shares(pages: Iterable[dict[str, int]]) -> dict[str, float]:
    """Recall and precision over pages, every word counting the same."""
    sums = Counter[str]()
    for page in pages:
        sums.update(page)
    return {
        "recall": sums["right"] / sums["gold"],
        "precision": sums["right"] / sums["found"] if sums["found"] else 0.0,
        "words": sums["gold"],
    }


def main() -> None:
    """Measure every set, print the table and write the file."""
    import trafilatura

    named = os.environ.get("ELARA_SHARED_DATA")
    data = Path(named) if named else PROJECT.parent / "shared" / "data"
    out: dict[str, Any] = {"trafilatura_version": trafilatura.__version__, "sets": {}}
    print(f"{'':64}{'elara':>16}{'trafilatura':>20}")
    print(f"{'page':54}{'words':>8}  recall  precision    recall  precision")
    for name in SETS:
        counts: dict[str, list[dict[str, int]]] = {"elara": [], "trafilatura": []}
        neutral = 0
        for place, main_words, may, page, text in cases(data, name):
            other = trafilatura.extract(page, include_tables=True) or ""
            counts["elara"].append(measure(text, main_words, may))
            counts["trafilatura"].append(measure(other, main_words, may))
            neutral += may.total()
            _line(place[-54:], *(shares([c[-1]]) for c in counts.values()))
        found = {who: shares(pages) for who, pages in counts.items()}
        _line(name.upper(), *found.values())
        pages = len(counts["elara"])
        out["sets"][name] = {"pages": pages, "neutral_words": neutral, **found}
    text = json.dumps(out, indent=2) + "\n"
    (PROJECT / "benchmarks" / "maintext.json").write_text(text)


def _line(name: str, *measured: dict[str, float]) -> None:
    told = "".join(f"{m['recall']:10.4f}{m['precision']:10.4f}" for m in measured)
    print(f"{name:54}{measured[0]['words']:8}{told}")


if __name__ == "__main__":
    main()
