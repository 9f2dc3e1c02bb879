"""Rewards and margins: how much more a tuned model favours the better answers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import polars as pl

from elara.continual.feedback import answers
from elara.display.figures import BLUE, GREY, ORANGE, new_figure, plain
from elara.display.progress import track
from elara.model import LanguageModel, encode
from elara.model.intervals import interval
from elara.model.losses import answer_loss

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from elara.continual.preference import Preferred


def log_probabilities(
    lm: LanguageModel, train: pl.DataFrame, held_out: pl.DataFrame
) -> pl.DataFrame:
    """How likely a model finds every judged answer.

    Args:
        lm: the model, in evaluation mode.
        train: `Preference` rows that are trained on.
        held_out: `Preference` rows that are only measured on.

    Returns:
        One row per answer: id, question, split (train or held_out), desirable, tokens and
        log_probability (in nats, stop token included).
    """
    both = pl.concat(
        [
            answers(part).with_columns(split=pl.lit(name))
            for part, name in ((train, "train"), (held_out, "held_out"))
        ]
    )
    tokens, found = [], []
    for messages in track(both["messages"].to_list(), label="answer log-probability"):
        encoded = encode(lm.tokenizer, messages)
        tokens.append(sum(label != -100 for label in encoded.labels))
        loss = answer_loss(lm, encoded.input_ids, encoded.labels, adapter=True)
        found.append(-loss * tokens[-1])
    return both.select("id", "question", "split", "desirable").with_columns(
        pl.Series("tokens", tokens), pl.Series("log_probability", found)
    )


def steps_table(history: list[dict[str, Any]]) -> pl.DataFrame:
    """What the trainer logged, as `Preferred.steps`.

    Args:
        history: the trainer's log.
    """
    rows = []
    for entry in history:
        prefix = "" if "loss" in entry else "eval_"
        if f"{prefix}loss" not in entry:
            continue
        rows.append(
            {
                "step": entry["step"],
                "split": "held_out" if prefix else "train",
                "loss": float(entry[f"{prefix}loss"]),
                "margin": _logged_margin(entry, prefix),
                "learning_rate": entry.get("learning_rate"),
            }
        )
    number = pl.Float64()
    schema: dict[str, pl.DataType] = {"step": pl.Int64(), "split": pl.String()}
    return pl.DataFrame(
        rows, schema=schema | {"loss": number, "margin": number, "learning_rate": number}
    )


def _logged_margin(entry: dict[str, Any], prefix: str) -> float | None:
    """The difference of the mean rewards; none where a step saw only one kind of answer."""
    good, bad = (entry.get(f"{prefix}rewards/{kind}") for kind in ("chosen", "rejected"))
    return None if good is None or bad is None else float(good) - float(bad)


def margins(rewards: pl.DataFrame) -> pl.DataFrame:
    """Sum up rewards as `Preferred.margins`.

    Args:
        rewards: `Preferred.rewards`.
    """
    rows = []
    for split in ("train", "held_out"):
        part = rewards.filter(split=split)
        good, bad = part.filter("desirable"), part.filter(~pl.col("desirable"))
        pairs = good.join(bad, on="id", suffix="_bad")
        if len(pairs) == len(good) == len(bad):
            margin, low, high, accuracy = _of_pairs(pairs)
        else:
            margin, low, high, accuracy = _of_singles(good["reward"], bad["reward"])
        rows.append(
            {
                "split": split,
                "questions": part["question"].n_unique(),
                "answers": len(part),
                "margin": margin,
                "low": low,
                "high": high,
                "accuracy": accuracy,
                "gap_before": _gap(good, bad, "before"),
                "gap_after": _gap(good, bad, "after"),
                "good_change": (good["after"] - good["before"]).to_numpy().mean().item(),
            }
        )
    return pl.DataFrame(rows)


def _of_pairs(pairs: pl.DataFrame) -> tuple[float, float, float, float]:
    margins = pairs.with_columns(margin=pl.col("reward") - pl.col("reward_bad"))
    # Pairs about the same question resemble each other: one value per question.
    questions = margins.group_by("question").agg(pl.col("margin").mean()).sort("question")
    accuracy = float((margins["margin"] > 0).to_numpy().mean())
    return *interval(questions["margin"].to_list()), accuracy


def _of_singles(good: pl.Series, bad: pl.Series) -> tuple[float, float, float, float]:
    from scipy import stats

    difference = good.to_numpy().mean().item() - bad.to_numpy().mean().item()
    low = high = math.nan
    if len(good) > 1 and len(bad) > 1:
        welch = stats.ttest_ind(good.to_numpy(), bad.to_numpy(), equal_var=False)
        low, high = map(float, welch.confidence_interval(0.95))
    wins = (good.to_numpy()[:, None] > bad.to_numpy()[None, :]).mean().item()
    return difference, low, high, wins


def _gap(good: pl.DataFrame, bad: pl.DataFrame, column: str) -> float:
    means = [(part[column] / part["tokens"]).to_numpy().mean() for part in (good, bad)]
    return float(means[0] - means[1])


def margin_figure(preferred: Preferred) -> Figure:
    """Draw how the reward margin grew, on the feedback trained on and on the held-out feedback.

    Args:
        preferred: the result of `prefer`.

    Returns:
        The trainer's margin per step as a line, the held-out margin as points, and the final
        held-out margin of `Preferred.margins` with its 95 % interval as a bar at the right.
    """
    figure = new_figure(7, 3.5)
    axes = figure.subplots()
    axes.axhline(0, color=GREY, linewidth=0.8)
    train = preferred.steps.filter(pl.col("split") == "train", pl.col("margin").is_finite())
    held = preferred.steps.filter(pl.col("split") == "held_out", pl.col("margin").is_finite())
    axes.plot(train["step"], train["margin"], color=BLUE, label="training")
    axes.plot(held["step"], held["margin"], "o", color=ORANGE, label="held out")
    final = preferred.margins.filter(split="held_out").row(0, named=True)
    if math.isfinite(final["low"]):
        axes.vlines(held["step"][-1], final["low"], final["high"], color=ORANGE, linewidth=2)
    axes.set_xlabel("optimiser step")
    axes.set_ylabel("reward margin")
    axes.set_title(f"Chosen above rejected ({preferred.method.upper()}), 0 at the start")
    axes.legend(frameon=False)
    plain(axes)
    return figure
