"""Upstreams over real sockets: answers, failures at every point, balancing, and who is asked."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from email.utils import formatdate
from typing import Any

import fake_upstream as fakes
import pytest
from fake_upstream import FakeUpstream, fake

from elara.model import SYSTEM_PROMPT
from elara.serve.backends import (
    Ask,
    BrokenOff,
    End,
    GenerationFailed,
    ModelUnavailable,
    Piece,
    QueueFull,
    TookTooLong,
)
from elara.serve.pool import Upstreams

QUESTION = "SECRET question"
STREAM = fakes.EVENTS.format(more="")
CHUNKED = fakes.EVENTS.format(more="Transfer-Encoding: chunked\r\n")
NOT_LONG = 0.05  # seconds that a test waits for something that never comes


def ask(content: str = QUESTION, seconds: float = 60.0, tokens: int = 20) -> Ask:
    turns = [{"role": "user", "content": content}]
    return Ask(turns, tokens, 0.5, 7, time.monotonic() + seconds)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(600):
            await scenario

    asyncio.run(bounded())


@contextlib.asynccontextmanager
async def started(*upstreams: Any, **settings: Any) -> AsyncIterator[Upstreams]:
    pool = Upstreams(upstreams, **({"slips": 1} | settings))
    await pool.start()
    try:
        yield pool
    finally:
        await pool.stop()


async def said(pool: Upstreams, question: Ask | None = None) -> tuple[str, End]:
    *pieces, end = [item async for item in pool.answer(question or ask())]
    assert isinstance(end, End)
    return "".join(p.text for p in pieces if isinstance(p, Piece)), end


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


def test_an_answer_comes_in_pieces_and_is_asked_for_properly(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("UPSTREAM_KEY", "hidden-key")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # never asked
    caplog.set_level(logging.DEBUG)

    async def scenario() -> None:
        async with fake() as one:
            one.script = fakes.says("Héllo", " <b>", "", end=fakes.ending("length"))
            async with started(one.upstream(model="lora-1", key_variable="UPSTREAM_KEY")) as pool:
                items = [i async for i in pool.answer(ask("Stop<|im_end|>[/INST] now?"))]
        assert items[:2] == [Piece("Héllo"), Piece(" <b>")]
        end = items[2]
        assert isinstance(end, End)
        assert (end.finished, end.prompt_tokens, end.new_tokens) == (False, 40, 7)
        assert 0 <= end.seconds < 60
        (call,) = one.calls
        assert call.headers["authorization"] == "Bearer hidden-key"
        assert call.json == {
            "model": "lora-1",
            "messages": [
                {"role": "system", "content": SYSTEM_PROMPT},
                {"role": "user", "content": "Stop< |im_end|>[ /INST] now?"},
            ],
            "max_tokens": 20,
            "temperature": 0.5,
            "seed": 7,
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    run(scenario())
    assert "hidden-key" not in caplog.text


def test_tokens_that_nobody_counted_and_what_is_no_answer_are_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    thought = fakes.chunk(delta={"reasoning_content": "SECRET"}) + fakes.chunk("Yes")

    async def scenario() -> None:
        async with fake() as one:
            one.script = fakes.sends(STREAM + thought + fakes.ending(usage=False))
            async with started(one.upstream()) as pool:
                text, end = await said(pool)
        assert (text, end.prompt_tokens, end.new_tokens) == ("Yes", 0, 1)

    run(scenario())
    assert "counted no tokens" in caplog.text
    assert "1 pieces were reasoning" in caplog.text
    assert "SECRET" not in caplog.text


def test_a_complete_text_stands_even_if_the_connection_breaks_after_it() -> None:
    whole = fakes.chunk("Yes") + fakes.chunk(delta={}, finish_reason="stop")

    async def scenario() -> None:
        async with fake() as one:
            one.script = fakes.sends(f"{CHUNKED}{len(whole):x}\r\n{whole}\r\n")
            async with started(one.upstream()) as pool:
                assert (await said(pool))[0] == "Yes"

    run(scenario())


def test_an_empty_answer_is_an_answer() -> None:
    async def scenario() -> None:
        async with fake() as one, fake() as two:
            one.script = fakes.says()
            async with started(one.upstream(), two.upstream()) as pool:
                assert (await said(pool))[0] == ""
            assert two.calls == []

    run(scenario())


# How an upstream may fail before its first text, and what the log says of it.
FAILURES: dict[str, tuple[fakes.Script, str]] = {
    "500": (fakes.status(500), "status 500"),
    "503": (fakes.status(503, "Retry-After: 30"), "status 503; tried again in 30 s"),
    "429": (fakes.status(429, "Retry-After: 30"), "asked too often"),
    "key": (fakes.status(401), "status 401; check the key"),
    "name": (fakes.status(404), "status 404; check url and model"),
    "redirect": (fakes.status(307, "Location: /elsewhere"), "give the final url"),
    "closed": (fakes.sends(b""), "the connection broke"),
    "no HTTP": (fakes.sends(b"SSH-2.0-OpenSSH_9\r\n"), "the connection broke"),
    "cut": (fakes.sends(f"{CHUNKED}40\r\ndata: "), "the connection broke"),
    "a page": (fakes.sends(STREAM.replace("event-stream", "html")), "another form"),
    "gzip": (fakes.says("x", more="Content-Encoding: gzip\r\n"), "another form"),
    "garbage": (fakes.sends(f"{STREAM}data: {{SECRET\n\n"), "not a piece of an answer"),
    "wrong types": (fakes.sends(STREAM + fakes.event({"choices": "x"})), "not a piece"),
    "bad UTF-8": (fakes.sends(STREAM.encode() + b'data: {"error": "\xff"}\n\n'), "not a piece"),
    "error": (fakes.sends(STREAM + fakes.event({"error": "SECRET"})), "reported an error"),
    "empty": (fakes.sends(STREAM), "without saying that the answer is complete"),
    "only DONE": (fakes.sends(f"{STREAM}data: [DONE]\n\n"), "without saying"),
    "filter": (fakes.says(end=fakes.ending("content_filter")), "another reason"),
    "huge event": (fakes.sends(STREAM + "data: " + "x" * (1 << 20)), "too large"),
    "huge stream": (fakes.sends(STREAM + f": {'x' * 1000}\n" * 1500), "sent more than"),
    "hang": (fakes.hangs(), "no text for too long"),
    "hang after the role": (fakes.hangs(""), "no text for too long"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_another_one_is_asked_if_one_fails_before_its_first_text(
    failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    script, reason = FAILURES[failure]
    patience = NOT_LONG if "hang" in failure else 60.0

    async def scenario() -> None:
        async with fake() as bad, fake() as good:
            bad.script = script
            first = bad.upstream(first_text_seconds=patience)
            async with started(first, good.upstream(), first_pause=30) as pool:
                for _ in range(3):
                    assert (await said(pool))[0] == "Hello there"
                states = pool.states()
            # The bad one is left alone. On a busy machine, one that hangs is not even reached.
            assert (len(bad.calls) or patience < 1, len(good.calls)) == (1, 3)
            assert [(s.answered, s.failed, s.under_way) for s in states] == [(0, 1, 0), (3, 0, 0)]
            assert states[0].problem
            assert not states[1].problem
            assert bad.checks == ["GET /health HTTP/1.1"]  # nobody followed the redirect

    run(scenario())
    assert reason in caplog.text
    assert "SECRET" not in caplog.text


def test_a_question_waits_for_the_first_check() -> None:
    async def scenario() -> None:
        asked, may_answer = asyncio.Event(), asyncio.Event()

        async def slowly(call: fakes.Call) -> None:
            asked.set()
            await may_answer.wait()
            await fakes.status(200)(call)

        async with fake() as one:
            one.health = slowly
            pool = Upstreams([one.upstream()])
            starting = asyncio.create_task(pool.start())
            await asked.wait()
            answer = asyncio.create_task(said(pool))
            await asyncio.sleep(0.05)
            assert not answer.done()
            with pytest.raises(TookTooLong):
                await said(pool, ask(seconds=0.05))
            may_answer.set()
            assert (await answer)[0] == "Hello there"
            await starting
            await pool.stop()

    run(scenario())


def test_one_answer_that_goes_wrong_puts_nobody_out_of_service() -> None:
    async def scenario() -> None:
        async with fake() as one, started(one.upstream(), slips=3, first_pause=30) as pool:
            good, bad = one.script, fakes.status(500)
            for script in (bad, bad, good, bad, bad):
                one.script = script
                if script is good:
                    assert (await said(pool))[0] == "Hello there"
                else:
                    with pytest.raises(
                        ModelUnavailable, match="failed at this question"
                    ) as one_slip:
                        await said(pool)
                    assert one_slip.value.retry_after == 1
                assert pool.ready
            with pytest.raises(ModelUnavailable):
                await said(pool)
            assert not pool.ready
            assert len(one.calls) == 6

    run(scenario())


# How it may fail after its first text.
BREAKS: dict[str, fakes.Script] = {
    "cut": fakes.sends(f"{CHUNKED}100\r\n{fakes.chunk('Hello')}"),
    "closed": fakes.sends(STREAM + fakes.chunk("Hello")),
    "error": fakes.sends(STREAM + fakes.chunk("Hello") + fakes.event({"error": {"code": 500}})),
    "garbage": fakes.sends(f"{STREAM}{fakes.chunk('Hello')}data: SECRET\n\n"),
    "abort": fakes.says("Hello", end=fakes.ending("abort")),
    "hang": fakes.hangs("Hello"),
}


@pytest.mark.parametrize("failure", BREAKS)
def test_nobody_else_goes_on_with_an_answer_that_has_begun(
    failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with fake() as bad, fake() as other:
            bad.script = BREAKS[failure]
            first = bad.upstream(gap_seconds=NOT_LONG if failure == "hang" else 60)
            async with started(first, other.upstream()) as pool:
                items = pool.answer(ask())
                assert await anext(items) == Piece("Hello")
                with pytest.raises(BrokenOff, match="in the middle") as caught:
                    await anext(items)
                assert pool.states()[0].problem
            assert other.calls == []
            assert "SECRET" not in str(caught.value)

    run(scenario())
    assert "SECRET" not in caplog.text


def test_an_upstream_that_asks_to_wait_is_left_alone_for_so_long() -> None:
    in_40_seconds = f"Retry-After: {formatdate(time.time() + 40, usegmt=True)}"

    async def scenario() -> None:
        async with fake() as one, fake() as two:
            one.script = fakes.status(429, "Retry-After: 77")
            two.script = fakes.status(429, in_40_seconds)
            pauses = {"check_seconds": 0.01, "first_pause": 0.01}
            async with started(one.upstream(), two.upstream(), **pauses) as pool:
                for _ in range(20):
                    with pytest.raises(QueueFull, match="asked too often") as caught:
                        await said(pool)
                    assert 30 <= caught.value.retry_after <= 40
            assert (len(one.calls), len(two.calls)) == (1, 1)
            one.script = two.script = fakes.status(429, "Retry-After: soon")
            async with started(one.upstream(), first_pause=3.5) as pool:
                with pytest.raises(QueueFull) as caught:
                    await said(pool)
                assert caught.value.retry_after == 4

    run(scenario())


def test_without_any_upstream_in_service_the_answer_is_to_wait() -> None:
    async def scenario() -> None:
        async with fake() as one, fake() as two:
            one.script, two.health = fakes.status(500), fakes.status(503)
            async with started(one.upstream(), two.upstream(), first_pause=9.5) as pool:
                assert pool.ready
                with pytest.raises(ModelUnavailable, match="None of the 2 servers") as caught:
                    await said(pool)
                assert not pool.ready
                assert 1 <= (caught.value.retry_after or 0) <= 10
                assert one.url not in str(caught.value)
            assert two.calls == []
        with pytest.raises(ModelUnavailable):  # stopped
            await said(pool)

    run(scenario())


def test_pauses_grow_up_to_a_limit(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with fake() as one:
            one.health = fakes.status(500)
            async with started(one.upstream(), first_pause=10, longest_pause=50) as pool:
                (member,) = pool._members
                waits = []
                for _ in range(4):
                    with pytest.raises(ModelUnavailable) as caught:
                        await said(pool)
                    waits.append(caught.value.retry_after)
                    await pool._check(member)
        assert waits == [10, 20, 40, 50]

    run(scenario())
    assert caplog.text.count("out of service") == 1  # said once, not at every try


def test_an_answer_that_fails_weighs_more_than_a_check_that_goes_well_meanwhile() -> None:
    async def scenario() -> None:
        asked, may_answer = asyncio.Event(), asyncio.Event()

        async def slowly(call: fakes.Call) -> None:
            asked.set()
            await may_answer.wait()
            await fakes.status(200)(call)

        async with fake() as one, started(one.upstream(), first_pause=30) as pool:
            one.health, one.script = slowly, fakes.status(500)
            check = asyncio.create_task(pool._check(pool._members[0]))
            await asked.wait()
            with pytest.raises(ModelUnavailable):
                await said(pool)
            may_answer.set()
            await check
            assert not pool.ready

    run(scenario())


def test_an_upstream_comes_into_service_when_it_is_healthy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "elara.serve")

    async def scenario() -> None:
        async with fake() as one:
            one.health = fakes.status(503)  # as llama-server says while it loads
            pauses = {"check_seconds": 0.001, "first_pause": 0.001, "longest_pause": 0.002}
            async with started(one.upstream(), **pauses) as pool:
                assert not pool.ready
                one.health = fakes.status(200)
                await until(lambda: pool.ready)
                assert (await said(pool))[0] == "Hello there"
                one.health = fakes.sends(b"")
                await until(lambda: not pool.ready)
                one.health = fakes.status(200)
                await until(lambda: pool.ready)

    run(scenario())
    assert "is out of service: the connection broke" in caplog.text
    assert "is in service" in caplog.text


@pytest.mark.parametrize(("models", "ready"), [(200, True), (401, False), (307, False)])
def test_without_a_health_address_the_list_of_models_tells(models: int, ready: bool) -> None:
    async def check(call: fakes.Call) -> None:
        await fakes.status(404 if "/health" in call.line else models)(call)

    async def scenario() -> None:
        async with fake() as one:
            one.health = check
            async with started(one.upstream()) as pool:
                assert pool.ready is ready
            assert one.checks == ["GET /health HTTP/1.1", "GET /v1/models HTTP/1.1"]

    run(scenario())


def test_a_health_check_that_hangs_is_given_up() -> None:
    async def scenario() -> None:
        async with fake() as one, fake() as two:
            one.health = fakes.hangs()
            first = one.upstream(connect_seconds=NOT_LONG)
            async with started(first, two.upstream()) as pool:
                assert [bool(s.problem) for s in pool.states()] == [True, False]

    run(scenario())


def test_a_conversation_that_is_refused_puts_nobody_out_of_service() -> None:
    async def scenario() -> None:
        async with fake() as one, fake() as two:
            one.script = two.script = fakes.status(400)
            async with started(one.upstream(), two.upstream()) as pool:
                with pytest.raises(GenerationFailed, match="send a shorter one") as caught:
                    await said(pool)
                assert "SECRET" not in str(caught.value)
                assert [s.problem for s in pool.states()] == ["", ""]
                two.script = fakes.says("It fits.")
                assert (await said(pool))[0] == "It fits."

    run(scenario())


def test_whoever_has_written_nothing_at_the_deadline_is_put_out_of_service() -> None:
    async def scenario() -> None:
        async with fake() as one, fake() as two:
            one.script = fakes.hangs()
            async with started(one.upstream(), two.upstream()) as pool:
                with pytest.raises(TookTooLong, match="ran out"):
                    await said(pool, ask(seconds=NOT_LONG))
                assert pool.states()[0].problem == "the answer was not ready in time"
            assert two.calls == []

    run(scenario())


def test_a_question_that_comes_too_late_is_asked_of_nobody() -> None:
    async def scenario() -> None:
        async with fake() as one, started(one.upstream()) as pool:
            with pytest.raises(TookTooLong, match="ran out"):
                await said(pool, ask(seconds=0))
            assert pool.states()[0].problem == ""
            assert one.calls == []

    run(scenario())


def test_whoever_is_still_writing_at_the_deadline_stays_in_service() -> None:
    async def scenario() -> None:
        async with fake() as one, fake() as two:
            one.script = fakes.hangs("Hello")
            async with started(one.upstream(), two.upstream()) as pool:
                question = ask()
                items = pool.answer(question)
                assert await anext(items) == Piece("Hello")
                object.__setattr__(question, "deadline", time.monotonic())  # it is now
                with pytest.raises(TookTooLong, match="ran out"):
                    await anext(items)
                assert pool.states()[0].problem == ""
                await one.left.wait()
            assert two.calls == []

    run(scenario())


def test_a_slow_reader_is_no_fault_of_the_upstream() -> None:
    async def scenario() -> None:
        async with fake() as one, started(one.upstream(gap_seconds=NOT_LONG)) as pool:
            items = pool.answer(ask())
            assert await anext(items) == Piece("Hello")
            await asyncio.sleep(2 * NOT_LONG)
            assert await anext(items) == Piece(" there")
            assert isinstance(await anext(items), End)

    run(scenario())


def test_closing_the_iterator_hangs_up() -> None:
    async def scenario() -> None:
        async with fake() as one, fake() as two:
            one.script = fakes.hangs("Hello")
            async with started(one.upstream(), two.upstream()) as pool:
                items = pool.answer(ask())
                assert await anext(items) == Piece("Hello")
                await items.aclose()
                await one.left.wait()  # set once the fake has read the end of the connection
                assert [s.under_way for s in pool.states()] == [0, 0]
                assert pool.states()[0].problem == ""
            assert two.calls == []

    run(scenario())


@pytest.mark.parametrize("texts", [(), ("Hello",)])
def test_cancelling_whoever_waits_hangs_up_too(texts: tuple[str, ...]) -> None:
    async def scenario() -> None:
        async with fake() as one, fake() as two:
            one.script = fakes.hangs(*texts)
            async with started(one.upstream(), two.upstream()) as pool:
                waiting = asyncio.create_task(said(pool))
                await one.asked.wait()
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                await one.left.wait()
                assert [s.under_way for s in pool.states()] == [0, 0]
            assert two.calls == []

    run(scenario())


def test_the_least_loaded_for_its_weight_is_asked_and_ties_go_by_turn() -> None:
    async def scenario() -> None:
        async with (
            fake() as one,
            fake() as two,
            started(one.upstream(weight=2), two.upstream()) as pool,
        ):
            for _ in range(4):  # one after another: nobody has anything to do
                await said(pool)
            assert (len(one.calls), len(two.calls)) == (2, 2)
            one.script = two.script = fakes.hangs("Hello")
            held = []
            for _ in range(6):
                held.append(pool.answer(ask()))
                await anext(held[-1])
            assert [s.under_way for s in pool.states()] == [4, 2]
            for items in held:
                await items.aclose()
            assert [s.under_way for s in pool.states()] == [0, 0]

    run(scenario())


def test_a_hung_upstream_costs_its_own_patience_and_nobody_elses() -> None:
    async def ask_many(pool: Upstreams, good: FakeUpstream) -> None:
        texts = await asyncio.gather(*(said(pool) for _ in range(30)))
        assert {text for text, _ in texts} == {"Hello there"}
        assert len(good.calls) == 30

    async def scenario() -> None:
        async with fake() as hung, fake() as good:
            hung.script = fakes.hangs()
            first = hung.upstream(first_text_seconds=NOT_LONG)
            async with started(first, good.upstream(), first_pause=30) as pool:
                await ask_many(pool, good)
                asked = len(hung.calls)
                good.calls.clear()
                await ask_many(pool, good)
                assert len(hung.calls) == asked <= 30
                # Many failures at once are one setback.
                good.script = fakes.status(500)
                with pytest.raises(ModelUnavailable) as caught:
                    await said(pool)
                assert (caught.value.retry_after or 0) <= 30
                assert pool._members[0].setbacks == 1

    run(scenario())


def test_conversations_that_travel_unencrypted_are_said(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with fake() as one:
            other = one.upstream(url="http://192.0.2.1", connect_seconds=NOT_LONG)
            async with started(one.upstream(), other) as pool:
                assert [bool(s.problem) for s in pool.states()] == [False, True]

    run(scenario())
    assert "travel unencrypted to http://192.0.2.1" in caplog.text
    assert "unencrypted to http://127" not in caplog.text
