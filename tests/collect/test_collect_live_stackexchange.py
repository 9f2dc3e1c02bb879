"""The Stack Exchange API: paging, pauses, quota, refusals, and what is kept of the key."""

from __future__ import annotations

import datetime
import itertools
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from live_stub import Query, Stub

from elara.collect import stackexchange
from elara.collect.live.accounts import Harvest
from elara.collect.live.harvest import HarvestIncomplete, harvest
from elara.collect.live.stackexchange import StackExchange
from elara.collect.payload import open_chunks
from elara.records import Article

CONTACT = "name@example.org"
KEY = "key-that-nobody-may-see"
FILTER = "!made-for-bodies"
DAY = int(datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC).timestamp())


def question(number: int, created: int) -> dict[str, Any]:
    owner = {"display_name": "D&#246;", "link": f"https://h.example.com/users/{number}"}
    answer = {
        "answer_id": 9000 + number, "question_id": number, "score": 2, "owner": owner,
        "content_license": "CC BY-SA 4.0", "creation_date": created, "is_accepted": True,
        "body": "<p>Rest:</p><ul><li>a week</li></ul>",
    }  # fmt: skip
    return {
        "question_id": number, "title": "Is 5 &lt; 6?", "body": "<p>Why?</p>", "tags": ["t"],
        "creation_date": created, "link": f"https://h.example.com/questions/{number}/x",
        "owner": owner, "content_license": "CC BY-SA 4.0", "answers": [answer],
        "accepted_answer_id": 9000 + number,
    }  # fmt: skip


class Api:
    """A site with its questions in a list that a test may change."""

    def __init__(self, count: int, every: int = 60) -> None:
        self.questions = [question(i, DAY - 1_000_000 + every * i) for i in range(count)]
        self.extra: list[dict[str, Any]] = []  # added to the next answers, one each
        self.instead: list[tuple[int, bytes]] = []  # sent in place of the next answers
        self.quota = 300

    def __call__(self, path: str, query: Query) -> tuple[int, bytes]:
        if self.instead:
            return self.instead.pop(0)
        self.quota -= 1
        if path == "filters/create":
            assert "question.answers" in query["include"].split(";")
            items: list[dict[str, Any]] = [{"filter": FILTER}]
            more = False
        else:
            assert (path, query["site"], query["filter"]) == ("questions", "h", FILTER)
            assert (query["sort"], query["order"]) == ("creation", "asc")
            low, high = int(query["fromdate"]), int(query["todate"])
            found = [q for q in self.questions if low <= q["creation_date"] <= high]
            size, page = int(query["pagesize"]), int(query["page"])
            items = found[(page - 1) * size : page * size]
            more = page * size < len(found)
        answer = {"items": items, "has_more": more, "quota_max": 300}
        extra = self.extra.pop(0) if self.extra else {}
        return 200, json.dumps(answer | {"quota_remaining": self.quota} | extra).encode()


def run(stub: Stub, folder: Path, until: str = "2026-11-22", **options: Any) -> Harvest:
    source = StackExchange(
        "stackexchange", "h", until=until, base_url=stub.url, per_second=0, **options
    )
    return harvest([source], folder, CONTACT, patience=5.0, longest_pause=0.01)


def articles(done: Harvest) -> dict[str, Article]:
    found = (
        parsed
        for file in done.payloads["file"]
        for parsed in stackexchange.parse_api(open_chunks(done.root / file))
    )
    return {p.native_id: p.article for p in found if p.article}


def recorded(done: Harvest) -> list[str]:
    return sorted(done.payloads["ids"].explode().drop_nulls(), key=int)


def refusal(name: str, message: str) -> tuple[int, bytes]:
    content = {"error_id": 502, "error_name": name, "error_message": message}
    return 400, json.dumps(content).encode()


def test_all_questions_come_with_their_answers(tmp_path: Path) -> None:
    with Stub(Api(230)) as stub:
        done = run(stub, tmp_path)
    assert recorded(done) == [str(i) for i in range(230)]
    found = articles(done)
    assert len(found) == 230
    article = found["7"]
    assert (article.title, article.id) == ("Is 5 < 6?", "stackexchange:h.example.com/7")
    assert [(s.heading, s.text) for s in article.body] == [
        ("Is 5 < 6?", "Why?"),
        ("Dö (https://h.example.com/users/7), CC-BY-SA-4.0", "Rest:\n\n- a week"),
    ]
    assert (article.licence, article.redistributable) == ("CC-BY-SA-4.0", True)


def test_many_questions_of_one_second_are_all_fetched(tmp_path: Path) -> None:
    with Stub(Api(230, every=0)) as stub:
        assert len(recorded(run(stub, tmp_path))) == 230


def test_deleted_questions_shift_no_page(tmp_path: Path) -> None:
    api = Api(230)

    def deleting(path: str, query: Query) -> tuple[int, bytes]:
        if path == "questions" and int(query["fromdate"]) > 0 and len(api.questions) == 230:
            del api.questions[:50]
        return api(path, query)

    with Stub(deleting) as stub:
        assert len(recorded(run(stub, tmp_path))) == 230


def test_a_second_run_asks_nothing_and_a_later_day_only_for_what_is_new(tmp_path: Path) -> None:
    api = Api(230)
    with Stub(api) as stub:
        run(stub, tmp_path)
        asked = len(stub.log)
        assert run(stub, tmp_path).downloaded == {"stackexchange": 0}
        assert len(stub.log) == asked
        api.questions += [question(500 + i, DAY + i) for i in range(80)]
        assert run(stub, tmp_path).downloaded == {"stackexchange": 0}
        done = run(stub, tmp_path, until="2026-11-23")
    assert len(recorded(done)) == 310
    assert done.downloaded == {"stackexchange": 2}


