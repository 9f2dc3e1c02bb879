"""Read server-sent events from bytes, however the network cut them, within a size limit."""

from __future__ import annotations

import re
from collections.abc import Iterator

# A carriage return at the very end may be the first half of a line's end.
_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")


class EventTooLarge(ValueError):
    """An event has more bytes than allowed."""


class EventReader:
    """Collects bytes into events. Bytes are never decoded here, so no character can be split.

    Names, ids and comments of events are left out: an answer's events have none that matter.

    Args:
        largest: most bytes of one event.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
    """

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._rest = bytearray()
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, received: bytes) -> Iterator[bytes]:
        """The data of each event that these bytes complete.

        Args:
            received: the next bytes, of any length.

        Raises:
            EventTooLarge: an event, finished or not, has more than `largest` bytes.
        """
        held_back = self._rest.endswith(b"\r")
        self._rest += received
        if held_back or b"\n" in received or b"\r" in received:
            *lines, rest = _LINE_END.split(self._rest)
            self._rest = bytearray(rest)
            for line in lines:
                if line:
                    self._take(bytes(line))
                elif self._data:
                    yield b"\n".join(self._data)
                    self._data, self._size = [], 0
        self._bound(len(self._rest))

    def _take(self, line: bytes) -> None:
        field, _, value = line.removeprefix(b"\xef\xbb\xbf").partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
            self._size += len(value)
            self._bound(0)

    def _bound(self, more: int) -> None:
        if self._size + more > self._largest:
            raise EventTooLarge(f"An event has more than {self._largest} bytes.")
