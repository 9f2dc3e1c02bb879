"""The verdict says what the numbers say, and nothing more."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from score_tables import around, scores

from elara.evaluate import (
    EvaluationError,
    difference_figure,
    judge,
    judge_arms,
    obey_block_list,
    power_figure,
)
from elara.evaluate.figures import simulated_power_figure

CAVEAT = "Lower loss is not better medicine"


def test_a_clear_gain_is_called_one() -> None:
    judgement = judge(scores(around(-0.5)))
    verdict = judgement.verdict
    assert (verdict.word, verdict.better) == ("helped", True)
    assert verdict.low is not None
    assert verdict.high is not None
    assert verdict.low < verdict.difference < verdict.high < 0
    assert verdict.difference == pytest.approx(-0.5)
    assert verdict.better_topics == verdict.topics == verdict.articles == 12
    assert verdict.verdict.startswith("Tuning helped on text of this kind")
    assert "primary endpoint, answer loss on held-out topics" in verdict.verdict
    assert "0.50 nats per token below its own base model" in verdict.verdict
    assert "a perplexity 39% lower" in verdict.verdict
    assert f"A gain of {verdict.detectable:.2f} would be found" in verdict.verdict
    assert CAVEAT in verdict.verdict


@pytest.mark.parametrize(
    ("differences", "word", "start"),
    [
        (around(0.5), "hurt", "Tuning hurt: "),
        (around(0.0, spread=0.01), "equivalent", "Equivalent, within ± 0.05"),
        (around(0.0, spread=0.5), "too few items to tell", "Too few items to tell"),
        (around(-5.0, topics=9), "too few items to tell", "Too few items to tell"),
        ([-5.0], "too few items to tell", "Too few items to tell"),
    ],
)
def test_every_other_word_has_its_sentence(differences: list[float], word: str, start: str) -> None:
    verdict = judge(scores(differences)).verdict
    assert (verdict.word, verdict.better) == (word, False)
    assert verdict.verdict.startswith(start)
    assert CAVEAT in verdict.verdict
    few = len(differences) < 10
    assert ("At least 10 topics are needed" in verdict.verdict) is few
    assert (verdict.detectable is None) is few


def test_examples_of_one_topic_count_once() -> None:
    differences = around(-0.2, spread=0.3)
    once, often = judge(scores(differences)).verdict, judge(scores(differences, repeats=10)).verdict
    assert (once.low, once.high) == (pytest.approx(often.low), pytest.approx(often.high))
    assert often.examples == 10 * once.examples


def test_a_harm_elsewhere_forbids_a_helped() -> None:
    exam = scores(around(-0.2), metric="accuracy", base=0.5)
    verdict = judge(pl.concat([scores(around(-0.5)), exam])).verdict
    assert (verdict.word, verdict.harmed, verdict.better) == ("hurt", "accuracy", False)
    assert verdict.verdict.startswith("Tuning hurt: worse became accuracy; on the primary endpoint")


def test_a_higher_accuracy_is_no_harm() -> None:
    exam = scores(around(0.2), metric="accuracy", base=0.5)
    judgement = judge(pl.concat([scores(around(-0.5)), exam]))
    assert judgement.verdict.word == "helped"
    row = judgement.comparisons.row(1, named=True)
    assert (row["endpoint"], row["word"]) == ("accuracy", "helped")
    assert 0 < row["low"] < row["difference"] < row["high"]
    assert row["p_holm"] == row["p"]  # it is alone in its family


def test_a_specialty_that_got_worse_forbids_it_too() -> None:
    heart = scores(around(0.3), specialty="Cardiology", start=100)
    rest = scores(around(-0.9, topics=60), specialty="Neurology")
    verdict = judge(pl.concat([heart, rest])).verdict
    assert verdict.difference < 0
    assert (verdict.word, verdict.harmed) == ("hurt", "answer loss in Cardiology")


def test_specialties_with_few_topics_are_listed_and_not_tested() -> None:
    few = scores(around(0.3, topics=4), specialty="Cardiology", start=100)
    judgement = judge(pl.concat([few, scores(around(-0.9, topics=60))]))
    row = judgement.comparisons.row(1, named=True)
    assert (row["specialty"], row["word"]) == ("Cardiology", "too few items to tell")
    assert (row["p_holm"], row["detectable"], judgement.verdict.untested) == (None, None, 1)
    assert judgement.verdict.word == "helped"


def test_many_secondary_endpoints_are_corrected() -> None:
    """A chance find among thirteen specialties is none."""
    weak = scores(around(0.1, spread=0.15, topics=12), specialty="A", start=1000)
    assert judge(pl.concat([scores(around(-0.9, topics=60)), weak])).verdict.harmed
    others = [scores(around(0.0, spread=0.5), specialty=s, start=100 * n)
              for n, s in enumerate("BCDEFGHI", 20)]  # fmt: skip
    many = judge(pl.concat([scores(around(-0.9, topics=60)), weak, *others]))
    row = many.comparisons.filter(specialty="A").row(0, named=True)
    assert row["p"] <= 0.05 < row["p_holm"]
    assert "answer loss in A" not in many.verdict.harmed


def test_the_spread_over_seeds_is_told() -> None:
    runs = [scores(around(mean)).with_columns(seed=s) for s, mean in enumerate((-0.4, -0.5, -0.6))]
    table = pl.concat([runs[0], *(run.filter(arm="adapter") for run in runs[1:])])
    verdict = judge(table).verdict
    assert verdict.seeds == 3
    assert (verdict.seed_low, verdict.seed_high) == pytest.approx((-0.6, -0.4))
    assert verdict.difference == pytest.approx(-0.5)
    assert judge(scores(around(-0.5))).verdict.seeds == 1


def test_the_same_seed_gives_the_same_verdict() -> None:
    table = scores(around(-0.1, topics=20))
    assert judge(table, seed=3).verdict == judge(table, seed=3).verdict
    assert judge(table, seed=3).verdict != judge(table, seed=4).verdict


def test_right_and_wrong_answers_are_compared_by_mcnemar() -> None:
    turned = [0.0] * 100 + [-1.0] * 15 + [1.0] * 3
    exam = pl.concat([
        scores(turned[:115], metric="accuracy", base=1.0),
        scores(turned[115:], metric="accuracy", base=0.0, start=115),
    ])  # fmt: skip
    judgement = judge(exam, primary="accuracy")
    assert judgement.verdict.word == "hurt"
    from scipy import stats

    exact = stats.binomtest(3, 18).pvalue
    assert judgement.comparisons["p"][0] == pytest.approx(max(exact, 0.002), abs=0.01)


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(EvaluationError, match=r"Nothing was measured on the primary endpoint"):
        judge(scores([0.1] * 12, metric="accuracy"))
    with pytest.raises(EvaluationError, match=r"The metric beauty has no margin: .*mention score"):
        judge(pl.concat([scores([0.1] * 12), scores([0.1] * 12, metric="beauty")]))


def test_arms_share_the_chance_of_error() -> None:
    table = scores(around(-0.06, spread=0.09))
    sources = table.with_columns(pl.concat_str("arm", pl.lit(" with sources")).alias("arm"))
    pairs = [("base", "adapter"), ("base with sources", "adapter with sources")]
    found = judge_arms(pl.concat([table, sources]), pairs)
    assert list(found) == [
        "adapter against base",
        "adapter with sources against base with sources",
    ]
    alone, shared = judge(table).verdict, found["adapter against base"].verdict
    assert shared.level == pytest.approx(0.975)
    assert "97.5 % interval" in shared.verdict
    assert shared.low is not None
    assert alone.low is not None
    assert shared.low < alone.low
    with pytest.raises(EvaluationError, match="no pair of arms"):
        judge_arms(table, [])


def test_an_arm_that_read_a_blocked_article_is_refused() -> None:
    read = pl.DataFrame({"arm": ["base with sources"] * 2, "item": ["q1", "q2"],
                         "article_id": ["pubmed:1", "cdc:x"], "pmid": ["1", ""]})  # fmt: skip
    obey_block_list(read, pl.DataFrame({"set": ["pubmedqa"], "pmid": ["2"]}))
    blocked = pl.DataFrame({"set": ["pubmedqa", "own"], "pmid": ["1", ""]})
    with pytest.raises(EvaluationError, match=r"read pubmed:1 before it answered q1, and pubmedqa"):
        obey_block_list(read, blocked)


def test_the_figures_show_topics_margin_and_power() -> None:
    judgement = judge(scores(around(-0.5)))
    axes = difference_figure(judgement).axes[0]
    assert {t.get_text() for t in axes.get_legend().get_texts()} == {
        "does not matter",
        "95 % interval",
        "mean",
        "one topic",
    }
    curve = power_figure(judgement).axes[0].lines[0].get_ydata()
    assert 0 <= min(curve) < 0.05
    assert 0.95 < max(curve) <= 1
    assert list(curve) == sorted(curve)
    few = judge(scores([-0.5]))
    assert len(difference_figure(few).axes[0].lines[-1].get_xdata()) == 1
    assert "At least 10 topics" in power_figure(few).axes[0].texts[0].get_text()


def test_the_simulated_curves_are_drawn_by_number_of_topics(project: Path) -> None:
    found = json.loads((project / "benchmarks" / "verdict.json").read_text(encoding="utf-8"))
    axes = simulated_power_figure(**found["power"]).axes[0]
    assert [t.get_text() for t in axes.get_legend().get_texts()] == [
        "10 topics",
        "19 topics",
        "40 topics",
        "100 topics",
    ]
    assert axes.lines[0].get_ydata()[0] <= 0.05
    assert axes.lines[3].get_ydata()[-1] > 0.99
