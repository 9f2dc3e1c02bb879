"""The compiled pass counts what a plain reading of the definitions counts, on any text."""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elara.inspection import score
from elara.inspection.features import FEATURES, measure, texts_of
from elara.inspection.lexicon import ENGLISH_WORDS, medical_words, tables
from elara.inspection.pairs import bucket_pairs
from elara.records import Article, Section, frame
from elara.text.groups import components
from elara.text.sentences import UNSPACED
from elara.text.shingles import jaccard, shingle_sets
from elara.text.wordlist import SUFFIXES
from elara.text.words import LETTER, characters

MEDICAL = medical_words(pl.Series([[]], dtype=pl.List(pl.String)))


def category(character: str) -> str:
    """Of what lies above the last ideographs, nothing is part of a word: see `text.characters`."""
    return unicodedata.category(character) if ord(character) < 0x34000 else "Co"


def words(text: str) -> list[str]:
    """Runs of letters, marks and digits; without blanks between words, single characters."""
    found, run = [], ""
    for character in text + " ":
        alone = category(character)[0] in "LM" and any(
            a <= ord(character) <= b for a, b in UNSPACED
        )
        if run and alone:
            found.append(run)
            run = ""
        if alone or character == "〇":
            found += [run, character.lower()[0]] if run else [character.lower()[0]]
            run = ""
        elif category(character)[0] in "LMN":
            run += character.lower()[0]
        elif run:
            found.append(run)
            run = ""
    return found


def space(character: str) -> bool:
    return character in "\t\n\v\f\r\x85" or category(character)[0] == "Z"


def tokens(text: str) -> list[str]:
    return "".join(" " if space(c) else c for c in text).split(" ")


def sentences(text: str) -> list[str]:
    found, run = [], ""
    for before, character in zip(" " + text, text, strict=False):
        if character == "\n" or (space(character) and before in ".!?"):
            found.append(run)
            run = ""
        else:
            run += character
    return [s for s in [*found, run] if any(category(c)[0] == "L" for c in s)]


def is_medical(word: str) -> bool:
    ending = any(len(word) >= len(s) + 4 and word.endswith(s) for s in SUFFIXES.split("|"))
    return word in MEDICAL or (ending and all(category(c)[0] == "L" for c in word))


def reference(article: Article) -> dict[str, float]:
    """The measures of an article, as the documentation states them."""
    pieces = [article.title, article.abstract, *(s.text for s in article.body)]
    every = [w for p in pieces for w in words(p)]
    shingles = list(zip(every, every[1:], every[2:], strict=False))
    lengths = [len([t for t in tokens(s) if t]) for p in pieces for s in sentences(p)]
    characters = "".join(pieces)
    odd = [
        c
        for c in characters
        if category(c)[0] not in "LMN" and not space(c) and c not in ".,;:()[]/%'’“”\"+=<>≤≥±°×–—-"
    ]
    body = sum(len([t for t in tokens(s.text) if t]) for s in article.body)
    measures: dict[str, float] = {
        "abstract": max(len([t for t in tokens(article.abstract) if t]), body),
        "length": len(every),
        "medical": sum(map(is_medical, every)) / max(len(every), 1),
        "language": sum(w in ENGLISH_WORDS for w in every) / max(len(every), 1),
    }
    if len(every) >= 20:
        if lengths:
            measures["sentences"] = sum(5 <= n <= 60 for n in lengths) / len(lengths)
        measures["symbols"] = len(odd) / len(characters)
        measures["repetition"] = 1 - len(set(shingles)) / len(shingles)
    return measures


def value(name: str, measures: dict[str, float]) -> float:
    feature = next(f for f in FEATURES if f.name == name)
    if name not in measures:
        return 0.0
    ramp = min(max((measures[name] - feature.low) / (feature.high - feature.low), 0.0), 1.0)
    return ramp if feature.direction == "higher" else 1.0 - ramp


