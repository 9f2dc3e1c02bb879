"""Score multiple-choice items by the answer that a model writes: generate first, then extract.

What cannot be read as an answer counts as wrong, is counted, and is shown: a model that does not
answer must not look as one that was not asked.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import polars as pl

from elara.evaluate import asking
from elara.evaluate.choices import Choice
from elara.evaluate.letters import SCORE_SCHEMA, score_row, told
from elara.evaluate.memory import Ask, Memory, weights_hash
from elara.model import Generation, LanguageModel
from elara.model.chat import as_data
from elara.text.keyed import extract


def score_generated(
    lm: LanguageModel,
    choices: Sequence[Choice],
    *,
    side: str = "adapter",
    max_new_tokens: int = 128,
    batch_size: int = 8,
    memory: Memory | None = None,
) -> pl.DataFrame:
    """Let a model answer each item in words, and extract the letter.

    Args:
        lm: a model, with or without adapter.
        choices: items that `sound` let through.
        side: `base` or `adapter`.
        max_new_tokens: the longest answer, in tokens.
        batch_size: prompts answered at once.
        memory: what was measured before.

    Returns:
        Rows as of `score_letters`; `answer` is what was generated, `logs` is null, and `predicted`
        is "" where no letter could be extracted: `unparsed` lists those.

    Raises:
        EvaluationError: there is no such side.
    """
    memory = memory or Memory()
    template = asking.template_hash(lm, asking.REASON_FORM)
    about = {"weights": weights_hash(lm, side), "template": template}
    about["scorer"] = f"generated, {max_new_tokens}"
    asks = [_ask(lm, choice) for choice in choices]
    measure = partial(_answers, lm, side, max_new_tokens)
    texts = memory.fill(asks, measure, about, batch_size=batch_size, label=f"answers of {side}")
    rows = []
    for choice, ask, text in zip(choices, asks, texts, strict=True):
        letter, prompt = extract(text, choice.options), ask.told["prompt"]
        given: dict[str, Any] = {"predicted": letter, "answer": text, "prompt": prompt}
        rows.append(score_row(choice, side, "generated", template, **given))
    return pl.DataFrame(rows, SCORE_SCHEMA, orient="row")


def unparsed(scores: pl.DataFrame) -> pl.DataFrame:
    """The generated answers from which no letter could be extracted.

    Args:
        scores: result of `score_generated`.

    Returns:
        Columns set, id, side and answer.
    """
    found = scores.filter(scorer="generated", predicted="")
    return found.select("set", "id", "side", "answer")


def _ask(lm: LanguageModel, choice: Choice) -> Ask:
    messages = asking.chat(choice, asking.REASON_FORM, choice.options)
    prompt = asking.answered(lm, messages, "A")[0]
    return Ask(choice.digest, len(prompt), told(choice, lm.tokenizer.decode(prompt)), messages)


def _answers(lm: LanguageModel, side: str, most: int, given: list[Any]) -> list[str]:
    with asking.on_side(lm, side):
        return [one.text for one in generate_batch(lm, given, max_new_tokens=most)]


def generate_batch(
    lm: LanguageModel,
    chats: Sequence[Sequence[dict[str, str]]],
    *,
    max_new_tokens: int,
    marks: bool = False,
) -> list[Generation]:
    """Answer several conversations at once, always taking the most likely token.

    Args:
        lm: the model.
        chats: conversations, each as for `generate`.
        max_new_tokens: the longest answer, in tokens.
        marks: whether special tokens stay in the text, but for the stop token at its end.

    Returns:
        An answer for each; `seconds` is its share of the wall time.
    """
    import torch

    turns = [as_data(lm.tokenizer, messages) for messages in chats]
    form = {"add_generation_prompt": True, "return_tensors": "pt", "return_dict": True}
    form |= {"padding": True, "tokenizer_kwargs": {"padding_side": "left"}}
    prompt = lm.tokenizer.apply_chat_template(turns, **form).to(lm.device)
    choice = {"do_sample": False, "max_new_tokens": max_new_tokens}
    started = time.perf_counter()
    with torch.inference_mode():
        output = lm.model.generate(**prompt, **choice, pad_token_id=lm.tokenizer.pad_token_id)
    seconds = (time.perf_counter() - started) / len(turns)
    read = prompt["attention_mask"].sum(1).tolist()
    new = [row[prompt["input_ids"].shape[1] :].tolist() for row in output]
    return [_ended(lm, size, row, seconds, marks) for size, row in zip(read, new, strict=True)]


def _ended(lm: LanguageModel, read: int, new: list[int], seconds: float, marks: bool) -> Generation:
    """One answer of a batch, without what fills it up."""
    stop = lm.tokenizer.eos_token_id
    finished = stop in new
    own = new[: new.index(stop)] if finished else new
    text = lm.tokenizer.decode(own, skip_special_tokens=not marks).strip()
    return Generation(text, int(read), len(own) + finished, seconds, finished)
