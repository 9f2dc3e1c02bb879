"""Write the card and the licences that travel with a data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import polars as pl

import elara
from elara.audit.card import shown_name
from elara.workspace.parameters import ONCE

NAME = "Medical questions and answers, made with Elara"
# Licences by the names that a hub knows; it calls any other one `other`.
# Source: https://huggingface.co/docs/hub/repositories-licenses
HUB_LICENCES = {
    **{f"CC-BY-{v}": f"cc-by-{v}" for v in ("2.0", "2.5", "3.0", "4.0")},
    **{f"CC-BY-SA-{v}": f"cc-by-sa-{v}" for v in ("3.0", "4.0")},
    "CC0-1.0": "cc0-1.0",
}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_MOST_LISTED = 200  # works that the card lists itself
_MOST_AUTHORS = 3
_READ = 50_000  # articles that are read at a time


def dataset_card(
    index: pl.DataFrame,
    works: Sequence[str],
    *,
    formats: Mapping[str, str],
    features: Mapping[str, list[dict[str, Any]]],
    counts: Mapping[str, Mapping[str, int]],
    left_out: pl.DataFrame,
    parameters: Mapping[str, Any],
    contamination: str = "",
) -> str:
    """The card of a data set, with the header from which a hub learns what it shows.

    Args:
        index: of the `Examples` that it holds.
        works: from `attribution`.
        formats: name of a format to what its rows hold.
        features: name of a format to its columns.
        counts: name of a format to split to rows; splits without rows are absent.
        left_out: rows that were left out: format and reason.
        parameters: what the stage ran with.
        contamination: what the comparison with test sets found; "" where there was none.

    Returns:
        Markdown that begins with YAML between two lines of dashes.

    Source: https://huggingface.co/docs/hub/datasets-cards
    """
    import jinja2

    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    text = templates.get_template("datacard.md").render(
        name=NAME,
        elara=elara.__version__,
        total=f"{index.height:,}",
        formats=formats,
        other_formats=" or ".join(f'"{name}"' for name in list(formats)[1:]),
        splits=list(counts["messages"]),
        counts=counts,
        sources=_sources(index).to_dicts(),
        described=_described(index),
        licences=_counted(index, "licence"),
        parameters=_shown(parameters),
        contamination=contamination,
        left_out=left_out.group_by("format", "reason").len().sort("format", "reason").to_dicts(),
        attribution=works,
        most_listed=_MOST_LISTED,
    )
    return f"---\n{_header(index, features, counts)}\n---\n\n{text}"


def _shown(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Parameters for readers: no folder of the machine that made the set."""
    shown = {name: value for name, value in parameters.items() if name not in ONCE}
    if "base_model" in shown:
        shown["base_model"] = shown_name(shown["base_model"])
    return {name: _cell(value) for name, value in shown.items()}


def _header(
    index: pl.DataFrame,
    features: Mapping[str, list[dict[str, Any]]],
    counts: Mapping[str, Mapping[str, int]],
) -> str:
    from huggingface_hub import DatasetCardData

    licences = index["licence"].unique().sort().to_list()
    known = HUB_LICENCES.get(licences[0]) if len(licences) == 1 else None
    named = "several-see-license-md" if len(licences) > 1 else licences[0].lower()
    more: dict[str, Any] = {"license_name": named, "license_link": "LICENSE.md"}
    more = {} if known else more
    more["configs"] = [_config(name, splits) for name, splits in counts.items() if splits]
    more["dataset_info"] = [
        {"config_name": name, "features": features[name]} for name in counts if counts[name]
    ]
    header = DatasetCardData(
        pretty_name=NAME,
        language=index["language"].unique().sort().to_list(),
        license=known or "other",
        size_categories=next((s for n, s in _SIZES if index.height < n), "1M<n<10M"),
        task_categories=["question-answering", "text-generation"],
        tags=["medical", "education", "elara"],
        **more,
    )
    return str(header)


