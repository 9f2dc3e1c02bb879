"""Write a Llama-family model as one GGUF file, for llama.cpp and programs built on it.

GGUF is a list of named values (shape, rotation, vocabulary, chat template) followed by the tensors.
Three things differ from a transformers folder, and each fails silently when it is forgotten:
tensors have other names, the rows of the query and key projections are in another order, and there
is no `tokenizer.json`: the reading program has the tokenizing code, and the file names which of it
to use. So that name is chosen by what the tokenizer does.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elara.export.parity import ExportError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GGUF_TYPES = ("F32", "F16", "Q8_0")
GGUF_ARCHITECTURES = ("llama", "mistral")

_BLOCK = 32  # numbers that share one scale in Q8_0

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


def check_gguf(config: Any) -> None:
    """Say whether a model can be written as GGUF, before anything long starts.

    Args:
        config: the model's transformers configuration.

    Raises:
        ExportError: it cannot; the message names what can.
    """
    rope = config.rope_parameters["rope_type"] if hasattr(config, "rope_parameters") else ""
    if config.model_type not in GGUF_ARCHITECTURES:
        names = " and ".join(GGUF_ARCHITECTURES)
        why = f"supports {names} models (SmolLM2, Llama, Mistral), not {config.model_type}"
    elif rope != "default":
        why = f"does not support rotary scaling {rope!r} (Llama 3.1 and newer use it)"
    elif config.hidden_act != "silu":
        why = f"supports silu, not {config.hidden_act}"
    else:
        return
    raise ExportError(
        f"GGUF export {why}. Export `merged` and convert that folder with llama.cpp's own "
        "converter."
    )


def write_gguf(
    model: Any,
    tokenizer: Any,
    path: Path,
    *,
    gguf_type: str,
    name: str,
    licence: str = "",
    base: str = "",
) -> None:
    """Write model, tokenizer and chat template as one GGUF file.

    Tensors are converted and written one at a time, so it needs no second copy of the model.

    Args:
        model: a plain transformers model (adapter merged, not quantised).
        tokenizer: its tokenizer, with the chat template to ship.
        path: the file to write.
        gguf_type: `F32`; `F16` (half the bytes); `Q8_0` (8 bits and a shared scale for every 32
            numbers, a bit more than a quarter). Norms always stay F32.
        name: what programs show as the model's name.
        licence: SPDX expression of the weights' licence, if known.
        base: name of the model that the adapter was trained on.

    Raises:
        ExportError: the architecture, tokenizer or a number does not fit the format.
        OSError: the disk is full or the folder cannot be written.

    Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
    """
    import gguf

    check_gguf(model.config)
    writer = gguf.GGUFWriter(path, "llama")
    _describe(writer, model, gguf_type, name, licence, base)
    add = {str: writer.add_string, bool: writer.add_bool, int: writer.add_uint32}
    for entry, value in vocabulary(tokenizer, model.config.vocab_size).items():
        add.get(type(value), writer.add_array)(f"tokenizer.ggml.{entry}", value)
    writer.add_chat_template(tokenizer.chat_template)
    try:
        for tensor_name, rows in _tensors(model):
            kind = _kind(rows, gguf_type)
            numbers, block_bytes = gguf.GGML_QUANT_SIZES[kind]
            size = rows.size // numbers * block_bytes
            writer.add_tensor_info(tensor_name, rows.shape, rows.dtype, size, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor_name, rows in _tensors(model):
            writer.write_tensor_data(_convert(tensor_name, rows, _kind(rows, gguf_type)))
    finally:
        writer.close()


def _describe(writer: Any, model: Any, gguf_type: str, name: str, licence: str, base: str) -> None:
    import gguf

    config = model.config
    heads = config.num_attention_heads
    head = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    writer.add_type("model")
    writer.add_name(name)
    writer.add_description("For research and teaching; not for decisions about anyone's care.")
    writer.add_size_label(gguf.size_label(sum(t.size for _, t in _tensors(model)), 0, 0, 0))
    if licence:
        writer.add_license(licence)
    if base:
        writer.add_base_model_count(1)
        writer.add_base_model_name(0, base)
    writer.add_languages(["en"])
    # A sliding window is not part of this architecture in GGUF; within its length both agree.
    window = getattr(config, "sliding_window", None)
    context = config.max_position_embeddings
    writer.add_context_length(min(context, window) if window else context)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    for add in (writer.add_key_length, writer.add_value_length, writer.add_rope_dimension_count):
        add(head)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    kinds = {"F32": "ALL_F32", "F16": "MOSTLY_F16", "Q8_0": "MOSTLY_Q8_0"}
    writer.add_file_type(gguf.LlamaFileType[kinds[gguf_type]])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _tensors(model: Any) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Every tensor under its GGUF name, as float32, one at a time."""
    import gguf

    config = model.config
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue  # readers take the embedding where there is no output tensor
        found = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise ExportError(f"GGUF has no name for the tensor {name}: export `merged` instead.")
        rows = tensor.detach().float().cpu().numpy()
        if count := heads.get(name.split(".")[-2]):
            rows = interleave(rows, count)
        yield found, rows


