"""Turn what a source says about its licence into an SPDX identifier."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator

from elara.collect.licencewords import (
    ATTRIBUTION,
    CONTRARY,
    DOUBT,
    ELEMENTS,
    HARMLESS,
    NOTICE,
    PART,
    PORTED,
    PUBLIC,
    WORDS,
)
from elara.collect.parsed import Parsed
from elara.records import PRIVATE

UNKNOWN = "unknown"
PUBLIC_DOMAIN = "public-domain"
OWN = "own"  # the source of a user's own files
_EVERY = frozenset(["BY", "SA", "ND", "NC", "unread", "private"])  # what a text may ask of a reader

_URL = re.compile(
    r"(?:https?://)?(?:www\.)?creativecommons\.org/(?:licen[cs]es?|publicdomain)/([a-z+-]+)"
    r"(?:/(\d\.\d))?(?:/(?!deed|legalcode)([a-z-]+))?(?:/(?:deed|legalcode)[.a-z-]*)?/?",
    re.IGNORECASE,
)
_ELEMENT = "|".join(ELEMENTS.values())
_RUN = rf"(?P<elements>(?:[\s,/&+_:()\"-]*(?:and |et |y |e |und )?(?:{_ELEMENT}))*)"
_SHORT = re.compile(
    rf"\bcc[ :_-]?(?:by(?![a-z]){_RUN}|(?P<zero>0|[ -]?zero)\b)"
    rf"(?:[ ,_-]*v?(?:ersion )?(?P<version>\d\.\d))?(?P<ported>(?:-igo\b)?{PORTED})",
    re.IGNORECASE,
)
_LONG = re.compile(
    r"\b(?:creative[ -]commons|cc)\b(?:[\s:,()\"'/-]|\b(?:international|public|licen[cs]e|licencia"
    r"|licenca|licenza|lizenz|de|of|type|tipo|unported|\d\.\d|cc)\b)*"
    rf"{ATTRIBUTION}{_RUN}(?:[ ,(]*v?(?:ersion )?(?P<version>\d\.\d))?(?P<ported>{PORTED})"
    r"(?=(?:[^.;\d]{0,60}(?P<later>\d\.\d))?)",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"(?:https?://|www\.)\S+|\bdoi:? ?10\.\S+", re.IGNORECASE)
# No licence is named without one of these words, and most statements have none of them.
_HINT = re.compile(r"creative|\bcc|domain|dominio|gemeinfrei|government|all copyright", re.I)
# Whoever writes about a folder or a column means all that is in it; in an article, "the data" do
# not mean the article.
_ABOUT_FILES = re.compile(
    r"\b(?:all (?:the )?|our |my )?(?:data ?(?:sets?|files?)?|collections?|documents?|files?"
    r"|folders?|records?|tables?)\b",
    re.IGNORECASE,
)
_NAMED = "§"  # stands for the name of a licence
_SENTENCE = re.compile(r"[;|]|\.(?=\s|$)")
_LOOSE = re.compile(r" +(?=[ .,:;)])")  # blanks that the replacements above leave behind
_WORD = re.compile(r"[\w'-]*[^\W\d_][\w'-]*")
_ODD = re.compile(r"[^\w\s.,:;()\"'/&|§©-]")  # a star, a question: something is left to say
_DASHES = dict.fromkeys(map(ord, "‐‑‒–—―−"), "-")
_QUOTES = dict.fromkeys(map(ord, "’‘`´ʼ"), "'") | dict.fromkeys(map(ord, "“”„«»"), '"')
# With these words the full text of a licence begins, behind its title.
_LEGAL_CODE = re.compile(r"^(.{1,200}?)creative commons corporation\b.*is not a law firm", re.I)


def licence_of(text: str) -> str:
    """Name the licence that a URL or a sentence states.

    A name alone does not make a text free: the words around it may deny it, restrict it to some
    use, to a time, or to a part of the text. A licence that forbids something is taken at its
    word. One that is free counts only if all that is said around its name is what publishers say
    of free texts, in English or another language of western Europe; doubt is `unknown`. Of several
    licences the strictest counts.

    Args:
        text: a licence URL, an SPDX-like short form (`CC BY-NC 4.0`) or prose.

    Returns:
        An SPDX identifier (`CC-BY-4.0`, `CC0-1.0`), the same without version where the text
        states none (`CC-BY`), `public-domain`, or `unknown`.

    Source: https://spdx.org/licenses/ and https://creativecommons.org/licenses/
    """
    if not _HINT.search(text):
        return UNKNOWN
    plain = _plain(text)
    if code := _LEGAL_CODE.match(plain):
        plain = f"creative commons {code[1]}"
    rest = HARMLESS.sub(" ", plain)
    found: list[str] = []
    for pattern, read in _READERS:
        found += map(read, pattern.finditer(rest))
        rest = pattern.sub(f" {_NAMED} ", rest)
    forbidding = [name for name in found if name != UNKNOWN and not redistributable(name)]
    if forbidding:
        return max(forbidding, key=strictness)
    if not found or UNKNOWN in found:
        return UNKNOWN
    rest = _LOOSE.sub("", _ADDRESS.sub(" ", rest))
    odd = _ODD.search(rest) or CONTRARY.search(rest)
    agreed = not odd and all(map(_agrees, _SENTENCE.split(rest)))
    return max(found, key=strictness) if agreed else UNKNOWN


def _agrees(sentence: str) -> bool:
    """Whether a sentence beside the name of a free licence leaves the text free."""
    before, named, after = sentence.rpartition(_NAMED)
    notice = NOTICE.match(sentence)
    names, said = (before, after) if notice and named else ("", sentence)
    if PART.search(names):
        return False
    words = _WORD.findall(said)
    strange = [word for word in words if word.strip("-'").lower() not in WORDS]
    if strange and (named or not (notice or all(word[0].isupper() for word in strange))):
        return False
    return not DOUBT.search(names if named else said if strange else "")


def restricts(text: str) -> bool:
    """Whether a text that names no licence says something that a free one would not.

    Args:
        text: what a record says about rights, e.g. `(c) The Publisher. All rights reserved.`
    """
    return bool(DOUBT.search(HARMLESS.sub(" ", _plain(text))))


def _plain(text: str) -> str:
    """Text without accents and invisible signs; with one kind of dash, quote and blank."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text.replace("ß", "ss")).replace("œ", "oe")
        text = text.translate(_DASHES | _QUOTES)
        text = "".join(c for c in text if unicodedata.category(c) not in ("Mn", "Cf"))
    return " ".join(text.replace("%2D", "-").replace("%2d", "-").split())


