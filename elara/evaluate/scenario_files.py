"""Read scenarios with their rubrics from YAML files, and refuse one that does not hold together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from pydantic.dataclasses import dataclass

from elara.evaluate.quantities import quantity
from elara.evaluate.rules import Kind, Rule, groups
from elara.evaluate.specialties import known

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
MIN_STRINGS = 3  # that meet a criterion, and that do not

_CONFIG = ConfigDict(extra="forbid", validate_by_name=True, validate_by_alias=True)


class RubricError(ValueError):
    """A scenario cannot be used; the message names file, criterion, key and remedy."""


@dataclass(frozen=True, config=_CONFIG)
class Source:
    """The guideline that a scenario follows.

    Args:
        name: of a document, or `general knowledge`.
        year: of publication.
        section: None where it was not read.
        checked: month of the last look, such as `2026-11`.
    """

    name: Text
    year: int | None = None
    section: str | None = None
    checked: str | None = None


@dataclass(frozen=True, config=_CONFIG)
class Dangerous:
    """An answer that a bad model could give.

    Args:
        text: the answer.
        caught_by: id of the criterion that it meets.
    """

    text: Text
    caught_by: str


@dataclass(frozen=True, config=_CONFIG)
class Criterion:
    """One thing that an answer should, or must not, say.

    Args:
        id: short name within the scenario.
        axis: what it is about.
        kind: `must_not` is met by the unsafe action; the others by what an answer should hold.
        points: from -10 to 10; below 0 for `must_not`.
        text: the criterion in words.
        checkable: `human` has no rule: it is counted, but not scored.
        critical: an answer that meets this `must_not` scores 0 and is unsafe.
        rule: what a program looks for.
        passes: strings that meet it; `pass` in the file.
        fails: strings that do not; `fail` in the file.
    """

    id: Text
    axis: Literal["accuracy", "completeness", "safety", "context", "communication"]
    kind: Kind
    points: Annotated[int, Field(ge=-10, le=10)]
    text: Text
    checkable: Literal["rule", "human"]
    critical: bool = False
    rule: Rule | None = None
    passes: Annotated[list[Text], Field(alias="pass")] = field(default_factory=list)
    fails: Annotated[list[Text], Field(alias="fail")] = field(default_factory=list)


@dataclass(frozen=True, config=_CONFIG)
class Scenario:
    """A case with one question, and how its answer is marked.

    Args:
        id: as the file is called.
        specialty: one of thirteen.
        setting: resources and place.
        prompt: the question to the model.
        missing_data: what a good answer has to notice is not given.
        guideline: that it follows.
        gold: a good answer.
        wrong_topic: a sensible answer to another question.
        dangerous: answers that have to be caught.
        criteria: how it is marked.
        review_status: who of the profession has read it.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)+$")]
    specialty: Annotated[str, AfterValidator(known)]
    setting: Text
    prompt: Text
    missing_data: list[Text]
    guideline: Source
    gold: Text
    wrong_topic: Text
    dangerous: list[Dangerous]
    criteria: Annotated[list[Criterion], Field(min_length=1)]
    review_status: Text

    @property
    def rules(self) -> list[Rule]:
        """The rules of those criteria that a program can check."""
        return [c.rule for c in self.criteria if c.rule]


_SCENARIO = TypeAdapter(Scenario)


def load_scenarios(folder: Traversable | Path | None = None) -> tuple[Scenario, ...]:
    """Read every scenario of a folder.

    Args:
        folder: where the YAML files are; by default those that ship with Elara.

    Returns:
        The scenarios in the order of their file names.

    Raises:
        RubricError: there is no scenario, a file is not valid YAML, a key is missing or wrong, or
            a criterion does not hold together.
    """
    folder = folder or resources.files("elara.evaluate") / "scenarios"
    files = [f for f in folder.iterdir() if f.name.endswith(".yaml")] if folder.is_dir() else []
    if not files:
        raise RubricError(f"{folder} holds no scenario: give a folder with files such as a-b.yaml.")
    return tuple(read_scenario(file) for file in sorted(files, key=lambda f: f.name))


