"""Render the adapter passport as a page for people: one file, no scripts, nothing from outside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from elara.audit.certificate import contaminated_items
from elara.display.figures import figure_svg, loss_figure

_LISTED = 60  # articles named on the page; the data manifest names all
_POINTS = 200  # a longer training curve is thinned to about as many points


def passport_html(passport: dict[str, Any], manifest: pl.DataFrame, digest: str) -> str:
    """Render the passport with the template `passport.html`, which escapes every text.

    Args:
        passport: the content of `passport.json`.
        manifest: the data manifest, for the list of articles.
        digest: SHA-256 of the JSON file that the page was made from.

    Returns:
        A whole HTML document.

    Source: https://www.w3.org/WAI/tutorials/tables/ (captions and scopes).
    """
    import jinja2
    from markupsafe import Markup

    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    templates.filters |= {"pick": _pick, "shown": _shown}
    start = str(passport["losses"].get("start", "base model"))
    tuning = passport.get("preference", {"margins": [], "config": {}, "sources": {}})
    tokens = list(passport["data"]["tokens"][0]) if passport["data"]["tokens"] else []
    return templates.get_template("passport.html").render(
        passport=passport,
        digest=digest,
        listed=_LISTED,
        glance=_glance(passport, start),
        numbers=[
            (name.replace("_", " "), f"{value:.4f}" if isinstance(value, float) else value)
            for name, value in passport["evaluation"].get("numbers", {}).items()
        ],
        sources=", ".join(
            f"{n:,} from {name or 'an unnamed source'}" for name, n in tuning["sources"].items()
        ),
        margins=[row | {"split": row["split"].replace("_", " ")} for row in tuning["margins"]],
        tuning_settings=[(name, _text(value)) for name, value in tuning["config"].items()],
        token_head=[name.replace("_", " ") for name in tokens],
        token_classes=dict.fromkeys(range(1, len(tokens)), "n"),
        sets=[{"set": n} | known for n, known in passport["certificate"]["compared"].items()],
        start=start,
        curve=Markup(_curve(passport["losses"])),
        settings=[
            (row["setting"], _text(row["reference"]), _text(row["value"]), row["reason"])
            for row in sorted(passport["config"], key=lambda row: row["value"] == row["reference"])
        ],
        articles=_articles(manifest),
    )


def _glance(passport: dict[str, Any], start: str) -> list[tuple[str, str, str]]:
    """The four figures at the top of the page: term, value, remark."""
    data, losses = passport["data"], passport["losses"]
    found = contaminated_items(passport)
    sets = len(passport["certificate"]["compared"]) - 1
    if "preference" in passport:
        rows = passport["preference"]["margins"]
        held = next(row for row in rows if row["split"] == "held_out")
        effect = ("Reward margin", f"0 → {held['margin']:.2f}", "on held-out questions")
    else:
        watched = "not measured"
        if losses["base"] is not None and losses["final"] is not None:
            watched = f"{losses['base']:.2f} → {losses['final']:.2f}"
        effect = ("Validation loss", watched, f"nats per answer token, {start} → adapter")
    leaked = f"{found:,} items" if found else "none found"
    return [
        ("Training examples", f"{data['examples']:,}", f"from {data['articles']:,} articles"),
        ("Held-out text in training", leaked, f"five checks against {sets} held-out sets"),
        effect,
        ("Evaluation", passport["evaluation"]["status"], "see the verdict below"),
    ]


def _articles(manifest: pl.DataFrame) -> list[dict[str, Any]]:
    """Every article that examples were built from, with the number of these examples."""
    if manifest.is_empty():
        return []
    named = manifest.group_by(article=pl.col("article_ids").list.first())
    return named.agg(pl.len(), pl.col("title", "url", "licence").first()).sort("article").to_dicts()


def _curve(losses: dict[str, Any]) -> str:
    """The loss curve as an SVG element, or "" where there are not two points to draw."""
    train, held = losses["training"], losses["validation"]
    every = train + held
    if len(every) < 2:
        return ""
    points = [row | {"split": "train"} for row in train[:: max(1, len(train) // _POINTS)]]
    points += [row | {"split": "validation"} for row in held]
    last = max(row["step"] for row in every)
    low, high = min(row["loss"] for row in every), max(row["loss"] for row in every)
    told = f"Loss from step 0 to {last:.0f}, between {low:.2f} and {high:.2f} {losses['unit']}."
    if held:
        told += f" Validation: first {held[0]['loss']:.2f}, last {held[-1]['loss']:.2f}."
    table = pl.DataFrame(points, schema={"split": str, "step": int, "loss": float})
    return figure_svg(loss_figure(table), "Loss while training", told)


def _pick(rows: Iterable[Mapping[str, Any]], *columns: str) -> list[list[Any]]:
    """Some columns of rows; `loss:.4f` formats the numbers of one."""
    named = [column.partition(":")[::2] for column in columns]
    return [[format(row[n], form) if form else row[n] for n, form in named] for row in rows]


def _shown(value: Any) -> Any:
    """A whole number with commas between thousands; anything else as it is."""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
