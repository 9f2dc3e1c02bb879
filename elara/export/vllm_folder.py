"""Check a folder against the requirements in vLLM's documentation.

vLLM needs a GPU or a build of its own and is not among Elara's libraries, so the folder is checked
and the server is not started.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from elara.export.errors import ExportError
from elara.model import WEIGHTS_FILE

# Of vLLM's supported text models, those that Elara trains; True where vLLM also serves adapters.
ARCHITECTURES = {
    "LlamaForCausalLM": True,
    "MistralForCausalLM": True,
    "Qwen2ForCausalLM": True,
    "Qwen3ForCausalLM": True,
    "GemmaForCausalLM": True,
    "Gemma2ForCausalLM": True,
    "Gemma3ForCausalLM": True,
    "PhiForCausalLM": True,
    "Phi3ForCausalLM": True,
    "BloomForCausalLM": False,
}
MAX_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # what --max-lora-rank accepts
_DTYPES = ("float32", "bfloat16", "float16")


def check_vllm_folder(folder: Path) -> None:
    """Check a folder for `vllm serve FOLDER`.

    Args:
        folder: an ordinary transformers folder.

    Raises:
        ExportError: vLLM would refuse it or could not chat with it; all reasons are named.

    Source: https://docs.vllm.ai/en/latest/models/supported_models.html and
    https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
    """
    config = _read(folder / "config.json")
    problems = []
    if not set(config.get("architectures") or ()) & set(ARCHITECTURES):
        problems.append(f"vLLM support of {config.get('architectures')} is not known here")
    if config.get("dtype") not in _DTYPES:
        problems.append(f"config.json names the number format {config.get('dtype')!r}")
    if "quantization_config" in config:
        problems.append("config.json says the weights are quantised, but they are not")
    if (folder / "adapter_config.json").exists():
        problems.append("it holds an adapter, not merged weights")
    if not (folder / "tokenizer.json").exists():
        problems.append("tokenizer.json is missing")
    if not _chat_template(folder):
        problems.append("there is no chat template, so the chat API would refuse every request")
    if (stop := _read(folder / "generation_config.json").get("eos_token_id")) is None:
        problems.append(f"generation_config.json names no stop token ({stop})")
    problems += _tensor_problems(folder, config)
    if problems:
        raise ExportError(f"{folder.name} is not ready for vLLM: {'; '.join(problems)}.")


def check_vllm_adapter(folder: Path, architectures: list[str]) -> int:
    """Check an adapter folder for `vllm serve BASE --enable-lora`.

    Args:
        folder: a PEFT adapter folder.
        architectures: the base model's, as in its config.json.

    Returns:
        The smallest value of `--max-lora-rank` that takes it.

    Raises:
        ExportError: vLLM would refuse it; all reasons are named.

    Source: https://docs.vllm.ai/en/latest/features/lora.html and vLLM's own checks of
    adapter_config.json, https://github.com/vllm-project/vllm/blob/main/vllm/lora/peft_helper.py
    """
    config = _read(folder / "adapter_config.json")
    problems = []
    if not any(ARCHITECTURES.get(name, False) for name in architectures):
        problems.append(f"vLLM does not serve adapters of {', '.join(architectures)}")
    if config.get("use_dora"):
        problems.append("vLLM does not serve DoRA adapters")
    if config.get("modules_to_save"):
        problems.append("vLLM takes no modules_to_save (whole layers trained beside LoRA)")
    if config.get("bias", "none") != "none":
        problems.append("vLLM takes no trained biases")
    if config.get("rank_pattern") or config.get("alpha_pattern"):
        problems.append("vLLM takes one rank and one alpha for all layers")
    if config.get("r", 0) > MAX_LORA_RANKS[-1]:
        problems.append(f"rank {config['r']} is above {MAX_LORA_RANKS[-1]}")
    if not (folder / WEIGHTS_FILE).exists():
        problems.append(f"{WEIGHTS_FILE} is missing")
    if problems:
        raise ExportError(
            f"This adapter cannot be served by vLLM as it is: {'; '.join(problems)}. "
            "Export `vllm` instead, which merges it."
        )
    return next(rank for rank in MAX_LORA_RANKS if rank >= config["r"])


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _chat_template(folder: Path) -> bool:
    return (folder / "chat_template.jinja").exists() or bool(
        _read(folder / "tokenizer_config.json").get("chat_template")
    )


def _tensor_problems(folder: Path, config: dict[str, Any]) -> list[str]:
    """Names and shapes in the safetensors files against those that config.json asks for."""
    import torch
    import transformers
    from safetensors import safe_open

    found: dict[str, list[int]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            found |= {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    if not found:
        return ["it holds no safetensors file"]
    with torch.device("meta"):
        empty = transformers.AutoModelForCausalLM.from_config(
            transformers.AutoConfig.from_pretrained(folder)
        )
    wanted = {name: list(tensor.shape) for name, tensor in empty.state_dict().items()}
    if config.get("tie_word_embeddings"):
        wanted.pop("lm_head.weight", None)
        found.pop("lm_head.weight", None)
    wrong = sorted(
        name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)
    )
    return [f"{len(wrong)} tensors do not fit config.json, first {wrong[0]}"] if wrong else []
