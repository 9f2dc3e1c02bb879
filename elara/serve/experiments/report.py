"""Say what an experiment shows so far, who is missing, and what the missing could change."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from elara.serve.experiments.assign import CANDIDATE, STANDING, Plan
from elara.serve.experiments.sequence import Difference, difference, interval, refuted

RUNNING, BETTER, HARM, ALIKE, FULL = (
    *("undecided", "the candidate is better", "the candidate does harm"),
    *("no difference that matters", "undecided after the declared number of people"),
)


@dataclass(frozen=True)
class Person:
    """One person who takes part.

    Args:
        arm: `standing` or `candidate`.
        closed: whether the person's window is over, so that the ratings count.
        answers: answers that were given.
        ratings: thumbs within the window, 1 up and 0 down.
        dangerous: answers that the person called dangerous.
        late: ratings after the window; not counted.
        deleted: ratings that the person took back.
        withdrawn: whether the person left the experiment, with all ratings.
    """

    arm: str
    closed: bool
    answers: int
    ratings: Sequence[float]
    dangerous: int = 0
    late: int = 0
    deleted: int = 0
    withdrawn: bool = False


@dataclass(frozen=True)
class Arm:
    """What is known of one arm. `mean` and its interval are over people, not over answers.

    Args:
        name: `standing` or `candidate`.
        people: assigned.
        closed: of these, with their window over.
        heard: of the closed ones, with at least one rating.
        answers: given to all of them.
        ratings: that count.
        mean: of the means of those who were heard; NaN without any.
        low: lower end of the interval for that mean.
        high: its upper end.
        dangerous: answers called dangerous.
        late: ratings after the window.
        deleted: ratings taken back.
        withdrawn: people who left.
    """

    name: str
    people: int
    closed: int
    heard: int
    answers: int
    ratings: int
    mean: float
    low: float
    high: float
    dangerous: int
    late: int
    deleted: int
    withdrawn: int

    @property
    def missing(self) -> int:
        """People whose window ended without a rating."""
        return self.closed - self.heard


@dataclass(frozen=True)
class Report:
    """What an experiment shows, at any time.

    Args:
        plan: what was declared.
        arms: standing and candidate.
        difference: of the means, over pairs of people who were heard.
        worst: the same if every silent person had judged for the standing adapter.
        best: the same if every silent person had judged for the candidate.
        response: difference of the shares who were heard.
        share_off: whether the arms' sizes do not fit the declared share.
    """

    plan: Plan
    arms: tuple[Arm, Arm]
    difference: Difference
    worst: Difference
    best: Difference
    response: Difference
    share_off: bool

    @property
    def decision(self) -> str:
        """The word that follows from the declared rules."""
        plan, found, candidate = self.plan, self.difference, self.arms[1]
        if candidate.dangerous >= plan.harm.reports or found.high < -plan.harm.margin:
            return HARM
        if found.low > 0:
            return BETTER
        if -plan.effect < found.low and found.high < plan.effect:
            return ALIKE
        return FULL if self.full else RUNNING

    @property
    def full(self) -> bool:
        """Whether the declared number of people took part and their windows are over."""
        return sum(arm.closed + arm.withdrawn for arm in self.arms) >= self.plan.most_people

    def warnings(self) -> Iterator[str]:
        """Reasons to distrust the result."""
        if self.response.excludes_zero():
            yield (
                "the arms differ in how many people give feedback: those who were heard may not "
                "be alike, and the interval does not cover that. Look at the bounds."
            )
        if self.share_off:
            yield "the arms' sizes do not fit the declared share: look for a fault in assignment."

    def lines(self) -> Iterator[str]:
        """The report for people."""
        percent = f"{100 * (1 - self.plan.alpha):g} %"
        yield f"{self.plan.name}: {self.plan.question}"
        for arm in self.arms:
            yield (
                f"{arm.name}: {arm.people} people, {arm.closed} with their window over, of these "
                f"{arm.heard} gave feedback and {arm.missing} none ({_share(arm)}); "
                f"{arm.answers} answers, {arm.ratings} ratings count, {arm.late} came late, "
                f"{arm.deleted} deleted, {arm.withdrawn} people withdrew, "
                f"{arm.dangerous} answers called dangerous"
            )
            yield f"{arm.name}: mean {_span(arm.mean, arm.low, arm.high)}, if it does not drift"
        found = self.difference
        yield (
            f"difference (candidate minus standing): "
            f"{_span(found.estimate, found.low, found.high)} from {found.pairs} pairs; the "
            f"interval holds with {percent} however often you look"
        )
        yield (
            f"if the silent people had all judged one way: from {self.worst.low:+.3f} to "
            f"{self.best.high:+.3f}"
        )
        response = self.response
        yield f"gave feedback: {_span(response.estimate, response.low, response.high)} more or less"
        yield from (f"warning: {warning}" for warning in self.warnings())
        yield f"result: {self.decision}"


def _share(arm: Arm) -> str:
    return f"{arm.missing / arm.closed:.0%} missing" if arm.closed else "nobody yet"


def _span(mean: float, low: float, high: float) -> str:
    told = "none yet" if math.isnan(mean) else f"{mean:+.3f}"
    return f"{told} [{low:+.3f}, {high:+.3f}]"


def report(plan: Plan, people: Sequence[Person]) -> Report:
    """Evaluate an experiment; may be asked as often as one likes.

    Args:
        plan: what was declared.
        people: all who take part, in the order in which they joined.
    """
    closed = [p for p in people if p.closed and not p.withdrawn]
    heard = [p for p in closed if p.ratings]
    means = np.array([np.mean(p.ratings) for p in heard], float)
    here = np.array([p.arm == CANDIDATE for p in closed], bool)
    said = np.array([bool(p.ratings) for p in closed], bool)

    def imputed(candidate: float) -> Difference:
        values = np.where(here, candidate, 1 - candidate)
        values[said] = means
        return difference(here, values, plan.alpha)

    everybody = np.array([p.arm == CANDIDATE for p in people], float)
    off = len(people) > 0 and refuted(everybody, plan.share, 0.001)[-1]
    return Report(
        plan,
        (_arm(STANDING, people, plan), _arm(CANDIDATE, people, plan)),
        difference(here[said], means, plan.alpha),
        imputed(0.0),
        imputed(1.0),
        difference(here, said.astype(float), plan.alpha),
        bool(off),
    )


def _arm(name: str, people: Sequence[Person], plan: Plan) -> Arm:
    own = [p for p in people if p.arm == name]
    closed = [p for p in own if p.closed and not p.withdrawn]
    means = np.array([np.mean(p.ratings) for p in closed if p.ratings], float)
    return Arm(
        name,
        people=len(own),
        closed=len(closed),
        heard=len(means),
        answers=sum(p.answers for p in own),
        ratings=sum(len(p.ratings) for p in closed),
        mean=float(means.mean()) if len(means) else math.nan,
        # Each of the two means holds with half of the error, so that both hold together.
        **dict(zip(("low", "high"), interval(means, plan.alpha / 2), strict=True)),
        dangerous=sum(p.dangerous for p in own),
        late=sum(p.late for p in own),
        deleted=sum(p.deleted for p in own),
        withdrawn=sum(p.withdrawn for p in own),
    )
