"""Say in one sentence whether tuning helped: a paired difference with a confidence interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from elara.display.figures import BLUE, ORANGE, SKY, new_figure, plain
from elara.model.losses import interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class EvaluationError(ValueError):
    """There is too little held-out data to say anything."""


@dataclass(frozen=True)
class Verdict:
    """The comparison of an adapter with its own base model.

    Args:
        base: mean answer loss of the base model, in nats per token.
        adapter: the same of the adapter.
        difference: adapter minus base; below 0 the adapter is less surprised.
        low: lower end of the 95 % interval of the difference.
        high: upper end.
        better_sources: sources on which the adapter's loss is lower.
        articles: held-out sources.
        examples: held-out examples.
        better: whether the whole interval lies below 0.
        verdict: the result in one sentence.
    """

    base: float
    adapter: float
    difference: float
    low: float
    high: float
    better_sources: int
    articles: int
    examples: int
    better: bool
    verdict: str


def per_source(losses: pl.DataFrame) -> pl.DataFrame:
    """Average the losses of each source, since examples of one article resemble each other.

    Args:
        losses: result of `answer_losses`.

    Returns:
        Columns source, examples, base, adapter, difference (adapter minus base), by source.
    """
    return (
        losses.group_by("source")
        .agg(pl.len().alias("examples"), pl.col("base", "adapter").mean())
        .with_columns(difference=pl.col("adapter") - pl.col("base"))
        .sort("source")
    )


def compare(losses: pl.DataFrame, *, resamples: int = 9_999, seed: int = 0) -> Verdict:
    """Compare adapter and base model with a paired bootstrap over sources.

    Args:
        losses: result of `answer_losses`.
        resamples: bootstrap samples.
        seed: fixes the resampling.

    Raises:
        EvaluationError: fewer than five held-out sources, too few for an interval.

    Source: see `elara.model.losses.interval`.
    """
    sources = per_source(losses)
    if len(sources) < 5:
        raise EvaluationError(
            f"Only {len(sources)} held-out sources: an interval needs at least 5. "
            "Raise `test_share` in 04, or collect more."
        )
    differences = sources["difference"].to_list()
    difference, low, high = interval(differences, resamples=resamples, seed=seed)
    return Verdict(
        base=float(sources["base"].to_numpy().mean()),
        adapter=float(sources["adapter"].to_numpy().mean()),
        difference=difference,
        low=low,
        high=high,
        better_sources=sum(value < 0 for value in differences),
        articles=len(sources),
        examples=len(losses),
        better=high < 0,
        verdict=_sentence(difference, low, high, len(sources)),
    )


def _sentence(difference: float, low: float, high: float, articles: int) -> str:
    span = f"95 % interval {low:.2f} to {high:.2f}, {articles} held-out sources"
    if high < 0:
        ratio = math.exp(difference)
        return (
            f"Tuning helped on text of this kind: the adapter's answer loss is {-difference:.2f} "
            f"nats per token below the base model's ({span}), a perplexity {1 - ratio:.0%} lower. "
            "This says nothing about whether its answers are true or safe."
        )
    if low > 0:
        return (
            f"Tuning did harm: the adapter's answer loss is {difference:.2f} nats per token above "
            f"the base model's ({span})."
        )
    return (
        f"No difference was shown: adapter minus base is {difference:+.2f} nats per token, and "
        f"the interval contains zero ({span})."
    )


def difference_figure(losses: pl.DataFrame, verdict: Verdict) -> Figure:
    """Draw every held-out source's difference, and the mean with its interval.

    Args:
        losses: result of `answer_losses`.
        verdict: result of `compare` on them.

    Returns:
        One point per source, sorted; the shaded band is the interval of the mean.
    """
    from matplotlib.ticker import MaxNLocator

    values = per_source(losses)["difference"].sort().to_list()
    figure = new_figure(7, 3.5)
    axes = figure.subplots()
    axes.axhline(0, color="black", linewidth=0.8)
    axes.axhspan(verdict.low, verdict.high, color=SKY, alpha=0.4, label="95 % interval")
    axes.axhline(verdict.difference, color=BLUE, label="mean")
    axes.plot(range(1, len(values) + 1), values, "o", color=ORANGE, label="one source")
    axes.set_xlabel("held-out sources, from most to least improved")
    axes.set_ylabel("adapter − base\n(nats per answer token)")
    axes.set_title("Difference in answer loss (below 0: the adapter is better)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, 0.94))
    plain(axes)
    return figure
