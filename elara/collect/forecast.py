"""Tell before a run how many articles it will bring, where its parameters tell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elara.collect.live.sources import wanted_sources
from elara.collect.topics import african_batches, load_searches

_PACKED = {".gz", ".zip", ".7z", ".tar", ".tgz", ".bz2", ".xz", ".zst"}


def expected_articles(
    values: Mapping[str, Any], measured: Mapping[str, Any]
) -> tuple[float | None, str]:
    """How many articles the stage will bring.

    Args:
        values: its parameters.
        measured: its run on the sample, from `benchmarks/stages.json`.

    Returns:
        The number, or None with the reason why it cannot be told.
    """
    if named := values.get("sources"):
        if not (most := values.get("most", 0)) or "pubmed_files" in named:
            return None, "all records of a live source: how many there are shows in stage 1"
        searches = {"pubmed": len(load_searches()), "pmc": len(load_searches())}
        searches |= dict.fromkeys(("african_pubmed", "african_europepmc"), len(african_batches()))
        return sum(most * searches.get(name, 1) for name in wanted_sources(named)), ""
    if not values.get("local_files"):
        return measured["at"]["articles"], ""
    folder = Path(values["local_files"]).expanduser()
    try:
        sizes = {p: p.stat().st_size for p in folder.rglob("*") if p.is_file()}
    except OSError as error:
        return None, f"files that cannot be looked at ({error})"
    if any(path.suffix.lower() in _PACKED for path in sizes):
        return None, "packed files: how much is in them shows in stage 1"
    return max(1, round(sum(sizes.values()) / measured["bytes_per_article"])), ""
