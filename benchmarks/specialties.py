"""How often an article gets the specialty that readers gave it.

Run: python benchmarks/specialties.py   (prints a table, writes specialties.json; a minute)

The list of labels is `tests/expand/gold/specialties.csv`; it holds ids, and the articles are read
from the shared test data. Two readers labelled every item by the same written guide, each without
the other's labels. Where they disagree, the guide decided if one's second choice was the other's
first; else the item is in neither half. The items came in three lists: `drawn` by chance; `chosen`
by the writer of the table, who was their first reader, because some specialties had few; and
`searched` by words of operations, imaging, emergencies and the heart in titles, because those had
fewest. Every second item of a specialty is `unseen`: the table of terms was written by looking at
the others only. A fourth list, `fresh`, was drawn in nine rounds while the table grew, and labelled
by one reader, the writer, before the classifier saw it; its half is `development`, as its errors
were read afterwards. Items that this reader could not decide are not in the list.

Measures:
- f1: of each specialty, from precision and recall; `macro_f1` is their mean, in which a specialty
  with few items counts as much as one with many. Its interval is the bootstrap's at 95 %.
- kappa: the readers' agreement beyond chance (Cohen's).
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

from elara.collect import collect_folder
from elara.expand.specialties import classify
from elara.expand.specialty_terms import load_table
from elara.records import Article, Section, records

PROJECT = Path(__file__).resolve().parents[1]
GOLD = PROJECT / "tests" / "expand" / "gold" / "specialties.csv"
FOLDERS = ("pubmed", "jats", "public_health", "qa/medquad/xml")
CITATIONS = (
    ("asysd", "asysd/labelled_test_set.csv.gz", "record_id"),
    ("respiratory", "bib_dedupe/respiratory/records_pre_merged.csv.gz", "ID"),
    ("haematology", "bib_dedupe/haematology/records_pre_merged.csv.gz", "ID"),
    ("cytology_screening", "bib_dedupe/cytology_screening/records_pre_merged.csv.gz", "ID"),
)
DRAWS = 2000
Pair = tuple[str, str]


def gold() -> list[dict[str, str]]:
    """The labels: id, specialty, half (`seen`, `unseen`, `development`, or none), each reader's."""
    with GOLD.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def agreement() -> dict[str, dict[str, float]]:
    """How often two readers gave the same label, of all items and of each list.

    Source: J. Cohen, Educ Psychol Meas 1960;20:37-46, https://doi.org/10.1177/001316446002000104
    """
    read: dict[str, list[Pair]] = defaultdict(list)
    for row in gold():
        if row["second_reader"]:
            for which in ("all", row["list"]):
                read[which].append((row["first_reader"], row["second_reader"]))
    return {which: agreed(found) for which, found in read.items()}


def agreed(read: list[Pair]) -> dict[str, float]:
    """The share of equal labels, and what it is beyond chance."""
    share = mean(a == b for a, b in read)
    first, second = (Counter(labels) for labels in zip(*read, strict=True))
    chance = sum(first[name] * second[name] for name in first) / len(read) ** 2
    kappa = (share - chance) / (1 - chance)
    return {"items": len(read), "share": round(share, 3), "kappa": round(kappa, 3)}


def collected(data: Path) -> Iterator[Article]:
    """The articles of the folders that the package reads by itself."""
    for name in FOLDERS:
        yield from records(collect_folder(data / name, workers=1).articles.collect(), Article)


