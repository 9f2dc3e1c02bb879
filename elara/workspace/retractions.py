"""Keep a workspace's list of retracted articles, and find the articles that it names.

The list is `retractions.csv` in the workspace's folder, one row per article, for people to read
and to edit: a row that is deleted retracts nothing any more.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from elara.workspace.drafts import WorkspaceError, write_atomically, writing_to
from elara.workspace.workspace import Workspace

LIST = "retractions.csv"
# An article is named by any of these; "" where it is not known.
KEYS = ("pmid", "pmcid", "doi", "article_id")
NAMES = dict.fromkeys(["id", "title", "pmid", "pmcid", "doi"], pl.String)
# The id of an article of PubMed or PMC follows from its number.
_IDS = pl.concat_list("article_id", "pubmed:" + pl.col("pmid"), "pmc:" + pl.col("pmcid"))
SCHEMA = dict.fromkeys((*KEYS, "reason", "source", "date"), pl.String)

_FORMS = {
    "pmid": re.compile(r"(?:pmid:? ?|pubmed:)?([1-9]\d{0,8})", re.IGNORECASE),
    "pmcid": re.compile(r"(?:pmcid:? ?|pmc:)?(PMC[1-9]\d{0,8})", re.IGNORECASE),
    "doi": re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:? ?)?(10\.\d{4,9}/\S+)", re.IGNORECASE),
    "article_id": re.compile(r"(?!(?:pmid|pmcid|doi|https?):)(\w[\w.-]*:\S.*)", re.IGNORECASE),
}
# Retraction Watch's columns, https://gitlab.com/crossref/retraction-watch-data (its README).
_WATCH = {
    "pmid": "OriginalPaperPubMedID",
    "doi": "OriginalPaperDOI",
    "nature": "RetractionNature",
    "reason": "Reason",
    "date": "RetractionDate",
    "record": "Record ID",
}


def named(text: str) -> dict[str, str]:
    """Read what somebody typed as the name of an article.

    Args:
        text: a PMID, PMC id or DOI, with or without its usual prefix, or the id of an article.

    Returns:
        The key of the list that it belongs to, and its value.

    Raises:
        WorkspaceError: it is none of these.
    """
    for key, form in _FORMS.items():
        if match := form.fullmatch(text.strip()):
            usual = {"pmcid": match[1].upper(), "doi": match[1].lower()}
            return {key: usual.get(key, match[1])}
    raise WorkspaceError(
        f"{text!r} names no article: give a PMID (12345678), a PMC id (PMC1234567), a DOI "
        "(10.1000/abc) or the id of an article (medquad:0000123-1). Nothing was changed."
    )


def typed(names: Iterable[str], reason: str, date: str) -> pl.DataFrame:
    """Rows for articles that somebody named.

    Args:
        names: see `named`.
        reason: why they are retracted.
        date: when that was said, ISO 8601.

    Raises:
        WorkspaceError: see `named`.
    """
    empty = dict.fromkeys(SCHEMA, "")
    told = {"reason": reason, "source": "elara retract", "date": date}
    return pl.DataFrame([empty | told | named(name) for name in names], schema=SCHEMA)


def read_list(workspace: Workspace) -> pl.DataFrame:
    """The articles that a workspace leaves out because they were retracted.

    Args:
        workspace: the workspace.

    Returns:
        A table with the columns of `SCHEMA`; without rows where nothing was retracted.

    Raises:
        WorkspaceError: the list is no CSV file with at least one of the columns `KEYS`.
    """
    path = workspace.root / LIST
    if not path.exists():
        return pl.DataFrame(schema=SCHEMA)
    found = _csv(path)
    if not set(KEYS) & set(found.columns):
        raise WorkspaceError(
            f"{path} has none of the columns {', '.join(KEYS)}: correct its first line, or "
            "move the file away and retract the articles again."
        )
    empty = [pl.lit("").alias(name) for name in SCHEMA if name not in found.columns]
    return found.with_columns(empty).select(*SCHEMA)


def write_list(workspace: Workspace, rows: pl.DataFrame) -> None:
    """Replace the list, whole or not at all.

    Args:
        workspace: the workspace.
        rows: with the columns of `SCHEMA`.

    Raises:
        WorkspaceError: the file cannot be written.
    """
    with writing_to(workspace.root):
        write_atomically(workspace.root / LIST, rows.select(*SCHEMA).write_csv())


def read_watch(path: Path) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Read a CSV file in Retraction Watch's public columns.

    Args:
        path: the file.

    Returns:
        Rows of the list for the retracted papers; for those that were reinstated, at their `date`;
        and for what is of another nature, which `reason` names, or without a PMID and DOI.

    Raises:
        WorkspaceError: it cannot be read, or lacks a column.

    Source: https://gitlab.com/crossref/retraction-watch-data
    """
    found = _csv(path)
    if missing := [name for name in _WATCH.values() if name not in found.columns]:
        raise WorkspaceError(
            f"{path} lacks the columns {', '.join(missing)}: give a file with the public columns "
            "of Retraction Watch. Nothing was changed."
        )
    text = {name: pl.col(column).str.strip_chars() for name, column in _WATCH.items()}
    reasons = text["reason"].str.replace_all(r"(^|;)\s*\+?", "; ").str.strip_chars("; ")
    day = text["date"].str.extract(r"^(\S+)").str.to_date("%m/%d/%Y", strict=False)
    rows = found.select(
        pmid=pl.when(text["pmid"].str.contains(r"^[1-9]\d*$")).then(text["pmid"]),
        pmcid=pl.lit(""),
        doi=text["doi"].str.to_lowercase().str.extract(r"(10\.\d{4,9}/\S+)$"),
        article_id=pl.lit(""),
        reason=reasons,
        source="Retraction Watch, record " + text["record"],
        date=day.dt.to_string("%Y-%m-%d"),
        nature=text["nature"].str.to_lowercase(),
    ).fill_null("")
    named = (pl.col("pmid") != "") | (pl.col("doi") != "")
    kinds = [named & (pl.col("nature") == kind) for kind in ("retraction", "reinstatement")]
    other = rows.filter(~pl.any_horizontal(kinds)).with_columns(
        reason=pl.concat_str("nature", "reason", separator=": ").str.strip_chars(": ")
    )
    retracted, reinstated = (rows.filter(kind).select(*SCHEMA) for kind in kinds)
    return retracted, reinstated, other.select(*SCHEMA)


