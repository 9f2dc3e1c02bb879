"""Check a folder against the requirements in vLLM's documentation.

vLLM needs a GPU or a build of its own and is not among Elara's libraries, so the folder is checked
and the server is not started.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from elara.export.parity import ExportError
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


def check_vllm_folder(folder: Path) -> None:
    """Check a folder for `vllm serve FOLDER`.

    Numbers and tensors are not looked at: the proof reads them.

    Args:
        folder: an ordinary transformers folder.

    Raises:
        ExportError: vLLM would refuse it or could not chat with it; all reasons are named.

    Source: https://docs.vllm.ai/en/latest/models/supported_models.html and
    https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
    """
    names = read_json(folder / "config.json").get("architectures") or ()
    template = read_json(folder / "tokenizer_config.json").get("chat_template")
    rules = {
        f"vLLM support of {', '.join(names)} is not known here": bool(ARCHITECTURES.keys() & names),
        "tokenizer.json is missing": (folder / "tokenizer.json").exists(),
        "there is no chat template, so the chat API would refuse every request": (
            template or (folder / "chat_template.jinja").exists()
        ),
        "generation_config.json names no stop token": (
            read_json(folder / "generation_config.json").get("eos_token_id") is not None
        ),
    }
    if problems := [rule for rule, kept in rules.items() if not kept]:
        raise ExportError(f"{folder.name} is not ready for vLLM: {'; '.join(problems)}.")


def check_vllm_adapter(folder: Path, architectures: list[str]) -> None:
    """Check an adapter folder for `vllm serve BASE --enable-lora`.

    Args:
        folder: a PEFT adapter folder.
        architectures: the base model's, as in its config.json.

    Raises:
        ExportError: vLLM would refuse it; all reasons are named.

    Source: https://docs.vllm.ai/en/latest/features/lora.html and vLLM's own checks of
    adapter_config.json, https://github.com/vllm-project/vllm/blob/main/vllm/lora/peft_helper.py
    """
    config = read_json(folder / "adapter_config.json")
    served = any(ARCHITECTURES.get(name, False) for name in architectures)
    uneven = config.get("rank_pattern") or config.get("alpha_pattern")
    problems = {
        f"vLLM does not serve adapters of {', '.join(architectures)}": not served,
        "vLLM does not serve DoRA adapters": config.get("use_dora"),
        "vLLM takes no modules_to_save (whole layers trained beside LoRA)": (
            config.get("modules_to_save")
        ),
        "vLLM takes no trained biases": config.get("bias", "none") != "none",
        "vLLM takes one rank and one alpha for all layers": uneven,
        f"rank {config.get('r')} is above {MAX_LORA_RANKS[-1]}": config["r"] > MAX_LORA_RANKS[-1],
        f"{WEIGHTS_FILE} is missing": not (folder / WEIGHTS_FILE).exists(),
    }
    if found := [problem for problem, there in problems.items() if there]:
        raise ExportError(
            f"This adapter cannot be served by vLLM as it is: {'; '.join(found)}. "
            "Export `vllm` instead, which merges it."
        )


def read_json(path: Path) -> dict[str, Any]:
    """What a JSON file of the folder holds; {} where there is none."""
    found: dict[str, Any] = {}
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
    return found
