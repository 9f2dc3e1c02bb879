"""What a form of personal data is, and the check digits that some of them have."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from elara.clean.triggers import touches


@dataclass(frozen=True)
class PhiKind:
    """One form of personal data.

    Args:
        kind: its name in phi.parquet.
        pattern: regular expression.
        triggers: see `Rule`.
        patient: whether it points to a patient; an author's address or a date alone does not.
        example: what it finds.
        valid: a further test of what was matched, e.g. its check digit.
    """

    kind: str
    pattern: str
    triggers: tuple[str, ...]
    patient: bool
    example: str
    valid: Callable[[str], bool] | None = None
    _found: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _touches: Callable[[str], bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compile once."""
        object.__setattr__(self, "_found", re.compile(self.pattern))
        object.__setattr__(self, "_touches", touches(self.triggers))

    def matches(self, text: str) -> Iterator[re.Match[str]]:
        """Where a text holds it."""
        return (
            match for match in self._found.finditer(text) if not self.valid or self.valid(match[0])
        )


def luhn(digits: str) -> bool:
    """Whether a card number has the right check digit.

    Args:
        digits: the number; blanks and hyphens do not count.

    Source: ISO/IEC 7812-1, annex B.
    """
    values = [int(d) for d in digits if d.isdigit()][::-1]
    return sum(values[::2]) % 10 == -sum(sum(divmod(2 * v, 10)) for v in values[1::2]) % 10


def iban(text: str) -> bool:
    """Whether an international bank account number has the right check digits.

    Args:
        text: the number without blanks.

    Source: ISO 13616-1.
    """
    return int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1
