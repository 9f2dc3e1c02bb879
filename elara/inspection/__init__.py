"""Inspect: score every article, find duplicates, select what is kept, and report all of it."""

from elara.inspection.bibliographic import bibliographic_duplicates
from elara.inspection.features import feature_figure, feature_table, quality_figure, score
from elara.inspection.files import Inspected, inspect_files
from elara.inspection.matching import near_duplicates
from elara.inspection.reading import InputError
from elara.inspection.selection import FIGURES, Clusters, Selection, report, report_html, select
from elara.workspace.retractions import read_list
