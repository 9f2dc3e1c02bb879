"""Turn Markdown into plain lines, and give each item of a list what its heading says of it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from elara.evaluate.verbs import ACTION
from elara.text.sentences import sentences

BAN = "do not"  # what the items of a list of forbidden things begin with
_SIGNS = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2212\ufe63\uff0d", "-"),
        **dict.fromkeys("\u2018\u2019\u02bc\u0060\u00b4", "'"),
        **dict.fromkeys('\u201c\u201d\u201e\u00ab\u00bb"', " "),
        **{"\u2013": "–", "\u00bd": "0.5", "\u00bc": "0.25", "\u00be": "0.75", "|": " "},
    }
)
# American spelling, so that a term finds both.
_SPELLING = [
    (re.compile(pattern, re.IGNORECASE), by)
    for pattern, by in (
        (r"(?<=[bcdfghklmnpt])ae(?=[a-z])", "e"),
        (r"\boe(?=[a-z])|(?<=[fc])oe(?=[tlm])|(?<=rrh)oe|(?<=pn)oe", "e"),
        (r"sulph", "sulf"),
        (r"\b(tum|behavi|col|fav|lab)our", r"\1or"),
        (r"(?<=al|il|er|im|an|gn|it|un|or)is(?=e[sd]?\b|ing\b|ations?\b)", "iz"),
    )
]
_ITEM = re.compile(r"\s*(?:[-*•·▪◦‣+–—]|\(?\d{1,2}[.)]|\(?[a-z][.)])\s+(?=\S)")
_MARKDOWN = re.compile(r"\*\*|__|`|(?<!\w)[*_](?=\S)|(?<=\S)[*_](?!\w)|^\s*#+\s*|^\s*>\s*")
_LONG = 8  # words; a longer line before a list is no heading whose verb its items share
# A heading whose items are things not to do.
_FORBIDS = re.compile(
    r"^(?:(?:please )?(?:do not|never|avoid|withhold|stop|hold)(?: (?:ever|give|use|prescribe|do))?"
    r"(?: (?:the following|these|any of these|any of the following)\b.*)?|don'ts?|do nots|"
    r"(?:absolutely |strictly )?contraindicat\w+(?: \w+)?|not (?:recommended|indicated|advised)|"
    r"(?:[\w-]+ ){0,3}(?:not to \w+|(?:to|to be|that should be) avoid(?:ed)?)|"
    r"(?:must|should) not(?: be \w+)?)$",
    re.IGNORECASE,
)


def plain(text: str) -> str:
    """Text without markup, with plain signs and American spelling; line breaks stay.

    Args:
        text: Markdown.
    """
    text = re.sub(r"(?<=\d)[\u00a0\u202f\u2009](?=\d{3}(?!\d))", "", text)
    text = re.sub(r"(?<=\d)(?=[½¼¾])", " ", text).translate(_SIGNS)
    text = unicodedata.normalize("NFKC", text).replace("µ", "μ").translate(_SIGNS)
    text = re.sub(r"(?<=\d)\s*[–—]\s*(?=\d)|(?<=[A-Za-z])–(?=[A-Za-z])", "-", text)
    text = re.sub(r"\bcannot\b", "can not", text, flags=re.IGNORECASE)
    text = re.sub(r"\bcan't\b", "can not", text, flags=re.IGNORECASE)
    text = re.sub(r"\bwon't\b", "will not", text, flags=re.IGNORECASE)
    text = re.sub(r"(?<=\w)n't\b", " not", text, flags=re.IGNORECASE)
    return american(text)


def american(text: str) -> str:
    """American spelling of the words that medicine spells in two ways."""
    for pattern, by in _SPELLING:
        text = pattern.sub(by, text)
    return text


def headed_lines(text: str) -> Iterator[tuple[str, str]]:
    """The lines of a text, without markup and the marks of lists.

    Args:
        text: from `plain`.

    Yields:
        Line, and what it takes over: `BAN` below a heading such as "Do not:", the heading itself
        if it holds a verb ("Give the following:"), or "". An item of a list ends a heading that
        was an item of the same list.
    """
    heading, level = "", ""
    for raw in text.splitlines():
        mark = _ITEM.match(raw)
        line = _MARKDOWN.sub("", raw[mark.end() :] if mark else raw).strip()
        if not line:
            continue
        here = _level(mark[0]) if mark else ""
        if not mark or (level and here <= level):
            heading = ""
        label, _, rest = line.partition(":")
        if (line.endswith(":") and (not mark or _FORBIDS.match(label))) or _is_title(raw, line):
            heading, level = _shared(line.strip(" :")), here
            yield line, ""
        elif rest[:1].isspace() and _FORBIDS.match(label.strip()):
            yield rest.strip(), BAN
        else:
            yield line, heading


def _level(mark: str) -> str:
    """How deep an item is, for comparison: bullets lie below the numbers of the same column."""
    depth = len(mark) - len(mark.lstrip())
    return f"{depth:03}{'1' if mark.strip()[-1:] in '.)' else '2'}"


def _is_title(raw: str, line: str) -> bool:
    bold = re.fullmatch(r"\s*\*\*[^*]+\*\*\s*", raw)
    return raw.lstrip().startswith("#") or (bool(bold) and line[-1:] not in ".!?")


def _shared(heading: str) -> str:
    """What the items below a heading take over from it."""
    last = list(sentences(heading))[-1].strip(" :") if heading else ""
    if _FORBIDS.match(last):
        return BAN
    verb = re.search(rf"\b{ACTION}\b", last, re.IGNORECASE)
    return last if verb and len(last.split()) <= _LONG and not last.endswith("?") else ""
