"""The one way in which long work reports how far it is."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

Item = TypeVar("Item")

_EVERY_SECONDS = 30.0


def watched() -> bool:
    """Whether somebody is looking: a kernel that JupyterLab or another Jupyter server started."""
    return "JPY_SESSION_NAME" in os.environ


def track(items: Iterable[Item], *, total: int | None = None, label: str = "") -> Iterator[Item]:
    """Pass items through and report progress: a bar in JupyterLab, else a line now and then.

    Args:
        items: what to go through.
        total: how many there are, if known and `items` has no length.
        label: what is being done, e.g. `parse files`.

    Yields:
        The items, unchanged.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if watched():
        from tqdm.auto import tqdm

        yield from tqdm(items, total=total, desc=label)
        return
    started = reported = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - reported >= _EVERY_SECONDS:
            reported = now
            print(progress_line(label, done, total, now - started), flush=True)


def progress_line(label: str, done: int, total: int | None, seconds: float) -> str:
    """One line of progress.

    Args:
        label: what is being done.
        done: items finished.
        total: items in all, or None when unknown.
        seconds: time spent so far, in seconds.

    Returns:
        For example `train: 40 of 160, 2.1 min left`.
    """
    if not total:
        return f"{label}: {done}"
    left = seconds / max(done, 1) * (total - done)
    return f"{label}: {done} of {total}, {left / 60:.1f} min left"
