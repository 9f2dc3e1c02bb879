"""Report how far long work has come."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from typing import Any, TypeVar

Item = TypeVar("Item")

_EVERY_SECONDS = 60.0


def watched() -> bool:
    """Whether somebody is looking: a kernel that JupyterLab or another Jupyter server started."""
    return "JPY_SESSION_NAME" in os.environ


class Progress:
    """Progress with rate and time left: a bar in JupyterLab, else a line a minute.

    Its methods may be called from several threads.

    Args:
        label: what is being done, e.g. `read records`.
        total: how many items there are, or None while unknown.
    """

    def __init__(self, label: str, total: int | None = None) -> None:
        self.label = label
        self.total = total
        self.done = 0
        self._started = self._reported = time.monotonic()
        self._lock = threading.Lock()
        self._bar: Any = None

    def __enter__(self) -> Progress:
        if watched():
            from tqdm.auto import tqdm

            self._bar = tqdm(total=self.total, desc=self.label)
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def expect(self, more: int) -> None:
        """Raise the total by so many items."""
        with self._lock:
            self.total = (self.total or 0) + more
            if self._bar is not None:
                self._bar.total = self.total
                self._bar.refresh()

    def advance(self, items: int = 1) -> None:
        """Say that so many more items are done."""
        with self._lock:
            self.done += items
            if self._bar is not None:
                self._bar.update(items)
                return
            now = time.monotonic()
            if now - self._reported < _EVERY_SECONDS:
                return
            self._reported = now
            line = _line(self.label, self.done, self.total, now - self._started)
        print(line, flush=True)


def track(items: Iterable[Item], *, total: int | None = None, label: str = "") -> Iterator[Item]:
    """Pass items through and report progress.

    Args:
        items: what to go through.
        total: how many there are, if known and `items` has no length.
        label: what is being done, e.g. `parse files`.

    Yields:
        The items, unchanged.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(label, total) as progress:
        for item in items:
            yield item
            progress.advance()


def _line(label: str, done: int, total: int | None, seconds: float) -> str:
    """For example `train: 40 of 160, 20.0/min, 6.0 min left`."""
    rate = done / max(seconds, 1e-9)
    speed = f"{rate:,.0f}/s" if rate >= 10 else f"{60 * rate:,.1f}/min"
    if not total or done > total:  # not all sources can say how much will come
        return f"{label}: {done:,}, {speed}"
    left = seconds / max(done, 1) * max(total - done, 0)
    return f"{label}: {done:,} of {total:,}, {speed}, {left / 60:.1f} min left"
