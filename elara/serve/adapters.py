"""Find the adapters that may be served, by the hash of their weights, and refuse unsafe ones."""

from __future__ import annotations

import json
import re
from pathlib import Path

from elara.model import WEIGHTS_FILE
from elara.workspace import file_sha256, withdrawn

# Files that run code when they are read: Python's pickles, under the names that torch gives them.
_PICKLES = {".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth"}
_HASH = re.compile(r"[0-9a-f]{64}")


class AdapterRefused(ValueError):
    """An adapter is not there, or must not be served; the message says why and what to do."""


def adapters(folder: Path) -> dict[str, Path]:
    """The adapters that a folder holds, those of earlier versions included.

    Args:
        folder: where adapters are kept.

    Returns:
        SHA-256 of the weights to the adapter's folder. Hidden folders, where training keeps what
        is unfinished, and links that lead elsewhere are left out.
    """
    found: dict[str, Path] = {}
    for weights in sorted(folder.rglob(WEIGHTS_FILE)):
        inside = weights.resolve().is_relative_to(folder.resolve())
        hidden = any(part.startswith(".") for part in weights.relative_to(folder).parts)
        if inside and not hidden:
            found.setdefault(file_sha256(weights), weights.parent)
    return found


def find_adapter(folder: Path, name: str) -> Path:
    """The folder of an adapter. It is not checked yet.

    Args:
        folder: where adapters are kept.
        name: the SHA-256 of the weights, or a folder's path below `folder`.

    Raises:
        AdapterRefused: there are no such weights.
    """
    if not _HASH.fullmatch(name):
        return folder / name
    if place := adapters(folder).get(name):
        return place
    raise AdapterRefused(
        f"No adapter in {folder} has weights with the SHA-256 {name}: copy its folder there."
    )


def check_adapter(place: Path, folder: Path) -> None:
    """Refuse an adapter that lies elsewhere, could run code, was withdrawn, or is none.

    Args:
        place: its folder.
        folder: where adapters are kept; none outside of it is served.

    Raises:
        AdapterRefused: with the file that is the reason.

    Source: https://huggingface.co/docs/hub/security-pickle
    """
    if not place.resolve().is_relative_to(folder.resolve()):
        raise AdapterRefused(
            f"The adapter in {place} lies outside of {folder}: copy its folder there, or set "
            f"ELARA_SERVE_ADAPTERS to the folder of all adapters."
        )
    if why := withdrawn(place):
        raise AdapterRefused(f"The adapter in {place} is {why}")
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        if path.suffix.lower() in _PICKLES:
            raise AdapterRefused(
                f"{place} holds {name}, and reading such a file runs code that it carries. Save "
                f"the adapter as safetensors and remove the file."
            )
        if path.suffix.lower() == ".py" or (path.suffix == ".json" and _maps_code(path)):
            raise AdapterRefused(
                f"{place} brings code of its own ({name}), which is never run. Remove it, or its "
                f"`auto_map`, if the adapter works without."
            )
    if not (place / WEIGHTS_FILE).is_file():
        raise AdapterRefused(
            f"The adapter in {place} could not be loaded: {WEIGHTS_FILE} is missing. Train it "
            f"(`elara run --only train --force`), or name another folder in ELARA_SERVE_ADAPTER, "
            f"and start the server again."
        )


def _maps_code(path: Path) -> bool:
    """Whether a configuration names Python code to load."""
    text = path.read_bytes()
    if b"auto_map" not in text:  # large files are not parsed for nothing
        return False
    try:
        content = json.loads(text)
    except ValueError:
        return True  # whoever reads it might see what we cannot
    return isinstance(content, dict) and bool(content.get("auto_map"))
