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

from elara.workspace.drafts import WorkspaceError
from elara.workspace.workspace import Workspace

LIST = "retractions.csv"
# An article is named by any of these; "" where it is not known. The id of an article of PubMed or
# PMC follows from its number, so that all names have one form with these before them.
_PREFIXES = {"pmid": "pubmed:", "pmcid": "pmc:", "doi": "doi:", "article_id": ""}
KEYS = tuple(_PREFIXES)
SCHEMA = dict.fromkeys((*KEYS, "reason", "source", "date"), pl.String)
# What is known of an article itself.
NAMES = dict.fromkeys(("id", "title", *KEYS[:3]), pl.String)

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
    "source": "Record ID",
}


def typed(names: Iterable[str], reason: str, date: str) -> pl.DataFrame:
    """Rows for articles that somebody named.

    Args:
        names: PMIDs, PMC ids or DOIs, with or without their usual prefix, or ids of articles.
        reason: why they are retracted.
        date: when that was said, ISO 8601.

    Returns:
        A table as `read_watch` gives it.

    Raises:
        WorkspaceError: one of the names is none of these.
    """
    told = {"reason": reason, "source": "elara retract", "date": date, "nature": "retraction"}
    rows = [dict.fromkeys(KEYS, "") | _named(name) | told for name in names]
    return pl.DataFrame(rows, schema=SCHEMA | {"nature": pl.String})


def _named(text: str) -> dict[str, str]:
    for key, form in _FORMS.items():
        if match := form.fullmatch(text.strip()):
            usual = {"pmcid": match[1].upper(), "doi": match[1].lower()}
            return {key: usual.get(key, match[1])}
    raise WorkspaceError(
        f"{text!r} names no article: give a PMID (12345678), a PMC id (PMC1234567), a DOI "
        "(10.1000/abc) or the id of an article (medquad:0000123-1). Nothing was changed."
    )


def read_list(workspace: Workspace) -> pl.DataFrame:
    """The articles that a workspace leaves out because they were retracted.

    Args:
        workspace: the workspace.

    Returns:
        A table with the columns of `SCHEMA`; without rows where nothing was retracted.

    Raises:
        WorkspaceError: the list is no CSV file with at least one of the columns `KEYS`.
    """
    path, empty = workspace.root / LIST, pl.DataFrame(schema=SCHEMA)
    found = _csv(path) if path.exists() else empty
    if not set(KEYS) & set(found.columns):
        raise WorkspaceError(
            f"{path} has none of the columns {', '.join(KEYS)}: correct its first line, or "
            "move the file away and retract the articles again."
        )
    return pl.concat([empty, found], how="diagonal").select(*SCHEMA).fill_null("")


def read_watch(path: Path) -> pl.DataFrame:
    """Read a CSV file in Retraction Watch's public columns.

    Args:
        path: the file.

    Returns:
        The columns of `SCHEMA`, and `nature`: `retraction`, `reinstatement` or something else,
        and `unnamed` where a row has no PMID and no DOI.

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
    rows = found.select(**{name: pl.col(told).str.strip_chars() for name, told in _WATCH.items()})
    day = pl.col("date").str.extract(r"^(\S+)").str.to_date("%m/%d/%Y", strict=False)
    rows = rows.with_columns(
        pl.col("pmid").str.extract(r"^([1-9]\d*)$"),
        pl.col("doi").str.to_lowercase().str.extract(r"(10\.\d{4,9}/\S+)$"),
        pl.col("nature").str.to_lowercase(),
        pl.col("reason").str.replace_all(r"(^|;)\s*\+?", "; ").str.strip_chars("; "),
        source="Retraction Watch, record " + pl.col("source"),
        date=day.dt.to_string("%Y-%m-%d"),
    )
    bare = pl.col("pmid").is_null() & pl.col("doi").is_null()
    rows = rows.with_columns(nature=pl.when(bare).then(pl.lit("unnamed")).otherwise("nature"))
    return pl.concat([pl.DataFrame(schema=SCHEMA), rows], how="diagonal").fill_null("")


def merged(known: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """A list with further retractions, and without the papers that were reinstated later.

    Args:
        known: the list so far, which keeps its rows and their order.
        new: a table as `read_watch` gives it. Its retractions are added, unless one of their names
            is there already; its reinstatements take away what was retracted no later.
    """
    rows = pl.concat([known, new.filter(nature="retraction").select(*SCHEMA)]).with_row_index("row")
    names = _names(rows, "row", "date")
    again = names.filter(~pl.col("name").is_first_distinct(), pl.col("row") >= known.height)
    back = _names(new.filter(nature="reinstatement"), until="date")
    no_later = (pl.col("until") == "") | (pl.col("date") <= pl.col("until"))
    gone = names.join(back, on="name").filter(no_later)
    for left_out in (again, gone):
        rows = rows.join(left_out, on="row", how="anti", maintain_order="left")
    return rows.select(*SCHEMA)


def listed(rows: pl.DataFrame, articles: pl.DataFrame) -> pl.DataFrame:
    """Find the articles that a list names.

    Args:
        rows: with the columns of `SCHEMA`.
        articles: with `id`, `pmid`, `pmcid` and `doi`.

    Returns:
        The `id` of each of these articles beside the row of the list that names it; where several
        do, all of them in the list's order.
    """
    numbered = rows.with_row_index("row")
    here = _names(articles.with_columns(article_id="id"), "id")
    pairs = here.join(_names(numbered, "row"), on="name").select("id", "row").unique()
    return pairs.join(numbered, on="row").sort("id", "row").drop("row")


def _names(rows: pl.DataFrame, *columns: str, **named: str) -> pl.DataFrame:
    """Every name of every row, beside some of its columns."""
    forms = [prefix + pl.col(key) for key, prefix in _PREFIXES.items()]
    each = rows.select(*columns, name=pl.concat_list(forms), **named).explode("name")
    each = each.with_columns(pl.col("name").str.to_lowercase())
    return each.filter(pl.col("name").str.contains(":.")).unique(maintain_order=True)


def collected(workspace: Workspace) -> pl.DataFrame:
    """The articles that a workspace collected, by their `NAMES`; none where nothing was."""
    path = workspace.folder("collect") / "articles.parquet"
    return pl.read_parquet(path, columns=[*NAMES]) if path.exists() else pl.DataFrame(schema=NAMES)


def completed(rows: pl.DataFrame, workspace: Workspace) -> pl.DataFrame:
    """The list with the id of every article that it names, by which adapters know it.

    A record that stands for a listed article, since inspect found that they are the same, gets a
    row of its own.

    Args:
        rows: with the columns of `SCHEMA`.
        workspace: whose articles.
    """
    found = listed(rows, collected(workspace))
    path = workspace.folder("inspect") / "removed.parquet"
    if path.exists():
        # Nearly the same text is another article's; inspect keeps that one, too.
        stands = (pl.col("kept_id") != "") & (pl.col("reason") != "near_duplicate")
        same = pl.read_parquet(path).filter(stands).select("id", "kept_id")
        why = "the same article as " + pl.col("id") + ": " + pl.col("reason")
        copies = found.join(same, on="id").with_columns(reason=why, id="kept_id")
        found = pl.concat([found, copies.select(*found.columns)])
    found = found.filter(~pl.col("id").is_in(rows["article_id"].implode()))
    more = found.unique("id", keep="first", maintain_order=True).with_columns(article_id="id")
    # A row without an id is replaced by those that have one.
    bare = rows.filter(article_id="").join(more, on=KEYS[:3], how="semi")
    return pl.concat([rows.join(bare, on=[*SCHEMA], how="anti"), more.select(*SCHEMA)])


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
