"""Read an answer for its marks: what it says by itself, and what of the question it agrees with.

Words that only repeat the question earn nothing. But an answer that says "yes, double the heparin
as the surgeon wishes" has made the words of the question its own, so that a rule that forbids them
has to see them. Three things count as agreement: a sentence that agrees and says with what, a
command or an advice made of the question's words, and a bare "I agree", which stands for what the
question proposes. A sentence of the question that is only repeated is none of them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from elara.evaluate.clauses import Clause, Sentence, cut
from elara.evaluate.plain import plain
from elara.evaluate.polarity import marks
from elara.evaluate.rules import Kind, Rule, met, prepare, read, sift, spoken
from elara.evaluate.verbs import ACTION

_WHOSE = r"(?:the|his|her|their|your|our|this|that|its|an?)"
# What somebody does who proposes something.
_PROPOSES = (
    r"wants?|wanted|wish(?:es|ed)?|asks?|asked|plans?|planned|means? to|meant|would like|suggests?|"
    r"suggested|propos(?:es?|ed)|believes?|thinks?|says?|said|requests?|requested|hopes?|intends?|"
    r"intended|insists?|begs?|orders?|ordered|charted|drawn up|laid out|recommends|recommended|"
    r"advises|advised|prefers?|wonders?|calls? it|called it"
)
_PLAN = r"(?:plan|proposal|suggestion|advice|idea|view|approach|request)"
_YES = (
    r"(?:yes|yeah|yep)\b(?! and no\b)|"
    r"(?:sure|certainly|of course|absolutely|definitely|ok|okay|agreed|correct|right|exactly|"
    r"indeed|fine|good (?:plan|idea)|by all means|very well|"
    r"that is (?:so|right|correct|true|fine))(?=\s*(?:[,.;:!–-]|$))|"
    r"(?:please )?(?:go ahead|do so|carry on)\b"
)
_YES_ALONE = re.compile(rf"(?:{_YES})\W*$", re.IGNORECASE)
_AGREES = re.compile(
    rf"^(?:{_YES})|"
    r"\b(?:I|we)\b(?: [\w']+){0,3} (?:agree|concur)\b|"
    r"^(?:agree|concur)(?= with\b|\W*$)|\bin agreement with\b|^a yes\b|"
    r"\b(?:support|approve|endorse|accept|follow|grant|sign|keep to|stick to|carry out|"
    rf"proceed with|go ahead with)\b(?: of)? {_WHOSE}?\s?(?:[\w']+ ){{0,3}}?"
    rf"(?:{_PLAN}|orders?|wish|wishes|colleague)\b|"
    r"\b(?:as|(?:do|doing|give|get|gets|has|have) (?:\w+ )?(?:exactly |just )?what(?:ever)?) "
    rf"(?:{_WHOSE} )?(?:[\w'-]+ ){{1,3}}?(?:{_PROPOSES})\b|"
    r"\bas (?:planned|requested|proposed|suggested|ordered|charted|asked|desired|wished)\b|"
    r"(?<!\bwhat )\b(?:is|are|was|has it) (?:quite |absolutely |entirely )?(?:right|correct)\b|"
    r"\b(?:should|can|may|must) be (?:granted|approved|followed|accepted|supported)\b|"
    rf"\bgo along with\b|\bgood {_PLAN}\b",
    re.IGNORECASE,
)
_APPROVES = re.compile(
    rf"\b{_PLAN}\b[^.;:]*?"
    r"\b(?:is|are|seems?|sounds?|looks?) (?:(?:quite|perfectly|entirely|very|an?|the) )*"
    r"(?:right|correct|reasonable|appropriate|sound|sensible|fine|acceptable|good|safe|justified)\b",
    re.IGNORECASE,
)
# What may stand around an agreement that does not say with what.
_AROUND = re.compile(
    rf"\s*(?:(?:with|on|by|to {_WHOSE})\b)?"
    r"(?: ?\b(?!(?:that|to|if|but|not|about|as)\b)[\w'-]+){0,6}",
    re.IGNORECASE,
)
_PLAIN = """
    advice approach approve colleague completely course doctor entirely exactly follow fully idea
    just plan propose proposed proposal question quite request suggested suggestion support their
    think this that view what with would wholly your