def stated_licence(text: str) -> str:
    """Name the licence that somebody wrote down to be read: in a column, or for a folder.

    Args:
        text: an SPDX id, a URL, a sentence, several lines of these, or the word `private`.

    Returns:
        As `licence_of`, the strictest where several are named; or `private`.
    """
    word = text.strip(" \t\r\n.\"'`").casefold()
    if word == PRIVATE:
        return PRIVATE
    if re.fullmatch(r"public[ -]domain", word):
        return PUBLIC_DOMAIN
    return strictest(_ABOUT_FILES.sub("text", line) for line in text.splitlines())


def folder_licence(text: str) -> str:
    """The licence that a user names for a whole folder.

    Args:
        text: the parameter `licence`, as for `stated_licence`; "" for none.

    Raises:
        ValueError: it names none that Elara knows.
    """
    licence = stated_licence(text) if text.strip() else ""
    if licence == UNKNOWN:
        raise ValueError(
            f"Parameter `licence` is {text!r}, which names no licence that Elara knows: give an "
            f"SPDX id such as CC-BY-4.0, the address of a licence, or the word private."
        )
    return licence


def licensed(found: Iterable[Parsed], licence: str) -> Iterator[Parsed]:
    """Give the articles that state no licence the one that their folder has.

    Args:
        found: records as the parsers yield them.
        licence: of the folder, or "" where it has none.

    Yields:
        The same records. One that states a licence keeps it; one whose statement Elara cannot
        read, or that keeps its rights, keeps `unknown` and says so, unless the folder is private,
        which frees nothing.
    """
    given = licence not in ("", UNKNOWN)
    for parsed in found:
        article, said = parsed.article, parsed.licence_stated
        if article and article.licence == UNKNOWN:
            note = f"licence {' '.join(said.split())[:60]!r} is not known"
            # A line of copyright that leaves all open is no licence, but one of a column is.
            own = bool(said) and article.source == OWN
            if given and (licence == PRIVATE or not (own or restricts(said))):
                article.licence, article.redistributable = licence, redistributable(licence)
            elif given:
                parsed.remark(f"{note}, and the folder's does not replace it")
            elif own or _HINT.search(said):
                parsed.remark(note)
        yield parsed


