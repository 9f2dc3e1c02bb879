"""From what a source says about its licence to an SPDX identifier."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from elara.collect.parsed import Parsed

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
