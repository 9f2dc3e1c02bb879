"""Judge several arms at once, and refuse one that read what its test was made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from elara.evaluate.scores import EvaluationError
from elara.evaluate.verdict import Judgement, judge


def judge_arms(
    scores: pl.DataFrame, pairs: Sequence[tuple[str, str]], *, level: float = 0.95, **settings: Any
) -> dict[str, Judgement]:
    """Compare arms two by two, with the chance of error divided among the comparisons.

    Args:
        scores: as for `judge`, with all the arms.
        pairs: what each arm is compared with, and the arm: `("base", "adapter")`,
            `("base with sources", "adapter with sources")`.
        level: of all intervals together.
        settings: for `judge`.

    Returns:
        `adapter against base` to its judgement, in the order of the pairs.

    Raises:
        EvaluationError: there are no pairs, or `judge` refuses one.

    Source: Bonferroni's inequality.
    """
    if not pairs:
        raise EvaluationError("There is no pair of arms to compare: name at least one.")
    each = 1 - (1 - level) / len(pairs)
    return {
        f"{arm} against {base}": judge(scores, base=base, adapter=arm, level=each, **settings)
        for base, arm in pairs
    }


def obey_block_list(read: pl.DataFrame, blocked: pl.DataFrame) -> None:
    """Refuse arms that were given an article from which an evaluation set was made.

    Args:
        read: what each arm was given before it answered: columns arm, item, article_id, pmid.
        blocked: `blocked.parquet` of stage 4: columns set and pmid.

    Raises:
        EvaluationError: an arm was given a blocked article.
    """
    found = read.filter(pl.col("pmid") != "").join(blocked, on="pmid").sort("arm", "item", "set")
    if not found.is_empty():
        row = found.row(0, named=True)
        raise EvaluationError(
            f"The arm `{row['arm']}` read {row['article_id']} before it answered {row['item']}, "
            f"and {row['set']} was made from that article ({found.height} such case(s)): keep "
            "blocked articles out of its sources, and measure it again."
        )
