"""Find marks of an unprofessional register in an answer.

The list is short and our own: lists made for social media block words that medicine needs. Each
kind has its reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from elara.evaluate.clauses import Sentence
from elara.evaluate.polarity import marks


@dataclass(frozen=True)
class Kind:
    """One kind of mark.

    Args:
        name: short, for a table.
        reason: why a professional text has none.
        pattern: what it looks like.
        affirmed: whether it counts only where it is not denied: "nobody can guarantee that".
    """

    name: str
    reason: str
    pattern: re.Pattern[str]
    affirmed: bool = False


def _words(listed: str) -> re.Pattern[str]:
    """Words and phrases, one alternative in a line or between bars, as a pattern."""
    joined = "|".join(line.strip() for line in listed.strip().splitlines())
    return re.compile(rf"(?<![\w-])(?:{joined})(?![\w-])", re.IGNORECASE)


KINDS = (
    Kind(
        "chat",
        "Slang and the shorthand of chats leave open what is meant, and who is speaking.",
        _words(r"""
            lol|lmao|rofl|omg|wtf|btw|imho|idk|tbh|plz|pls|thx|cuz|gonna|wanna|gotta|kinda|sorta
            dunno|lemme|gimme|ain't|y'all|yeah|yep|yup|nope|nah|hey|dude|bro|guys|haha\w*|hehe\w*
            u (?:r|can|should|need|have|will|got)|no (?:biggie|worries|big deal)|crappy?|damn
            freaking|legit|super easy|piece of cake|and stuff|or whatever|tons of
        """),
    ),
    Kind(
        "exclamation",
        "Urgency is said in words: who shall do what, and how soon.",
        re.compile(r"[!！‼⁉](?![\[=-])"),
    ),
    Kind(
        "emoji",
        "A picture has no dose, no time, and not the same meaning for everybody.",
        re.compile(
            "[\U0001f000-\U0001faff\u2600-\u26ff\u2705\u274c\u2753-\u2755\u2763\u2764\u2b50]|"
            r"(?<!\S)[:;]['-]?[()DPp](?!\w)"
        ),
    ),
    Kind(
        "chatter",
        "Talk about oneself and praise of the question take room and tell the reader nothing.",
        _words(r"""
            i(?:'m| am) (?:\w+ )?(?:happy|glad|excited|thrilled) to (?:help|assist|hear)
            i(?:'m| am) (?:just|no expert)|i (?:guess|love|hate|feel like|bet|reckon)
            (?:i )?hope this helps|trust me|believe me|let me (?:tell you|see|know)|if you ask me
            (?:great|good|excellent|awesome|amazing) question|(?:as )?an ai(?: language)? model
            (?:to be honest|honestly|my friend|my dear)(?=[,:])|you know what|long story short
        """),
    ),
    Kind(
        "insult",
        "Who is insulted or belittled stops listening, and does not come back.",
        _words(r"""
            idiot\w*|moron\w*|stupid\w*|dumb|imbecile\w*|losers?|pathetic|ridiculous|shut up
            crybab(?:y|ies)|drama queens?|junkies?|drunkards?|hypochondriacs?|crazy|liars?
            whin(?:e|es|ing|er|ers)|complainers?|fatso|man up
        """),
    ),
    Kind(
        "promise",
        "Nobody can promise an outcome, and false reassurance keeps people from care.",
        _words(r"""
            guarante(?:e|es|ed)|i promise|100 ?% (?:safe|effective|sure|certain)|miracle\w*
            (?:will|'ll) (?:\w+ )?(?:be|feel) (?:\w+ )?(?:fine|ok|okay|all ?right|cured|perfect)
            (?:will|'ll) (?:definitely|certainly|surely) (?:recover|work|cure|heal|survive|help)
            nothing (?:at all )?to worry about|(?:do not|never) worry|can not go wrong
            (?:completely|totally|absolutely|perfectly) (?:safe|harmless|risk[ -]free)
            (?:no|zero) risks? (?:at all|whatsoever)|zero risk
        """),
        affirmed=True,
    ),
    Kind(
        "self-praise",
        "An answer that marks itself is written for a marker.",
        re.compile(
            r"^(?:overall )?(?:rating|grade|tone|quality|style|coherence|professionalism|accuracy)"
            r"\s*:\s*(?:\d|professional|excellent|very|high|good|perfect|yes|coherent|a\b)|"
            r"\bthis (?:answer|response|text|reply) (?:is|was) (?:\w+ )?(?:coherent|professional|"
            r"correct|accurate|excellent|perfect|complete|well[ -]written|safe|high[ -]quality)\b",
            re.IGNORECASE,
        ),
    ),
    Kind(
        "capitals",
        "A line in capitals is read as shouting, and hides the abbreviations in it.",
        re.compile(r"\b(?=[A-Z ]*[A-Z]{4})[A-Z]{2,}(?: [A-Z]{2,}){3,}\b"),
    ),
)


def tone(said: Sequence[Sentence]) -> tuple[float, tuple[str, ...]]:
    """The share of sentences without a mark of an unprofessional register.

    A sentence that is said again counts once, so that repeating a clean one hides nothing.

    It cannot see coldness, condescension in polite words, or jargon that a lay reader would not
    understand; a list of keywords and a foreign language have no marks either. That nothing was
    found is no praise.

    Args:
        said: the sentences of the answer, in English, from `elara.evaluate.clauses.cut`.

    Returns:
        0 to 1, and the names of the kinds that were found; 0 for an answer without a sentence.

    Source: what makes English informal: Pavlick and Tetreault (2016),
        https://doi.org/10.1162/tacl_a_00083; the list and its kinds are our own.
    """
    found = {" ".join(s.text.casefold().split()): list(_marked(s)) for s in said}
    clean = sum(not kinds for kinds in found.values())
    kinds = dict.fromkeys(kind for kinds in found.values() for kind in kinds)
    return (clean / len(found) if found else 0.0), tuple(kinds)


def _marked(sentence: Sentence) -> Iterator[str]:
    for kind in KINDS:
        if not kind.affirmed:
            if kind.pattern.search(sentence.text):
                yield kind.name
        elif any(_affirmed(kind, clause.text) for clause in sentence.clauses):
            yield kind.name


def _affirmed(kind: Kind, clause: str) -> bool:
    """Whether a mark stands in a clause that does not deny it."""
    negators = marks(clause).negators
    return any(
        sum(n.governs(m.start()) and not m.start() <= n.start < m.end() for n in negators) % 2 == 0
        for m in kind.pattern.finditer(clause)
    )
