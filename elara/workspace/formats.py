"""Read and write the file formats that stages leave, by their suffix."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import polars as pl


def read_table(path: Path) -> pl.DataFrame:
    """Read a table: `.jsonl`, or Parquet whatever the suffix."""
    if path.suffix == ".jsonl":
        return pl.read_ndjson(path, infer_schema_length=None)
    return pl.read_parquet(path)


def json_text(content: Any) -> str:
    """Plain values, or a dataclass, as the JSON that stages leave."""
    if dataclasses.is_dataclass(content) and not isinstance(content, type):
        content = dataclasses.asdict(content)
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def count_rows(path: Path) -> int:
    """Rows of a `.parquet` file, lines of another."""
    if path.suffix == ".parquet":
        return int(pl.scan_parquet(path).select(pl.len()).collect().item())
    with path.open("rb") as handle:
        return sum(1 for _ in handle)


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