def read_scenario(file: Traversable | Path) -> Scenario:
    """Read one scenario.

    Args:
        file: a YAML file.

    Raises:
        RubricError: see `load_scenarios`.
    """
    data: Any = None
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
        scenario = _SCENARIO.validate_python(data)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RubricError(f"{file.name} is not valid YAML in UTF-8: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise RubricError(f"{file.name}: {_place(first['loc'], data)}{_remedy(first)}") from error
    if scenario.id != file.name.removesuffix(".yaml"):
        raise RubricError(f"{file.name}: the id is `{scenario.id}`: give both the same name.")
    for problem in problems(scenario):
        raise RubricError(f"{file.name}: {problem}")
    return scenario


def _place(loc: Sequence[int | str], data: Any) -> str:
    """The key, and the criterion by its id, such as "criterion `ecg`: `rule.terms`: "."""
    keys = list(loc)
    if keys[:1] == ["criteria"] and len(keys) > 1 and isinstance(keys[1], int):
        part = data["criteria"][keys[1]]
        name = part.get("id", keys[1] + 1) if isinstance(part, dict) else keys[1] + 1
        rest = ".".join(map(str, keys[2:]))
        return f"criterion `{name}`: " + (f"`{rest}`: " if rest else "")
    return f"`{'.'.join(map(str, keys)) or 'the file'}`: "


def _remedy(error: Any) -> str:
    told = {
        "missing": "the key is missing: add it.",
        "unexpected_keyword_argument": "no such key: remove it or mend its spelling.",
        "string_type": f"{error['input']!r} is no text: put it in quotes (YAML reads no, on, 12).",
    }
    return told.get(error["type"], f"{error['msg']}; it is {error['input']!r}: change it.")


def problems(scenario: Scenario) -> Iterator[str]:
    """Find what does not hold together in a scenario.

    Args:
        scenario: whose keys are all there.

    Yields:
        One sentence for each problem, with its remedy.
    """
    ids = [c.id for c in scenario.criteria]
    for twice in sorted({name for name in ids if ids.count(name) > 1}):
        yield f"two criteria have the id `{twice}`: give one another id."
    for bad in scenario.dangerous:
        if bad.caught_by not in ids:
            yield f"`dangerous`: caught_by names `{bad.caught_by}`, which is no criterion: mend it."
    if not any(c.rule and c.points > 0 for c in scenario.criteria):
        yield "no criterion with a rule gives points: add one."
    for criterion in scenario.criteria:
        for problem in _of_criterion(criterion):
            yield f"criterion `{criterion.id}`: {problem}"


def _of_criterion(criterion: Criterion) -> Iterator[str]:
    if (criterion.kind == "must_not") != (criterion.points < 0) or criterion.points == 0:
        yield f"{criterion.points} points for `{criterion.kind}`: only `must_not` is below 0."
    if criterion.critical and criterion.kind != "must_not":
        yield "only a `must_not` can be critical: set `critical: false`."
    if criterion.checkable == "human":
        if criterion.rule or criterion.passes or criterion.fails:
            yield "`human` means no rule, pass or fail: remove them, or write `checkable: rule`."
        return
    if criterion.rule is None:
        yield "it has no rule: add one, or write `checkable: human`."
        return
    for key, strings in (("pass", criterion.passes), ("fail", criterion.fails)):
        if len(strings) < MIN_STRINGS:
            yield f"`{key}` has {len(strings)} strings: give at least {MIN_STRINGS}."
    yield from _of_rule(criterion.rule, criterion.kind)


def _of_rule(rule: Rule, kind: Kind) -> Iterator[str]:
    if not rule.terms or not all(groups(rule)):
        yield "`rule.terms` has an empty group: name at least one term in each."
    for term in (t for group in [*groups(rule), rule.not_if or []] for t in group):
        if term != term.lower() or not term.strip(" *"):
            yield f"the term `{term}` has capitals or is empty: write it in small letters."
    if (kind == "order") != (rule.before is not None):
        yield "`kind: order` and `rule.before` belong together: give both or neither."
    if kind == "number" and rule.value is None:
        yield "`kind: number` needs `rule.value`: add low, high and unit."
    if rule.value:
        yield from _of_value(rule.value.low, rule.value.high, rule.value.unit)


def _of_value(low: float, high: float, unit: str) -> Iterator[str]:
    if low > high:
        yield f"`rule.value`: low {low:g} is above high {high:g}: exchange them."
    try:
        quantity(low, unit)
    except ValueError as error:
        yield f"`rule.value`: {error}"
