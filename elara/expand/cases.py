"""Read curated cases from YAML files, and refuse one whose parts or figures do not hold.

A case is a scenario with the answer that a careful clinician would give. Its file also says where
each dose, threshold and time window comes from, so that a reviewer can check the answer line by
line: `Fact` is one such figure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

GENERAL_KNOWLEDGE = "general knowledge"
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_CERTAIN = re.compile(r"\b(certainly|definitely|undoubtedly|always|the diagnosis is)\b", re.I)

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Items = Annotated[list[Text], Field(min_length=1)]


class CuratedError(ValueError):
    """A case file cannot be used; the message names the file, the key and the remedy."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Setting(_Part):
    """Where the case happens: what is at hand, in which region, and to whom."""

    resources: Literal[
        "teaching hospital", "general hospital", "district hospital", "health center", "prehospital"
    ]
    region: Text
    population: Literal["adult", "paediatric", "obstetric"]


class Guideline(_Part):
    """A guideline that the answer follows; `checked` is the month of our last look, if any."""

    body: Text
    title: Text
    year: int = Field(ge=1990, le=2100)
    checked: Annotated[str, Field(pattern=r"^\d{4}-\d{2}$")] | None

    def older_than_two_years(self, month: str) -> bool:
        """Whether more than 24 months lie between its year's end and a month such as `2026-11`."""
        return (int(month[:4]) - self.year) * 12 + int(month[5:]) - 12 > 24


class Source(_Part):
    """A document that was read for a figure."""

    title: Text
    section: Text
    year: int | None
    address: str = Field(pattern=r"^https?://\S+$")


class Fact(_Part):
    """A dose, threshold, time window or other figure of the answer.

    Args:
        kind: what it is.
        text: the words of the answer that state it.
        source: a key of the case's `sources`, or `general knowledge`.
        drug, amount, unit, route, caution: of a dose; `amount` is a number or a range such as
            `162-325`; `caution` is said in the same step: when not to give it, or what to check.
        weight_kg, per_kg: of a dose computed for this patient, in kg and in `unit` per kg.
        of, relation, value: of a threshold or time window: what is measured or awaited, in
            standard terms; `value` is in `unit`.
    """

    kind: Literal["dose", "threshold", "window", "other"]
    text: Text
    source: Text
    drug: str = ""
    amount: str = ""
    unit: str = ""
    route: str = ""
    caution: str = ""
    weight_kg: float | None = None
    per_kg: float | None = None
    of: str = ""
    relation: Literal["", "<", "<=", ">", ">=", "range"] = ""
    value: float | str | None = None


class SecondAnswer(_Part):
    """Whether somebody who had not seen the answer came to the same one."""

    status: Literal["pending", "agreed", "settled", "open"]
    note: str = ""


class Case(_Part):
    """A curated case, as its file has it.

    Args:
        missing: decisive data that the scenario leaves out; the answer asks for each.
        stance: whether the answer treats, says that the treatment asked for is not indicated, or
            refuses.
        instruction: the scenario, which ends with one question.
        interim: safe actions until the missing data are there.
        branches: what each answer to the missing data would change.
        review_status: who of the profession has read the case.
    """

    id: str = Field(pattern=r"^curated-\d\d-[a-z0-9-]+$")
    specialty: Text
    title: Text
    setting: Setting
    stance: Literal["treat", "not indicated", "refuse"]
    missing: list[Text]
    instruction: str = Field(pattern=r"\?\s*$")
    reasoning: Text
    interim: list[Text]
    management: Items
    branches: list[Text]
    red_flags: Items
    would_change: Items
    safety_note: Text
    guidelines: Annotated[list[Guideline], Field(min_length=1)]
    sources: dict[str, Source]
    facts: list[Fact]
    review_status: Text
    second_answer: SecondAnswer

    @property
    def cleared(self) -> bool:
        """Whether a second, blind answer agreed, or the disagreement was settled."""
        return self.second_answer.status in ("agreed", "settled")

    def said(self) -> list[str]:
        """The texts of the answer, each on one line."""
        parts = [self.reasoning, *self.interim, *self.management, *self.branches]
        parts += [*self.red_flags, *self.would_change, self.safety_note]
        return [" ".join(part.split()) for part in parts]


