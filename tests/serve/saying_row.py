"""An answer of the fake model in words that the test chooses."""

from __future__ import annotations

from elara.serve.backends import Ask


class SayingRow:
    """Says its words in two pieces; without a stop token it ends at the limit."""

    prompt_tokens = 7

    def __init__(self, ask: Ask, says: str, *, stops: bool = True) -> None:
        self.ask, self.question = ask, ask.messages[-1]["content"]
        self.pieces = [says[: len(says) // 2], says[len(says) // 2 :], ""]
        self.new_tokens, self.stops = 0, stops
        self.ended = self.finished = False

    def grow(self) -> str:
        self.new_tokens += 1
        self.ended = self.new_tokens == len(self.pieces)
        self.finished = self.ended and self.stops
        return self.pieces[self.new_tokens - 1]