"""
_DO_IT = re.compile(
    r"(?:please |then |just )*(?:do|give|go ahead|proceed|carry on|follow|let)\b(?: with)?"
    r"(?: (?:it|that|this|them|so|these|him|her|the plan|what))?",
    re.IGNORECASE,
)
_REPORTS = re.compile(
    rf"^(?:(?!\b(?:should|must|not)\b).)*?(?<!\bas )\b(?:{_PROPOSES})\b|"
    rf"^{_WHOSE} (?:[\w'-]+ ){{0,2}}?(?:{_PLAN}|wish|question|order)\b",
    re.IGNORECASE,
)
_OPENING = re.compile(
    r"^(?:[\w ]{1,40}: )?(?:(?:yes|so|then|now|first|next|just|simply|please|therefore|thus|also|"
    r"today|tonight|ok|okay),? )*",
    re.IGNORECASE,
)
_COMMAND = re.compile(rf"(?:\w+ly )?(?:let|{ACTION})\b", re.IGNORECASE)
_ADVICE = re.compile(
    r"\b(?:should|must|needs? to|enough to|(?:I|we|you)'d|ought to|ha(?:s|ve) to|can|may|will|"
    r"would|let us|let's|recommend|advise|suggest|best|indicated|appropriate|reasonable|safe|"
    r"correct|right|fine|(?:is|are) to|(?:is|are|gets?|goes|receives?) (?:then |now |therefore )?"
    r"(?:\w+ed|given|sent|taken|put|kept|home|back))\b",
    re.IGNORECASE,
)
_LEADS = frozenset(("to", "and", "or", "should", "will", "would", "must", "can", "may", "not"))
_JOINED = re.compile(r"(?:\b(?:and|or|nor|plus|to)|,|&)\s*$", re.IGNORECASE)
_FRONT = 4  # words before an agreement: "I would fully agree"
_HEAD = 3  # words by which the beginning of a clause is found again in the question
_LONG = 4  # letters; of a shorter word it does not matter whether the question has it


@dataclass(frozen=True)
class Reading:
    """An answer, cut into sentences.

    Args:
        said: what it says, each word that only repeats the question masked.
        agreed: where it makes words of the question its own, with these words.
        proposed: what the question proposes, if the answer agrees without saying with what.
        soup: sentences that were left out, as they are lists of keywords.
    """

    said: tuple[Sentence, ...]
    agreed: tuple[Sentence, ...] = ()
    proposed: tuple[Sentence, ...] = ()
    soup: int = 0


@dataclass(frozen=True)
class _Asked:
    """A question, for comparison.

    Args:
        prompt: the question.
        sentences: of which it consists.
        words: all its words.
        clauses: its clauses, without those that only go on: "and transfuse platelets".
        inner: the first words behind each "to", "should" and the like: what it proposes to do.
    """

    prompt: str
    sentences: tuple[Sentence, ...]
    words: frozenset[str]
    clauses: frozenset[tuple[str, ...]]
    inner: frozenset[tuple[str, ...]]


def read_answer(text: str, prompt: str, rules: Sequence[Rule], *, finished: bool = True) -> Reading:
    """Read an answer.

    Args:
        text: the answer, Markdown.
        prompt: the question.
        rules: of the scenario; their terms tell a list of keywords from a sentence.
        finished: whether the answer ended by itself; see `elara.evaluate.rules.read`.
    """
    said, soup = sift(prepare(text, prompt), rules, finished=finished)
    whole, asked = read(plain(text), rules, finished=finished), _asked(prompt)
    bare = [s for s in whole if _is_bare(s, asked)]
    agrees = len(bare) == len(whole) or any(not _YES_ALONE.match(s.text) for s in bare)
    proposed = tuple(_proposals(asked)) if bare and agrees else ()
    return Reading(said, tuple(_agreed(whole, asked)), proposed, soup)


def met_in(rule: Rule, reading: Reading, kind: Kind = "must") -> str | None:
    """The words that meet a rule, or None; a rule that forbids also sees what is agreed with.

    Args:
        rule: what to look for.
        reading: from `read_answer`.
        kind: of the criterion.
    """
    words = met(rule, reading.said, kind)
    if words is not None or kind != "must_not":
        return words
    words = met(rule, reading.agreed, kind)
    if words is not None or not reading.proposed:
        return words
    refused = met(replace(rule, polarity="negated", not_if=None), reading.said, kind)
    return met(rule, reading.proposed, kind) if refused is None else None


@functools.lru_cache(maxsize=64)
def _asked(prompt: str) -> _Asked:
    text = plain(prompt)
    sentences, words = cut(text), spoken(text)
    return _Asked(
        prompt,
        sentences,
        frozenset(words),
        frozenset(spoken(c.said) for s in sentences for c in s.clauses if not _goes_on(s, c)),
        frozenset(words[i + 1 : i + 1 + _HEAD] for i, word in enumerate(words) if word in _LEADS),
    )


def _agreed(whole: Sequence[Sentence], asked: _Asked) -> Iterator[Sentence]:
    """Sentences of an answer that agree or advise; of the latter only the clauses that do."""
    after_yes = False
    for sentence in whole:
        if not sentence.question:
            granted = _granted(sentence) if _agrees(sentence, asked) else None
            clauses = granted or tuple(_advised(sentence, asked, after_yes=after_yes))
            if clauses:
                yield replace(sentence, clauses=clauses)
        after_yes = _is_bare(sentence, asked)


def _granted(sentence: Sentence) -> tuple[Clause, ...]:
    """The clauses of a sentence that agrees, where "may" gives leave and is no doubt."""
    return tuple(replace(c, text=re.sub(r"\bmay\b", "can", c.text)) for c in sentence.clauses)


def _advised(sentence: Sentence, asked: _Asked, *, after_yes: bool) -> Iterator[Clause]:
    """The clauses that advise; what is wished or denied is so to its end: "… and transfuse"."""
    told = denied = False
    for clause in sentence.clauses:
        joined = _goes_on(sentence, clause)
        told = (told and joined) or _tells(clause, asked)
        if not told and not (denied and joined) and (after_yes or _advises(clause, asked)):
            yield clause
        denied = _denies(clause, len(clause.text) - 1)


def _tells(clause: Clause, asked: _Asked) -> bool:
    """Whether a clause only repeats the question, or says what somebody wants."""
    return spoken(clause.said) in asked.clauses or bool(_REPORTS.search(clause.text))


def _goes_on(sentence: Sentence, clause: Clause) -> bool:
    """Whether a clause is joined to the one before it: "and transfuse platelets"."""
    return bool(_JOINED.search(sentence.text[: max(sentence.text.find(clause.said), 0)]))


def _denies(clause: Clause, place: int) -> bool:
    return sum(m.governs(place) for m in marks(clause.text).negators) % 2 == 1


def _agrees(sentence: Sentence, asked: _Asked) -> bool:
    """Whether a sentence agrees in words that are not the question's, and does not deny that."""
    if _APPROVES.search(sentence.text):
        return True
    own = (c for c in sentence.clauses if spoken(c.said) not in asked.clauses)
    found = ((c, _AGREES.search(c.text)) for c in own)
    return any(
        match and not _denies(c, match.start()) and _AGREES.search(prepare(c.text, asked.prompt))
        for c, match in found
    )


