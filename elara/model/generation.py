"""Let a model answer a conversation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from elara.model.base import LanguageModel
from elara.model.chat import as_data

# It travels with every example, adapter and export.
SYSTEM_PROMPT = (
    "You are a medical education assistant. Your answers are educational and not for the care of "
    "patients. In an emergency, point to the local emergency services. If decisive information is "
    "missing, say what is missing."
)


@dataclass(frozen=True)
class Generation:
    """What a model answered.

    Args:
        text: the answer.
        prompt_tokens: tokens of the prompt, chat template included.
        new_tokens: tokens generated.
        seconds: wall time of the generation, in seconds.
        finished: whether the model stopped by itself rather than at the limit.
    """

    text: str
    prompt_tokens: int
    new_tokens: int
    seconds: float
    finished: bool


def generate(
    lm: LanguageModel,
    messages: Sequence[dict[str, str]],
    *,
    max_new_tokens: int = 256,
    temperature: float = 0.0,
    seed: int = 0,
) -> Generation:
    """Answer a conversation.

    Args:
        lm: the model.
        messages: turns with `role` and `content`, the last one from the user. Marks of the chat
            format inside them are read as text.
        max_new_tokens: the longest answer, in tokens.
        temperature: 0 gives the most likely answer every time; above 0 samples.
        seed: makes sampling repeatable.

    Returns:
        The answer and how long it took.
    """
    import torch

    torch.manual_seed(seed)
    turns = as_data(lm.tokenizer, messages)
    form = {"add_generation_prompt": True, "return_tensors": "pt", "return_dict": True}
    prompt = lm.tokenizer.apply_chat_template(turns, **form).to(lm.device)
    choice: dict[str, Any] = {"do_sample": temperature > 0}
    if temperature > 0:
        choice["temperature"] = temperature
    choice |= {"max_new_tokens": max_new_tokens, "pad_token_id": lm.tokenizer.pad_token_id}
    started = time.perf_counter()
    with torch.inference_mode():
        output = lm.model.generate(**prompt, **choice)
    new = output[0, prompt["input_ids"].shape[1] :]
    return Generation(
        text=lm.tokenizer.decode(new, skip_special_tokens=True).strip(),
        prompt_tokens=int(prompt["input_ids"].shape[1]),
        new_tokens=len(new),
        seconds=time.perf_counter() - started,
        finished=bool(new[-1] == lm.tokenizer.eos_token_id),
    )
