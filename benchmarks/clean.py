"""How fast clean is against the same rules applied text by text, and how much memory it takes.

    python benchmarks/clean.py

The corpus is the made-up one of benchmarks/corpus.py: 161,712 articles, about 228 million
characters. In every eighth article noise of one to three kinds is planted, and every eighth has
body sections, some of which repeat a paragraph. A second corpus is noisy all over: each kind of
noise in 5 % of the abstracts, odd blanks in two thirds. `plain` cleans both in one process with
Python's `re`, rule by rule and text by text; its output on 20,000 articles must be the same: texts,
changes, removed passages and personal data. Every figure comes from a fresh process, from its
start to its end. Results go to benchmarks/clean.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import corpus as made
import polars as pl

from elara.clean import PHI, RULES, clean_file
from elara.clean.passages import (
    PARAGRAPH,
    in_structure,
    is_whole,
    may_go,
    paragraph_key,
    split,
)
from elara.clean.rules import MOST_ROUNDS, Rule
from elara.records import Article, schema
from elara.text.phi import find_in

PROJECT = Path(__file__).resolve().parents[1]
CORPORA = PROJECT / "_build" / "clean-corpus"
SAMPLE = 20_000
REPEATS = 5
SEED = 7
_CHUNK = 5_000
# What counts as a word: ASCII letters and whatever is not ASCII.
_COMPOUND = re.compile("[a-z\x80-\U0010ffff]+(?:-[a-z\x80-\U0010ffff]+)*")
_SMALL = {c: c + 32 for c in range(65, 91)}

# What is planted, each beside or inside an abstract.
NOISE: dict[str, Callable[[str], str]] = {
    "entities": lambda t: t + " Values of p &amp;lt; 0.05 &amp; 5&nbsp;&micro;g counted.",
    "encoding": lambda t: t.replace(".", ", the patientâ€™s dose was 5 Âµg/kg.", 1),
    "invisible": lambda t: t.replace("a", "a\u00ad", 3).replace(" the ", " \u200bthe "),
    "scripts": lambda t: "<script>track('x');</script>" + t,
    "superscripts": lambda t: t + " Platelets rose to 5 ×10<sup>9</sup>/L with H<sub>2</sub>O.",
    "tags": lambda t: (
        "<p>" + t.replace(". ", ".</p><p>", 2).replace("the", "<i>the</i>", 1) + "</p>"
    ),
    "hyphens": lambda t: t.replace("tion ", "-\ntion ", 2).replace(" non", " non-\n", 1),
    "headings": lambda t: "Abstract: " + t,
    "copyright": lambda t: t + " Copyright © 2020 Elsevier Ltd. All rights reserved.",
    "correspondence": lambda t: t + " Correspondence: a.b@example.org",
    "links": lambda t: t + " (available at https://example.org/x)",
    "spaces": lambda t: t.replace(" ", "  ", 5).replace(", ", ",\t", 2) + " ",
    "no-break": lambda t: t.replace(" of ", "\u00a0of\u00a0"),
    "boilerplate": lambda t: (
        t + f" Further research in this field is needed by {len(t) % 7 * 'many '}groups."
    ),
    "patients": lambda t: t + " Mrs. Moyo was born on 3 May 1961 and saw Dr. Okafor.",
}


_BLANKS = ("spaces", "no-break")


def build(path: Path, articles: int, seed: int, noisy: bool = False) -> None:
    """Write a corpus of articles with planted noise, chunk by chunk.

    Args:
        path: the Parquet file.
        articles: how many.
        seed: decides all of it.
        noisy: whether to make the second corpus.
    """
    import pyarrow.parquet as pq

    writer, out = made.Writer(seed), None
    kinds = list(NOISE.values())
    paragraphs = [p for p in writer.texts(writer.rng.integers(3, 7, 50)) if len(p) > 300]
    for start in range(0, articles, _CHUNK):
        rows = writer.articles("bench", start, min(_CHUNK, articles - start))
        for number, row in enumerate(rows, start):
            if noisy:
                row["abstract"] = _noise(str(row["abstract"]), writer.rng)
            elif number % 8 == 3:
                for kind in writer.rng.integers(len(kinds), size=int(writer.rng.integers(1, 4))):
                    row["abstract"] = kinds[kind](str(row["abstract"]))
            row["body"] = []
            if number % 8 == 0 and not noisy:
                texts = writer.texts(writer.rng.integers(2, 7, 2))
                shared = paragraphs[int(writer.rng.integers(len(paragraphs)))]
                if number % 16 == 0:
                    texts[0] += "\n" + (shared if number % 32 == 0 else texts[1])
                row["body"] = [{"heading": "H", "text": t, "kind": "text"} for t in texts]
        columns = schema(Article)
        table = pl.DataFrame([{c: row.get(c) for c in columns} for row in rows], schema=columns)
        arrow = table.with_columns(
            pl.col(pl.String).fill_null(""), pl.col(pl.List(pl.String)).fill_null([])
        ).to_arrow(compat_level=pl.CompatLevel.oldest())
        if out is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            out = pq.ParquetWriter(path, arrow.schema, compression="zstd")
        out.write_table(arrow)
    if out:
        out.close()


def _noise(text: str, rng: made.Random) -> str:
    for kind, plant in NOISE.items():
        if kind not in _BLANKS and rng.random() < 0.05:
            text = plant(text)
    return NOISE[_BLANKS[int(rng.integers(2))]](text) if rng.random() < 2 / 3 else text


# --- the same, text by text ---------------------------------------------------------------------

Place = tuple[int, str]  # article, label


def words_of(texts: Iterable[str]) -> Counter[str]:
    """The words of a collection, counted one by one; see `elara.clean.repair.count_forms`."""
    counts: Counter[str] = Counter()
    for text in texts:
        for compound in _COMPOUND.findall(text.translate(_SMALL)):
            parts = compound.split("-")
            counts.update([*parts, *map("-".join, pairwise(parts))])
    return counts


def goes(passage: str) -> bool:
    """What `may_go` says, of all that is counted."""
    return passage.strip() != "" and may_go(passage)


class Plain:
    """The reference: every rule on every text, repeats counted in dictionaries."""

    def __init__(self, articles: list[dict[str, Any]]) -> None:
        self.words: Counter[str] = Counter()
        self.changes: list[tuple[str, str, str]] = []
        self.removed: list[tuple[str, str, str, str]] = []
        self.ids = [row["id"] for row in articles]
        self.texts: dict[Place, str] = {}
        self.running, self.prose, self.named = set(), set(), set()
        for number, row in enumerate(articles):
            self.texts[number, "title"] = row["title"]
            self.texts[number, "abstract"] = row["abstract"]
            self.running.add((number, "abstract"))
            self.prose.add((number, "abstract"))
            for part, section in enumerate(row["body"]):
                for name in ("heading", "text"):
                    self.texts[number, f"body[{part}].{name}"] = section[name]
                place = (number, f"body[{part}].text")
                self.running.add(place)
                if section["kind"] == "text":
                    self.prose.add(place)
                if section["kind"] == "answer":
                    self.named.add((number, f"body[{part}].heading"))

    def clean(self) -> Plain:
        self.words = words_of(self.texts.values())
        self.apply_rules(list(self.texts))
        for _ in range(MOST_ROUNDS):
            changed = self.remove_repeats()
            if not changed:
                break
            self.apply_rules(changed)
        return self

    def apply_rules(self, places: list[Place]) -> None:
        for place in places:
            text = self.texts[place]
            for _ in range(MOST_ROUNDS):
                before = text
                for rule in RULES:
                    if rule.removes is None or place in self.running:
                        text = self.apply(rule, place, text)
                if text == before:
                    break
            self.texts[place] = text

    def apply(self, rule: Rule, place: Place, text: str) -> str:
        # Asking a pattern is cheaper here than looking for its triggers first. Only the repair of
        # encodings is not: it is for texts beyond ASCII.
        if rule.informed:
            after = rule.informed(text, self.words)
        elif rule.name != "encoding":
            after = rule.function(text)
        else:
            after = text if text.isascii() else rule.apply(text)
        if after != text:
            self.file(rule.name, place, rule.removes(text) if rule.removes else [])
        return after

    def file(self, rule: str, place: Place, passages: list[str]) -> None:
        article = self.ids[place[0]]
        self.changes.append((article, rule, place[1]))
        self.removed += [(article, rule, place[1], p) for p in passages if not p.isspace()]

    def remove_repeats(self) -> list[Place]:
        articles_with: Counter[str] = Counter()
        first: dict[str, int] = {}
        again: set[str] = set()
        for number, places in self.by_article():
            held = {s for place in places for s in split(self.texts[place]) if goes(s)}
            articles_with.update(held)
            for place in places:
                if place[1] != "abstract":
                    for line in self.texts[place].split("\n"):
                        if len(line) >= PARAGRAPH and goes(line):
                            key = paragraph_key(line)
                            if first.setdefault(key, number) != number:
                                again.add(key)
        changed = []
        for number, places in self.by_article():
            seen: set[str] = set()
            for place in places:
                text, at = self.texts[place], 0
                repeated, shared = set(), set()
                for ordinal, line in enumerate(text.split("\n")):
                    key = paragraph_key(line)
                    size = len(line)
                    if len(line) >= PARAGRAPH and goes(line):
                        elsewhere = place[1] != "abstract" and key in again and first[key] != number
                        if (elsewhere or key in seen) and not in_structure(text, at, at + size):
                            (shared if elsewhere else repeated).add(ordinal)
                        seen.add(key)
                    at += size + 1
                at, kept, common = 0, [], []
                for part in split(text):
                    size = len(part)
                    span = text, at, at + size
                    often = articles_with[part] >= REPEATS
                    out = often and not in_structure(*span) and is_whole(*span)
                    (common if out else kept).append(part)
                    at += size
                if common:
                    self.file("boilerplate", place, common)
                lines = "".join(kept).split("\n")
                for rule, gone in (
                    ("repeated_paragraphs", repeated),
                    ("shared_paragraphs", shared),
                ):
                    if gone:
                        self.file(rule, place, [lines[ordinal] for ordinal in sorted(gone)])
                out_of_it = repeated | shared
                self.texts[place] = "\n".join(
                    line for ordinal, line in enumerate(lines) if ordinal not in out_of_it
                )
                if self.texts[place] != text:
                    changed.append(place)
        return changed

    def by_article(self) -> Iterator[tuple[int, list[Place]]]:
        grouped: defaultdict[int, list[Place]] = defaultdict(list)
        for place in self.texts:
            if place in self.prose:
                grouped[place[0]].append(place)
        yield from grouped.items()

    def phi(self) -> list[tuple[str, str, str, int, int]]:
        found = []
        for place, text in self.texts.items():
            # As with the rules, asking the pattern is cheaper here than looking for triggers.
            kinds = [kind for kind in PHI if next(kind.matches(text), None)]
            if kinds and place not in self.named:
                article = self.ids[place[0]]
                found += [(article, place[1], *entry) for entry in find_in(text, kinds)]
        return found


def run_plain(source: Path, folder: Path) -> None:
    """Clean a file text by text and write the same tables."""
    plain = Plain(pl.read_parquet(source).to_dicts()).clean()
    folder.mkdir(parents=True, exist_ok=True)
    texts = [(plain.ids[n], label, text) for (n, label), text in plain.texts.items()]
    for name, rows, columns in (
        ("texts", texts, ["id", "field", "text"]),
        ("changes", plain.changes, ["id", "rule", "field"]),
        ("removed", plain.removed, ["id", "rule", "field", "text"]),
        ("phi", plain.phi(), ["id", "field", "kind", "start", "end"]),
    ):
        pl.DataFrame(rows, schema=columns, orient="row").write_parquet(folder / f"{name}.parquet")


def differences(ours: Path, plain: Path) -> list[str]:
    """The tables in which both runs differ: texts, changes, removed passages, personal data."""
    articles = pl.read_parquet(ours / "articles.parquet")
    rows = [
        (row["id"], label, text)
        for row in articles.select("id", "title", "abstract", "body").iter_rows(named=True)
        for label, text in [
            ("title", row["title"]),
            ("abstract", row["abstract"]),
            *(
                (f"body[{n}].{name}", section[name])
                for n, section in enumerate(row["body"])
                for name in ("heading", "text")
            ),
        ]
    ]
    pairs = {
        "texts": pl.DataFrame(rows, schema=["id", "field", "text"], orient="row"),
        "changes": pl.read_parquet(ours / "changes.parquet").select("id", "rule", "field"),
        "removed": pl.read_parquet(ours / "removed.parquet").select("id", "rule", "field", "text"),
        "phi": pl.read_parquet(ours / "phi.parquet"),
    }
    differ = []
    for name, table in pairs.items():
        expected = pl.read_parquet(plain / f"{name}.parquet")
        if name == "texts":  # ours leaves out an article without any text
            expected = expected.filter(pl.col("id").is_in(articles["id"].implode()))
        if not table.sort(pl.all()).equals(expected.sort(pl.all())):
            differ.append(name)
    return differ


# --- the measurement ----------------------------------------------------------------------------


def one(which: str, source: Path, folder: Path) -> None:
    """What a measured process does."""
    if which == "elara":
        clean_file(source, folder, keep_phi=True)
    else:
        run_plain(source, folder)


def measure(which: str, source: Path, folder: Path) -> dict[str, float]:
    """Seconds and peak memory of a fresh process, from its start to its end."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, __file__, "--one", which, str(source), str(folder)]
    started = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    cpu = used.ru_utime + used.ru_stime
    return {"seconds": seconds, "cpu_seconds": cpu, "peak_rss_mib": used.ru_maxrss / 1024}


