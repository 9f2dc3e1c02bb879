"""One article for all records that describe it, and deletions carried out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from elara.collect.parsed import Parsed
from elara.records import PRIVATE, Article, Outcome

OWN = "own"  # the source of a user's own files
# What a record of another source may add where the kept one says nothing, or adds to a list.
_FILL = ("abstract", "published", "journal", "volume", "pages", "doi", "pmid", "pmcid", "url")
_JOIN = ("keywords", "mesh", "publication_types", "affiliation_countries")


@dataclass(slots=True)
class _Group:
    members: list[Parsed] = field(default_factory=list)
    pmid: str = ""


def merge(found: Iterable[Parsed]) -> tuple[list[Article], list[Outcome]]:
    """Merge records that share an id, PMID, PMCID or DOI, and carry out deletions.

    Within a source the newest version replaces the others. Across sources the fullest text is
    kept and what it lacks (MeSH, say) is filled in. Two records with different PMIDs are never
    the same article, even when a DOI says so (errata share their article's DOI).

    Args:
        found: records in a fixed order, which decides ties.

    Returns:
        Articles sorted by id, and the outcome of every record sorted by file and position.
    """
    groups: list[_Group] = []
    index: dict[str, _Group] = {}
    outcomes: list[Outcome] = []
    deleted: dict[str, Parsed] = {}
    answers: list[Parsed] = []
    for parsed in found:
        if parsed.article:
            _place(parsed, parsed.article, groups, index)
        elif parsed.status == "article":
            answers.append(parsed)
        elif parsed.status == "deletion":
            deleted.setdefault(parsed.native_id, parsed)
            outcomes.append(_outcome(parsed, "DeleteCitation: the source withdraws this PMID"))
        else:
            outcomes.append(_outcome(parsed, parsed.reason))
    articles = []
    kept_ids: dict[str, str] = {}
    for group in groups:
        members = [m for m in group.members if not _withdrawn(m, deleted, outcomes)]
        if members:
            articles.append(_settle(members, outcomes))
            kept_ids |= {m.article_id: articles[-1].id for m in members}
    for answer in answers:
        answer.article_id = kept_ids.get(answer.article_id, answer.article_id)
        outcomes.append(_outcome(answer, ""))
    articles.sort(key=lambda a: a.id)
    outcomes.sort(key=lambda o: (o.file, o.record, o.native_id))
    return articles, outcomes


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
        if other is None or other is home or not _may_join(other, article.pmid):
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


def _may_join(group: _Group, pmid: str) -> bool:
    return not (pmid and group.pmid and pmid != group.pmid)


def _withdrawn(member: Parsed, deleted: dict[str, Parsed], outcomes: list[Outcome]) -> bool:
    article = member.article
    if article is None or article.source != "pubmed" or article.pmid not in deleted:
        return False
    notice = deleted[article.pmid]
    reason = f"withdrawn: DeleteCitation in {notice.file} lists PMID {article.pmid}"
    outcomes.append(_outcome(member, reason, status="skipped", article_id=""))
    return True


def _rank(member: Parsed) -> tuple[str, int]:
    article = member.article
    assert article is not None
    length = len(article.abstract) + sum(len(s.text) for s in article.body)
    return member.revision, length


def _settle(members: list[Parsed], outcomes: list[Outcome]) -> Article:
    newest: dict[str, Parsed] = {}
    for member in members:
        assert member.article is not None
        source = member.article.source
        if source not in newest or _rank(member) > _rank(newest[source]):
            newest[source] = member
    # Full text first, then a record of the source itself; max keeps the earlier of equals.
    kept = max(newest.values(), key=_fullness)
    article = kept.article
    assert article is not None
    same_text = [m.article for m in members if m.article and m.article.id == article.id]
    if article.source == OWN and any(a.licence == PRIVATE for a in same_text):
        # The same text lies in a private folder, too: the stricter word holds.
        article.licence, article.redistributable = PRIVATE, False
    keys = set(_keys(article))
    for other in newest.values():
        if other is not kept and other.article:
            _fill(article, other.article)
    for member in members:
        if member is kept:
            outcomes.append(_outcome(member, member.reason))
            continue
        assert member.article is not None
        shared = next((k for k in _keys(member.article)[1:] if k in keys), f"id {article.id}")
        reason = f"same {shared} as record {kept.record} of {kept.file}, which is kept"
        outcomes.append(_outcome(member, reason, status="skipped", article_id=article.id))
    return article


def _fullness(member: Parsed) -> tuple[bool, bool]:
    assert member.article is not None
    full = any(section.kind != "translation" for section in member.article.body)
    return full, member.article.source != OWN


def _fill(article: Article, other: Article) -> None:
    if other.licence == PRIVATE != article.licence:
        return  # nothing of a private text gets into one that may be passed on
    own = OWN in (article.source, other.source)
    for name in _FILL:
        if name == "abstract" and own and article.redistributable and not other.redistributable:
            continue
        setattr(article, name, getattr(article, name) or getattr(other, name))
    for name in _JOIN:
        joined = dict.fromkeys([*getattr(article, name), *getattr(other, name)])
        setattr(article, name, list(joined))
    if other.redistributable or not article.redistributable:
        present = {s.heading for s in article.body if s.kind == "translation"}
        added = (s for s in other.body if s.kind == "translation")
        article.body += [s for s in added if s.heading not in present]
    article.authors = article.authors or other.authors
    article.retracted = article.retracted or other.retracted
    if article.language == "und":
        article.language = other.language
    # What a user's own file says about an article need not be the article's text.
    if article.licence == "unknown" and not own:
        article.licence, article.redistributable = other.licence, other.redistributable


def _outcome(
    parsed: Parsed, reason: str, *, status: str = "", article_id: str | None = None
) -> Outcome:
    settled = status or parsed.status
    return Outcome(
        file=parsed.file,
        record=parsed.record,
        native_id=parsed.native_id,
        status="article" if settled == "article" else "error" if settled == "error" else "skipped",
        reason=reason,
        article_id=parsed.article_id if article_id is None else article_id,
    )
