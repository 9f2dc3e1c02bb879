"""A checker of PubMed queries, which finds mistakes in the searches that Elara brings along."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

LONGEST = 4000  # characters; a longer query belongs in a POST and is hard to read besides

# Every tag of PubMed's help page, by its full name and its short form.
# Source: https://pubmed.ncbi.nlm.nih.gov/help/#using-search-field-tags
TAGS = {
    "affiliation": "ad", "all fields": "all", "article identifier": "aid", "author": "au",
    "author identifier": "auid", "book": "book", "completion date": "dcom",
    "conflict of interest statement": "cois", "corporate author": "cn", "create date": "crdt",
    "ec/rn number": "rn", "editor": "ed", "entry date": "edat", "filter": "filter",
    "first author name": "1au", "full author name": "fau", "full investigator name": "fir",
    "grants and funding": "gr", "investigator": "ir", "isbn": "isbn", "issue": "ip",
    "journal": "ta", "language": "la", "last author name": "lastau", "location id": "lid",
    "mesh date": "mhda", "mesh major topic": "majr", "mesh subheadings": "sh",
    "mesh terms": "mh", "modification date": "lr", "nlm unique id": "jid", "other term": "ot",
    "pagination": "pg", "personal name as subject": "ps", "pharmacological action": "pa",
    "place of publication": "pl", "pmid": "pmid", "publication date": "dp",
    "publication type": "pt", "publisher": "pubn", "secondary source id": "si", "subset": "sb",
    "supplementary concept": "nm", "text words": "tw", "title": "ti", "title/abstract": "tiab",
    "transliterated title": "tt", "volume": "vi",
}  # fmt: skip
OPERATORS = ("AND", "OR", "NOT")

_HEADINGS = ("mh", "majr", "sh")  # may be followed by :noexp, and not be cut off with *
_NEAR = ("ti", "tiab", "ad")  # may be followed by :~N, words at most N apart
_SHORT = {**TAGS, **{short: short for short in TAGS.values()}}
_TOKEN = re.compile(r'(?P<space>\s+)|(?P<term>"[^"]*"|[^\s"\[\]()]+)|(?P<tag>\[[^\]]*\])|[()]')


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # term, tag, operator, ( or )
    text: str
    at: int


class _SyntaxError(ValueError):
    def __init__(self, at: int, problem: str) -> None:
        super().__init__(f"character {at + 1}: {problem}")


def check_query(query: str) -> str:
    """Look for mistakes that PubMed would not report but answer with something else.

    Stricter than PubMed: adjacent terms need an operator, phrases need quotes, and different
    operators in one group need parentheses, because PubMed reads them from left to right.

    Args:
        query: in PubMed's syntax.

    Returns:
        "", or what is wrong and where, e.g. `character 9: unknown field tag [titel]`.

    Source: https://pubmed.ncbi.nlm.nih.gov/help/
    """
    if len(query) > LONGEST:
        return f"{len(query)} characters: at most {LONGEST} are allowed"
    try:
        _parse(query)
    except _SyntaxError as error:
        return str(error)
    return ""


def _tokens(query: str) -> Iterator[_Token]:
    at = 0
    while at < len(query):
        found = _TOKEN.match(query, at)
        if found is None:
            raise _SyntaxError(at, f"{query[at]} without its partner")
        text = found[0]
        if text in OPERATORS:
            yield _Token("operator", text, at)
        elif text.upper() in OPERATORS:
            raise _SyntaxError(at, f"operator {text} must be in capitals")
        elif found["space"] is None:
            yield _Token(found.lastgroup or text, text, at)
        at = found.end()


def _parse(query: str) -> list[_Token]:
    """The tokens of a query that follows the rules of `check_query`."""
    tokens = list(_tokens(query))
    opened: list[_Token] = []
    used = [""]  # the operator of each group that is open, outermost first
    before = _Token("operator", "", 0)  # what a query and a group begin after
    for token in tokens:
        wanted = before.kind in ("operator", "(")  # a term or a group
        if wanted and token.kind not in ("term", "("):
            raise _SyntaxError(token.at, f"{token.text} where a term is expected")
        if not wanted and token.kind in ("term", "("):
            raise _SyntaxError(token.at, f"no operator before {token.text}")
        if token.kind == "term":
            _check_term(token)
        elif token.kind == "tag":
            _check_tag(token, before)
        elif token.kind == "operator":
            if used[-1] not in ("", token.text):
                raise _SyntaxError(
                    token.at,
                    f"{token.text} after {used[-1]}: set parentheses to say which is first",
                )
            used[-1] = token.text
        elif token.kind == "(":
            opened.append(token)
            used.append("")
        elif not opened:
            raise _SyntaxError(token.at, ") without its partner")
        else:
            opened.pop()
            used.pop()
        before = token
    if before.kind in ("operator", "("):
        raise _SyntaxError(len(query), "the query ends where a term is expected")
    if opened:
        raise _SyntaxError(opened[-1].at, "( without its partner")
    return tokens


def _check_term(token: _Token) -> None:
    words = token.text.strip('"').split()
    if not re.search(r"\w", token.text):
        raise _SyntaxError(token.at, f"nothing to search for in {token.text}")
    if "*" in token.text:
        stem = words[-1].removesuffix("*")
        if token.text.count("*") > 1 or stem == words[-1]:
            raise _SyntaxError(token.at, f"{token.text}: one * is allowed, at the end of a term")
        if sum(letter.isalpha() for letter in stem) < 4:
            raise _SyntaxError(token.at, f"{token.text}: * needs at least four letters before it")


def _check_tag(token: _Token, before: _Token) -> None:
    if before.kind != "term":
        raise _SyntaxError(token.at, f"field tag {token.text} does not follow a term")
    short, suffix = _tag(token), token.text[1:-1].strip().partition(":")[2]
    exact = suffix == "noexp" and short in _HEADINGS
    near = re.fullmatch(r"~\d+", suffix) is not None and short in _NEAR
    if not short or (suffix and not exact and not near):
        raise _SyntaxError(token.at, f"unknown field tag {token.text}")
    if "*" in before.text and short in _HEADINGS:
        raise _SyntaxError(before.at, f"{before.text}: a MeSH heading cannot be cut off with *")


def _tag(token: _Token) -> str:
    """The short form of a field tag, without `:noexp` and the like; "" for an unknown one."""
    return _SHORT.get(token.text[1:-1].strip().lower().partition(":")[0], "")
