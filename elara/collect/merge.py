"""Merge all records that describe an article into one, and carry out deletions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from elara.collect.licences import OWN, no_stricter, strictness
from elara.collect.parsed import Parsed
from elara.records import PRIVATE, Article, Outcome, Piece, Status

WITHDRAWS = "DeleteCitation: the source withdraws this PMID"
# The text of an article, to which its licence belongs.
_PIECES = ("title", "abstract", "body")
# What a record of another source may add where the kept one says nothing, or adds to a list.
_FILL = ("published", "journal", "volume", "pages", "doi", "pmid", "pmcid", "url")
_JOIN = ("keywords", "mesh", "publication_types", "affiliation_countries")


@dataclass(slots=True)
class _Group:
    members: list[Parsed] = field(default_factory=list)
    pmid: str = ""


def merge(found: Iterable[Parsed]) -> tuple[list[Article], list[Outcome], list[Piece]]:
    """Merge records that share an id, PMID, PMCID or DOI, and carry out deletions and retractions.

    Within a source the newest version replaces the others. Across sources the fullest text is
    kept, of equally full ones the freest, and what it lacks (MeSH, say) is filled in. Two records
    with different PMIDs are never the same article, even when a DOI says so (errata share their
    article's DOI).

    A licence belongs to the text of the record that states it. So an article has the licence of
    the record whose text is kept, and another one adds a title or abstract only where its own
    licence asks for nothing more; silence asks for more than any licence does. What is not taken
    is named in the outcome. Facts about the article (dates, identifiers, keywords) are nobody's
    text and come from every record but a private one.

    An article that a notice of retraction among the records names is marked as retracted.

    Args:
        found: records in a fixed order, which decides ties.

    Returns:
        Articles sorted by id; the outcome of every record sorted by file and position; and for
        articles with several records whose sources or licences differ, where each piece of their
        text comes from.
    """
    every = list(found)
    outcomes: list[Outcome] = []
    pieces: list[Piece] = []
    notices: dict[str, Parsed] = {}
    deleted: dict[str, Parsed] = {}
    for parsed in every:
        for name in parsed.retracts:
            notices.setdefault(name, parsed)
        if parsed.status == "deletion":
            deleted.setdefault(parsed.native_id, parsed)
            outcomes.append(_outcome(parsed, WITHDRAWS))
        elif parsed.status != "article":
            outcomes.append(_outcome(parsed, parsed.reason))
    articles = []
    kept_ids: dict[str, str] = {}
    for group in _groups([parsed for parsed in every if parsed.article]):
        members = [m for m in group if not _withdrawn(m, deleted, outcomes)]
        if members:
            articles.append(_settle(members, notices, outcomes, pieces))
            kept_ids |= {m.article_id: articles[-1].id for m in members}
    for answer in every:
        if answer.status == "article" and not answer.article:
            answer.article_id = kept_ids.get(answer.article_id, answer.article_id)
            outcomes.append(_outcome(answer, ""))
    articles.sort(key=lambda a: a.id)
    outcomes.sort(key=lambda o: (o.file, o.record, o.native_id))
    pieces.sort(key=lambda p: p.article_id)
    return articles, outcomes, pieces


def _article(parsed: Parsed) -> Article:
    assert parsed.article is not None
    return parsed.article


def _precedence(parsed: Parsed) -> tuple[bool, int, str, str]:
    article = _article(parsed)
    return not article.pmid, len(article.pmid), article.pmid, article.id


def _groups(placed: list[Parsed]) -> list[list[Parsed]]:
    """Records that describe the same article, each group in reading order."""
    groups: list[_Group] = []
    index: dict[str, _Group] = {}
    # Which of two articles with one DOI a record without PMID joins does not depend on the order.
    for parsed in sorted(placed, key=_precedence):
        _place(parsed, _article(parsed), groups, index)
    order = {id(parsed): number for number, parsed in enumerate(placed)}
    return [sorted(group.members, key=lambda m: order[id(m)]) for group in groups]


def _keys(article: Article) -> list[str]:
    named = {"PMID": article.pmid, "PMCID": article.pmcid, "DOI": article.doi}
    return [f"id {article.id}", *(f"{name} {value}" for name, value in named.items() if value)]


def _place(
    parsed: Parsed, article: Article, groups: list[_Group], index: dict[str, _Group]
) -> None:
    """Put a record into the group it shares a key with; groups it connects become one."""
    keys = _keys(article)
    home: _Group | None = None
    for key in keys:
        other = index.get(key)
        if other is None or other is home:
            continue
        if article.pmid and other.pmid and article.pmid != other.pmid:
            continue
        if home is None:
            home = other
        elif not (home.pmid and other.pmid and home.pmid != other.pmid):
            home.members += other.members
            home.pmid = home.pmid or other.pmid
            for name in [k for k, g in index.items() if g is other]:
                index[name] = home
            groups.remove(other)
    if home is None:
        home = _Group()
        groups.append(home)
    home.members.append(parsed)
    home.pmid = home.pmid or article.pmid
    for key in keys:
        index.setdefault(key, home)


def _withdrawn(member: Parsed, deleted: dict[str, Parsed], outcomes: list[Outcome]) -> bool:
    article = _article(member)
    if article.source != "pubmed" or article.pmid not in deleted:
        return False
    notice = deleted[article.pmid]
    reason = f"withdrawn: DeleteCitation in {notice.file} lists PMID {article.pmid}"
    outcomes.append(_outcome(member, reason, status="skipped", article_id=""))
    return True


def _rank(member: Parsed) -> tuple[Any, ...]:
    article = _article(member)
    length = len(article.abstract) + sum(len(s.text) for s in article.body)
    # Of one text under two licences the stricter word holds, whichever file comes first.
    return member.revision, length, strictness(article.licence)


def _settle(
    members: list[Parsed],
    notices: dict[str, Parsed],
    outcomes: list[Outcome],
    pieces: list[Piece],
) -> Article:
    newest: dict[str, Parsed] = {}
    for member in members:
        source = _article(member).source
        if source not in newest or _rank(member) > _rank(newest[source]):
            newest[source] = member
    # Full text first, then a record of the source itself; max keeps the earlier of equals.
    kept = max(newest.values(), key=_fullness)
    article = _article(kept)
    said = [kept.reason]
    keys = set(_keys(article))
    given = {name: kept for name in _PIECES if getattr(article, name)}
    held_back: dict[int, str] = {}
    known = article.retracted
    for other in newest.values():
        if other is not kept:
            held_back[id(other)] = _fill(article, other, given)
    if article.retracted and not known:
        said.append("retracted, says another of its records")
    if notice := _notice(members, notices):
        article.retracted = True
        said.append(f"retracted, says the notice in record {notice.record} of {notice.file}")
    for member in members:
        if member is kept:
            outcomes.append(_outcome(member, "; ".join(filter(None, said))))
            continue
        own = _article(member)
        shared = next((k for k in _keys(own)[1:] if k in keys), f"id {article.id}")
        reason = f"same {shared} as record {kept.record} of {kept.file}, which is kept"
        reason += held_back.get(id(member), "")
        if own.id == article.id and own.licence != article.licence:
            reason += f"; it states another licence ({own.licence})"
        outcomes.append(_outcome(member, reason, status="skipped", article_id=article.id))
    if len(newest) > 1 or len({_article(m).licence for m in members}) > 1:
        pieces += (
            Piece(
                article_id=article.id,
                piece=name,
                file=member.file,
                record=member.record,
                licence=_article(member).licence,
            )
            for name, member in given.items()
        )
    return article


def _notice(members: list[Parsed], notices: dict[str, Parsed]) -> Parsed | None:
    """A notice of retraction that names one of these records; its own record is not meant."""
    named = (
        (notices[key], member)
        for member in members
        for key in _keys(_article(member))
        if key in notices
    )
    return next((notice for notice, member in named if notice is not member), None)


def _fullness(member: Parsed) -> tuple[Any, ...]:
    article = _article(member)
    # `strictness` compares what a licence asks for first: fewer limits are better.
    freedom = -strictness(article.licence)[0]
    full = any(section.kind != "translation" for section in article.body)
    return full, article.source != OWN, bool(article.abstract), freedom


def _fill(article: Article, member: Parsed, given: dict[str, Parsed]) -> str:
    """Add what an article lacks from another record; says what of its text is left there."""
    other = _article(member)
    article.retracted = article.retracted or other.retracted
    if other.licence == PRIVATE != article.licence:
        return "; nothing of it is added, since it is private"
    lacking = [name for name in _PIECES if getattr(other, name) and not getattr(article, name)]
    present = {s.heading for s in article.body if s.kind == "translation"}
    translated = [s for s in other.body if s.kind == "translation" and s.heading not in present]
    translated = translated if "body" not in lacking else []
    allowed = no_stricter(other.licence, article.licence)
    if allowed:
        for name in lacking:
            setattr(article, name, getattr(other, name))
            given[name] = member
        article.body += translated
    lacking += ["translation"] * bool(translated)
    for name in _FILL:
        setattr(article, name, getattr(article, name) or getattr(other, name))
    for name in _JOIN:
        joined = dict.fromkeys([*getattr(article, name), *getattr(other, name)])
        setattr(article, name, list(joined))
    article.authors = article.authors or other.authors
    if article.language == "und":
        article.language = other.language
    if allowed or not lacking:
        return ""
    named = " and ".join(lacking)
    return f"; its {named} is not added, since its licence ({other.licence}) asks for more"


def _outcome(
    parsed: Parsed, reason: str, status: Status | None = None, article_id: str | None = None
) -> Outcome:
    settled = status or parsed.status
    return Outcome(
        file=parsed.file,
        record=parsed.record,
        native_id=parsed.native_id,
        status="skipped" if settled == "deletion" else settled,
        reason=reason,
        article_id=parsed.article_id if article_id is None else article_id,
    )