def read_cases(folder: Traversable | None = None) -> list[Case]:
    """Read every case of a folder.

    Args:
        folder: where the YAML files are; by default those that ship with Elara.

    Returns:
        The cases in the order of their file names.

    Raises:
        CuratedError: a file is not valid YAML, a key is missing or wrong, or a figure of the
            answer is not accounted for.
    """
    folder = folder or resources.files("elara.expand") / "curated"
    files = (file for file in folder.iterdir() if file.name.endswith(".yaml"))
    cases = [_read(file) for file in sorted(files, key=lambda f: f.name)]
    ids = [case.id for case in cases]
    if twice := {name for name in ids if ids.count(name) > 1}:
        raise CuratedError(f"Two case files have the id {min(twice)}: give one another id.")
    return cases


def _read(file: Traversable) -> Case:
    try:
        case = Case.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CuratedError(f"{file.name} is not valid YAML in UTF-8: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise CuratedError(f"{file.name}: `{key}`: {first['msg']}.") from error
    for problem in problems(case):
        raise CuratedError(f"{file.name}: {problem}")
    return case


def problems(case: Case) -> Iterator[str]:
    """Find what does not hold in a case.

    Args:
        case: a case whose keys are all there.

    Yields:
        One sentence for each problem: a figure without a fact, a fact that the answer does not
        state, a dose without its caution, wrong arithmetic, missing data that the answer does not
        ask for, or certainty where data are missing.
    """
    yield from _gaps(case)
    texts = case.said()
    given = set(_NUMBER.findall(case.instruction))
    for text in texts:
        spans = [m.span() for f in case.facts for m in re.finditer(re.escape(f.text), text)]
        for number in _NUMBER.finditer(text):
            stated = any(start <= number.start() and number.end() <= end for start, end in spans)
            if not stated and number[0] not in given:
                around = text[max(0, number.start() - 30) : number.end() + 20]
                yield f'the figure {number[0]} in "…{around}…" stands in no fact: add one.'
    for fact in case.facts:
        if fact.source != GENERAL_KNOWLEDGE and fact.source not in case.sources:
            yield f'the fact "{fact.text}" names the source `{fact.source}`, which `sources` lacks.'
        steps = [text for text in texts if fact.text in text]
        if not steps:
            yield f'the fact "{fact.text}" does not stand in the answer in these words.'
        elif fact.kind == "dose":
            yield from _dose_problems(fact, steps)
        elif fact.kind != "other" and (not fact.of or fact.value is None or not fact.unit):
            yield f'the {fact.kind} "{fact.text}" needs `of`, `value` and `unit`.'


def _gaps(case: Case) -> Iterator[str]:
    if bool(case.missing) != bool(case.interim) or bool(case.missing) != bool(case.branches):
        yield "`missing`, `interim` and `branches` belong together: fill all three or none."
    if case.missing and (found := _CERTAIN.search(" ".join(case.said()))):
        yield f'"{found[0]}" is certain, but decisive data are missing: say it with a condition.'


def _dose_problems(fact: Fact, steps: list[str]) -> Iterator[str]:
    for key in ("drug", "amount", "unit", "route", "caution"):
        if not getattr(fact, key):
            yield f'the dose "{fact.text}" needs `{key}`.'
    if not any(fact.caution in step for step in steps):
        yield f'the caution of "{fact.text}" does not stand in the same step in these words.'
    if not any(fact.drug.casefold() in step.casefold() for step in steps):
        yield f'the step with the dose "{fact.text}" does not name {fact.drug}.'
    if not all(number in fact.text for number in _NUMBER.findall(fact.amount)):
        yield f'the dose "{fact.text}" does not state the amount {fact.amount}.'
    if (fact.weight_kg is None) != (fact.per_kg is None):
        yield f'the dose "{fact.text}" needs `weight_kg` and `per_kg`, or neither.'
    elif fact.weight_kg is not None and fact.per_kg is not None:
        right = fact.weight_kg * fact.per_kg
        amount = float(fact.amount.replace(",", ""))
        if abs(amount - right) > (0.1 * right if "about" in fact.text else 1e-6 * right):
            yield f'the dose "{fact.text}": {fact.weight_kg} kg × {fact.per_kg} is {right:g}.'
