"""Find the articles that a notice of retraction names, and titles that say theirs is retracted."""

from __future__ import annotations

import re

from elara.collect.xmlrecords import Element, text_of
from elara.text.references import articles_named

# Relations of PubMed by which a record says that it is itself retracted, and that another one is.
# Source: https://dtd.nlm.nih.gov/ncbi/pubmed/doc/out/250101/att-RefType.html
RETRACTED_IN = frozenset(["RetractionIn", "PartialRetractionIn", "RetractedandRepublishedIn"])
_RETRACTS = frozenset(["RetractionOf", "PartialRetractionOf", "RetractedandRepublishedFrom"])
# The same in JATS, where publishers write one thing in many ways.
_RELATED_IN = frozenset([
    "partial-retraction", "partial-retraction-forward", "removal", "retracted-by", "retraction",
    "retraction-forward", "retraction-in", "retraction-notice", "withdrawal", "withdrawn-by",
])  # fmt: skip
_RELATED_OF = frozenset([
    "partially-retracted-article", "removed-article", "retracted-article", "retraction-of",
    "withdrawn-article",
])  # fmt: skip
_RELATED_LOOSELY = frozenset(["related-article", "article-reference", "corrected-article"])
_KINDS = {"retraction", "partial-retraction", "retraction-notice", "withdrawal", "removal"}
# What a bare number is, by the kind that its element names.
_BARE = {"pmid": "PMID ", "pubmed": "PMID ", "pmc": "PMCID PMC", "pmcid": "PMCID PMC"}
_HREF = "{http://www.w3.org/1999/xlink}href"

_STRUCK = (
    r"(?i:retracted|withdrawn|r[ée]tract[ée]e?|retractad[ao]|retratad[ao]|retirad[ao]|ritirat[ao]"
    r"|zur[üu]ckgezogen)"
)
# Eyelids and eardrums are retracted too, and drugs withdrawn: a bare word counts as a mark only
# where it begins like a title, and before a colon where what follows begins like one.
_MARKED = rf"(?=[A-ZÀ-Ý]){_STRUCK}"
_ARTICLE = r"(?i:art[ií]c[uo]lo|article|artigo|paper|chapter|manuscript|publication|study)"
_RETRACTED_TITLE = re.compile(
    # "RETRACTED: …", "[Withdrawn] …", "RETRACTED ARTICLE …", or nothing but the word.
    rf"\W*(?:{_ARTICLE} {_STRUCK}|{_MARKED}(?: {_ARTICLE})?)"
    r"\s*(?:[.:!–—-]\s*\W*(?![a-zà-ÿ\W])|[\])|*]|\W*$)"
    r"|\W*(?:RETRACTED|WITHDRAWN)(?: ARTICLE)? (?=.*[a-z])"
    # "… (Retracted article. See vol. 5)", "… [This article has been withdrawn]".
    rf"|.*[\[(] ?(?i:this )?(?:{_ARTICLE} (?:(?i:has been|was|is) )?{_STRUCK}|{_STRUCK} {_ARTICLE}"
    rf"|{_MARKED})\s*[\]).:,;]"
    # "… - RETRACTED", "… [retracted]".
    rf"|.*\S\s*[-–—:|] {_MARKED}(?: {_ARTICLE})?\W*$|.*[\[(](?i:retracted)[\])]\W*$"
    r"|\W*(?:撤稿|撤回|撤销)\W",
    re.DOTALL,
)
_MARK = re.compile(r"(?i:ract|withdrawn|retratad|retirad|ritirat|gezogen)|REMOV|撤")
_REMOVED_TITLE = re.compile(r"\W*(?:TEMPORARY )?(?:REMOVED|REMOVAL):(?=.*[a-z])")


def says_retracted(title: str) -> bool:
    """Whether a title marks its article as retracted or withdrawn.

    Args:
        title: of an article; that of a notice ("Retraction: …") does not count.
    """
    # Nearly all titles have no mark, and a closer look takes ten times as long.
    struck = _MARK.search(title) and (_RETRACTED_TITLE.match(title) or _REMOVED_TITLE.match(title))
    return bool(struck)


def names_in(text: str, kind: str = "") -> list[str]:
    """The articles that an address or a citation names, as `merge` calls them.

    Args:
        text: for example `info:doi/10.1000/abc` or `Lancet. 2018. PMID: 12345`.
        kind: what a bare number is: `pmid` or `pmc`.
    """
    found = articles_named(text)
    bare = text.strip()
    if bare.isdecimal() and kind in _BARE:
        found.append(_BARE[kind] + bare)
    return list(dict.fromkeys(found))


def pubmed_targets(citation: Element) -> list[str]:
    """The articles whose retraction a PubMed record announces.

    Args:
        citation: a `MedlineCitation`.
    """
    found: list[str] = []
    for relation in citation.iterfind("CommentsCorrectionsList/CommentsCorrections"):
        if relation.get("RefType") in _RETRACTS:
            found += names_in(text_of(relation.find("PMID")), "pmid")
            found += names_in(text_of(relation.find("RefSource")))
    return list(dict.fromkeys(found))


def jats_targets(meta: Element, kind: str) -> list[str]:
    """The articles whose retraction a JATS article announces.

    Args:
        meta: its `article-meta`.
        kind: its `article-type`.
    """
    related = [(str(r.get("related-article-type")), r) for r in meta.iterfind("related-article")]
    wanted = _RELATED_OF | _RELATED_IN if kind in _KINDS else _RELATED_OF
    named = [r for relation, r in related if relation in wanted]
    if not named and kind in _KINDS:
        named = [r for relation, r in related if relation in _RELATED_LOOSELY]
    found: list[str] = []
    for element in named:
        found += names_in(element.get(_HREF) or "", element.get("ext-link-type") or "")
        for part in element.iter("pub-id", "article-id"):
            found += names_in(text_of(part), part.get("pub-id-type") or "")
    return list(dict.fromkeys(found))


def jats_retracted(meta: Element, kind: str) -> bool:
    """Whether a JATS article says that it has itself been retracted.

    Args:
        meta: its `article-meta`.
        kind: its `article-type`.
    """
    relations = {r.get("related-article-type") for r in meta.iterfind("related-article")}
    return kind == "retracted-article" or (kind not in _KINDS and bool(_RELATED_IN & relations))
