"""Keep examples that share a row apart: a flattening collator, and the attention that reads it.

A batch becomes one row of tokens. Where each example begins is said by cumulative lengths, which
go through the model's layers to the attention. Nothing is spent on padding inside the row, and no
GPU is asked about the lengths.

On GPUs that compute 16-bit numbers PyTorch's flash kernel for examples of varying length computes
it, which needs no mask of the row's length squared. Elsewhere the same is computed with such a
mask.

It needs torch, so it is imported where a run starts.
"""

from __future__ import annotations

import inspect
import itertools
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import repeat_kv

from elara.model import LanguageModel
from elara.train.config import TrainingError

try:
    from torch.nn.attention import varlen
except ImportError:  # PyTorch before 2.10
    varlen_attn: Any = None
else:
    varlen_attn = varlen.varlen_attn

NAME = "elara_varlen"
# PyTorch 2.10 is causal by `is_causal`, and takes no scale, no window, and as many heads of keys
# as of queries.
_TAKES = set(inspect.signature(varlen_attn).parameters) if varlen_attn else set()
# Rows are padded to a multiple of this, so that compiled layers see few shapes.
BUCKET = 256
# The widest head that the flash kernels compute.
_WIDEST_HEAD = 256
# Other kinds of layers mix the tokens of a row in ways that cumulative lengths do not stop.
_KINDS = {"full_attention", "sliding_attention"}
# What architectures call the share of attention weights that training sets to zero.
_DROPOUT = ("attention_dropout", "attn_pdrop", "attn_dropout", "attention_probs_dropout_prob")
_HALF = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class FlatRows:
    """A collator that lays the examples of a batch behind one another, in one row.

    Args:
        padding: the token that fills the row up to a multiple of `BUCKET` (of `longest`, where
            that is less). It stands in an example of its own at the end, which carries no loss.
        longest: tokens of the longest example there may be. It is told to the kernel as it is,
            so that compiled layers see one number in the whole run.
    """

    padding: int
    longest: int

    def __call__(self, rows: list[dict[str, list[int]]]) -> dict[str, Any]:
        """Flatten.

        Args:
            rows: `input_ids` and `labels`, and for packed rows the examples' `seq_lengths`.

        Returns:
            `input_ids`, `labels` and `position_ids` (1 x tokens), `cu_seq_lens_q` and `…_k` (where
            each example begins, and the end), and `max_length_q` and `…_k`.
        """
        lengths = [n for row in rows for n in row.get("seq_lengths") or [len(row["input_ids"])]]
        ids, labels = (
            list(itertools.chain.from_iterable(row[name] for row in rows))
            for name in ("input_ids", "labels")
        )
        missing = -len(ids) % min(BUCKET, self.longest)
        if missing:
            lengths.append(missing)
            ids += [self.padding] * missing
            labels += [-100] * missing
        starts = [0, *itertools.accumulate(lengths)]
        for start in starts[:-1]:
            labels[start] = -100  # nothing foretells it: before it is another example
        positions = list(itertools.chain.from_iterable(map(range, lengths)))
        batch = {"input_ids": ids, "labels": labels, "position_ids": positions}
        flat: dict[str, Any] = {name: torch.tensor([row]) for name, row in batch.items()}
        flat |= dict.fromkeys(
            ("cu_seq_lens_q", "cu_seq_lens_k"), torch.tensor(starts, dtype=torch.int32)
        )
        return flat | {"max_length_q": self.longest, "max_length_k": self.longest}


def use(causal: Any) -> None:
    """Let a model's layers use this attention, until `elara.train.lora.restoring` takes it back.

    Args:
        causal: the transformers model; every pass has to be one that `FlatRows` made.
    """
    AttentionInterface.register(NAME, attend)
    causal.config.get_text_config()._attn_implementation = NAME


def usable(lm: LanguageModel) -> tuple[bool, str]:
    """Whether a model's layers may use this attention. The model itself is asked, by two passes.

    Args:
        lm: the base model, with or without an adapter; it is left as it was.

    Returns:
        Whether; and why, in words that follow the model's name.
    """
    model = lm.causal
    shape = model.config.get_text_config()
    kinds = set(getattr(shape, "layer_types", None) or ()) - _KINDS
    heads = shape.num_attention_heads
    width = getattr(shape, "head_dim", None) or shape.hidden_size // heads
    before = shape._attn_implementation
    if not (model._supports_attention_backend and model._supports_flash_attn):
        return False, "has layers that take no attention function"
    if kinds:
        return False, f"has layers of other kinds ({', '.join(sorted(kinds))})"
    if any(getattr(shape, name, 0.0) for name in _DROPOUT):
        return False, "drops attention weights in training, which the kernel does not"
    if width > _WIDEST_HEAD:
        return False, f"has heads {width} numbers wide, and the kernel computes {_WIDEST_HEAD}"
    use(model)
    try:
        starts = torch.tensor([0, 16, 32], dtype=torch.int32, device=model.device)
        named = {"cu_seq_lens_q": starts, "cu_seq_lens_k": starts}
        apart = keeps_apart(model, max_length_q=16, max_length_k=16, **named)
    except torch.OutOfMemoryError:
        raise  # says nothing of the model
    except RuntimeError as error:  # what `attend` refuses, and what the device cannot compute
        return False, f"cannot use it: {str(error).strip().splitlines()[0]}"
    finally:
        shape._attn_implementation = before
    return (True, "keeps them apart") if apart else (False, "has layers that mix them all the same")


