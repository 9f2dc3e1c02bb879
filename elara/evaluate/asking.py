"""Put items to a model: prompts in its own chat template, read in batches with a shared beginning."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from elara.evaluate.choices import LETTERS, Choice
from elara.evaluate.scores import EvaluationError
from elara.model import SYSTEM_PROMPT, LanguageModel, encode

LETTER_FORM = "Answer with the letter of the right option only."
REASON_FORM = "Think about it briefly. End with: The answer is, and the letter of the right option."
WORDS_FORM = "Answer in as few words as possible."


def chat(choice: Choice, form: str, options: Sequence[str] | None = None) -> list[dict[str, str]]:
    """The conversation that asks an item.

    Args:
        choice: the item.
        form: the sentence that says how to answer.
        options: in the order in which they are shown; None shows none.
    """
    shown = [f"{letter}. {text}" for letter, text in zip(LETTERS, options or (), strict=False)]
    parts = (choice.context, choice.question, "\n".join(shown), form)
    content = "\n\n".join(part for part in parts if part)
    return [
        {"role": "system", "content": SYSTEM_PROMPT},
        {"role": "user", "content": content},
    ]


def template_hash(lm: LanguageModel, form: str) -> str:
    """Name the form in which items are put: chat template, system prompt and sentence.

    Args:
        lm: the model.
        form: the sentence that says how to answer.
    """
    told = "\n".join(
        (str(lm.tokenizer.chat_template), SYSTEM_PROMPT, form, "context question A. B.")
    )
    return sha256(told.encode()).hexdigest()[:16]


def answered(lm: LanguageModel, messages: list[dict[str, str]], text: str) -> tuple[list[int], ...]:
    """The tokens of a conversation before an answer, and those of the answer.

    Args:
        lm: the model.
        messages: a conversation that ends with a question.
        text: the answer.

    Returns:
        Two lists of token ids; the stop token is in neither.

    Raises:
        ModelError: the chat template refuses the conversation.
    """
    whole = encode(lm.tokenizer, [*messages, {"role": "assistant", "content": text}])
    start = next(i for i, label in enumerate(whole.labels) if label != -100)
    return whole.input_ids[:start], whole.input_ids[start:-1]


def letters_of(lm: LanguageModel, count: int) -> tuple[list[int], list[int]]:
    """How a model writes the letters, as the first thing that it says.

    A tokenizer may write " A", "A", or a blank and then "A". What it writes before any letter
    belongs to the prompt.

    Args:
        lm: the model.
        count: how many letters.

    Returns:
        Tokens between the prompt and the letter, and the token of each letter.

    Raises:
        EvaluationError: two letters begin with the same token.
    """
    question = [{"role": "user", "content": "Which letter?"}]
    written = [answered(lm, question, letter)[1] for letter in LETTERS[:count]]
    before: list[int] = []
    while all(written) and len({tokens[0] for tokens in written}) == 1:
        before.append(written[0][0])
        written = [tokens[1:] for tokens in written]
    if not all(written) or len({tokens[0] for tokens in written}) < count:
        raise EvaluationError(
            f"{lm.name} does not write the letters A to {LETTERS[count - 1]} with a token each, so "
            "they cannot be compared: use the scorer `words` or `generated`."
        )
    return before, [tokens[0] for tokens in written]


def on_side(lm: LanguageModel, side: str) -> Any:
    """The context in which a model answers as its base or as the adapter.

    Args:
        lm: a model, with or without adapter.
        side: `base` or `adapter`.
    """
    off = side == "base" and hasattr(lm.model, "disable_adapter")
    return lm.model.disable_adapter() if off else contextlib.nullcontext()


def logits_after(lm: LanguageModel, shared: list[int], rows: list[list[int]], last: bool) -> Any:
    """Read several texts that begin alike; the beginning is read once.

    Args:
        lm: the model.
        shared: token ids with which each text begins; may be empty.
        rows: the token ids after them, at least one each.
        last: whether only what follows each text is asked for.

    Returns:
        Logits in float32: a tensor rows x vocabulary if `last`, otherwise a list of tensors, one
        row for each token of the text after `shared`.
    """
    import torch

    lengths = torch.tensor([len(row) for row in rows], device=lm.device)
    parts = [torch.tensor(row, device=lm.device) for row in rows]
    tokens = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)
    read = torch.arange(tokens.shape[1], device=lm.device) < lengths[:, None]
    given: dict[str, Any] = {"attention_mask": read.long()}
    at = lengths - 1
    if last and "logits_to_keep" in inspect.signature(lm.causal.forward).parameters:
        given["logits_to_keep"], at = torch.unique(at, return_inverse=True)
    with torch.inference_mode():
        if shared:
            begun = lm.model(input_ids=torch.tensor([shared], device=lm.device), use_cache=True)
            begun.past_key_values.batch_repeat_interleave(len(rows))
            known = torch.ones(len(rows), len(shared), dtype=torch.long, device=lm.device)
            given["attention_mask"] = torch.cat([known, given["attention_mask"]], dim=1)
            given |= {"past_key_values": begun.past_key_values, "use_cache": True}
        logits = lm.model(input_ids=tokens, **given).logits.float()
    if last:
        return logits[torch.arange(len(rows), device=lm.device), at]
    return [part[:length] for part, length in zip(logits, lengths.tolist(), strict=True)]


def shared_start(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens several texts have in common at their beginning; one of each is left over.

    Args:
        rows: token ids of each text.
    """
    first, final = min(rows), max(rows)  # what these two share, all that lie between share
    most = min(len(row) for row in rows) - 1
    pairs = zip(first, final, strict=False)
    same = next((i for i, (a, b) in enumerate(pairs) if a != b), most)
    return max(0, min(same, most))
