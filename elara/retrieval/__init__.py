"""Find the passages of the clean articles that an answer can be built on and checked against."""

from elara.retrieval.index import build_index
from elara.retrieval.passages import Passage, passages
from elara.retrieval.search import Hit, Index, open_index
