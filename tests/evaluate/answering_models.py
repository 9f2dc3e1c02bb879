"""Models for the tests of scorers: they know right texts, or prefer a letter, without weights.

Each token is one byte, so that the tokenizer is written out here; the chat template is Elara's
plain one.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from elara.evaluate.choices import Choice
from elara.model import LanguageModel
from elara.model.base import Precision
from elara.model.chat import give_template


def tokenizer() -> Any:
    """A byte is a token, and <end> stops."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(letters)} | {"<end>": 256}
    whole = Tokenizer(models.BPE(vocabulary, []))
    whole.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    whole.decoder = decoders.ByteLevel()
    found = transformers.PreTrainedTokenizerFast(
        tokenizer_object=whole, eos_token="<end>", pad_token="<end>"
    )
    give_template(found)
    return found


class Knowing(torch.nn.Module):
    """Prefers the texts that it knows, and some letters whatever stands behind them.

    Args:
        reader: the tokenizer.
        known: how much each text is preferred, in nats; all others by 0.
        letters: how much each letter is preferred, in nats.
        says: what it generates.
    """

    def __init__(
        self,
        reader: Any,
        known: Mapping[str, float],
        letters: Mapping[str, float] | None = None,
        says: str = "",
    ) -> None:
        super().__init__()
        # By its name the base has the same weights whatever is known.
        self.lora_one = torch.nn.Parameter(torch.tensor([float(sum(map(len, known)) + len(says))]))
        self.reader, self.known, self.says = reader, known, says
        self.letters, self.read, self.on = letters or {}, 0, True

    def logits_of(self, row: list[int]) -> Any:
        logits = torch.zeros(len(row), len(self.reader))
        text = self.reader.decode(row)
        for letter, option in re.findall(r"^([A-J])\. (.*)$", text, re.MULTILINE):
            token = self.reader(letter)["input_ids"][0]
            good = self.known.get(option, 0.0) if self.on else 0.0
            logits[-1, token] = 20 + good + self.letters.get(letter, 0.0)
        answer = text.rpartition("Answer:")[2].replace("<end>", "").strip()
        good = max((v for t, v in self.known.items() if t.startswith(answer[:40])), default=0.0)
        if answer and self.on:
            logits[range(len(row) - 1), row[1:]] += good
        return logits

    def forward(self, input_ids: Any, attention_mask: Any = None, **cache: Any) -> Any:
        before = cache.get("past_key_values")
        starts = before.rows if before else [[] for _ in input_ids]
        given = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        masks = given[:, -input_ids.shape[1] :].bool()
        rows = [tokens[mask].tolist() for tokens, mask in zip(input_ids, masks, strict=True)]
        self.read += input_ids.numel()
        logits = torch.zeros(*input_ids.shape, len(self.reader))
        whole = [start + row for start, row in zip(starts, rows, strict=True)]
        for i, (text, row) in enumerate(zip(whole, rows, strict=True)):
            logits[i, : len(row)] = self.logits_of(text)[-len(row) :]
        return SimpleNamespace(logits=logits, past_key_values=Begun(whole))

    def generate(self, input_ids: Any, **_: Any) -> Any:
        said = torch.tensor([*self.reader(self.says)["input_ids"], 256])
        return torch.cat([input_ids, said.repeat(len(input_ids), 1)], dim=1)

    @contextlib.contextmanager
    def disable_adapter(self) -> Any:
        self.on = False
        try:
            yield
        finally:
            self.on = True


class Begun:
    """What was read before."""

    def __init__(self, rows: list[list[int]]) -> None:
        self.rows = rows

    def get_seq_length(self) -> int:
        return len(self.rows[0])

    def batch_repeat_interleave(self, times: int) -> None:
        self.rows = [row for row in self.rows for _ in range(times)]


def model(
    known: Mapping[str, float], letters: Mapping[str, float] | None = None, says: str = ""
) -> LanguageModel:
    """A language model around `Knowing`; its base knows nothing."""
    reader = tokenizer()
    stub = Knowing(reader, known, letters, says)
    return LanguageModel(stub, reader, "stub", Precision("cpu", "float32", "a stub"))


def items(count: int = 20, options: int = 4) -> list[Choice]:
    """Items whose key goes round."""
    return [
        Choice(
            id=f"item-{i:02}",
            set="made up",
            split="test",
            specialty="Cardiology",
            question=f"Which is the right text of item {i}?",
            options=tuple(f"text {i} {word}" for word in WORDS[:options]),
            key=i % options,
        )
        for i in range(count)
    ]


WORDS = ("red", "green", "blue", "white", "black")


def right(choices: Sequence[Choice], by: float = 5.0) -> dict[str, float]:
    """The right texts, each preferred by so many nats."""
    return {choice.options[choice.key]: by for choice in choices}


def wrong(choices: Sequence[Choice], by: float = 5.0) -> dict[str, float]:
    """The same for the option after the right one."""
    return {c.options[(c.key + 1) % len(c.options)]: by for c in choices}
