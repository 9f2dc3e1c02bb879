"""Inspect: score every article, find duplicates, select what is kept, and report all of it."""

from elara.inspect.duplicates import Clusters, exact_duplicates, near_duplicates
from elara.inspect.features import FEATURES, HIGH, MEDIUM, Feature, feature_table, score
from elara.inspect.report import (
    FIGURES,
    feature_figure,
    quality_figure,
    report,
    report_html,
    source_table,
    with_abstract_percent,
)
from elara.inspect.selection import Selection, select

__all__ = [
    "FEATURES",
    "FIGURES",
    "HIGH",
    "MEDIUM",
    "Clusters",
    "Feature",
    "Selection",
    "exact_duplicates",
    "feature_figure",
    "feature_table",
    "near_duplicates",
    "quality_figure",
    "report",
    "report_html",
    "score",
    "select",
    "source_table",
    "with_abstract_percent",
]
