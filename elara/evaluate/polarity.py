"""Mark the words of a clause that negate, hedge or make a condition, and what each of them governs.

The lists follow NegEx: words that negate what comes behind them, words that negate what stands
before them, and pairs that only look like a negation. They are our own because the ready-made ones
ask whether a patient has a finding, and need spaCy; here the question is whether an answer tells
the reader to do something, so that "stop", "hold", "instead of" and "may" count as well.

Source: Chapman et al. (2001), NegEx, https://doi.org/10.1006/jbin.2001.1029
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from elara.evaluate.verbs import ACTION, FORMS

_AUX = (
    "do|does|did|is|are|was|were|be|been|has|have|had|should|must|can|could|may|might|will|would|"
    "shall|need|needs|ought"
)
# Only look like negations, or cancel themselves: "without delay", "do not wait … before".
_PSEUDO = r"""
    not (?:only|just|merely|simply)
    no (?:longer|doubt|later than|more than|less than|fewer than|matter|sooner than)
    not (?:later|more|less|fewer) than
    (?:do |must |should )?not (?:to )?(?:be )?exceed(?:ing|ed)?
    without (?:any )?(?:delay|hesitation|exception|fail)
    or not(?=\W*$)
    (?:do|should|must) not (?:hesitate to|be afraid (?:to|of))
    (?:with no|no|without(?: any)?|absence of(?: any)?) (?:known |absolute )?contraindicat\w+
    (?:(?:do|must|should) not|never|without) (?:wait|waiting|delay|delaying)
        (?: to(?= \w)|(?: [\w-]+){0,6}? before)
    can not be (?:excluded|ruled out)
    stop(?:s|ping)? (?:the |any |all |further |this |active )*(?:external |catastrophic )?
        (?:bleeding|hemorrhage|seizures?|convulsions?|fits?|spread|burning|progression)
    hold(?:s|ing)? (?:direct |firm |the |his |her |gentle |manual |steady )*
        (?:pressure|compression|hands?|breath|arm|leg|head|baby|child|chamber|mask|spacer)
"""
# Negate the whole clause: what stands before them as well.
_BOTH = rf"""
    (?:{_AUX}) (?:\w+ly )?(?:not|never)
    (?:has|have|had|plays?|(?:is|are) of) no (?:\w+ )?(?:role|place|benefit|value|indication|use)
    contraindicated|disallowed|prohibited|forbidden|inadvisable|inappropriate|ill[ -]advised
    (?:(?<=\bis\ )|(?<=\bare\ )|(?<=\bbe\ )|(?<=\bnot\ )|(?<=\bwas\ ))(?:\w+ly )?
        (?:unnecessary|dangerous|harmful|unsafe|unwise|wrong|a mistake|an error|futile|useless|
        stopped|declined|refused|rejected|deferred|postponed|delayed|held|harmful)
    withheld|avoided|omitted|discontinued
"""
# Negate what comes behind them, up to a preposition that names the means.
_VERBS = r"""
    avoid(?:s|ing|ance of)?|withhold(?:s|ing)?|hold(?:s|ing)?(?: off| back)?(?: on)?|stop(?:s|ping)?
    discontinu(?:e|es|ing)|ceas(?:e|es|ing)|omit(?:s|ting)?|skip(?:s|ping)?
    delay(?:s|ing)?
    defer(?:s|ring)?|postpon(?:e|es|ing)|refrain(?:s|ing)?(?: from)?|forget(?:s|ting)?(?= \w)
    fail(?:s|ing|ure|ed)? to|neglect(?:s|ing)?|miss(?:es)?|dismiss(?:es|ing)?
    (?:advis|recommend|warn|caution|decid|guard)\w* (?:you )?against
    resist(?:s|ing)? the (?:urge|temptation)|discourag(?:e|es|ing)
    contraindications? (?:to|for|of|include\w*)
    (?:wrong|dangerous|harmful|unsafe|unwise|foolish|pointless|futile|a mistake|an error) to
