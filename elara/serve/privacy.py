"""Find personal data in what people send: warn them, and mask it in what is kept.

The rules are those of the stage `clean`. They find forms, so what they do not find may still be
personal data.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from elara.text.phi import PHI, find_in

# A date or an address of a web page in a question points to nobody by itself.
_NO_WARNING = {"date", "url"}
# Characters. Looking through more takes milliseconds, and is left to a thread.
_SHORT = 500
# The gates are written for polars, which spells an ASCII word boundary in its own way.
_GATES = [(kind, re.compile(kind.gate.replace(r"(?-u:\b)", r"\b"))) for kind in PHI]


def find(text: str) -> list[tuple[str, int, int]]:
    """Where a text holds what may identify a person.

    Args:
        text: any text.

    Returns:
        What it is in plain words ("name", "phone"), start and end (characters, end exclusive).
    """
    kinds = [kind for kind, gate in _GATES if kind.listed or gate.search(text)]
    return [(_plain(kind), start, end) for kind, start, end in find_in(text, kinds)]


def mask(text: str) -> str:
    """The text with `[name]`, `[phone]` and so on in place of what may identify a person.

    Args:
        text: any text.
    """
    parts, done = [], 0
    for kind, start, end in find(text):
        if start >= done:  # else it begins within another, which has been masked
            parts += [text[done:start], f"[{kind}]"]
        done = max(done, end)
    return "".join([*parts, text[done:]])


async def warnings(texts: Sequence[str]) -> list[str]:
    """What to tell somebody who sent these texts: nothing, or one sentence that quotes nothing.

    Args:
        texts: what was sent.
    """
    short = sum(map(len, texts)) <= _SHORT
    kinds = _kinds(texts) if short else await asyncio.to_thread(_kinds, texts)
    if not kinds:
        return []
    return [
        f"This conversation may hold personal data ({', '.join(kinds)}). Leave out whatever could "
        "identify a person: this server is not built for patient data."
    ]


def _kinds(texts: Sequence[str]) -> list[str]:
    return sorted({kind for text in texts for kind, _, _ in find(text)} - _NO_WARNING)


def _plain(kind: str) -> str:
    return "name" if kind.endswith("_name") or kind == "name_with_age" else kind.replace("_", " ")
