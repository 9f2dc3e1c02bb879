"""From what a source says about its licence to an SPDX identifier."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from elara.collect.parsed import Parsed
from elara.records import PRIVATE

UNKNOWN = "unknown"
PUBLIC_DOMAIN = "public-domain"

_URL = re.compile(
    r"creativecommons\.org/(?:licen[cs]es|publicdomain)/"
    r"(by(?:-nc)?(?:-nd|-sa)?|zero|mark|publicdomain)(?:/(\d\.\d))?(?:/(igo))?",
    re.IGNORECASE,
)
_SHORT = re.compile(
    r"\bCC[ -]?(BY(?:[ -]NC)?(?:[ -](?:ND|SA))?|0|zero)\b(?:[ ,-]*v?(\d\.\d))?(?:[ -](IGO))?",
    re.IGNORECASE,
)
_LONG = re.compile(
    r"Creative Commons[ :,-]*(?:(?:International|Licen[cs]e) )?\(?Attribution"
    r"((?:[ /,–-]+(?:and )?(?:Non-?Commercial|No-?Deriv[a-z]*|Share-?Alike))*)"
    r"[^.\d]{0,60}(\d\.\d)?",
    re.IGNORECASE,
)
_PUBLIC = re.compile(
    r"\b(?:in|to|into) the public domain|public domain (?:dedication|work|mark)"
    r"|work of the (?:U\.?S\.?|United States) government|free of all copyright",
    re.IGNORECASE,
)


def licence_of(text: str) -> str:
    """Name the licence that a URL or a sentence states.

    Args:
        text: a licence URL, an SPDX-like short form (`CC BY-NC 4.0`) or prose.

    Returns:
        An SPDX identifier (`CC-BY-4.0`, `CC0-1.0`), the same without version where the text
        states none (`CC-BY`), `public-domain`, or `unknown`.

    Source: https://spdx.org/licenses/ and https://creativecommons.org/licenses/
    """
    if found := _URL.search(text):
        kind, version, igo = found.groups()
        if kind.lower() in ("mark", "publicdomain"):
            return PUBLIC_DOMAIN
        return _spdx(kind, version, igo)
    if found := _SHORT.search(text):
        return _spdx(*found.groups())
    if found := _LONG.search(text):
        return _spdx("BY" + _elements(found[1]), found[2], None)
    return PUBLIC_DOMAIN if _PUBLIC.search(text) else UNKNOWN


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
    return strictest([line for line in text.splitlines() if line.strip()])


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
        read keeps `unknown` and says so, unless the folder is private, which frees nothing.
    """
    for parsed in found:
        article = parsed.article
        if article and article.licence == UNKNOWN and licence not in ("", UNKNOWN):
            if parsed.licence_stated and licence != PRIVATE:
                said = " ".join(parsed.licence_stated.split())[:60]
                note = f"licence {said!r} is not known, and the folder's does not replace it"
                parsed.reason = "; ".join(part for part in (parsed.reason, note) if part)
            else:
                article.licence, article.redistributable = licence, redistributable(licence)
        yield parsed


def _elements(words: str) -> str:
    plain = re.sub(r"[^a-z]", "", words.lower())
    return (
        ("-NC" if "noncommercial" in plain else "")
        + ("-ND" if "noderiv" in plain else "")
        + ("-SA" if "sharealike" in plain else "")
    )


def _spdx(kind: str, version: str | None, igo: str | None) -> str:
    if kind.lower() in ("0", "zero"):
        return "CC0-1.0"
    name = "CC-" + kind.upper().replace(" ", "-")
    return name + (f"-{version}" if version else "") + ("-IGO" if igo else "")


def redistributable(licence: str) -> bool:
    """Whether a licence lets others pass the text on, changed and for any purpose.

    Args:
        licence: what `licence_of` returns. Licences with NC or ND and unknown ones do not.
    """
    parts = licence.split("-")
    if licence in (PUBLIC_DOMAIN, "CC0-1.0"):
        return True
    return parts[:2] == ["CC", "BY"] and not {"NC", "ND"} & set(parts)


def permissive(found: Iterable[Parsed]) -> Iterator[Parsed]:
    """Refuse the articles whose licence does not let others pass them on, and say so.

    Args:
        found: records as the parsers yield them.

    Yields:
        The same records in the same order. A refused one has no article any more: it is
        `skipped`, and its reason names the licence.
    """
    for parsed in found:
        if parsed.article is None or redistributable(parsed.article.licence):
            yield parsed
            continue
        reason = (
            f"licence {parsed.article.licence} does not allow redistribution: "
            f"refused by permissive_only"
        )
        yield replace(parsed, status="skipped", reason=reason, article=None, article_id="")


def strictest(statements: Iterable[str]) -> str:
    """The licence that a reader who honours all these statements has to follow.

    Args:
        statements: URLs and sentences that speak about the same text.

    Returns:
        The strictest licence found, with version where one is stated, or `unknown`.
    """
    found = {licence_of(s) for s in statements} - {UNKNOWN}
    return max(found, key=_strictness, default=UNKNOWN)


def _strictness(licence: str) -> tuple[bool, bool, int, bool, str]:
    parts = licence.split("-")
    restrictions = len({"BY", "NC", "ND", "SA"} & set(parts))
    versioned = any(part[0].isdigit() for part in parts)
    return "NC" in parts, "ND" in parts, restrictions, versioned, licence
