"""The queue: who is answered with whom, who leaves when, and that no error ends it."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from elara.serve.backends import (
    Ask,
    BrokenOff,
    End,
    GenerationFailed,
    Piece,
    QueueFull,
    Simulation,
    TookTooLong,
    closing,
    whole,
)
from elara.serve.engine import Engine

pytestmark = pytest.mark.anyio


def ask(question: str, *, limit: int = 50, seconds: float = 60.0, base: bool = False) -> Ask:
    messages = [{"role": "user", "content": question}]
    return Ask(messages, limit, 0.0, 0, time.monotonic() + seconds, base)


def text(question: str) -> str:
    return f"{question} limit=50 temperature=0.0 seed=0"


async def until(met: Callable[[], bool]) -> None:
    """Let the event loop go on until something is so."""
    deadline = time.monotonic() + 30
    while not met():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


@pytest.fixture
def make(fake: Any) -> Iterator[Callable[..., Engine]]:
    """Makes engines of the fake model, and closes them."""
    made = []

    def engine(**options: Any) -> Engine:
        made.append(Engine(fake, **options))
        return made[-1]

    yield engine
    fake.may_answer.set()
    for one in made:
        one.close()
        one.join()


def hold(fake: Any, engine: Engine) -> Awaitable[Any]:
    """A first chat, held at its first token, so that what follows has to wait."""
    fake.may_answer.clear()
    first = asyncio.ensure_future(whole(engine.answer(ask("first"))))

    async def held() -> Any:
        await until(fake.answering.is_set)
        return first

    return held()


async def test_pieces_then_an_end(make: Any) -> None:
    items = [item async for item in make().answer(ask("Why?"))]
    assert items[:-1] == [Piece("Why? "), Piece("limit=50 "), Piece("temperature=0.0 seed=0")]
    assert isinstance(items[-1], End)
    assert (items[-1].finished, items[-1].prompt_tokens, items[-1].new_tokens) == (True, 7, 3)


async def test_what_waits_is_answered_together(fake: Any, make: Any) -> None:
    engine = make(batch_size=3)
    first = await hold(fake, engine)
    others = [asyncio.create_task(whole(engine.answer(ask(str(i))))) for i in range(4)]
    await until(lambda: engine.waiting == 4)
    assert engine.writing == 1
    fake.may_answer.set()
    assert (await first)[0] == text("first")
    assert [(await other)[0] for other in others] == [text(str(i)) for i in range(4)]
    assert fake.batches == [["first"], ["0", "1", "2"], ["3"]]


async def test_a_batch_is_of_one_kind_and_the_oldest_chat_decides_which(
    fake: Any, make: Any
) -> None:
    engine = make(batch_size=2, queue_limit=6)
    first = await hold(fake, engine)
    engine._batch_seconds = 2.0
    names = ["a1", "a2", "a3", "b1", "a4", "b2"]
    waiting = []
    for name in names:
        asked = engine.answer(ask(name, base=name.startswith("b")))
        waiting.append(asyncio.create_task(whole(asked)))
        await until(lambda: engine.waiting == len(waiting))
    with pytest.raises(QueueFull) as caught:
        await whole(engine.answer(ask("one too many")))
    assert caught.value.retry_after == 8  # the batch under way, two of one kind, one of the other
    fake.may_answer.set()
    found = [(await answer)[0] for answer in (first, *waiting)]
    assert found == [f"{'base ' * n.startswith('b')}{text(n)}" for n in ("first", *names)]
    assert fake.batches == [["first"], ["a1", "a2"], ["a3", "a4"], ["b1", "b2"]]


async def test_newcomers_of_the_other_kind_keep_nobody_waiting(fake: Any, make: Any) -> None:
    engine = make(batch_size=1)
    first = await hold(fake, engine)
    base = asyncio.create_task(whole(engine.answer(ask("base", base=True))))
    await until(lambda: engine.waiting == 1)
    others = []
    for number in range(3):  # one more comes with each token of the first
        others.append(asyncio.create_task(whole(engine.answer(ask(str(number))))))
        await until(lambda: engine.waiting == 1 + len(others))
        fake.permits.release()
    fake.may_answer.set()
    await asyncio.gather(first, base, *others)
    assert fake.batches == [["first"], ["base"], ["0"], ["1"], ["2"]]


async def test_after_a_failure_without_the_adapter_it_is_on_again(fake: Any, make: Any) -> None:
    def fault(questions: list[str]) -> None:
        if fake.off:
            raise ZeroDivisionError

    engine, fake.fault = make(), fault
    with pytest.raises(GenerationFailed):
        await whole(engine.answer(ask("base", base=True)))
    assert (await whole(engine.answer(ask("next"))))[0] == text("next")


async def test_who_leaves_frees_the_place_within_one_token(fake: Any, make: Any) -> None:
    engine = make()
    first = await hold(fake, engine)
    stays = asyncio.create_task(whole(engine.answer(ask("endless", limit=6))))
    leaves = asyncio.create_task(whole(engine.answer(ask("endless ", limit=1000))))
    await until(lambda: engine.waiting == 2)
    fake.permits.release(3)  # the first chat ends, and the two begin
    await first
    await until(lambda: len(fake.steps) == 4)
    leaves.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaves
    fake.may_answer.set()
    answer, end = await stays
    assert (answer, end.finished, end.new_tokens) == ("1 2 3 4 5 6 ", False, 6)
    assert fake.steps[3:5] == [["endless", "endless "], ["endless"]]


async def test_nothing_is_written_for_nobody(fake: Any, make: Any) -> None:
    engine = make()
    fake.may_answer.clear()
    items = engine.answer(ask("endless", limit=1000))
    fake.permits.release()
    async with closing(items):
        assert await anext(items) == Piece("1 ")
        await until(lambda: len(fake.steps) == 2)
    fake.may_answer.set()
    assert (await whole(engine.answer(ask("next"))))[0] == text("next")
    assert fake.steps.count(["endless"]) == 2


async def test_who_leaves_the_queue_is_never_begun(fake: Any, make: Any) -> None:
    engine = make()
    first = await hold(fake, engine)
    waits = asyncio.create_task(whole(engine.answer(ask("waits"))))
    await until(lambda: engine.waiting == 1)
    waits.cancel()
    await until(lambda: engine.waiting == 0)
    fake.may_answer.set()
    await first
    assert fake.batches == [["first"]]


async def test_a_full_queue_says_when_to_ask_again(fake: Any, make: Any) -> None:
    engine = make(batch_size=2, queue_limit=3)
    first = await hold(fake, engine)
    engine._batch_seconds = 2.5
    waiting = [asyncio.create_task(whole(engine.answer(ask("x")))) for _ in range(3)]
    await until(lambda: engine.waiting == 3)
    with pytest.raises(QueueFull, match=r"3 chats wait already.*about 8 seconds") as caught:
        await whole(engine.answer(ask("one too many")))
    assert caught.value.retry_after == 8  # the batch under way and two more, 2.5 seconds each
    fake.may_answer.set()
    await asyncio.gather(first, *waiting)


async def test_a_deadline_counts_in_the_queue_and_in_the_answer(fake: Any, make: Any) -> None:
    engine = make(batch_size=1)
    first = await hold(fake, engine)
    with pytest.raises(TookTooLong, match="max_new_tokens"):
        await whole(engine.answer(ask("late", seconds=0.0)))
    fake.may_answer.set()
    await first
    fake.may_answer.clear()
    with pytest.raises(TookTooLong):  # even if the model hangs
        await whole(engine.answer(ask("endless", seconds=0.02)))
    fake.may_answer.set()
    assert (await whole(engine.answer(ask("next"))))[0] == text("next")
    assert fake.batches[0] == ["first"]
    assert ["late"] not in fake.batches


async def test_an_overdue_answer_that_nobody_reads_leaves_too(
    fake: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("elara.serve.engine.time", SimpleNamespace(monotonic=lambda: now[0]))
    engine = make()
    fake.may_answer.clear()
    asked = dataclasses.replace(ask("endless", limit=10**6), deadline=60.0)
    items = engine.answer(asked)
    fake.permits.release()
    assert await anext(items) == Piece("1 ")
    now[0] = 61.0
    fake.may_answer.set()
    await until(lambda: engine.writing == 0)
    assert len(fake.steps) <= 3
    with pytest.raises(TookTooLong):
        await whole(items)


class OutOfRoom(MemoryError):
    pass


async def test_out_of_memory_is_tried_again_with_fewer(
    fake: Any, make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fault(questions: list[str]) -> None:
        if len(questions) > 2 or "huge" in questions:
            raise OutOfRoom(f"no room for {questions}")

    engine = make()
    first = await hold(fake, engine)
    names = ["a", "b", "huge", "c", "d"]
    others = [asyncio.create_task(whole(engine.answer(ask(name)))) for name in names]
    await until(lambda: engine.waiting == 5)
    fake.fault = fault
    with caplog.at_level(logging.DEBUG):
        fake.may_answer.set()
        found = await asyncio.gather(first, *others, return_exceptions=True)
    failed = found.pop(3)
    assert [answer for answer, _ in found] == [text(n) for n in ("first", "a", "b", "c", "d")]
    assert isinstance(failed, GenerationFailed)
    assert "ran out of memory. Ask for fewer tokens" in str(failed)
    assert "5 chats failed together: they are tried again in halves" in caplog.text
    assert "huge" not in caplog.text + str(failed)
    assert (await whole(engine.answer(ask("after"))))[0] == text("after")


async def test_a_batch_that_breaks_in_the_middle_repeats_and_loses_no_text(
    fake: Any, make: Any
) -> None:
    engine = make()
    first = await hold(fake, engine)
    others = [asyncio.create_task(whole(engine.answer(ask(name)))) for name in "ab"]
    await until(lambda: engine.waiting == 2)

    def fault(questions: list[str]) -> None:
        if fake.steps.count(["a", "b"]) == 2 and len(questions) == 2:
            raise ValueError

    fake.fault = fault
    fake.may_answer.set()
    await first
    assert [(await other)[0] for other in others] == [text("a"), text("b")]
    assert fake.steps[3:] == [["a", "b"]] * 2 + [["a"]] * 2 + [["b"]] * 2


async def test_a_chat_that_cannot_be_read_fails_alone(fake: Any, make: Any, caplog: Any) -> None:
    engine, read = make(), fake.row

    def row(asked: Ask) -> Any:
        if "SECRET" in asked.messages[-1]["content"]:
            raise KeyError("SECRET")
        return read(asked)

    fake.row = row
    first = await hold(fake, engine)
    others = [asyncio.create_task(whole(engine.answer(ask(name)))) for name in ("SECRET", "b")]
    await until(lambda: engine.waiting == 2)
    fake.may_answer.set()
    found = await asyncio.gather(first, *others, return_exceptions=True)
    assert isinstance(found[1], GenerationFailed)
    assert "stopped with a KeyError" in str(found[1])
    assert found[2][0] == text("b")
    assert "generation failed: KeyError in row" in caplog.text
    assert "SECRET" not in caplog.text + str(found[1])


def test_a_reader_whose_loop_has_ended_disturbs_nobody(fake: Any, make: Any) -> None:
    engine = make()
    fake.may_answer.clear()

    async def begin() -> None:
        task = asyncio.create_task(whole(engine.answer(ask("endless", limit=1000))))
        await until(fake.answering.is_set)
        task.cancel()

    asyncio.run(begin())
    fake.may_answer.set()
    assert asyncio.run(whole(engine.answer(ask("next"))))[0] == text("next")


def test_a_closed_engine_ends_its_thread(fake: Any) -> None:
    engine = Engine(fake)
    engine.close()
    engine.join()
    assert "elara-writer" not in {thread.name for thread in threading.enumerate()}


async def test_the_simulation_labels_itself() -> None:
    found, end = await whole(Simulation().answer(ask("What is anaemia?")))
    assert found.startswith("[simulation] No model is loaded, so this is not an answer")
    assert "anaemia" not in found
    assert (end.finished, end.new_tokens) == (True, 0)


async def test_an_answer_without_an_end_is_none() -> None:
    async def half() -> Any:
        yield Piece("The dose is")

    with pytest.raises(BrokenOff, match="stopped without an end"):
        await whole(half())
