"""Stage 4: turn clean articles and curated cases into chat examples, split by source."""

from elara.expand.cases import Case, CuratedError, read_cases
from elara.expand.curated import curated_examples, render, review_table
from elara.expand.recipes import RECIPES, Expansion, grounded_examples
from elara.expand.report import examples_figure, outlook, summary
from elara.expand.split import split_by_source, without_repeats

__all__ = [
    "RECIPES",
    "Case",
    "CuratedError",
    "Expansion",
    "curated_examples",
    "examples_figure",
    "grounded_examples",
    "outlook",
    "read_cases",
    "render",
    "review_table",
    "split_by_source",
    "summary",
    "without_repeats",
]