def corpus(articles: int, noisy: bool = False) -> Path:
    """The corpus of so many articles, made once."""
    path = CORPORA / f"{'noisy' if noisy else 'articles'}-{articles}-{SEED}.parquet"
    if not path.exists():
        draft = path.with_suffix(".draft")
        build(draft, articles, SEED, noisy)
        draft.replace(path)
    return path


def summary(runs: list[dict[str, float]]) -> dict[str, Any]:
    """Median and spread of several runs."""
    seconds = [run["seconds"] for run in runs]
    return {
        "runs": len(runs),
        "seconds_median": round(statistics.median(seconds), 2),
        "seconds_spread": [round(min(seconds), 2), round(max(seconds), 2)],
        "cpu_seconds_median": round(statistics.median(run["cpu_seconds"] for run in runs), 2),
        "peak_rss_mib": round(max(run["peak_rss_mib"] for run in runs)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--one", nargs=3, metavar=("WHICH", "SOURCE", "FOLDER"), help="one run")
    parser.add_argument("--articles", type=int, default=made.ARTICLES)
    parser.add_argument("--sample", type=int, default=SAMPLE, help="must come out the same")
    parser.add_argument("--runs", type=int, default=5, help="of Elara; the plain one runs once")
    parser.add_argument("--growth", type=int, nargs="*", default=[3, 10])
    parser.add_argument("--json", type=Path, default=PROJECT / "benchmarks" / "clean.json")
    asked = parser.parse_args()
    if asked.one:
        return one(asked.one[0], Path(asked.one[1]), Path(asked.one[2]))
    sample, whole = min(asked.sample, asked.articles), asked.sample >= asked.articles
    small, full = corpus(sample), corpus(asked.articles)
    with tempfile.TemporaryDirectory(dir=CORPORA) as name:
        ours, plain = Path(name) / "ours", Path(name) / "plain"
        measure("elara", small, ours)  # warms the caches
        slow = [measure("plain", small, plain)]
        differ = differences(ours, plain)
        dirty = corpus(sample, noisy=True)
        measure("elara", dirty, ours)
        slow_noisy = [measure("plain", dirty, plain)]
        differ += [f"{table} of the noisy corpus" for table in differences(ours, plain)]
        dirty = corpus(asked.articles, noisy=True)
        noisy = summary([measure("elara", dirty, ours) for _ in range(asked.runs)])
        noisy_plain = summary(slow_noisy if whole else [measure("plain", dirty, plain)])
        elara = [measure("elara", full, ours) for _ in range(asked.runs)]
        characters = sum(
            int(pl.scan_parquet(ours / "articles.parquet").select(text).collect().item())
            for text in (
                pl.col("title").str.len_chars().sum() + pl.col("abstract").str.len_chars().sum(),
                pl.col("body").explode().struct.field("text").str.len_chars().sum(),
            )
        )
        slow = slow if whole else [measure("plain", full, plain)]
        growth = {1: summary(elara)}
        for times in asked.growth:
            growth[times] = summary([measure("elara", corpus(times * asked.articles), ours)])
    result = {
        "command": " ".join(["python benchmarks/clean.py", *sys.argv[1:]]),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "versions": {n: version(n) for n in ("polars", "pyarrow", "numpy", "ftfy")},
        "articles": asked.articles,
        "characters_after": characters,
        "same_output_on_sample": not differ,
        "sample": sample,
        "elara": growth[1],
        "plain_python": summary(slow),
        "ratios": {
            "plain_python": round(slow[0]["seconds"] / growth[1]["seconds_median"], 1),
            "plain_python_noisy": round(noisy_plain["seconds_median"] / noisy["seconds_median"], 1),
        },
        "noisy": {"elara": noisy, "plain_python": noisy_plain},
        "growth": growth,
    }
    asked.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print("run".ljust(18), "seconds", "CPU s", "peak MiB", sep="\t")
    for label, entry in (
        [("plain Python", result["plain_python"])]
        + [(f"Elara, {times}x", entry) for times, entry in growth.items()]
        + [("noisy, plain", noisy_plain), ("noisy, Elara", noisy)]
    ):
        cells = (entry[k] for k in ("seconds_median", "cpu_seconds_median", "peak_rss_mib"))
        print(label.ljust(18), *cells, sep="\t")
    print(f"ratios {result['ratios']}, same output: {not differ} {differ or ''}")


if __name__ == "__main__":
    main()
