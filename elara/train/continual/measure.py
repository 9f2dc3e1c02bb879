"""The answer loss of the active adapter on examples, and the interval of a mean."""

from __future__ import annotations

import math
from collections.abc import Sequence

import polars as pl

from elara.model import LanguageModel, answer_loss, encode
from elara.progress import track


def answer_losses(lm: LanguageModel, examples: pl.DataFrame, *, max_length: int) -> pl.DataFrame:
    """The mean answer loss of each example under the active adapter.

    Args:
        lm: the model, in evaluation mode.
        examples: `Example` rows.
        max_length: examples longer than this many tokens are left out, as in training.

    Returns:
        Columns id, article (the first that it is built on), source (the article id's part before
        the colon), tokens (of the answer) and loss (nats per answer token), ordered by id.

    Raises:
        ModelError: an example carries no loss.
    """
    rows = []
    parts = examples.sort("id").select("id", "article_ids", "messages").to_dicts()
    for example in track(parts, label="answer loss"):
        encoded = encode(lm.tokenizer, example["messages"])
        if len(encoded.input_ids) > max_length:
            continue
        article = example["article_ids"][0]
        rows.append(
            {
                "id": example["id"],
                "article": article,
                "source": article.split(":")[0],
                "tokens": sum(label != -100 for label in encoded.labels),
                "loss": answer_loss(lm, encoded.input_ids, encoded.labels, adapter=True),
            }
        )
    text = {"id": pl.String, "article": pl.String, "source": pl.String}
    return pl.DataFrame(rows, schema=text | {"tokens": pl.Int64, "loss": pl.Float64})


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean of a sample and its 95 % interval by Student's t.

    Args:
        values: independent values, at least one.

    Returns:
        Mean, lower and upper end; with one value the ends are not a number, because a single
        value says nothing about its spread.

    Source: https://docs.scipy.org/doc/scipy/reference/generated/scipy.stats.t.html
    """
    from scipy import stats

    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, math.nan, math.nan
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    half = float(stats.t.ppf(0.975, len(values) - 1)) * math.sqrt(variance / len(values))
    return mean, mean - half, mean + half
