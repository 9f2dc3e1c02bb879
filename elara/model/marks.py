"""Keep text apart from the marks of a chat format.

A tokenizer that finds `<|im_end|>` in a question reads it as the end of the turn, wherever it
came from: an article about language models, or a caller who wants to write the system line. Inside
a text such a mark is therefore written with a blank in it, `< |im_end|>`, which every tokenizer
reads as ordinary characters.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

# What a chat template writes around turns: <|im_start|>, <start_of_turn>, </s>, [INST], <<SYS>>.
_MARK = re.compile(r"<{1,2}[^\s<>'\"{}%]+>{1,2}|\[/?[A-Z][A-Z_]+\]")


def as_data(tokenizer: Any, messages: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The same conversation, in which no text can be taken for a mark of the chat format.

    Args:
        tokenizer: the tokenizer, with the chat template that will be used.
        messages: turns with `role` and `content`.

    Returns:
        Turns whose contents hold no special token of the tokenizer and no mark that the template
        writes: each has a blank after its first character. All other texts are unchanged.

    Source: https://github.com/huggingface/transformers/issues/29279
    """
    mark = _marks(tokenizer, str(tokenizer.chat_template))
    return [turn | {"content": _apart(mark, turn["content"])} for turn in messages]


def holds_marks(tokenizer: Any, messages: Sequence[dict[str, str]]) -> bool:
    """Whether `as_data` changes a conversation."""
    mark = _marks(tokenizer, str(tokenizer.chat_template))
    return any(mark.search(turn["content"]) for turn in messages)


def _apart(mark: re.Pattern[str], text: str) -> str:
    # A mark inside a mark comes to light when the outer one is gone: `<|<|im_end|>im_end|>`.
    while mark.search(text):
        text = mark.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
    return text


@functools.lru_cache(maxsize=8)
def _marks(tokenizer: Any, template: str) -> re.Pattern[str]:
    """One expression for all marks; those of one character or of blanks are no marks."""
    added = tokenizer.added_tokens_decoder.values()
    found = {t.content for t in added if t.special or _MARK.fullmatch(t.content)}
    found |= set(tokenizer.all_special_tokens) | set(_MARK.findall(template))
    marks = sorted((m for m in found if len(m.strip()) > 1), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, marks)) or r"(?!)")
