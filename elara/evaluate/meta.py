"""Let a judge model mark answers only where it agrees with labels by people.

The labels are a file of JSON Lines. Each line has `scenario` (an id), `class` (kind and axis of the
criterion, such as `must/communication`), `criterion` (its words, as in the rubric), `answer`, `met`
(true or false) and `labeller` (who decided). People label before they see what the judge says. A
class is refused unless it has enough labels of both sorts, and both figures reach the limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import polars as pl
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from elara.display.progress import track
from elara.evaluate.judge_model import JUDGED, NO_ANSWER, UNJUDGED, VOID, Judge, JudgeError, Opinion
from elara.evaluate.scenario_files import Criterion, Scenario, Text, load_scenarios

if TYPE_CHECKING:
    import numpy as np

LEAST = 0.70  # of macro-F1 and of kappa
EACH = 20  # labels of `met`, and of `not met`
REFUSED = "refused"
_SILENT = 3  # answers in a row to which the server said nothing: the others are not asked
_ENOUGH = 10  # scenarios from which an interval is given
_STATES = (JUDGED, UNJUDGED, VOID, REFUSED)
_FIGURES = tuple(f"{name}{end}" for name in ("f1", "kappa") for end in ("", "_low", "_high"))
_MARKS: Any = dict.fromkeys(("scenario", "side", "criterion", "class"), pl.String)
_MARKS |= {"points": pl.Int64, "met": pl.Boolean}
_MARKS |= dict.fromkeys(("quote", "state", "why"), pl.String)


@dataclass(frozen=True, config=ConfigDict(extra="forbid", validate_by_name=True))
class Label:
    """What one person says of one answer and one criterion.

    Args:
        scenario: its id.
        name: class of the criterion: kind and axis; `class` in the file.
        criterion: in words.
        answer: that was read.
        met: whether it meets the criterion.
        labeller: who says so.
        question: the prompt of the scenario; not in the file.
    """

    scenario: Text
    name: Annotated[Text, Field(alias="class")]
    criterion: Text
    answer: str
    met: bool
    labeller: Text
    question: str = ""


_LABEL = TypeAdapter(Label)


def class_of(criterion: Criterion) -> str:
    """The class of a criterion: kind and axis, such as `must/communication`."""
    return f"{criterion.kind}/{criterion.axis}"


def read_labels(path: Path, scenarios: Sequence[Scenario] | None = None) -> list[Label]:
    """Read labels by people.

    Args:
        path: JSON Lines, see above.
        scenarios: that were labelled; None takes those that ship with Elara.

    Raises:
        JudgeError: the file cannot be read or is empty, or a line lacks a key, has another one, or
            names a scenario, criterion or class that is not in the rubrics as they are now.
    """
    known = {s.id: s for s in scenarios or load_scenarios()}
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise JudgeError(f"{path} cannot be read ({error}): name a file of JSON Lines.") from error
    labels = [
        _label(line, f"{path.name}:{n}", known) for n, line in enumerate(lines, 1) if line.strip()
    ]
    if not labels:
        raise JudgeError(f"{path} holds no label: write one on each line.")
    return labels


def _label(line: str, place: str, known: dict[str, Scenario]) -> Label:
    try:
        told = _LABEL.validate_json(line, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the line"
        raise JudgeError(f"{place}: `{key}`: {first['msg']}: mend it.") from None
    if told.question:
        raise JudgeError(f"{place}: `question`: it is that of the scenario: remove the key.")
    if told.scenario not in known:
        raise JudgeError(f"{place}: there is no scenario `{told.scenario}`: mend the id.")
    scenario = known[told.scenario]
    classes = {c.text: class_of(c) for c in scenario.criteria}
    if told.criterion not in classes:
        raise JudgeError(
            f'{place}: {told.scenario} has no criterion "{told.criterion}": label its present ones.'
        )
    if told.name != classes[told.criterion]:
        raise JudgeError(f"{place}: the class of this criterion is `{classes[told.criterion]}`.")
    return replace(told, question=scenario.prompt)


def meta_evaluate(
    judge: Judge, labels: Sequence[Label], *, resamples: int = 9_999, seed: int = 0
) -> pl.DataFrame:
    """Compare a judge with labels by people, for each class of criteria.

    What the judge leaves unjudged agrees with no label. An answer and criterion that several people
    labelled count once, and not at all where they contradict each other. The limits hold for the
    figures themselves: with few labels, the ends of the intervals lie far below.

    Args:
        judge: to be tried.
        labels: from `read_labels`.
        resamples: bootstrap samples of the scenarios.
        seed: fixes the resampling.

    Returns:
        One row for each class: class, scenarios, labels, met and unmet (by people), contested (left
        out), unjudged, void, f1 (macro-F1 of `met` and `not met`, 0 to 1) and kappa (Cohen's, -1 to
        1), each with _low and _high (95 % interval; null below 10 scenarios), refused (why, or ""),
        and model, endpoint and prompt, for which alone it holds. Give it to the judge:
        `dataclasses.replace(judge, meta=table)`.

    Raises:
        JudgeError: the server refuses, or there is no key.

    Source: meta-evaluation by macro-F1, Arora et al. (2025), https://arxiv.org/abs/2505.08775;
        kappa, Cohen (1960), https://doi.org/10.1177/001316446002000104; resampling of whole
        clusters, Field and Welsh (2007), https://doi.org/10.1111/j.1467-9868.2007.00593.x; the
        limits are our own.
    """
    table = _agreed(labels)
    asked = table.filter(~pl.col("contested"))
    cases = asked.group_by("question", "answer", maintain_order=True).agg("criterion", "row")
    said: dict[int, Opinion] = {}
    for at, found in zip(cases["row"], _opinions(judge, cases.drop("row").rows()), strict=True):
        said |= dict(zip(at, found, strict=True))
    rows = [
        _row(name, table.filter(pl.col("class") == name), said, resamples, seed) | judge.identity
        for name in table["class"].unique().sort()
    ]
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(_FIGURES, pl.Float64))


def _agreed(labels: Sequence[Label]) -> pl.DataFrame:
    """One row for each answer and criterion, and whether people contradict each other."""
    keys = ("scenario", "class", "question", "answer", "criterion")
    rows = [(x.scenario, x.name, x.question, x.answer, x.criterion, x.met) for x in labels]
    table = pl.DataFrame(rows, [*keys, "met"], orient="row").group_by(keys, maintain_order=True)
    both = pl.col("met").n_unique() > 1
    return table.agg(pl.col("met").first(), contested=both).with_row_index("row")


def _row(
    name: str, mine: pl.DataFrame, said: dict[int, Opinion], resamples: int, seed: int
) -> dict[str, Any]:
    import numpy as np

    used = mine.filter(~pl.col("contested"))
    opinions = [said[row] for row in used["row"]]
    scenarios, met = used["scenario"].n_unique(), int(used["met"].sum())
    place = (used["scenario"].rank("dense") - 1).to_numpy()
    by_judge = np.array([2 if o.met is None else int(not o.met) for o in opinions], dtype=int)
    counts = np.zeros((max(scenarios, 1), 2, 3))
    np.add.at(counts, (place, (~used["met"]).to_numpy().astype(int), by_judge), 1)
    told: dict[str, Any] = {"class": name, "scenarios": scenarios, "labels": used.height}
    told |= {"met": met, "unmet": used.height - met, "contested": mine.height - used.height}
    told |= {state: sum(o.state == state for o in opinions) for state in (UNJUDGED, VOID)}
    told |= _figures(counts, scenarios, resamples, seed)
    return told | {"refused": _refused(told)}


def _figures(counts: np.ndarray, scenarios: int, resamples: int, seed: int) -> dict[str, Any]:
    """Both figures with their intervals; null where they are not defined."""
    import numpy as np

    rng = np.random.default_rng(seed)
    often = rng.multinomial(scenarios, np.full(len(counts), 1 / len(counts)), size=resamples)
    drawn = agreement((often @ counts.reshape(len(counts), -1)).reshape(-1, 2, 3))
    told: dict[str, Any] = {}
    for name, whole, parts in zip(("f1", "kappa"), agreement(counts.sum(0)), drawn, strict=True):
        defined = parts[np.isfinite(parts)]
        ends = scenarios >= _ENOUGH and defined.size > 0
        low, high = np.quantile(defined, (0.025, 0.975)) if ends else (np.nan, np.nan)
        values = {name: whole, f"{name}_low": low, f"{name}_high": high}
        told |= {key: float(value) if np.isfinite(value) else None for key, value in values.items()}
    return told


def agreement(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Macro-F1 and Cohen's kappa.

    Args:
        counts: labels by what people said (met, not met; the last axis but one) and what the judge
            said (met, not met, nothing; the last axis).

    Returns:
        Both, without the last two axes; not a number where a figure is not defined.

    Source: see `meta_evaluate`.
    """
    import numpy as np

    right = np.stack([counts[..., 0, 0], counts[..., 1, 1]], axis=-1)
    people, machine = counts.sum(-1), counts.sum(-2)[..., :2]
    total = people.sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        f1 = (2 * right / (people + machine)).mean(-1)
        by_chance = (people * machine).sum(-1) / total**2
        kappa = (right.sum(-1) / total - by_chance) / (1 - by_chance)
    return f1, kappa


