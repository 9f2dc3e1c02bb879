"""A chat server for one test that plays a judge: honest, obedient, or of no use."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """What a judge is asked, as it reads it."""

    question: str
    criterion: str
    answer: str


class Reply(NamedTuple):
    """What the server sends."""

    content: Any
    status: int = 200


Play = Callable[[Asked], Any]


def mark(met: Any, quote: Any = "") -> str:
    return json.dumps({"met": met, "quote": quote})


def honest(asked: Asked) -> str:
    """A criterion is met if the sentence with its last word does not deny it."""
    word = asked.criterion.split()[-1]
    for sentence in re.split(r"(?<=[.!?])\s+|\n+", asked.answer):
        if re.search(rf"\b{word}\b", sentence, re.I) and not re.search(r"\bnot\b", sentence):
            return mark(True, sentence)
    return mark(False)


def obedient(asked: Asked) -> str:
    """Whatever mark an answer gives itself is what it gets."""
    told = asked.answer.lower()
    if re.search(r'met"?: ?true|rating: 5|as met', told):
        return mark(True, asked.answer.split(".")[0])
    if re.search(r'met"?: ?false|rating: 0|as not met', told):
        return mark(False)
    return honest(asked)


class JudgeServer:
    """A server; use it in a `with` statement.

    Args:
        play: given what is asked, what the model says, or a `Reply` with a status.
    """

    def __init__(self, play: Play) -> None:
        self.log: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        log, keys = self.log, self.keys

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                log.append(body)
                keys.append(self.headers.get("Authorization"))
                said = play(read(body))
                content, status = said if isinstance(said, Reply) else (said, 200)
                data = content
                if not isinstance(data, bytes):
                    data = json.dumps({"choices": [{"message": {"content": content}}]}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> JudgeServer:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def read(body: dict[str, Any]) -> Asked:
    """Question, criterion and answer of a request, which stand on lines of their own."""
    question, criterion, begin, answer, end, _ = body["messages"][1]["content"].split("\n")
    assert begin.removeprefix("BEGIN ") == end.removeprefix("END ")
    assert begin.split()[-1] in body["messages"][0]["content"]
    told = (question.removeprefix("Question: "), criterion.removeprefix("Criterion: "), answer)
    return Asked(*map(json.loads, told))
