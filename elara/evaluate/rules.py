"""Say whether an answer meets a rule, and with which words.

A rule is met where one clause (or sentence, or the answer) holds a term of each group, says so
rather than denies it, and holds the number that the rule asks for.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from elara.evaluate.clauses import Clause, Sentence, cut
from elara.evaluate.plain import plain
from elara.evaluate.polarity import Mark, Marks, marks
from elara.evaluate.quantities import Quantity, quantities
from elara.evaluate.verbs import is_action

Kind = Literal["must", "must_not", "red_flag", "ask", "number", "order"]
MASK = "_"  # stands for a word that only repeats the question
RUN = 6  # words of the prompt in a row that count for nothing
_LENIENT = ("red_flag", "ask")  # "this may be torsion" recognizes it
_WORD = re.compile(r"\w+(?:[.,]\d+)?%?")
# What a stem does not reach.
_PAST = {
    **{"send*": "sent", "give*": "gave", "take*": "took", "hold*": "held", "withhold*": "withheld"},
    **{"keep*": "kept", "begin*": "began|begun", "feel*": "felt", "bend*": "bent", "make*": "made"},
    **{"draw*": "drew", "get*": "got", "run*": "ran", "choose*": "chose|chosen"},
}
_SOUP_WORDS, _SOUP_COVERED, _SOUP_DOUBLED = 12, 0.75, 0.5


@dataclass(frozen=True)
class Value:
    """A number that has to stand beside the terms.

    Args:
        low: the least, in `unit`.
        high: the most, in `unit`.
        unit: such as `mg`, `mL/kg` or `/min`; "" for a bare number.
    """

    low: float
    high: float
    unit: str = ""


@dataclass(frozen=True)
class Before:
    """What has to come later, of a rule of order.

    Args:
        terms: as in `Rule`.
    """

    terms: list[list[str]]


@dataclass(frozen=True)
class Rule:
    """What a program looks for in an answer.

    Args:
        terms: groups of synonyms; one of each group has to occur. A trailing `*` is a stem.
        scope: where they have to occur together.
        polarity: whether the answer has to say it or to deny it.
        value: a number that has to stand there, too.
        not_if: words that must not stand there, such as `if`.
        before: what has to come later in the answer.
    """

    terms: list[list[str]]
    scope: Literal["clause", "sentence", "answer"] = "clause"
    polarity: Literal["affirmed", "negated"] = "affirmed"
    value: Value | None = None
    not_if: list[str] | None = None
    before: Before | None = None


@dataclass(frozen=True)
class _Hit:
    """Where a term stands: clause of the unit, and characters; `says` is "+", "-" or "?"."""

    clause: int
    start: int
    end: int
    says: str = "?"
    aside: Mark | None = None


@dataclass(frozen=True)
class _Met:
    """Where a rule is met: number of the unit, first hit, and the words."""

    unit: int
    hit: _Hit
    words: str


def prepare(text: str, prompt: str = "") -> str:
    """An answer in plain text, each word that only repeats the prompt masked.

    Args:
        text: the answer.
        prompt: the question; a run of six of its words counts for nothing.
    """
    text = plain(text)
    asked = spoken(plain(prompt))
    runs = {asked[i : i + RUN] for i in range(len(asked) - RUN + 1)}
    words, said = list(_WORD.finditer(text)), spoken(text)
    echoed = {i + k for i in range(len(said)) if said[i : i + RUN] in runs for k in range(RUN)}
    for i in sorted(echoed, reverse=True):
        text = text[: words[i].start()] + MASK + text[words[i].end() :]
    return text


def spoken(text: str) -> tuple[str, ...]:
    """The words of a plain text in small letters, to compare texts whatever their signs."""
    return tuple(word.casefold() for word in _WORD.findall(text))


def read(text: str, rules: Sequence[Rule], *, finished: bool = True) -> tuple[Sentence, ...]:
    """The sentences of an answer that can affirm or deny something.

    Lists of keywords are none. If the answer was cut off, its last sentence is none, either: the
    words that are missing may have turned it round.

    Args:
        text: from `prepare`.
        rules: of the scenario; their terms tell a list of keywords from a sentence.
        finished: whether the answer ended by itself.
    """
    return sift(text, rules, finished=finished)[0]


def sift(
    text: str, rules: Sequence[Rule], *, finished: bool = True
) -> tuple[tuple[Sentence, ...], int]:
    """As `read`, with how many sentences were left out because they are lists of keywords.

    Args:
        text: from `prepare`.
        rules: of the scenario; their terms tell a list of keywords from a sentence.
        finished: whether the answer ended by itself.
    """
    terms = tuple(tuple(group) for rule in rules for group in groups(rule))
    found = cut(text)
    if not finished and found and not found[-1].complete:
        found = found[:-1]
    whole = _soup(" ".join(s.text for s in found), terms)
    kept = () if whole else tuple(s for s in found if not _soup(s.text, terms))
    return kept, len(found) - len(kept)


def groups(rule: Rule) -> list[list[str]]:
    """All groups of terms of a rule, those of a later action as well."""
    return [*rule.terms, *(rule.before.terms if rule.before else [])]


def _soup(text: str, terms: tuple[tuple[str, ...], ...]) -> bool:
    """Whether a text is a list of keywords: nothing but terms, most of them in several synonyms."""
    words = len(_WORD.findall(text))
    if words < _SOUP_WORDS:
        return False
    covered: set[int] = set()
    doubled = []
    for group in terms:
        starts = set()
        for term in group:
            for match in pattern(term).finditer(text):
                starts.add(match.start())
                covered |= set(range(*match.span()))
        if starts and len(group) > 1:
            doubled.append(len(starts) > 1)
    share = sum(w.start() in covered for w in _WORD.finditer(text)) / words
    return share >= _SOUP_COVERED and sum(doubled) >= _SOUP_DOUBLED * max(len(doubled), 1)


@functools.lru_cache(maxsize=8192)
def pattern(term: str) -> re.Pattern[str]:
    """A term as a pattern: whole words, any blank or hyphen between them, `*` for any ending.

    Args:
        term: such as `transcutaneous pac*`. A word of four letters or more may have a plural s, and
            the stem `give*` has `giving` and `gave`.
    """
    parts = [p for p in re.split(r"[\s-]+", plain(term).strip()) if p]
    words = [_stem(p) for p in parts]
    last = parts[-1] if parts else ""
    plural = "(?:e?s)?" if len(last) > 3 and last[-1].isalpha() else ""
    joined = r"[\s-]+".join(words)
    return re.compile(rf"(?<!\w){joined}{plural}(?!\w)", re.IGNORECASE)


def _stem(word: str) -> str:
    past = _PAST.get(word)
    forms = re.escape(word).replace(r"e\*", r"(?:e\w*|ing)").replace(r"\*", r"\w*")
    return f"(?:{forms}|{past})" if past else forms


def met(rule: Rule, said: Sequence[Sentence], kind: Kind = "must") -> str | None:
    """The words that meet a rule, or None.

    Args:
        rule: what to look for.
        said: from `read`.
        kind: of the criterion. Red flags and questions may be hedged ("this may be torsion"), and
            only a question to ask may stand in a question.
    """
    places = _places(rule, said, kind)
    if rule.before is None or kind != "order":
        first = next(places, None)
        return first.words if first else None
    return _in_order(rule, list(places), said)


def _in_order(rule: Rule, places: list[_Met], said: Sequence[Sentence]) -> str | None:
    assert rule.before is not None
    later = Rule(rule.before.terms, scope=rule.scope)
    seconds = list(_places(later, said, "order", anyhow=True))
    if not places or not seconds:
        return None
    first, second = places[0], seconds[0]
    if first.unit == second.unit and first.hit.clause == second.hit.clause:
        ok = _earlier(first, second)
    else:
        ok = (first.unit, first.hit.clause) < (second.unit, second.hit.clause)
    return f"{first.words} … {second.words}" if ok else None


def _earlier(first: _Met, second: _Met) -> bool:
    """Which of two actions in one clause comes first: "before" and "after" may turn the words."""
    for hit, way in ((second.hit, True), (first.hit, False)):
        if hit.aside:
            starter = first.words[hit.aside.start : hit.aside.end].casefold()
            before = starter.startswith(("before", "prior", "until", "till"))
            return way if before else not way
    return first.hit.start < second.hit.start


def _places(
    rule: Rule, said: Sequence[Sentence], kind: Kind, *, anyhow: bool = False
) -> Iterator[_Met]:
    for number, (clauses, question) in enumerate(_units(rule.scope, said)):
        if rule.not_if and any(pattern(t).search(c.text) for c in clauses for t in rule.not_if):
            continue
        unit = _Unit(rule, clauses, question, kind)
        if hit := unit.mentioned() if anyhow else unit.met():
            yield _Met(number, hit, " ".join(c.text for c in clauses))


def _units(scope: str, said: Sequence[Sentence]) -> list[tuple[list[Clause], bool]]:
    if scope == "clause":
        return [([clause], s.question) for s in said for clause in s.clauses]
    if scope == "sentence":
        return [(list(s.clauses), s.question) for s in said]
    return [([c for s in said for c in s.clauses], False)]


class _Unit:
    """One unit of text with the hits of a rule's terms."""

    def __init__(self, rule: Rule, clauses: Sequence[Clause], question: bool, kind: Kind) -> None:
        self.rule, self.clauses, self.kind = rule, clauses, kind
        self.marks = [marks(c.text) for c in clauses]
        found = [list(self._find(group)) for group in rule.terms]
        self.own = [hit for hits in found for hit in hits]
        self.acts = [self._acts(group) for group in rule.terms]
        self.hits = [[self._judged(hit) for hit in hits] for hits in found]

    def _find(self, group: Sequence[str]) -> Iterator[_Hit]:
        for number, clause in enumerate(self.clauses):
            for term in group:
                for match in pattern(term).finditer(clause.text):
                    yield _Hit(number, *match.span())

    def _acts(self, group: Sequence[str]) -> bool:
        """Whether a group names an action, rather than what is acted on."""
        acts = sum(map(is_action, group))
        if self.kind == "ask":  # "ask", "which" and "unknown" all ask
            return acts > 0
        return 2 * acts > len(group) if self.rule.polarity == "negated" else acts == len(group)

    def _is_own(self, clause: int, mark: Mark) -> bool:
        """Whether a mark is a term of the rule itself: "stop" in a rule that looks for "stop"."""
        return any(h.clause == clause and h.start <= mark.start < h.end for h in self.own)

    def _is_checked(self, clause: int, mark: Mark) -> bool:
        """Whether a mark belongs to a thing to check, and the rule looks for the checking."""
        return mark.checked is not None and any(
            h.clause == clause and h.start <= mark.checked < h.end for h in self.own
        )

    def _says(self, clause: int, place: int) -> str:
        found: Marks = self.marks[clause]
        here = self.clauses[clause]
        if here.unclear and self.kind != "ask":
            return "?"
        hedged = any(h.governs(place) and not self._is_own(clause, h) for h in found.hedges)
        if hedged and self.kind not in _LENIENT:
            return "?"
        negated = here.flipped + sum(
            m.governs(place) and not self._is_own(clause, m) and not self._is_checked(clause, m)
            for m in found.negators
        )
        return "-" if negated % 2 else "+"

    def _judged(self, hit: _Hit) -> _Hit:
        aside = self.marks[hit.clause].aside(hit.start, hit.end)
        says = self._says(hit.clause, hit.start)
        return _Hit(hit.clause, hit.start, hit.end, says, aside)

    def mentioned(self) -> _Hit | None:
        """The first hit, if a term of each group occurs, whatever is said of it."""
        if not all(self.hits):
            return None
        return min((hit for hits in self.hits for hit in hits), key=_place)

    def met(self) -> _Hit | None:
        """The first hit, if the rule is met here."""
        found = self._affirmed() if self.rule.polarity == "affirmed" else self._negated()
        if not found or not self._main(found) or not self._valued():
            return None
        return min((hit for hits in found for hit in hits), key=_place)

    def _affirmed(self) -> list[list[_Hit]]:
        """The hits of each group that are said to be so; empty if a group has none."""
        ask = self.kind == "ask" and any(self.acts)  # "check that there is no allergy"
        found = [
            [h for h in hits if h.says == "+" or (ask and not act and h.says == "-")]
            for hits, act in zip(self.hits, self.acts, strict=True)
        ]
        return found if all(found) else []

    def _negated(self) -> list[list[_Hit]]:
        """The hits of each group, of which one is denied; empty if none is, or a group has none.

        A word that negates stands for an action: "avoid X" for "do not give X".
        """
        found = [[h for h in hits if h.says != "?"] for hits in self.hits]
        stands = any(m.forbids for marked in self.marks for m in marked.negators)
        there = all(hits or (act and stands) for hits, act in zip(found, self.acts, strict=True))
        denied = any(hits and all(h.says == "-" for h in hits) for hits in found)
        return found if there and denied else []

    def _main(self, groups: Sequence[Sequence[_Hit]]) -> bool:
        """Whether not all that is acted on stands in a condition: "fluids if adrenaline fails"."""
        if self.kind in ("red_flag", "ask", "order"):
            return True
        things = [hits for hits, act in zip(groups, self.acts, strict=True) if not act]
        return any(h.aside is None for hits in things or groups for h in hits)

    def _valued(self) -> bool:
        value = self.rule.value
        if value is None:
            return True
        return any(
            q.within(value.low, value.high, value.unit)
            and (self.rule.polarity == "negated" or self._says(number, q.start) == "+")
            for number, clause in enumerate(self.clauses)
            for q in _numbers(clause.text)
        )


@functools.lru_cache(maxsize=4096)
def _numbers(text: str) -> tuple[Quantity, ...]:
    return tuple(quantities(text))


def _place(hit: _Hit) -> tuple[int, int]:
    return hit.clause, hit.start
