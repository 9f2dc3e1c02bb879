"""Build the index of passages: an artefact that a manifest describes, whole or not there at all.

It is made of the clean articles, a part of them at a time, in a hidden folder that takes the place
of `retrieval/` when all is done. Vectors are kept in the workspace's `embeddings`, so that a run
that was interrupted goes on where it stopped. What an index holds is a copy: cleaning the articles
again changes nothing in it until it is built again.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from elara.model.embedding import PACKAGED, SentenceEncoder, Store, encoder_folder, load_encoder
from elara.records import Article, records, schema
from elara.retrieval.passages import WORDS, Passage, passages
from elara.retrieval.withheld import NAMES, read_columns, withheld
from elara.workspace import (
    MANIFEST,
    Workspace,
    WorkspaceError,
    content_digest,
    draft_folder,
    file_sha256,
    manifest_text,
    replace_folder,
    seal_holds,
    sealed,
    writing_to,
)
from elara.workspace.formats import file_entries, made_with
from elara.workspace.parameters import ParameterError

if TYPE_CHECKING:
    from lancedb.table import Table

FOLDER = "retrieval"
TABLE, ARTICLES, LEFT_OUT = "passages", "articles.parquet", "left_out.parquet"
LICENCES = ("redistributable", "any")
# Raise it when passages are cut, written or indexed in another way.
_FORM = 1
_BATCH = 256  # articles that are read at once
_CHUNK = 8192  # passages whose vectors are asked for at once
# From here on a graph is faster than looking at every vector: 20,000 take some 25 ms.
_EXACT = 20_000
_AGAIN = "Build the index again: `elara index`."

log = logging.getLogger(__name__)


def build_index(
    workspace: Workspace,
    *,
    licences: str = "redistributable",
    embedding_model: str | SentenceEncoder = PACKAGED,
    words: int = WORDS,
    prefixes: tuple[str | None, str | None] = (None, None),
) -> Path:
    """Make the clean articles of a workspace searchable by words and by meaning.

    Nothing is done where the index is what it would become. Two passages of one index with the
    same text have one vector, and a vector that is kept is not computed again.

    Args:
        workspace: where stage clean has finished.
        licences: `redistributable`: only articles that may be passed on; `any`: all of them.
            Retracted and blocked articles are left out in either case.
        embedding_model: see `elara.model.embedding.load_encoder`; or the model, once loaded.
        words: about how many a passage has. A vector reads its first 256 tokens, title and
            section included: what is beyond is found by its words only, and not counted.
        prefixes: what the model wants before a query and before a passage, such as `query: ` and
            `passage: `; None in the place of one: what its own settings say.

    Returns:
        The folder `retrieval` of the workspace: the LanceDB table `passages`, articles.parquet,
        left_out.parquet (article_id, reason: `retracted`, `blocked`, `not_redistributable` or
        `no_text`) and manifest.json.

    Raises:
        ParameterError: a value cannot be used.
        ModelError: the embedding model cannot be loaded.
        WorkspaceError: stage clean has not finished or its table cannot be read, no passage is
            left, the folder cannot be written, or another process is building.
    """
    if licences not in LICENCES:
        raise ParameterError(f"`licences` is {licences!r}: write {' or '.join(LICENCES)}.")
    if words < 1:
        raise ParameterError(f"`words` is {words}: a passage has at least one.")
    workspace.must_exist()
    clean = workspace.manifest("clean")["identity"]
    source = workspace.folder("clean") / "articles.parquet"
    model, (query, passage) = embedding_model, prefixes
    encoder = named_encoder(model) if isinstance(model, str) else model
    encoder = replace(
        encoder,
        query=encoder.query if query is None else query,
        passage=encoder.passage if passage is None else passage,
    )
    out = withheld(workspace, read_columns(source, NAMES))
    asked = {
        "form": _FORM,
        "parameters": {
            "licences": licences,
            "words": words,
            "query_prefix": encoder.query,
            "passage_prefix": encoder.passage,
        },
        "inputs": {"clean": clean, "withheld": content_digest(out)},
        "encoder": encoder.identity,
        "embedding_model": encoder.name,
    }
    final, logs = workspace.root / FOLDER, workspace.root / "logs"
    with (
        writing_to(final),
        draft_folder(
            workspace.root / f".{FOLDER}.partial", logs / "index.lock", "`elara index`"
        ) as draft,
    ):
        if _stands(final, asked):
            return final
        builder = _Builder(draft, encoder, Store(encoder, workspace.root / "embeddings"))
        started = time.time()
        counts = builder.build(source, out, licences, words)
        if not counts["passages"]:
            why = ", ".join(f"{n:,} {reason}" for reason, n in counts["left_out"].items())
            raise WorkspaceError(
                f"No article in {source} can be indexed ({why or 'it has no rows'}), so no index "
                "was made. Collect articles that may be passed on, or use `licences` any "
                f"(`{workspace.command('index', '--licences any')}`)."
            )
        _seal(draft, asked, builder.content, counts, started)
        replace_folder(draft, final)
    return final


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an index whose files are all there.

    Args:
        folder: the folder of the index.

    Raises:
        WorkspaceError: there is none, or a file is missing, too short or too long.
    """
    manifest = read_sealed(folder)
    for name, entry in manifest["files"].items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != entry["bytes"]:
            what = "was changed" if file.exists() else "is missing"
            raise WorkspaceError(f"{file} {what}. {_AGAIN}")
    return manifest


