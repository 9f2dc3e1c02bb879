"""Keep what people think of answers: shown to them, masked, deletable, and used only once accepted.

The server stores no conversation. Whoever gives feedback sends the conversation back together with
the receipt that came with the answer; the receipt proves that this server gave this answer, so that
nobody can teach the model answers that it never gave, or rate for others.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from elara.records import Message, Preference
from elara.serve.database import Database
from elara.serve.experiments.assign import Choice
from elara.serve.schemas import MAX_CHARACTERS, MAX_MESSAGES
from elara.serve.schemas import Message as Turn

MOST_WAITING = 10_000  # judgements in quarantine; more are refused
_TABLE = """
CREATE TABLE IF NOT EXISTS feedback (
    id TEXT PRIMARY KEY, token_sha256 TEXT, adapter TEXT, made TEXT, state TEXT, content TEXT,
    digest TEXT)
"""
State = Literal["waiting", "accepted", "rejected"]


class FeedbackError(RuntimeError):
    """Feedback cannot be taken, found or changed; the message says why and what to do."""


class Receipts:
    """Sign answers, so that feedback can prove which answer it is about.

    Args:
        key: a secret of this server, 32 bytes or more; every worker has the same.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(
        self, request: str, messages: list[dict[str, str]], answer: str, choice: Choice
    ) -> str:
        """The receipt to send with an answer.

        Args:
            request: the request's id.
            messages: the turns that were answered, each with `role` and `content`.
            answer: the whole answer.
            choice: which adapter answered, and for which experiment; `adapter` must be its hash.

        Source: HMAC, https://www.rfc-editor.org/rfc/rfc2104
        """
        head = {"request": request} | asdict(choice)
        body = json.dumps([head, messages, answer], sort_keys=True).encode()
        return json.dumps(head | {"mac": hmac.digest(self._key, body, "sha256").hex()})

    def read(self, receipt: str, messages: list[dict[str, str]], answer: str) -> tuple[str, Choice]:
        """Check a receipt.

        Args:
            receipt: as `make` gave it.
            messages: the turns as they came back.
            answer: the answer as it came back.

        Returns:
            The request's id and the choice that were signed.

        Raises:
            FeedbackError: the receipt is not this server's, or is for something else.
        """
        try:
            told = json.loads(receipt)
            mac, request = told.pop("mac"), told.pop("request")
            choice = Choice(**told)
            again = json.loads(self.make(request, messages, answer, choice))["mac"]
            if hmac.compare_digest(mac, again):
                return request, choice
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        raise FeedbackError(
            "The receipt does not belong to this conversation and answer: send both, and the "
            "receipt, exactly as they came."
        )


