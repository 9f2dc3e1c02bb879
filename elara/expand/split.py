"""Hold out whole topics, so that the test never asks about what training saw in another text."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import polars as pl

from elara.expand.parts import Examples
from elara.records import Split


def check_shares(test_share: float = 0.15, validation_share: float = 0.05) -> None:
    """Raise ValueError if no topic would be tested on, or none trained on."""
    if not 0 < test_share < 1 or not 0 <= validation_share < 1 - test_share:
        raise ValueError(
            f"test_share {test_share} and validation_share {validation_share} must be positive "
            "and leave something to train on."
        )


def split_by_topic(
    examples: Examples,
    clusters: Mapping[str, str],
    *,
    test_share: float = 0.15,
    validation_share: float = 0.05,
    seed: int = 0,
) -> Examples:
    """Assign every example to train, validation or test, all of one topic to the same split.

    Curated cases are few and always train, and so does every topic that holds one.

    Args:
        examples: the examples.
        clusters: article id to the name of its topic, from `topic_clusters`; an article that is
            not named is a topic of its own.
        test_share: share of the topics held out for the final test, 0 to 1.
        validation_share: share of the topics held out to watch training, 0 to 1.
        seed: another seed holds out other topics.

    Returns:
        The examples in their order, with `split` and `topic` in the index.

    Raises:
        ValueError: the shares are out of range, or leave no topic to train or test on.
    """
    check_shares(test_share, validation_share)
    sources, origins = examples.index["article_id"].to_list(), examples.index["origin"]
    topics = [clusters.get(source, source) for source in sources]
    curated = {t for t, o in zip(topics, origins, strict=True) if o == "curated"}
    drawn = sorted(
        set(topics) - curated, key=lambda t: hashlib.sha256(f"{seed}:{t}".encode()).digest()
    )
    if len(drawn) < 3:
        raise ValueError(
            f"{len(drawn)} topics are too few to hold any out: collect more, or lower "
            "`minimum_quality` in 02; for private training put the word `private` into "
            "`licence.txt` in the texts' folder, or set `licences` to `any` in 04."
        )
    tests = math.ceil(len(drawn) * test_share)
    validations = math.ceil(len(drawn) * validation_share)
    where: dict[str, Split] = dict.fromkeys(drawn, "train")
    where |= dict.fromkeys(drawn[:tests], "test")
    where |= dict.fromkeys(drawn[tests : tests + validations], "validation")
    splits = [where.get(topic, "train") for topic in topics]
    columns = (pl.Series("split", splits, pl.String), pl.Series("topic", topics, pl.String))
    return examples.only(examples.index.with_columns(columns))
