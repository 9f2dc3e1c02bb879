"""Stage 4: turn clean articles and curated cases into chat examples, split by topic."""

from elara.expand.cases import Case, CuratedError, read_cases
from elara.expand.curated import curated_examples, render, review_table
from elara.expand.drafts import RECIPES
from elara.expand.evaluation_sets import blocked, read_evaluation_sets
from elara.expand.explorer import Explorer
from elara.expand.formats import FORMATS, dataset_files
from elara.expand.recipes import Expansion, grounded_examples
from elara.expand.repeats import Repeats, without_repeats
from elara.expand.report import coverage, coverage_figure, coverage_table, outlook, summary
from elara.expand.split import split_by_topic
from elara.expand.topics import topic_clusters
from elara.expand.validators import VALIDATORS, Validated, taken, validate

__all__ = [
    "FORMATS",
    "RECIPES",
    "VALIDATORS",
    "Case",
    "CuratedError",
    "Expansion",
    "Explorer",
    "Repeats",
    "Validated",
    "blocked",
    "coverage",
    "coverage_figure",
    "coverage_table",
    "curated_examples",
    "dataset_files",
    "grounded_examples",
    "outlook",
    "read_cases",
    "read_evaluation_sets",
    "render",
    "review_table",
    "split_by_topic",
    "summary",
    "taken",
    "topic_clusters",
    "validate",
    "without_repeats",
]
