"""The stage's manifest after an adapter was restored: it names what is there, not what was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from elara.workspace import MANIFEST, file_hashes, identity_of, sealed


def resealed(home: Path, version: str, adapter: Path) -> dict[str, Any] | None:
    """The stage's manifest with a restored adapter's files in place of the current ones.

    Args:
        home: the train stage's folder.
        version: the name of what is restored.
        adapter: a complete copy of it.

    Returns:
        The manifest with its new identity, or None where the stage has none.
    """
    path = home / MANIFEST
    if not path.exists():
        return None
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    others = {n: e for n, e in manifest["files"].items() if not n.startswith("adapter/")}
    restored = {
        f"adapter/{name}": {"bytes": (adapter / name).stat().st_size, "sha256": digest}
        for name, digest in file_hashes(adapter).items()
    }
    manifest["files"] = others | restored
    manifest["identity"] = identity_of(manifest)
    manifest["restored"] = version
    return sealed(manifest)
