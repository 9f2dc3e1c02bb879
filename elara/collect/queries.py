"""The searches a live collection runs: 108 topics, five African batches, and their syntax."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from elara.collect.africa import load_countries, load_yaml, plain
from elara.collect.topics import load_topics

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
# Europe PMC keeps MeSH headings with the keywords; its field MESH is filled for few records.
# Source: https://www.ebi.ac.uk/europepmc/webservices/rest/fields
_EUROPE_PMC = {"mh": "KW", "tiab": "TITLE_ABS", "ti": "TITLE", "ad": "AFF"}


@dataclass(frozen=True, slots=True)
class Search:
    """One of the 108 specialties and conditions that a collection from PubMed asks for.

    Args:
        id: lower case with hyphens, e.g. `acute-coronary-syndrome`.
        name: for people.
        specialty: one of the 13 labels in `topics.yaml`.
        query: in PubMed's syntax.
    """

    id: str
    name: str
    specialty: str
    query: str


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch of African health, to be asked of either service.

    Args:
        id: lower case with hyphens, e.g. `health-policy`.
        name: for people.
        pubmed: the query in PubMed's syntax.
        europepmc: the same query in Europe PMC's syntax, for records that PubMed has too.
    """

    id: str
    name: str
    pubmed: str
    europepmc: str


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # term, tag, operator, ( or )
    text: str
    at: int


class _SyntaxError(ValueError):
    def __init__(self, at: int, problem: str) -> None:
        super().__init__(f"character {at + 1}: {problem}")


@cache
def load_searches() -> tuple[Search, ...]:
    """The 108 topics, in the order of `topics.yaml`."""
    return tuple(Search(**row) for row in load_yaml("topics.yaml")["topics"])


@cache
def african_batches() -> tuple[Batch, ...]:
    """The batches of African health, in the order of `africa.yaml`, ready to be sent."""
    found = []
    for row in load_yaml("africa.yaml")["batches"]:
        query = row["query"].replace("{africa}", _africa())
        found.append(Batch(row["id"], row["name"], query, f"SRC:MED AND ({europepmc(query)})"))
    return tuple(found)


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


def europepmc(query: str) -> str:
    """Say a PubMed query in Europe PMC's words.

    Europe PMC does not look below a MeSH heading, so the answer may hold fewer articles.

    Args:
        query: terms tagged as MeSH terms, title, title and abstract, or affiliation.

    Returns:
        The query with `KW:`, `TITLE:`, `TITLE_ABS:` and `AFF:` in front of its terms.

    Raises:
        ValueError: the query has a mistake, or a tag that Europe PMC has no field for.

    Source: https://europepmc.org/searchsyntax
    """
    if problem := check_query(query):
        raise ValueError(f"{query[:60]!r}: {problem}")
    tokens = _parse(query)
    said = []
    for token, following in zip(tokens, [*tokens[1:], _Token("end", "", len(query))], strict=True):
        if token.kind == "tag":
            continue
        if following.kind == "tag":
            field = _EUROPE_PMC.get(_tag(following))
            if field is None:
                raise ValueError(
                    f"{query[:60]!r}: character {following.at + 1}: Europe PMC has no field "
                    f"for {following.text}; write it with one of {', '.join(_EUROPE_PMC)}"
                )
            said.append(f"{field}:{token.text}")
        else:
            said.append(token.text)
    return " ".join(said).replace("( ", "(").replace(" )", ")")


def _africa() -> str:
    """The continent, its parts and its countries, as alternatives."""
    words = [" ".join(term) for term in load_topics("regions").terms]
    said = ['"Africa"[mh]', *(f'"{word}"[tiab]' for word in words)]
    for country in load_countries():
        # With accents and without: whether a service folds them is not documented everywhere.
        names = dict.fromkeys(n for name in country.certain for n in (name, plain(name)))
        said += [_unlike(name, country.unlike, "tiab") for name in names]
        if country.ambiguous:
            said.append(_unlike(country.name, country.unlike, "ad"))
    return " OR ".join(said)


def _unlike(name: str, phrases: tuple[str, ...], tag: str) -> str:
    others = [f'"{p}"[{tag}]' for p in phrases if name in p]
    if not others:
        return f'"{name}"[{tag}]'
    joined = others[0] if len(others) == 1 else f"({' OR '.join(others)})"
    return f'("{name}"[{tag}] NOT {joined})'


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