def read_sealed(folder: Path) -> dict[str, Any]:
    """The manifest of an index, whatever became of the files that it names.

    Args:
        folder: the folder of the index.

    Raises:
        WorkspaceError: there is none, or it was changed.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WorkspaceError(f"There is no index in {folder}: no {MANIFEST}. {_AGAIN}") from None
    except (OSError, ValueError) as error:
        raise WorkspaceError(f"{path} cannot be read ({error}). {_AGAIN}") from error
    if not isinstance(manifest, dict) or not seal_holds(manifest):
        raise WorkspaceError(f"{path} was changed. {_AGAIN}")
    return manifest


def told(folder: Path) -> Iterator[str]:
    """What an index holds and what it does not, for people.

    Args:
        folder: of the index.

    Raises:
        WorkspaceError: see `read_manifest`.
    """
    manifest = read_manifest(folder)
    counts = manifest["counts"]
    yield (
        f"{counts['passages']:,} passages of {counts['articles']:,} articles "
        f"({manifest['parameters']['licences']}) in {folder}"
    )
    yield f"Embedding model {manifest['embedding_model']}, index {manifest['identity'][:12]}"
    if left := counts["left_out"]:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in left.items())
        yield f"Left out: {reasons}; each with its reason in {folder / LEFT_OUT}"


def named_encoder(name: str) -> SentenceEncoder:
    """The embedding model of an index.

    Args:
        name: see `elara.model.embedding.load_encoder`; not empty.

    Raises:
        ParameterError: it is empty.
        ModelError: the model cannot be loaded.
    """
    if not name:
        raise ParameterError(
            f"`embedding_model` is empty: name the packaged `{PACKAGED}`, a folder or a hub id."
        )
    folder = Path(name).expanduser()
    if name != PACKAGED and folder.is_dir():
        packaged = encoder_folder()
        # A folder keeps its name whatever directory the index is opened from, and the packaged
        # model has one name: its limits hold wherever it was found.
        same = packaged is not None and packaged.exists() and folder.samefile(packaged)
        name = PACKAGED if same else str(folder.resolve())
    encoder = load_encoder(name)
    assert encoder is not None
    return encoder


def _stands(folder: Path, asked: dict[str, Any]) -> bool:
    """Whether an index is what it would become; why it is not, is logged where it is damaged."""
    if not folder.exists():
        return False
    try:
        manifest = read_manifest(folder)
    except WorkspaceError as error:
        log.warning("the index is built again: %s", error)
        return False
    if {name: manifest.get(name) for name in asked} != asked:
        return False
    for name, entry in manifest["files"].items():
        if file_sha256(folder / name) != entry["sha256"]:
            log.warning("the index is built again: %s was changed", folder / name)
            return False
    return True


class _Builder:
    """Fills a folder with the parts of an index.

    Args:
        folder: an empty one.
        encoder: gives the vectors.
        store: keeps them.
    """

    def __init__(self, folder: Path, encoder: SentenceEncoder, store: Store) -> None:
        self._folder, self._encoder, self._store = folder, encoder, store
        self._table: Table | None = None
        self._content = hashlib.sha256()

    @property
    def content(self) -> str:
        """The hash of all passages in their order; LanceDB's own files differ at each build."""
        return self._content.hexdigest()

    def build(self, source: Path, out: dict[str, str], licences: str, words: int) -> dict[str, Any]:
        """Write tables and indices.

        Args:
            source: the clean articles.
            out: the articles to leave out, and why.
            licences: see `build_index`.
            words: see `build_index`.

        Returns:
            How many `articles` and `passages` it holds, and how many articles are `left_out` for
            each reason.
        """
        left: list[tuple[str, str]] = []
        waiting: list[Passage] = []
        number = indexed = 0
        columns = pl.DataFrame(schema=schema(Article)).to_arrow().schema
        with pq.ParquetWriter(self._folder / ARTICLES, columns, compression="zstd") as kept:
            for batch in _articles(source):
                keep = []
                for article in records(batch, Article):
                    why = _why_not(article, out, licences)
                    cut = [] if why else [*passages(article, words)]
                    waiting += cut
                    keep.append(bool(cut))
                    if not cut:
                        left.append((article.id, why or "no_text"))
                kept.write_table(batch.filter(pl.Series(keep)).to_arrow().cast(columns))
                indexed += sum(keep)
                if len(waiting) >= _CHUNK:
                    number += self._add(waiting)
                    waiting = []
        number += self._add(waiting)
        names = pl.DataFrame(left, {"article_id": pl.String, "reason": pl.String}, orient="row")
        names.write_parquet(self._folder / LEFT_OUT, compression="zstd")
        self._index(number)
        reasons = Counter(reason for _, reason in left)
        return {"articles": indexed, "passages": number, "left_out": dict(sorted(reasons.items()))}

    def _add(self, found: list[Passage]) -> int:
        """Store passages with their vectors."""
        if not found:
            return 0
        texts = [passage.in_context for passage in found]
        vectors = self._store.vectors([self._encoder.passage + t for t in texts], "passages")
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)  # they are kept in half precision
        rows = [asdict(passage) for passage in found]
        for row in rows:
            self._content.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        width = vectors.shape[1]
        values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), width)
        table = pa.Table.from_pylist(rows, schema=_columns())
        table = table.append_column("words", pa.array(texts)).append_column("vector", values)
        if self._table is None:
            import lancedb

            self._table = lancedb.connect(self._folder).create_table(TABLE, schema=table.schema)
        self._table.add(table)
        return len(rows)

    def _index(self, number: int) -> None:
        """Index words, and vectors where looking at all of them would take too long."""
        from lancedb.index import FTS, HnswSq

        if self._table is None:
            return
        # Segmentation by ICU also finds the words of scripts without blanks.
        self._table.create_index("words", config=FTS(base_tokenizer="icu"))
        if number > _EXACT:
            self._table.create_index("vector", config=HnswSq(distance_type="cosine"))
        # Earlier states of the table; nobody else has it open yet.
        brief = datetime.timedelta(milliseconds=1)
        self._table.optimize(cleanup_older_than=brief, delete_unverified=True)