def keeps_apart(causal: Any, **named: Any) -> bool:
    """Whether what an example predicts stays when the one before it in the row changes.

    Args:
        causal: the transformers model.
        named: what else its `forward` is given with a row of two examples of 16 tokens.
    """
    if "position_ids" not in inspect.signature(causal.forward).parameters:
        return False  # nothing can tell the model where an example begins
    first, second = list(range(3, 19)), list(range(5, 21))
    positions = torch.tensor([[*range(16), *range(16)]], device=causal.device)
    seen = []
    learning = causal.training
    causal.eval()  # dropout would make every pass differ
    try:
        with torch.inference_mode():
            for before in (first, first[::-1]):
                ids = torch.tensor([before + second], device=causal.device)
                named |= {"position_ids": positions, "use_cache": False}
                seen.append(causal(input_ids=ids, **named).logits[0, 16:].float())
    finally:
        causal.train(learning)
    return bool(torch.allclose(seen[0], seen[1], rtol=0, atol=1e-4))


def attend(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any = None,
    *,
    cu_seq_lens_q: Any = None,
    max_length_q: int = 0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    dropout: float = 0.0,
    is_causal: bool | None = None,
    **named: Any,
) -> tuple[Any, None]:
    """Causal attention within each example of a row, as transformers' attention functions are.

    Args:
        module: the layer.
        query: 1 x heads x tokens x width.
        key: 1 x heads of keys x tokens x width.
        value: as `key`.
        attention_mask: has to be None.
        cu_seq_lens_q: where each example begins, and the end of the row.
        max_length_q: tokens of the longest example there may be.
        scaling: what scores are multiplied by; None for one over the root of the width.
        sliding_window: how many tokens one sees, itself included; None for all before it.
        dropout: has to be 0.
        is_causal: must not be False.
        named: what else the layers pass on; what would change the result is refused.

    Returns:
        1 x tokens x heads x width, and None for the weights, which are never there.

    Raises:
        TrainingError: something is asked for that this attention does not compute.

    Source: https://huggingface.co/docs/transformers/attention_interface
    """
    if cu_seq_lens_q is None or len(query) != 1:
        raise TrainingError(
            f"A batch of {len(query)} rows without cumulative lengths reached the attention of "
            "packed examples, which could not keep them apart: let `FlatRows` collate it, or set "
            "`batching` to shuffled."
        )
    refused = {
        name for name in ("softcap", "s_aux", "position_bias") if named.get(name) is not None
    }
    refused |= {"attention_mask"} if attention_mask is not None else set()
    refused |= {"dropout"} if dropout else set()
    refused |= {"is_causal=False"} if is_causal is False else set()
    if refused:
        raise TrainingError(
            f"{type(module).__name__} layers ask for {', '.join(sorted(refused))}, which the "
            "attention of packed examples does not compute: use a model that asks for none"
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    given = query.to(value.dtype), key.to(value.dtype), value
    if _has_kernel(*given, sliding_window):
        starts, longest = cu_seq_lens_q, max_length_q
        rows = [x[0].transpose(0, 1) for x in given]
        found = _varlen(*rows, starts=starts, longest=longest, scale=scale, window=sliding_window)
        return found[None], None
    return _masked(*given, cu_seq_lens_q, scale, sliding_window), None


def _has_kernel(query: Any, key: Any, value: Any, window: int | None) -> bool:
    same = query.shape[-1] == value.shape[-1]
    known = varlen_attn is not None and (window is None or "window_size" in _TAKES)
    return known and same and query.is_cuda and query.dtype in _HALF


def _varlen(
    query: Any,
    key: Any,
    value: Any,
    *,
    starts: Any,
    longest: int,
    scale: float,
    window: int | None,
) -> Any:
    """By PyTorch's kernel, whichever of its arguments this PyTorch has; tokens x heads x width."""
    named: dict[str, Any] = {}
    if "window_size" in _TAKES:
        # The kernel's window counts the tokens before the one that looks.
        named["window_size"] = (-1 if window is None else window - 1, 0)
    else:
        named["is_causal"] = True
    if "scale" in _TAKES:
        named["scale"] = scale
    else:
        query = query * (scale * query.shape[-1] ** 0.5)
    if query.shape[1] != key.shape[1]:
        if "enable_gqa" in _TAKES:
            named["enable_gqa"] = True
        else:
            groups = query.shape[1] // key.shape[1]
            key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    return varlen_attn(query, key, value, starts, starts, longest, longest, **named)


def _masked(query: Any, key: Any, value: Any, starts: Any, scale: float, window: int | None) -> Any:
    """The same by a mask in which an example sees nothing but itself."""
    place = torch.arange(query.shape[2], dtype=starts.dtype, device=query.device)
    # Where the example of each token begins.
    first = starts.index_select(0, torch.searchsorted(starts, place, right=True) - 1)
    if window is not None:
        first = torch.maximum(first, place - window + 1)
    mask = (place <= place[:, None]) & (place >= first[:, None])
    groups = query.shape[1] // key.shape[1]
    key, value = (repeat_kv(x, groups) for x in (key, value))
    found = scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    return found.transpose(1, 2).contiguous()