def _from_url(found: re.Match[str]) -> str:
    kind, version, last = (part.lower() if part else "" for part in found.groups())
    if kind in ("mark", "publicdomain"):
        return PUBLIC_DOMAIN
    if kind == "zero":
        return "CC0-1.0"
    parts = kind.split("-")
    if parts[0] != "by" or not {"by", "nc", "nd", "sa"}.issuperset(parts) or last in ("nc", "nd"):
        return UNKNOWN
    return _spdx("".join(f"-{e}" for e in ELEMENTS if e.lower() in parts), version, last == "igo")


def _from_words(found: re.Match[str]) -> str:
    named = found.groupdict("")
    if named.get("zero"):
        return "CC0-1.0"
    elements = "".join(
        f"-{e}" for e, w in ELEMENTS.items() if re.search(w, named["elements"], re.I)
    )
    version, ported = named["version"] or named.get("later", ""), named["ported"].lower()
    return _spdx(elements, version, "igo" in re.split(r"[\s-]", ported))


def _spdx(elements: str, version: str, igo: bool) -> str:
    return f"CC-BY{elements}" + (f"-{version}" if version else "") + ("-IGO" if igo else "")


_READERS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (_URL, _from_url),
    (_SHORT, _from_words),
    (_LONG, _from_words),
    (PUBLIC, lambda found: PUBLIC_DOMAIN),
)


def redistributable(licence: str) -> bool:
    """Whether a licence lets others pass the text on, changed and for any purpose.

    Args:
        licence: what `licence_of` returns. Licences with NC or ND and unknown ones do not.
    """
    if licence in (PUBLIC_DOMAIN, "CC0-1.0"):
        return True
    return licence.startswith("CC-BY") and not {"NC", "ND"} & set(licence.split("-"))


def strictest(statements: Iterable[str]) -> str:
    """The licence that a reader who honours all these statements has to follow.

    Args:
        statements: URLs and sentences that speak about the same text.

    Returns:
        The strictest licence found, with version where one is stated, or `unknown`.
    """
    # A full stop between two statements would end neither: a semicolon is in no name.
    return licence_of(" ; ".join(s for s in statements if s.strip()))


def strictness(licence: str) -> tuple[int, int, bool, str]:
    """A key that sorts licences: the strictest comes last.

    Args:
        licence: what `stated_licence` returns. Silence and doubt are stricter than any licence,
            and a private text is the strictest.
    """
    parts = licence.split("-")
    versioned = any(part[0].isdigit() for part in parts)
    return len(_limits(licence)), len(parts), versioned, licence


def no_stricter(licence: str, other: str) -> bool:
    """Whether all that a licence asks of a reader is asked by another one, too.

    Args:
        licence: of a text that may be added to an article.
        other: of the article.
    """
    return _limits(licence) <= _limits(other)


def _limits(licence: str) -> frozenset[str]:
    if licence in (UNKNOWN, PRIVATE):
        return _EVERY - ({"private"} if licence == UNKNOWN else set())
    return _EVERY & set(licence.split("-"))
