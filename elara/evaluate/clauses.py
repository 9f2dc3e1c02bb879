"""Cut an answer into sentences and clauses, so that a rule looks at one statement at a time.

What a clause leaves out because an earlier one said it is put back: "avoid aspirin, ibuprofen"
becomes "avoid aspirin" and "avoid ibuprofen"; the items below "Do not:" begin with "do not". So
each clause can be read alone.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from elara.evaluate.plain import BAN, headed_lines
from elara.evaluate.polarity import marks
from elara.evaluate.verbs import ACTION, AUXILIARY, has_verb
from elara.text.sentences import sentences

_CONJUNCTION = (
    r"but|although|though|whereas|while|however|(?<!not )because|and then|then|"
    r"so(?= (?:that|he|she|it|they|we|you|the|do|give|start|avoid|stop)\b)|"
    r"since(?= (?:he|she|it|they|this|these|the)\b)|"
    r"as(?= (?:he|she|it|they|this|these|there|we|you|the patient)\b)|instead(?! of)|"
    rf"(?:which|who)(?= {AUXILIARY}\b)|that(?= (?:is|are|do|does|did|was)\b)"
)
_PRONOUN = (
    r"it|this|these|he|she|they|we|you|there|may|might|could|can|should|must|if|when|once|unless"
)
_NOT = r"do not|does not|never|not|no|avoid|withhold|without"
_CUT = re.compile(
    rf"\s*;\s*|:\s+|\s+[-–—]+\s+|—|\s*\.\.\.\s*|,\s+(?=(?!\d)\S)|"
    rf"\s+(?=(?:{_CONJUNCTION})\b)|"
    rf"\s+(?=(?:and|&|plus)\s+(?:{_NOT}|{_PRONOUN}|then|also|(?:\w+ly )?(?:{ACTION}))\b)|"
    rf"\s+(?=or\s+(?:{_NOT})\b)",
    re.IGNORECASE,
)
_LEAD = re.compile(
    rf"^(?:(?:{_CONJUNCTION}|and|or|plus|&|also)\b,?\s*)+",
    re.IGNORECASE,
)
# Behind these no verb is left out, and a pronoun begins a statement of its own.
_WHOLE = re.compile(
    r"^(?:.*\b)?(?:because|since|as|so|which|who|that|although|though|while)\b", re.I
)
_SUBJECT = re.compile(r"^(?:it|he|she|they|this|these|there|we|you)\b", re.IGNORECASE)
_CONTRAST = re.compile(r"^(?:and |or )?(?:but|instead|however|although|rather)\b(?! than)", re.I)
_OWN_NOT = re.compile(
    r"^(?:not|no(?! one| reason| need| point| sense)|nor|without|rather than|instead of|except)\b",
    re.IGNORECASE,
)
_COMMAND = re.compile(
    rf"(?:to )?(?!do not)(?:even |also |\w+ly )?(?:{ACTION}|be|have)\b", re.IGNORECASE
)
_BE = re.compile(rf"\b{AUXILIARY}\b", re.IGNORECASE)
_DOING = re.compile(r"\w+ing\b", re.IGNORECASE)
_DONE = re.compile(
    r"(?:be )?(?:\w+ed|given|taken|put|made|held|kept|sent|set|left|brought|told|done)\b",
    re.IGNORECASE,
)
# Bans that may reach over a series of verbs, the form of these, what joins the last, and what
# stands in front of each when it is read alone: "do not pass a tube, induce vomiting, or wait".
_BANS = (
    (re.compile(r"\b(?:not|never) be \w+", re.IGNORECASE), _DONE, "or|nor", f"{BAN} be "),
    (
        re.compile(
            r"\b(?:do|must|should|can|need|may|would) not\b|\b(?:never|neither|no one|nobody)\b|"
            r"\b(?:at|in|on|under) no (?:time|case|account|circumstances)\b|\b(?:dangerous|wrong|"
            r"harmful|unsafe|unwise|inappropriate|a mistake|an error|"
            r"no (?:reason|need|point|sense|indication)) to\b",
            re.IGNORECASE,
        ),
        _COMMAND,
        "or|nor",
        f"{BAN} ",
    ),
    (
        re.compile(
            r"\b(?:avoids?|refrain from|advise against|without|"
            r"(?:not|never) (?:advise|recommend|suggest|support|advocate|consider)|"
            r"no (?:role|place|benefit|point|sense|reason|indication) (?:for|in)) \w+ing\b",
            re.IGNORECASE,
        ),
        _DOING,
        "or|nor|and",
        "avoid ",
    ),
)
# Bans that may hold for what "and" joins to them: "do not bleed and cup".
_OPEN_BAN = re.compile(
    r"^(?:please )?(?:do not|never|you (?:must|should) not)\b|"
    r"\b(?:wrong|dangerous|harmful|unsafe|unwise|a mistake|an error) to\b",
    re.IGNORECASE,
)
_LEFT_OUT = re.compile(r"(?:should|must|can|could|may|might)\b", re.IGNORECASE)
_SUBJECT_OF = re.compile(
    rf"(?:(?!{AUXILIARY}\b)[\w'-]+ ?){{1,6}}?(?= {AUXILIARY}\b)", re.IGNORECASE
)
_DENIES = re.compile(
    r"^(?:(?!\b(?:if|unless|when)\b).)*\b(?:not|no|never|avoid\w*|contraindicated)\b", re.IGNORECASE
)
_STARTS = re.compile(
    r"^(?:and |but |or |then |only )*(?:if|unless|when|whenever|once|after|before|until|in case|"
    rf"provided|as long as)\b|^(?:in|with|for|during|at|on)\b(?!.*\b{ACTION}\b)",
    re.IGNORECASE,
)
_CLOSED = re.compile(rf"\bthen\b|\b{ACTION}\b.*\b{ACTION}\b", re.IGNORECASE)
_PARENTHESIS = re.compile(r"\s*\(([^()]*)\)")
_NEGATIVE = re.compile(r"^(?:not|avoid|never|no|unless|except|if|without|do not)\b", re.IGNORECASE)
_INSERTED = re.compile(r"\b((?:do|must|should|will|can) not|never),\s[^,]{1,60},", re.IGNORECASE)
_FALSE = re.compile(
    r"^(?:it is|it's|that is) (?:simply |just )?(?:not (?:true|right|correct|the case|advisable)|"
    r"false|wrong|untrue|incorrect|a myth|a mistake|an error)\s+(?:that|to)\s+",
    re.IGNORECASE,
)
_PAIR = re.compile(rf"\b(?!(?:stop|hold|wait)\b){ACTION} and$", re.IGNORECASE)  # "open and clean"
_LABEL = 5  # words
_VERB = re.compile(
    rf"^(?:.*?(?:\b{AUXILIARY}\b(?: not| never)?(?: be| to)?(?: \w+ly)?"
    rf"(?: (?:{ACTION}|given|used|started|avoided)\b)?|\b{ACTION}\b)|\w+ing\b)"
    rf"(?: (?:off|up|out|back|against)\b)?",
    re.IGNORECASE,
)
_LACKS = re.compile(r"^.*\b(?:no|without)\b(?=(?: [\w'-]+){1,4}$)", re.IGNORECASE)
_PASSIVE = re.compile(rf"\b(?:and|or|nor)\b.*?\b({AUXILIARY}\b.*)$", re.IGNORECASE)


@dataclass(frozen=True)
class Clause:
    """A statement that can be read alone.

    Args:
        text: plain text with its capitals; what an earlier clause said stands in front again.
        said: the words that stand here.
        flipped: the sentence calls it untrue.
        unclear: it cannot be told what it affirms: a question, or joined by "and" to "do not …".
    """

    text: str
    said: str
    flipped: bool = False
    unclear: bool = False


@dataclass(frozen=True)
class Sentence:
    """A sentence, or an item of a list.

    Args:
        text: plain text.
        clauses: of which it consists.
        question: it asks.
        complete: it ends as a sentence does; the last one of an answer that was cut off does not.
    """

    text: str
    clauses: tuple[Clause, ...]
    question: bool
    complete: bool


@dataclass(frozen=True)
class _Piece:
    """Text, the conjunction before it, whether it is a condition, and behind a semicolon."""

    text: str
    lead: str = ""
    aside: bool = False
    apart: bool = False

    @property
    def contrast(self) -> bool:
        return bool(_CONTRAST.match(self.lead))


@functools.lru_cache(maxsize=512)
def cut(text: str) -> tuple[Sentence, ...]:
    """Cut an answer.

    Args:
        text: plain text, from `plain`.
    """
    return tuple(_sentences(text))


def _sentences(text: str) -> Iterator[Sentence]:
    for line, heading in headed_lines(text):
        for number, part in enumerate(sentences(line)):
            part = " ".join(part.split())
            question = part.rstrip("')* ").endswith("?")
            clauses = tuple(_clauses(part, "" if number else heading, question))
            complete = part.rstrip("')* ")[-1:] in tuple(".!?:;…。")
            yield Sentence(part, clauses, question, complete)


def _clauses(sentence: str, heading: str, question: bool) -> Iterator[Clause]:
    untrue = _FALSE.match(sentence)
    if untrue:
        sentence = sentence[untrue.end() :]
    flipped, unclear, donor, before = bool(untrue), False, "", ""
    pieces = _joined(_pieces(_INSERTED.sub(r"\1", sentence.rstrip(".!?… "))))
    for at, piece in enumerate(pieces):
        flipped = flipped and not piece.contrast
        if piece.aside:  # a condition that opens the sentence holds for all that follows
            before = f"{piece.text}, "
            continue
        banned = _banned(pieces[at:], donor)
        if piece.apart and not banned and _denied(donor):
            donor = ""
        front = banned or _front(piece, donor, heading)
        heading = "" if heading == BAN and _DENIES.search(piece.text) else heading
        text = f"{before}{front}{piece.text}"
        unclear = question or (not piece.contrast and bool(piece.lead) and _open(donor, piece))
        yield Clause(text, piece.text, flipped, unclear)
        verb = has_verb(piece.text) or _OPEN_BAN.search(piece.text)
        if verb and not _OWN_NOT.match(piece.text):
            donor = f"{banned}{piece.text}"
        elif front and not donor:
            donor = front


def _banned(pieces: list[_Piece], donor: str) -> str:
    """What a ban in an earlier clause puts in front of a further verb, "" if none reaches it."""
    for ban, form, joint, front in _BANS:
        if ban.search(donor) and _goes_on(pieces, form, joint):
            return front
    return ""


def _goes_on(pieces: list[_Piece], form: re.Pattern[str], joint: str) -> bool:
    """Whether pieces are a series: verbs of one form, the last joined by a conjunction."""
    inside = re.compile(rf"\b(?:{joint}) {form.pattern}", re.IGNORECASE)
    for piece in pieces:
        if piece.contrast or not form.match(piece.text):
            return False
        if re.match(rf"(?:{joint})\b", piece.lead, re.IGNORECASE):
            return pieces[0].apart <= piece.apart
        if inside.search(piece.text):
            return not pieces[0].apart
    return False


def _front(piece: _Piece, donor: str, heading: str) -> str:
    """The words that a piece takes over from the clause or the heading before it."""
    own_not = bool(re.match(rf"^(?:{_NOT}|nor)\b", piece.text, re.IGNORECASE))
    if _WHOLE.match(piece.lead) or _SUBJECT.match(piece.text):
        return ""
    if heading == BAN:
        return "" if _DENIES.search(piece.text) else f"{BAN} "
    if donor and _LEFT_OUT.match(piece.text):  # "it is useless and should not be given"
        subject = _SUBJECT_OF.match(donor)
        return f"{subject[0]} " if subject else ""
    if has_verb(piece.text) and not _OWN_NOT.match(piece.text):
        return ""
    if not donor:
        return f"{heading} " if heading and not has_verb(piece.text) else ""
    if own_not or piece.contrast:
        verb = re.search(rf"\b{ACTION}\b", donor, re.IGNORECASE)
        return f"{verb[0]} " if verb and not has_verb(piece.text) else ""
    verbs = _LACKS.match(donor) or _VERB.match(donor)
    return f"{verbs[0]} " if verbs and len(donor.split()) > 1 else ""


def _open(donor: str, piece: _Piece) -> bool:
    """Whether "and" may carry on a "do not" of the clause before: "do not bleed and cup"."""
    if not piece.lead.lower().startswith(("and", "&", "plus")) or not donor:
        return False
    if not re.match(rf"(?:\w+ly )?{ACTION}\b", piece.text, re.IGNORECASE):
        return False
    if marks(piece.text).negators:
        return False
    return bool(_OPEN_BAN.search(donor)) and _denied(donor)


def _denied(text: str) -> bool:
    """Whether the end of a clause is denied, so that what is put behind it would be."""
    return sum(m.governs(len(text) - 1) for m in marks(text).negators) % 2 == 1


def _joined(pieces: list[_Piece]) -> list[_Piece]:
    """Put conditions where they belong, and give a series its passive verb.

    A condition holds for the clauses behind it; one with no clause behind it belongs to the one
    before. "Aspirin, ibuprofen and naproxen should be avoided" is said of each.
    """
    found: list[_Piece] = []
    for at, piece in enumerate(pieces):
        later = pieces[at + 1 :]
        if _STARTS.match(piece.text) and not _CLOSED.search(piece.text):
            if any(has_verb(p.text) for p in later[:1]) or (later and not found):
                found.append(replace(piece, aside=True))
                continue
            if found:
                found[-1] = replace(found[-1], text=f"{found[-1].text} {piece.lead}{piece.text}")
                continue
        found.append(piece)
    return _series(found)


def _series(pieces: list[_Piece]) -> list[_Piece]:
    for at, piece in enumerate(pieces):
        if _has_own_verb(piece.text):
            passive = _PASSIVE.search(f"{piece.lead}{piece.text}")
            before = pieces[:at]
            if passive and before and not any(_has_own_verb(p.text) for p in before):
                given = [replace(p, text=f"{p.text} {passive[1]}") for p in before]
                return [*given, *pieces[at:]]
            break
    return pieces


def _has_own_verb(text: str) -> bool:
    """Whether a text states or commands: "giving charcoal" only names a thing to do."""
    return has_verb(text) and (not _DOING.match(text) or bool(_BE.search(text)))


def _pieces(sentence: str) -> list[_Piece]:
    found: list[_Piece] = []
    sentence, bracketed = _brackets(sentence)
    start, opening, apart = 0, True, False
    for match in [*_CUT.finditer(sentence), None]:
        end = match.start() if match else len(sentence)
        if match and opening and _labels(sentence[start:end], match[0]):
            opening = False
            continue
        if match and _PAIR.search(sentence, start, end + len(" and")):
            continue
        opening = False
        found += (replace(p, apart=apart) for p in _piece(sentence[start:end]))
        start = match.end() if match else end
        apart = match is not None and ";" in match[0]
    return found + bracketed


def _brackets(sentence: str) -> tuple[str, list[_Piece]]:
    """A sentence without brackets that forbid or make a condition, and these for themselves."""
    apart: list[_Piece] = []

    def keep(match: re.Match[str]) -> str:
        if not _NEGATIVE.match(match[1]):
            return f" {match[1]} "
        if re.match(r"(?:if|unless)\b", match[1], re.IGNORECASE):
            return f" {match[1]}"
        apart.extend(_piece(match[1]))
        return ""

    return _PARENTHESIS.sub(keep, sentence), apart


def _labels(text: str, sign: str) -> bool:
    """Whether a text is only the topic of what follows: "Aspirin: 300 mg now"."""
    if len(text.split()) > _LABEL or "," in text or marks(text).negators:
        return False
    return ":" in sign or (sign.strip() in ("-", "–", "—") and not has_verb(text))


def _piece(text: str) -> list[_Piece]:
    text = text.strip(" ,;:")
    lead = _LEAD.match(text)
    rest = text[lead.end() :] if lead else text
    if not re.search(r"\w", rest):
        return []
    return [_Piece(rest, lead[0] if lead else "")]
