"""Write the model card, licences and Modelfile that go with exported weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from elara.audit.card import (
    INTENDED_USE,
    LICENCE_FILE,
    base_licence,
    licence_text,
    metadata,
    private_note,
    shown_name,
)
from elara.export.vllm_folder import MAX_LORA_RANKS
from elara.model import PACKAGED, SYSTEM_PROMPT

_OTHER_BASE = """
This adapter was trained on a base model rounded to 4 bits; the command serves the base as it was
published. The proof below does not cover that: use the `vllm` export to serve what was evaluated.
"""


def write_card(
    folder: Path, format_name: str, record: dict[str, Any], file: str, proof: pl.DataFrame
) -> None:
    """Write model card (README.md), licences and, for GGUF, a Modelfile into an export.

    `vllm-lora` is the adapter folder itself, whose README.md stays; its card is VLLM.md.

    Args:
        folder: the export.
        format_name: one of `elara.export.exporting.FORMATS`.
        record: the adapter's training.json.
        file: name of the GGUF file; not used by other formats.
        proof: the format's rows of the parity table.

    Source: https://huggingface.co/docs/hub/model-cards
    """
    card = "VLLM.md" if format_name == "vllm-lora" else "README.md"
    text = _card(format_name, record, _run(folder, format_name, record, file), proof)
    (folder / card).write_text(text, encoding="utf-8")
    if format_name != "vllm-lora":  # the adapter has its own
        (folder / LICENCE_FILE).write_text(licence_text(record), encoding="utf-8")
    if format_name == "gguf":
        modelfile = f'FROM ./{file}\nSYSTEM "{SYSTEM_PROMPT}"\n'
        (folder / "Modelfile").write_text(modelfile, encoding="utf-8")


def _card(format_name: str, record: dict[str, Any], run: str, proof: pl.DataFrame) -> str:
    """Markdown with the metadata block that model hubs read."""
    base, licence = shown_name(record["base_model"]), base_licence(record["base_model"])
    kind = {"gguf": "quantized", "vllm-lora": "adapter"}.get(format_name, "finetune")
    effect = proof["adapter_kl"][0]
    effect = "not known" if effect is None else f"{effect:.1e}"
    texts = "\n".join(f"| {name} | {n} |" for name, n in sorted(record["licences"].items()))
    rows = "\n".join(
        f"| {row['reader']} | {row['weights']} | {row['same_prompt_tokens']:.0%} | "
        f"{row['kl']:.1e} | {row['kl_bound']:.1e} | {row['top1_agreement']:.1%} | "
        f"{row['answer_agreement']:.0%} |"
        for row in proof.to_dicts()
    )
    return f"""{metadata(record, kind)}
# {base}, with a medical LoRA adapter made with Elara ({format_name})

## Intended use
{INTENDED_USE} Read the adapter's own card and evaluation before any use.

## Run it
{run}

## Proof that it answers like the adapter it was made from
Mean divergence (KL, in nats) from the original at the tokens of its own answers. Without the
adapter it would be {effect}.

| read by | weights | same prompt tokens | KL | bound | same top token | same answer |
|---|---|---:|---:|---:|---:|---:|
{rows}

`export.json` holds the exact figures and the hashes of the adapter, of the base model and of every
file here.

## Licence
These weights are derived from `{base}` and stay under its licence
({licence or "see its model card"}). `LICENSE.md` says what else follows for whoever passes them on.
The adapter was trained on text under these licences:

| licence | examples |
|---|---:|
{texts}
{private_note(record["licences"])}"""


def _run(folder: Path, format_name: str, record: dict[str, Any], file: str) -> str:
    if format_name == "gguf":
        return f"""```bash
llama-cli -m {file}                       # talk to it in a terminal
llama-server -m {file} --port 8080        # an OpenAI-compatible server
ollama create elara -f Modelfile && ollama run elara
```"""
    if format_name == "vllm":
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return f"""```bash
vllm serve . --served-model-name elara --dtype {config["dtype"]}
```"""
    if format_name == "vllm-lora":
        rank = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))["r"]
        limit = next(allowed for allowed in MAX_LORA_RANKS if allowed >= rank)
        rounded = record["base_model"] == PACKAGED or record["quantisation"] != "none"
        return f"""```bash
vllm serve {shown_name(record["base_model"])} --enable-lora --max-lora-rank {limit} \\
  --lora-modules elara=.
```
{_OTHER_BASE if rounded else ""}"""
    return """```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained(".")
tokenizer = AutoTokenizer.from_pretrained(".")
```"""
