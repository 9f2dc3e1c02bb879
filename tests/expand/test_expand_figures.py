"""Figures show every number that they are given; the topics to collect next are the poor ones."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from elara.collect import load_searches, medquad
from elara.expand import VALIDATORS, collect_next, taken, taken_figure
from elara.expand.report import recall_figure
from elara.records import Article, Example, Message, frame


def test_the_figure_shows_each_filter_and_the_validators_that_took_nothing() -> None:
    took = taken(
        gates=pl.DataFrame({"rule": ["short answer"] * 1200 + ["bare list"] * 2}),
        validators=pl.DataFrame({"rule": ["harm"]}),
        articles=pl.DataFrame({"reason": ["not about medicine"] * 3}),
    )
    (axes,) = taken_figure(took).axes
    shown = {bar.get_y() + bar.get_height() / 2: bar.get_width() for bar in axes.patches}
    names = {place: label.get_text() for place, label in enumerate(axes.get_yticklabels())}
    widths = {names[round(place)]: width for place, width in shown.items()}
    idle = dict.fromkeys({validator.name for validator in VALIDATORS} - {"harm"}, 0)
    ran = {"short answer": 1200, "not about medicine": 3, "bare list": 2, "harm": 1}
    assert widths == ran | idle
    assert "1,200" in {text.get_text() for text in axes.texts}
    assert {text.get_text() for text in axes.get_legend().get_texts()} == {
        "gates", "validators", "articles"
    }  # fmt: skip


def test_no_rule_is_left_out_of_the_figure() -> None:
    rules = [f"rule {n}" for n in range(9) for _ in range(n + 1)]
    took = taken(gates=pl.DataFrame({"rule": rules}))
    (axes,) = taken_figure(took, most=4).axes
    assert sum(bar.get_width() for bar in axes.patches) == len(rules)
    assert "5 further rules" in {label.get_text() for label in axes.get_yticklabels()}
    assert taken_figure(took.clear()).axes  # nothing was taken


def test_the_recall_of_each_kind_is_drawn_with_its_interval(project: Path) -> None:
    file = project / "benchmarks" / "contamination.json"
    kinds = json.loads(file.read_text(encoding="utf-8"))["kinds"]
    (axes,) = recall_figure(kinds).axes
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == [kinds[k][action]["share"] for action in ("dropped", "flagged") for k in kinds]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [f"{name} ({kind['items']:,})" for name, kind in kinds.items()]
    ((_, _, (bars,)),) = [
        (c[0], c[1], c[2]) for c in axes.containers if len(c) == 3 and c[0] is None
    ]
    ends = [(round(a, 4), round(b, 4)) for (a, _), (b, _) in bars.get_segments()]
    assert ends == [tuple(kind["found"]["interval"]) for kind in kinds.values()]


TOPICS = [
    SimpleNamespace(name="Gout", query='"Gout"[MeSH Terms]', specialty="Internal Medicine"),
    SimpleNamespace(name="Burns", query='"burns"[Title/Abstract]', specialty="Surgery/Trauma"),
    SimpleNamespace(
        name="Snakebite",
        query='"Snake Bites"[MeSH Terms] OR "snakebite"[Title/Abstract]',
        specialty="Emergency Medicine",
    ),
    SimpleNamespace(name="Shock", query='"shock"[MeSH Terms]', specialty="Emergency Medicine"),
]


def example(n: int, specialty: str) -> Example:
    return Example(
        id=f"x:{n}/explain/0",
        messages=[Message("system", "s"), Message("user", "What?"), Message("assistant", "A.")],
        specialty=specialty,
        origin="grounded",
        recipe="explain",
        article_ids=[f"x:{n}"],
        licence="CC0-1.0",
        redistributable=True,
    )


def test_the_topics_to_collect_next_are_those_with_the_fewest_examples() -> None:
    articles = [
        Article(id="x:1", source="x", title="Snake-bites: first aid."),
        Article(id="x:2", source="x", title="A title", mesh=["Snake Bites", "Humans"]),
        Article(id="x:3", source="x", title="A gouty joint", keywords=["gout"]),
        Article(id="x:4", source="x", title="Sunburns"),  # no whole word of a phrase
    ]
    rows = [example(n, "Emergency Medicine") for n in (1, 2)]
    rows += [example(3, "Internal Medicine"), example(4, "Surgery/Trauma")]
    rows += [example(5, "Emergency Medicine")]  # a case, without an article
    counts = pl.DataFrame(rows).group_by("specialty").agg(examples=pl.len())
    sources = frame(rows, Example)["article_ids"].list.first()
    found = collect_next(counts, sources, frame(articles, Article), TOPICS, wanted=3)
    assert found.rows() == [
        ("Internal Medicine", 1, 2, "Gout (1)"),
        ("Surgery/Trauma", 1, 2, "Burns (0)"),
    ]
    more = collect_next(counts, sources, frame(articles, Article), TOPICS, wanted=4)
    assert more.row(2) == ("Emergency Medicine", 3, 1, "Shock (0), Snakebite (2)")


def test_a_specialty_without_any_example_is_named_with_its_topics() -> None:
    none = pl.Series(dtype=pl.String)
    counts = pl.DataFrame(schema={"specialty": pl.String, "examples": pl.Int64})
    found = collect_next(counts, none, frame([], Article), load_searches(), most=2)
    assert found.height == 13
    assert set(found["lacking"]) == {50}
    assert found["collect"].str.count_matches(r"\(0\)").to_list() == [2] * 13


@pytest.mark.parametrize("search", load_searches()[::9], ids=lambda search: search.id)
def test_every_search_has_phrases_that_find_its_subject(search: Any) -> None:
    about = Article(id="x:1", source="x", title=f"About {search.query.split(chr(34))[1]}.")
    counts = pl.DataFrame({"specialty": [search.specialty], "examples": [1]})
    found = collect_next(counts, pl.Series(["x:1"]), frame([about], Article).lazy(), [search])
    assert found["collect"].to_list() == [f"{search.name} (1)"]


def test_the_flattened_medquad_becomes_the_documents_that_it_was_made_of(
    project: Path, shared_data: Path, tmp_path: Path
) -> None:
    """The coverage map reads MedQuAD as the source publishes it, though most of it is flattened."""
    write = runpy.run_path(str(project / "benchmarks" / "coverage_map.py"))["write_medquad"]
    folder = shared_data / "qa" / "medquad"
    write(folder / "medquad.jsonl.gz", tmp_path)
    published = sorted((folder / "xml").rglob("*.xml"))
    assert len(published) > 200
    for path in published:
        ours = tmp_path / path.relative_to(folder / "xml")
        both = [list(medquad.parse([file.read_bytes()])) for file in (path, ours)]
        assert both[0] == both[1], path.name


def test_the_coverage_map_counts_every_example_once(project: Path) -> None:
    file = project / "benchmarks" / "coverage_map.json"
    told = json.loads(file.read_text(encoding="utf-8"))
    counts = pl.DataFrame(told["counts"]).filter(pl.col("source") != "curated")
    assert counts["examples"].sum() == told["examples"]
    each = dict(counts.group_by("specialty").agg(pl.col("examples").sum()).iter_rows())
    assert {name: row["examples"] for name, row in told["specialties"].items()} == {
        name.replace("/", ", "): number for name, number in each.items() if name != "General"
    }
    lacking = {name for name, row in told["specialties"].items() if row["lacking"]}
    assert set(told["next"]) == lacking
    assert told["reached"] == 13 - len(lacking) >= 9
