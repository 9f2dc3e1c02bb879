"""The model of the GPU benchmark: a shape with random weights, its data, its arithmetic.

Speed and memory do not depend on what the weights say, so nothing is downloaded and nothing is
written to disk: weights are drawn on the device, layer by layer, and quantised there.
"""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

# Mistral-7B-Instruct-v0.3, https://huggingface.co/mistralai/Mistral-7B-Instruct-v0.3, config.json
SHAPES: dict[str, dict[str, Any]] = {
    "mistral-7b": {
        "vocab_size": 32768,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 32768,
        "sliding_window": None,
    },
    # For rehearsals: every step of the benchmark, in seconds, on a CPU.
    "tiny": {
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "sliding_window": None,
    },
}
PAD, STOP = 0, 2


def utilisation(
    shape: dict[str, Any], tokens_per_second: float, peak: float | None
) -> float | None:
    """MFU of LoRA training: 4 N FLOPs per token over the device's peak.

    Two FLOPs per parameter and token forward, two backward for the activations' gradients; the
    frozen weights have no gradient. Work that is done twice (recomputation) does not count.

    Source: PaLM, https://arxiv.org/abs/2204.02311, appendix B, without the weights' gradients.
    """
    if peak is None:
        return None
    from elara.train.devices.cards import multiplied_parameters

    return 4 * multiplied_parameters(SimpleNamespace(**shape)) * tokens_per_second / peak


def build(
    shape: dict[str, Any],
    *,
    quantisation: str,
    device: str,
    dtype: str,
    attention: str = "sdpa",
) -> Any:
    """A causal language model of a shape with random weights, ready on the device.

    Args:
        shape: arguments of `transformers.MistralConfig`.
        quantisation: `none`, or `nf4` for all linear layers but the head, as on loading.
        device: torch device.
        dtype: torch dtype of what is not quantised.
        attention: as transformers calls its implementation.
    """
    import torch
    import transformers

    config = transformers.MistralConfig(
        **shape, pad_token_id=PAD, bos_token_id=1, eos_token_id=STOP, tie_word_embeddings=False
    )
    kind: torch.dtype = getattr(torch, dtype)
    with torch.device("meta"):
        model = transformers.MistralForCausalLM._from_config(
            config, dtype=kind, attn_implementation=attention
        )
    if quantisation == "nf4":
        _to_linear4bit(model, kind)
    torch.manual_seed(0)
    for module in model.modules():
        _materialise(module, device, kind)
        if device == "cpu" and hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # has no gradient; as `load_base` does it
    rotary = type(model.model.rotary_emb)
    model.model.rotary_emb = rotary(config=config).to(device)
    model.config.use_cache = False
    return model.train()


def _to_linear4bit(model: Any, kind: Any) -> None:
    import transformers
    from transformers.integrations.bitsandbytes import replace_with_bnb_linear

    settings = transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=kind,
    )
    replace_with_bnb_linear(model, ["lm_head"], settings)
    # What a loader would leave for PEFT and for the trainer.
    model.is_loaded_in_4bit = True
    model.is_quantized = True
    model.quantization_method = "bitsandbytes"
    model.config.quantization_config = settings
    quantiser = transformers.quantizers.AutoHfQuantizer.from_config(settings)
    model.hf_quantizer = quantiser


def _materialise(module: Any, device: str, kind: Any) -> None:
    import torch

    for name, parameter in list(module.named_parameters(recurse=False)):
        if len(parameter.shape) == 1:
            values = torch.ones(parameter.shape, device=device, dtype=kind)
        else:
            values = torch.empty(parameter.shape, device=device, dtype=kind).normal_(std=0.02)
        if type(parameter).__name__ == "Params4bit":
            # On its way to the device it is quantised, as it would be on loading.
            new = type(parameter)(
                values,
                requires_grad=False,
                quant_type=parameter.quant_type,
                compress_statistics=parameter.compress_statistics,
                quant_storage=parameter.quant_storage,
                module=module,
            ).to(device)
        else:
            new = torch.nn.Parameter(values, requires_grad=False)
        setattr(module, name, new)


def tokenizer(shape: dict[str, Any]) -> Any:
    """A tokenizer that knows the vocabulary's size, padding and stop; nothing is tokenised."""
    import transformers
    from tokenizers import Tokenizer, models

    words = {f"t{i}": i for i in range(shape["vocab_size"])}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="t1")),
        pad_token=f"t{PAD}",
        eos_token=f"t{STOP}",
        unk_token="t1",
        chat_template="{{ messages }}",
    )


def examples(
    shape: dict[str, Any], count: int, length: int, *, mixed: bool
) -> list[dict[str, list[int]]]:
    """Random examples; the question is an eighth of each and carries no loss.

    Args:
        shape: gives the vocabulary.
        count: examples.
        length: tokens each; the longest where they are mixed.
        mixed: lengths spread evenly from an eighth of `length` to all of it.
    """
    draw = random.Random(0)
    made = []
    for _ in range(count):
        size = draw.randint(length // 8, length) if mixed else length
        ids = [draw.randrange(3, shape["vocab_size"]) for _ in range(size - 1)] + [STOP]
        asked = size // 8
        made.append({"input_ids": ids, "labels": [-100] * asked + ids[asked:]})
    return made
