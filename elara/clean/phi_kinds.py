"""Define what a kind of personal data is, and verify the check digits that some have."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class PhiKind:
    """One form of personal data.

    Args:
        kind: its name in phi.parquet.
        pattern: regular expression.
        gate: regular expression that polars searches quickly: the pattern is tried only on texts
            that hold a match; "" for none.
        patient: whether it points to a patient; an author's address or a date alone does not.
        example: what it finds.
        valid: a further test of what was matched, e.g. its check digit or what stands beside it.
        prepare: makes the text that the pattern reads, of the same length.
        listed: whether it is tried on texts that hold a first name of the list, too.
    """

    kind: str
    pattern: str
    gate: str
    patient: bool
    example: str
    valid: Callable[[re.Match[str]], bool] | None = None
    prepare: Callable[[str], str] | None = None
    listed: bool = False

    @cached_property
    def _found(self) -> re.Pattern[str]:
        """Compiled when first used: patterns with many words take a moment."""
        return re.compile(self.pattern)

    def matches(self, text: str) -> Iterator[re.Match[str]]:
        """Where a text holds it."""
        read = self.prepare(text) if self.prepare else text
        return (
            match for match in self._found.finditer(read) if not self.valid or self.valid(match)
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
