"""How often the search for personal data finds what is there, and how often it is mistaken.

Run: python benchmarks/phi.py   (prints a table, writes phi.json beside it; a minute)

Every set is cut in two by a hash: of the template in `presidio`, whose sentences are variations of
209 and 82 templates, of the record elsewhere. The rules were made by looking at the half `tuned`
only. The figures that count are those of the half `reported`, of which no error was read.

Measures:
- recall: a person counts as found if all of the name is covered, the first name too, any other
  span if it is touched. `introduced` persons follow a title or a field label, stand before "is a
  N-year-old", or are a first name and a family name; `all` persons include single words in passing.
- precision: a finding is right if it touches a span of the gold standard (the name of a person
  only if that span is a person or a title). Web addresses are left out, as the sets do not list
  those in text about software.
- withheld: articles of PubMed in which a patient is said to be named, per 1,000 that have an
  abstract. No patient is named in them, so that each is one too many.

Intervals are Wilson's at 95 %.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from typing import Any

import pyarrow as pa
from lxml import etree

from elara.text.phi import find_each, patient_kinds

PROJECT = Path(__file__).resolve().parents[1]
HALVES = ("tuned", "reported")
Gold = list[tuple[str, int, int]]

_NAMING = {"patient_name", "labelled_name", "name_with_age", "treated_name", "greeted_name"}
_NAMING |= {"repeated_name", "full_name", "clinician_name"}
_TITLES = r"(?:mr|mrs|ms|mx|miss|dr|prof|professor|doctor|sr|sra|srta|dra)\b\.?"
_TITLE_BEFORE = re.compile(rf"(?i)\b{_TITLES}\s*$")
_TITLE = re.compile(rf"(?i){_TITLES}")
_LABEL_BEFORE = re.compile(
    r"(?i)\b(?:name|surname|forename|patient|client|contact|nombre|apellidos)\s?:\s*$"
    r"|\bmy name is\s$"
)
_AGE_AFTER = re.compile(r"(?i),?\s(?:is|was)?\s?an?\s\d{1,3}[- ]years?[- ]old")
_FULL_NAME = re.compile(r"(?:[^\W\d_]\.?\s)?[^\W\d_][\w'’.-]+(?:\s[\w'’.-]+)+")


def found_in(texts: list[str]) -> list[list[tuple[str, int, int]]]:
    """What the stage finds in each text."""
    found = dict(find_each(pa.array(texts, pa.large_string())))
    return [found.get(place, []) for place in range(len(texts))]


def half(record: str) -> str:
    """The half of a record, by a hash of its name."""
    return HALVES[hashlib.sha256(record.encode()).digest()[0] % 2]


def kinds_of_person(text: str, start: int, end: int) -> list[str]:
    """How a person is introduced: `title`, `label`, `age`, `full name`; or not at all."""
    before, name, after = text[max(0, start - 40) : start], text[start:end], text[end : end + 40]
    named = _FULL_NAME.fullmatch(name) and all(w[0].isupper() for w in name.split() if len(w) > 3)
    said = {
        "title": _TITLE_BEFORE.search(before) or _TITLE.match(name),
        "label": _LABEL_BEFORE.search(before),
        "age": _AGE_AFTER.match(after),
        "full name": named and sum(len(w.strip(".")) > 1 for w in name.split()) > 1,
    }
    return [kind for kind, found in said.items() if found]


def presidio(data: Path) -> Iterator[tuple[str, str, Gold]]:
    """English sentences from templates: record, text, spans."""
    folder = data / "phi" / "presidio"
    whole = gzip.decompress((folder / "synth_dataset_v2.json.gz").read_bytes())
    for name, raw in (
        ("presidio", whole),
        ("small", (folder / "generated_small.json").read_bytes()),
    ):
        for row in json.loads(raw):
            gold = [
                (s["entity_type"], s["start_position"], s["end_position"]) for s in row["spans"]
            ]
            yield f"{name}:{row['template_id']}", row["full_text"], gold


def meddocan(data: Path) -> Iterator[tuple[str, str, Gold]]:
    """Spanish cases with planted data: record, text, spans."""
    for name in ("train", "dev"):
        with gzip.open(data / f"phi/meddocan/{name}.jsonl.gz", "rt", encoding="utf-8") as file:
            for row in map(json.loads, file):
                gold = [(s["type"], s["start"], s["end"]) for s in row["spans"]]
                yield f"meddocan:{row['id']}", row["text"], gold


def aci_bench(data: Path) -> Iterator[tuple[str, str, Gold]]:
    """Role-played visits, dialogue and note: record, text, where the patient is named."""
    folder = data / "phi" / "aci_bench"
    with gzip.open(folder / "train.csv.gz", "rt", encoding="utf-8", newline="") as train:
        texts = {row["encounter_id"]: row for row in csv.DictReader(train)}
    with (folder / "valid.csv").open(encoding="utf-8", newline="") as valid:
        texts |= {row["encounter_id"]: row for row in csv.DictReader(valid)}
    for name in ("train_metadata.csv", "valid_metadata.csv"):
        for row in csv.DictReader((folder / name).open(encoding="utf-8")):
            names = [row[k].strip() for k in ("patient_firstname", "patient_familyname")]
            if not any(names):
                continue
            one = "|".join(re.escape(n) for n in names if n)
            planted = re.compile(rf"(?i)\b(?:{one})(?: (?:{one}))?\b")
            for field in ("dialogue", "note"):
                text = texts[row["encounter_id"]][field]
                yield (
                    f"aci_bench:{row['encounter_id']}",
                    text,
                    [("PERSON", *found.span()) for found in planted.finditer(text)],
                )


SETS = {"presidio": presidio, "meddocan": meddocan, "aci_bench": aci_bench}


def rate(met: int, of: int) -> dict[str, Any]:
    """A share with its interval.

    Source: E. B. Wilson, J Am Stat Assoc 1927;22:209-212, https://doi.org/10.2307/2276774
    """
    if not of:
        return {"met": 0, "of": 0, "rate": None, "low": None, "high": None}
    z, share = 1.959964, met / of
    centre = (share + z * z / (2 * of)) / (1 + z * z / of)
    reach = z * sqrt(share * (1 - share) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    values = {"rate": share, "low": max(0.0, centre - reach), "high": min(1.0, centre + reach)}
    return {"met": met, "of": of} | {k: round(v, 4) for k, v in values.items()}


def spans(data: Path, name: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Recall and precision of one set: half, then what is measured."""
    counts: dict[str, dict[str, list[int]]] = {h: defaultdict(lambda: [0, 0]) for h in HALVES}
    records = list(SETS[name](data))
    places = found_in([text for _, text, _ in records])
    for (record, text, gold), found in zip(records, places, strict=True):
        here = counts[half(record)]
        for kind, start, end in gold:
            for label, met in judged(text, kind, start, end, found):
                here[f"recall {label}"][0] += met
                here[f"recall {label}"][1] += 1
        if name == "aci_bench":  # only the patient's own name is known
            continue
        for kind, start, end in found:
            people = ("PERSON", "TITLE", "NAME", "OTHER") if kind in _NAMING else None
            right = any(start < b and end > a for g, a, b in gold if people is None or g in people)
            if kind != "url":
                for label in ("precision", "precision person" if people else "precision other"):
                    here[label][0] += right
                    here[label][1] += 1
    return {h: {k: rate(*v) for k, v in sorted(counts[h].items())} for h in HALVES}