def test_a_run_may_stop_after_some_questions(tmp_path: Path) -> None:
    with Stub(Api(230)) as stub:
        assert len(recorded(run(stub, tmp_path, most=120))) == 199
        assert len(recorded(run(stub, tmp_path))) == 230


def test_no_request_falls_into_a_backoff(tmp_path: Path) -> None:
    api = Api(230)
    api.extra = [{}, {"backoff": 1}]
    with Stub(api) as stub:
        run(stub, tmp_path)
        times = [asked.time for asked in stub.log]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert pauses[1] >= 1.0
    assert pauses[0] < 1.0 > pauses[2]


def test_when_the_quota_is_used_up_nothing_more_is_asked(tmp_path: Path) -> None:
    api = Api(230)
    api.quota = 2
    with Stub(api) as stub:
        with pytest.raises(HarvestIncomplete, match=r"requests of the day .* after .* 00:00 UTC"):
            run(stub, tmp_path)
        assert len(stub.log) == 2
        api.quota = 300
        done = run(stub, tmp_path)  # the next day
        assert len(stub.log) == 4
    assert len(recorded(done)) == 230


def test_a_short_throttle_is_waited_for_and_a_long_one_named(tmp_path: Path) -> None:
    api = Api(50)
    wait = "too many requests from this IP, more requests available in {} second{}"
    api.instead = [refusal("throttle_violation", wait.format(1, ""))]
    with Stub(api) as stub:
        done = run(stub, tmp_path / "short")
        assert stub.log[1].time - stub.log[0].time >= 1.0
        assert len(recorded(done)) == 50
        api.instead = [refusal("throttle_violation", wait.format(46472, "s"))]
        asked = len(stub.log)
        with pytest.raises(HarvestIncomplete, match=r"46472 seconds. Run again after 20\d\d-"):
            run(stub, tmp_path / "long")
        assert len(stub.log) == asked + 1


def test_a_wrong_site_is_named_at_once(tmp_path: Path) -> None:
    api = Api(5)
    api.instead = 2 * [refusal("bad_parameter", "No site found for name `h`")]
    with (
        Stub(api) as stub,
        pytest.raises(HarvestIncomplete, match=r"site 'h' \(bad_parameter: No site found"),
    ):
        run(stub, tmp_path)


BAD: dict[str, Callable[[bytes], bytes]] = {
    "page": lambda body: b"<!DOCTYPE html><html>Sorry</html>",
    "truncated": lambda body: body[: len(body) // 2],
    "no items": lambda body: b"{}",
    "empty": lambda body: b"",
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_answers_are_asked_for_again(kind: str, tmp_path: Path) -> None:
    api = Api(120)
    spoilt = iter([False, True, True, False, True])

    def spoiling(path: str, query: Query) -> tuple[int, bytes]:
        status, body = api(path, query)
        return (status, BAD[kind](body)) if next(spoilt, False) else (status, body)

    with Stub(spoiling) as stub:
        done = run(stub, tmp_path)
    assert (len(recorded(done)), done.retries) == (120, 3)
    assert len(articles(done)) == 120


def test_the_key_is_sent_but_neither_kept_nor_logged_nor_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    api = Api(5)
    api.instead = [refusal("bad_parameter", "`key` is not valid")]
    with caplog.at_level(logging.DEBUG), Stub(api) as stub:
        done = run(stub, tmp_path, api_key=KEY)
        assert {asked.query["key"] for asked in stub.log} == {KEY}
        api.instead = 2 * [refusal("bad_parameter", "`key` is not valid")]
        with pytest.raises(HarvestIncomplete) as error:
            run(stub, tmp_path, until="2026-11-23", api_key=KEY)
    kept = [p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()]
    kept += [b"".join(open_chunks(tmp_path / file)) for file in done.payloads["file"]]
    shown = [caplog.text, str(error.value), repr(StackExchange("s", api_key=KEY))]
    assert len(recorded(done)) == 5
    assert not any(KEY.encode() in content for content in kept)
    assert not any(KEY in text for text in shown)


def test_the_accepted_answer_comes_first_and_missing_ones_are_counted() -> None:
    item = question(1, DAY) | {"answer_count": 4, "accepted_answer_id": None}
    reply = item["answers"][0]
    votes = {"is_accepted": False, "content_license": "terms of somebody"}
    item["answers"] = [
        reply | votes | {"answer_id": 1, "score": 7, "body": "liked"},
        reply | votes | {"answer_id": 2, "score": 9, "body": "liked most"},
        reply | {"answer_id": 3, "body": "accepted"},
    ]
    (found,) = stackexchange.parse_api([json.dumps({"items": [item]}).encode()])
    assert found.article
    texts = [section.text for section in found.article.body]
    assert texts == ["Why?", "accepted", "liked most", "liked"]
    assert found.reason == "1 of 4 answers are not in it"
    assert (found.article.licence, found.article.redistributable) == ("unknown", False)


def test_real_api_answers_are_read(shared_data: Path) -> None:
    files = sorted((shared_data / "stackexchange" / "api").iterdir())
    found = [p for f in files for p in stackexchange.parse_api(open_chunks(f))]
    assert len(found) == 220
    assert {p.status for p in found} <= {"article", "skipped"}
    assert all(p.reason for p in found if p.status == "skipped")
