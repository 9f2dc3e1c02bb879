"""Put items to a model in its own chat template, and read prompts in batches."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from elara.evaluate.choices import LETTERS, Choice
from elara.evaluate.scores import EvaluationError
from elara.model import SYSTEM_PROMPT, LanguageModel, encode
from elara.text.keyed import asked

REASON_FORM = "Think about it briefly. End with: The answer is, and the letter of the right option."
WORDS_FORM = "Answer in as few words as possible."


def chat(choice: Choice, form: str, options: Sequence[str] | None = None) -> list[dict[str, str]]:
    """The conversation that asks an item.

    Args:
        choice: the item.
        form: the sentence that says how to answer.
        options: in the order in which they are shown; None shows none.
    """
    content = asked(choice.question, options or (), form, choice.context)
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


def read_start(lm: LanguageModel, tokens: list[int], after: Any = None) -> Any:
    """Read the tokens with which texts begin, so that `logits_after` need not read them again.

    Args:
        lm: the model.
        tokens: token ids; may be empty after others.
        after: what was read before them, from another call; it stays as it is.

    Returns:
        The model's cache of keys and values; None where nothing was read.
    """
    import torch

    given: dict[str, Any] = {"logits_to_keep": 1} if _keeps_few(lm) else {}
    with torch.inference_mode():
        begun = copy.deepcopy(after)
        if tokens:
            ids = torch.tensor([tokens], device=lm.device)
            read = lm.model(input_ids=ids, past_key_values=begun, use_cache=True, **given)
            begun = read.past_key_values
    return begun


def logits_after(
    lm: LanguageModel, shared: list[int], rows: list[list[int]], last: bool, after: Any = None
) -> Any:
    """Read several texts that begin alike; the beginning is read once.

    Args:
        lm: the model.
        shared: token ids with which each text begins; may be empty.
        rows: the token ids after them, at least one each.
        last: whether only what follows each text is asked for.
        after: what comes before `shared`, from `read_start`.

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
    if last and _keeps_few(lm):
        given["logits_to_keep"], at = torch.unique(at, return_inverse=True)
    begun = read_start(lm, shared, after)
    with torch.inference_mode():
        if begun is not None:
            known = (len(rows), begun.get_seq_length())
            begun.batch_repeat_interleave(len(rows))
            before = torch.ones(known, dtype=torch.long, device=lm.device)
            given["attention_mask"] = torch.cat([before, given["attention_mask"]], dim=1)
            given |= {"past_key_values": begun, "use_cache": True}
        logits = lm.model(input_ids=tokens, **given).logits.float()
    if last:
        return logits[torch.arange(len(rows), device=lm.device), at]
    return [part[:length] for part, length in zip(logits, lengths.tolist(), strict=True)]


def _keeps_few(lm: LanguageModel) -> bool:
    """Whether a model can be asked for the logits of some tokens only."""
    return "logits_to_keep" in inspect.signature(lm.causal.forward).parameters


def shared_start(rows: Sequence[list[int]]) -> int:
    """How many tokens several texts have in common at their beginning; one of each is left over.

    Args:
        rows: token ids of each text.
    """
    first, final = min(rows), max(rows)  # what these two share, all that lie between share
    most = min(len(row) for row in rows) - 1
    pairs = zip(first, final, strict=False)
    same = next((i for i, (a, b) in enumerate(pairs) if a != b), most)
    return max(0, min(same, most))