def _config(name: str, splits: Mapping[str, int]) -> dict[str, Any]:
    files = [{"split": split, "path": f"{name}/{split}.jsonl"} for split in splits]
    return {"config_name": name, "data_files": files, "default": name == "messages"}


def _sources(index: pl.DataFrame) -> pl.DataFrame:
    return (
        index.group_by("source")
        .agg(
            articles=pl.col("article_id").n_unique(),
            examples=pl.len(),
            licences=pl.col("licence").unique().sort(),
        )
        .sort("source")
    )


def _counted(index: pl.DataFrame, column: str) -> list[tuple[Any, ...]]:
    return index.group_by(column).len().sort("len", column, descending=[True, False]).rows()


def _described(index: pl.DataFrame) -> list[tuple[Any, Any]]:
    """Languages and specialties side by side."""
    columns = (_counted(index, "language"), _counted(index, "specialty"))
    return list(zip_longest(*columns, fillvalue=("", "")))


def attribution(index: pl.DataFrame, articles: pl.DataFrame | pl.LazyFrame) -> list[str]:
    """A line for each work whose licence asks that it be named.

    Args:
        index: of the `Examples` of a data set.
        articles: the clean articles behind them; they may be scanned.

    Returns:
        Markdown: title, authors, where it appeared, address, licence; sorted.
    """
    asking = index.filter(pl.col("licence").cast(pl.String).str.starts_with("CC-BY"))
    columns = ("id", "title", "authors", "journal", "published", "url", "doi", "licence")
    wanted = pl.col("id").is_in(asking["article_id"].unique().implode())
    scanned, lines = articles.lazy().select(columns), []
    for start in range(0, scanned.select(pl.len()).collect().item(), _READ):
        named = scanned.slice(start, _READ).filter(wanted).collect()
        lines += [_work(row) for row in named.iter_rows(named=True)]
    lines.sort()
    own = asking.filter(origin="curated")
    if own.height:
        lines.insert(0, f"{own.height} curated cases of Elara. {own['licence'][0]}")
    return lines


def _work(article: Mapping[str, Any]) -> str:
    authors = article["authors"][:_MOST_AUTHORS]
    more = " et al." if len(article["authors"]) > _MOST_AUTHORS else ""
    address = article["url"] or (f"https://doi.org/{article['doi']}" if article["doi"] else "")
    parts = [
        _cell(article["title"]),
        _cell(", ".join(authors)) + more,
        _cell(", ".join(filter(None, [article["journal"], article["published"][:4]]))),
        f"<{address}>" if address else _cell(article["id"]),
        article["licence"],
    ]
    return ". ".join(part.rstrip(".") for part in parts if part)


def _cell(value: Any) -> str:
    """A value as it can stand in a line of Markdown."""
    text = " ".join(str(value).split())
    return "".join(f"\\{c}" if c in "\\`*_[]|<" else c for c in text)


def licence_lines(index: pl.DataFrame, works: Sequence[str]) -> Iterator[str]:
    """What `LICENSE.md` says: which licences meet in a data set, and whom to name.

    Args:
        index: of the `Examples` that it holds.
        works: from `attribution`.
    """
    yield "# Licences\n"
    yield "This data set holds text by others. Elara grants no licence of its own: the column"
    yield "`licence` of each row says which one applies to it.\n"
    yield "| licence | examples |\n|---|---:|"
    yield from (f"| {name} | {number} |" for name, number in _counted(index, "licence"))
    yield "\nLicences that begin with `CC-BY` ask you to name the work, its authors and its licence"
    yield "and to say what was changed: passages were shortened and put behind questions, and a"
    yield "caution was added where one names a drug or a dose. Licences that begin with"
    yield "`CC-BY-SA` also ask you to pass the text on under the same licence only. The licences"
    yield "are at https://creativecommons.org/licenses/.\n"
    yield "## Works to name\n"
    yield from (f"- {line}" for line in works or ["none"])
