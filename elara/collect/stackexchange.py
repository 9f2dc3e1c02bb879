"""Read Stack Exchange questions with their answers: data dump (Posts.xml) and API answers."""

from __future__ import annotations

import datetime
import html
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from lxml import etree

from elara.collect.blocks import leading
from elara.collect.fields import iso_date
from elara.collect.htmltext import html_text
from elara.collect.licences import licence_of, redistributable, strictness
from elara.collect.parsed import Dropped, Parsed
from elara.collect.payload import PayloadError
from elara.collect.xmlrecords import malformed, read_record, split_records
from elara.records import Article, Section

RECORDS = ("row",)
_HOST = re.compile(r"https?://([^/?#]+)")


@dataclass(slots=True)
class _Post:
    record: int
    number: str
    parent: str
    title: str
    body: str
    tags: list[str]
    score: int
    created: str
    licence: str
    owner: str
    accepted: str = ""  # of a question: the number of the accepted answer
    is_accepted: bool = False
    kind: str = "question"  # or answer
    answers: int = 0  # how many a question has by its own count
    deleted: bool = False
    closed: bool = False  # or locked

    @property
    def rejected(self) -> str:
        """Why the community does not want it to be read; "" for one that it lets stand.

        That the asker accepted an answer does not outweigh it: one reader was satisfied, and those
        who voted think it wrong.
        """
        if self.deleted:
            return f"{self.kind} that was deleted"
        return f"{self.kind} with score {self.score}" if self.score < 0 else ""

    def skipped(self, reason: str, article_id: str = "") -> Parsed:
        found = Parsed(record=self.record, native_id=self.number, article_id=article_id)
        found.status, found.reason = "skipped", reason
        return found


def parse_posts(chunks: Iterable[bytes], site: str) -> Iterator[Parsed]:
    """Read the Posts.xml of a Stack Exchange data dump.

    Args:
        chunks: pieces of the document, in order.
        site: host name of the site; the dump does not say it.

    Yields:
        One `Parsed` per row: questions carry the article, answers name the article they are
        part of. Answers come after all questions have been read.

    Raises:
        PayloadError: the document breaks off; what was whole has been yielded then.

    Source: https://meta.stackexchange.com/questions/2677 (schema of the dump)
    """
    questions: dict[str, _Post] = {}
    answers: dict[str, list[_Post]] = {}
    broken: PayloadError | None = None
    try:
        for number, row in enumerate(split_records(chunks, RECORDS)):
            try:
                values = {str(k): str(v) for k, v in read_record(row).attrib.items()}
            except etree.XMLSyntaxError as error:
                yield Parsed(record=number, status="error", reason=malformed(error))
                continue
            post, kind = _dump_post(number, values, site), values.get("PostTypeId") or "missing"
            if kind == "1":
                questions[post.number] = post
            elif kind == "2":
                answers.setdefault(post.parent, []).append(post)
            else:
                yield post.skipped(f"post type {kind}, not a question or answer")
    except PayloadError as error:  # cut off: join what was read before saying so
        broken = error
    yield from _joined(questions, answers, site)
    if broken:
        raise broken


def _dump_post(record: int, values: dict[str, str], site: str) -> _Post:
    created, score = values.get("CreationDate", ""), values.get("Score", "")
    return _Post(
        record=record,
        number=values.get("Id", ""),
        parent=values.get("ParentId", ""),
        title=values.get("Title", ""),
        body=values.get("Body", ""),
        tags=[t for t in re.split(r"[<>|]+", values.get("Tags", "")) if t],
        score=int(score) if re.fullmatch(r"-?[0-9]{1,18}", score) else 0,
        created=created,
        licence=licence_of(values.get("ContentLicense") or _licence_by_date(created)),
        owner=_attribution(site, values.get("OwnerUserId", ""), values.get("OwnerDisplayName", "")),
        accepted=values.get("AcceptedAnswerId", ""),
        kind="answer" if values.get("PostTypeId") == "2" else "question",
        deleted=bool(values.get("DeletionDate")),
        closed=bool(values.get("ClosedDate") or values.get("LockedDate")),
    )


def parse_api(chunks: Iterable[bytes]) -> Iterator[Parsed]:
    """Read an answer of the Stack Exchange API: the wrapper object with its `items`.

    Questions need `body` and `answers`, which the API sends only with a filter that asks for
    them. Answers fetched apart are joined where their question is in the same file.

    Args:
        chunks: pieces of one JSON document.

    Yields:
        One `Parsed` per item, or a single error.

    Source: https://api.stackexchange.com/docs/wrapper
    """
    try:
        items = json.loads(b"".join(chunks))["items"]
        if not isinstance(items, list):
            raise TypeError("items are no list")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"not a Stack Exchange API answer ({error}): fetch it again"
        yield Parsed(record=-1, status="error", reason=reason)
        return
    questions: dict[str, _Post] = {}
    answers: dict[str, list[_Post]] = {}
    site = ""
    for number, item in enumerate(items):
        native = str(item.get("question_id", "")) if isinstance(item, dict) else ""
        if not native:
            reason = f"API item {str(item)[:40]!r}: not a question or answer"
            yield Parsed(record=number, status="skipped", reason=reason)
            continue
        if not site and (host := _HOST.match(str(item.get("link") or ""))):
            site = host[1]
        try:
            if "answer_id" in item:
                answers.setdefault(native, []).append(_api_post(number, item, "answer_id"))
            elif not item.get("body"):
                reason = "question without a body: ask the API with a filter that includes bodies"
                yield Parsed(record=number, native_id=native, status="skipped", reason=reason)
            else:
                # Its answers are part of the question's own record and have none themselves.
                replies = [_api_post(-1, a, "answer_id") for a in item.get("answers") or ()]
                questions[native] = _api_post(number, item, "question_id")
                answers.setdefault(native, []).extend(replies)
        except (ValueError, TypeError, AttributeError, OverflowError, OSError) as error:
            reason = f"API item with unexpected values ({error}): fetch it again"
            yield Parsed(record=number, native_id=native, status="error", reason=reason)
    yield from _joined(questions, answers, site)


