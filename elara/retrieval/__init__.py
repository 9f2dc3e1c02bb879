"""Find the passages of the clean articles that bear on a question, and tie an answer to them."""

from elara.retrieval.citing import CitationFilter, Sentence, sources_prompt, support
from elara.retrieval.index import build_index
from elara.retrieval.passages import Passage, passages
from elara.retrieval.search import Hit, Index, current_index, open_index

__all__ = [
    "CitationFilter",
    "Hit",
    "Index",
    "Passage",
    "Sentence",
    "build_index",
    "current_index",
    "open_index",
    "passages",
    "sources_prompt",
    "support",
]
