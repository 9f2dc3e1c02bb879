"""Make the figures of the page on versions: `python book/versions.py` writes `book/synthetic/`.

No model is behind them. The records hold invented differences, drawn from a fixed seed, and are put
together, compared and drawn by the functions that real records go through. Whatever is written says
that it is synthetic; `tests/book/test_book_versions.py` makes it again and compares.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from elara.display.figures import figure_svg
from elara.evaluate import calibration, forest
from elara.evaluate.comparing import WORSE, Compared, compared
from elara.evaluate.history import make_record
from elara.evaluate.scores import ENDPOINTS, PRIMARY
from elara.evaluate.verdict import judge

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = Path(__file__).resolve().parent / "synthetic"
NOTE = "Synthetic: invented numbers, no model was measured"
# Invented topics of each specialty, and the mean difference that each version has there.
_TOPICS = {
    "Cardiology": (16, (-0.32, 0.14, -0.10)),
    "Dermatology": (12, (-0.22, -0.46, -0.02)),
    "Infectious Disease": (18, (-0.20, -0.44, -0.12)),
    "Neurology": (14, (-0.18, -0.40, -0.06)),
    "Pediatrics": (12, (-0.24, -0.48, -0.14)),
    "Radiology": (4, (-0.30, -0.30, -0.20)),
}
_SPREAD = 0.14  # standard deviation over topics, nats per token
_OTHER_ITEMS = ("synthetic 4", {"test": {"items": 80, "sha256": "6" * 64}})
_SETS = {"test": {"items": 152, "sha256": "5" * 64}}


def scores(version: int) -> pl.DataFrame:
    """Invented scores of a version: two items on each topic.

    Args:
        version: from 0.
    """
    rng = np.random.default_rng(version)
    rows = []
    for specialty, (topics, means) in _TOPICS.items():
        drawn = rng.normal(means[version], _SPREAD, size=(topics, 1))
        drawn = drawn + rng.normal(0, _SPREAD / 2, size=(topics, 2))
        for (topic, item), difference in np.ndenumerate(drawn):
            told = (PRIMARY, f"{specialty}/{topic}/{item}", f"{specialty}/{topic}", specialty)
            rows += [(*told, "base", 2.4), (*told, "adapter", 2.4 + float(difference))]
    columns = ("metric", "item", "cluster", "specialty", "arm", "value")
    return pl.DataFrame(rows, columns, orient="row")


def record(version: int, sets: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The record of a version, as an evaluation would leave it.

    Args:
        version: from 0.
        sets: what it was measured on.
    """
    return make_record(
        judge(scores(version)),
        adapter=f"{version + 1}" * 64,
        base="synthetic base model",
        template="synthetic template",
        sets=sets,
        parameters={"max_length": 1024},
    )


def comparison() -> Compared:
    """Three versions that were measured on the same items, and one that was not."""
    versions = [(f"synthetic {n + 1}", record(n, _SETS)) for n in range(3)]
    name, sets = _OTHER_ITEMS
    return compared([*versions, (name, record(2, sets))])


def versions_drawn(found: Compared) -> str:
    """Draw the loss over the versions that can be compared.

    Args:
        found: from `comparison`.
    """
    worse = found.changes.filter(endpoint=PRIMARY, specialty="", word=WORSE)["later"].to_list()
    rows = [{"name": n, **r["verdict"], "worse": n in worse} for n, r in found.records[:3]]
    figure = forest.versions_figure(rows, ENDPOINTS[PRIMARY].margin)
    told = (f"{row['name']} {row['difference']:+.2f}, {row['word']}" for row in rows)
    return drawn(figure, "Answer loss over versions", "; ".join(told))


def forest_drawn(found: Compared) -> str:
    """Draw the specialties of the second version.

    Args:
        found: from `comparison`.
    """
    table = pl.DataFrame(found.records[1][1]["comparisons"])
    told = (
        f"{row['specialty'] or 'all items'} {row['difference']:+.2f}, {row['word']}"
        for row in table.to_dicts()
    )
    return drawn(forest.forest_figure(table), "Differences by specialty", "; ".join(told))


def calibration_drawn() -> str:
    """Draw a base model that is too sure of its letters, and an adapter that is less so."""
    sides = {"base": answers(0.25, 0.25), "adapter": answers(0.05, 0.85)}
    errors = {name: calibration.expected_calibration_error(x) for name, x in sides.items()}
    told = "; ".join(f"{name}: calibration error {value:.2f}" for name, value in errors.items())
    return drawn(calibration.calibration_figure(sides), "Calibration", told)


def answers(start: float, slope: float) -> pl.DataFrame:
    """Invented answers to 1,000 items, of which `start + slope × confidence` are right.

    Args:
        start: share of right answers at a confidence of 0.
        slope: how much it rises up to a confidence of 1.
    """
    rng = np.random.default_rng(7)
    sure = 0.25 + 0.7 * rng.beta(2, 2, size=1_000)
    right = rng.random(1_000) < start + slope * sure
    return pl.DataFrame({"id": map(str, range(1_000)), "confidence": sure, "right": right})


def drawn(figure: Figure, title: str, told: str) -> str:
    """A figure for a page of the book, with the note that it is synthetic.

    Args:
        figure: changed in place.
        title: its short name.
        told: what it shows, for those who cannot see it.
    """
    figure.suptitle(NOTE, fontsize=9, color=forest.SOFT)
    return f'<div class="fitting">{figure_svg(figure, f"{title} (synthetic)", told)}</div>\n'


def printed(found: Compared) -> str:
    """What the command prints, in lines that a page of the book can show.

    Args:
        found: from `comparison`.
    """
    return "\n".join(textwrap.fill(x, 70, subsequent_indent="    ") for x in found.lines())


def made() -> dict[str, str]:
    """Every file of `book/synthetic/`, by its name."""
    found = comparison()
    return {
        "versions.html": versions_drawn(found),
        "forest.html": forest_drawn(found),
        "calibration.html": calibration_drawn(),
        "compare.txt": f"({NOTE}.)\n{printed(found)}\n",
    }


def main() -> None:
    """Write the files."""
    for name, text in made().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(FOLDER / name)


if __name__ == "__main__":
    main()