def judged(
    text: str, kind: str, start: int, end: int, found: list[tuple[str, int, int]]
) -> Iterator[tuple[str, bool]]:
    """What a span of the gold standard counts for, and whether it was found."""
    near = [(a, b) for _, a, b in found if a < end and b > start]
    if kind == "TITLE" and not _TITLE.fullmatch(text[start:end]):
        kind = "TITLE of a job"
    if kind not in ("PERSON", "NAME"):
        yield kind, bool(near)
        return
    letters = [i for i in range(start, end) if text[i].isalpha()]
    whole = bool(near) and all(any(a <= i < b for a, b in near) for i in letters)
    yield "PERSON, all", whole
    introduced = kinds_of_person(text, start, end)
    if introduced:
        yield "PERSON, introduced", whole
    for how in introduced:
        yield f"PERSON by {how}", whole


def withheld(data: Path) -> dict[str, dict[str, Any]]:
    """Articles of PubMed that would be left out although no patient is named, by half."""
    counts = {h: [0, 0] for h in HALVES}
    blocks: dict[str, list[str]] = {}
    for path in sorted((data / "pubmed").rglob("*.xml*")):
        raw = path.read_bytes()
        parser = etree.XMLParser(recover=True, huge_tree=True, resolve_entities=False)
        root = etree.fromstring(gzip.decompress(raw) if path.suffix == ".gz" else raw, parser)
        for article in () if root is None else root.iter("PubmedArticle", "PubmedBookArticle"):
            number = article.findtext(".//PMID") or ""
            texts = ["".join(e.itertext()) for e in article.iter("ArticleTitle", "AbstractText")]
            if article.findall(".//AbstractText"):
                blocks.setdefault(number, texts)
    numbers = [number for number, texts in blocks.items() for _ in texts]
    found = found_in([text for texts in blocks.values() for text in texts])
    patients = {
        number
        for number, places in zip(numbers, found, strict=True)
        if any(kind in patient_kinds() for kind, _, _ in places)
    }
    for number in blocks:
        here = counts[half(f"pubmed:{number}")]
        here[0] += number in patients
        here[1] += 1
    return {h: rate(*pair) for h, pair in counts.items()}


def main() -> None:
    """Measure every set, print the table and write the file."""
    named = os.environ.get("ELARA_SHARED_DATA")
    data = Path(named) if named else PROJECT.parent / "shared" / "data"
    out: dict[str, Any] = {name: spans(data, name) for name in SETS}
    out["pubmed"] = {h: {"withheld": share} for h, share in withheld(data).items()}
    print(f"{'set':10}{'half':10}{'measure':32}{'of':>6}{'rate':>8}   95 % interval")
    for name, halves in out.items():
        for part, rows in halves.items():
            for measure, got in rows.items():
                figures = f"{got['rate']:8.3f}   {got['low']:.3f} to {got['high']:.3f}"
                print(f"{name:10}{part:10}{measure:32}{got['of']:6}{figures}")
    out["pubmed"]["reported"]["per_1000"] = round(
        1000 * out["pubmed"]["reported"]["withheld"]["rate"], 2
    )
    text = json.dumps(out, indent=2) + "\n"
    (PROJECT / "benchmarks" / "phi.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