def _columns() -> pa.Schema:
    """The columns of the table that hold a passage."""
    kinds = {str: pa.string(), int: pa.int64()}
    hints = get_type_hints(Passage)
    return pa.schema(
        [
            (name, pa.list_(kinds[get_args(hint)[0]]) if get_args(hint) else kinds[hint])
            for name, hint in hints.items()
        ]
    )


def _articles(source: Path) -> Iterator[pl.DataFrame]:
    """The clean articles, some at a time."""
    names = list(schema(Article))
    try:
        # A buffer ahead would keep what was read until the file's end.
        with pq.ParquetFile(source, pre_buffer=False) as parquet:
            for batch in parquet.iter_batches(batch_size=_BATCH, columns=names):
                table = pl.DataFrame(pl.from_arrow(batch))
                yield table.select(names).cast(schema(Article))  # type: ignore[arg-type]
    except (pa.ArrowException, OSError, pl.exceptions.PolarsError) as error:
        raise WorkspaceError(
            f"{source} cannot be read as a table of articles ({error}): run stage clean again "
            "(`elara run --only clean --force`)."
        ) from error


def _why_not(article: Article, out: dict[str, str], licences: str) -> str:
    """Why an article is left out; "" where it is not."""
    if article.retracted:
        return "retracted"
    if article.id in out:
        return out[article.id]
    return "" if licences == "any" or article.redistributable else "not_redistributable"


def _seal(
    folder: Path, asked: dict[str, Any], content: str, counts: dict[str, Any], started: float
) -> None:
    """Write the manifest, which is what makes the folder an index."""
    same = {**asked, "content": content, "counts": counts}
    manifest = {
        **same,
        # By what name the model is loaded decides nothing.
        "identity": content_digest({k: v for k, v in same.items() if k != "embedding_model"}),
        "files": file_entries(folder),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(time.time() - started, 1),
        **made_with(),
    }
    (folder / MANIFEST).write_text(manifest_text(sealed(manifest)), encoding="utf-8")
