"""Collect: raw files of every source to normalised articles, with nothing dropped silently."""

from elara.collect.collection import Collection, collect_folder
from elara.collect.licences import licence_of, redistributable
from elara.collect.listing import sample_folder, source_folder
from elara.collect.live.harvest import harvest
from elara.collect.live.sources import live_sources, topic_hits
from elara.collect.live.store import payload_table
from elara.collect.parameters import keep_collected, would_replace
from elara.collect.rawfiles import raw_record, read_file
from elara.collect.report import (
    coverage,
    coverage_figure,
    left_out,
    outcome_table,
    per_licence,
    per_source,
    removed_table,
    specialty_figure,
    summary,
)
from elara.collect.topics import african_batches, african_health, load_searches, load_topics
