"""Read web pages: those of the CDC, the WHO and the NIH as served, and pages of a user's own."""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import html
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

from lxml import etree
from lxml.html import HTMLParser, document_fromstring

from elara.collect.fields import iso_date, language_code, medline_date, plain_doi
from elara.collect.licences import (
    PUBLIC_DOMAIN,
    UNKNOWN,
    licence_of,
    redistributable,
    restricts,
    strictest,
)
from elara.collect.maintext import document_text, main_text
from elara.collect.own import file_title, own_article, take_title, titled
from elara.collect.parsed import Dropped, Parsed
from elara.collect.xmlrecords import Element, text_of
from elara.records import Article

# Host to source, publisher and the licence of a page that states none of its own.
# Sources: https://www.cdc.gov/other/agencymaterials.html,
# https://www.who.int/about/policies/publishing/copyright, https://www.nih.gov/web-policies-notices
_SITES = {
    "cdc.gov": ("cdc", "Centers for Disease Control and Prevention", PUBLIC_DOMAIN),
    "who.int": ("who", "World Health Organization", "CC-BY-NC-SA-3.0-IGO"),
    **{
        f"{institute}.nih.gov": ("nih", "National Institutes of Health", PUBLIC_DOMAIN)
        # not nlm: what its servers send as a page is an error or a search form
        for institute in (
            "nei", "nhlbi", "nia", "niaid", "niams", "nichd", "nidcd", "niddk", "nimh", "ninds",
        )
    },
}  # fmt: skip
_CHARSET = re.compile(rb"""charset\s*=\s*["']?([A-Za-z0-9_-]+)""", re.IGNORECASE)
# Only the address bar's title carries the name of the site, so it comes last.
_TITLES = ("og:title", "citation_title", "dc.title", "dcterms.title", "title")
_DATES = (
    "citation_publication_date", "citation_date", "dcterms.issued", "dc.date",
    "article:published_time", "date",
)  # fmt: skip
# How journal pages without a date in their head name the issue.
_ISSUE = re.compile(r"Volume \d+, (?:Number|Supplement) [\d-]+\s*—\s*([A-Z][a-z]+) (\d{4})")
# Hosts whose pages are no texts: errors and search forms in place of an answer.
_ANSWERS = (".nlm.nih.gov",)
_NO_TEXT = re.compile(
    r"PmFetch response|(?:error )?[45]\d\d\b.*|(?:page )?not found.*|access denied.*|forbidden"
    r"|just a moment.*|(?:please )?(?:log|sign) ?in\b.*",
    re.IGNORECASE,
)
# What a page of a site has and a document that was saved as HTML has not.
_NAVIGATION = "//main | //nav | //footer | //aside | //*[@role='main' or @role='navigation']"
_LINKED = 0.4  # a page with a larger part of its text in links has navigation
_RIGHTS = ("dcterms.rights", "dcterms.license", "dc.rights", "license")


def parse(chunks: Iterable[bytes], own_file: str = "") -> Iterator[Parsed]:
    """Read one web page.

    Args:
        chunks: pieces of one HTML page, in order.
        own_file: name of the file where it is one of the user's own, of which pages of any site
            are read; "" refuses those of unknown sites.

    Yields:
        One `Parsed`: an article, or the reason why the page is none.
    """
    page = decode(b"".join(chunks))
    try:
        tree = document_fromstring(page.encode(), parser=HTMLParser(encoding="utf-8"))
    except (etree.ParserError, ValueError):
        yield Parsed(record=0, status="skipped", reason="HTML page without content")
    else:
        yield _parsed(page, tree, own_file)


def _parsed(page: str, tree: Element, own_file: str) -> Parsed:
    metas = _metas(tree)
    url = _url(tree, metas)
    host, path = _host_and_path(url)
    site = _site(host, tree)
    title = _title(tree, metas)
    dropped: list[Dropped] = []
    found = Parsed(record=0, native_id=url if site else "", status="skipped", dropped=dropped)
    if not site and (not own_file or f".{host}".endswith(_ANSWERS)):
        found.reason = "HTML page that is not from the CDC, the WHO or an institute of the NIH"
        return found
    if not site and _NO_TEXT.fullmatch(title):
        found.reason = f"HTML page that is an answer of a server, not a text: {title[:60]!r}"
        return found
    links = [a.get("href") or "" for a in tree.iter("link", "a") if a.get("rel") == "license"]
    rights = [value for name in _RIGHTS for value in metas.get(name, [])] + links
    published = _first(metas, *_DATES)
    issued = _issue_date(tree)  # before the tree is changed
    if site or _has_navigation(tree):
        body = main_text(page, tree, dropped, title)
        found.reason = "" if body else "HTML page without main text (navigation only)"
    else:
        body = document_text(tree, dropped)
        found.reason = "" if body else "HTML page without text"
    if not body:
        return found
    keywords = _first(metas, "keywords", "citation_keywords")
    values: dict[str, Any] = {
        "title": title or (take_title(body) if not site else ""),
        "abstract": _first(metas, "citation_abstract", "dcterms.abstract"),
        "language": tree.get("lang") or _first(metas, "dc.language"),
        "date": published,
        "keywords": [k for part in re.split("[;,]", keywords) if (k := part.strip())],
        "authors": [t for t in metas.get("citation_author", []) if t],
        "url": url,
        "doi": _first(metas, "citation_doi"),
    }
    if not site:
        values["journal"] = _first(metas, "citation_journal_title", "og:site_name")
        values["licence"] = "\n".join(rights)
        found = own_article(values, body, titled(body, file_title(own_file)))
        found.dropped = dropped
        return found
    source, publisher, licence = _SITES[site]
    if any(licence_of(x) != UNKNOWN or restricts(x) for x in rights):
        licence = strictest(rights)
    found.native_id = path or hashlib.sha256(page.encode()).hexdigest()[:12]
    found.article = Article(
        id=f"{source}:{found.native_id}",
        source=source,
        title=title,
        abstract=values["abstract"],
        body=body,
        language=language_code(values["language"]),
        published=iso_date(published) or issued,
        journal=_first(metas, "citation_journal_title") or publisher,
        keywords=values["keywords"],
        authors=values["authors"],
        publication_types=["Web page"],
        url=url,
        doi=plain_doi(values["doi"]),
        licence=licence,
        redistributable=redistributable(licence),
    )
    found.status, found.article_id = "article", found.article.id
    found.revision = iso_date(_first(metas, "dcterms.modified", "dc.date"))
    return found


