"""Measure rewards and margins: how much more a tuned model favours the better answers."""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from elara.continual.feedback import answers
from elara.display.progress import track
from elara.model import LanguageModel, encode
from elara.model.intervals import interval
from elara.model.losses import answer_loss


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
        good, bad = (entry.get(f"{prefix}rewards/{kind}") for kind in ("chosen", "rejected"))
        rows.append(
            {
                "step": entry["step"],
                "split": "held_out" if prefix else "train",
                "loss": entry[f"{prefix}loss"],
                "margin": None if good is None or bad is None else good - bad,
                "learning_rate": entry.get("learning_rate"),
            }
        )
    numbers = dict.fromkeys(("loss", "margin", "learning_rate"), pl.Float64)
    return pl.DataFrame(rows, schema={"step": pl.Int64, "split": pl.String, **numbers})


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
