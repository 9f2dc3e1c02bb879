"""Find the passages of an index that say something about a question.

Words find what is called by the same name, vectors what means the same. What was retracted or
blocked since the index was built is never returned: the lists are read again when they change.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, get_args

import polars as pl

from elara.model.embedding import PACKAGED, SentenceEncoder, load_encoder
from elara.records import Article, records
from elara.retrieval.index import (
    ARTICLES,
    FOLDER,
    TABLE,
    build_index,
    named_encoder,
    read_manifest,
    read_sealed,
)
from elara.retrieval.passages import Passage
from elara.retrieval.withheld import NAMES, file_state, lists, read_columns, withheld
from elara.text.topics import specialties
from elara.workspace import MANIFEST, Workspace, WorkspaceError
from elara.workspace.parameters import ParameterError, unknown_names

if TYPE_CHECKING:
    from lancedb.table import Table

How = Literal["vectors", "words", "both"]

# Source: Cormack, Clarke, Buettcher, "Reciprocal rank fusion outperforms Condorcet and individual
# rank learning methods", SIGIR 2009
_FUSED = 60
_HALF = 10.0  # the BM25 score that counts as one half
_SPARE = 10  # passages that are asked for beyond `k`, in case some may not be shown
_COLUMNS = [field.name for field in fields(Passage)]
_VISITED = 200  # nodes of the graph that are kept in sight: more find more and take longer

_Found = TypeVar("_Found")
# A passage, and how well it fits.
_Row = tuple[dict[str, Any], float]
# Passages below are about something else, so a question on another subject often gets none: 8 of 20
# still do (benchmarks/retrieval.py). For the packaged model only: others have another scale.
LEAST = 0.25


@dataclass(frozen=True)
class Hit:
    """A passage that was found.

    Args:
        passage: the passage.
        score: how well it fits, 0 to 1: the cosine of two vectors; for words, BM25 mapped to that
            range; for both, the share of the score of a passage that comes first in both lists.
    """

    passage: Passage
    score: float


@dataclass(frozen=True)
class _Opened:
    """What was read of the index that stands in the folder.

    Args:
        state: of its manifest's file.
        manifest: what describes it.
        names: how its articles are known.
        ids: their ids.
        table: its passages.
    """

    state: tuple[int, ...]
    manifest: dict[str, Any]
    names: pl.DataFrame
    ids: frozenset[str]
    table: Table


class Index:
    """An index to search in; made by `open_index`. Its methods may be called from several threads.

    One that is built again in the same folder takes its place, if it has the same licences and the
    same model.

    Args:
        folder: where it is.
        encoder: the model that its vectors come from.

    Attributes:
        encoder: as given.
        licences: `redistributable` or `any`: what it was allowed to hold.
    """

    def __init__(self, folder: Path, encoder: SentenceEncoder) -> None:
        self.encoder = encoder
        self._folder = folder
        self._workspace = Workspace(folder.parent)
        self._lock = threading.Lock()
        self._opened = _opened(folder)
        self.licences: str = self._opened.manifest["parameters"]["licences"]
        self._read: tuple[Any, ...] = ()
        self._withheld: Collection[str] = ()

    @property
    def identity(self) -> str:
        """The hash of what it holds, whenever and wherever it was built."""
        return str(self._opened.manifest["identity"])

    @property
    def passages(self) -> int:
        """How many it holds."""
        return int(self._opened.manifest["counts"]["passages"])

    def search(
        self,
        query: str,
        k: int = 5,
        *,
        how: How = "vectors",
        topic: str = "",
        exclude: Collection[str] = (),
    ) -> list[Hit]:
        """The passages that fit a question best.

        Args:
            query: the question, as people ask it.
            k: how many to return; there are fewer where no others may be returned, where no
                others have any of the words, or where no others seem to bear on the question: by
                `vectors` of the packaged model, a cosine of at least `LEAST`.
            how: by `vectors`, by `words`, or by the ranks in `both`.
            topic: a specialty: only passages of articles that belong to it; "" for all.
            exclude: ids of articles of which none is returned.

        Returns:
            The best first.

        Raises:
            ParameterError: a value cannot be used.
            WorkspaceError: the list of retracted or of blocked articles cannot be read, or the
                index was damaged or removed, or replaced by one that does not fit.
        """
        if how not in get_args(How):
            raise ParameterError(f"`how` is {how!r}: write {', '.join(get_args(How))}.")
        if k < 1:
            raise ParameterError(f"`k` is {k}: at least one passage is asked for.")
        if topic and (wrong := unknown_names([topic], specialties().labels, "specialty")):
            raise ParameterError(wrong)
        if not query.strip():
            return []
        found = self._looked(
            exclude, lambda opened, out: self._best(opened, out, query, k, how, topic)
        )
        least = LEAST if how == "vectors" and self.encoder.name == PACKAGED else 0.0
        return [Hit(_passage(row), score) for row, score in found if score >= least]

    def article(self, article_id: str) -> Article | None:
        """An article as it was indexed.

        Args:
            article_id: its id.

        Returns:
            The article; None where it is not in the index, or was retracted or blocked.

        Raises:
            WorkspaceError: see `search`.
        """

        def read(opened: _Opened, out: frozenset[str]) -> Article | None:
            if article_id not in opened.ids or article_id in out:
                return None
            path = self._folder / ARTICLES
            rows = pl.scan_parquet(path).filter(pl.col("id") == article_id).collect()
            # It is not in the file where an index without it took the place of the open one.
            return records(rows, Article)[0] if rows.height else None

        return self._looked((), read)

    def _looked(
        self, exclude: Collection[str], look: Callable[[_Opened, frozenset[str]], _Found]
    ) -> _Found:
        """What a look into the index gives: another one where it was replaced meanwhile."""
        opened, out = self._now(exclude)
        while True:
            try:
                return look(opened, out)
            except (OSError, RuntimeError, ValueError, pl.exceptions.PolarsError) as error:
                again, out = self._now(exclude)
                if again is opened:
                    # LanceDB's message may repeat the query, which must not get into a log.
                    raise WorkspaceError(
                        f"The index in {self._folder} cannot be searched "
                        f"({type(error).__name__}): build it again with `elara index`."
                    ) from None
                opened = again

    def _now(self, exclude: Collection[str]) -> tuple[_Opened, frozenset[str]]:
        """The index as it stands, and its articles of which nothing may be returned."""
        with self._lock:
            if file_state(self._folder / MANIFEST) != self._opened.state:
                self._replace()
            states = (self._opened.state, *map(file_state, lists(self._workspace)))
            if states != self._read:
                self._withheld = withheld(self._workspace, self._opened.names).keys()
                self._read = states
            return self._opened, self._opened.ids.intersection([*self._withheld, *exclude])

    def _replace(self) -> None:
        """Open what was built in the place of the index, unless it may hold other things."""
        new = _opened(self._folder)
        for name in ("parameters", "encoder"):
            if new.manifest[name] != self._opened.manifest[name]:
                raise WorkspaceError(
                    f"The index in {self._folder} was replaced by one with other {name}: start "
                    "again what searches in it."
                )
        self._opened = new

    def _best(
        self, opened: _Opened, out: frozenset[str], query: str, k: int, how: How, topic: str
    ) -> list[_Row]:
        """The best passages, in one of the three ways."""
        if how != "both":
            return self._found(opened, out, query, k, how, topic)
        deep = max(4 * k, 50)
        ways = [self._found(opened, out, query, deep, by, topic) for by in ("vectors", "words")]
        return _fused(ways)[:k]

    def _found(
        self, opened: _Opened, out: frozenset[str], query: str, k: int, how: str, topic: str
    ) -> list[_Row]:
        """The best passages by vectors or by words."""
        asked: Any = query
        if how == "vectors":
            (asked,) = self.encoder.encode([self.encoder.query + query])
        conditions = [f"array_has(topics, '{topic}')"] if topic else []
        most = k + _SPARE
        rows = _rows(opened.table, asked, most, conditions)
        kept = [row for row in rows if row[0]["article_id"] not in out]
        if len(kept) < k and len(rows) == most:
            # Naming all of them takes longer, and is seldom needed.
            names = ", ".join("'" + name.replace("'", "''") + "'" for name in sorted(out))
            kept = _rows(opened.table, asked, k, [*conditions, f"article_id NOT IN ({names})"])
        return kept[:k]


def open_index(folder: Path, encoder: SentenceEncoder | None = None) -> Index:
    """Open an index that `build_index` left.

    Args:
        folder: `retrieval` of a workspace, whose lists of retracted and blocked articles hold.
        encoder: the embedding model, where it is loaded already.

    Raises:
        WorkspaceError: there is no index, a file of it is missing or was changed, or the embedding
            model is another than the one that it was built with.
        ModelError: the embedding model cannot be loaded.
    """
    manifest = read_manifest(folder)
    name, parameters = manifest["embedding_model"], manifest["parameters"]
    encoder = encoder or load_encoder(name)
    if encoder is None or encoder.identity != manifest["encoder"]:
        raise WorkspaceError(
            f"The embedding model {name} is not the one that the index in {folder} was built "
            "with: bring that one back, or build the index again with `elara index`."
        )
    prefixes = {"query": parameters["query_prefix"], "passage": parameters["passage_prefix"]}
    return Index(folder, replace(encoder, **prefixes))


def current_index(workspace: Workspace) -> Index:
    """Open the workspace's index of passages; it is built where it is missing or out of date.

    Args:
        workspace: where stage clean has finished. An index that is there keeps the licences, the
            length of passages and the embedding model that it was made with.

    Raises:
        WorkspaceError: see `build_index`.
        ModelError: see `build_index`.
    """
    made: dict[str, Any] = {}
    model = PACKAGED
    with contextlib.suppress(WorkspaceError):  # where it is damaged, `build_index` says so
        manifest = read_sealed(workspace.root / FOLDER)
        parameters, model = manifest["parameters"], manifest["embedding_model"]
        made = {name: parameters[name] for name in ("licences", "words")}
        made["prefixes"] = (parameters["query_prefix"], parameters["passage_prefix"])
    encoder = named_encoder(model)
    return open_index(build_index(workspace, embedding_model=encoder, **made), encoder)


def _opened(folder: Path) -> _Opened:
    """Read what stands in a folder."""
    import lancedb

    state = file_state(folder / MANIFEST)
    manifest = read_manifest(folder)
    names = read_columns(folder / ARTICLES, NAMES)
    try:
        table = lancedb.connect(folder).open_table(TABLE)
    except (OSError, RuntimeError, ValueError) as error:
        raise WorkspaceError(
            f"The index in {folder} cannot be read ({error}): build it again with `elara index`."
        ) from error
    return _Opened(state, manifest, names, frozenset(names["id"]), table)


def _rows(table: Table, asked: Any, most: int, conditions: list[str]) -> list[_Row]:
    """The best rows of a table for words, or for a vector."""
    if isinstance(asked, str):
        score = "_score"
        search: Any = table.search(asked, query_type="fts", fts_columns="words")
    else:
        score = "_distance"
        search = cast(Any, table.search(asked)).distance_type("cosine")
        # The graph's own distances are rough: twice as many are compared exactly.
        search = search.ef(max(_VISITED, 2 * most)).refine_factor(2)
    if conditions:
        search = search.where(" AND ".join(conditions), prefilter=True)
    found = search.limit(most).select([*_COLUMNS, score]).to_list()
    value = _from_bm25 if score == "_score" else _from_distance
    ranked = [(row, value(row.pop(score))) for row in found]
    # Equal ones in one order, whatever LanceDB's threads did.
    return sorted(ranked, key=lambda row: (-row[1], row[0]["id"]))


def _from_bm25(score: float) -> float:
    return score / (score + _HALF)


def _from_distance(distance: float) -> float:
    return min(1.0, max(0.0, 1 - distance))


def _fused(rankings: Iterable[list[_Row]]) -> list[_Row]:
    """Join rankings by what the rank in each is worth."""
    rows: dict[str, dict[str, Any]] = {}
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, (row, _) in enumerate(ranking):
            rows[row["id"]] = row
            worth = (_FUSED + 1) / (_FUSED + 1 + rank) / 2
            scores[row["id"]] = scores.get(row["id"], 0.0) + worth
    best = sorted(scores, key=lambda name: (-scores[name], name))
    return [(rows[name], scores[name]) for name in best]


def _passage(row: Mapping[str, Any]) -> Passage:
    return Passage(**{name: row[name] for name in _COLUMNS} | {"topics": tuple(row["topics"])})
