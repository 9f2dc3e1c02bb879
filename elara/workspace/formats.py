"""Read and write the files of a stage, and seal a description of them so that a change shows."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

import elara

MANIFEST = "manifest.json"
# What marks an adapter or an export as withdrawn: for programs, and its passport for people. They
# come after the folder was sealed, and belong to none of its hashes.
WITHDRAWN, WITHDRAWN_PAGE = "WITHDRAWN.json", "WITHDRAWN.html"
# What makes two results the same: not when they were made, nor by which version.
_IDENTITY = ("stage", "parameters", "inputs", "files", "counts")
# Libraries whose version can change a stage's result; written into every manifest.
_LIBRARIES = (
    *("torch", "transformers", "peft", "trl", "accelerate", "bitsandbytes", "datasets"),
    *("tokenizers", "safetensors", "polars", "lxml", "numpy"),
)


def read_table(path: Path, schema: Any = None) -> pl.DataFrame:
    """Read a table: `.jsonl`, by its schema if that is known, or Parquet whatever the suffix."""
    if path.suffix == ".jsonl" and schema and not path.stat().st_size:
        return pl.DataFrame(schema=schema)
    if path.suffix == ".jsonl":
        return pl.read_ndjson(path, schema=schema, infer_schema_length=None)
    return pl.read_parquet(path)


def json_text(content: Any) -> str:
    """Plain values, or a dataclass, as the JSON that stages leave."""
    if dataclasses.is_dataclass(content) and not isinstance(content, type):
        content = dataclasses.asdict(content)
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def write_file(path: Path, content: Any) -> None:
    """Write a file in the format that its suffix names; its folder is made when needed.

    Args:
        path: `.parquet` (zstd) or `.jsonl` (one record a line) for a table, `.json` for plain
            values or a dataclass, `.png` for a matplotlib figure, anything else for text.
        content: what to write.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, pl.DataFrame) and path.suffix == ".jsonl":
        content.write_ndjson(path)
    elif isinstance(content, pl.DataFrame):
        content.write_parquet(path, compression="zstd")
    elif path.suffix == ".json":
        path.write_text(json_text(content), encoding="utf-8")
    elif path.suffix == ".png":
        content.savefig(path, dpi=120, metadata={"Software": None})
    else:
        path.write_text(content, encoding="utf-8")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def file_hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder: path inside the folder to hash, sorted.

    A mark of withdrawal at its top is left out.

    Raises:
        OSError: a file cannot be read.
    """
    marks = {folder / WITHDRAWN, folder / WITHDRAWN_PAGE}
    paths = sorted(p for p in folder.rglob("*") if not p.is_dir() and p not in marks)
    return {p.relative_to(folder).as_posix(): file_sha256(p) for p in paths}


def withdrawn(folder: Path) -> str:
    """Why an adapter or export must not be used any more, in one sentence; "" where it may be."""
    try:
        return str(json.loads((folder / WITHDRAWN).read_text(encoding="utf-8"))["why"])
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"withdrawn, but {WITHDRAWN} does not say why ({error}): ask who made it."


def file_entries(folder: Path) -> dict[str, dict[str, Any]]:
    """What a manifest says of every file below a folder: bytes, SHA-256 and, of a table, rows."""
    entries = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        entry: dict[str, Any] = {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
        if path.suffix == ".parquet":
            entry["rows"] = pl.scan_parquet(path).select(pl.len()).collect().item()
        elif path.suffix == ".jsonl":
            with path.open("rb") as lines:
                entry["rows"] = sum(1 for _ in lines)
        entries[path.relative_to(folder).as_posix()] = entry
    return entries


def made_with() -> dict[str, Any]:
    """The versions of Elara, Python and the libraries that a stage runs with."""
    libraries = {}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            libraries[name] = importlib.metadata.version(name)
    python = platform.python_version()
    return {"elara": elara.__version__, "python": python, "libraries": libraries}


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """The content of a `manifest.json`, byte for byte: `Workspace.damage` compares it."""
    return json.dumps(manifest, indent=2, default=str) + "\n"


def content_digest(content: Mapping[str, Any]) -> str:
    """The SHA-256 of plain values, in hexadecimal, whatever the order of their keys."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def identity_of(manifest: Mapping[str, Any]) -> str:
    """The identity of a stage's result, computed from its manifest.

    Raises:
        KeyError: a part is missing.
    """
    return content_digest({name: manifest[name] for name in _IDENTITY})


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with its own hash, `seal`, over all the rest; an earlier seal is replaced."""
    rest = {name: value for name, value in record.items() if name != "seal"}
    return rest | {"seal": content_digest(rest)}


def seal_holds(record: Mapping[str, Any]) -> bool:
    """Whether a record is as it was when it was sealed."""
    return bool(record.get("seal") == sealed(record)["seal"])
