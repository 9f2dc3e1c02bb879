"""Measure how surprised a model is by a reference answer, and how sure a mean difference is."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import polars as pl

from elara.display.progress import track
from elara.model import LanguageModel, encode

_ENOUGH = 5  # values from which resampling says more than a formula


def answer_loss(
    lm: LanguageModel, input_ids: Sequence[int], labels: Sequence[int], *, adapter: bool
) -> float:
    """The mean loss on an example's answer.

    Args:
        lm: a model with a trained adapter.
        input_ids: token ids of the whole conversation.
        labels: the same ids where loss is taken, -100 elsewhere.
        adapter: whether the adapter is on; off gives the base model's loss.

    Returns:
        Nats per answer token.
    """
    import torch

    tokens = torch.tensor([list(input_ids)], device=lm.device)
    wanted = torch.tensor(list(labels[1:]), device=lm.device)
    context: Any = contextlib.nullcontext() if adapter else lm.model.disable_adapter()
    with torch.inference_mode(), context:
        logits = lm.model(input_ids=tokens).logits[0, :-1].float()
    return float(torch.nn.functional.cross_entropy(logits, wanted, ignore_index=-100))


def answer_losses(
    lm: LanguageModel,
    examples: pl.DataFrame,
    *,
    max_length: int,
    sides: Sequence[str] = ("base", "adapter"),
) -> pl.DataFrame:
    """Measure how surprised base model and adapter are by each reference answer.

    Both read exactly the same tokens; the base model is the same network with its adapter
    switched off.

    Args:
        lm: a model with a trained adapter.
        examples: held-out `Example` rows.
        max_length: examples longer than this many tokens are left out, as in training.
        sides: of `base` and `adapter`, what to measure.

    Returns:
        Columns id, source (the article), tokens (of the answer), and each of `sides`: mean loss
        in nats per answer token, stop token included. Ordered by id.

    Raises:
        ModelError: an example carries no loss.
    """
    rows = []
    parts = examples.sort("id").select("id", "article_ids", "messages").to_dicts()
    for example in track(parts, label="answer loss"):
        encoded = encode(lm.tokenizer, example["messages"])
        if len(encoded.input_ids) > max_length:
            continue
        ids, labels = encoded.input_ids, encoded.labels
        losses = [answer_loss(lm, ids, labels, adapter=side == "adapter") for side in sides]
        tokens = sum(label != -100 for label in labels)
        rows.append((example["id"], example["article_ids"][0], tokens, *losses))
    schema = {"id": pl.String, "source": pl.String, "tokens": pl.Int64}
    schema |= dict.fromkeys(sides, pl.Float64)
    return pl.DataFrame(rows, schema=schema, orient="row")


def interval(
    values: Sequence[float], *, resamples: int = 9_999, seed: int = 0
) -> tuple[float, float, float]:
    """The mean of a sample and its 95 % interval.

    Five values or more are resampled (BCa bootstrap); fewer are too few for that, and Student's t
    gives the interval.

    Args:
        values: independent values, such as one paired difference per article; at least one.
        resamples: bootstrap samples.
        seed: fixes the resampling.

    Returns:
        Mean, lower and upper end; with one value the ends are not a number, because a single
        value says nothing about its spread.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 14 (BCa);
        https://docs.scipy.org/doc/scipy/reference/generated/scipy.stats.bootstrap.html
    """
    import numpy as np
    from scipy import stats

    sample = np.asarray(values, dtype=float)
    mean = float(sample.mean())
    if len(sample) < 2:
        return mean, math.nan, math.nan
    if np.ptp(sample) == 0:  # equal values leave nothing to resample
        return mean, float(sample[0]), float(sample[0])
    if len(sample) < _ENOUGH:
        half = float(stats.t.ppf(0.975, len(sample) - 1) * stats.sem(sample))
        return mean, mean - half, mean + half
    found = stats.bootstrap(
        (sample,), np.mean, n_resamples=resamples, rng=np.random.default_rng(seed), method="BCa"
    ).confidence_interval
    return mean, float(found.low), float(found.high)
