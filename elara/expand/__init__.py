"""Stage 4: turn clean articles and curated cases into chat examples, split by topic."""

from elara.expand.cases import Case, CuratedError, read_cases
from elara.expand.curated import curated_examples, render, review_table
from elara.expand.drafts import RECIPES
from elara.expand.evaluation_sets import blocked, read_evaluation_sets
from elara.expand.explorer import Explorer
from elara.expand.formats import FORMATS, write_dataset, write_splits
from elara.expand.lacking import collect_next
from elara.expand.neighbours import near_titles
from elara.expand.paraphrases import with_paraphrases
from elara.expand.parts import Examples
from elara.expand.recipes import Expansion, grounded_examples
from elara.expand.repeats import Repeats, without_repeats
from elara.expand.report import (
    coverage,
    coverage_figure,
    coverage_table,
    outlook,
    summary,
    taken_figure,
)
from elara.expand.split import split_by_topic
from elara.expand.streaming import Expanded, Settings, expand_file
from elara.expand.topics import topic_clusters
from elara.expand.validators import VALIDATORS, Validated, taken, validate
from elara.model.embedding import Store, load_encoder

__all__ = [
    "FORMATS",
    "RECIPES",
    "VALIDATORS",
    "Case",
    "CuratedError",
    "Examples",
    "Expanded",
    "Expansion",
    "Explorer",
    "Repeats",
    "Settings",
    "Store",
    "Validated",
    "blocked",
    "collect_next",
    "coverage",
    "coverage_figure",
    "coverage_table",
    "curated_examples",
    "expand_file",
    "grounded_examples",
    "load_encoder",
    "near_titles",
    "outlook",
    "read_cases",
    "read_evaluation_sets",
    "render",
    "review_table",
    "split_by_topic",
    "summary",
    "taken",
    "taken_figure",
    "topic_clusters",
    "validate",
    "with_paraphrases",
    "without_repeats",
    "write_dataset",
    "write_splits",
]