class Feedback(BaseModel):
    """What a person thinks of an answer. It is stored only when the person sends it.

    Args:
        messages: the conversation, ending with the question.
        answer: what was answered.
        receipt: what came with the answer.
        thumb: whether the answer was good.
        comment: in the person's words, for those who look after the server; nothing is trained
            on it.
        correction: a better answer, in the person's words.
        dangerous: whether following the answer could hurt somebody.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    messages: list[Turn] = Field(min_length=1, max_length=MAX_MESSAGES)
    answer: str = Field(min_length=1, max_length=4 * MAX_CHARACTERS)
    receipt: str = Field(max_length=1000)
    thumb: Literal["up", "down"] | None = None
    comment: str = Field(default="", max_length=2000)
    correction: str = Field(default="", max_length=MAX_CHARACTERS)
    dangerous: bool = False

    @model_validator(mode="after")
    def _says_something(self) -> Feedback:
        if not (self.thumb or self.comment.strip() or self.correction.strip() or self.dangerous):
            raise ValueError("the feedback is empty; give a thumb, a comment or a correction")
        if self.correction.strip() == self.answer.strip():
            raise ValueError("the correction is the answer itself; change it or leave it out")
        if sum(len(turn.content) for turn in self.messages) > MAX_CHARACTERS:
            raise ValueError(f"the conversation has more than {MAX_CHARACTERS} characters")
        return self


@dataclass(frozen=True)
class Kept:
    """Feedback as it is stored.

    Args:
        id: of the answer's request.
        adapter: SHA-256 of the weights that answered.
        made: when it was given, ISO 8601 in UTC.
        state: `waiting`, `accepted` or `rejected`.
        content: messages, answer, thumb, comment, correction and dangerous, masked.
        alike: how many others hold the same judgement in the same words.
    """

    id: str
    adapter: str
    made: str
    state: str
    content: dict[str, Any]
    alike: int


class FeedbackStore:
    """The feedback of one server, in an SQLite file. Any process or thread may call its methods.

    Args:
        path: the file; it and its folder are made when needed.
        audit: called with each act of an administrator before it takes effect.
        mask: replaces what may identify a person in a text; only what it returns is stored. None
            where nothing is to be added, as on the command line.
    """

    def __init__(
        self,
        path: Path,
        audit: Callable[[dict[str, Any]], None],
        mask: Callable[[str], str] | None = None,
    ) -> None:
        self._database = Database(path, _TABLE)
        self._audit, self._mask = audit, mask

    def preview(self, feedback: Feedback) -> dict[str, Any]:
        """What would be stored, masked, to show it to the person before anything is.

        Args:
            feedback: what the person is about to send.

        Raises:
            FeedbackError: this store was opened without a mask.
        """
        if self._mask is None:
            raise FeedbackError("Feedback cannot be taken here: no rules to mask it were given.")
        mask = self._mask
        turns = [{"role": t.role, "content": mask(t.content)} for t in feedback.messages]
        texts = ("answer", "comment", "correction")
        masked = {name: mask(getattr(feedback, name).strip()) for name in texts}
        rest = {"thumb": feedback.thumb, "dangerous": feedback.dangerous}
        return {"messages": turns, **masked, **rest}

    def add(self, feedback: Feedback, request: str, adapter: str) -> tuple[dict[str, Any], str]:
        """Store feedback on the person's act; it waits until an administrator accepts it.

        Args:
            feedback: what the person sent.
            request: id of the answer's request, from the receipt.
            adapter: SHA-256 of the weights that answered, from the receipt.

        Returns:
            What was stored, and the token with which the person can delete it. The token is told
            only now; its hash is kept.

        Raises:
            FeedbackError: there is feedback on this answer already, or too much is waiting.
        """
        content, token = self.preview(feedback), secrets.token_urlsafe(32)
        made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        judged = json.dumps([content[name] for name in ("messages", "thumb", "correction")])
        row = (request, _sha256(token), adapter, made, "waiting", json.dumps(content))
        with self._database.begin() as database:
            waiting = "SELECT count(*) FROM feedback WHERE state = 'waiting'"
            if database.execute(waiting).fetchone()[0] >= MOST_WAITING:
                raise FeedbackError(
                    f"{MOST_WAITING} judgements wait to be looked at, and no more are taken: an "
                    f"administrator has to accept or reject some (`elara feedback list`)."
                )
            insert = "INSERT OR IGNORE INTO feedback VALUES (?, ?, ?, ?, ?, ?, ?)"
            if not database.execute(insert, (*row, _sha256(judged))).rowcount:
                raise FeedbackError(
                    "There is feedback on this answer already: delete it first with its token."
                )
        return content, token

    def delete(self, token: str) -> str:
        """Delete feedback, whatever its state. An adapter that learned from it stays as it is.

        Args:
            token: what `add` returned.

        Returns:
            The id of the answer's request.

        Raises:
            FeedbackError: no feedback has this token.
        """
        with self._database.begin() as database:
            row = database.execute(
                "DELETE FROM feedback WHERE token_sha256 = ? RETURNING id", (_sha256(token),)
            ).fetchone()
        self._database.purge()
        if row is None:
            raise FeedbackError("No feedback has this token: it was deleted, or is mistyped.")
        return str(row[0])

    def listed(self, state: State = "waiting") -> list[Kept]:
        """Feedback in one state, oldest first; a flood of equal judgements shows in `alike`.

        Args:
            state: `waiting`, `accepted` or `rejected`.
        """
        with self._database.begin() as database:
            rows = database.execute(
                "SELECT id, adapter, made, state, content, (SELECT count(*) - 1 FROM feedback "
                "AS other WHERE other.digest = feedback.digest) FROM feedback WHERE state = ? "
                "ORDER BY made, id",
                (state,),
            ).fetchall()
        return [
            Kept(name, adapter, made, found, json.loads(content), alike)
            for name, adapter, made, found, content, alike in rows
        ]

    def decide(self, request: str, state: Literal["accepted", "rejected"]) -> None:
        """Accept feedback for training, or reject it; the audit log says so.

        Args:
            request: its id.
            state: `accepted` or `rejected`.

        Raises:
            FeedbackError: there is no such feedback, or it is that already.
        """
        with self._database.begin() as database:
            update = "UPDATE feedback SET state = ? WHERE id = ? AND state != ?"
            if not database.execute(update, (state, request, state)).rowcount:
                raise FeedbackError(
                    f"No feedback {request!r} is left to be {state}: `elara feedback list` shows "
                    f"what there is."
                )
            self._audit({"event": f"feedback {state}", "feedback": request})

    def preferences(self) -> tuple[list[Preference], int]:
        """The accepted feedback as records that preference training reads.

        A correction makes a pair: the person's answer above the model's. A thumb alone judges the
        model's answer by itself.

        Returns:
            The records, and how many accepted ones say nothing to learn from (only a comment).
        """
        kept = self.listed("accepted")
        found = [p for p in map(_preference, kept) if p]
        return found, len(kept) - len(found)


def _preference(kept: Kept) -> Preference | None:
    told = kept.content
    prompt = [Message(**turn) for turn in told["messages"]]
    source: dict[str, Any] = {"source": "reader", "adapter": kept.adapter, "created_at": kept.made}
    name = f"feedback:{kept.id}"
    if told["correction"] and told["correction"] != told["answer"]:
        texts = {"chosen": told["correction"], "rejected": told["answer"]}
        return Preference(id=name, prompt=prompt, **texts, **source)
    if told["thumb"]:
        label: Any = "desirable" if told["thumb"] == "up" else "undesirable"
        return Preference(id=name, prompt=prompt, chosen=told["answer"], label=label, **source)
    return None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
