"""Report what inspection found: a table per source, report.json and report.html."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from elara.inspection.features import feature_table
from elara.inspection.matching import Clusters
from elara.inspection.selection import Selection

# The files beside report.html, with their alternative texts.
FIGURES = {
    "quality.png": "Histogram of the quality score, with the limits of the buckets.",
    "features.png": "One small histogram for each feature of the score.",
    "duplicates.png": "Candidate pairs by exact similarity, with the threshold.",
}


def report(scored: pl.DataFrame, clusters: Clusters, selection: Selection) -> dict[str, Any]:
    """Everything a reader of the result needs to judge it, as plain values for report.json.

    Args:
        scored: what `score` returns.
        clusters: what `near_duplicates` returns.
        selection: what `select` returns.
    """
    with_abstract = int((~scored["flags"].list.contains("no_abstract")).sum())
    flagged = scored["flags"].filter(scored["flags"].list.len() > 0).explode()
    flags = flagged.value_counts(name="records").sort("flags")
    proposed = clusters.pairs
    return {
        "articles": scored.height,
        "kept": selection.kept.height,
        "removed": dict(selection.reasons().iter_rows()),
        "mean_quality": round(float(scored["quality"].mean() or 0.0), 3),  # type: ignore[arg-type]
        "with_abstract_percent": round(100 * with_abstract / max(scored.height, 1), 1),
        "flags": dict(flags.iter_rows()),
        "duplicates": {
            "threshold": clusters.threshold,
            "candidate_pairs": proposed.height,
            "verified_pairs": proposed.filter(pl.col("similarity") >= clusters.threshold).height,
            "records_with_a_better_copy": clusters.removed.height,
            "records_for_review": selection.review.height,
        },
        "features": feature_table().to_dicts(),
        "sources": _sources(scored, selection).to_dicts(),
    }


def _sources(scored: pl.DataFrame, selection: Selection) -> pl.DataFrame:
    """What each source gave and how much of it is kept, articles per bucket and flag."""
    marks = {
        "kept": ~pl.col("id").is_in(selection.removed["id"].implode()),
        **{name: pl.col("bucket") == name for name in ("high", "medium", "low")},
        **{flag: pl.col("flags").list.contains(flag) for flag in ("no_abstract", "retracted")},
    }
    totals = [pl.col(name).sum() for name in marks]
    # Twice, so that the order in which numbers are added up does not show.
    mean = pl.col("quality").mean().round(6).round(3)
    return (
        scored.select("source", "quality", **marks)
        .group_by("source")
        .agg(pl.len().alias("articles"), mean, *totals)
        .rename({"quality": "mean_quality"})
        .select("source", "articles", "kept", "mean_quality", *list(marks)[1:])
        .sort("source")
    )


def report_html(found: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """The report as one HTML page.

    Args:
        found: what `report` returns.
        figures: file name of each figure, beside the page, to its alternative text.

    Returns:
        A complete HTML 5 document.
    """
    import jinja2

    room = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    template = Path(__file__).with_name("report.html.jinja").read_text(encoding="utf-8")
    given = found.get("input", {})
    unread = [{"field": k, "records": v} for k, v in given.get("fields_not_read", {}).items()]
    reasons = [{"reason": k, "records": v} for k, v in found["removed"].items()]
    more = {"input": given, "fields_not_read": unread, "reasons": reasons, "figures": figures}
    return room.from_string(template).render({**found, **more})