def _has_navigation(tree: Element) -> bool:
    """Whether a page is one of a site, and not a document that was saved as HTML."""
    linked = sum(len(text_of(a)) for a in tree.iter("a"))
    return bool(tree.xpath(_NAVIGATION)) or linked > _LINKED * len(text_of(tree))


def decode(page: bytes) -> str:
    """Decode a page by what its bytes are, then by what it declares.

    Args:
        page: the bytes as served. Text that is valid UTF-8 is UTF-8, whatever the page says;
            otherwise the declared encoding counts, and last windows-1252.

    Source: https://encoding.spec.whatwg.org/#names-and-labels (iso-8859-1 means windows-1252)
    """
    if page.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return page.decode("utf-16", errors="replace")
    try:
        text = page.decode("utf-8-sig")
        # Some pages are UTF-8 that was taken for Latin-1 and encoded again. Text that is UTF-8
        # once more, byte for byte, is so by no accident.
        with contextlib.suppress(UnicodeError):
            text = text.encode("latin-1").decode("utf-8")
        return text.removeprefix("\ufeff")
    except UnicodeDecodeError:
        declared = _CHARSET.search(page[:4096])
    name = declared[1].decode("ascii").lower() if declared else ""
    with contextlib.suppress(LookupError):
        if name not in ("", "utf-8", "utf8", "iso-8859-1", "latin1", "us-ascii"):
            return page.decode(name, errors="replace")
    return page.decode("windows-1252", errors="replace")


def _metas(tree: Element) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for meta in tree.iter("meta"):
        name = (meta.get("name") or meta.get("property") or "").lower()
        found.setdefault(name, []).append(" ".join((meta.get("content") or "").split()))
    return found


def _first(metas: dict[str, list[str]], *names: str) -> str:
    return next((v for n in names for v in metas.get(n, []) if v), "")


def _url(tree: Element, metas: dict[str, list[str]]) -> str:
    shared = _first(metas, "og:url")
    links = (link for link in tree.iter("link") if (link.get("rel") or "").lower() == "canonical")
    for link in links:
        with contextlib.suppress(ValueError):  # not an address at all
            return urljoin(shared, link.get("href") or "")
    return shared


def _host_and_path(url: str) -> tuple[str, str]:
    """Host and path of an address; empty where it is none."""
    with contextlib.suppress(ValueError):
        split = urlsplit(url)
        return split.netloc.lower(), split.path.strip("/")
    return "", ""


def _site(host: str, tree: Element) -> str:
    """The known site of a page: from its address, else the one that most of its links name."""
    links = (str(a.get("href") or a.get("src") or "") for a in tree.iter("a", "script", "img"))
    linked = (_host_and_path(link)[0] for link in links if link.lower().startswith("http"))
    hosts = [host] if host else linked
    counts = Counter(site for host in hosts for site in _SITES if f".{host}".endswith(f".{site}"))
    return counts.most_common(1)[0][0] if counts else ""


def _title(tree: Element, metas: dict[str, list[str]]) -> str:
    stated = [v for name in _TITLES for v in metas.get(name, []) if v]
    whole = [v for v in stated if not v.endswith("...")]  # some og:titles are cut short
    headings = [text_of(next(tree.iter(tag), None)) for tag in ("title", "h1")]
    best = next((v for v in [*whole, *headings, *stated] if v), "")
    return " ".join(re.sub(r"<[^>]*>", "", html.unescape(best)).split())


def _issue_date(tree: Element) -> str:
    for heading in tree.iter("h3", "h4", "h5"):
        if found := _ISSUE.search(text_of(heading)):
            return medline_date(f"{found[2]} {found[1]}")
    return ""
