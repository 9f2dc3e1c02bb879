"""Measure how surprised a model is by a reference answer, and how sure a mean difference is."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from elara.display.progress import track
from elara.model import Encoded, LanguageModel, encode

if TYPE_CHECKING:
    import numpy as np

_ENOUGH = 10  # values from which resampling keeps what it promises: see benchmarks/verdict.py
_AT_ONCE = 2**24  # numbers that resampling holds at a time


def batch_losses(lm: LanguageModel, batch: Sequence[Encoded], *, adapter: bool) -> list[float]:
    """The mean loss on the answer of each conversation, in nats per answer token.

    Args:
        lm: a model with a trained adapter.
        batch: conversations, which are read at once.
        adapter: whether the adapter is on; off gives the base model's loss.
    """
    import torch

    def filled(rows: list[list[int]], value: int) -> Any:
        parts = [torch.tensor(row, device=lm.device) for row in rows]
        return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=value)

    tokens = filled([row.input_ids for row in batch], 0)
    read = filled([[1] * len(row.input_ids) for row in batch], 0)
    wanted = filled([row.labels[1:] for row in batch], -100)
    context: Any = contextlib.nullcontext() if adapter else lm.model.disable_adapter()
    with torch.inference_mode(), context:
        logits = lm.model(input_ids=tokens, attention_mask=read).logits[:, :-1]
    loss = torch.nn.functional.cross_entropy
    return [float(loss(row.float(), ids)) for row, ids in zip(logits, wanted, strict=True)]


def answer_losses(
    lm: LanguageModel,
    examples: pl.DataFrame,
    *,
    max_length: int,
    sides: Sequence[str] = ("base", "adapter"),
    batch_size: int = 1,
) -> pl.DataFrame:
    """Measure how surprised base model and adapter are by each reference answer.

    Both read exactly the same tokens; the base model is the same network with its adapter
    switched off.

    Args:
        lm: a model with a trained adapter.
        examples: held-out `Example` rows.
        max_length: examples longer than this many tokens are left out, as in training.
        sides: of `base` and `adapter`, what to measure.
        batch_size: examples read at once, in the order given.

    Returns:
        Columns id, source (the article), tokens (of the answer), and each of `sides`: mean loss
        in nats per answer token, stop token included. Ordered by id.

    Raises:
        ModelError: an example carries no loss.
    """
    parts = examples.select("id", "article_ids", "messages").rows()
    read = [(name, of[0], encode(lm.tokenizer, messages)) for name, of, messages in parts]
    read = [row for row in read if len(row[2].input_ids) <= max_length]
    rows: list[tuple[Any, ...]] = []
    for start in track(range(0, len(read), batch_size), label="answer loss"):
        names, sources, batch = zip(*read[start : start + batch_size], strict=True)
        tokens = [sum(label != -100 for label in one.labels) for one in batch]
        losses = [batch_losses(lm, batch, adapter=side == "adapter") for side in sides]
        rows += zip(names, sources, tokens, *losses, strict=True)
    schema = {"id": pl.String, "source": pl.String, "tokens": pl.Int64}
    schema |= dict.fromkeys(sides, pl.Float64)
    return pl.DataFrame(rows, schema=schema, orient="row").sort("id")


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean of one sample and the ends of its 95 % interval, see `intervals`."""
    import numpy as np

    mean, low, high, _ = intervals(np.array([values], dtype=float))
    return float(mean[0]), float(low[0]), float(high[0])


def intervals(
    samples: np.ndarray, *, level: float = 0.95, resamples: int = 9_999, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The mean of each sample, its interval, and how likely such a mean is if the true one is 0.

    Ten values or more are resampled, each resample in units of its own standard error (studentised
    bootstrap, good with few and skewed values); fewer are too few, and Student's t is taken.

    Args:
        samples: a row of independent values each, such as one paired difference per article.
        level: share of intervals that hold the true mean.
        resamples: bootstrap samples.
        seed: fixes the resampling.

    Returns:
        For each row: mean, lower end, upper end, two-sided p-value; the last three are not a
        number for a single value, which says nothing about its spread.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 12.5.
    """
    import numpy as np
    from scipy import stats

    mean, count = samples.mean(axis=1), samples.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(samples.var(axis=1) / np.float64(count - 1))
        error = np.where(np.ptp(samples, axis=1) > 0, error, 0.0)
        own = np.nan_to_num(mean / error)  # without any spread: 0, or as far as can be
    if count < _ENOUGH:
        half = stats.t.isf((1 - level) / 2, count - 1) * error
        return mean, mean - half, mean + half, 2 * stats.t.sf(np.abs(own), count - 1)
    drawn = _studentised(samples - mean[:, None], error, resamples, seed)
    lower, upper = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=1)
    beyond = [(drawn <= own[:, None]).sum(axis=1), (drawn >= own[:, None]).sum(axis=1)]
    p = np.minimum(1, 2 * (np.minimum(*beyond) + 1) / (resamples + 1))
    return mean, mean - upper * error, mean - lower * error, p


def _studentised(samples: np.ndarray, error: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Means of resamples in units of their own standard error; `samples` have a mean of 0."""
    import numpy as np

    count, rng, parts = samples.shape[1], np.random.default_rng(seed), []
    for size in np.diff([*range(0, resamples, max(1, _AT_ONCE // count)), resamples]):
        often = rng.multinomial(count, np.full(count, 1 / count), size=size).T / count
        means = samples @ often
        squares = (samples**2 @ often - means**2) / (count - 1)
        # A resample of equal values has no spread of its own: it keeps that of the sample.
        own = np.where(squares > 1e-9 * error[:, None] ** 2, squares, error[:, None] ** 2)
        parts.append(np.divide(means, own**0.5, out=np.zeros_like(means), where=own > 0))
    return np.concatenate(parts, axis=1)
