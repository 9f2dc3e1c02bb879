"""Read the plan of an experiment, and decide which adapter answers whom."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

STANDING, CANDIDATE = "standing", "candidate"
_SHA256 = r"^[0-9a-f]{64}$"


class ExperimentError(RuntimeError):
    """An experiment cannot go on as asked; the message says why and what to do."""


class Harm(BaseModel):
    """When the experiment ends by itself because the candidate does harm.

    Args:
        margin: it ends as soon as the whole interval lies below minus this; 0 means as soon as the
            candidate is shown to be worse at all.
        reports: it ends with this many answers of the candidate that a person called dangerous.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    margin: float = Field(default=0.0, ge=0, lt=1)
    reports: int = Field(default=3, ge=1)


class Plan(BaseModel):
    """All that is declared before an experiment begins. It cannot be changed afterwards.

    Args:
        name: what it is called; a plan runs once.
        question: what it is to find out, in a sentence. People who are asked to take part read it.
        reviewed_by: who looked at whether it may be run: an ethics committee and its reference.
        standing: SHA-256 of the weights of the adapter that answers today.
        candidate: SHA-256 of the weights of the one to compare.
        share: part of the people who take part that the candidate answers.
        metric: what is compared: `thumbs` is the mean over people of the share of thumbs up among
            the ratings that each gave.
        effect: smallest difference of the metric that would matter, in (0, 1).
        alpha: probability, at most, of showing a difference where there is none.
        window_days: a person's ratings count for so many days after the first answer.
        most_people: the experiment ends when so many have taken part, whatever it shows.
        harm: when it ends earlier.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    question: str = Field(min_length=10, max_length=400)
    reviewed_by: str = Field(min_length=3, max_length=200)
    standing: str = Field(pattern=_SHA256)
    candidate: str = Field(pattern=_SHA256)
    share: float = Field(default=0.5, ge=0.05, le=0.95)
    metric: Literal["thumbs"] = "thumbs"
    effect: float = Field(gt=0, lt=1)
    alpha: float = Field(default=0.05, gt=0, le=0.2)
    window_days: float = Field(default=7, gt=0, le=90)
    most_people: int = Field(ge=20, le=1_000_000)
    harm: Harm

    @model_validator(mode="after")
    def _two_adapters(self) -> Plan:
        if self.standing == self.candidate:
            raise ValueError("standing and candidate are the same adapter")
        return self


def read_plan(path: Path) -> tuple[Plan, str]:
    """Read a plan, a YAML file.

    Args:
        path: the file.

    Returns:
        The plan, and the SHA-256 of the file's bytes.

    Raises:
        ExperimentError: the file cannot be read, or is no plan; the message names the field.
    """
    try:
        content = path.read_bytes()
        plan = Plan.model_validate(yaml.safe_load(content))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the plan"
        raise ExperimentError(f"{path}: {field}: {first['msg']}. Correct it there.") from None
    except (OSError, yaml.YAMLError) as error:
        raise ExperimentError(
            f"{path} cannot be read as a plan ({error}): name a YAML file."
        ) from None
    return plan, hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Choice:
    """Which adapter answers a request.

    Args:
        adapter: SHA-256 of its weights; "" means the one that the server was started with.
        arm: `standing` or `candidate`; "" where the request takes part in no experiment.
        experiment: its id, or "".
        person: the pseudonym under which the person is counted, or "".
    """

    adapter: str
    arm: str = ""
    experiment: str = ""
    person: str = ""


def choose(plan: Plan, experiment: str, salt: bytes, subject: str) -> Choice:
    """Assign a person who consented; the same person always gets the same arm.

    Args:
        plan: what was declared.
        experiment: its id.
        salt: secret of this experiment, so that nobody can pick an arm by picking an identifier,
            and so that the arms of two experiments have nothing to do with each other.
        subject: the identifier that the front end uses for the person. It is not stored.

    Source: HMAC, https://www.rfc-editor.org/rfc/rfc2104
    """
    drawn = int.from_bytes(_keyed(salt, "arm", subject)[:8]) / 2**64
    arm = CANDIDATE if drawn < plan.share else STANDING
    person = _keyed(salt, "person", subject)[:16].hex()
    return Choice(plan.candidate if arm == CANDIDATE else plan.standing, arm, experiment, person)


def _keyed(salt: bytes, purpose: str, subject: str) -> bytes:
    return hmac.digest(salt, f"{purpose}\0{subject}".encode(), "sha256")