def _api_post(record: int, item: dict[str, Any], key: str) -> _Post:
    owner = item.get("owner") or {}
    name = html.unescape(str(owner.get("display_name", ""))) or "anonymous user"
    seconds = int(item.get("creation_date") or 0)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    created = moment.isoformat() if seconds else ""
    return _Post(
        record=record,
        number=str(item.get(key, "")),
        parent=str(item.get("question_id", "")),
        title=html.unescape(str(item.get("title", ""))),
        body=str(item.get("body", "")),
        tags=[str(t) for t in item.get("tags") or ()],
        score=int(item.get("score") or 0),
        created=created,
        licence=licence_of(item.get("content_license") or _licence_by_date(created)),
        owner=f"{name} ({owner['link']})" if owner.get("link") else name,
        accepted=str(item.get("accepted_answer_id", "")),
        is_accepted=item.get("is_accepted") is True,
        answers=int(item.get("answer_count") or 0),
        kind="answer" if key == "answer_id" else "question",
        deleted=bool(item.get("deleted_date")),
        closed=bool(item.get("closed_date") or item.get("locked_date")),
    )


def _joined(
    questions: dict[str, _Post], answers: dict[str, list[_Post]], site: str
) -> Iterator[Parsed]:
    for number, question in questions.items():
        given = answers.pop(number, [])
        own = [a for a in given if a.record >= 0]  # answers that have a record of their own
        replies = [a for a in given if not a.rejected]
        if reason := _refused(question, replies):
            yield from (post.skipped(reason) for post in (question, *own))
            continue
        # Best first: the one the asker accepted, then by votes.
        best = question.accepted
        replies.sort(key=lambda a: (a.number != best and not a.is_accepted, -a.score, a.number))
        bad = [a for a in given if a.rejected]
        dropped = [Dropped("answer", leading(html_text(a.body).split()), a.rejected) for a in bad]
        article = _article(question, replies, site, dropped)
        missing = question.answers - len(given)
        yield Parsed(
            record=question.record,
            native_id=number,
            reason=f"{missing} of {question.answers} answers are not in it" if missing > 0 else "",
            article=article,
            revision=f"{len(replies):06}",
            dropped=dropped,
        )
        yield from (a.skipped(a.rejected, article.id) for a in own if a.rejected)
        for reply in replies:
            if reply.record >= 0:
                yield Parsed(record=reply.record, native_id=reply.number, article_id=article.id)
    for number, orphans in answers.items():
        reason = f"answer to question {number}, which is not in this file"
        yield from (post.skipped(reason) for post in orphans)


def _refused(question: _Post, replies: list[_Post]) -> str:
    """Why a question is left out with its answers; "" for one that is kept."""
    why = question.rejected
    if not why or question.deleted:
        return why
    if question.closed:
        return f"{why}, which is closed or locked"
    return "" if replies else f"{why}, which has no answer that may stand"


def _article(question: _Post, replies: list[_Post], site: str, dropped: list[Dropped]) -> Article:
    body = [Section(question.title, html_text(question.body, dropped), "question")]
    for reply in replies:
        heading = f"{reply.owner}, {reply.licence}"
        body.append(Section(heading, html_text(reply.body, dropped), "answer"))
    # Every version of CC BY-SA lets adaptations be passed on under a later one, so the latest
    # among the posts covers them all; each answer keeps its own in its heading.
    licence = max((post.licence for post in [question, *replies]), key=strictness)
    return Article(
        id=f"stackexchange:{site}/{question.number}",
        source="stackexchange",
        title=" ".join(question.title.split()),
        body=body,
        language="en",
        published=iso_date(question.created),
        journal=site,
        keywords=question.tags,
        authors=list(dict.fromkeys(p.owner for p in [question, *replies])),
        publication_types=["Question and answers"],
        url=f"https://{site}/questions/{question.number}" if "." in site else "",
        licence=licence,
        redistributable=redistributable(licence),
    )


def _attribution(site: str, user: str, name: str) -> str:
    if user and "." in site:
        return f"{name or f'user {user}'} (https://{site}/users/{user})"
    return name or (f"user {user}" if user else "anonymous user")


def _licence_by_date(created: str) -> str:
    """Source: https://stackoverflow.com/help/licensing."""
    if created[:10] < "2011-04-08":
        return "CC BY-SA 2.5"
    return "CC BY-SA 3.0" if created[:10] < "2018-05-02" else "CC BY-SA 4.0"