def merged(known: pl.DataFrame, new: pl.DataFrame, reinstated: pl.DataFrame) -> pl.DataFrame:
    """A list with further rows, and without the papers that were reinstated later.

    Args:
        known: the list so far, which keeps its rows and their order.
        new: rows to add, unless one of their names is there already.
        reinstated: takes away what it names and was retracted no later.
    """
    more = new.with_row_index("row")
    again = [
        more.filter(pl.col(key) != "").filter(
            pl.col(key).is_in(known[key].implode()) | ~pl.col(key).is_first_distinct()
        )
        for key in KEYS
    ]
    more = more.join(pl.concat(again), on="row", how="anti")
    rows = pl.concat([known, more.select(*SCHEMA)]).with_row_index("row")
    back = reinstated.select(*KEYS, until="date")
    gone = [
        rows.filter(pl.col(key) != "")
        .join(back.select(key, "until"), on=key)
        .filter((pl.col("until") == "") | (pl.col("date") <= pl.col("until")))
        .select("row")
        for key in KEYS
    ]
    return rows.join(pl.concat(gone), on="row", how="anti").sort("row").select(*SCHEMA)


def listed(rows: pl.DataFrame, articles: pl.LazyFrame) -> pl.DataFrame:
    """Find the articles that a list names.

    Args:
        rows: with the columns of `SCHEMA`.
        articles: with `id`, `pmid`, `pmcid` and `doi`.

    Returns:
        The `id` of each of these articles beside the row of the list that names it; where several
        do, all of them in the list's order.
    """
    numbered = rows.with_row_index("row").lazy()
    pairs = []
    for key in KEYS:
        mine = pl.col("id" if key == "article_id" else key).str.to_lowercase()
        theirs = numbered.select("row", key=_IDS if key == "article_id" else pl.concat_list(key))
        theirs = theirs.explode("key").with_columns(pl.col("key").str.to_lowercase())
        known = articles.select("id", key=mine).filter(pl.col("key") != "")
        pairs.append(known.join(theirs, on="key").select("id", "row"))
    found = pl.concat(pairs).unique().join(numbered, on="row")
    return found.sort("id", "row").drop("row").collect()


def collected(workspace: Workspace) -> pl.LazyFrame:
    """The articles that a workspace collected, by their `NAMES`; none where nothing was."""
    path = workspace.folder("collect") / "articles.parquet"
    return pl.scan_parquet(path).select(*NAMES) if path.exists() else pl.LazyFrame(schema=NAMES)


def resolved(rows: pl.DataFrame, articles: pl.LazyFrame) -> pl.DataFrame:
    """The list with the id of each article that it names, by which adapters know it, too.

    Args:
        rows: with the columns of `SCHEMA`.
        articles: see `listed`.
    """
    known = listed(rows, articles).unique(KEYS, keep="first", maintain_order=True)
    ids = known.select(*KEYS, found="id")
    told = rows.join(ids, on=KEYS, how="left", maintain_order="left")
    named = pl.when(pl.col("article_id") == "").then(pl.col("found").fill_null(""))
    return told.with_columns(article_id=named.otherwise("article_id")).select(*SCHEMA)


def copies(workspace: Workspace, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows for the records that stand for a listed article, since inspect found them the same.

    Args:
        workspace: where inspect ran.
        rows: with the columns of `SCHEMA`, and the ids of the articles that were collected.
    """
    path = workspace.folder("inspect") / "removed.parquet"
    if not path.exists():
        return rows.clear()
    # Nearly the same text is another article's; inspect keeps that one, too.
    stands = (pl.col("kept_id") != "") & (pl.col("reason") != "near_duplicate")
    same = pl.read_parquet(path).filter(stands).select("id", "kept_id")
    found = rows.join(same, left_on="article_id", right_on="id")
    why = "the same article as " + pl.col("article_id") + ": " + pl.col("reason")
    empty = [pl.lit("").alias(name) for name in ("pmid", "pmcid", "doi")]
    return found.with_columns(*empty, reason=why, article_id="kept_id").select(*SCHEMA)


def _csv(path: Path) -> pl.DataFrame:
    """A CSV file as text, "" where a cell is empty; spreadsheets begin it with a mark."""
    try:
        data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        found = pl.read_csv(io.BytesIO(data), infer_schema=False, encoding="utf8-lossy")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise WorkspaceError(
            f"{path} cannot be read as CSV ({error}): correct it, or name another file. Nothing "
            "was changed."
        ) from error
    return found.fill_null("")
