"""Serve with several processes that share one port, one audit log and one set of counts.

Python runs one thread at a time, so one process uses one core. More of them are for servers whose
model is elsewhere: each would load a model of its own. A process that dies is replaced, and the log
says so; those who waited for it see their connection close, and their questions read *interrupted*
in the audit log. When the process dies that started them, they stop as at the signal TERM.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import multiprocess

from elara.serve.config import Settings
from elara.serve.logs import write_log
from elara.serve.main import create_app, recording
from elara.serve.metrics import SHARED
from elara.serve.stopping import Server

log = logging.getLogger("elara.serve")

_SPREADS = sys.platform == "linux"
_HANGUP = getattr(signal, "SIGHUP", None)  # the terminal has closed; Windows has no such signal
_LOOK_SECONDS = 0.1


class LateConfig(uvicorn.Config):
    """Makes its application in the process that serves it: it cannot be sent to another one.

    Args:
        settings: the application's.
        given: what `uvicorn.Config` takes.
    """

    def __init__(self, settings: Settings, **given: Any) -> None:
        self._settings = settings
        super().__init__("", **given)

    def configure_logging(self) -> None:
        """Log as the process does that started this one."""
        write_log(self._settings.log_format)
        super().configure_logging()

    def load(self) -> None:
        """Make the application."""
        self.app = create_app(self._settings)
        super().load()


class _Server(Server):
    """One of several: the process that started it says when to stop."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen. Of a socket that all share, whoever looks first takes all that wait."""
        if sockets and _SPREADS:
            sockets = [_bound(sockets[0].family, sockets[0].getsockname())]
        await super().startup(sockets)
        # What is there now stays: to look through all of it for garbage takes a tenth of a second
        # again and again. No model is among it, which would have to go when it is exchanged.
        gc.collect()
        gc.freeze()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop, but not at Ctrl-C, which reaches all processes at once."""
        if sig != signal.SIGINT:
            super().handle_exit(sig, frame)


class _Process(multiprocess.Process):
    """A process with our server."""

    _began = False

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, but not longer than the process lives that started this one."""
        threading.Thread(target=self._end_with_parent, daemon=True).start()
        super().target(sockets)

    def is_alive(self, timeout: float = 5) -> bool:
        """Whether it lives and answers. One that starts is not hung, however slow it is."""
        if self._began:
            return super().is_alive(timeout)
        self._began = super().is_alive(0)
        return self._began or self.process.is_alive()

    def _end_with_parent(self) -> None:
        parent = multiprocessing.parent_process()
        assert parent
        parent.join()
        # Left alone it would keep the port, and nothing would replace it or sign the audit log.
        log.error("the process that started this one has died, so this one stops: start it again")
        self.server.should_exit = True

    @property
    def server(self) -> Server:
        """The server, made in the process that runs it."""
        if self._server is None:
            self._server = _Server(self.config)
        return self._server  # type: ignore[return-value]


class _Processes(multiprocess.Multiprocess):
    """uvicorn's supervisor, which says what becomes of its processes and hears all signals."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        ignored = _HANGUP and signal.getsignal(_HANGUP) == signal.SIG_IGN
        super().__init__(config, sockets)
        if _HANGUP and ignored:  # by `nohup`
            signal.signal(_HANGUP, signal.SIG_IGN)

    def handle_signals(self) -> None:
        """Take the first signal alone: one that follows at once is a second one all the same."""
        later = self.signal_queue[1:]
        del self.signal_queue[1:]
        super().handle_signals()
        self.signal_queue[:0] = later

    def handle_hup(self) -> None:
        """Stop with the terminal, as a server of one process does."""
        self.should_exit.set()

    def keep_subprocess_alive(self) -> None:
        """Replace a process that has died, and say so."""
        before = [*self.processes]
        super().keep_subprocess_alive()
        for gone in before:
            if gone not in self.processes:
                told = "process %s has died (%s) and is replaced: what it answered is interrupted"
                log.error(told, gone.pid, gone.exitcode)

    def join_all(self) -> None:
        """Wait until all have ended; a further signal is for them, too."""
        while any(process.process.is_alive() for process in self.processes):
            time.sleep(_LOOK_SECONDS)
            if self.signal_queue:  # told again and again: two signals at once would arrive as one
                self.terminate_all()
        super().join_all()


def _bound(family: int, address: Any) -> socket.socket:
    """A socket for a port that others may have, too: Linux spreads connections among all of them.

    Source: https://man7.org/linux/man-pages/man7/socket.7.html, SO_REUSEPORT
    """
    found = socket.socket(family)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    found.bind(address)
    return found


multiprocess.Process = _Process  # type: ignore[misc] # the supervisor offers no other way


def serve_with_workers(settings: Settings, listener: socket.socket, given: dict[str, Any]) -> None:
    """Serve until interrupted; return when all processes have ended.

    The audit log is made and signed here, once for all of them.

    Args:
        settings: what to serve; `workers` says how many.
        listener: bound to the port, which it has found to be free.
        given: what `uvicorn.Config` takes.

    Raises:
        JournalError: the audit log cannot be made.
        SystemExit: a process cannot start; the log says why.

    Source: https://www.uvicorn.org/deployment/#built-in and
        https://prometheus.github.io/client_python/multiprocess/
    """
    with ExitStack() as stack:
        stack.enter_context(recording(settings))
        os.environ[SHARED] = stack.enter_context(tempfile.TemporaryDirectory(prefix="elara-"))
        alike = settings.model_copy(update={"signing_key": None})
        if _SPREADS:
            family, address = listener.family, listener.getsockname()
            listener.close()
            # It never listens, and keeps the port while a process is being replaced.
            listener = stack.enter_context(_bound(family, address))
        config = LateConfig(alike, workers=settings.workers, **given)
        processes = _Processes(config, [listener])
        processes.run()
        if any(process.exitcode == STARTUP_FAILURE for process in processes.processes):
            sys.exit(STARTUP_FAILURE)
