"""Refuse passages that would teach a model something other than medicine it can look up.

Each gate gives its name and the words that decided, so that every refusal can be shown.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from itertools import chain, islice
from operator import itemgetter
from typing import Any

import yaml

from elara.expand.cautions import drugs
from elara.text.sentences import count_words
from elara.text.wordlist import is_word

MIN_WORDS = 25
_START = 3  # characters by which patterns are looked up
_FIRST = itemgetter(slice(_START))
# What a pattern begins with, as far as it stands for itself: three signs, or fewer letters.
_LITERAL = re.compile(r"(?:\w{3}|\w{2} )(?![?*+{])|\w{1,2}(?![?*+{])|=")
_CHOICE = re.compile(r"(\^?)\(\?:([^()]*)\)(?![?*+])")
_OPENING = '([/-–—"“‘'  # what may stand right before a word
_AWAY, _OWN = "points elsewhere", "speaks of itself"
_STUDY, _SITE = "tells how a study was made", "talks about its site"
_OTHERS = "tells what others found"
_TOLD = 2  # times that knowledge, too, may say "was", "were" or "had"; each further is a point
_PAST = re.compile(r"w(?<!\ww)(?:as|ere)\b|h(?<!\wh)ad\b")
# What was counted in a group: (57.1%), (16/28), 36 patients; not "1 in 36 patients".
_COUNTED = re.compile(
    r"\(\d+(?:[.·]\d+)? ?%\)|\(\d+ ?/ ?\d+\b|"
    r"\d(?<!in \d)(?<!per \d)(?<!out of \d)(?<!type \d)(?<!age \d)(?<!ade \d)(?<![\d,.-]\d)\d{0,3} "
    r"(?!million|billion|thousand|or |of |to |in )(?:[a-z-]+ )?"
    r"(?:patients|cases|subjects|participants|samples|specimens|women|men|children|infants|"
    r"students|adults|individuals|volunteers|members|eyes|teeth|knees|hips|studies|trials|"
    r"articles|loci|controls|mice|rats|practices|hospitals|institutions|cent(?:er|re)s)\b"
)
_POINTS = 2  # with which a passage counts as a report of how a study was made
_REVIEWED = 3  # points more that it takes in a review, which tells what others found
_OWN_PART = re.compile(r"result|discussion|conclusion|abstract|summary|method|finding")
_AGAIN = re.compile(r"(?:was|were|had)$|\(")  # what counts each time that it is found
_REVIEW = re.compile(r"\breview\b|guideline", re.I)
_DESIGN = re.compile(r"\btrial\b|\bstudy\b|studies\b|case reports|meta-analysis", re.I)

# "I" as a person: it begins a sentence or follows one of these (not MPS I, apoA-I, collagen I).
_FIRST_PERSON = re.compile(
    r"I(?<![\w-]I)(?:['’](?:m|ve|d|ll)\b| [a-z]+)(?<! I (?:and|the|for))(?<! I (?:or|to|is|in|of))"
)
_BEFORE_A_PERSON = re.compile(
    r"(?:^|[^\w\s]|\b(?:that|what|if|when|as|and|but|because|while|which|how|where|why|so|than|"
    r"then|do|does|did|can|could|should|would|will|may|might|am|was|were|have|had|since|after|"
    r"before|until|though|or|although|whether|think|know|say|said|here|there|now|unless|once|"
    r"whenever|whom|who|hope|guess|maybe|perhaps|also|times?|things?|one|all))\s*$",
    re.I,
)
_LOST = re.compile(
    r"\[formula\]"
)  # the mark of collect for a formula that the source has as a picture
_ITEM = re.compile(r"^\s*(?:[-*•·▪–]|\(?\d{1,2}[.)]|\(?[a-z][.)])\s", re.MULTILINE)

_NUMBER = re.compile(r"\d+(?:[.,·]\d+)*")
_UP = re.compile(
    r"\b(?:increas|higher|great|rise|rais|elevat|more|improv|better|superior|gain|up)\w*",
    re.I,
)
_DOWN = re.compile(
    r"\b(?:decreas|lower|reduc|fewer|less|fall|fell|declin|drop|wors|inferior|prevent|down|loss)\w*",
    re.I,
)
_NOT = re.compile(r"\b(?:no|not|nor|without|neither|none|fail\w*|lack\w*|similar\w*|un\w+)\b", re.I)

Refusal = tuple[str, str]
_Cues = tuple[dict[str, re.Pattern[str]], list[re.Pattern[str]]]


def not_content(heading: str) -> str:
    """The words of a heading that say its section is about the making of a study, or "".

    Args:
        heading: of a section, with the headings above it.
    """
    small = heading.casefold()
    found = next(_found(_cues("headings"), small, _starts(small)), None)
    return found[0] if found else ""


def answer_refusals(
    answer: str, language: str, under: str = "", kinds: Sequence[str] = ()
) -> Iterator[Refusal]:
    """What speaks against a passage as an answer.

    Args:
        answer: the passage.
        language: ISO 639-1 code of its language.
        under: the heading of its section, with the headings above it.
        kinds: publication types of its article; of a review more is knowledge.

    Yields:
        A gate's name and the words that decided.
    """
    words = count_words(answer)
    if words < MIN_WORDS:
        yield "short answer", f"{words} words"
    lines = [line.rstrip() for line in answer.splitlines() if line.strip()]
    listed = all(_ITEM.match(line) for line in lines)
    if listed and not all(line.endswith((".", "?", "!")) for line in lines):
        yield "bare list", lines[0][:60]
    small = answer.lower()
    starts = _starts(small)
    told = language if language in _table()[_OWN] else "en"
    pointers = chain(_found(_cues(_AWAY), small, starts), _LOST.finditer(small))
    own = chain(_found(_cues(_OWN, told), small, starts), _persons(answer))
    yield from _shown(_AWAY, pointers, small)
    yield from _shown(_OWN, own, small)
    if told == "en":
        yield from _making(small, starts, under.casefold(), " ".join(kinds))
        yield from _shown(_SITE, _found(_cues(_SITE), small, starts), small)


def _persons(text: str) -> Iterator[re.Match[str]]:
    """Where somebody says "I"."""
    for found in _FIRST_PERSON.finditer(text):
        if _BEFORE_A_PERSON.search(text[max(0, found.start() - 12) : found.start()]):
            yield found


def _making(text: str, starts: set[str], under: str, kinds: str) -> Iterator[Refusal]:
    """Whether enough in a passage tells how a study was made."""
    needed = _POINTS + (_REVIEWED if _REVIEW.search(kinds) else 0)
    needed += bool(under) and not _OWN_PART.search(under)
    others = islice(_found(_cues(_OTHERS), text, starts), 1)  # looked for where it matters
    evidence: list[str] = []
    for worth, words in _points(text, starts, under, kinds):
        if words in evidence and not _AGAIN.match(words):
            continue
        evidence.append(words)
        needed -= worth
        needed += needed <= 0 and next(others, None) is not None
        if needed <= 0:
            yield _STUDY, "; ".join(evidence)
            return


def _points(text: str, starts: set[str], under: str, kinds: str) -> Iterator[tuple[int, str]]:
    """What says that a passage tells how a study was made, and how much each is worth."""
    design = None if _REVIEW.search(kinds) else _DESIGN.search(kinds)
    results = next(_found(_cues("results"), under, _starts(under)), None)
    once = [found[0] for found in (design, results) if found]
    for words in chain(once, _PAST.findall(text)[_TOLD:], _COUNTED.findall(text)):
        yield 1, words
    for worth in (2, 1):
        for found in _found(_cues(_STUDY, worth), text, starts):
            yield worth, found[0].rstrip("0123456789 ")


def _shown(gate: str, found: Iterator[re.Match[str]], text: str) -> Iterator[Refusal]:
    """The refusal for the first of what was found, with the words around it."""
    if first := next(found, None):
        around = text[max(0, first.start() - 20) : first.end() + 20]
        yield gate, around.replace("\n", " ")


def _starts(text: str) -> set[str]:
    """The first three characters of each word: only patterns that begin so are looked for."""
    for sign in _OPENING:
        text = text.replace(sign, " ")
    return set(map(_FIRST, text.split()))


def _found(cues: _Cues, text: str, starts: set[str]) -> Iterator[re.Match[str]]:
    """Where a text holds one of these patterns; always in one order."""
    keyed, others = cues
    for start in sorted(keyed.keys() & starts):
        yield from keyed[start].finditer(text)
    for cue in others:
        yield from cue.finditer(text)


@cache
def _cues(gate: str, part: str | int | None = None) -> _Cues:
    """The patterns of a gate: by the characters that a word begins with, and all others.

    Python finds a pattern that begins with letters many times faster than one that begins with
    the edge of a word: so the letters stand first, and the edge is looked for behind them.
    """
    table = _table()[gate] if part is None else _table()[gate][part]
    rests: dict[str, list[str]] = {}
    for pattern in filter(None, map(str.strip, table.splitlines())):
        for whole in _spelled_out(pattern):
            letters = _LITERAL.match(whole.removeprefix("^"))
            start = letters[0] if letters else ""
            first = f"(?<!\\w {start})" if whole.startswith("^") else ""
            rests.setdefault(start, []).append(first + whole.removeprefix("^")[len(start) :])
    made = {
        start: re.compile(f"{start}(?<!\\w{start})(?:{'|'.join(rest)})")
        for start, rest in rests.items()
    }
    keyed = {start.strip(): cue for start, cue in made.items() if len(start) == _START}
    return keyed, [cue for start, cue in made.items() if len(start) < _START]


def _spelled_out(pattern: str) -> list[str]:
    """A pattern that begins with a choice, as one pattern for each."""
    parts = _CHOICE.match(pattern)
    if not parts:
        return [pattern]
    return [f"{parts[1]}{choice}{pattern[parts.end() :]}" for choice in parts[2].split("|")]


@cache
def _table() -> dict[str, Any]:
    text = files("elara.expand").joinpath("gates.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def unsupported(conclusion: str, findings: str) -> str:
    """What a conclusion states that the findings do not show, or "".

    Every number, every technical term (a word of no general word list: drugs, organisms, genes)
    and every direction (more, less, no difference) has to stand in the findings.

    Args:
        conclusion: the answer.
        findings: what the question shows, title included.
    """
    shown = Counter(_NUMBER.findall(findings))
    for number in _NUMBER.findall(conclusion):
        if not shown[number]:
            return str(number)
    known = {word.removesuffix("s") for word in _words(findings)}
    for word in _words(conclusion):
        if word.removesuffix("s") not in known and (drugs(word) or not is_word(word)):
            return str(word)
    for direction in (_UP, _DOWN, _NOT):
        if (found := direction.search(conclusion)) and not direction.search(findings):
            return str(found[0])
    return ""


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]{4,}", text.casefold())
