"""List the rules of cleaning, each with a name, its reason and a tested example."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from string import ascii_lowercase

from elara.clean import repair
from elara.clean.ledger import cuts, findings
from elara.clean.legal import DOI, MAIL, URL, legal_spans
from elara.clean.repair import END, START, join_hyphens
from elara.text.folding import SPACES, fold

TextFunction = Callable[[str], str]
# One rule can uncover work for another (an entity that hides a tag), so the list runs again on
# what changed. Real text needs two or three rounds.
MOST_ROUNDS = 12

_LEGAL_TRIGGERS = (
    *("©", "(c)", "copyright", "psycinfo database record", "all rights reserved"),
    *(f"published {when}by" for when in ("", "0000 ", "online ", "online 0000 ")),
    *("government work", "access article"),
)

_CORRESPONDENCE = (
    rf"(?im)(?:^|[ \t]+)(?:(?:address for )?correspondence(?: to)?|corresponding author|"
    rf"e-?mail(?: address)?|electronic address|contact)\s?:[^\n]{{0,200}}?{MAIL}\.?"
    rf"|[ \t]*\((?:e-?mail:?\s*)?{MAIL}\)|^[^\S\n]*{MAIL}[^\S\n]*$"
)
_LINK = (
    rf"(?im)[ \t]*[(\[](?:(?:available|accessed|retrieved) (?:at|from|on):?\s*|see:? |doi:?\s*)?"
    rf"{URL}[)\]]"
    rf"|^[^\S\n]*(?:(?:available (?:at|from)|url|link):?\s*)?{URL}[^\S\n]*$"
    rf"|(?:^|[ \t]+)doi:\s?{DOI}(?=\s|\Z)|(?:^|(?<=[ \t]))doi:\s?{DOI}[.;,]?(?=[A-Z])"
)
_PAGE_PARTS = "abstract|full text|go to|top of page|back to top|on this page|advertisement"
_HEADING = (
    r"(?i)\A(?:abstract|summary)(?:[ \t]*[:.—–]|[ \t]+-[ \t])[ \t]*"
    r"|\A\[?no abstract available\]?\.?\Z"
    rf"|(?m:^(?:{_PAGE_PARTS}):?[ \t]*$\n?)"
)
_HEADING_TRIGGERS = (
    *(f"{START}{word}" for word in ("abstract", "summary", "no abstract", "[no abstract")),
    *(f"{start}{part}" for start in (START, "\n") for part in _PAGE_PARTS.split("|")),
)


@dataclass(frozen=True)
class Rule:
    """One step of cleaning.

    Args:
        name: short and unique; changes are filed under it.
        why: one sentence.
        before: an example text.
        after: what `apply` makes of it.
        function: from text to text.
        removes: for a rule that takes passages away: from the same text to these passages, in
            order. Such a rule touches abstracts and body texts only. A rule without it repairs;
            it may not lose a protected term anywhere.
        triggers: the rule looks only at texts that hold one of these strings, compared without
            regard to ASCII case and with every digit written as 0; none: at every text.
        informed: what takes the place of `function` where the words of the whole collection are
            known: from a text and how often they occur to the new text.
    """

    name: str
    why: str
    before: str
    after: str
    function: TextFunction
    removes: Callable[[str], list[str]] | None = None
    triggers: Sequence[str] = ()
    informed: Callable[[str, Mapping[str, int]], str] | None = None

    def touches(self, text: str) -> bool:
        """Whether a text holds one of the triggers; with none, every text is touched."""
        folded = fold(f"{START}{text}{END}")
        return not self.triggers or any(trigger in folded for trigger in self.triggers)

    def apply(self, text: str) -> str:
        """What the rule makes of a text."""
        return self.function(text) if self.touches(text) else text


def removing(
    name: str,
    why: str,
    before: str,
    after: str,
    what: str | Callable[[str], list[tuple[int, int]]],
    triggers: Sequence[str] = (),
) -> Rule:
    """A rule that removes every match of a pattern in which there is no protected term.

    Terms in citations, addresses and legal lines do not count; see `elara.clean.legal`.

    Args:
        name: see `Rule`.
        why: see `Rule`.
        before: see `Rule`.
        after: see `Rule`.
        what: a regular expression, or a function from a text to the places that go.
        triggers: see `Rule`.
    """

    @lru_cache(maxsize=8)  # asked for what goes and for what stays
    def spans(text: str) -> list[tuple[int, int]]:
        if not isinstance(what, str):
            return what(text)
        held = (m for m in re.finditer(what, text) if not findings(m[0]))
        return [m.span() for m in held if not cuts(text, m.start()) and not cuts(text, m.end())]

    def passages(text: str) -> list[str]:
        return [text[start:end] for start, end in spans(text)]

    def cut(text: str) -> str:
        edges = [0, *(edge for span in spans(text) for edge in span), len(text)]
        return "".join(text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True))

    return Rule(name, why, before, after, cut, passages, triggers)


RULES = [
    Rule(
        "entities",
        "Web exports escape signs, some of them twice.",
        "p &amp;lt; 0.05 &amp; 5&nbsp;&micro;g",
        "p < 0.05 & 5\u00a0µg",
        repair.unescape,
        triggers=("&#", *(f"&{c}" for c in ascii_lowercase)),
    ),
    Rule(
        "encoding",
        "UTF-8 read as another encoding, ligatures and full-width letters hide words and units.",
        "2 Âµg/kg of a Î²-blocker for atrial ﬁbrillation, x²",
        "2 µg/kg of a β-blocker for atrial fibrillation, x²",
        repair.unbreak,
        triggers=repair.BROKEN,
    ),
    Rule(
        "control_characters",
        "Invisible characters split words for a tokenizer.",
        "hypo\u00adtension\u200b\x07",
        "hypotension",
        repair.drop_controls,
        triggers=repair.INVISIBLE,
    ),
    removing(
        "scripts",
        "Programs and style sheets of a web page are no text.",
        "Fever.<script>track('x');</script> Cough.",
        "Fever. Cough.",
        r"(?is)<script(?:\s[^<>]*)?>.*?</script\s*>|<style(?:\s[^<>]*)?>.*?</style\s*>|<!--.*?-->",
        triggers=("<script", "<style", "<!--"),
    ),
    Rule(
        "superscripts",
        "Removing the tags alone would turn 10<sup>9</sup> into 109.",
        "5 ×10<sup>9</sup>/L, H<sub>2</sub>O, p53<sup>wt</sup>",
        "5 ×10⁹/L, H₂O, p53wt",
        repair.raise_scripts,
        triggers=("<sup>", "<sub>"),
    ),
    Rule(
        "html_tags",
        "Only tags with known names go: comparisons use the same brackets.",
        "<p>Age <i>x</i> &lt;b and p<0.05 and >3</p>",
        "\nAge x &lt;b and p<0.05 and >3\n",
        repair.strip_tags,
        triggers=("</", *(f"<{c}" for c in ascii_lowercase)),
    ),
    Rule(
        "hyphenation",
        "Words split at a line end; where the joined word is not known, the hyphen stays.",
        "hyper-\ntension and non-\nsmall cell, pre-\nand postmenopausal",
        "hypertension and non-small cell, pre- and postmenopausal",
        join_hyphens,
        triggers=("-\n",),
        informed=join_hyphens,
    ),
    removing(
        "section_headings",
        "Labels of a page's parts stand between sentences.",
        "Abstract: Fever fell.\nGo to:\nMethods\nWe asked.",
        "Fever fell.\nMethods\nWe asked.",
        _HEADING,
        triggers=_HEADING_TRIGGERS,
    ),
    removing(
        "copyright_tail",
        "Publishers append legal lines to abstracts; a sentence that says anything else stays.",
        "Bleeding fell. Copyright © 2020 Elsevier Ltd. All rights reserved.",
        "Bleeding fell.",
        legal_spans,
        triggers=_LEGAL_TRIGGERS,
    ),
    removing(
        "correspondence",
        "Contact lines are no medicine, and they hold personal addresses.",
        "Survival rose. Correspondence: a.b@example.org",
        "Survival rose.",
        _CORRESPONDENCE,
        triggers=("@",),
    ),
    removing(
        "links",
        "A link in brackets or on a line of its own says nothing; inside a sentence it stays.",
        "The code is free (https://example.org/x). See https://example.org for how.",
        "The code is free. See https://example.org for how.",
        _LINK,
        triggers=("http", "www.", "doi:"),
    ),
    Rule(
        "white_space",
        "Tabs, no-break and double blanks, and empty lines carry nothing.",
        " 5\u00a0 mg\t daily \r\n\n\n\nfor life ",
        "5 mg daily\n\nfor life",
        repair.tidy_space,
        triggers=(
            *("  ", " \n", "\n ", "\n\n\n", f"{START} ", f"{START}\n", f" {END}", f"\n{END}"),
            *SPACES,
        ),
    ),
]
