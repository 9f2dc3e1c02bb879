"""Collect: raw files of every source to normalised articles, with nothing dropped silently."""

from elara.collect.folder import (
    Collection,
    collect_folder,
    raw_record,
    read_file,
    read_folder,
    sample_folder,
    source_folder,
)
from elara.collect.licences import licence_of, redistributable
from elara.collect.report import (
    outcome_table,
    per_licence,
    per_source,
    per_specialty,
    specialty_figure,
)
from elara.collect.topics import african_health, load_topics

__all__ = [
    "Collection",
    "african_health",
    "collect_folder",
    "licence_of",
    "load_topics",
    "outcome_table",
    "per_licence",
    "per_source",
    "per_specialty",
    "raw_record",
    "read_file",
    "read_folder",
    "redistributable",
    "sample_folder",
    "source_folder",
    "specialty_figure",
]
