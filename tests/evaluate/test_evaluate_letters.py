"""Letters are scored by what stands behind them, whatever letter a model prefers."""

from __future__ import annotations

import answering_models as stubs
import polars as pl
import pytest

from elara.evaluate import asking, positions
from elara.evaluate.accuracy import accuracy_scores, accuracy_table, letter_table, letters_told
from elara.evaluate.letters import score_letters, score_words
from elara.evaluate.scores import EvaluationError, paired

ALL = ("none", "cyclic", "prior")


@pytest.mark.parametrize("calibration", ALL)
def test_who_knows_is_always_right_and_who_knows_wrongly_never(calibration: str) -> None:
    for options in (2, 4, 5):
        choices = stubs.items(options=options)
        for known, value in ((stubs.right, 1.0), (stubs.wrong, 0.0)):
            scores = score_letters(stubs.model(known(choices)), choices, calibration=calibration)
            assert scores["right"].to_list() == [value] * len(choices)


@pytest.mark.parametrize("strength", [1.0, 8.0, 19.0, 50.0])
@pytest.mark.parametrize("letter", "ABCD")
def test_a_preferred_letter_hides_nothing_in_cyclic_orders(letter: str, strength: float) -> None:
    choices = stubs.items(12)
    lm = stubs.model(stubs.right(choices, by=0.5), {letter: strength})
    for calibration in ("cyclic", "prior"):
        scores = score_letters(lm, choices, calibration=calibration)
        assert scores["right"].mean() == 1.0
    if strength > 1:
        plain = score_letters(lm, choices)
        assert plain["right"].mean() == 0.25
        assert f"{letter} is the answer to 100% of 12 items" in letters_told(plain)[0]
        assert "chance is 25.0%" in letters_told(plain)[0]


@pytest.mark.parametrize("letter", "ABCD")
def test_who_only_knows_a_letter_is_at_chance(letter: str) -> None:
    choices = [c for c in stubs.items(40) if c.key != 2 or int(c.id[-2:]) < 12]
    for calibration in ("cyclic", "prior"):
        scores = score_letters(stubs.model({}, {letter: 9.0}), choices, calibration=calibration)
        table = accuracy_table(scores)
        assert table["accuracy"][0] == pytest.approx(0.25) == table["chance"][0]
        assert table["none"][0] == len(choices)
        assert "options tie" in letters_told(scores)[0]


def test_the_mean_of_probabilities_would_let_neighbors_decide() -> None:
    import numpy as np

    bias, good = np.array([0.0, -1.0, -9.0]), np.array([4.9, 5.0, 0.0])
    orders = [
        positions.normalised(bias + good[[(j + by) % 3 for j in range(3)]]) for by in range(3)
    ]
    mean = np.mean([positions.unturned(np.exp(o), by) for by, o in enumerate(orders)], axis=0)
    assert int(np.argmax(mean)) == 0
    assert positions.best(positions.averaged(orders)) == [1]


def test_turning_there_and_back_changes_nothing() -> None:
    for by in range(5):
        assert positions.unturned(positions.shown("abcde", by), by) == list("abcde")


def test_words_are_scored_without_the_options_being_shown() -> None:
    choices = stubs.items(8)
    for known, value in ((stubs.right, 1.0), (stubs.wrong, 0.0)):
        scores = score_words(stubs.model(known(choices)), choices)
        assert scores["right"].to_list() == [value] * 8
    assert "red" not in scores["prompt"][0]
    assert score_words(stubs.model({}), choices)["right"].mean() == 0.25


def test_the_base_is_the_model_without_its_adapter() -> None:
    choices = stubs.items(8)
    lm = stubs.model(stubs.right(choices), {"A": 2.0})
    sides = [score_letters(lm, choices, side=side) for side in ("base", "adapter")]
    assert [side["right"].mean() for side in sides] == [0.25, 1.0]
    both = paired(accuracy_scores(pl.concat(sides)), "base", "adapter")
    assert both["adapter"].to_list() == [1.0] * 8
    assert both["cluster"].to_list() == [c.id for c in choices]


def test_batches_and_their_shared_beginning_change_no_score() -> None:
    choices = stubs.items(9)
    lm = stubs.model(stubs.right(choices, by=0.3), {"B": 0.2})
    logs = [score_letters(lm, choices, batch_size=size)["logs"].to_list() for size in (1, 4, 9)]
    assert logs[0] == logs[1] == logs[2]
    lm.model.read = 0
    score_letters(lm, choices, batch_size=9)
    whole = sum(len(lm.tokenizer(p)["input_ids"]) for p in score_letters(lm, choices)["prompt"])
    assert lm.model.read / 2 < 0.6 * whole


def test_the_table_counts_what_was_predicted_beside_what_is_right() -> None:
    choices = stubs.items(8)
    scores = score_letters(stubs.model({}, {"C": 3.0}), choices)
    rows = {row[0]: row[1:] for row in letter_table(scores).iter_rows()}
    assert rows == {"": (0, 0, 0), "A": (0, 2, 0), "B": (0, 2, 0), "C": (8, 2, 2), "D": (0, 2, 0)}


def test_a_wrong_name_is_refused() -> None:
    choices = stubs.items(2)
    with pytest.raises(EvaluationError, match="Unknown calibration 'pride'"):
        score_letters(stubs.model({}), choices, calibration="pride")
    with pytest.raises(EvaluationError, match="Unknown side"):
        score_letters(stubs.model({}), choices, side="tuned")


@pytest.mark.model
def test_the_packaged_model_writes_letters_with_one_token_each() -> None:
    import torch

    from elara.model import load_base

    lm = load_base()
    before, letters = asking.letters_of(lm, 5)
    assert (before, lm.tokenizer.convert_ids_to_tokens(letters)) == ([], list("ABCDE"))
    choices = stubs.items(3)
    scores = score_letters(lm, choices, side="base")
    for prompt, logs in scores.select("prompt", "logs").iter_rows():
        tokens = lm.tokenizer(prompt, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            alone = lm.model(input_ids=tokens).logits[0, -1][letters[:4]]
        assert logs == pytest.approx(positions.normalised(alone.tolist()), abs=1e-3)
