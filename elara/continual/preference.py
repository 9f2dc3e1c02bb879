"""Tune a model on preferences: DPO on pairs of answers, KTO on single judgements."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from elara.continual.feedback import answers, check, split_by_prompt
from elara.continual.trainers import PreferenceConfig, make_trainer
from elara.display.figures import BLUE, GREY, ORANGE, new_figure, plain
from elara.display.progress import track
from elara.evaluate.chance import interval
from elara.model import LanguageModel, ModelError, encode, load_adapter, quiet_libraries
from elara.model.losses import batch_losses
from elara.train.checkpoints import last_checkpoint, remove_others, step_of
from elara.train.config import TrainingError
from elara.train.estimate import is_out_of_memory, out_of_memory
from elara.train.lora import adapter_dtype, restoring

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Preferred:
    """A model after preference tuning, and what the tuning did.

    A reward is `beta` times the change of an answer's log-probability, so at the start every
    reward and margin is 0. The margin is the reward of a chosen answer minus that of the rejected
    one of its pair; without pairs, the mean of the liked minus the mean of the disliked answers.

    Args:
        model: the model with its tuned adapter, in evaluation mode; it computes what a reader
            gets who loads the saved adapter.
        method: `dpo` or `kto`.
        steps: columns step, split (train or held_out), loss, margin (the trainer's, without a
            value where a batch of single answers holds only one kind) and learning_rate.
        rewards: one row per judged answer: id, question, split, desirable, tokens, before and
            after (log-probability in nats), reward.
        margins: one row per split: split, questions, answers, margin after tuning with the 95 %
            interval low to high, accuracy (share of chosen/rejected comparisons with a positive
            margin), gap_before and gap_after (mean log-probability per token of the good answers
            minus that of the bad ones, in nats) and good_change (mean change of a good answer's
            log-probability, in nats: below 0 the good answers became less likely too).
        left_out: judgements with an answer longer than `max_length`.
        resumed_at: the step that this run continued from, 0 for a fresh start.
        seconds: wall time of training, in seconds.
        adapter_dtype: the number format in which the adapter was trained.
    """

    model: LanguageModel
    method: str
    steps: pl.DataFrame
    rewards: pl.DataFrame
    margins: pl.DataFrame
    left_out: int
    resumed_at: int
    seconds: float
    adapter_dtype: str


def prefer(
    earlier: Path,
    preferences: pl.DataFrame,
    config: PreferenceConfig,
    checkpoints: Path,
) -> Preferred:
    """Tune an adapter so that it favours the answers that readers preferred.

    The reference that tuning must stay close to is the base model with the adapter as it is at the
    start. (Taking the bare base model would count all that the adapter had learned before as a
    reward.) The reference's log-probabilities are computed once before the first step, so no second
    model is kept in memory.

    A killed run continues from its last checkpoint when it is called again with the same adapter,
    feedback and settings. Other runs' checkpoints in the folder are removed.

    Args:
        earlier: folder of the adapter to tune further, which is only read.
        preferences: `Preference` rows.
        config: settings.
        checkpoints: folder for checkpoints, used for nothing else.

    Raises:
        TrainingError: the feedback does not fit the method or is too little, the loss is not a
            finite number, or memory ran out (the message says what to change).
        ModelError: the folder holds no adapter, or one that cannot be read.

    Source: https://huggingface.co/docs/trl/dpo_trainer, https://huggingface.co/docs/trl/kto_trainer
    """
    check(preferences)
    method = _method(preferences, config)
    lm = load_adapter(earlier)
    fitting, left_out = _that_fit(lm.tokenizer, preferences, config.max_length)
    train, held_out = split_by_prompt(fitting, share=config.held_out_share, seed=config.seed)
    for part, name in ((train, "training"), (held_out, "held-out")):
        _both_kinds(part, name)
    lm.model.set_adapter("default")  # makes its matrices trainable
    lm.model.eval()
    folder = checkpoints / _run_name(lm, fitting, config)
    remove_others(checkpoints, folder)
    before = _log_probabilities(lm, train, held_out)
    last = last_checkpoint(folder)
    try:
        with restoring(lm.model):
            trainer = make_trainer(lm, method, train, held_out, config, folder)
            trained_in = adapter_dtype(lm.model)
            started = time.perf_counter()
            with quiet_libraries():
                trainer.train(resume_from_checkpoint=str(last) if last else None)
            seconds = time.perf_counter() - started
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory(config) from error
    steps = _steps(trainer.state.log_history)
    if not steps["loss"].is_finite().all():
        raise TrainingError("The loss is not a finite number: lower `learning_rate`.")
    after = _log_probabilities(lm, train, held_out)["log_probability"]
    reward = config.beta * (after - before["log_probability"])
    rewards = before.rename({"log_probability": "before"}).with_columns(after=after, reward=reward)
    shutil.rmtree(folder, ignore_errors=True)
    found = lm, method, steps, rewards, _margins(rewards), left_out
    return Preferred(*found, step_of(last), seconds, trained_in)


def _method(preferences: pl.DataFrame, config: PreferenceConfig) -> str:
    single, method = preferences.filter(pl.col("label") != "pair").height, config.method
    if method == "by_label":
        method = "kto" if single else "dpo"
    if method == "dpo" and single:
        raise TrainingError(
            f"`method` is dpo, but {single} of {len(preferences)} judgements are about a single "
            "answer: use `kto`, which takes pairs too, or leave the single ones out."
        )
    if method == "kto" and config.batch_size < 2:
        raise TrainingError(
            "`batch_size` is 1: kto compares answers within a batch, use 2 or more."
        )
    return method


def _that_fit(
    tokenizer: Any, preferences: pl.DataFrame, max_length: int
) -> tuple[pl.DataFrame, int]:
    """Leave out judgements with an answer too long; check that every answer carries loss."""
    long = set()
    for row in answers(preferences).iter_rows(named=True):
        try:
            if len(encode(tokenizer, row["messages"]).input_ids) > max_length:
                long.add(row["id"])
        except ModelError as error:
            raise TrainingError(f"Preference {row['id']!r}: {error}") from error
    kept = preferences.filter(~pl.col("id").is_in(list(long)))
    if kept.is_empty():
        raise TrainingError(
            f"All {len(long)} judgements exceed `max_length` {max_length} tokens: raise it."
        )
    return kept, len(long)


def _both_kinds(part: pl.DataFrame, name: str) -> None:
    kinds = set(answers(part)["desirable"])
    if len(kinds) < 2:
        which = "good" if kinds == {True} else "bad"
        raise TrainingError(
            f"The {name} feedback holds only {which} answers, so there is no margin between "
            "good and bad: collect both kinds, on two questions each at least."
        )


def _run_name(lm: LanguageModel, preferences: pl.DataFrame, config: PreferenceConfig) -> str:
    content = hashlib.sha256(json.dumps(dataclasses.asdict(config), sort_keys=True).encode())
    content.update(f"{lm.name} {lm.dtype}\n{preferences.write_ndjson()}".encode())
    for name, values in lm.model.named_parameters():
        if values.requires_grad:
            content.update(name.encode())
            content.update(values.detach().float().cpu().numpy().tobytes())
    return content.hexdigest()[:16]


def _log_probabilities(
    lm: LanguageModel, train: pl.DataFrame, held_out: pl.DataFrame
) -> pl.DataFrame:
    """How likely a model finds every judged answer, in nats, stop token included."""
    parts = {"train": train, "held_out": held_out}
    both = pl.concat([answers(t).with_columns(split=pl.lit(s)) for s, t in parts.items()])
    tokens, found = [], []
    for messages in track(both["messages"].to_list(), label="answer log-probability"):
        encoded = encode(lm.tokenizer, messages)
        tokens.append(sum(label != -100 for label in encoded.labels))
        loss = batch_losses(lm, [encoded], adapter=True)[0]
        found.append(-loss * tokens[-1])
    numbers = pl.DataFrame({"tokens": tokens, "log_probability": found})
    return both.select("id", "question", "split", "desirable").hstack(numbers)


def _steps(history: list[dict[str, Any]]) -> pl.DataFrame:
    """What the trainer logged, as `Preferred.steps`."""
    rows = []
    for entry in history:
        prefix = "" if "loss" in entry else "eval_"
        if f"{prefix}loss" not in entry:
            continue
        good, bad = (entry.get(f"{prefix}rewards/{kind}") for kind in ("chosen", "rejected"))
        split, rate = "held_out" if prefix else "train", entry.get("learning_rate")
        margin = None if good is None or bad is None else good - bad
        rows.append((entry["step"], split, entry[f"{prefix}loss"], margin, rate))
    numbers = dict.fromkeys(("loss", "margin", "learning_rate"), pl.Float64)
    schema = {"step": pl.Int64, "split": pl.String, **numbers}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _margins(rewards: pl.DataFrame) -> pl.DataFrame:
    """Sum up rewards as `Preferred.margins`."""
    rows = []
    for split in ("train", "held_out"):
        part = rewards.filter(split=split)
        good, bad = part.filter("desirable"), part.filter(~pl.col("desirable"))
        pairs = good.join(bad, on="id", suffix="_bad")
        if len(pairs) == len(good) == len(bad):
            margin, low, high, accuracy = _of_pairs(pairs)
        else:
            margin, low, high, accuracy = _of_singles(good["reward"], bad["reward"])
        size = {"split": split, "questions": part["question"].n_unique(), "answers": len(part)}
        row = size | {"margin": margin, "low": low, "high": high, "accuracy": accuracy}
        row |= {f"gap_{when}": _gap(good, bad, when) for when in ("before", "after")}
        change = (good["after"] - good["before"]).to_numpy().mean().item()
        rows.append(row | {"good_change": change})
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
    axes.set(xlabel="optimiser step", ylabel="reward margin")
    axes.set_title(f"Chosen above rejected ({preferred.method.upper()}), 0 at the start")
    axes.legend(frameon=False, loc="upper left")
    plain(axes)
    return figure
