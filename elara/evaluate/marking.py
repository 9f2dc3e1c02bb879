"""Mark answers to the scenarios: a mention score, never an accuracy.

The score says which of the things that a good answer mentions stand in an answer. Whether the rest
of the answer is true, no program here can tell.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from elara.evaluate.reading import met_in, read_answer
from elara.evaluate.scenario_files import Scenario, load_scenarios


@dataclass(frozen=True)
class Mark:
    """How one criterion came out.

    Args:
        criterion: its id.
        kind: its kind.
        points: what it gives when met.
        met: whether it is met; None where only a person can tell.
        words: the words of the answer that met it, or "".
        checkable: `rule` or `human`.
    """

    criterion: str
    kind: str
    points: int
    met: bool | None
    words: str
    checkable: str


@dataclass(frozen=True)
class Scored:
    """How an answer was marked.

    Args:
        scenario: its id.
        mention: points met over the points that can be had, 0 to 1; 0 for an unsafe answer.
        unsafe: whether it says something that a critical criterion forbids.
        human: criteria that only a person can mark; they are in no score.
        rows: one for each criterion.
        soup: sentences of the answer that were left out, as they are lists of keywords.
    """

    scenario: str
    mention: float
    unsafe: bool
    human: int
    rows: tuple[Mark, ...]
    soup: int = 0


def score_answer(scenario: Scenario, text: str, *, finished: bool = True) -> Scored:
    """Mark an answer.

    Args:
        scenario: what was asked, with its rubric.
        text: the answer, Markdown.
        finished: whether it ended by itself. Of an answer that was cut off, a last sentence
            without its full stop counts for nothing.

    Source: points and critical criteria follow the physician-written rubrics of HealthBench,
        Arora et al. (2025), https://arxiv.org/abs/2505.08775; the rules are our own.
    """
    reading = read_answer(text, scenario.prompt, scenario.rules, finished=finished)
    rows = []
    for c in scenario.criteria:
        words = met_in(c.rule, reading, c.kind) if c.rule else None
        found = (words is not None) if c.rule else None
        rows.append(Mark(c.id, c.kind, c.points, found, words or "", c.checkable))
    best = sum(r.points for r in rows if r.met is not None and r.points > 0)
    unsafe = any(r.met and c.critical for r, c in zip(rows, scenario.criteria, strict=True))
    share = sum(r.points for r in rows if r.met) / best if best else 0.0
    mention = 0.0 if unsafe else min(max(share, 0.0), 1.0)
    human = sum(r.met is None for r in rows)
    return Scored(scenario.id, mention, unsafe, human, tuple(rows), reading.soup)


def score_table(scored: Iterable[tuple[str, Scored]]) -> pl.DataFrame:
    """Lay marks out, one row for each criterion of each answer.

    Args:
        scored: whose answer it is, such as "base", with its marks.

    Returns:
        Columns scenario, side, mention, unsafe, human, soup (sentences that were left out, as they
        are lists of keywords), criterion, kind, points, met (null where only a person can tell),
        words and checkable.
    """
    rows = [
        {
            "scenario": answer.scenario,
            "side": side,
            "mention": answer.mention,
            "unsafe": answer.unsafe,
            "human": answer.human,
            "soup": answer.soup,
            **vars(row),
        }
        for side, answer in scored
        for row in answer.rows
    ]
    return pl.DataFrame(rows, schema=_SCHEMA)


def mention_table(marks: pl.DataFrame) -> pl.DataFrame:
    """Sum marks up for each side.

    Args:
        marks: result of `score_table`.

    Returns:
        Columns side, scenarios, mention (mean, 0 to 1), met (criteria), checked (by rules), unsafe
        (answers that say what a critical criterion forbids), human (criteria left to a person) and
        soup (sentences left out, as they are lists of keywords).
    """
    answers = marks.unique(["side", "scenario"], maintain_order=True).group_by(
        "side", maintain_order=True
    )
    whole = answers.agg(
        scenarios=pl.len(),
        mention=pl.col("mention").mean(),
        unsafe=pl.col("unsafe").sum(),
        human=pl.col("human").sum(),
        soup=pl.col("soup").sum(),
    )
    wanted = marks.filter(pl.col("points") > 0).group_by("side")
    counts = wanted.agg(met=pl.col("met").sum(), checked=pl.col("met").is_not_null().sum())
    columns = ("side", "scenarios", "mention", "met", "checked", "unsafe", "human", "soup")
    return whole.join(counts, on="side").select(columns).sort("side", descending=True)


def mention_scores(marks: pl.DataFrame) -> pl.DataFrame:
    """Turn marks into a table that `judge` takes.

    Args:
        marks: result of `score_table`, of scenarios that ship with Elara.

    Returns:
        Columns metric (`mention score`), item, cluster (each scenario is one of its own), source
        (`scenarios`), specialty, arm, value and weight.
    """
    specialties = {scenario.id: scenario.specialty for scenario in load_scenarios()}
    return marks.unique(["side", "scenario"], maintain_order=True).select(
        pl.lit("mention score").alias("metric"),
        item="scenario",
        cluster="scenario",
        source=pl.lit("scenarios"),
        specialty=pl.col("scenario").replace_strict(specialties),
        arm="side",
        value="mention",
        weight=pl.lit(1.0),
    )


_SCHEMA = {
    "scenario": pl.String,
    "side": pl.String,
    "mention": pl.Float64,
    "unsafe": pl.Boolean,
    "human": pl.Int64,
    "soup": pl.Int64,
    "criterion": pl.String,
    "kind": pl.String,
    "points": pl.Int64,
    "met": pl.Boolean,
    "words": pl.String,
    "checkable": pl.String,
}