def _refused(told: dict[str, Any]) -> str:
    """Why a class is refused, or ""."""
    few = [(told[key], word) for key, word in (("met", "met"), ("unmet", "not met"))]
    why = [f"{n} labels of `{word}`, of {EACH} needed" for n, word in few if n < EACH]
    for key, name in (("f1", "macro-F1"), ("kappa", "kappa")):
        if told[key] is None:
            why.append(f"{name} is not defined")
        elif round(told[key], 9) < LEAST:
            why.append(f"{name} {told[key]:.3f} is below {LEAST:.2f}")
    return "; ".join(why)


def judge_answers(judge: Judge, answers: Sequence[tuple[str, Scenario, str]]) -> pl.DataFrame:
    """Let a judge mark answers by those criteria for whose class it was let through.

    Args:
        judge: with its `meta`.
        answers: whose answer it is, such as "base", with scenario and text.

    Returns:
        One row for each criterion of each answer: scenario, side, criterion (its id), class,
        points, met (null unless judged), quote, state (`judged`, `unjudged`, `void` or `refused`)
        and why.

    Raises:
        JudgeError: no class of these scenarios was let through, or see `Judge.ask`.
    """
    classes = sorted({class_of(c) for _, scenario, _ in answers for c in scenario.criteria})
    refused = {name: why for name in classes if (why := judge.refusal(name))}
    if len(refused) == len(classes):
        told = "; ".join(f"{name}: {why}" for name, why in refused.items()) or "no answers"
        raise JudgeError(f"The judge may mark nothing ({told}): give it a meta-evaluation.")
    wanted = [[c for c in s.criteria if class_of(c) not in refused] for _, s, _ in answers]
    parts = zip(answers, wanted, strict=True)
    cases = [(s.prompt, text, [c.text for c in criteria]) for (_, s, text), criteria in parts]
    rows = []
    for (side, s, _), found in zip(answers, _opinions(judge, cases), strict=True):
        left = iter(found)
        for c in s.criteria:
            barred = refused.get(name := class_of(c))
            said = Opinion(None, state=REFUSED, why=barred) if barred else next(left)
            about = (s.id, side, c.id, name, c.points)
            rows.append((*about, said.met, said.quote, said.state, said.why))
    return pl.DataFrame(rows, _MARKS, orient="row")


def judged_table(marks: pl.DataFrame) -> pl.DataFrame:
    """Count what a judge marked, and what it did not.

    Args:
        marks: result of `judge_answers`.

    Returns:
        Columns side, class, criteria, met, and how many are judged, unjudged, void and refused.
    """
    states = {state: (pl.col("state") == state).sum() for state in _STATES}
    counted = marks.group_by("side", "class", maintain_order=True)
    return counted.agg(pl.len().alias("criteria"), pl.col("met").sum(), **states)


def _opinions(
    judge: Judge, cases: Sequence[tuple[str, str, Sequence[str]]]
) -> Iterator[list[Opinion]]:
    """Ask about each question and answer; a server that stays silent is not asked for ever."""
    silent, why = 0, f"not asked: {NO_ANSWER} {_SILENT} times in a row"
    for question, answer, criteria in track(cases, label="answers to the judge"):
        if not criteria or silent == _SILENT:
            yield [Opinion(None, state=UNJUDGED, why=why)] * len(criteria)
            continue
        found = judge.opinions(question, answer, criteria)
        silent = silent + 1 if all(o.why.startswith(NO_ANSWER) for o in found) else 0
        yield found
