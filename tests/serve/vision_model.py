"""Tiny vision models with random weights, saved as folders that `load_base` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from elara.model.packaged import packaged_folder

SIDE, PATCH = 16, 8
# As SmolVLM and LLaVA have it: only messages in parts are read, and pictures come first.
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}:\n"
    "{% for part in message['content'] if part['type'] == 'image' %}{{ mark }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    "<|im_end|>{% endfor %}{% if add_generation_prompt %}assistant:\n{% endif %}"
)
_TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "initializer_range": 0.5,
    "tie_word_embeddings": False,
}
_VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": PATCH,
}


def llava(folder: Path) -> Path:
    """A tiny LLaVA, whose template reads messages in parts only."""
    tokenizer = _tokenizer(["<image>"])
    torch.manual_seed(0)
    config = transformers.LlavaConfig(
        text_config=transformers.LlamaConfig(
            vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, **_TEXT
        ),
        vision_config=transformers.CLIPVisionConfig(**_VISION, initializer_factor=20.0),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=False,
        initializer_range=0.5,
    )
    pixels = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )
    processor = transformers.LlavaProcessor(
        image_processor=pixels,
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE.replace("{{ mark }}", "<image>"),
    )
    processor.save_pretrained(folder)
    transformers.LlavaForConditionalGeneration(config).save_pretrained(folder)
    return folder


def gemma(folder: Path) -> Path:
    """A tiny Gemma 3, as MedGemma is one: a picture's tokens see each other in both directions."""
    marks = {"boi_token": "<boi>", "eoi_token": "<eoi>", "image_token": "<soft>"}
    tokenizer = _tokenizer([*marks.values()], marks)
    ids = {
        f"{k.split('_')[0]}_token_index": tokenizer.convert_tokens_to_ids(v)
        for k, v in marks.items()
    }
    torch.manual_seed(0)
    config = transformers.Gemma3Config(
        text_config=transformers.Gemma3TextConfig(
            vocab_size=len(tokenizer),
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            head_dim=16,
            **_TEXT,
        ),
        vision_config=transformers.SiglipVisionConfig(**_VISION),
        mm_tokens_per_image=4,
        tie_word_embeddings=False,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.5,
        **ids,
    )
    processor = transformers.Gemma3Processor(
        image_processor=transformers.Gemma3ImageProcessorPil(size={"height": SIDE, "width": SIDE}),
        tokenizer=tokenizer,
        image_seq_length=4,
        chat_template=TEMPLATE.replace("{{ mark }}", "<boi>"),
    )
    processor.save_pretrained(folder)
    model = transformers.Gemma3ForConditionalGeneration(config)
    # Left at zero, or so small, where nothing is loaded: no picture would matter.
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight)
    for name, weight in model.model.vision_tower.named_parameters():
        if name.endswith("weight") and weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.5)
    model.save_pretrained(folder)
    return folder


def _tokenizer(marks: list[str], named: dict[str, str] | None = None) -> Any:
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        packaged_folder(), extra_special_tokens=named or {}
    )
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    return tokenizer
