"""Remember whole answers, so that the same question need not be answered twice.

Only what is drawn without chance is remembered. An answer belongs to one adapter, one template, one
API key, one set of parameters and the sources that it was written from: none is given to anybody or
anything else, and none rests on an article that was retracted since.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Sequence

from elara.serve.backends import Ask, End


class AnswerCache:
    """The last answers, in memory only. It may be used from any thread.

    Args:
        most: answers that are kept; 0 keeps none.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[str, tuple[str, End]] = OrderedDict()
        self._lock = threading.Lock()

    def key(
        self, ask: Ask, *, adapter: str, template: str, account: str, sources: Sequence[str] = ()
    ) -> str:
        """What an answer is kept under; "" if it is not to be kept.

        Args:
            ask: the question as the model gets it, and its parameters.
            adapter: what answers, as the audit log names it; "" where it is not known.
            template: version of the prompt and chat template.
            account: of the API key; "" without keys.
            sources: what is known of the sources, such as the ids of the passages.
        """
        if not self._most or ask.temperature > 0 or not adapter:
            return ""
        parts = [adapter, template, account, [*sources], ask.max_new_tokens, ask.identity]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def find(self, key: str) -> tuple[str, End] | None:
        """The answer that was kept, and how it ended.

        Args:
            key: from `key`.
        """
        with self._lock:
            found = self._kept.get(key)
            if found:
                self._kept.move_to_end(key)
            return found

    def keep(self, key: str, answer: str, end: End) -> None:
        """Keep an answer; the one that was not asked for longest goes.

        Args:
            key: from `key`.
            answer: its text.
            end: how it ended.
        """
        if not key:
            return
        with self._lock:
            self._kept[key] = answer, end
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
