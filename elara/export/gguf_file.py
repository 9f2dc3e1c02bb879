"""Write a Llama-family model as one GGUF file, for llama.cpp and what is built on it.

GGUF is a list of named values (shape, rotation, vocabulary, chat template) followed by the tensors.
Two things differ from a transformers folder and both fail silently when forgotten: tensors have
other names, and the rows of the query and key projections stand in another order.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elara.export.drafts import ExportError
from elara.export.gguf_vocabulary import vocabulary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GGUF_TYPES = ("F32", "F16", "Q8_0")
GGUF_ARCHITECTURES = ("llama", "mistral")

_BLOCK = 32  # numbers that share one scale in Q8_0


def check_gguf(config: Any, gguf_type: str) -> None:
    """Say whether a model can be written as GGUF, before anything long starts.

    Args:
        config: the model's transformers configuration.
        gguf_type: as `write_gguf` takes it.

    Raises:
        ExportError: it cannot; the message names what can.
    """
    elsewhere = "Export `merged` and convert that folder with llama.cpp's own converter."
    if gguf_type not in GGUF_TYPES:
        raise ExportError(f"`gguf_type` is {gguf_type!r}: use {', '.join(GGUF_TYPES)}.")
    if config.model_type not in GGUF_ARCHITECTURES:
        raise ExportError(
            f"GGUF export supports {' and '.join(GGUF_ARCHITECTURES)} models (SmolLM2, Llama, "
            f"Mistral), not {config.model_type}. {elsewhere}"
        )
    rope = config.rope_parameters["rope_type"]
    if rope != "default":
        raise ExportError(
            f"GGUF export does not support rotary scaling {rope!r} (Llama 3.1 and newer use it). "
            f"{elsewhere}"
        )
    if config.hidden_act != "silu":
        raise ExportError(f"GGUF export supports silu, not {config.hidden_act}. {elsewhere}")


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

    check_gguf(model.config, gguf_type)
    writer = gguf.GGUFWriter(path, "llama")
    _describe(writer, model, gguf_type, name, licence, base)
    _add_vocabulary(writer, vocabulary(tokenizer, model.config.vocab_size))
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
    heads, head = config.num_attention_heads, _head_size(config)
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
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    kinds = {"F32": "ALL_F32", "F16": "MOSTLY_F16", "Q8_0": "MOSTLY_Q8_0"}
    writer.add_file_type(gguf.LlamaFileType[kinds[gguf_type]])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _add_vocabulary(writer: Any, entries: dict[str, Any]) -> None:
    writer.add_tokenizer_model(entries.pop("model"))
    writer.add_tokenizer_pre(entries.pop("pre"))
    writer.add_token_list(entries.pop("tokens"))
    writer.add_token_types(entries.pop("token_type"))
    if "merges" in entries:
        writer.add_token_merges(entries.pop("merges"))
    if "scores" in entries:
        writer.add_token_scores(entries.pop("scores"))
    for name, value in entries.items():
        add = writer.add_bool if isinstance(value, bool) else writer.add_uint32
        add(f"tokenizer.ggml.{name}", value)


def _head_size(config: Any) -> int:
    return int(
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )


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
