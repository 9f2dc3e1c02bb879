"""Train an adapter on new examples with replay of old ones, and measure what it forgot."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from elara.display.figures import BLUE, GREY, ORANGE, new_figure, plain
from elara.evaluate.chance import interval
from elara.model import LanguageModel, encode, load_base, quiet_libraries
from elara.model.losses import answer_losses
from elara.train.config import TrainingConfig, TrainingError
from elara.train.data import TokenData, tokenise
from elara.train.sft import Training, fine_tune

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALL = "all"


@dataclass(frozen=True)
class Continued:
    """An adapter that was trained on, within the bound on forgetting.

    Args:
        training: the run; its model carries the new adapter.
        data: what it went through, for `save_adapter`.
        forgetting: what the old test split lost; see `change`.
        losses: the old test split's answer losses, one row per example: id, article, source,
            tokens, before, after (nats per answer token).
    """

    training: Training
    data: TokenData
    forgetting: pl.DataFrame
    losses: pl.DataFrame


def replay(
    old_examples: pl.DataFrame, new_examples: pl.DataFrame, share: float, seed: int
) -> pl.DataFrame:
    """Mix a share of earlier training examples into new ones, against forgetting.

    All new examples are taken, and as many old ones, drawn at random, as make up the share; all
    old ones where there are too few. An old example whose id is among the new ones is not drawn.

    Args:
        old_examples: `Example` rows that the adapter was trained on.
        new_examples: `Example` rows to learn now.
        share: part of the mix that is old, in [0, 1).
        seed: fixes the draw. It does not depend on the order of the rows.

    Returns:
        `Example` rows with a column `replayed`, ordered by id; ids, article ids and licences stay
        with each example, so that `replayed.group_by("licence")` says whose text it is.

    Raises:
        TrainingError: the share makes no sense, there is nothing new, or an example belongs to a
            split that must never be trained on.

    Source: experience replay, https://arxiv.org/abs/1811.11682
    """
    if not 0 <= share < 1:
        raise TrainingError(f"`share` is {share}: the replayed part must be in [0, 1).")
    if new_examples.is_empty():
        raise TrainingError("There is no new example to learn.")
    for name, table in (("old", old_examples), ("new", new_examples)):
        held = table.filter(pl.col("split") != "train")
        if len(held):
            first = held.row(0, named=True)
            raise TrainingError(
                f"{len(held)} of the {name} examples are not for training (first: {first['id']}, "
                f"split {first['split']!r}): training on them would spoil the measurement. "
                'Filter by split == "train".'
            )
    pool = old_examples.join(new_examples, on="id", how="anti").sort("id")
    wanted = round(share / (1 - share) * len(new_examples))
    drawn = random.Random(seed).sample(range(len(pool)), min(wanted, len(pool)))
    old = pool[sorted(drawn)].with_columns(replayed=pl.lit(True))
    return pl.concat([old, new_examples.with_columns(replayed=pl.lit(False))]).sort("id")


def train_on(
    earlier: Path,
    examples: pl.DataFrame,
    validation: pl.DataFrame,
    old_test: pl.DataFrame,
    config: TrainingConfig,
    checkpoints: Path,
    *,
    max_forgetting: float,
) -> Continued:
    """Train an earlier adapter on more examples, unless it forgets too much.

    The earlier adapter's folder is only read. The result is in memory, to be saved elsewhere.

    Args:
        earlier: folder of the adapter to go on from.
        examples: what to learn, usually the result of `replay`.
        validation: `Example` rows to watch the loss on; may be empty.
        old_test: held-out `Example` rows of what the earlier adapter was trained for.
        config: settings. Rank, alpha and variant are those of the earlier adapter.
        checkpoints: folder for checkpoints, used for nothing else.
        max_forgetting: how much the mean answer loss on `old_test` may rise, in nats per token.

    Raises:
        TrainingError: the adapter lost more than `max_forgetting`; there is too little to measure
            on; or a test example is among the examples.

    Source: forgetting as the rise of the loss on earlier tasks, https://arxiv.org/abs/1706.08840
    """
    if leaked := sorted(set(examples["id"]) & set(old_test["id"])):
        raise TrainingError(f"Test example {leaked[0]} is among the training examples: remove it.")
    settings = {"quantisation": config.quantisation, "precision": config.precision}
    lm = load_base(config.base_model, **settings)
    _check_measurable(lm, old_test, config.max_length)
    data = tokenise(lm.tokenizer, examples, validation, config)
    training = fine_tune(lm, data, config, checkpoints, start_from=earlier)
    losses = _before_and_after(training.model, earlier, old_test, config.max_length)
    forgetting = change(losses)
    rise = forgetting.row(by_predicate=pl.col("source") == ALL, named=True)
    if rise["change"] > max_forgetting:
        worst = forgetting.filter(pl.col("source") != ALL).sort("change").row(-1, named=True)
        raise TrainingError(
            f"The adapter forgot too much: on {rise['articles']} held-out articles the answer loss "
            f"rose by {rise['change']:.3f} nats per token (95 % interval {rise['low']:.3f} to "
            f"{rise['high']:.3f}), more than `max_forgetting` {max_forgetting:g}; most on source "
            f"{worst['source']} ({worst['change']:+.3f}). {earlier} is unchanged and stays in use. "
            "Replay a larger `share` of the old examples, lower `learning_rate`, or train for "
            "fewer `epochs`."
        )
    return Continued(training, data, forgetting, losses)


def _check_measurable(lm: LanguageModel, old_test: pl.DataFrame, max_length: int) -> None:
    """Better before hours of training than after."""
    rows = old_test.select("article_ids", "messages").iter_rows()
    sizes = ((ids[0], len(encode(lm.tokenizer, turns).input_ids)) for ids, turns in rows)
    articles = {article for article, size in sizes if size <= max_length}
    if len(articles) < 2:
        raise TrainingError(
            f"`old_test` covers {len(articles)} article(s) with examples of at most `max_length` "
            f"{max_length} tokens: forgetting can be measured on two or more."
        )


def _before_and_after(
    lm: LanguageModel, earlier: Path, examples: pl.DataFrame, max_length: int
) -> pl.DataFrame:
    """Both adapters on the same base model, one after the other."""
    after = answer_losses(lm, examples, max_length=max_length, sides=("adapter",))
    with quiet_libraries():
        lm.model.load_adapter(str(earlier), "earlier")
    try:
        lm.model.set_adapter("earlier")
        lm.model.eval()
        before = answer_losses(lm, examples, max_length=max_length, sides=("adapter",))
    finally:
        lm.model.set_adapter("default")
        lm.model.delete_adapter("earlier")
    return before.select(
        "id",
        article="source",
        source=pl.col("source").str.split(":").list.first(),
        tokens="tokens",
        before="adapter",
        after=after["adapter"],
    )


def change(losses: pl.DataFrame) -> pl.DataFrame:
    """How the answer loss changed from one adapter to the next, source by source.

    Examples of one article resemble each other, so they are averaged first; the interval is that
    of the paired differences over articles.

    Args:
        losses: columns article, source, before, after.

    Returns:
        Columns source (the last row, `all`, is all of them), articles, examples, before, after,
        change (above 0: worse) and its 95 % interval low to high, in nats per answer token;
        low and high are missing where there is only one article.
    """
    both = pl.col("before", "after").mean()
    articles = losses.group_by("source", "article").agg(both, examples=pl.len())
    articles = articles.sort("source", "article")
    parts = [(name, articles.filter(source=name)) for name in articles["source"].unique().sort()]
    rows = []
    for source, part in [*parts, (ALL, articles)]:
        means = part.select(pl.len(), pl.col("examples").sum(), pl.col("before", "after").mean())
        rows.append((source, *means.row(0), *interval((part["after"] - part["before"]).to_list())))
    columns = ("source", "articles", "examples", "before", "after", "change", "low", "high")
    table = pl.DataFrame(rows, schema=columns, orient="row")
    return table.with_columns(pl.col("low", "high").fill_nan(None))


def forgetting_figure(forgetting: pl.DataFrame, max_forgetting: float) -> Figure:
    """Draw what was lost per source, with the bound.

    Args:
        forgetting: the result of `change`.
        max_forgetting: the bound that the row `all` had to keep, in nats per token.

    Returns:
        One line per source: the mean change and its 95 % interval; right of 0 is forgetting.
    """
    figure = new_figure(7, 1.4 + 0.35 * len(forgetting))
    axes = figure.subplots()
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.axvline(max_forgetting, color=ORANGE, linestyle="--", label="bound")
    rows, places = forgetting.reverse(), range(len(forgetting))
    axes.hlines(
        places, rows["low"].fill_null(math.nan), rows["high"].fill_null(math.nan), BLUE, lw=2
    )
    axes.plot(rows["change"], places, "o", color=BLUE)
    axes.set_yticks(places, rows["source"].to_list())
    axes.set_xlabel("change of the answer loss (nats per token)")
    axes.set_title("Change on the earlier test split; right of 0 is forgetting")
    axes.legend(frameon=False)
    plain(axes)
    return figure
