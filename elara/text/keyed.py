"""Read Elara's keyed items, put them as questions, and find the letter that an answer names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any

import yaml

LETTERS = "ABCDEFGHIJ"
LETTER_FORM = "Answer with the letter of the right option only."

# `A` and `I` before another word are words themselves.
_ARTICLE = r"(?!\s+(?!(?:because|since|as|and|or|is|are|with)\b)[a-z])"
_LETTER = rf"[\"'(\[*]*([B-HJ]|[AI]{_ARTICLE})(?![A-Za-z'’])[\"')\].:*]*"
# A statement of the answer; the last one counts.
_STATED = re.compile(
    r"(?:\b(?i:(?:final |correct |right |best )*(?:answer|option|choice))\b\**\s*"
    r"(?:(?i:is|would be|must be)|[:=])\s*\**\s*(?:(?i:the )?(?i:option|letter|choice)\s+)?"
    rf"|\b(?i:i (?:choose|pick|select))\s+(?:(?i:option|letter)\s+)?){_LETTER}"
)
# A letter alone at the beginning of a line: `C`, `C.`, `(C) Rest`; "A patient …" is none.
_ALONE = re.compile(r"^\W*(?:(?i:option)\s+)?([A-J])(?:\W*$|[.):\]]|\*\*)", re.MULTILINE)
_NOT = re.compile(r"\b(?:not|isn't|wrong|incorrect|never)\W+(?:\w+\W+){0,2}$", re.IGNORECASE)
_AFTER = re.compile(r"^\W*(?:(?:and|or)\b|(?:is|are)\s+(?:not|wrong|incorrect)\b)", re.IGNORECASE)


def own_items() -> Iterator[dict[str, Any]]:
    """Elara's own items, specialty by specialty; none has been reviewed by a clinician.

    Yields:
        Fields as the files have them (id, question, options without letters, key, reason, source),
        and the specialty.
    """
    folder = resources.files("elara.items")
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".yaml"):
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
            yield from ({**item, "specialty": content["specialty"]} for item in content["items"])


def asked(question: str, options: Sequence[str], form: str, context: str = "") -> str:
    """The text that asks an item.

    Args:
        question: its stem.
        options: in the order in which they are shown; none: they are not.
        form: the sentence that says how to answer.
        context: text that the question is about.
    """
    shown = [f"{letter}. {text}" for letter, text in zip(LETTERS, options, strict=False)]
    return "\n\n".join(part for part in (context, question, "\n".join(shown), form) if part)


def extract(text: str, options: Sequence[str]) -> str:
    """The letter that an answer settles on, or "".

    Args:
        text: what a model wrote.
        options: as they were shown.

    Returns:
        The letter of the last statement such as "the answer is C"; otherwise the only letter that
        stands alone at the beginning of a line; otherwise the letter of the only option whose words
        occur.
    """
    allowed = LETTERS[: len(options)]
    stated = [found[1] for found in _STATED.finditer(text) if _holds(text, found)][-1:]
    alone = {found[1] for found in _ALONE.finditer(text)}  # several: the options are repeated
    letters = stated or (list(alone) if len(alone) == 1 else [])
    if not letters and not alone:
        said = _plain(text)
        pairs = zip(allowed, options, strict=True)
        letters = [letter for letter, option in pairs if _plain(option) in said]
    return letters[0] if len(letters) == 1 and letters[0] in allowed else ""


def _plain(text: str) -> str:
    """Words between blanks, so that whole words are compared."""
    words = re.findall(r"[^\W_]+", text.casefold())
    return f" {' '.join(words)} "


def _holds(text: str, found: re.Match[str]) -> bool:
    """Whether a statement affirms one letter: no "not" before it, no "and B" after it."""
    return not _NOT.search(text[: found.start(1)]) and not _AFTER.match(text[found.end() :])
