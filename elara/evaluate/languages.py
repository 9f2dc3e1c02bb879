"""Judge an adapter in each of its languages: each has a verdict of its own, or no evidence."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import polars as pl

from elara.evaluate.reliability import NO_EVIDENCE
from elara.evaluate.scores import PRIMARY, EvaluationError
from elara.evaluate.verdict import judge

# Names of the languages in which there are training examples; another one goes by its code.
_NAMES = {"en": "English", "es": "Spanish", "fr": "French", "pt": "Portuguese", "sw": "Swahili"}
_TAKEN = (
    *("word", "base", "adapter", "difference", "low", "high", "level", "margin", "detectable"),
    *("p", "topics", "harmed"),
)
_SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("language", "name"), pl.String),
    **dict.fromkeys(("train_examples", "items"), pl.Int64),
    **dict.fromkeys(_TAKEN, pl.Float64),
    **dict.fromkeys(("word", "harmed", "sentence"), pl.String),
    "topics": pl.Int64,
}


def judge_languages(
    scores: pl.DataFrame,
    languages: Mapping[str, str],
    trained: Mapping[str, int],
    *,
    primary: str = PRIMARY,
    level: float = 0.95,
    **settings: Any,
) -> pl.DataFrame:
    """Compare an adapter with its base model in each language by itself.

    A verdict over all languages is mostly about the largest one, so it says nothing about the
    others. The chance of error is divided among the languages that are judged.

    Args:
        scores: as for `judge`.
        languages: each item of `scores` to its language, an ISO 639-1 code: `Example.language`.
        trained: each language to its number of training examples.
        primary: the endpoint that decides.
        level: of all intervals together.
        settings: for `judge`.

    Returns:
        One row for each language that trains or is tested, by training examples: language, name,
        train_examples, items, the numbers of its `Verdict`, and sentence. Without an item, the
        word is "no evidence" and the numbers are null.

    Raises:
        EvaluationError: an item has no language, or `judge` refuses the scores of a language.

    Source: Bonferroni's inequality.
    """
    known = scores.with_columns(
        language=pl.col("item").replace_strict(languages, default=None, return_dtype=pl.String)
    )
    _check(known)
    measured = known.filter(metric=primary)["language"].unique().to_list()
    each = 1 - (1 - level) / max(1, len(measured))
    rows = []
    for language in sorted({*trained, *known["language"]}, key=lambda x: (-trained.get(x, 0), x)):
        row = {"language": language, "name": _NAMES.get(language, language)}
        row |= {"train_examples": trained.get(language, 0), "items": 0, "word": NO_EVIDENCE}
        if language in measured:
            part = known.filter(language=language).drop("language")
            verdict = judge(part, primary=primary, level=each, **settings).verdict
            found = dataclasses.asdict(verdict)
            row |= {name: found[name] for name in _TAKEN} | {"items": verdict.examples}
            row["sentence"] = f"{row['name']} {_training(row)}. {verdict.verdict}"
        else:
            row["sentence"] = f"{row['name']} {_training(row)}. {_NOTHING.format(primary)}"
        rows.append(row)
    return pl.DataFrame(rows, schema=_SCHEMA)


_NOTHING = (
    "No evidence: no held-out item on {} is in this language, so nothing is known of whether "
    "tuning helped or hurt in it. Raise `test_share` in 04, or collect more."
)


def _training(row: Mapping[str, Any]) -> str:
    count = row["train_examples"]
    many = f"{count:,} training example{'' if count == 1 else 's'}"
    return f"({many if count else 'not trained in'})"


def _check(known: pl.DataFrame) -> None:
    missing = known.filter(pl.col("language").is_null())["item"].unique().sort()
    if len(missing):
        raise EvaluationError(
            f"Item {missing[0]} has no language ({len(missing)} such item(s)): name the language "
            "of every item that was scored, as `dict(test.select('id', 'language').iter_rows())`."
        )
