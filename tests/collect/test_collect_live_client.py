"""The client is polite, patient, and notices answers that only look good."""

from __future__ import annotations

import datetime
import threading
import time
from pathlib import Path

import httpx
import pytest
from live_stub import Stub

from elara.collect.live.client import Client, FetchError, Limit, Request, _retry_after
from elara.mirror import Faults, Mirror

CONTACT = "name@example.org"


def most_in_a_second(times: list[float]) -> int:
    """The largest number of moments within any sliding second."""
    return max(sum(start <= t < start + 1.0 for t in times) for start in times)


def complete(body: bytes) -> str:
    return "" if body.rstrip().endswith(b"</eSearchResult>") else "no complete search result"


def search(mirror: Mirror, term: str) -> Request:
    return Request(
        f"{mirror.url}/eutils/esearch.fcgi", query={"db": "pubmed", "term": term}, check=complete
    )


def test_never_more_than_three_requests_in_any_second(sample: Path) -> None:
    with Mirror(sample) as mirror, Client(CONTACT) as client:
        client.limit(mirror.url, 3)
        threads = [
            threading.Thread(target=client.fetch, args=(search(mirror, f"{n}"),)) for n in range(11)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    arrived = [request.time for request in mirror.log]
    assert len(arrived) == 11
    assert most_in_a_second(arrived) <= 3


def test_a_limit_does_not_slow_down_more_than_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    limit, waits = Limit(5), []
    monkeypatch.setattr(time, "monotonic", lambda: 7.0 + sum(waits))  # only waiting takes time
    monkeypatch.setattr(limit._change, "wait", waits.append)
    for _ in range(15):
        with limit.slot():
            pass
    assert waits == pytest.approx([1.001, 1.001])


def test_the_lowest_limit_of_a_host_counts(sample: Path) -> None:
    with Mirror(sample) as mirror, Client(CONTACT) as client:
        client.limit(mirror.url, 0)
        client.limit(f"{mirror.url}/eutils", 2)
        client.limit(mirror.url, 50)
        for number in range(5):
            client.fetch(search(mirror, f"{number}"))
    assert most_in_a_second([request.time for request in mirror.log]) <= 2


@pytest.mark.parametrize("kind", ["429", "500", "truncated", "slow", "html", "reset"])
def test_every_kind_of_fault_passes_without_harm(sample: Path, kind: str) -> None:
    faults = Faults(seed=1, rate=0.7, kinds=(kind,), retry_after=0.05, slow_seconds=0.1)
    with Mirror(sample, faults) as mirror, Client(CONTACT, longest_pause=0.05) as client:
        client.limit(mirror.url, 0)
        answers = [client.fetch(search(mirror, f"{number}")) for number in range(8)]
    assert all(complete(body) == "" for body in answers)
    struck = sum(request.fault == kind for request in mirror.log)
    assert struck >= 4
    assert client.retries == (0 if kind == "slow" else struck)


def test_it_waits_as_long_as_the_server_asks(sample: Path) -> None:
    faults = Faults(seed=1, rate=1.0, kinds=("429",), retry_after=1)
    with Mirror(sample, faults) as mirror, Client(CONTACT, longest_pause=0.01) as client:
        client.limit(mirror.url, 0)
        client.fetch(search(mirror, "asthma"))
    first, second, third = [request.time for request in mirror.log]
    # Retry-After may be a date, which has whole seconds: up to one second may be lost.
    assert second - first + third - second > 0.9


def test_a_pause_holds_for_everybody_who_asks_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock of its own, on which only waiting takes time."""
    waits: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: 7.0 + sum(waits))
    for limit in (Limit(0), Limit(3)):
        waits.clear()
        monkeypatch.setattr(limit._change, "wait", waits.append)
        limit.pause(600)
        limit.pause(20)  # no shorter pause ends a longer one
        with limit.slot():
            assert waits == [600]
        with limit.slot():
            assert waits == [600]
        limit.pause(30, refusal="closed until noon")
        with pytest.raises(FetchError, match="closed until noon"), limit.slot():
            pass
        assert waits == [600]


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_binds_the_host_and_not_the_request(status: int) -> None:
    answers = [(status, b"")]
    with (
        Stub(lambda *_: answers.pop() if answers else (200, b"ok"), {"Retry-After": "0.5"}) as stub,
        Client(CONTACT, longest_pause=0.01) as client,
    ):
        client.limit(stub.url, 50)
        first = threading.Thread(target=client.fetch, args=(Request(f"{stub.url}/a"),))
        first.start()
        while not stub.log or answers:
            time.sleep(0.01)
        time.sleep(0.1)
        client.fetch(Request(f"{stub.url}/b"))
        first.join()
    refused, *later = [asked.time for asked in stub.log]
    assert len(later) == 2
    assert min(later) - refused >= 0.5


def http_date(seconds: float, zone: str = "GMT") -> str:
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    return moment.strftime(f"%a, %d %b %Y %H:%M:%S {zone}")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        (" 2.5 ", 2.5),
        ("0", 0),
        ("-5", 0),
        ("nan", 0),
        ("inf", 0),
        ("soon", 0),
        ("", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 99 Oct 2015", 0),
        ("1e300", 365 * 86_400),
    ],
)
def test_the_pause_that_a_server_asks_for(header: str, seconds: float) -> None:
    assert _retry_after(httpx.Response(429, headers={"Retry-After": header})) == seconds


@pytest.mark.parametrize(("later", "zone"), [(3600, "GMT"), (3600, "-0000"), (-3600, "GMT")])
def test_the_pause_until_the_moment_that_a_server_names(later: int, zone: str) -> None:
    response = httpx.Response(429, headers={"Retry-After": http_date(later, zone)})
    # A date has whole seconds, and the test takes a moment.
    assert _retry_after(response) == pytest.approx(max(later, 0), abs=30)


def test_a_host_that_wants_to_rest_for_hours_is_not_waited_for() -> None:
    with (
        Stub(lambda *_: (503, b""), {"Retry-After": "90000"}) as stub,
        Client(CONTACT, longest_pause=0.01) as client,
    ):
        for _ in range(2):
            with pytest.raises(FetchError, match=r"no requests before 20.* UTC: run again after"):
                client.fetch(Request(f"{stub.url}/a"))
        assert len(stub.log) == 1


def test_when_patience_ends_the_error_says_what_was_wrong(sample: Path) -> None:
    def never(body: bytes) -> str:
        return "not what was asked for"

    with Mirror(sample) as mirror, Client(CONTACT, patience=1, longest_pause=0.05) as client:
        client.limit(mirror.url, 0)
        request = Request(f"{mirror.url}/eutils/esearch.fcgi", check=never)
        with pytest.raises(FetchError, match=r"esearch\.fcgi gave no usable.*not what was asked"):
            client.fetch(request)
    assert len(mirror.log) > 1


def test_a_refusal_is_final_and_its_message_holds_no_key(sample: Path) -> None:
    with Mirror(sample) as mirror, Client(CONTACT) as client:
        client.limit(mirror.url, 0)
        request = Request(f"{mirror.url}/nowhere", query={"api_key": "secret"})
        with pytest.raises(FetchError, match="status 404") as caught:
            client.fetch(request)
    assert len(mirror.log) == 1
    assert caught.value.status == 404
    assert "secret" not in str(caught.value)
