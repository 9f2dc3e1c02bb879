"""Show for each specialty how much was trained, how much was tested, and what came of it.

A specialty on which nothing was measured says "no evidence": neither good nor bad.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from elara.display.figures import BLUE, GREY, new_figure, plain
from elara.evaluate.forest import SOFT, difference_span, draw_difference, mark_legend
from elara.evaluate.scores import ENDPOINTS, PRIMARY, EvaluationError
from elara.evaluate.specialties import GENERAL, SPECIALTIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NO_EVIDENCE = "no evidence"
# What stands in the map: the endpoint, and how its column and its panel are called.
_MEASURES = {PRIMARY: "loss", "mention score": "mention", "accuracy": "letters"}
_TITLES = {
    "loss": "Answer loss\n(nats per token)",
    "mention": "Mention score\n(share of all points)",
    "letters": "Letters right\n(share of items)",
}
_NUMBERS = ("items", "clusters", "base", "adapter", "difference", "low", "high")
_TYPES = {"items": pl.Int64, "clusters": pl.Int64, "word": pl.String}


def coverage_and_reliability(
    train_counts: pl.DataFrame,
    comparisons: pl.DataFrame,
    mention: pl.DataFrame | None = None,
    letters: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Put training examples, test items and differences of every specialty side by side.

    Args:
        train_counts: columns specialty and examples.
        comparisons: `Judgement.comparisons` of answer losses.
        mention: the same of `judge(…, primary="mention score")`; None where no scenario was asked.
        letters: the same of `judge(…, primary="accuracy")`; None where no item was asked.

    Returns:
        One row for each of the 13 specialties and General, then one for each name that is none of
        these: specialty, examples (0 where none), and for each of `loss`, `mention` and `letters`
        the columns items, clusters, base, adapter, difference, low, high and word, as in
        `loss_items`. Nothing measured: no items, no other numbers, and the word "no evidence".

    Raises:
        EvaluationError: a table of counts or comparisons names a specialty twice.
    """
    given = {"loss": comparisons, "mention": mention, "letters": letters}
    tables = [_once(train_counts.select("specialty", "examples"), "The training counts")]
    for endpoint, name in _MEASURES.items():
        tables.append(_of(given[name], endpoint, name))
    rows = [*SPECIALTIES, GENERAL]
    rows += sorted({s for t in tables for s in t["specialty"]} - set(rows))
    found = pl.DataFrame({"specialty": rows})
    for table in tables:
        found = found.join(table, on="specialty", how="left", maintain_order="left")
    counts = ["examples", *(f"{name}_items" for name in _MEASURES.values())]
    words = [f"{name}_word" for name in _MEASURES.values()]
    return found.with_columns(pl.col(counts).fill_null(0), pl.col(words).fill_null(NO_EVIDENCE))


def _of(comparisons: pl.DataFrame | None, endpoint: str, name: str) -> pl.DataFrame:
    """The specialties' rows of one endpoint, their columns named for the map."""
    columns = (*_NUMBERS, "word")
    if comparisons is None:
        comparisons = pl.DataFrame(schema=dict.fromkeys(("endpoint", "specialty"), pl.String))
    rows = comparisons.filter(pl.col("endpoint") == endpoint, pl.col("specialty") != "")
    have = {c: pl.col(c) if c in rows.columns else pl.lit(None) for c in columns}
    taken = rows.select(
        "specialty",
        *(have[c].cast(_TYPES.get(c, pl.Float64)).alias(f"{name}_{c}") for c in columns),
    )
    return _once(taken, f"The comparisons of {endpoint}")


def _once(table: pl.DataFrame, what: str) -> pl.DataFrame:
    """A table by the specialties' own names; one that is named twice would count twice."""
    named = table.with_columns(pl.col("specialty").replace({"": "not stated"}))
    if (twice := named.filter(pl.col("specialty").is_duplicated())).height:
        raise EvaluationError(
            f"{what} name {twice['specialty'][0]} in {twice.height} rows: add up its rows first, "
            "or compare items that name it in one way only."
        )
    return named


def reliability_figure(table: pl.DataFrame) -> Figure:
    """Draw the map of coverage and reliability.

    Args:
        table: result of `coverage_and_reliability`.

    Returns:
        One row for each specialty; beside its training examples, a panel for each measure with
        the difference, its interval and the items behind it. Worse, better and undecided differ in
        shape as well as color; what was not measured says so.
    """
    names = table["specialty"].to_list()
    figure = new_figure(11, 1.9 + 0.34 * len(names))
    panels = figure.subplots(1, 4, sharey=True, width_ratios=(1, 1.5, 1.5, 1.5))
    _bars(panels[0], table["examples"].to_list())
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    for axes, (endpoint, name) in zip(panels[1:], _MEASURES.items(), strict=True):
        part = table.select(pl.col(f"^{name}_.*$").name.map(lambda c: c.partition("_")[2]))
        _panel(axes, part.to_dicts(), ENDPOINTS[endpoint].margin)
        axes.set_title(_TITLES[name], fontsize=10)
        better = "lower" if ENDPOINTS[endpoint].lower_is_better else "higher"
        axes.set_xlabel(f"adapter − base ({better} is better)", fontsize=9)
    mark_legend(figure, ncols=5, loc="outside lower center")
    return figure


def _bars(axes: Axes, counts: list[int]) -> None:
    """Training examples, as a bar and as a number."""
    axes.barh(range(len(counts)), counts, height=0.6, color=BLUE, alpha=0.35)
    for row, count in enumerate(counts):
        axes.text(count, row, f" {count:,}" if count else " none", va="center", fontsize=8)
    axes.set_xlim(0, max([*counts, 1]) * 1.35)
    axes.set_title("Training\nexamples", fontsize=10)
    axes.tick_params(axis="y", length=0)
    plain(axes)


def _panel(axes: Axes, rows: list[dict[str, Any]], margin: float) -> None:
    """The differences of one measure, one above the other; the items stand at the right edge."""
    axes.axvspan(-margin, margin, color=GREY, alpha=0.18, linewidth=0)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlim(*difference_span(rows, margin))
    for at, row in enumerate(rows):
        if row["word"] == NO_EVIDENCE:
            axes.text(0.5, at, NO_EVIDENCE, transform=_across(axes), ha="center", va="center",
                      fontsize=8, color=SOFT, style="italic",
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip
            continue
        draw_difference(axes, at, row)
        axes.text(1.02, at, f"{row['items']:,}", transform=_across(axes), va="center", fontsize=8)
    axes.text(1.02, -0.9, "items", transform=_across(axes), va="center", fontsize=8, color=SOFT)
    axes.tick_params(axis="y", length=0)
    plain(axes)


def _across(axes: Axes) -> Any:
    """Places that are a share of the panel's width, and a row of its table."""
    return axes.get_yaxis_transform()


def reliability_told(table: pl.DataFrame) -> str:
    """Say what the map shows, for those who cannot see it.

    Args:
        table: result of `coverage_and_reliability`.
    """
    said = [f"{table.height} rows: the specialties, with {table['examples'].sum():,} examples."]
    for name, title in _TITLES.items():
        words = dict(table.select("specialty", f"{name}_word").iter_rows())
        said.append(f"{title.partition(chr(10))[0]}: {'; '.join(_grouped(words))}.")
    return " ".join(said)


def _grouped(words: Mapping[str, str]) -> Iterable[str]:
    """The specialties of each word; the longest list is only counted."""
    for word in dict.fromkeys(words.values()):
        named = [s for s, w in words.items() if w == word]
        yield f"{word} in {', '.join(named) if len(named) < 8 else f'{len(named)} of them'}"
