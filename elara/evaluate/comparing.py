"""Compare evaluations of several adapters: what got better, what got worse, what cannot be said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from elara.display.figures import figure_svg
from elara.evaluate.forest import versions_figure
from elara.evaluate.history import chosen_records
from elara.evaluate.reliability import NO_EVIDENCE, reliability_figure, reliability_told
from elara.evaluate.scores import ENDPOINTS, PRIMARY, EvaluationError
from elara.workspace import Workspace, write_atomically, writing_to

BETTER, WORSE, UNCLEAR = "better", "worse", "no clear change"
_FREE = {
    "workspace",
    "seed",
    "resamples",
    "repeat_items",
    "sources_each",
    "source_items",
}  # parameters that change none of the values that are compared
_COLUMNS: dict[str, Any] = {
    **dict.fromkeys(("earlier", "later", "endpoint", "specialty"), pl.String),
    **dict.fromkeys(("before", "after", "change"), pl.Float64),
    "word": pl.String,
}
Named = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Compared:
    """What differs between evaluations.

    Args:
        records: each with its name, in the order in which they are compared.
        changes: columns earlier, later, endpoint, specialty ("" for all), before and after (the
            adapter's difference to its base model, in the endpoint's unit), change and word:
            better, worse, no clear change, or no evidence.
        obstacles: why two of them cannot be compared, one sentence each.
        damaged: records that were left out, and why.
    """

    records: list[Named]
    changes: pl.DataFrame
    obstacles: list[str]
    damaged: list[str]

    def lines(self) -> Iterator[str]:
        """What to print."""
        for name, record in self.records:
            yield f"{name}: {record['verdict']['verdict']}"
        yield from self.damaged
        yield from self.obstacles
        for row in self.changes.filter(pl.col("word").is_in([WORSE, BETTER])).to_dicts():
            yield f"{row['word']}: {told(row)}, {row['earlier']} → {row['later']}"
        counts = dict(self.changes.group_by("word").len().iter_rows())
        order = (WORSE, BETTER, UNCLEAR, NO_EVIDENCE)
        if counts:
            yield ", ".join(f"{word}: {counts.get(word, 0)}" for word in order)


def told(row: Mapping[str, Any]) -> str:
    """Say how an endpoint changed.

    Args:
        row: of `Compared.changes`, with numbers.
    """
    where = row["endpoint"] + (f" in {row['specialty']}" if row["specialty"] else "")
    return f"{where}, adapter − base {row['before']:+.3f} → {row['after']:+.3f}"


def compare(workspace: Workspace, names: Sequence[str], html: Path | None = None) -> Compared:
    """Compare evaluations, each with the one before it.

    Args:
        workspace: where names are looked up.
        names: see `chosen_records`; none: all records of the workspace.
        html: where to write the comparison as a page; None: nowhere.

    Raises:
        EvaluationError: there are fewer than two records, or one cannot be found.
        WorkspaceError: the page cannot be written.
    """
    records, damaged = chosen_records(workspace, names)
    if len(records) < 2:
        left_out = "".join(f" Left out: {line}" for line in damaged)
        raise EvaluationError(
            f"A comparison needs two records of evaluations, and there is {len(records)}: evaluate "
            f"another adapter in this workspace, or name records of others.{left_out}"
        )
    found = compared(records, damaged)
    if html:
        with writing_to(html.parent):
            write_atomically(html, page(found))
    return found


def compared(records: Sequence[Named], damaged: Sequence[str] = ()) -> Compared:
    """Compare each record with the one before it.

    A change counts where the intervals of both differences do not overlap and the change is
    larger than the endpoint's margin. Both evaluations read the same items, so this misses small
    changes and seldom finds one that is not there.

    Args:
        records: each with its name, the earliest first.
        damaged: what was left out.

    Source: Schenker and Gentleman (2001), https://doi.org/10.1198/000313001317097960
    """
    rows, obstacles = [], []
    for (earlier, a), (later, b) in pairwise(records):
        if why := differing(a, b):
            obstacles.append(f"{earlier} and {later} cannot be compared: {'; '.join(why)}.")
            continue
        rows += [{"earlier": earlier, "later": later, **row} for row in _changes(a, b)]
    return Compared(list(records), pl.DataFrame(rows, _COLUMNS), obstacles, list(damaged))


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Why two records are not about the same question; empty where they are.

    Args:
        a: a record.
        b: another one.
    """
    why = [
        f"the {what} is {a[key]} and {b[key]}" for key, what in _SAME.items() if a[key] != b[key]
    ]
    for name in sorted(a["sets"].keys() | b["sets"].keys()):
        if name not in a["sets"] or name not in b["sets"]:
            why.append(f"only one was measured on {name}")
        elif a["sets"][name]["sha256"] != b["sets"][name]["sha256"]:
            why.append(f"the items of {name} are not the same")
    old, new = a["parameters"], b["parameters"]
    for name in sorted((old.keys() | new.keys()) - _FREE):
        if old.get(name) != new.get(name):
            why.append(f"{name} is {old.get(name)} and {new.get(name)}")
    return why


