"""Write several answers with one model at once, token by token.

Each answer keeps its own tokens, random numbers and text in its row, so that a batch can be broken
up at any token and its rows go on in another one.
"""

from __future__ import annotations

import gc
import inspect
import logging
import math
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from elara.model import SYSTEM_PROMPT, LanguageModel, ModelError
from elara.model.chat import as_data
from elara.serve.backends import Ask
from elara.serve.images import Pictures, with_pictures

if TYPE_CHECKING:
    import torch

log = logging.getLogger("elara.serve")

# What transformers samples from where the model's own settings name no other number.
_TOP_K = 50
# Settings of a model that are followed below, replaced by the request's, or about something else
# than which token comes next.
_FOLLOWED = {"eos_token_id", "bos_token_id", "pad_token_id", "top_k", "temperature", "do_sample"}
_FOLLOWED |= {"max_length", "max_new_tokens", "use_cache", "cache_implementation"}
_FOLLOWED |= {"transformers_version", "_from_model_config", "return_dict_in_generate"}
_HALF = "\ufffd"  # what a tokenizer puts in the place of a part of a character


class Text:
    """The text of an answer as it grows: whole characters only, without blanks around it.

    Args:
        tokenizer: turns the tokens into text.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._from = self._known = 0  # tokens before `_known` are told; those after `_from` help
        self._begun, self._blanks = False, ""

    def grow(self, tokens: list[int], *, last: bool) -> str:
        """The text that has become certain since the last call.

        Args:
            tokens: the whole answer so far.
            last: whether nothing will follow; half a character at the end is then left out.

        Source: the method of text-generation-inference, whose two offsets keep what a tokenizer
            does at the beginning of a text (dropping a blank) out of the middle:
            https://github.com/huggingface/text-generation-inference/blob/main/server/text_generation_server/models/model.py
        """
        told = self._decode(tokens[self._from : self._known])
        now = self._decode(tokens[self._from :])
        if last:
            now = now.rstrip(_HALF)
        elif now.endswith(_HALF) or len(now) <= len(told):
            return ""
        self._from, self._known = self._known, len(tokens)
        text = self._blanks + now[len(told) :]
        text = text if self._begun else text.lstrip()
        words = text.rstrip()
        self._begun, self._blanks = self._begun or bool(words), text[len(words) :]
        return words

    def _decode(self, tokens: list[int]) -> str:
        text: str = self._tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text


class Row:
    """One answer in the making.

    Args:
        lm: the model.
        ask: what it answers.
    """

    def __init__(self, lm: LanguageModel, ask: Ask) -> None:
        import torch

        turns = [{"role": "system", "content": SYSTEM_PROMPT}, *ask.messages]
        turns = as_data(lm.tokenizer, turns)
        self.shown: dict[str, Any] = {}  # what the model takes besides tokens
        if ask.pictures:
            self.prompt, self.shown = _read(lm, turns, ask.pictures)
        else:
            self.prompt = lm.tokenizer.apply_chat_template(
                turns, add_generation_prompt=True, return_dict=True
            )["input_ids"]
        self.ask = ask
        self.new: list[int] = []
        self.ended = False
        self.finished = False
        # On the CPU on every machine, and its own: nobody else's answer changes this one.
        self._random = torch.Generator().manual_seed(ask.seed)
        self._text = Text(lm.tokenizer)

    @property
    def prompt_tokens(self) -> int:
        """Tokens read."""
        return len(self.prompt)

    @property
    def new_tokens(self) -> int:
        """Tokens written, the stop token included."""
        return len(self.new)

    def choose(self, likeliest: int, logits: torch.Tensor, tokens: torch.Tensor) -> int:
        """The next token, by this row's temperature.

        Args:
            likeliest: the token with the highest logit.
            logits: the highest ones, float32 on the CPU.
            tokens: whose they are.
        """
        import torch

        if self.ask.temperature == 0:
            return likeliest
        chances = torch.softmax(logits / self.ask.temperature, dim=-1)
        return int(tokens[torch.multinomial(chances, 1, generator=self._random)])

    def add(self, token: int, stops: frozenset[int]) -> str:
        """Append a token, and give the text that it made certain."""
        self.new.append(token)
        self.finished = token in stops
        self.ended = self.finished or len(self.new) >= self.ask.max_new_tokens
        return self._text.grow(self.new[:-1] if self.finished else self.new, last=self.ended)


def _read(
    lm: LanguageModel, turns: list[dict[str, str]], pictures: Pictures
) -> tuple[list[int], dict[str, Any]]:
    """A conversation as tokens, some of which hold a picture's place, and the pictures.

    Source: https://huggingface.co/docs/transformers/chat_templating_multimodal
    """
    after_system = {number + 1: shown for number, shown in pictures.items()}
    made = lm.processor.apply_chat_template(
        with_pictures(turns, after_system, lambda p: {"type": "image", "image": p.as_image()}),
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    made = made.to(lm.causal.device, lm.causal.dtype)  # numbers of tokens stay whole
    tokens: list[int] = made.pop("input_ids")[0].tolist()
    made.pop("attention_mask")
    return tokens, dict(made)


class Decoder:
    """What is the same for every answer of a model.

    Args:
        lm: the model.

    Raises:
        ModelError: the model cannot go on from what it has computed before.
    """

    def __init__(self, lm: LanguageModel) -> None:
        takes = inspect.signature(lm.causal.forward).parameters
        if "past_key_values" not in takes:
            raise ModelError(
                f"{lm.name} has no key-value cache (`past_key_values`), without which it would "
                f"read its whole answer again for every token: serve another base model."
            )
        self.lm = lm
        self.options: dict[str, Any] = {"use_cache": True}
        if "logits_to_keep" in takes:
            self.options["logits_to_keep"] = 1  # of a long prompt all logits are gigabytes
        self.takes_positions = "position_ids" in takes
        own = lm.causal.generation_config
        stops = own.eos_token_id if isinstance(own.eos_token_id, list) else [own.eos_token_id]
        self.stops = frozenset({*stops, lm.tokenizer.eos_token_id} - {None})
        top_k = _TOP_K if own.top_k is None else own.top_k
        self.top_k = min(
            top_k or math.inf, lm.causal.config.get_text_config().vocab_size
        )  # 0 means all
        named = own.to_diff_dict().keys() - _FOLLOWED
        if ignored := sorted(name for name in named if not name.startswith("output_")):
            log.warning("settings of %s that are not followed: %s", lm.name, ", ".join(ignored))

    def row(self, ask: Ask) -> Row:
        """An answer that has not begun."""
        return Row(self.lm, ask)

    def batch(self, rows: Sequence[Row]) -> Batch:
        """Answers to be written together; they may have begun elsewhere."""
        return Batch(self, rows)

    def side(self, base: bool) -> AbstractContextManager[None]:
        """The context in which batches are written; on leaving it, the adapter is on.

        It is entered once for a batch, since switching walks through the whole network.

        Args:
            base: whether the adapter is switched off.

        Source: https://huggingface.co/docs/peft/package_reference/peft_model
        """
        return self.lm.model.disable_adapter() if base else nullcontext()


class Batch:
    """Answers that are written together, padded left.

    Args:
        decoder: of their model.
        rows: the answers; one with pictures is written alone.

    Source: https://huggingface.co/docs/transformers/kv_cache
    """

    def __init__(self, decoder: Decoder, rows: Sequence[Row]) -> None:
        self.rows = list(rows)
        self._decoder = decoder
        self._cache: Any = None
        self._mask: Any = None  # 1 where a row has a token, 0 where it is padded
        self._shift: Any = 0  # positions that pictures take less than they have tokens

    def step(self) -> list[str]:
        """Write one token of every answer.

        Returns:
            The text that has become certain, by row.
        """
        import torch

        with torch.inference_mode():
            logits = self._forward()
            likeliest = logits.argmax(-1).tolist()
            best = logits.topk(self._decoder.top_k)
            values, tokens = best.values.float().cpu(), best.indices.cpu()
            given = zip(self.rows, likeliest, values, tokens, strict=True)
            # All are chosen before the first is written: an error leaves every row as it was.
            chosen = [row.choose(top, value, token) for row, top, value, token in given]
        stops = self._decoder.stops
        return [row.add(token, stops) for row, token in zip(self.rows, chosen, strict=True)]

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these answers only, and forget what was computed for the others.

        Args:
            rows: their numbers, ascending.
        """
        import torch

        self.rows = [self.rows[i] for i in rows]
        kept = torch.tensor(rows, device=self._mask.device)
        with torch.inference_mode():
            # Made for beam search, and known to every kind of cache; fewer rows are no trouble.
            self._cache.reorder_cache(kept)
            self._mask = self._mask.index_select(0, kept)

    def _forward(self) -> torch.Tensor:
        """Logits after the last token of every row."""
        import torch

        device = self._decoder.lm.causal.device
        options = dict(self._decoder.options)
        if self._cache is None:
            ids, self._mask = self._padded()
            positions = (self._mask.cumsum(1) - 1).clamp(min=0)
            options |= self.rows[0].shown
        else:
            ids = torch.tensor([row.new[-1:] for row in self.rows], device=device)
            self._mask = torch.cat([self._mask, torch.ones_like(ids)], dim=1)
            positions = self._mask.sum(1, keepdim=True) - 1 + self._shift
        # With pictures, only the model itself knows the positions of its prompt.
        if self._decoder.takes_positions and "pixel_values" not in options:
            options["position_ids"] = positions
        made = self._decoder.lm.model(
            input_ids=ids, attention_mask=self._mask, past_key_values=self._cache, **options
        )
        self._cache = made.past_key_values
        if "pixel_values" in options:
            # Qwen-VL counts a picture by its sides, and says so nowhere else.
            self._shift = getattr(self._decoder.lm.causal.model, "rope_deltas", 0)
        logits: torch.Tensor = made.logits[:, -1]
        return logits

    def _padded(self) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        read = [row.prompt + row.new for row in self.rows]
        widest = max(map(len, read))
        pad, device = self._decoder.lm.tokenizer.pad_token_id, self._decoder.lm.causal.device
        ids = [[pad] * (widest - len(row)) + row for row in read]
        mask = [[0] * (widest - len(row)) + [1] * len(row) for row in read]
        return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on a GPU or on the CPU (where torch has no type for it)."""
    torch = sys.modules.get("torch")
    if torch and isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error)


def give_memory_back() -> None:
    """Return what nothing refers to any more to the system."""
    gc.collect()
    if torch := sys.modules.get("torch"):
        torch.cuda.empty_cache()  # does nothing where CUDA was not used
