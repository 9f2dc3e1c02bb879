"""Spread work over processes that never outlive the one that started them."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


class WorkerError(RuntimeError):
    """A process that was to do a part of the work failed or died; the message says at what."""


def spread(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    workers: int,
    name: Callable[[Task], str] = str,
) -> Iterator[Result]:
    """Do tasks in several processes at once.

    Args:
        work: an importable function (or a `functools.partial` of one) that does one task.
        tasks: what to do.
        workers: how many processes; 1 does the tasks in this one.
        name: how a task is called in an error message.

    Yields:
        What `work` returned, in the order in which the tasks end.

    Raises:
        WorkerError: `work` failed, or a process was killed. The others are ended first, as they
            are when the caller is interrupted or stops early.

    Source: https://docs.python.org/3/library/multiprocessing.html#the-spawn-and-forkserver-start-methods
    """
    if workers <= 1:
        yield from map(work, tasks)
        return
    context = multiprocessing.get_context("spawn")
    team: dict[Connection, SpawnProcess] = {}
    busy: dict[Connection, Task] = {}
    waiting = iter(tasks)
    try:
        for task in itertools.islice(waiting, workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, work), daemon=True)
            process.start()
            theirs.close()  # so that the end of the process is seen as the end of the pipe
            team[ours], busy[ours] = process, task
            _send(ours, task)
        while busy:
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                yield _answer(ready, team[ready], name(busy.pop(ready)))
                for following in itertools.islice(waiting, 1):
                    busy[ready] = following
                    _send(ready, following)
    finally:
        for process in team.values():
            process.terminate()
        for connection, process in team.items():
            process.join()
            connection.close()


def _send(connection: Connection, task: object) -> None:
    with contextlib.suppress(ConnectionError):  # it has died, which `_answer` will report
        connection.send(task)


def _answer(connection: Connection, process: SpawnProcess, task: str) -> Any:
    try:
        done, answer = connection.recv()
    except (EOFError, ConnectionError):
        process.join()
        code = process.exitcode or 0
        killed = f"was killed by signal {-code}, perhaps for lack of memory"
        ended = killed if code < 0 else f"ended with code {code}"
        raise WorkerError(
            f"The process that worked on {task} {ended}: "
            f"see what it printed, close other programs or use fewer workers, then run again. "
            f'A script that uses several workers needs `if __name__ == "__main__":`.'
        ) from None
    if not done:
        raise WorkerError(f"The process that worked on {task} failed:\n{answer}")
    return answer


def _serve(connection: Connection, work: Callable[[Any], Any]) -> None:
    """What a process does: one task after the other, until nobody sends any."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started it ends it
    try:
        while True:
            task = connection.recv()
            try:
                answer = (True, work(task))
            except Exception:
                answer = (False, traceback.format_exc(limit=-3))
            connection.send(answer)
    except (EOFError, ConnectionError):
        return
