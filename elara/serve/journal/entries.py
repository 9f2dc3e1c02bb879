"""Define what is recorded, the one form it is written in, and the keyed hash of a text."""

from __future__ import annotations

import getpass
import hmac
import json
import os
import secrets
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

Outcome = Literal["answered", "cancelled", "refused", "failed"]
What = Literal[
    "swap",
    "override",
    "key-made",
    "key-rotated",
    "key-revoked",
    "ab-start",
    "ab-stop",
    "ab-promote",
    "ab-rollback",
    "feedback-accepted",
    "feedback-rejected",
    "probe",
]
SECRET_BYTES = 32  # as long as the hash: more would not be safer, see RFC 2104, section 3


class JournalError(RuntimeError):
    """The audit log cannot be written or read; the message says which file and what to do."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a request ended. Made by `Accepted.ended`, so that the two records belong together.

    Args:
        entry: joins it to its `Accepted`.
        request: id of the request.
        outcome: whether the whole answer left, or what came between.
        tokens_in: tokens read.
        tokens_out: tokens written, also those of an answer that broke off.
        milliseconds: from the request's arrival to its end.
    """

    kind: ClassVar[str] = "ended"
    entry: str
    request: str
    outcome: Outcome
    tokens_in: int
    tokens_out: int
    milliseconds: int


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A request that the server is about to answer; the text of it only when that was asked for.

    Args:
        request: its id. A caller may choose it, so it need not be unique; `entry` is.
        key: id of the API key, not the key; "" where none is needed.
        adapter: SHA-256 of the adapter's weights; `base of` it where the adapter was switched off;
            "" in simulation.
        template: version of the prompt and chat template.
        retrieval: version of the retrieval; "" while answers come without sources.
        arm: arm of a running A/B experiment, or `base` for the base model; "" without.
        text_hmac: see `keyed_hash`.
        text: the text without personal data, where a setting asks for it; "" otherwise.
        entry: made here; joins the two records of a request.
    """

    kind: ClassVar[str] = "accepted"
    request: str
    key: str
    adapter: str
    template: str
    retrieval: str = ""
    arm: str = ""
    text_hmac: str = ""
    text: str = ""
    entry: str = field(default_factory=lambda: secrets.token_hex(8))

    def ended(
        self, outcome: Outcome, *, tokens_in: int = 0, tokens_out: int = 0, milliseconds: int
    ) -> Ended:
        """The second record of this request; see `Ended` for the arguments."""
        return Ended(
            entry=self.entry,
            request=self.request,
            outcome=outcome,
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            milliseconds=milliseconds,
        )


@dataclass(frozen=True, kw_only=True)
class Event:
    """An act of administration, or one of the server's own.

    Args:
        what: which kind of act.
        by: id of the API key used, the name of the account at the command line, or `server`.
        details: names and values, such as the hash of the new adapter or the reason given.
    """

    kind: ClassVar[str] = "event"
    what: What
    by: str
    details: Mapping[str, str] = field(default_factory=dict)


Record = Accepted | Ended | Event

# Only ASCII leaves it, so that no text, however odd, has two forms or none.
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode


def canonical(values: Mapping[str, object]) -> str:
    """The one form of some values: JSON in ASCII, keys sorted, no spaces.

    Args:
        values: strings, whole numbers and such mappings.

    Raises:
        TypeError: a value has no form in JSON.
    """
    return _encode(values)


def body_of(record: Record) -> str:
    """A record as it is stored, with its kind and the time in UTC."""
    return _encode({"kind": record.kind, "time": utc_now(), **vars(record)})


def utc_now() -> str:
    """The time in UTC, to the millisecond, as ISO 8601 writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def account() -> str:
    """The name of the account that acts here, or its number where it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # as in a container
        return f"uid {os.getuid()}"


def keyed_hash(secret: bytes, messages: Sequence[Mapping[str, Any]]) -> str:
    """HMAC-SHA256 of a conversation: equal requests can be found, no text can be guessed from it.

    A plain hash would not do: whoever has the log could hash likely questions and compare.

    Args:
        secret: from `read_secret`.
        messages: role and content of each turn; of a picture only its hash.

    Returns:
        64 hexadecimal digits.

    Source: https://www.rfc-editor.org/rfc/rfc2104
    """
    turns = [[turn["role"], turn["content"]] for turn in messages]
    return hmac.digest(secret, _encode(turns).encode(), "sha256").hex()


def read_secret(path: Path) -> bytes:
    """The key of `keyed_hash`.

    Args:
        path: a file that only its owner can read, from `elara journal text-key`.

    Raises:
        JournalError: it cannot be read, others can read it, or it is too short.
    """
    found = read_private(path, "elara journal text-key")
    if len(found) < SECRET_BYTES:
        raise JournalError(
            f"{path} holds {len(found)} bytes; the key of the keyed hash needs {SECRET_BYTES}. "
            f"Make one with `elara journal text-key {path}.new`."
        )
    return found


def make_secret(path: Path) -> None:
    """Make a key for `keyed_hash`.

    Args:
        path: its file; only its owner will be able to read it.

    Raises:
        JournalError: it exists already, or the folder cannot be written.
    """
    if not put_in_place(path, secrets.token_bytes(SECRET_BYTES)):
        raise JournalError(f"{path} exists already and is kept: name another file.")


def read_private(path: Path, command: str) -> bytes:
    """The bytes of a file that nobody but its owner may read.

    Args:
        path: the file.
        command: what makes such a file.

    Raises:
        JournalError: it cannot be read, or others can read it.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read()
    except OSError as error:
        raise JournalError(
            f"{path} cannot be read ({error.strerror}). Make one with `{command} {path}`."
        ) from None
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise JournalError(f"Others may read the key in {path}: type `chmod 600 {path}`.")
    return content


def put_in_place(path: Path, content: bytes, mode: int = 0o600) -> bool:
    """Make a file, whole from the first moment and with its rights; keep one that is there.

    Args:
        path: the file.
        content: what it will hold.
        mode: its rights.

    Returns:
        Whether it was made here.

    Raises:
        JournalError: the folder cannot be written.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        draft.touch(mode=mode, exist_ok=False)
        try:
            with draft.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)  # unlike a rename, it never replaces what another process made
        finally:
            draft.unlink()
    except FileExistsError:
        return False
    except OSError as error:
        raise JournalError(
            f"{path} cannot be made ({error.strerror}): name a file in a folder that you may "
            "write, on a disk of this computer."
        ) from None
    return True
