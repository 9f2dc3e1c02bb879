"""Bound what a caller may send before its request is understood, and how long it may not read."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from elara.serve.config import PICTURES_AT


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which reads the head of a request for ever; this one does not.

    What comes after the head is bounded by `elara.serve.guard.Body`, but not what frames it:
    chunks of one byte, or headers after the last chunk.

    Source: https://www.uvicorn.org/server-behavior/#timeouts and
        https://www.rfc-editor.org/rfc/rfc9112#name-chunked-transfer-coding
    """

    _patience: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _received = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take what arrives; a part of a head does not lengthen the wait for the rest."""
        self._received += len(data)
        super().data_received(data)
        self._watch()
        settings = self.config.app.state.settings  # type: ignore[union-attr]
        # A little more than the application allows, so that it refuses in the form of its errors.
        most = 2 * settings.max_header_bytes + 8192
        if not self._in_head():
            most += 8 * settings.longest_body(PICTURES_AT)
        if self._received > most:
            self.transport.close()

    def on_message_begin(self) -> None:
        """Count the bytes of the next request; those that came with it are not counted."""
        self._received = 0
        super().on_message_begin()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request, unless it is there already."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Wait until what was written is read, but not for ever: an answer would stay open."""
        super().pause_writing()
        seconds = self.config.app.state.settings.answer_seconds  # type: ignore[union-attr]
        self._unread = self.loop.call_later(seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        self._read()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        super().connection_lost(exc)
        self._read()
        self._stop_waiting()

    def _in_head(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _watch(self) -> None:
        """Wait for a head, but not while a request is answered."""
        if not self._in_head():
            self._stop_waiting()
        elif self._patience is None:
            seconds = self.config.app.state.settings.body_seconds  # type: ignore[union-attr]
            self._patience = self.loop.call_later(seconds, self.transport.abort)

    def _read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
        self._unread = None

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self._patience = None
