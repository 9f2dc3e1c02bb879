"""Duplicates: nothing is removed that is not verified, and the best record stays."""

from __future__ import annotations

import random

import polars as pl
import pytest

from elara.inspection import Clusters, near_duplicates, score, select
from elara.inspection.features import MEDIUM
from elara.inspection.lexicon import _COMMON
from elara.inspection.matching import best_first
from elara.records import Article, frame
from elara.text.words import SHORTEST

# Words that may replace each other in a copy: what may not is in test_inspect_differences.py.
WORDS, OTHERS = _COMMON.split()[:400], _COMMON.split()[400:]


def text(seed: int, words: int = 120) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def edited(original: str, seed: int, changes: int) -> str:
    words = original.split()
    for at in random.Random(seed).sample(range(len(words)), changes):
        words[at] = OTHERS[at % len(OTHERS)]
    return " ".join(words)


def scored(*rows: dict[str, object], quality: list[float] | None = None) -> pl.DataFrame:
    articles = [Article(**({"source": "pubmed", "title": ""} | row)) for row in rows]  # type: ignore[arg-type]
    table = score(frame(articles, Article))
    return table.with_columns(quality=pl.Series(quality or [0.8] * len(rows), dtype=pl.Float64))


def jaccard(a: str, b: str) -> float:
    """The definition, written down again without hashes."""
    sets = [set(zip(w, w[1:], w[2:], strict=False)) for w in (a.split(), b.split())]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_similarity_is_the_exact_jaccard_and_verified_pairs_are_all_pairs() -> None:
    texts = {f"a:{i}": text(i) for i in range(30)}
    texts |= {f"b:{i}": edited(texts[f"a:{i}"], i, changes=i // 2) for i in range(30)}
    table = scored(*({"id": k, "abstract": v} for k, v in texts.items()))
    clusters = near_duplicates(table, threshold=0.8)
    for row in clusters.pairs.iter_rows(named=True):
        expected = jaccard(texts[row["id"]], texts[row["other_id"]])
        assert row["similarity"] == pytest.approx(expected, abs=1e-6)
    true = {
        (f"a:{i}", f"b:{i}") for i in range(30) if jaccard(texts[f"a:{i}"], texts[f"b:{i}"]) >= 0.8
    }
    found = set(clusters.removed.select("kept_id", "id").iter_rows())
    assert len(true) >= 4
    assert found == true
    assert (clusters.removed["similarity"] >= 0.8).all()
    proposed = clusters.pairs.filter(pl.col("similarity") < 0.8)
    assert proposed.height > 0, "the test needs pairs that MinHash proposes and Jaccard refuses"


@pytest.mark.parametrize(
    ("better", "quality"),
    [
        ({"redistributable": True}, [0.8, 0.5]),
        ({}, [0.5, 0.8]),
        ({"retracted": False}, [0.9, 0.5]),
    ],
)
def test_the_best_record_is_kept(better: dict[str, object], quality: list[float]) -> None:
    worse = {"id": "a:1", "abstract": text(1), "retracted": "retracted" in better}
    table = scored(
        worse, {"id": "a:2", "abstract": edited(text(1), 1, 3)} | better, quality=quality
    )
    removed = near_duplicates(table).removed
    assert removed.select("id", "kept_id", "reason").rows() == [("a:1", "a:2", "near_duplicate")]


def test_smallest_id_is_kept_among_equals() -> None:
    rows = [{"id": f"a:{i}", "abstract": text(1)} for i in (3, 1, 2)]
    removed = near_duplicates(scored(*rows)).removed
    assert removed.select("id", "kept_id", "reason", "similarity").rows() == [
        ("a:2", "a:1", "same_text", 1.0),
        ("a:3", "a:1", "same_text", 1.0),
    ]


def test_the_ends_of_a_chain_are_not_removed_for_each_other() -> None:
    first = text(1, 200)
    middle, last = edited(first, 1, 6), edited(edited(first, 1, 6), 2, 6)
    assert jaccard(first, middle) >= 0.8 <= jaccard(middle, last)
    assert jaccard(first, last) < 0.8
    rows = ({"id": f"a:{i}", "abstract": t} for i, t in enumerate((first, middle, last)))
    clusters = near_duplicates(scored(*rows, quality=[0.9, 0.8, 0.7]))
    assert clusters.removed.select("id", "kept_id").rows() == [("a:1", "a:0")]
    assert clusters.removed["similarity"][0] == pytest.approx(jaccard(first, middle), abs=1e-6)


def test_one_article_through_two_sources() -> None:
    table = scored(
        {"id": "pmc:1", "abstract": text(1), "doi": "10.1/x", "redistributable": True},
        {"id": "pubmed:9", "abstract": text(2), "doi": "10.1/x", "pmid": "9"},
        {"id": "s:7", "abstract": text(3), "pmid": "9"},
        {"id": "s:8", "abstract": text(4)},
        {"id": "s:9", "abstract": text(5)},
    )
    removed = near_duplicates(table).removed
    assert removed.select("id", "reason", "kept_id").rows() == [
        ("pubmed:9", "same_doi", "pmc:1"),
        ("s:7", "same_pmid", "pmc:1"),
    ]


def test_copy_of_a_copy_names_the_record_that_stays() -> None:
    rows = [
        {"id": "a:1", "abstract": text(1)},
        {"id": "a:2", "abstract": edited(text(1), 1, 3)},
        {"id": "a:3", "abstract": edited(text(1), 1, 3).upper()},
    ]
    removed = near_duplicates(scored(*rows, quality=[0.9, 0.8, 0.7])).removed
    assert removed.select("id", "kept_id", "cluster").rows() == [
        ("a:2", "a:1", 1),
        ("a:3", "a:1", 1),
    ]
    assert removed["similarity"][0] == removed["similarity"][1] < 1


def test_short_texts_are_no_duplicates() -> None:
    title = " ".join(["Reply"] + ["to the authors"] * ((SHORTEST - 2) // 3))
    assert near_duplicates(
        scored(*({"id": f"a:{i}", "title": title} for i in range(3)))
    ).removed.is_empty()


def test_thousands_of_copies_form_one_cluster_in_bounded_work() -> None:
    rows = [{"id": f"a:{i:04}", "abstract": edited(text(1), i, 1)} for i in range(600)]
    clusters = near_duplicates(scored(*rows))
    assert clusters.removed["kept_id"].unique().to_list() == ["a:0000"]
    assert clusters.removed.height == 599
    assert clusters.pairs.height < 600 * 599 / 2


def test_threshold_must_be_a_similarity() -> None:
    with pytest.raises(ValueError, match=r"threshold is 1\.2"):
        near_duplicates(scored({"id": "a:1"}), threshold=1.2)


def test_nothing_in_nothing_out() -> None:
    clusters = near_duplicates(scored())
    assert clusters.removed.is_empty()
    assert clusters.plot().axes


def test_result_does_not_depend_on_the_order_of_rows() -> None:
    rows = [{"id": f"a:{i:02}", "abstract": edited(text(i % 5), i, i % 9)} for i in range(40)]
    table = scored(*rows)
    forward, backward = near_duplicates(table), near_duplicates(table.reverse())
    assert forward.removed.equals(backward.removed)


def test_selection_gives_every_record_a_place_and_a_reason() -> None:
    table = scored(
        {"id": "a:1", "abstract": text(1)},
        {"id": "a:2", "abstract": text(1)},
        {"id": "a:3", "abstract": text(2), "retracted": True},
        {"id": "a:4", "abstract": ""},
        {"id": "a:5", "abstract": text(5), "title": "T"},
        {"id": "a:6", "abstract": text(6), "doi": "10.1/x", "retracted": True},
        {"id": "a:7", "abstract": text(7), "doi": "10.1/x"},
        quality=[0.9, 0.8, 0.9, 0.9, 0.3, 0.9, 0.9],
    ).with_columns(
        flags=pl.Series(
            [[], [], ["retracted"], ["empty"], [], ["retracted"], []], dtype=pl.List(pl.String)
        )
    )
    selection = select(table, near_duplicates(table))
    assert selection.kept["id"].to_list() == ["a:1"]
    assert dict(selection.removed.select("id", "reason").iter_rows()) == {
        "a:2": "same_text",
        "a:3": "retracted",
        "a:4": "empty",
        "a:5": "low_quality",
        "a:6": "retracted",
        "a:7": "copy_of_retracted",
    }
    assert selection.removed.filter(pl.col("id") == "a:2")["kept_id"].item() == "a:1"
    assert selection.reasons()["records"].sum() == 6


def test_a_duplicate_stays_when_the_record_that_stands_for_it_goes() -> None:
    table = scored(
        {"id": "a:1", "abstract": text(1), "redistributable": True},
        {"id": "a:2", "abstract": text(1)},
        quality=[0.5, 0.8],
    ).with_columns(flags=pl.lit([], dtype=pl.List(pl.String)))
    clusters = near_duplicates(table)
    assert clusters.removed["kept_id"].to_list() == ["a:1"]
    assert select(table, clusters, minimum=0.6).kept["id"].to_list() == ["a:2"]


def test_selection_refuses_an_id_twice_and_a_minimum_that_is_no_quality() -> None:
    table = scored({"id": "a:1", "abstract": text(1)}, {"id": "a:2", "abstract": text(1)})
    clusters = near_duplicates(table)
    with pytest.raises(ValueError, match="1 records have the id of another, first a:1"):
        select(pl.concat([table, table.head(1)]), clusters)
    with pytest.raises(ValueError, match="minimum is 40"):
        select(table, clusters, minimum=40)
    assert isinstance(clusters, Clusters)


def test_best_record_comes_first_and_the_smallest_id_of_equals() -> None:
    chance = random.Random(3)
    rows = [
        {
            "id": f"id:{number:03d}",
            "retracted": chance.random() < 0.2,
            "redistributable": chance.random() < 0.5,
            "quality": chance.choice([0.1, 0.3, MEDIUM, 0.9]),
            "with_abstract": chance.random() < 0.5,
        }
        for number in chance.sample(range(1000), 300)
    ]
    wanted = sorted(
        rows,
        key=lambda row: (
            row["retracted"],
            row["quality"] < MEDIUM,  # type: ignore[operator]
            not row["redistributable"],
            -row["quality"],  # type: ignore[operator]
            not row["with_abstract"],
            row["id"],
        ),
    )
    order = best_first(pl.DataFrame(rows))
    assert [rows[at]["id"] for at in order] == [row["id"] for row in wanted]
