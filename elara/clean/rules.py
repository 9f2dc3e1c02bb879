"""The rules of cleaning: named blocks in a list, each with its reason and a tested example."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase

from elara.clean import repair
from elara.clean.triggers import END, START, touches

TextFunction = Callable[[str], str]
# One rule can uncover work for another (an entity that hides a tag), so the list runs again on
# what changed. Real text needs two or three rounds.
MOST_ROUNDS = 12

_PUBLISHER = (
    "elsevier|wiley|springer|nature|bmj|oxford university press|cambridge university press|"
    "taylor & francis|sage|karger|wolters kluwer|lippincott|mary ann liebert|thieme|american |"
    "the american|the authors?|author\\(s\\)|the royal|massachusetts|blackwell|informa|s\\. karger|"
    "iucr|mosby"
)
_YEAR = r"\(?(?:19|20)\d\d"
_TAIL = (
    r"(?im)(?:^|[ \t]+)(?:\(?psycinfo database record|"
    rf"copyright\s*(?:©|\(c\)|{_YEAR})|(?:©|\(c\))\s*(?:copyright|{_YEAR})"
    rf"|©\s*(?:by\s|crown|{_PUBLISHER})"
    rf"|published (?:\d{{4}} )?by (?:{_PUBLISHER}|john wiley)"
    r"|all rights reserved\.|this article is protected by copyright"
    r"|this (?:article is a|is a) u\.?s\.? government work"
    r"|this is an open.access article (?:distributed )?under"
    r"|no claim to original u\.?s\.? government works)[^\n]{0,300}$"
)
_TAIL_TRIGGERS = (
    "©",
    "(c)",
    "copyright",
    "psycinfo database record",
    "published by",
    "published 0000 by",
    "all rights reserved",
    *(
        f"{a} a {u} government work"
        for a in ("this is", "this article is")
        for u in ("us", "us.", "u.s", "u.s.")
    ),
    "this is an open",
    "no claim to original",
)

_MAIL = r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}"
_CORRESPONDENCE = (
    rf"(?im)(?:^|[ \t]+)(?:(?:address for )?correspondence(?: to)?|corresponding author|"
    rf"e-?mail(?: address)?|electronic address|contact)\s?:[^\n]{{0,200}}?{_MAIL}\.?"
    rf"|[ \t]*\((?:e-?mail:?\s*)?{_MAIL}\)|^[^\S\n]*{_MAIL}[^\S\n]*$"
)
_URL = r"(?:https?://|www\.)[^\s()<>]+"
_LINK = (
    rf"(?im)[ \t]*[(\[](?:(?:available|accessed|retrieved) (?:at|from|on):?\s*|see:? |doi:?\s*)?"
    rf"{_URL}[)\]]"
    rf"|^[^\S\n]*(?:(?:available (?:at|from)|url|link):?\s*)?{_URL}[^\S\n]*$"
    r"|(?:^|[ \t]+)doi:\s?10\.\d{4,9}/[^\s]+"
)
_PAGE_PARTS = "abstract|full text|go to|top of page|back to top|on this page|advertisement"
_SECTION = (
    "introduction|background|(?:materials? and |patients and )?methods|results|discussion|"
    "conclusions?|references|acknowledge?ments|limitations|case (?:report|presentation)"
)
_HEADING = (
    r"(?i)\A(?:abstract|summary)(?:[ \t]*[:.—–]|[ \t]+-[ \t])[ \t]*"
    r"|\A\[?no abstract available\]?\.?\Z"
    rf"|(?m:^(?:{_PAGE_PARTS}):?[ \t]*$\n?)"
    rf"|(?m:^\d\d?\.(?:\d\d?\.?)*[ \t]+(?=(?:{_SECTION}):?[ \t]*$))"
)
_HEADING_TRIGGERS = (
    *(f"{START}{word}" for word in ("abstract", "summary", "no abstract", "[no abstract")),
    *(f"{start}{part}" for start in (START, "\n") for part in _PAGE_PARTS.split("|")),
    *(f"{start}{number}." for start in (START, "\n") for number in ("0", "00")),
)
# A passage that holds one of these is no mere legal line or address, whatever it starts with.
_CLINICAL = re.compile(
    r"\d\s?(?:[µμmnk]?g|[µμmd]?[lL]|m?mol|mm|cm|%|years?|days?|weeks?|months?|hours?|patients)\b"
    r"|[<>≤≥±×]\s?\d|\b[pPnN]\s?[=<>]\s?\d|[Ͱ-Ͽµ]|\b(?:95|99)\s?% CI|\b[A-Z]\. [a-z]{3}"
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
    """

    name: str
    why: str
    before: str
    after: str
    function: TextFunction
    removes: Callable[[str], list[str]] | None = None
    triggers: Sequence[str] = ()
    _touches: Callable[[str], bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Make the test for the triggers once."""
        object.__setattr__(self, "_touches", touches(self.triggers))

    def apply(self, text: str) -> str:
        """What the rule makes of a text."""
        return self.function(text) if self._touches(text) else text


def removing(
    name: str, why: str, before: str, after: str, pattern: str, triggers: Sequence[str] = ()
) -> Rule:
    """A rule that removes every match of a pattern in which there is no finding.

    Args:
        name: see `Rule`.
        why: see `Rule`.
        before: see `Rule`.
        after: see `Rule`.
        pattern: a regular expression.
        triggers: see `Rule`.
    """
    search = re.compile(pattern)

    def passages(text: str) -> list[str]:
        return [m[0] for m in search.finditer(text) if not holds_finding(m[0])]

    def cut(text: str) -> str:
        return search.sub(lambda m: m[0] if holds_finding(m[0]) else "", text)

    return Rule(name, why, before, after, cut, passages, triggers)


_ADDRESS = re.compile(rf"{_URL}|{_MAIL}|\b10\.\d{{4,9}}/\S+", re.IGNORECASE)


def holds_finding(passage: str) -> bool:
    """Whether a passage holds a dose, a comparison or another finding outside its addresses."""
    return _CLINICAL.search(_ADDRESS.sub("", passage)) is not None


def clean_text(text: str, rules: Sequence[Rule], running: bool = True) -> str:
    """Apply rules to one text until nothing changes: what cleaning means.

    Args:
        text: any text.
        rules: what to apply, in this order.
        running: whether it is running text; titles and headings are names, from which no rule
            takes anything away.

    Raises:
        ValueError: the rules do not come to rest.
    """
    for _ in range(MOST_ROUNDS):
        before = text
        for rule in rules:
            if running or rule.removes is None:
                text = rule.apply(text)
        if text == before:
            return text
    raise ValueError(f"after {MOST_ROUNDS} rounds rules still change {text[:80]!r}")


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
        "Words split at a line end; a hyphen that belongs to the word stays.",
        "hyper-\ntension and non-\nsmall cell, placebo-\ncontrolled",
        "hypertension and non-small cell, placebo-controlled",
        repair.join_hyphens,
        triggers=("-\n",),
    ),
    removing(
        "section_headings",
        "Labels of a page's parts stand between sentences, and section numbers mean nothing here.",
        "Abstract: Fever fell.\nGo to:\n2.1. Methods\nWe asked.",
        "Fever fell.\nMethods\nWe asked.",
        _HEADING,
        triggers=_HEADING_TRIGGERS,
    ),
    removing(
        "copyright_tail",
        "Publishers append legal lines to abstracts.",
        "Bleeding fell. Copyright © 2020 Elsevier Ltd. All rights reserved.",
        "Bleeding fell.",
        _TAIL,
        triggers=_TAIL_TRIGGERS,
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
            "  ",
            " \n",
            "\n ",
            "\n\n\n",
            *(f"{START}{blank}" for blank in " \n"),
            *(f"{blank}{END}" for blank in " \n"),
            *repair.SPACES,
        ),
    ),
]