def interleave(rows: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Order the rows of a query or key projection as GGUF's Llama wants them.

    Rotary embedding turns pairs of rows of each head. Transformers pairs row i with row i + half;
    GGUF's Llama pairs neighbours, 2i with 2i + 1.

    Args:
        rows: weight (rows by inputs) or bias (rows).
        heads: attention heads that share the rows evenly.
    """
    half = rows.shape[0] // heads // 2
    return rows.reshape(heads, 2, half, -1).swapaxes(1, 2).reshape(rows.shape)


def _kind(rows: NDArray[np.float32], gguf_type: str) -> Any:
    import gguf

    if rows.ndim == 1:
        return gguf.GGMLQuantizationType.F32
    if gguf_type == "Q8_0" and rows.shape[-1] % _BLOCK:
        return gguf.GGMLQuantizationType.F16
    return gguf.GGMLQuantizationType[gguf_type]


def _convert(name: str, rows: NDArray[np.float32], kind: Any) -> NDArray[Any]:
    import gguf
    import numpy as np

    with np.errstate(over="ignore"):
        converted: NDArray[Any] = np.ascontiguousarray(gguf.quantize(rows, kind))
    if kind == gguf.GGMLQuantizationType.F16 and not np.isfinite(converted).all():
        raise ExportError(f"{name} holds numbers above 65504, too large for F16: use F32.")
    return converted


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
        entries["merges"] = [" ".join(pair) for pair in model["merges"]]
    elif model["byte_fallback"] and "▁" in model["vocab"]:
        entries = {"model": "llama", "pre": "default", "add_space_prefix": _prefix(content)}
        entries["scores"] = _scores(pieces, model)
    else:
        raise ExportError(
            f"Elara knows no GGUF name for this tokenizer ({', '.join(cut) or 'no cuts'}). "
            "Export `merged` and convert it with llama.cpp's own converter."
        )
    entries["tokens"], entries["token_type"] = map(list, zip(*pieces, strict=True))
    return entries | _special_ids(tokenizer)


def _steps(part: dict[str, Any] | None, several: str) -> list[dict[str, Any]]:
    if part is None:
        return []
    return list(part[several]) if part["type"] == "Sequence" else [part]


def _cut(step: dict[str, Any]) -> str:
    match step:
        case {"type": "ByteLevel", "add_prefix_space": False, "use_regex": regex}:
            return "words" if regex else "bytes"
        case {"type": "Digits", "individual_digits": True}:
            return "digits"
        case {"type": "Split", "behavior": "Isolated", "invert": False, "pattern": pattern}:
            return f"split {pattern.get('Regex')}"
    return str(step["type"])


def _pieces(model: dict[str, Any], added: list[dict[str, Any]], size: int) -> list[tuple[str, int]]:
    """Text and type of every id."""
    from gguf import TokenType

    found: dict[int, tuple[str, int]] = {}
    for text, number in model["vocab"].items():
        is_byte = model["byte_fallback"] and len(text) == 6 and text.startswith("<0x")
        found[number] = (text, TokenType.BYTE if is_byte else TokenType.NORMAL)
    for token in added:
        kind = TokenType.CONTROL if token["special"] else TokenType.USER_DEFINED
        if token["content"] == model["unk_token"]:
            kind = TokenType.UNKNOWN
        found[token["id"]] = (token["content"], kind)
    if max(found) >= size:
        raise ExportError(
            f"The tokenizer has {max(found) + 1} tokens but the model embeds {size}: they do not "
            "belong together."
        )
    return [found.get(number, (f"[PAD{number}]", TokenType.UNUSED)) for number in range(size)]


def _scores(pieces: list[tuple[str, int]], model: dict[str, Any]) -> list[float]:
    """SentencePiece merges the best-scored piece first: score pieces by when they were merged.

    Pieces that no merge makes (single characters, bytes, special tokens) never compete.
    """
    rank: dict[str, int] = {}
    for number, merge in enumerate(model["merges"]):
        rank.setdefault("".join(merge), number)
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
    found = {name: getattr(tokenizer, f"{short}_token_id") for short, name in names.items()}
    ids = {f"{name}_token_id": number for name, number in found.items() if number is not None}
    # By what it does: the settings that say so differ from one tokenizer class to the next.
    tried = tokenizer("a")["input_ids"]
    return ids | {
        "add_bos_token": bool(tried[0] == tokenizer.bos_token_id),
        "add_eos_token": bool(tried[-1] == tokenizer.eos_token_id),
    }
