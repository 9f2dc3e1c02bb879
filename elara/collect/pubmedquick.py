"""PubMed articles read straight from their bytes, which is several times faster than a tree.

Nearly all records have the same layout. Their few needed fields are cut out by position, and only
a text that holds markup is given to an XML parser. Whatever looks different in any way is left to
`elara.collect.pubmedtree`, whose reading is the one that counts.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

from elara.collect.africa import affiliation_countries, spellings
from elara.collect.languages import language_code
from elara.collect.licences import UNKNOWN, licence_of, redistributable
from elara.collect.mathml import plain_signs
from elara.collect.parsed import Dropped
from elara.collect.pubmedtree import (
    abstract_of,
    author_names,
    date_of,
    ids_of,
    own_title,
    plain_doi,
    value_of,
)
from elara.collect.raised import flat_runs
from elara.collect.xmlrecords import Element, hiding, read_record, squeeze, text_of
from elara.records import Article
from elara.text.placeholders import LONGEST, any_placeholder

_HEAD = re.compile(
    rb"<PubmedArticle>\s*<MedlineCitation[^<>]*>\s*"
    rb'<PMID(?: Version="(\d+)")?>([1-9]\d{0,7})</PMID>\s*'
    rb"(?:<DateCreated>(?:\s*<\w+>\w+</\w+>)+\s*</DateCreated>\s*)?"
    rb"(?:<DateCompleted>(?:\s*<\w+>\w+</\w+>)+\s*</DateCompleted>\s*)?"
    rb"(?:<DateRevised>((?:\s*<\w+>\w+</\w+>)+)\s*</DateRevised>\s*)?"
)
_PART = re.compile(rb'(?: Label="([^"<&>]*)")?(?: NlmCategory="[A-Z]*")?>')
# A name begins with no blank: not in ASCII, nor with a byte that Unicode's blanks begin with.
_AUTHOR = re.compile(
    rb'(?:ValidYN="Y")?(?: ?EqualContrib="[YN]")?>\s*'
    rb"<LastName>([^<&\s\xc2\xe1-\xe3][^<&]*)</LastName>\s*"
    rb"<ForeName>([^<&\s\xc2\xe1-\xe3][^<&]*)</ForeName>"
)
_DESCRIPTOR = re.compile(
    rb'<DescriptorName UI="\w+" MajorTopicYN="[YN]"(?: Type="\w+")?>([^<&]+)</DescriptorName>'
)
_KEYWORD = re.compile(rb'<Keyword MajorTopicYN="[YN]">([^<]+)</Keyword>')
_RETRACTED_IN = b'<CommentsCorrections RefType="RetractionIn">'
_STYLE = re.compile(rb"</?[biu]>")
_INLINE = re.compile(rb"</?(?:[biu]|su[bp])>")
_ID = re.compile(rb'<ArticleId IdType="(\w+)">([^<&]*)</ArticleId>')
# Characters that XML forbids or that need a closer look; they must not be in a plain text.
_CONTROL = bytes(c for c in range(32) if c not in (9, 10, 13))
_REFERENCES = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'", "&amp;": "&"}  # in order
_LESS, _MORE = "\ue000", "\ue001"  # from Unicode's private area
_REPEATED = 1 << 16  # values kept of each field that repeats: journals, dates, MeSH descriptors


class OddRecordError(ValueError):
    """The record is not laid out as nearly all are: read it as a tree."""


def quick_article(record: bytes) -> tuple[Article, str]:
    """Read a `PubmedArticle` of the usual layout.

    Args:
        record: its bytes, in UTF-8.

    Returns:
        The article, equal to what `article_of` reads, and its revision: the PMID's version with
        the date of the last revision.

    Raises:
        OddRecordError: the record has another layout.
        lxml.etree.XMLSyntaxError: a text in it is not well-formed.
        UnicodeDecodeError: a text in it is not UTF-8.
    """
    start, end = record.find(b"<Article "), record.find(b"</Article>")
    cited = record.find(b"</MedlineCitation>", end)
    head = _HEAD.fullmatch(record, 0, max(start, 0))
    if not head or end < 0 or cited < 0 or hiding(record, 0, len(record)) >= 0:
        raise OddRecordError
    body, tail = record[start:end], record[end:cited]
    # A relation that only the tree reads: another kind of retraction, or another record's.
    if tail.count(b"Retract") > tail.count(_RETRACTED_IN) or b"<OtherAbstract" in tail:
        raise OddRecordError
    if not record.endswith(b"</PubmedArticle>"):
        raise OddRecordError
    version, pmid = head[1] or b"1", head[2].decode()
    journal, at = _first(body, b"Journal", 0)
    title, at = _first(body, b"ArticleTitle", at)
    abstract, licence = _abstract(body, at)
    types = _types(_first(body, b"PublicationTypeList", at)[0])
    authors, working_in = _authors(body, at)
    ids = _ids(record, cited)
    published = _date(_first(journal, b"PubDate", 0)[0])
    if not (title and published and ids.get("doi")) and _needs_more(body, title, published):
        raise OddRecordError
    article = Article(
        id=f"pubmed:{pmid}",
        source="pubmed",
        title=_text(title),
        abstract=abstract,
        language=language_code(_repeated(_first(body, b"Language", at)[0])),
        published=published,
        journal=_repeated(_first(journal, b"Title", 0)[0]),
        volume=_text(_first(journal, b"Volume", 0)[0]),
        pages=_text(_first(body, b"MedlinePgn", 0)[0]),
        keywords=_keywords(tail),
        mesh=_mesh(tail),
        authors=authors,
        affiliation_countries=working_in,
        publication_types=list(types),
        url=f"https://pubmed.ncbi.nlm.nih.gov/{pmid}/",
        doi=plain_doi(ids.get("doi", "")),
        pmid=pmid,
        pmcid=ids.get("pmc", "").upper(),
        licence=licence,
        redistributable=redistributable(licence),
        retracted="Retracted Publication" in types or _RETRACTED_IN in tail,
    )
    if b"<VernacularTitle" in body:
        own_title(article, _text(_first(body, b"VernacularTitle", 0)[0]))
    if _has_placeholder(article):
        raise OddRecordError
    return article, version.decode().zfill(4) + (_date(head[3]) if head[3] else "")


def _has_placeholder(article: Article) -> bool:
    """Whether a value says that there is none, which is a line of its own in the outcome."""
    values = [article.title, article.journal, *article.authors, *article.keywords]
    if len(article.abstract) < LONGEST + 1:
        values.append(article.abstract)
    values += [section.text for section in article.body]
    return any_placeholder([value for value in values if value])


def _needs_more(body: bytes, title: bytes, published: str) -> bool:
    """Whether a missing field has a second place in the record that may hold it."""
    return not title or b'EIdType="doi"' in body or (not published and b"<ArticleDate" in body)


def _first(data: bytes, name: bytes, at: int) -> tuple[bytes, int]:
    """The content of the first element with this name, and where it ends; b"" without one."""
    opening, closing = _tags(name)
    start = data.find(opening, at)
    if start < 0:
        if data.find(closing, at) >= 0:
            raise OddRecordError
        return b"", at
    opened = start + len(opening)
    if data[opened : opened + 1] != b">":  # attributes come first
        inside, opened = opened, data.find(b">", opened)
        plain = data[inside:opened]
        if plain[:1] != b" " or plain.count(b'"') % 2 or plain[-1] == 47:
            raise OddRecordError
    end = data.find(closing, opened)
    if end < 0:
        raise OddRecordError
    return data[opened + 1 : end], end


@cache
def _tags(name: bytes) -> tuple[bytes, bytes]:
    return b"<" + name, b"</" + name + b">"


def _tree(content: bytes) -> Element:
    tree = read_record(b"<part>" + content + b"</part>")
    return plain_signs(tree, content)


def _plain(content: bytes) -> bool:
    """Whether a text is what it says: no markup, no reference, no forbidden character."""
    return not (b"<" in content or b"&" in content or _forbidden(content))


def _forbidden(content: bytes) -> bool:
    # Single bytes are found much faster than several.
    return (
        len(content.translate(None, _CONTROL)) != len(content)
        or (b"]" in content and b"]]>" in content)
        or (b"\xef" in content and b"\xef\xbf" in content)
    )


def _text(content: bytes) -> str:
    if b"<" in content:
        return _marked(content)
    if _forbidden(content):
        return value_of(_tree(content))
    text = squeeze(content.decode())
    if "&" in text:
        if text.count("&") != sum(map(text.count, _REFERENCES)):
            return value_of(_tree(content))
        for reference, character in _REFERENCES.items():
            text = text.replace(reference, character)
        if "<su" in text:
            return flat_runs(text)
    return text


def _marked(content: bytes) -> str:
    """A text with markup: none inside another is read here, all else as a tree."""
    tags = _INLINE.findall(content)
    opened, closed = tags[::2], tags[1::2]
    flat = len(tags) == content.count(b"<") and [b"</" + tag[1:] for tag in opened] == closed
    if not flat or b"></" in content or b"&lt;su" in content:
        return value_of(_tree(content))
    bare = _STYLE.sub(b"", content)
    if b"<" in bare:
        if _forbidden(bare) or bare.count(b"&") != bare.count(b"&lt;") + bare.count(b"&gt;"):
            return value_of(_tree(content))
        # Signs that stand for themselves while there are tags.
        text = flat_runs(bare.decode().replace("&lt;", _LESS).replace("&gt;", _MORE))
        bare = text.replace(_LESS, "&lt;").replace(_MORE, "&gt;").encode()
    return _text(bare) if b"<" not in bare else value_of(_tree(content))


_repeated = lru_cache(_REPEATED)(_text)


@lru_cache(_REPEATED)
def _date(content: bytes) -> str:
    return date_of(_tree(content))


@lru_cache(_REPEATED)
def _types(content: bytes) -> tuple[str, ...]:
    return tuple(text_of(t) for t in _tree(content).iterfind("PublicationType"))


@lru_cache(1024)
def _licence(content: bytes) -> str:
    return licence_of(_text(content)) if content else UNKNOWN


def _abstract(body: bytes, at: int) -> tuple[str, str]:
    """The abstract and the licence that its copyright line states."""
    content, _ = _first(body, b"Abstract", at)
    parts = content.split(b"<AbstractText")
    _, _, after = parts[-1].partition(b"</AbstractText>")
    copyright_line, _ = _first(after, b"CopyrightInformation", 0)
    tags = 2 * (len(parts) - 1) + 2 * (b"<CopyrightInformation" in after)
    lines = []
    for part in parts[1:]:
        label = _PART.match(part)
        end = part.find(b"</AbstractText>")
        if not label or end < 0:
            return _odd_abstract(content)
        written = part[label.end() : end]
        tags += written.count(b"<")
        if text := _text(written):
            named = _repeated(label[1]).rstrip(":") if label[1] else ""
            lines.append(f"{named.upper()}: {text}" if named else text)
    if content.count(b"<") != tags:
        return _odd_abstract(content)
    return "\n".join(lines), _licence(copyright_line)


def _odd_abstract(content: bytes) -> tuple[str, str]:
    tree = _tree(content)
    return abstract_of(tree), licence_of(text_of(tree.find("CopyrightInformation")))


def _authors(body: bytes, at: int) -> tuple[list[str], list[str]]:
    """The authors, and the African countries in which they work."""
    start = body.find(b"<AuthorList", at)
    content, end = _first(body, b"AuthorList", at)
    if start >= 0 and (b"Type=" in body[start : start + 60] or b"<AuthorList" in body[end:]):
        raise OddRecordError  # editors, say
    before, *authors = content.split(b"<Author ")
    found = [_AUTHOR.match(author) for author in authors]
    ends = content.count(b"</Author>")
    if before.strip() or not all(found) or ends != len(found) or b"<Author>" in content:
        return _names(_tree(content)), _working_in(content)
    names = [b"%b %b" % (match[2], match[1]) for match in found if match]
    return _each(names), _working_in(content)


def _names(authors: Element) -> list[str]:
    dropped: list[Dropped] = []
    names = author_names(authors, dropped)
    if dropped:
        raise OddRecordError
    return names


def _working_in(authors: bytes) -> list[str]:
    # Co-authors share affiliations, and few of them name a country in Africa.
    pieces = {p[: p.find(b"</Affiliation>")] for p in authors.split(b"<Affiliation>")[1:]}
    likely = sorted(p for p in pieces if b"&" in p or _may_be_african().search(p))
    return affiliation_countries(map(_text, likely)) if likely else []


@cache
def _may_be_african() -> re.Pattern[bytes]:
    return re.compile(_branches([name.encode() for name in spellings()]))


def _branches(names: list[bytes]) -> bytes:
    """A pattern for any of these names that compares each first letter once."""
    by_first: dict[bytes, list[bytes]] = {}
    for name in names:
        by_first.setdefault(name[:1], []).append(name[1:])
    if b"" in by_first:
        return b""  # what is longer begins with a name, too
    return b"|".join(
        re.escape(first) + (b"(?:%b)" % _branches(rest) if len(rest) > 1 else re.escape(rest[0]))
        for first, rest in sorted(by_first.items())
    )


def _mesh(tail: bytes) -> list[str]:
    content, _ = _first(tail, b"MeshHeadingList", 0)
    found = _DESCRIPTOR.findall(content)
    if not _all(found, content, b"DescriptorName"):
        return [text_of(d) for d in _tree(content).iterfind("*/DescriptorName")]
    return [_repeated(d) for d in found]


def _keywords(tail: bytes) -> list[str]:
    content, end = _first(tail, b"KeywordList", 0)
    if b"<KeywordList" in tail[end:]:
        raise OddRecordError
    found = _KEYWORD.findall(content)
    if not _all(found, content, b"Keyword"):
        return [k for k in map(value_of, _tree(content).iterfind("Keyword")) if k]
    return [k for k in (map(_text, found) if b"|" in content else _each(found)) if k]


def _ids(record: bytes, at: int) -> dict[str, str]:
    """The identifiers of the record itself, not of what it cites."""
    cited = record.find(b"<ReferenceList", at)
    content, _ = _first(record[at : cited if cited > 0 else len(record)], b"ArticleIdList", 0)
    found = _ID.findall(content)
    if not _all(found, content, b"ArticleId"):
        return ids_of(_tree(content))
    return dict(
        zip([kind.decode() for kind, _ in found], _each([i for _, i in found]), strict=True)
    )


def _all(found: list[Any], content: bytes, name: bytes) -> bool:
    """Whether these are all elements with this name."""
    return len(found) == content.count(b"<" + name) == content.count(b"</" + name + b">")


def _each(texts: list[bytes]) -> list[str]:
    """Short texts, read together where they are plain."""
    joined = b" | ".join(texts)
    if _plain(joined):
        found = " ".join(joined.decode().split()).split(" | ")
        if len(found) == len(texts):
            return found
    return [_text(t) for t in texts]
