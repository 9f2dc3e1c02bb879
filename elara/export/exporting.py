"""Export a trained adapter for other programs, each export with a proof that it answers the same.

Formats: `merged`, an ordinary transformers folder; `gguf`, one file for llama.cpp and Ollama;
`vllm`, a merged folder checked against vLLM's requirements; `vllm-lora`, the adapter itself for
vLLM's `--enable-lora`.

An adapter that was trained on 4-bit weights (QLoRA) learned to correct exactly those rounded
weights. So they are expanded to float32 before the adapter is merged: merging into the original,
unrounded weights would give a model that nobody evaluated, and merging in 4 bits would round the
adapter.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

import elara
from elara.audit.card import licence_expression, shown_name
from elara.export.gguf_file import GGUF_TYPES, check_gguf, write_gguf
from elara.export.model_card import write_card
from elara.export.parity import BOUNDS, PROMPTS, ExportError, observe, parity
from elara.export.vllm_folder import check_vllm_adapter, check_vllm_folder, read_json
from elara.model import (
    PACKAGED,
    TRAINING_FILE,
    LanguageModel,
    load_adapter,
    load_base,
    packaged_folder,
    split_revision,
)
from elara.model.chat import without_markers
from elara.workspace import (
    cannot_write,
    draft_folder,
    file_hashes,
    file_sha256,
    replace_folder,
    sealed,
    withdrawn,
    write_atomically,
)
from elara.workspace.formats import json_text

FORMATS = ("merged", "gguf", "vllm", "vllm-lora")
DTYPES = ("float32", "bfloat16", "float16")
EXPORT_FILE = "export.json"


@dataclass(frozen=True)
class Exported:
    """What an export left.

    Args:
        folders: format to its finished folder.
        table: the parity proof, as `elara.export.parity.parity` returns it.
        reused: formats that were there already, unchanged, and were not made again.
    """

    folders: dict[str, Path]
    table: pl.DataFrame
    reused: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """The proof of each export, and where it is."""
        for row in self.table.iter_rows(named=True):
            line = f"{row['format']} ({row['weights']}, {row['reader']}): KL {row['kl']:.1e}, "
            yield line + f"bound {row['kl_bound']:.1e}, same top token {row['top1_agreement']:.1%}"
        for name, path in self.folders.items():
            yield f"{name}: {path}{' (already there)' if name in self.reused else ''}"


@dataclass(frozen=True)
class _Job:
    """What is to be exported, and everything that its result depends on."""

    adapter: Path
    record: dict[str, Any]
    dtype: str
    gguf_type: str
    prompts: tuple[str, ...]
    answer_tokens: int

    def identity(self, format_name: str, sources: dict[str, Any]) -> str:
        """Hash of all that decides the bytes of one format and its proof."""
        bounds = {name: asdict(bound) for name, bound in BOUNDS.items()}
        weights = {"gguf": self.gguf_type, "vllm-lora": "as trained"}.get(format_name, self.dtype)
        parts = [format_name, elara.__version__, weights, sources]
        text = json.dumps([*parts, self.prompts, bounds, self.answer_tokens], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def export(
    adapter: Path,
    into: Path,
    formats: Sequence[str] = ("merged", "gguf", "vllm"),
    *,
    dtype: str = "float32",
    gguf_type: str = "F16",
    prompts: Sequence[str] = PROMPTS,
    answer_tokens: int = 32,
) -> Exported:
    """Export an adapter, prove each export, and only then give it its name.

    Everything is written to a hidden draft folder, read back and compared with the original. If
    any format is worse than its bound, none of them is left. A format that is there already,
    unchanged and made from the same adapter with the same settings, is not made again: so an
    interrupted export is continued by the same call.

    Args:
        adapter: the adapter folder that the train stage left.
        into: folder for the exports, one subfolder per format.
        formats: of `FORMATS`.
        dtype: number format of merged weights: `float32` (exact), `bfloat16` or `float16` (half
            the bytes). Merging is always computed in float32, which takes 4 bytes of memory per
            parameter.
        gguf_type: `F32`, `F16` or `Q8_0`.
        prompts: questions for the proof.
        answer_tokens: longest answer of the proof, in tokens.

    Raises:
        ExportError: the adapter or a setting does not allow the export, or the disk is full.
        ParityError: an export does not answer like the original.
    """
    path = adapter / TRAINING_FILE
    if not path.exists():
        raise ExportError(f"{adapter} holds no adapter ({TRAINING_FILE} is missing): train first.")
    if why := withdrawn(adapter):
        raise ExportError(f"{adapter} is {why}")
    _check_names(formats, dtype, gguf_type)
    record = json.loads(path.read_text(encoding="utf-8"))
    job = _Job(adapter, record, dtype, gguf_type, tuple(prompts), answer_tokens)
    hidden = into / ".export"
    with _explained(into), draft_folder(hidden / "drafts", hidden / "lock", "an export") as drafts:
        sources = {"adapter": file_hashes(adapter), "base": _base(record)}
        done = [f for f in formats if _stands(into / f, job.identity(f, sources))]
        wanted = [f for f in formats if f not in done]
        if wanted:
            _make(job, wanted, drafts, sources)
            for name in wanted:
                replace_folder(drafts / name, into / name)
    rows = [row for name in formats for row in read_json(into / name / EXPORT_FILE)["parity"]]
    return Exported({name: into / name for name in formats}, pl.DataFrame(rows), tuple(done))


@contextlib.contextmanager
def _explained(into: Path) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        raise ExportError(f"{cannot_write(into, error)} Nothing half-made was left.") from error


def _make(job: _Job, wanted: list[str], drafts: Path, sources: dict[str, Any]) -> None:
    """Write the formats as drafts, prove them, and seal each with its export.json."""
    original = _load(job.adapter, job.record)
    if "gguf" in wanted:
        check_gguf(original.model.config)
    if "vllm-lora" in wanted:
        check_vllm_adapter(job.adapter, original.model.config.architectures)
    observed = observe(original, job.prompts, answer_tokens=job.answer_tokens)
    paths = _write_formats(job, wanted, drafts, original)
    del original
    table = parity(observed, paths, answer_tokens=job.answer_tokens)
    for name in wanted:
        rows = table.filter(pl.col("format") == name)
        write_card(drafts / name, name, job.record, paths[name].name, rows)
        _seal(drafts / name, name, job.identity(name, sources), sources, rows)


def _write_formats(
    job: _Job, wanted: list[str], drafts: Path, original: LanguageModel
) -> dict[str, Path]:
    import torch

    name = job.record["base_model"]
    paths = {}
    if "vllm-lora" in wanted:
        paths["vllm-lora"] = Path(shutil.copytree(job.adapter, drafts / "vllm-lora"))
    if wanted == ["vllm-lora"]:
        return paths
    model, tokenizer = _merge(job, original), original.tokenizer
    tokenizer.chat_template = without_markers(tokenizer.chat_template)
    if "gguf" in wanted:  # before the weights are rounded for the folders
        title = shown_name(name).split("/")[-1]
        paths["gguf"] = drafts / "gguf" / f"elara-{title}-{job.gguf_type}.gguf"
        paths["gguf"].parent.mkdir()
        about = {"licence": licence_expression(job.record), "base": shown_name(name)}
        kind, path = job.gguf_type, paths["gguf"]
        write_gguf(model, tokenizer, path, gguf_type=kind, name=f"Elara {title}", **about)
    model.to(getattr(torch, job.dtype))
    model.config.dtype = job.dtype
    for format_name in ("merged", "vllm"):
        if format_name in wanted:
            paths[format_name] = drafts / format_name
            model.save_pretrained(paths[format_name])
            tokenizer.save_pretrained(paths[format_name])
    if "vllm" in wanted:
        check_vllm_folder(paths["vllm"])
    return paths


def _merge(job: _Job, original: LanguageModel) -> Any:
    """The plain model with the adapter in its weights, in float32."""
    if job.record["quantisation"] != "none":
        original.model = None  # two copies need not fit
        original.model = _load(job.adapter, job.record, expanded=True).model
    model = original.model.merge_and_unload(safe_merge=True)
    model.config.name_or_path = shown_name(job.record["base_model"])
    generation = model.generation_config
    if generation.eos_token_id is None:
        generation.eos_token_id = original.tokenizer.eos_token_id
    return model


def _load(adapter: Path, record: dict[str, Any], *, expanded: bool = False) -> LanguageModel:
    """The adapter on its base in float32; `expanded`: with 4-bit weights unpacked."""
    import torch

    base = load_base(record["base_model"], quantisation=record["quantisation"], precision="float32")
    if expanded:
        base.model = base.model.dequantize(dtype=torch.float32)
        base.model.hf_quantizer = None
        if hasattr(base.model.config, "quantization_config"):
            del base.model.config.quantization_config
    return load_adapter(adapter, base=base)


def _check_names(formats: Sequence[str], dtype: str, gguf_type: str) -> None:
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ExportError(f"Unknown format {', '.join(unknown)}: use {', '.join(FORMATS)}.")
    choices = {"dtype": (dtype, DTYPES), "gguf_type": (gguf_type, GGUF_TYPES)}
    for name, (value, allowed) in choices.items():
        if value not in allowed:
            raise ExportError(f"`{name}` is {value!r}: use {', '.join(allowed)}.")


def _seal(
    folder: Path, name: str, identity: str, sources: dict[str, Any], rows: pl.DataFrame
) -> None:
    record = {"format": name, "elara": elara.__version__, "identity": identity, **sources}
    record |= {"files": file_hashes(folder), "parity": rows.to_dicts()}
    write_atomically(folder / EXPORT_FILE, json_text(sealed(record)))


def _stands(folder: Path, identity: str) -> bool:
    """Whether an export is there, unchanged, and what would be made now."""
    record = read_json(folder / EXPORT_FILE)
    files = file_hashes(folder) if record else {}
    files.pop(EXPORT_FILE, "")
    return bool(record and record["identity"] == identity and record["files"] == files)


def _base(record: dict[str, Any]) -> dict[str, Any]:
    """The base model's name, quantisation, and hashes of its weights and settings."""
    name, wanted = record["base_model"], ["*.safetensors", "*.json"]
    folder = packaged_folder() if name == PACKAGED else Path(name)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        hub_id, revision = split_revision(name)
        folder = Path(snapshot_download(hub_id, revision=revision, allow_patterns=wanted))
    paths = sorted(path for pattern in wanted for path in folder.glob(pattern))
    files = {path.name: file_sha256(path) for path in paths}
    return {"name": shown_name(name), "quantisation": record["quantisation"], "files": files}
