"""Scores are paired item by item, and nothing that lacks its pair is compared."""

from __future__ import annotations

import polars as pl
import pytest
from score_tables import scores

from elara.evaluate import EvaluationError, by_cluster, loss_scores, paired, topics_of
from elara.expand import Examples, topic_clusters
from elara.records import Article, Example, Message, frame


def test_items_of_a_topic_are_averaged_before_topics() -> None:
    both = pl.concat([scores([-0.4, 0.0]), scores([-0.2], repeats=1, start=0)])
    both = both.with_columns(
        item=pl.when(pl.int_range(pl.len()) >= 4).then(pl.lit("x:0/more/0")).otherwise("item")
    )
    table = by_cluster(paired(both, "base", "adapter"))
    assert table.select("cluster", "items").rows() == [("x:0", 2), ("x:1", 1)]
    assert table["difference"].to_list() == pytest.approx([-0.3, 0.0])


def test_heavier_items_count_more_inside_their_topic() -> None:
    table = scores([0.4, 0.0]).with_columns(
        cluster=pl.lit("one"), weight=pl.when(pl.col("item") == "x:0/k/0").then(3.0).otherwise(1.0)
    )
    found = by_cluster(paired(table, "base", "adapter"))
    assert found["difference"].to_list() == pytest.approx([0.3])


def test_seeds_are_averaged_item_by_item() -> None:
    first = scores([-0.4] * 3).with_columns(seed=0)
    second = scores([-0.2] * 3).with_columns(seed=1).filter(arm="adapter")
    items = paired(pl.concat([first, second]), "base", "adapter")
    assert items["seeds"].to_list() == [2, 2, 2]
    assert (items["adapter"] - items["base"]).to_list() == pytest.approx([-0.3] * 3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t[:-1], r"Item x:2/k/0 has no value of `adapter`"),
        (lambda t: t[1:], r"Item x:0/k/0 has no value of `base`"),
        (lambda t: t.with_columns(value=float("nan")), r"is no number \(answer loss; 3 such"),
        (lambda t: t.with_columns(value=pl.lit(None, pl.Float64)), "is no number"),
        (lambda t: pl.concat([t, t[:1]]), r"x:0/k/0 was scored twice"),
        (
            lambda t: t.with_columns(cluster=pl.int_range(pl.len()).cast(pl.String)),
            "is in two clusters",
        ),
        (
            lambda t: pl.concat(
                [t.with_columns(seed=0), t[-1:].with_columns(seed=1)], how="vertical_relaxed"
            ),
            r"x:0/k/0 was measured with fewer seeds of `adapter`",
        ),
    ],
)
def test_what_has_no_fair_pair_is_refused(change: object, said: str) -> None:
    table = change(scores([0.1, 0.2, 0.3]))  # type: ignore[operator]
    with pytest.raises(EvaluationError, match=said):
        paired(table, "base", "adapter")


def _article(number: int, title: str) -> Article:
    return Article(id=f"x:{number}", source="x", title=title)


def _example(number: int, specialty: str = "Cardiology") -> Example:
    return Example(
        id=f"x:{number}/key_points/0",
        messages=[Message("user", "?"), Message("assistant", "!")],
        specialty=specialty,
        origin="grounded",
        recipe="key_points",
        article_ids=[f"x:{number}"],
        licence="CC0-1.0",
        redistributable=True,
    )


def test_topics_are_those_of_the_split() -> None:
    titles = ["Malaria in Benin", "Malaria in Togo", "Gout", "Malaria in Benin", "Asthma"]
    articles = frame([_article(n, title) for n, title in enumerate(titles)], Article)
    examples = frame([_example(n) for n in range(5)], Example)
    topics, links = topic_clusters(articles, Examples.of(examples))
    found = topics_of(links)
    assert len({*topics.values()}) < 5
    assert {article: found.get(article, article) for article in topics} == topics


def test_a_refused_link_makes_no_topic() -> None:
    links = pl.DataFrame({"article_a": ["b", "c"], "article_b": ["a", "d"], "kept": [True, False]})
    assert topics_of(links) == {"a": "a", "b": "a"}
    assert topics_of(links.filter(~pl.col("kept"))) == {}


def test_losses_become_two_endpoints() -> None:
    examples = frame([_example(0), _example(1, "Neurology")], Example)
    losses = pl.DataFrame(
        {
            "id": examples["id"],
            "source": ["x:0", "x:1"],
            "tokens": [10, 30],
            "base": [2.0, 3.0],
            "adapter": [1.5, 3.5],
        }
    )
    table = loss_scores(losses, examples, {"x:1": "x:0", "x:0": "x:0"})
    assert table["metric"].value_counts(sort=True)["count"].to_list() == [4, 4]
    items = paired(table, "base", "adapter")
    assert items["cluster"].unique().to_list() == ["x:0"]
    assert items["source"].n_unique() == 2
    assert items.filter(metric="answer loss")["specialty"].to_list() == ["Cardiology", "Neurology"]
    difference = {
        name: by_cluster(items.filter(metric=name))["difference"][0]
        for name in ("answer loss", "log perplexity")
    }
    assert difference == pytest.approx({"answer loss": 0.0, "log perplexity": 0.25})
