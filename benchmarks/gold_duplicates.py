"""Precision and recall of `bibliographic_duplicates` on citation sets that people deduplicated.

Run: python benchmarks/gold_duplicates.py   (prints a table, writes gold_duplicates.json beside it)

The rules and thresholds were developed on `respiratory`, `asysd` and the pair cases. The first run
on the two other sets gave F1 0.998 (cytology_screening) and 0.943 (haematology) over records. Only
then were their errors read, and what was at fault in general was mended: "[Erratum appears …]" cut
off, errata written "(vol 142, pg 310, 2003)", page ranges without a beginning, study groups as
authors. So the table shows how well the rules fit, and those two numbers how well they travelled.

Measures:
- records: with r removed records, of which n rightly, and d duplicates in the gold set (cluster
  size minus one, summed), precision is n / r and recall n / d. A removed record is right as far as
  it shares its cluster with another of the same gold cluster, whichever of them is kept.
- pairs: the same over all pairs of records within a cluster. `asysd` labels records only (one per
  article is `unique` in its column `source`), so that it has no pairs.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import polars as pl

from elara.inspection.bibliographic import bibliographic_duplicates

PROJECT = Path(__file__).resolve().parents[1]
SETS = ("respiratory", "asysd", "cytology_screening", "haematology")
DEVELOPED = ("respiratory", "asysd")


def names(text: str) -> list[str]:
    """Authors as a list: `Zuna, R and Wang, S`, `B. Abrahao; P. Parigi`, `Adeli K.Lewis G. F.`."""
    joined = " and " in text or ";" in text
    parts = re.split(r" and |;" if joined else r"(?<=\.)(?=[^\W\d_]{2})", text)
    return [name.strip() for name in parts if name.strip()]


def table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Citations of a gold set with the columns of `Article`, and `volume` and `pages`."""
    records = []
    for row in rows:
        said = {
            key.lower(): "" if value in (None, "NA", "UNKNOWN") else str(value).strip()
            for key, value in row.items()
        }
        got = said.get
        records.append(
            {
                "id": got("record_id") or said["id"],
                "title": got("title", ""),
                "abstract": got("abstract", ""),
                "authors": names(got("author", "")),
                "journal": got("journal") or got("booktitle", ""),
                "published": got("year", ""),
                "doi": got("doi", ""),
                "volume": got("volume", ""),
                "pages": got("pages", ""),
            }
        )
    return pl.DataFrame(records, schema_overrides={"authors": pl.List(pl.String)})


def _csv(path: Path, encoding: str = "utf-8") -> list[dict[str, Any]]:
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode(encoding)
    return list(csv.DictReader(io.StringIO(text, newline="")))


def load(data: Path, name: str) -> tuple[pl.DataFrame, list[list[str]], dict[str, bool]]:
    """A gold set: citations, gold clusters (or none), and which record is unique (or nothing)."""
    if name == "asysd":
        rows = _csv(data / "dedup/asysd/labelled_test_set.csv.gz", encoding="latin-1")
        return table(rows), [], {row["record_id"]: row["source"] == "unique" for row in rows}
    folder = data / "dedup/bib_dedupe" / name
    merged = _csv(folder / "merged_record_ids.csv")
    gold = [row["merged_ids"].split(";") for row in merged]
    return table(_csv(folder / "records_pre_merged.csv.gz")), gold, {}


def cases(data: Path) -> list[tuple[str, pl.DataFrame, bool]]:
    """The pair cases: name, the two citations, whether they are duplicates."""
    found = json.loads((data / "dedup/bib_dedupe/test_cases.json").read_text())["cases"]
    return [
        (case["id"], table([case["record_a"], case["record_b"]]), case["expected_duplicate"])
        for case in found
    ]


def _measure(right: int, found: int, gold: int) -> dict[str, float]:
    precision, recall = right / found, right / gold
    f1 = 2 * precision * recall / (precision + recall)
    counts = {"right": right, "found": found, "gold": gold}
    return counts | {"precision": precision, "recall": recall, "f1": f1}


