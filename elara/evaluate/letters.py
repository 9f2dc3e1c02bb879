"""Score multiple-choice items by the likelihood of the option letters, or of the options' words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import polars as pl

from elara.evaluate import asking, positions
from elara.evaluate.choices import LETTERS, Choice
from elara.evaluate.memory import Ask, Memory, weights_hash
from elara.evaluate.scores import EvaluationError
from elara.model import LanguageModel
from elara.text.keyed import LETTER_FORM

CALIBRATIONS = ("none", "cyclic", "prior")
PRIOR_ITEMS = 20
SCORE_SCHEMA: Any = {
    **dict.fromkeys(("set", "split", "id", "specialty", "side", "scorer", "template"), pl.String),
    **dict.fromkeys(("shots", "options"), pl.Int64),
    **dict.fromkeys(("key", "predicted"), pl.String),
    "right": pl.Float64,
    "logs": pl.List(pl.Float64),
    **dict.fromkeys(("answer", "prompt"), pl.String),
}


def score_letters(
    lm: LanguageModel,
    choices: Sequence[Choice],
    *,
    side: str = "adapter",
    calibration: str = "none",
    batch_size: int = 16,
    memory: Memory | None = None,
) -> pl.DataFrame:
    """Ask each item, and compare how likely each letter is as the first thing that is said.

    Args:
        lm: a model, with or without adapter.
        choices: items that `sound` let through.
        side: `base` or `adapter`.
        calibration: `none`: the options once, as published. `cyclic`: in all cyclic orders, as many
            readings as options. `prior`: the first 20 items of each number of options in all
            orders, which shows what letters the model prefers; the others once.
        batch_size: prompts read at once.
        memory: what was measured before.

    Returns:
        A row for each item: set, split, id, specialty, side, scorer, template (hash), shots,
        options (how many), key and predicted (letters as published; "" where the best options tie),
        right (1, 0, or a share of a tie), logs (log probability of each option, in nats, the
        options' together being 1), answer (empty here) and prompt.

    Raises:
        EvaluationError: there is no such calibration or side, or letters cannot be compared.

    Source: for the orders and the prior, Zheng et al. 2024, https://arxiv.org/abs/2309.03882.
    """
    if calibration not in CALIBRATIONS:
        raise EvaluationError(f"Unknown calibration {calibration!r}: {', '.join(CALIBRATIONS)}.")
    memory = memory or Memory()
    turns = _turns(choices, calibration)
    written = {n: asking.letters_of(lm, n) for n in {len(choice.options) for choice in choices}}
    asks = [_letter_ask(lm, choices[i], by, written) for i, by in turns]
    about = _about(lm, side, LETTER_FORM, "letters")
    measure = partial(_letter_logs, lm, side)
    values = memory.fill(asks, measure, about, batch_size=batch_size, label=f"letters of {side}")
    orders: dict[int, list[list[float]]] = {}
    for (i, _), logs in zip(turns, values, strict=True):
        orders.setdefault(i, []).append(logs)
    logs_of = _calibrated(choices, orders, calibration)
    prompts = {i: ask.told["prompt"] for (i, by), ask in zip(turns, asks, strict=True) if by == 0}
    scorer = "letters" if calibration == "none" else f"letters, {calibration}"
    rows = [
        score_row(c, side, scorer, about["template"], logs=logs_of[i], prompt=prompts[i])
        for i, c in enumerate(choices)
    ]
    return pl.DataFrame(rows, SCORE_SCHEMA, orient="row")


def score_words(
    lm: LanguageModel,
    choices: Sequence[Choice],
    *,
    side: str = "adapter",
    memory: Memory | None = None,
) -> pl.DataFrame:
    """Ask each item without its options, and compare how likely each option's words are.

    Likelihoods are means per token, so that a long option is at no disadvantage. An item is read
    once, and its options, together, after it.

    Args:
        lm: a model, with or without adapter.
        choices: items that `sound` let through.
        side: `base` or `adapter`.
        memory: what was measured before.

    Returns:
        Rows as of `score_letters`; logs are means per token, and no probabilities.

    Raises:
        EvaluationError: there is no such side.
    """
    memory = memory or Memory()
    asks = [_words_ask(lm, choice) for choice in choices]
    about = _about(lm, side, asking.WORDS_FORM, "words")
    measure = partial(_word_logs, lm, side)
    values = memory.fill(asks, measure, about, batch_size=1, label=f"words of {side}")
    rows = [
        score_row(c, side, "words", about["template"], logs=logs, prompt=ask.told["prompt"])
        for c, ask, logs in zip(choices, asks, values, strict=True)
    ]
    return pl.DataFrame(rows, SCORE_SCHEMA, orient="row")


def score_row(
    choice: Choice,
    side: str,
    scorer: str,
    template: str,
    *,
    logs: Sequence[float] = (),
    predicted: str = "",
    answer: str = "",
    prompt: str = "",
) -> tuple[Any, ...]:
    """A row of `SCORE_SCHEMA`; with `logs`, they say what is predicted.

    Args:
        choice: the item.
        side: `base` or `adapter`.
        scorer: its name.
        template: from `template_hash`.
        logs: of each option, in nats.
        predicted: the letter, where there are no logs.
        answer: what was generated.
        prompt: what was asked.
    """
    right = float(predicted == choice.letter)
    if logs:
        top = positions.best(logs)
        predicted = LETTERS[top[0]] if len(top) == 1 else ""
        right = positions.credit(logs, choice.key)
    told = (choice.set, choice.split, choice.id, choice.specialty, side, scorer, template, 0)
    found = (len(choice.options), choice.letter, predicted, right, list(logs) or None)
    return (*told, *found, answer, prompt)


def _turns(choices: Sequence[Choice], calibration: str) -> list[tuple[int, int]]:
    """Item and turn of each reading."""
    met: dict[int, int] = {}
    turns = []
    for i, choice in enumerate(choices):
        count = len(choice.options)
        met[count] = met.get(count, 0) + 1
        known = calibration == "none" or (calibration == "prior" and met[count] > PRIOR_ITEMS)
        turns += [(i, by) for by in range(1 if known else count)]
    return turns


def _calibrated(
    choices: Sequence[Choice], orders: dict[int, list[list[float]]], calibration: str
) -> list[list[float]]:
    if calibration == "none":
        return [positions.normalised(orders[i][0]) for i in range(len(choices))]
    whole: dict[int, list[list[list[float]]]] = {}
    for i, choice in enumerate(choices):
        if len(orders[i]) == len(choice.options):
            whole.setdefault(len(choice.options), []).append(orders[i])
    priors = {count: positions.letter_prior(items) for count, items in whole.items()}
    return [
        positions.averaged(orders[i])
        if len(orders[i]) == len(choice.options)
        else positions.without_prior(orders[i][0], priors[len(choice.options)])
        for i, choice in enumerate(choices)
    ]


def _about(lm: LanguageModel, side: str, form: str, scorer: str) -> dict[str, str]:
    template = asking.template_hash(lm, form)
    return {"weights": weights_hash(lm, side), "template": template, "scorer": scorer}


def told(choice: Choice, prompt: str) -> dict[str, Any]:
    """What stands beside each score that is kept.

    Args:
        choice: the item.
        prompt: what the model read.
    """
    return {
        "set": choice.set, "split": choice.split, "id": choice.id, "shots": 0, "prompt": prompt
    }  # fmt: skip


def _letter_ask(lm: LanguageModel, choice: Choice, by: int, written: dict[int, Any]) -> Ask:
    before, letters = written[len(choice.options)]
    messages = asking.chat(choice, LETTER_FORM, positions.shown(choice.options, by))
    asked = asking.answered(lm, messages, "A")[0] + before
    prompt = lm.tokenizer.decode(asked)
    return Ask(f"{choice.digest}/{by}", len(asked), told(choice, prompt), (asked, letters))


def _letter_logs(lm: LanguageModel, side: str, given: list[Any]) -> list[list[float]]:
    rows = [asked for asked, _ in given]
    start = asking.shared_start(rows) if len(rows) > 1 else 0
    with asking.on_side(lm, side):
        logits = asking.logits_after(lm, rows[0][:start], [row[start:] for row in rows], last=True)
    logs = logits.log_softmax(-1)
    return [row[letters].tolist() for row, (_, letters) in zip(logs, given, strict=True)]


def _words_ask(lm: LanguageModel, choice: Choice) -> Ask:
    messages = asking.chat(choice, asking.WORDS_FORM)
    parts = [asking.answered(lm, messages, option) for option in choice.options]
    asked = parts[0][0]
    size = len(asked) + sum(len(words) for _, words in parts)
    given = (asked, [words for _, words in parts])
    return Ask(choice.digest, size, told(choice, lm.tokenizer.decode(asked)), given)


def _word_logs(lm: LanguageModel, side: str, given: list[Any]) -> list[list[float]]:
    found = []
    for asked, options in given:
        # The last token of the prompt is read with each option: its logits are of the first word.
        rows = [[asked[-1], *words[:-1]] for words in options]
        with asking.on_side(lm, side):
            logits = asking.logits_after(lm, asked[:-1], rows, last=False)
        pairs = zip(logits, options, strict=True)
        each = [part.log_softmax(-1)[range(len(words)), words].mean() for part, words in pairs]
        found.append([float(value) for value in each])
    return found
