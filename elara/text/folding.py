"""Fold letters and digits, and name every sign that counts as white space."""

from __future__ import annotations

# Every sign that Python counts as white space, but for the plain blank and the plain line end.
SPACES = "\t\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)

LOWER = {c: c + 32 for c in range(65, 91)}  # ASCII letters, for `str.translate`
FOLD = {**LOWER, **dict.fromkeys(range(48, 58), 48)}


def fold(text: str) -> str:
    """Text as triggers see it: ASCII letters in lower case, every ASCII digit a 0."""
    return text.translate(FOLD)