def medquad(data: Path) -> Iterator[Article]:
    """MedQuAD's documents, from the file that holds one question in each line."""
    found: dict[str, Article] = {}
    with gzip.open(data / "qa/medquad/medquad.jsonl.gz", "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            name = f"medquad-jsonl:{row['collection'].split('_QA')[0]}/{row['document_id']}"
            if row["answer"]:
                article = found.setdefault(name, Article(id=name, source="medquad", title=""))
                article.title = article.title or row["focus"]
                article.keywords = article.keywords or row["synonyms"] or []
                article.body.append(Section("", row["question"], "question"))
                article.body.append(Section("", " ".join(row["answer"].split()), "answer"))
    yield from found.values()


def pubmedqa(data: Path) -> Iterator[Article]:
    """Abstracts whose title is a question, with their headings."""
    with gzip.open(data / "qa/pubmedqa/ori_pqal.json.gz", "rt", encoding="utf-8") as file:
        for number, row in json.load(file).items():
            yield Article(
                id=f"pubmed:{number}",
                source="pubmed",
                title=row["QUESTION"],
                abstract=" ".join(row["CONTEXTS"]),
                mesh=row["MESHES"],
            )


def notes(data: Path) -> Iterator[Article]:
    """Dictated notes, by their row; their keywords name the specialty, so they are left out."""
    with gzip.open(data / "clinical_notes/mtsamples_400.csv.gz", "rt", encoding="utf-8") as file:
        for number, (_, told, _, title, text, *_) in enumerate(csv.reader(file)):
            yield Article(
                id=f"mtsamples:{number}",
                source="mtsamples",
                title=title.strip(),
                abstract=" ".join(f"{told} {text}".split()),
            )


def citations(data: Path) -> Iterator[Article]:
    """Records of databases, many without an abstract."""
    for source, name, key in CITATIONS:
        with gzip.open(data / "dedup" / name, "rt", encoding="cp1252", errors="replace") as file:
            for row in csv.DictReader(file):
                yield Article(
                    id=f"{source}:{row[key]}",
                    source=source,
                    title=row["title"].strip(),
                    abstract=row.get("abstract") or "",
                )


def articles(data: Path) -> dict[str, Article]:
    """Every article of the list, by id."""
    every = (a for read in (pubmedqa, medquad, notes, citations, collected) for a in read(data))
    wanted = {row["id"] for row in gold() if row["half"]}
    return {article.id: article for article in every if article.id in wanted}


def pairs(data: Path) -> dict[str, list[Pair]]:
    """The readers' specialty and the classifier's, by half."""
    found = articles(data)
    out: dict[str, list[Pair]] = defaultdict(list)
    for row in gold():
        if row["half"]:
            said = classify(found[row["id"]]).specialty
            out[row["half"]].append((row["specialty"], said))
    return out


def scores(found: list[Pair]) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 of each specialty."""
    right = Counter(label for label, said in found if label == said)
    labels, given = Counter(label for label, _ in found), Counter(said for _, said in found)
    return {
        name: {
            "items": labels[name],
            "precision": round(right[name] / max(given[name], 1), 3),
            "recall": round(right[name] / max(labels[name], 1), 3),
            "f1": round(2 * right[name] / max(labels[name] + given[name], 1), 3),
        }
        for name in load_table().specialties
    }


def macro_f1(found: list[Pair]) -> float:
    """The mean of the F1 of the specialties that occur."""
    return mean(one["f1"] for one in scores(found).values() if one["items"])


def measured(found: list[Pair]) -> dict[str, Any]:
    """Everything about one half."""
    draw = random.Random(14)
    drawn = sorted(macro_f1(draw.choices(found, k=len(found))) for _ in range(DRAWS))
    names = load_table().specialties
    said = Counter(found)
    return {
        "items": len(found),
        "accuracy": round(mean(a == b for a, b in found), 3),
        "macro_f1": round(macro_f1(found), 3),
        "interval": [round(drawn[int(DRAWS * q)], 3) for q in (0.025, 0.975)],
        "specialties": scores(found),
        "matrix": {a: {b: said[a, b] for b in names if said[a, b]} for a in names},
    }


def main() -> None:
    """Measure every half, print the table and write the file."""
    named = os.environ.get("ELARA_SHARED_DATA")
    data = Path(named) if named else PROJECT.parent / "shared" / "data"
    out: dict[str, Any] = {"agreement": agreement()}
    for half, found in sorted(pairs(data).items()):
        out[half] = got = measured(found)
        low, high = got["interval"]
        print(
            f"{half:12}{got['items']:5} items   macro-F1 {got['macro_f1']:.3f} "
            f"({low:.3f} to {high:.3f})   accuracy {got['accuracy']:.3f}"
        )
    for name, one in out["unseen"]["specialties"].items():
        print(f"  {name:20}" + "".join(f"{key:>11} {value:<6}" for key, value in one.items()))
    text = json.dumps(out, indent=2) + "\n"
    (PROJECT / "benchmarks" / "specialties.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