_SAME = {"base": "base model", "template": "chat template"}


def _changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    old, new = _rows(a), _rows(b)
    for key in dict.fromkeys([*old, *new]):
        before, after = old.get(key), new.get(key)
        row: dict[str, Any] = {"endpoint": key[0], "specialty": key[1]}
        row |= {"before": before and before["difference"], "after": after and after["difference"]}
        word = NO_EVIDENCE
        if before and after:
            row["change"] = row["after"] - row["before"]
            word = _word(key[0], before, after)
        yield row | {"word": word}


def _rows(record: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """All differences of a record by endpoint and specialty, also those of the map."""
    found = {(row["endpoint"], row["specialty"]): row for row in record["comparisons"]}
    for row in record.get("specialties", []):
        for short, endpoint in (("mention", "mention score"), ("letters", "accuracy")):
            if row[f"{short}_difference"] is not None:
                part = {name: row[f"{short}_{name}"] for name in ("difference", "low", "high")}
                found.setdefault((endpoint, row["specialty"]), part)
    return found


def _word(endpoint: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    if None in (before["low"], after["low"]):
        return NO_EVIDENCE
    known = ENDPOINTS.get(endpoint)
    if known is None:  # of a version that measured something else
        return NO_EVIDENCE
    rose = after["low"] > before["high"]
    fell = after["high"] < before["low"]
    large = abs(after["difference"] - before["difference"]) > known.margin
    if not large or not (rose or fell):
        return UNCLEAR
    return BETTER if fell == known.lower_is_better else WORSE


def page(found: Compared) -> str:
    """Render a comparison as a page: one file, no scripts, nothing from outside.

    Args:
        found: result of `compare`.

    Source: https://www.w3.org/WAI/tutorials/tables/ (captions and scopes).
    """
    from importlib import resources

    import jinja2
    from markupsafe import Markup

    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("elara.evaluate", ""),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    style = resources.files("elara.audit").joinpath("passport.css").read_text(encoding="utf-8")
    newest, record = found.records[-1]
    figure, covered = _versions(found), ""
    if record.get("specialties"):
        table = pl.DataFrame(record["specialties"], infer_schema_length=None)
        title = f"Coverage and reliability of {newest}"
        covered = figure_svg(reliability_figure(table), title, reliability_told(table))
    order = {WORSE: 0, BETTER: 1, UNCLEAR: 2, NO_EVIDENCE: 3}
    rows = sorted(found.changes.to_dicts(), key=lambda row: order[row["word"]])
    return templates.get_template("comparison.html").render(
        found=found,
        rows=rows,
        newest=newest,
        style=Markup(style),
        versions=Markup(figure),
        covered=Markup(covered),
        languages=record.get("languages", []),
    )


def _versions(found: Compared) -> str:
    """The figure of the loss over versions."""
    worse = found.changes.filter(endpoint=PRIMARY, specialty="", word=WORSE)["later"].to_list()
    rows = [{"name": n, **r["verdict"], "worse": n in worse} for n, r in found.records]
    said = [f"{row['name']} {row['difference']:+.3f} ({row['word']})" for row in rows]
    description = f"Adapter minus base: {', '.join(said)}. Worse than before: {worse or 'none'}."
    figure = versions_figure(rows, ENDPOINTS[PRIMARY].margin)
    return figure_svg(figure, "Answer loss over versions", description)
