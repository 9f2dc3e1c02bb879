"""Hold what each check of the release gate found."""

from __future__ import annotations

from dataclasses import dataclass

PASSED, BLOCKED, CANNOT_TELL = "passed", "blocked", "cannot tell"
INTEGRITY, BEHAVIOR = "integrity", "behavior"


@dataclass(frozen=True)
class Row:
    """One check.

    Args:
        check: what was looked at, in a few words.
        kind: `integrity` (files and records) or `behavior` (what the model says).
        result: `passed`, `blocked` or `cannot tell`.
        evidence: what was found, in one sentence.
    """

    check: str
    kind: str
    result: str
    evidence: str


def integrity(check: str, holds: bool | None, evidence: str) -> Row:
    """A check of files or records.

    Args:
        check: what was looked at.
        holds: whether it is as it should be; None where that could not be looked at.
        evidence: what was found.
    """
    return Row(check, INTEGRITY, {True: PASSED, False: BLOCKED, None: CANNOT_TELL}[holds], evidence)
