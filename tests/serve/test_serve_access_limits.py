"""Requests and tokens are counted before they are spent, across workers, restarts and failures."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elara.serve.limits import DAY, Held, Limits, OverLimit, reserve

NOON = 1_767_268_800.0  # 2026-01-01, 12:00 UTC


class Clock:
    """Seconds since 1970, that pass when a test says so."""

    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(tmp_path: Path, clock: Clock) -> Iterator[Limits]:
    made = Limits(tmp_path / "limits.sqlite", clock)
    yield made
    made.close()


def taken(limits: Limits, per_minute: int) -> int | None:
    """Seconds to wait; 0: the request was counted."""
    try:
        limits.take("a", per_minute)
    except OverLimit as error:
        return error.retry_after
    return 0


def test_a_bucket_holds_a_minute_and_fills_evenly(limits: Limits, clock: Clock) -> None:
    assert [taken(limits, 3) for _ in range(4)] == [0, 0, 0, 20]
    clock.time += 19
    assert taken(limits, 3) == 1
    clock.time += 1
    assert [taken(limits, 3) for _ in range(2)] == [0, 20]
    clock.time += 100_000  # no more than a minute's requests are saved up
    assert [taken(limits, 3) for _ in range(4)] == [0, 0, 0, 20]
    assert [taken(limits, 0) for _ in range(9)] == [0] * 9


def test_a_clock_that_is_set_back_gives_nothing_and_takes_nothing(
    limits: Limits, clock: Clock
) -> None:
    assert [taken(limits, 2) for _ in range(3)] == [0, 0, 30]
    clock.time -= 3600
    assert taken(limits, 2) == 30
    clock.time += 30  # not the hour as well, until the old time is reached again
    assert taken(limits, 2) == 0


def test_who_waits_as_told_is_let_in(limits: Limits, clock: Clock) -> None:
    for per_minute in (1, 7, 60, 1000):
        while not (wait := taken(limits, per_minute)):
            pass
        clock.time += wait
        assert taken(limits, per_minute) == 0


def test_a_budget_is_reserved_before_and_settled_after(limits: Limits, clock: Clock) -> None:
    one = limits.reserve("a", 60, 100)
    with pytest.raises(OverLimit, match="of which 40 are left") as error:
        limits.reserve("a", 60, 100)
    assert error.value.retry_after == DAY / 2
    limits.settle(one, 25)
    assert limits.used("a") == 25
    assert limits.reserve("a", 60, 100)
    assert limits.reserve("b", 60, 100)  # another account
    clock.time += DAY / 2
    assert limits.used("a") == 0


def test_what_never_fits_is_told_without_a_time(limits: Limits) -> None:
    with pytest.raises(OverLimit, match="ask for fewer tokens") as error:
        limits.reserve("a", 101, 100)
    assert error.value.retry_after is None
    assert limits.used("a") == 0


def test_a_request_over_midnight_settles_for_its_own_day(limits: Limits, clock: Clock) -> None:
    clock.time += DAY / 2 - 1
    late = limits.reserve("a", 50, 100)
    clock.time += 2
    limits.reserve("a", 90, 100)
    limits.settle(late, 0)
    assert limits.used("a") == 90


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 80)), max_size=12), st.integers(1, 150)
)
def test_no_budget_is_ever_negative_or_overdrawn(
    asked: list[tuple[int, int]], per_day: int
) -> None:
    """Against a plain sum: what is set aside never exceeds the budget; what is spent adds up."""
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Limits(Path(folder, "limits.sqlite"), lambda: NOON)) as limits,
    ):
        spend(limits, asked, per_day)


def spend(limits: Limits, asked: list[tuple[int, int]], per_day: int) -> None:
    """Reserve and settle, and compare with a sum."""
    spent = 0
    for tokens, cost in asked:
        try:
            held = limits.reserve("a", tokens, per_day)
        except OverLimit:
            assert spent + tokens > per_day
            continue
        assert limits.used("a") == spent + tokens <= per_day
        limits.settle(held, cost)
        spent += cost
        assert limits.used("a") == spent


def _take_many(path: Path, number: int) -> int:
    limits = Limits(path, lambda: NOON)
    done = sum(taken(limits, 40) == 0 for _ in range(number))
    limits.close()
    return done


def test_workers_share_one_bucket(tmp_path: Path) -> None:
    path = tmp_path / "limits.sqlite"
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        counted = pool.starmap(_take_many, [(path, 30), (path, 30)])
    assert sum(counted) == 40
    assert _take_many(path, 5) == 0  # nor does a restart fill it


def test_the_file_is_for_its_owner_only(limits: Limits, tmp_path: Path) -> None:
    limits.take("a", 1)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_settling_is_done_once_and_does_not_wait(limits: Limits) -> None:
    begun = asyncio.Event()

    async def cancelled() -> None:
        held = Held(limits, await limits.run(limits.reserve, "a", 50, 100))
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            held.settle(20)
            held.settle(0)

    async def main() -> None:
        task = asyncio.create_task(cancelled())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await limits.run(limits.used, "a") == 20  # after it, in the same thread

    asyncio.run(main())


def test_who_leaves_while_it_is_counted_gets_all_back(limits: Limits, tmp_path: Path) -> None:
    key = SimpleNamespace(account="a", tokens_per_day=1000)
    state = SimpleNamespace(limits=limits, settings=None)
    request: Any = SimpleNamespace(state=SimpleNamespace(key=key), app=SimpleNamespace(state=state))

    async def main() -> None:
        with closing(sqlite3.connect(tmp_path / "limits.sqlite", isolation_level=None)) as other:
            other.execute("begin immediate")  # what is counted has to wait
            task = asyncio.create_task(reserve(request, ["a question"], 10))
            for _ in range(10):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            other.execute("rollback")
        used = [await limits.run(limits.used, "a") for _ in range(20)]
        assert used[0] > 0  # it was counted after all
        assert used[-1] == 0

    asyncio.run(main())


def test_what_is_never_settled_counts_in_full(tmp_path: Path) -> None:
    killed = Limits(tmp_path / "limits.sqlite", lambda: NOON)
    killed.reserve("a", 70, 100)
    killed._db.close()
    again = Limits(tmp_path / "limits.sqlite", lambda: NOON)
    assert again.used("a") == 70


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "limits.sqlite").write_text("no database, but long enough to be taken for one" * 9)
    with pytest.raises(sqlite3.DatabaseError):
        Limits(tmp_path / "limits.sqlite")