fragments = st.sampled_from(
    ["the ", "of ", "nephritis ", "İSTANBUL ", "Kelvin gastritis", "É ", "e\u0301 ", "5 mg. ",
     "p<0.05; ", "β-blocker ", "日本 ", "हिन्दी ", "\u00a0", "\x85", "end?\t", "\n", "#@|", "Ⅷ ",
     "ǅ", "patient ", "🙂", "\U00020000", "a.b ", "…  "]
)  # fmt: skip
texts = st.lists(st.one_of(fragments, st.text(max_size=8)), max_size=60).map("".join)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts, texts, st.lists(texts, max_size=3))
def test_features_of_any_text_are_those_of_the_definition(
    title: str, abstract: str, body: list[str]
) -> None:
    article = Article(
        id="a:1",
        source="a",
        title=title,
        abstract=abstract,
        body=[Section("heading is not text", text) for text in body],
    )
    table = frame([article], Article)
    scored = score(table)
    expected = reference(article)
    for feature in FEATURES:
        if feature.name != "metadata":
            found = scored[f"feature_{feature.name}"][0]
            assert found == pytest.approx(round(value(feature.name, expected), 6), abs=1e-9)
    counts = measure(table, tables(MEDICAL)).counts[0]
    every = [w for p in (title, abstract, *body) for w in words(p)]
    assert counts[0] == len(every)
    assert counts[3] == len(set(zip(every, every[1:], every[2:], strict=False)))


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(texts, min_size=2, max_size=5))
def test_jaccard_is_that_of_sets_of_word_triples(abstracts: list[str]) -> None:
    articles = [Article(id="a", source="", title="", abstract=text) for text in abstracts]
    table = frame(articles, Article).select("title", "abstract", "body")
    rows = np.arange(len(abstracts))
    found = shingle_sets(texts_of(table), tables(()))
    sets = []
    for text in abstracts:
        every = words(text)
        sets.append(set(zip(every, every[1:], every[2:], strict=False)))
    left, right = np.repeat(rows, len(rows)), np.tile(rows, len(rows))
    for a, b, similarity in zip(left, right, jaccard(*found, left, right), strict=True):
        union = sets[a] | sets[b]
        assert similarity == (len(sets[a] & sets[b]) / len(union) if union else 1.0)


def test_every_character_has_the_lower_case_of_python() -> None:
    kinds, lower = characters()
    parts_of_words = np.flatnonzero(kinds >= LETTER).tolist()
    assert len(parts_of_words) > 130_000
    assert all(chr(lower[c]) == chr(c).lower()[0] for c in parts_of_words)


nodes = st.integers(0, 30)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(nodes, nodes), max_size=40))
def test_components_lead_to_the_smallest_connected_row(edges: list[tuple[int, int]]) -> None:
    groups = {i: {i} for edge in edges for i in edge}
    for a, b in edges:
        groups[a] |= groups[b]
        for member in groups[b]:
            groups[member] = groups[a]
    pairs = pl.DataFrame(edges, {"row": pl.UInt32, "other": pl.UInt32}, orient="row")
    assert components(pairs).rows() == [(i, min(groups[i])) for i in sorted(groups)]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=30), st.integers(1, 4))
def test_rows_of_a_bucket_are_paired_with_the_next_ones(keys: list[int], furthest: int) -> None:
    rows = np.arange(7, 7 + len(keys), dtype=np.uint32)
    found = bucket_pairs(np.array(keys, dtype=np.uint32), rows, furthest).tolist()
    expected = []
    for key in set(keys):
        bucket = [int(row) for row, k in zip(rows, keys, strict=True) if k == key]
        expected += [(a, b) for i, a in enumerate(bucket) for b in bucket[i + 1 : i + 1 + furthest]]
    assert [(pair >> 32, pair & 0xFFFFFFFF) for pair in found] == sorted(expected)


def test_slices_of_a_table_are_measured_like_the_table() -> None:
    articles = [
        Article(id=f"a:{i}", source="a", title=f"title {i}", abstract="the liver " * i,
                body=[Section("", "kidney stone")] * (i % 3))
        for i in range(12)
    ]  # fmt: skip
    table = frame(articles, Article)
    whole = measure(table, tables(MEDICAL))
    part = measure(table[5:9], tables(MEDICAL))
    assert np.array_equal(part.counts, whole.counts[5:9])
    assert np.array_equal(part.keys, whole.keys[:, 5:9])


def test_importing_the_room_imports_no_compiler() -> None:
    code = "import elara.inspection, sys, json; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", code], text=True))
    assert not {"numba", "pyarrow", "daft", "ray", "matplotlib"} & set(loaded)
