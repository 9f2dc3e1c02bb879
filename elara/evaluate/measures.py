"""Measure the form of an answer: tone, coherence, disclaimer, repetition, truncation and length.

Form is all that these see. A wrong dose in calm, coherent sentences with a disclaimer gets full
marks here: whether an answer is true, only a clinician who reads it can tell. The limits of each
measure stand where it is computed. Tests try each one on good answers, on the worst of its kind,
and on answers made to deceive it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import polars as pl

from elara.display.figures import BLUE, GREY, ORANGE, new_figure, plain
from elara.evaluate.coherence import coherence, is_english, sentences_of
from elara.evaluate.disclaimers import disclaimer
from elara.evaluate.tone import tone
from elara.text.sentences import UNSPACED
from elara.text.words import WORD

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_RUN = 4  # words of a sequence
_ALONE = "".join(f"{chr(first)}-{chr(last)}" for first, last in UNSPACED)
_WORDS = rf"[\p{{L}}\p{{M}}&&[{_ALONE}]]|{WORD}"
# Signs that end a sentence in the scripts of the world, with what may stand behind them.
_ENDED = re.compile(r"[.!?…。！？｡።။۔؟।॥][\"'”’»)\]」』*_`]*(?:\s*\[\d+\])*$")
_LISTED = re.compile(r"\s*(?:[-*•|]|\(?\w{1,2}[.)])\s+\S.*[^\s,;:(–—-]$")
# Title of each panel, and which way is better.
_PANELS = {
    "tone": ("professional tone", "share of sentences (high is good)"),
    "coherence": ("coherence", "share of sentences (high is good)"),
    "disclaimer": ("disclaimer", "share of answers"),
    "repetition": ("repetition", "share of 4-word runs (low is good)"),
    "truncated": ("truncated", "share of answers (low is good)"),
    "words": ("length", "words"),
}


@dataclass(frozen=True)
class Measures:
    """What a program sees in an answer.

    Args:
        tone: share of sentences without a mark of an unprofessional register, 0 to 1.
        tone_marks: the kinds of marks that were found, see `elara.evaluate.tone.KINDS`.
        coherence: share of sentences that are in order, take something up and add something.
        disclaimer: whether it names its limits or sends the reader to a person, now.
        disclaimer_words: the clause that does, or "".
        repetition: share of four-word sequences that stood before, 0 to 1.
        truncated: whether it was cut off or ends in mid-sentence.
        words: its length.
        read: whether it is in English. Of another language, tone, coherence and disclaimer are
            None, for their lists are English.
    """

    tone: float | None
    tone_marks: tuple[str, ...]
    coherence: float | None
    disclaimer: bool | None
    disclaimer_words: str
    repetition: float
    truncated: bool
    words: int
    read: bool


def measure_answer(text: str, *, finished: bool, prompt: str = "") -> Measures:
    """Measure one answer.

    An answer without words has a tone and a coherence of 0, and no disclaimer: silence is not rated
    as good form.

    Args:
        text: the answer, Markdown.
        finished: whether the model stopped by itself.
        prompt: the question, for coherence.

    Source: see `elara.evaluate.tone.tone`, `elara.evaluate.coherence.coherence`,
        `elara.evaluate.disclaimers.disclaimer`, `repetition` and `truncated`.
    """
    words = _words(text)
    read = is_english(words)
    said = sentences_of(text) if read else ()
    clean, kinds = tone(said)
    clause = disclaimer(said)
    return Measures(
        tone=(clean if words else 0.0) if read else None,
        tone_marks=kinds,
        coherence=coherence(said, prompt) if read else None,
        disclaimer=bool(clause) if read else None,
        disclaimer_words=clause,
        repetition=repetition(words),
        truncated=truncated(text, finished=finished),
        words=len(words),
        read=read,
    )


def _words(text: str) -> list[str]:
    """The words of a text as `elara.text.words` defines them, in small letters."""
    found: list[str] = pl.Series([text.casefold()]).str.extract_all(_WORDS)[0].to_list()
    return found


def repetition(words: list[str]) -> float:
    """The share of sequences of four words that stood before, called seq-rep-4.

    It cannot see what is said again in other words or with other numbers, and counts a list whose
    items rightly begin alike. Below four words nothing can repeat: read it beside the length.

    Args:
        words: of the answer, in order.

    Returns:
        0 to 1.

    Source: Welleck et al. (2020), Neural Text Generation with Unlikelihood Training,
        https://arxiv.org/abs/1908.04319, section 6.
    """
    runs = list(zip(*(words[start:] for start in range(_RUN)), strict=False))
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def truncated(text: str, *, finished: bool) -> bool:
    """Whether an answer was cut off, or ends in mid-sentence.

    An item of a list needs no full stop; an empty answer counts as cut off. It cannot see that a
    thought breaks off after a full stop.

    Args:
        text: the answer, Markdown.
        finished: whether the model stopped by itself.

    Source: our own rule.
    """
    last = text.rstrip().rpartition("\n")[2]
    return not finished or not (_ENDED.search(last) or _LISTED.match(last))


def measures_table(rows: Iterable[tuple[str, str, Measures]]) -> pl.DataFrame:
    """Lay measures out, one row for each answer.

    Args:
        rows: scenario, model (such as "base"), and the measures of its answer.

    Returns:
        Columns scenario and model, then those of `Measures`; null where a measure does not read
        the language, and the kinds of marks separated by commas.
    """
    laid = [
        {"scenario": scenario, "model": model, **asdict(m), "tone_marks": ", ".join(m.tone_marks)}
        for scenario, model, m in rows
    ]
    return pl.DataFrame(laid, schema=_SCHEMA)


def measures_figure(table: pl.DataFrame) -> Figure:
    """Draw the measures of the models side by side, one panel for each.

    Args:
        table: result of `measures_table`, the base model first.

    Returns:
        A point for each answer, a line from model to model for each scenario, and a bar at the
        mean; for disclaimer and truncation, the share of answers. Below each model stands on how
        many of its answers the panel rests.
    """
    figure = new_figure(8, 5)
    models = table["model"].unique(maintain_order=True).to_list()
    for axes, (name, (title, unit)) in zip(
        figure.subplots(2, 3).flat, _PANELS.items(), strict=True
    ):
        shown = table.select("scenario", "model", pl.col(name).cast(pl.Float64).alias("value"))
        if table.schema[name] == pl.Boolean:
            _draw_shares(axes, shown, models)
        else:
            _draw_answers(axes, shown, models)
        axes.set_xticks(range(len(models)), [_told(shown, model) for model in models])
        axes.set_xlim(-0.5, len(models) - 0.5)
        axes.set_ylim(0, None if name == "words" else 1.05)
        axes.set_title(title, fontsize=10)
        axes.set_ylabel(unit, fontsize=7.5)
        plain(axes)
    return figure


def _told(shown: pl.DataFrame, model: str) -> str:
    values = shown.filter(model=model)["value"]
    return f"{model}\n{values.count()} of {len(values)}"


def _draw_shares(axes: Axes, shown: pl.DataFrame, models: list[str]) -> None:
    for at, model in enumerate(models):
        values = shown.filter(model=model)["value"].drop_nulls()
        share = values.mean()
        if isinstance(share, float):
            bar = axes.bar(at, share, width=0.5, color=(BLUE, ORANGE)[at % 2])
            axes.bar_label(bar, [f"{values.sum():.0f}"], fontsize=8)


def _draw_answers(axes: Axes, shown: pl.DataFrame, models: list[str]) -> None:
    for _, answers in shown.drop_nulls().group_by("scenario", maintain_order=True):
        line = [models.index(model) for model in answers["model"]]
        axes.plot(line, answers["value"], "-", color=GREY, linewidth=0.6, alpha=0.6)
    for at, model in enumerate(models):
        values = shown.filter(model=model)["value"].drop_nulls().to_numpy()
        color = (BLUE, ORANGE)[at % 2]
        axes.plot(
            [at] * len(values), values, "o", color=color, markersize=4, alpha=0.7, clip_on=False
        )
        if len(values):
            axes.hlines(values.mean(), at - 0.2, at + 0.2, color="black", linewidth=2)


_SCHEMA = {
    "scenario": pl.String,
    "model": pl.String,
    "tone": pl.Float64,
    "tone_marks": pl.String,
    "coherence": pl.Float64,
    "disclaimer": pl.Boolean,
    "disclaimer_words": pl.String,
    "repetition": pl.Float64,
    "truncated": pl.Boolean,
    "words": pl.Int64,
    "read": pl.Boolean,
}
