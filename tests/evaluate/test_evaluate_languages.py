"""Each language has its own verdict, or none."""

from __future__ import annotations

import polars as pl
import pytest
from score_tables import around, scores

from elara.evaluate import EvaluationError, judge
from elara.evaluate.languages import judge_languages

TRAINED = {"en": 900, "es": 40, "sw": 7}


def languages_of(*parts: tuple[str, pl.DataFrame]) -> dict[str, str]:
    return {item: language for language, part in parts for item in part["item"]}


def test_a_language_that_got_worse_does_not_hide_behind_a_large_one() -> None:
    english = scores(around(-0.5, topics=60))
    spanish = scores(around(0.4, topics=12), start=100)
    both = pl.concat([english, spanish])
    assert judge(both).verdict.word == "helped"
    found = judge_languages(both, languages_of(("en", english), ("es", spanish)), TRAINED)
    words = dict(found.select("language", "word").iter_rows())
    assert words == {"en": "helped", "es": "hurt", "sw": "no evidence"}
    assert found["language"].to_list() == ["en", "es", "sw"]
    assert found["items"].to_list() == [60, 12, 0]


def test_every_language_has_a_sentence() -> None:
    english, french = scores(around(-0.5)), scores(around(-0.5, topics=3), start=100)
    table = pl.concat([english, french])
    found = judge_languages(
        table, languages_of(("en", english), ("fr", french)), {"en": 1, "sw": 2}
    )
    told = dict(found.select("language", "sentence").iter_rows())
    assert told["en"].startswith("English (1 training example). Tuning helped")
    assert told["fr"].startswith("French (not trained in). Too few items to tell")
    assert told["sw"].startswith("Swahili (2 training examples). No evidence: no held-out item on ")
    empty = found.filter(language="sw").row(0, named=True)
    assert (empty["difference"], empty["low"], empty["topics"]) == (None, None, None)


def test_languages_share_the_chance_of_error() -> None:
    english, spanish = scores(around(-0.1)), scores(around(-0.1), start=100)
    table = pl.concat([english, spanish])
    found = judge_languages(table, languages_of(("en", english), ("es", spanish)), TRAINED)
    assert found["level"].to_list()[:2] == pytest.approx([0.975, 0.975])
    alone = judge(english).verdict
    assert alone.low is not None
    assert found["low"][0] < alone.low


def test_secondary_scores_alone_are_no_evidence() -> None:
    english = scores(around(-0.5))
    exam = scores(around(0.1), metric="accuracy", base=0.5, start=100)
    table = pl.concat([english, exam])
    found = judge_languages(table, languages_of(("en", english), ("es", exam)), TRAINED)
    assert found.filter(language="es")["word"].item() == "no evidence"


def test_an_item_without_a_language_is_refused() -> None:
    english = scores(around(-0.5))
    known = languages_of(("en", english.filter(pl.col("item") != "x:3/k/0")))
    with pytest.raises(EvaluationError, match=r"Item x:3/k/0 has no language \(1 such item"):
        judge_languages(english, known, TRAINED)