def _is_bare(sentence: Sentence, asked: _Asked) -> bool:
    """Whether a sentence agrees without saying with what: "Yes.", "I agree with the surgeon."."""
    if sentence.question or not _agrees(sentence, asked):
        return False
    return all(_says_nothing_else(c.said, asked) for c in sentence.clauses)


def _says_nothing_else(said: str, asked: _Asked) -> bool:
    found = _AGREES.search(said) or _APPROVES.search(said)
    if not found:
        return bool(_DO_IT.fullmatch(said))
    front, behind = spoken(said[: found.start()]), spoken(said[found.end() :])
    known = (w in asked.words or w in _PLAIN.split() for w in front + behind if len(w) >= _LONG)
    around = len(front) <= _FRONT and _AROUND.fullmatch(said, found.end())
    return bool(around) and all(known)


def _advises(clause: Clause, asked: _Asked) -> bool:
    """Whether a clause tells the reader to do something."""
    said, text = (_OPENING.sub("", words) for words in (clause.said, clause.text))
    if spoken(said)[:_HEAD] in asked.inner or _COMMAND.match(said) or _COMMAND.match(text):
        return True
    return bool(_ADVICE.search(text))


def _proposals(asked: _Asked) -> Iterator[Sentence]:
    """The sentences of a question in which somebody proposes something, as if it were stated."""
    for sentence in asked.sentences:
        if sentence.question or re.search(rf"\b(?:{_PROPOSES})\b", sentence.text, re.IGNORECASE):
            clauses = tuple(replace(c, unclear=False) for c in sentence.clauses)
            yield replace(sentence, clauses=clauses, question=False)
