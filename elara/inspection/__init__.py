"""Inspect: score every article, find duplicates, select what is kept, and report all of it."""

from elara.inspection.bibliographic import bibliographic_duplicates
from elara.inspection.features import FEATURES, HIGH, MEDIUM, Feature, feature_table, score
from elara.inspection.figures import feature_figure, quality_figure
from elara.inspection.files import Inspected, inspect_files
from elara.inspection.matching import Clusters, near_duplicates
from elara.inspection.reading import InputError
from elara.inspection.report import FIGURES, report, report_html
from elara.inspection.selection import Selection, select
from elara.workspace.retractions import read_list

__all__ = [
    "FEATURES",
    "FIGURES",
    "HIGH",
    "MEDIUM",
    "Clusters",
    "Feature",
    "InputError",
    "Inspected",
    "Selection",
    "bibliographic_duplicates",
    "feature_figure",
    "feature_table",
    "inspect_files",
    "near_duplicates",
    "quality_figure",
    "read_list",
    "report",
    "report_html",
    "score",
    "select",
]
