"""Link the records that describe one article by the names they share, and merge them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from elara.collect.licences import OWN, no_stricter, strictness
from elara.collect.parsed import WITHDRAWS, Parsed
from elara.collect.sortedruns import ORDER, write_run
from elara.records import PRIVATE, Article, Outcome, Piece, Status, frame, records
from elara.text.groups import components

GROUP = "group"
_TOGETHER = 2_000  # records merged in memory at a time
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
        for name, member in given.items():
            place: dict[str, Any] = {"file": member.file, "record": member.record, "piece": name}
            pieces.append(Piece(article_id=article.id, **place, licence=_article(member).licence))
    return article


def _notice(members: list[Parsed], notices: dict[str, Parsed]) -> Parsed | None:
    """A notice of retraction that names one of these records; its own record is not meant."""
    keys = ((key, member) for member in members for key in _keys(_article(member)))
    named = ((notices[key], member) for key, member in keys if key in notices)
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


def linked(found: pl.LazyFrame) -> pl.DataFrame:
    """Group the records that share an id, PMID, PMCID or DOI, directly or through others.

    Args:
        found: one row per record, columns of `elara.collect.sortedruns.FOUND_SCHEMA`.

    Returns:
        Columns order and group, sorted by order: every record that has to be looked at together
        with others. Articles that share no name with anything are not in it; they stay as they
        are. A notice of deletion belongs to the records of its PMID, one of retraction to those
        that it names, and an answer to those of its question.
    """
    shared = _hashed_names(found).collect().filter(pl.col("key").is_duplicated())
    linked_to = shared.select(row=pl.col(ORDER).min().over("key"), other=ORDER)
    groups = components(linked_to).rename({"other": ORDER, "cluster": GROUP})
    # An answer has no name of its own: it follows the article that it names.
    articles = found.filter("has_article").join(groups.lazy(), on=ORDER)
    answers = found.filter(~pl.col("has_article"), status="article")
    answers = answers.join(articles.select("article_id", GROUP).unique(), on="article_id")
    return pl.concat([groups, answers.select(ORDER, GROUP).collect()]).sort(ORDER)


def _hashed_names(found: pl.LazyFrame) -> pl.LazyFrame:
    """Each record with the hash of each of its names. Equal hashes of different names only mean
    that two records are looked at together in vain."""
    named = {"id": "article_id", "PMID": "pmid", "PMCID": "pmcid", "DOI": "doi"}
    parts = [
        found.filter("has_article", pl.col(column) != "").select(
            ORDER, key=pl.format(f"{kind} {{}}", column)
        )
        for kind, column in named.items()
    ]
    withdrawn = found.filter(status="deletion").select(ORDER, key=pl.format("PMID {}", "native_id"))
    retracting = found.filter(pl.col("retracts") != "")
    retracted = retracting.select(ORDER, key=pl.col("retracts").str.split("\n")).explode("key")
    return pl.concat([*parts, withdrawn, retracted]).with_columns(pl.col("key").hash())


def merge_linked(
    groups: pl.DataFrame, runs: Iterable[str], found: pl.LazyFrame, scratch: Path
) -> tuple[list[str], pl.DataFrame, pl.DataFrame]:
    """Merge the records of each group, some groups at a time.

    Args:
        groups: from `linked`.
        runs: all runs.
        found: all records, columns of `elara.collect.sortedruns.FOUND_SCHEMA`.
        scratch: folder for the runs made here.

    Returns:
        Runs with the articles that came out, the outcomes of the records of all groups, and
        the pieces of text of the articles whose records differ, sorted by article.
    """
    parts = groups.height // _TOGETHER + 1
    groups = groups.with_columns(part=pl.col(GROUP) % parts)
    copies: dict[Any, list[Path]] = {}
    for number, run in enumerate(runs):
        table = pl.read_ipc(run).join(groups.select(ORDER, "part"), on=ORDER)
        for (part,), rows in table.partition_by("part", as_dict=True, include_key=False).items():
            path = scratch / f"part-{part}-{number}.articles"
            rows.write_ipc(path, compression="uncompressed")
            copies.setdefault(part, []).append(path)
    told = found.join(groups.lazy(), on=ORDER).sort("part", ORDER).collect()
    merged: list[str] = []
    outcomes, pieces = [frame([], Outcome)], [frame([], Piece)]
    for (part,), rows in told.partition_by("part", as_dict=True, maintain_order=True).items():
        articles, settled, given = merge(_parsed(rows, copies.get(part, ())))
        outcomes.append(frame(settled, Outcome))
        pieces.append(frame(given, Piece))
        for start in range(0, len(articles), _TOGETHER):
            few = [(-1, article) for article in articles[start : start + _TOGETHER]]
            merged.append(write_run(few, str(scratch / f"merged-{part}-{start}.articles")))
    where = pl.concat(pieces).sort("article_id", maintain_order=True)
    return merged, pl.concat(outcomes), where


def _parsed(rows: pl.DataFrame, copies: Iterable[Path]) -> Iterator[Parsed]:
    """Records as the parsers gave them, in reading order; their copied articles are deleted."""
    articles: dict[int, Article] = {}
    for path in copies:
        table = pl.read_ipc(path)
        articles |= zip(table[ORDER], records(table, Article), strict=True)
        path.unlink()
    plain = rows.select("record", "native_id", "status", "reason", "article_id", "revision", "file")
    for order, retracts, values in zip(
        rows[ORDER], rows["retracts"], plain.to_dicts(), strict=True
    ):
        yield Parsed(**values, article=articles.get(order), retracts=retracts.splitlines())
