"""Sign the end of the chain every second, with a key that the server cannot read.

A chain alone can be computed anew from any record on, and its tail can be cut off. A checkpoint
says, with an Ed25519 signature: at this time, record number so-and-so had this hash. Checkpoints
are lines of a file beside the database; copies of that file kept elsewhere show what was cut.

The signer follows the chain from its last checkpoint and signs nothing that contradicts it.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from elara.serve.journal.chain import START, Row, next_hash, reading, rows
from elara.serve.journal.entries import (
    JournalError,
    canonical,
    put_in_place,
    read_private,
    utc_now,
)

log = logging.getLogger("elara.serve")

EVERY = 1.0  # seconds between checkpoints: the last second of records is not protected yet
_PURPOSE = b"elara audit checkpoint 1\n"  # a signature made for something else never fits
_LAST = 1000  # bytes at the end of the file that surely hold the last checkpoint
_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)


class ChainBroken(JournalError):
    """The log contradicts what was signed, or itself; nothing more is signed."""


@dataclass(frozen=True)
class Checkpoint:
    """What a signer saw.

    Args:
        sequence: number of the last record.
        hash: its hash, hexadecimal.
        time: when, UTC.
        signature: Ed25519 over the other three in canonical form, base64.
    """

    sequence: int
    hash: str
    time: str
    signature: str = ""

    def message(self) -> bytes:
        """The bytes that are signed."""
        values = {"sequence": self.sequence, "hash": self.hash, "time": self.time}
        return _PURPOSE + canonical(values).encode()

    def signed_by(self, keys: Iterable[Ed25519PublicKey]) -> bool:
        """Whether one of these keys signed it.

        Args:
            keys: from `read_public`.

        Source: https://www.rfc-editor.org/rfc/rfc8032
        """
        for key in keys:
            try:
                key.verify(base64.b64decode(self.signature), self.message())
            except (InvalidSignature, ValueError):
                continue
            return True
        return False


def checkpoints_of(path: Path) -> Path:
    """Where the checkpoints of a log lie by default: beside it, with `.checkpoints` added."""
    return path.with_name(f"{path.name}.checkpoints")


def make_key(path: Path) -> Path:
    """Make a signing key, and its public key beside it.

    Args:
        path: the private key's file; only its owner will be able to read it.

    Returns:
        The public key's file: `path` with `.pub` added.

    Raises:
        JournalError: one of them exists already, or the folder cannot be written.
    """
    public = path.with_name(f"{path.name}.pub")
    key = Ed25519PrivateKey.generate()
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    known = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    if not (put_in_place(path, private) and put_in_place(public, known, 0o644)):
        raise JournalError(f"{path} or {public} exists already and is kept: name another file.")
    return public


def read_key(path: Path) -> Ed25519PrivateKey:
    """The signing key.

    Args:
        path: a file that only its owner can read, from `elara journal signing-key`.

    Raises:
        JournalError: it cannot be read, others can read it, or it holds no Ed25519 key.
    """
    content = read_private(path, "elara journal signing-key")
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise JournalError(
            f"{path} holds no Ed25519 private key without a passphrase. Make one with "
            f"`elara journal signing-key {path}.new`."
        )
    return key


def read_public(path: Path) -> list[Ed25519PublicKey]:
    """The public keys in a file: more than one after the signer was given a new key.

    Args:
        path: one or more keys in PEM form, one after the other.

    Raises:
        JournalError: it cannot be read or holds no such key.
    """
    try:
        found = [serialization.load_pem_public_key(pem) for pem in _PEM.findall(path.read_bytes())]
    except OSError as error:
        raise JournalError(f"The public key {path} cannot be read ({error.strerror}).") from None
    except ValueError:
        found = []
    keys = [key for key in found if isinstance(key, Ed25519PublicKey)]
    if not keys or len(keys) < len(found):
        raise JournalError(
            f"{path} holds no Ed25519 public key, or others beside it: name the .pub file that "
            "`elara journal signing-key` made."
        )
    return keys


def parse(line: bytes) -> Checkpoint | None:
    """The checkpoint in a line, None if there is none.

    Args:
        line: of a file of checkpoints.
    """
    try:
        found = Checkpoint(**json.loads(line))
    except (ValueError, TypeError, RecursionError):
        return None
    given = tuple(type(value) for value in asdict(found).values())
    return found if given == (int, str, str, str) and found.sequence > 0 else None


def follow(found: Iterable[Row], sequence: int, last: bytes) -> Iterator[Row]:
    """Records as long as each fits the one before it.

    Args:
        found: what follows a record.
        sequence: number of that record.
        last: its hash.

    Raises:
        ChainBroken: one does not fit.
    """
    for row in found:
        fits = row.sequence == sequence + 1 and row.hash == next_hash(last, row.body)
        if not fits:
            raise ChainBroken(
                f"Record {row.sequence} does not fit record {sequence}: nothing is signed from "
                "there on. Run `elara verify --audit` on the log and find out who changed it."
            )
        yield row
        sequence, last = row.sequence, row.hash


class Signer:
    """Signs one log.

    Args:
        path: the database, which it only reads.
        key: the private key's file.
        to: file of the checkpoints; None means beside the database.

    Raises:
        JournalError: a file cannot be used.
    """

    def __init__(self, path: Path, key: Path, to: Path | None = None) -> None:
        self.path, self.to = path, to or checkpoints_of(path)
        self._key = read_key(key)
        self._last = self._resume()

    def _resume(self) -> Checkpoint | None:
        """The last checkpoint; half a line, left by a crash, is cut off."""
        try:
            with self.to.open("r+b") as file:
                before = max(0, file.seek(0, os.SEEK_END) - _LAST)
                file.seek(before)
                whole, line_end, _ = file.read().rpartition(b"\n")
                file.truncate(before + len(whole + line_end))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise JournalError(
                f"{self.to} cannot be written ({error.strerror}): name a file that the signing "
                "user may write with --checkpoints."
            ) from None
        lines = whole.split(b"\n") if whole else []
        last = parse(lines[-1]) if lines else None
        if lines and (last is None or not last.signed_by([self._key.public_key()])):
            log.warning("%s: its last line was not signed by this key", self.to)
        return last

    def sign(self) -> Checkpoint | None:
        """Sign the end of the chain if it has grown.

        Returns:
            The new checkpoint, None if there was nothing to sign.

        Raises:
            ChainBroken: the log contradicts the last checkpoint, or itself.
            JournalError: a file cannot be read or written. Trying again later may help.
        """
        end = self._end()
        if end is None:
            return None
        draft = Checkpoint(end.sequence, end.hash.hex(), utc_now())
        signature = base64.b64encode(self._key.sign(draft.message())).decode()
        signed = Checkpoint(draft.sequence, draft.hash, draft.time, signature)
        self._store(canonical(asdict(signed)))
        self._last = signed
        return signed

    def _end(self) -> Row | None:
        sequence = self._last.sequence if self._last else 0
        try:
            with reading(self.path) as connection:
                found = rows(connection, sequence)
                last = START
                if self._last:
                    first = next(found, None)
                    if first is None or first.hash.hex() != self._last.hash:
                        raise ChainBroken(
                            f"{self.path} no longer holds record {sequence} as it was signed at "
                            f"{self._last.time}: nothing more is signed. Run `elara verify "
                            f"--audit {self.path}` and find out who changed it."
                        )
                    last = first.hash
                end = None
                for end in follow(found, sequence, last):  # noqa: B007 - only the last one counts
                    pass
                return end
        except sqlite3.Error as error:
            raise JournalError(f"{self.path} cannot be read ({error}).") from None

    def _store(self, line: str) -> None:
        try:
            with self.to.open("ab") as file:
                file.write(f"{line}\n".encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise JournalError(
                f"{self.to} cannot be written ({error.strerror}): the log is not protected from "
                "now on. Free some space, or name a file that you may write with --checkpoints."
            ) from None

    def run(
        self,
        stop: threading.Event,
        every: float = EVERY,
        report: Callable[[str], object] = log.warning,
    ) -> None:
        """Sign again and again, and once more at the end.

        Args:
            stop: set it to end.
            every: seconds between two looks at the log.
            report: is told what went wrong, once as long as it lasts, and when it is over.

        Raises:
            ChainBroken: see `sign`. Whatever else goes wrong is tried again.
        """
        told, going = "", True
        while going:
            going = not stop.wait(every)
            try:
                self.sign()
                trouble = ""
            except ChainBroken:
                raise
            except JournalError as error:
                trouble = str(error)
            if trouble != told:
                report(trouble or "The audit log is signed again.")
                told = trouble


@contextmanager
def signing(path: Path, key: Path, every: float = EVERY) -> Iterator[None]:
    """Sign a log in a thread of this process: for one person's laptop.

    Whoever can act as the server can then sign as well, so this shows accidents and changes by
    others, but not what the server's own user did.

    Args:
        path: the database.
        key: the private key's file.
        every: seconds between two looks at the log.

    Raises:
        JournalError: a file cannot be used.
    """
    signer, stop = Signer(path, key), threading.Event()

    def work() -> None:
        try:
            signer.run(stop, every)
        except ChainBroken as error:
            log.critical("%s", error)

    thread = threading.Thread(target=work, name="elara-signer", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
