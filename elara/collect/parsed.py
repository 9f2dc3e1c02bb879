"""Define what every reader of this room returns: one `Parsed` per raw record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from elara.records import Article

# The reason of a record with status `deletion`.
WITHDRAWS = "DeleteCitation: the source withdraws this PMID"


class Dropped(NamedTuple):
    """A piece of a record that is not in the article: the last columns of `Removal`, which says
    what they hold."""

    block: str
    words: str
    reason: str


@dataclass(slots=True, kw_only=True)
class Parsed:
    """What a parser makes of one raw record, or of a whole file that holds none.

    Args:
        record: position of the record in its file, or -1 for the whole file.
        native_id: the source's own id, where one could be read.
        status: `article`, `skipped`, `error`, or `deletion` when the source withdraws the
            PubMed record with this `native_id`.
        reason: why it was skipped or what went wrong.
        article: the article, for status `article`. An answer that belongs to another record's
            article has none and names that article in `article_id`.
        article_id: the article this record became or belongs to; that of `article` unless said.
        revision: among records of the same article and source the highest one is the newest.
        licence_stated: what the record says of its licence where that is none that Elara knows: a
            licence of its folder does not come in its place.
        retracts: the articles whose retraction this record announces, as `PMID 123`, `DOI 10.…` or
            `PMCID PMC…`.
        dropped: the pieces of the record that are not in the article.
        file: the raw file, relative to the folder it was read from; set by the caller.
    """

    record: int
    native_id: str = ""
    status: Literal["article", "skipped", "error", "deletion"] = "article"
    reason: str = ""
    article: Article | None = None
    article_id: str = ""
    revision: str = ""
    licence_stated: str = ""
    retracts: list[str] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    file: str = ""

    def __post_init__(self) -> None:
        if self.article is not None and not self.article_id:
            self.article_id = self.article.id

    def remark(self, words: str) -> None:
        """Add to the reason, which may say something already.

        Args:
            words: what was decided and why; "" for nothing.
        """
        self.reason = "; ".join(filter(None, (self.reason, words)))