"""
# Negate what comes behind them, up to the next verb.
_INSTEAD = r"instead of|rather than|in place of|other than|without|unlike|except(?: for)?"
# Negate all that comes behind them.
_REST = r"no|not|never|neither|nor|none of|nothing|nobody|no one|nil|lack(?:s|ing)?(?: of)?"


def _any(listed: str) -> str:
    """The alternatives of a list, one or several in a line; an indented line goes on."""
    joined = re.sub(r"\n {8}", "", listed.strip("\n"))
    return "|".join(line.strip() for line in joined.strip().splitlines())


_NEGATOR = re.compile(
    rf"(?<![\w-])(?:(?P<pseudo>{_any(_PSEUDO)})|(?P<both>{_any(_BOTH)})|(?P<verb>{_any(_VERBS)})|"
    rf"(?P<instead>{_INSTEAD})|(?P<rest>{_REST}))(?![\w])",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    r"(?<![\w-])(?:may|might|could|perhaps|possibly|maybe|potentially|theoretically|in theory|"
    r"consider(?:s|ed|ing|ation of)?|think(?:ing)? about|"
    r"some (?:would|might|people|clinicians|doctors|experts|guidelines|authors|cent(?:er|re)s)|"
    r"(?:is|are|be) (?:an option|options|optional|possible|debated|controversial|discretionary))"
    r"(?!\w)",
    re.IGNORECASE,
)
_STARTER = re.compile(
    r"(?<![\w-])(?:^(?:in|with|for|during|at|on)\b(?="
    rf"(?:(?!\b{ACTION}\b)[^,:]){{2,60}},)|"
    r"if(?! (?:needed|necessary|possible|required|available)\b)|unless|"
    r"when(?! (?:needed|necessary)\b)|whenever|"
    r"(?<!\bat )once(?! (?:daily|a|an|only|every|per|weekly|or|more|again)\b)|"
    r"(?:until|till|after|before|prior to)(?! (?:about |at least |another )?(?:\d|one|two|three|"
    r"five|ten|that\b|this\b))|in case(?: of)?|whether|provided(?: that)?|as long as)(?!\w)",
    re.IGNORECASE,
)
_NOT = re.compile(r"\b(?:not|never|no)\b", re.IGNORECASE)
_STATES = re.compile(r"(?:is|are|was|were|be|been|has|have|had|does|did|will|would)\b", re.I)
_ADVISED = re.compile(
    r"\s(?:be |to be |been )?(?:indicated|needed|recommended|advis\w+|appropriate|required|given|"
    r"used|necessary|suitable|safe|an option|started|warranted|justified)\b",
    re.IGNORECASE,
)
_COMMA = re.compile(r",|:\s")
_MEANS = re.compile(r"\s(?:with|by|using|via|through)\s", re.IGNORECASE)
# "Delaying surgery risks …": what stands behind the verb is what comes of the delay.
_TOPIC = re.compile(r"(?:delays?|failure|\w+ing)\b", re.IGNORECASE)
_FOLLOWS = re.compile(
    r"\s(?=(?:\w+ly )?(?:(?:risk|cost|worsen|increase|raise|lead|mean|harm|kill|threaten|cause|"
    r"make|bring|result|allow|invite|double|shorten|prevent)(?:s|e?d)?|led|meant|brought|is|are|can|could|may|might|will|would|"
    r"has|have)\b)",
    re.IGNORECASE,
)
_REASON = re.compile(
    r"\s(?=(?:due to|owing to|because of|on account of|in (?:view|light) of|as a result of|"
    r"by reason of|(?:out of|for) fear of|given (?:the|his|her|their|its|this|that|these|an?))\b)",
    re.IGNORECASE,
)
_CHECKING = re.compile(
    r"\b(?:check|confirm|ensur|verif|ascertain|establish|(?:make|be|making) (?:sure|certain))\w*\b",
    re.IGNORECASE,
)
_DEED = re.compile(r"\s?(?:\w+ly )?(?:be |been |being )?(\w+)")
_WAITS = re.compile(r".*\b(?:wait|delay|hesitat)\w*", re.IGNORECASE)
_FIRST = re.compile(r"\s*\S+")
_THEN = re.compile(rf"(?<!\bto )(?<!\band )\b(?:then\b|{ACTION}\b)", re.IGNORECASE)


@dataclass(frozen=True)
class Mark:
    """A word that changes what a clause says.

    Args:
        start: where it begins in the clause, in characters.
        end: where it ends.
        low: where begins what it governs.
        high: where that ends.
        forbids: it says not to do a thing; "is not red" only says that something is not so.
        checked: where the verb begins that has a thing checked: "check that she is not pregnant".
    """

    start: int
    end: int
    low: int
    high: int
    forbids: bool = True
    checked: int | None = None

    def governs(self, place: int) -> bool:
        """Whether a place in the clause, in characters, is governed."""
        return self.low <= place < self.high


@dataclass(frozen=True)
class Marks:
    """All marks of a clause.

    Args:
        negators: words that negate; two of them over the same place cancel out.
        hedges: words such as "may".
        asides: parts that only make a condition or give a time, such as "if he is in shock".
    """

    negators: tuple[Mark, ...]
    hedges: tuple[Mark, ...]
    asides: tuple[Mark, ...]

    def aside(self, start: int, end: int) -> Mark | None:
        """The condition in which a stretch lies; none if the stretch names the condition itself."""
        inside = (a for a in self.asides if a.end <= start and end <= a.high)
        return next(inside, None)


@functools.lru_cache(maxsize=4096)
def marks(clause: str) -> Marks:
    """Mark a clause.

    Args:
        clause: plain text, as `elara.evaluate.clauses.cut` gives it.
    """
    found = list(_NEGATOR.finditer(clause))
    pseudo = [m.span() for m in found if m["pseudo"]]
    asides = tuple(_asides(clause, pseudo))
    negators = tuple(_negators(clause, found, asides))
    hedges = (
        Mark(*m.span(), *_stretch(clause, m.start(), asides)) for m in _HEDGE.finditer(clause)
    )
    return Marks(negators, tuple(hedges), asides)


def _negators(clause: str, found: list[re.Match[str]], asides: tuple[Mark, ...]) -> Iterator[Mark]:
    """The words that negate: "neither … nor" does so once, "do not wait" denies the waiting."""
    first = min((m.end() for m in found if not m["pseudo"]), default=0)
    for match in found:
        waits = _WAITS.match(match[0])
        if match["pseudo"] and waits:
            whole = match[0].lower().endswith("before")  # what is waited for is denied, too
            end = match.end() if whole else match.start() + waits.end()
            yield Mark(*match.span(), match.start(), end)
        elif not match["pseudo"] and not (match[0].lower() == "nor" and match.end() > first):
            yield _negator(clause, match, asides)


def _asides(clause: str, pseudo: list[tuple[int, int]]) -> list[Mark]:
    starters = [
        m
        for m in _STARTER.finditer(clause)
        if not any(low <= m.start() < high for low, high in pseudo)
    ]
    found: list[Mark] = []
    for at, starter in enumerate(starters):
        high = starters[at + 1].start() if starters[at + 1 :] else len(clause)
        if comma := _COMMA.search(clause, starter.end(), high):
            high = comma.start()
        elif not re.search(r"\w", clause[: starter.start()]):  # "If in shock give fluids"
            then = _THEN.search(clause, _second_word(clause, starter.end()), high)
            high = then.start() if then else high
        found.append(Mark(*starter.span(), starter.start(), high))
    return found


def _second_word(clause: str, place: int) -> int:
    """Where the second word behind a place begins: the first may be a verb of the condition."""
    match = re.compile(r"\s*\S+\s*").match(clause, place)
    return match.end() if match else place


def _stretch(clause: str, place: int, asides: tuple[Mark, ...]) -> tuple[int, int]:
    """From where to where reaches the part of the clause, condition or main, around a place."""
    for aside in asides:
        if aside.low <= place < aside.high:
            return aside.low, aside.high
    low = max((a.high for a in asides if a.high <= place), default=0)
    later = (a for a in asides if a.low > place)
    ends = (a.end for a in later if clause[a.start : a.end].lower() != "whether")
    high = min(ends, default=len(clause))  # "do not ask whether …" denies all of it
    return low, high


def _negator(clause: str, match: re.Match[str], asides: tuple[Mark, ...]) -> Mark:
    start, end = match.span()
    low, high = _stretch(clause, start, asides)
    checking = next(reversed([*_CHECKING.finditer(clause, low, start)]), None)
    if match["both"] and (word := _NOT.search(clause, start, end)):
        says = word[0].lower() != "no" and _STATES.match(clause, start)
        forbids = not says or bool(_ADVISED.match(clause, end))
        if checking and says and not forbids and not _is_deed(clause, end):
            return Mark(word.start(), end, checking.end(), high, False, checking.start())
        high = _reason(clause, end, high) if forbids else high
        return Mark(word.start(), end, low, high, forbids)
    if match["both"]:
        return Mark(start, end, low, _reason(clause, end, high))
    if not re.search(r"\w", clause[end:high]):  # "Aspirin: avoid"
        return Mark(start, end, low, high)
    if match["verb"]:
        return Mark(start, end, end, _object_end(clause, match, high))
    if match["instead"]:
        then = _THEN.search(clause, _second_word(clause, end), high)
        return Mark(start, end, end, then.start() if then else high)
    never = match[0].lower() == "never"
    checked = checking.start() if checking and not never else None
    return Mark(start, end, end, _reason(clause, end, high) if never else high, True, checked)


def _reason(clause: str, place: int, high: int) -> int:
    """Where the reason of a ban begins: "contraindicated due to bleeding" denies no bleeding."""
    reason = _REASON.search(clause, place, high)
    return reason.start() if reason else high


def _object_end(clause: str, match: re.Match[str], high: int) -> int:
    """Where ends what is avoided or delayed: before the means, the reason and the result."""
    end = match.end()
    first = _FIRST.match(clause, end)  # of what is avoided: "avoid using ice"
    means = _MEANS.search(clause, first.end(), high) if first else None
    ends = [means, _REASON.search(clause, end, high)]
    if _TOPIC.match(clause, match.start()):
        ends.append(_FOLLOWS.search(clause, end, high))
    return min((m.start() for m in ends if m), default=high)


def _is_deed(clause: str, place: int) -> bool:
    """Whether an action is denied behind a place, and no state: "is not given", "no aspirin is"."""
    words = _DEED.match(clause, place)
    deed = words[1].lower() if words else ""
    return deed in FORMS and not deed.endswith("ing")
