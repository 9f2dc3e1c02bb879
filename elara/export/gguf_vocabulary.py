"""Describe a tokenizer in the words of a GGUF file.

A GGUF file carries no `tokenizer.json`: the program that reads it has the tokenizing code, and the
file names which of it to use. So the name must be chosen by what the tokenizer does. A wrong one
still answers, from slightly wrong tokens, which nobody notices without comparing ids.
"""

from __future__ import annotations

import json
from typing import Any

from elara.export.drafts import ExportError

# How text is cut before merging, by the steps in tokenizer.json. `Split` is Llama 3's pattern.
_LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CUTS = {
    ("words",): "gpt-2",
    ("digits", "words"): "smollm",
    (f"split {_LLAMA_3}", "bytes"): "llama-bpe",
}

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6


def vocabulary(tokenizer: Any, size: int) -> dict[str, Any]:
    """The `tokenizer.ggml.*` entries of a GGUF file.

    Args:
        tokenizer: a transformers tokenizer with a `tokenizers` backend.
        size: rows of the model's embedding; ids without a token are filled up as unused.

    Returns:
        Entry name (without the prefix) to value: `model`, `pre`, `tokens`, `token_type`, `merges`
        or `scores`, the special ids, and whether a start token or a space goes in front.

    Raises:
        ExportError: the format has no name for what this tokenizer does.

    Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md#tokenizer
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ExportError("GGUF export needs a tokenizer with a tokenizer.json.")
    content = json.loads(backend.to_str())
    model = content["model"]
    if model["type"] != "BPE":
        raise ExportError(
            f"GGUF export supports BPE tokenizers, not {model['type']}: use `merged`."
        )
    cut = tuple(_cut(step) for step in _steps(content["pre_tokenizer"], "pretokenizers"))
    pieces = _pieces(model, content["added_tokens"], size)
    if cut in _CUTS and not content["normalizer"]:
        entries = {"model": "gpt2", "pre": _CUTS[cut], "add_space_prefix": False}
        entries["merges"] = [" ".join(_pair(merge)) for merge in model["merges"]]
    elif model["byte_fallback"] and "▁" in model["vocab"]:
        entries = {"model": "llama", "pre": "default", "add_space_prefix": _prefix(content)}
        entries["scores"] = _scores(pieces, model)
    else:
        raise ExportError(
            f"Elara knows no GGUF name for this tokenizer ({', '.join(cut) or 'no cuts'}). "
            "Export `merged` and convert it with llama.cpp's own converter."
        )
    return (
        entries
        | {"tokens": [text for text, _ in pieces], "token_type": [kind for _, kind in pieces]}
        | _special_ids(tokenizer)
    )


def _steps(part: dict[str, Any] | None, several: str) -> list[dict[str, Any]]:
    if part is None:
        return []
    return list(part[several]) if part["type"] == "Sequence" else [part]


def _cut(step: dict[str, Any]) -> str:
    if step["type"] == "ByteLevel" and not step["add_prefix_space"]:
        return "words" if step["use_regex"] else "bytes"
    if step["type"] == "Digits" and step["individual_digits"]:
        return "digits"
    if step["type"] == "Split" and step["behavior"] == "Isolated" and not step["invert"]:
        return f"split {step['pattern'].get('Regex')}"
    return str(step["type"])


def _pair(merge: str | list[str]) -> list[str]:
    return merge.split(" ") if isinstance(merge, str) else merge


def _pieces(model: dict[str, Any], added: list[dict[str, Any]], size: int) -> list[tuple[str, int]]:
    """Text and type of every id."""
    found = {number: (text, _NORMAL) for text, number in model["vocab"].items()}
    if model["byte_fallback"]:
        for text, number in model["vocab"].items():
            if len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
                found[number] = (text, _BYTE)
    for token in added:
        kind = _CONTROL if token["special"] else _USER_DEFINED
        if token["content"] == model["unk_token"]:
            kind = _UNKNOWN
        found[token["id"]] = (token["content"], kind)
    if max(found) >= size:
        raise ExportError(
            f"The tokenizer has {max(found) + 1} tokens but the model embeds {size}: they do not "
            "belong together."
        )
    return [found.get(number, (f"[PAD{number}]", _UNUSED)) for number in range(size)]


def _scores(pieces: list[tuple[str, int]], model: dict[str, Any]) -> list[float]:
    """SentencePiece merges the best-scored piece first: score pieces by when they were merged.

    Pieces that no merge makes (single characters, bytes, special tokens) never compete.
    """
    rank: dict[str, int] = {}
    for number, merge in enumerate(model["merges"]):
        rank.setdefault("".join(_pair(merge)), number)
    return [float(-rank[text]) if text in rank else 0.0 for text, _ in pieces]


def _prefix(content: dict[str, Any]) -> bool:
    """Whether a space goes in front of text.

    With `first`, only before text that opens the prompt. Prompts of a chat open with a special
    token, and the readers of GGUF know no such rule, so it is off; with `always` it is on.
    """
    for step in _steps(content["pre_tokenizer"], "pretokenizers"):
        if step["type"] == "Metaspace":
            return bool(step["prepend_scheme"] == "always")
    return any(s["type"] == "Prepend" for s in _steps(content["normalizer"], "normalizers"))


def _special_ids(tokenizer: Any) -> dict[str, Any]:
    names = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    ids = {
        f"{name}_token_id": getattr(tokenizer, f"{short}_token_id")
        for short, name in names.items()
        if getattr(tokenizer, f"{short}_token_id") is not None
    }
    # By what it does: the settings that say so differ from one tokenizer class to the next.
    tried = tokenizer("a")["input_ids"]
    return ids | {
        "add_bos_token": bool(tried[0] == tokenizer.bos_token_id),
        "add_eos_token": bool(tried[-1] == tokenizer.eos_token_id),
    }