def measure(
    records: pl.DataFrame, gold: list[list[str]], unique: dict[str, bool]
) -> dict[str, dict[str, float]]:
    """Compare the clusters that Elara finds with the gold ones: `records`, `pairs`."""
    removed = bibliographic_duplicates(records)
    stands = dict.fromkeys(records["id"]) | dict(removed.select("id", "kept_id").iter_rows())
    clusters: dict[str, list[str]] = {}
    for record, kept in stands.items():
        clusters.setdefault(kept or record, []).append(record)
    if unique:
        copies = [sum(not unique[record] for record in c) for c in clusters.values()]
        sizes = [len(c) - 1 for c in clusters.values()]
        right = sum(map(min, sizes, copies))
        return {"records": _measure(right, removed.height, len(unique) - sum(unique.values()))}
    article = {record: number for number, c in enumerate(gold) for record in c}
    shares = {(article.get(r, r), kept) for kept, c in clusters.items() for r in c}
    pairs = [
        {frozenset(p) for c in some for p in combinations(c, 2)}
        for some in (clusters.values(), gold)
    ]
    duplicates = sum(len(c) - 1 for c in gold)
    return {
        "records": _measure(records.height - len(shares), removed.height, duplicates),
        "pairs": _measure(len(pairs[0] & pairs[1]), len(pairs[0]), len(pairs[1])),
    }


def overall(results: dict[str, dict[str, dict[str, float]]], unit: str) -> dict[str, float]:
    """One measure over all sets, every record or pair counting the same."""
    parts = [result[unit] for result in results.values() if unit in result]
    right, found, gold = (int(sum(p[k] for p in parts)) for k in ("right", "found", "gold"))
    return _measure(right, found, gold)


def main() -> None:
    """Measure every set, print the table and write the file."""
    named = os.environ.get("ELARA_SHARED_DATA")
    data = Path(named) if named else PROJECT.parent / "shared" / "data"
    results: dict[str, dict[str, dict[str, float]]] = {}
    article_only: dict[str, dict[str, dict[str, float]]] = {}
    print(f"{'set':24}{'records':>8}{'seconds':>8}  unit      precision  recall      F1")
    for name in SETS:
        records, gold, unique = load(data, name)
        start = time.perf_counter()
        results[name] = measure(records, gold, unique)
        seconds = time.perf_counter() - start
        article_only[name] = measure(records.drop("volume", "pages"), gold, unique)
        note = "" if name in DEVELOPED else " *"
        for unit, m in results[name].items():
            scores = f"{m['precision']:9.4f}{m['recall']:8.4f}{m['f1']:8.4f}"
            print(f"{name + note:24}{records.height:8}{seconds:8.2f}  {unit:10}{scores}")
    for title, table_ in (("all", results), ("all, no volume or pages", article_only)):
        for unit in ("records", "pairs"):
            m = overall(table_, unit)
            scores = f"{m['precision']:9.4f}{m['recall']:8.4f}{m['f1']:8.4f}"
            print(f"{title:24}{'':16}  {unit:10}{scores}")
    wrong = [
        name
        for name, pair, same in cases(data)
        if (bibliographic_duplicates(pair).height > 0) != same
    ]
    print("* not used to develop the rules")
    print(f"pair cases: {len(cases(data)) - len(wrong)} of {len(cases(data))} right", *wrong)
    out = {
        "sets": results,
        "without_volume_and_pages": article_only,
        "overall": {unit: overall(results, unit) for unit in ("records", "pairs")},
        "developed_on": list(DEVELOPED),
        "wrong_pair_cases": wrong,
    }
    text = json.dumps(out, indent=2, default=str) + "\n"
    (PROJECT / "benchmarks" / "gold_duplicates.json").write_text(text)


if __name__ == "__main__":
    main()
