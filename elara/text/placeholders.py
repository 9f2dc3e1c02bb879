"""Recognise what sources print for a missing value: "[Not Available].", "N/A", "No abstract"."""

from __future__ import annotations

import re

REASON = "stands for a value that the source does not have"
LONGEST = 60  # characters
_WHAT = (
    "(?:(?:english |article |original |author |full )?"
    "(?:abstract|title|authors?|author names?|journal|keywords?|text|data|summary))"
)
_MISSING = (
    "(?:available|provided|given|listed|stated|specified|supplied|applicable|found|present"
    "|recorded|indicated|known|assigned|included|reported)"
)
# A whole value that says only that there is none, for polars too.
PLACEHOLDER = (
    # Nothing but punctuation, in any script.
    r"(?i)^(?:[\W_]*"
    # Around the words there may be brackets and stops.
    r"|[\W_]*(?:"
    r"n/a(?: n/a)?|n\.\s?a|null|nil|nan|none|untitled|unknown"
    rf"|{_WHAT}\s*[:-]?\s*(?:is |are |was |were )?(?:currently )?(?:not |un|n/a){_MISSING}?"
    rf"|(?:not |un)(?:yet )?{_MISSING}(?: {_WHAT})?"
    rf"|unknown {_WHAT}"
    rf"|(?:there is )?no {_WHAT}(?: (?:is |are |was |were )?{_MISSING})?"
    r"(?: (?:for this|to this|with this|in this) (?:article|record|paper|publication))?"
    rf"|this (?:article|record|paper|publication) has no {_WHAT}"
    rf"|{_WHAT} (?:is |are )?available from the publisher"
    # The same in French, Spanish, Portuguese, German and Italian.
    r"|(?:titre |résumé )?non disponible|pas de résumé(?: disponible)?"
    r"|(?:título |resumen |resumo )?n(?:o|ão) dispon(?:ible|ível)|sin (?:resumen|título)|sem resumo"
    r"|(?:titel |abstract )?nicht verfügbar|kein(?:e)? (?:abstract|zusammenfassung)(?: verfügbar)?"
    r"|(?:titolo |riassunto |abstract )?non disponibile"
    r")[\W_]*)$"
)
_PLACEHOLDER = re.compile(PLACEHOLDER)


def is_placeholder(text: str) -> bool:
    """Whether a whole value says only that there is none.

    Args:
        text: a title, an abstract, the name of a journal or author, a keyword.
    """
    return 0 < len(text) <= LONGEST and _PLACEHOLDER.fullmatch(text) is not None
