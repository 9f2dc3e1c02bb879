"""Make, check, rotate and revoke the API keys of the server.

A key is `elara_ID_SECRET`. The id is public and stands in logs; the secret has 256 random bits and
is shown once. Of it only the SHA-256 is kept. Slow hashes such as Argon2 make guessing a password
dear; nobody guesses 256 random bits, and a slow hash would only let strangers keep the server busy.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

Scope = Literal["chat", "metrics", "admin"]
PREFIX = "elara"


class KeysError(ValueError):
    """The file of keys cannot be used, or a key cannot be changed as asked."""


class Key(BaseModel):
    """What is kept of a key; none of it opens anything.

    Args:
        id: public part of the key, for logs.
        name: what the key is for.
        sha256: of the secret, in hexadecimal.
        scopes: what it opens; none includes another.
        created: when it was made.
        expires: from when on it opens nothing; None means never.
        revoked: when it was revoked.
        account: id of the first key of a row of rotations. Limits are counted by it, so that a new
            key brings no new budget.
        requests_per_minute: None means the server's own limit, 0 none at all.
        tokens_per_day: None means the server's own budget, 0 none at all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[0-9a-f]{8}$")
    name: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: tuple[Scope, ...] = Field(min_length=1)
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None
    account: str
    requests_per_minute: int | None = Field(default=None, ge=0, le=2**53)
    tokens_per_day: int | None = Field(default=None, ge=0, le=2**53)

    def state(self, now: datetime) -> Literal["valid", "expired", "revoked"]:
        """Whether the key opens anything at a time."""
        if self.revoked:
            return "revoked"
        return "expired" if self.expires and self.expires <= now else "valid"


_KEYS = TypeAdapter(list[Key])


def _utc() -> datetime:
    return datetime.now(UTC)


class KeyFile:
    """The keys in a JSON file that only its owner may read.

    Args:
        path: the file; it is made with the first key.
        now: the time, with its zone.
        audit: called with each change before it takes effect; where it raises, nothing changes.
            By default nothing is recorded.
    """

    def __init__(
        self,
        path: Path,
        now: Callable[[], datetime] = _utc,
        audit: Callable[[dict[str, Any]], None] = lambda event: None,
    ) -> None:
        self.path, self.now, self._audit = path, now, audit
        self._seen: tuple[int, ...] = ()
        self._keys: dict[str, Key] = {}

    def listed(self) -> list[Key]:
        """Every key, in the order of making; read again when the file was replaced.

        Raises:
            KeysError: the file cannot be read, or others may read it.
        """
        return list(self._read().values())

    def find(self, token: str) -> Key | None:
        """The valid key that a caller's token is, or None. Changes of the file count at once.

        Args:
            token: what the caller sent.

        Raises:
            KeysError: see `listed`.
        """
        prefix, _, rest = token.partition("_")
        identity, _, secret = rest.partition("_")
        key = self._read().get(identity)
        # Ids are public, so it may show in the time whether one exists; the secret's hash may not.
        if prefix != PREFIX or key is None or not hmac.compare_digest(_sha256(secret), key.sha256):
            return None
        return key if key.state(self.now()) == "valid" else None

    def add(
        self,
        name: str,
        scopes: Sequence[str],
        *,
        days: float | None = None,
        requests_per_minute: int | None = None,
        tokens_per_day: int | None = None,
    ) -> tuple[Key, str]:
        """Make a key.

        Args:
            name: what it is for.
            scopes: what it opens.
            days: how long it is valid; None means without end.
            requests_per_minute: see `Key`.
            tokens_per_day: see `Key`.

        Returns:
            What is kept of it, and the key itself, which nothing can show again.

        Raises:
            KeysError: a value does not fit, or see `listed`.
        """
        if not name.strip() or not name.isprintable():  # it would look like more than one in a list
            raise KeysError(f"A key cannot be named {name!r}: say in one line what it is for.")
        expires = None if days is None else _after(self.now(), days)
        if expires and expires <= self.now():
            raise KeysError(f"A key cannot be valid for {days:g} days: give a number above 0.")
        with self._changing() as keys:
            made = self._make(
                keys,
                name=name,
                scopes=tuple(dict.fromkeys(scopes)),
                expires=expires,
                requests_per_minute=requests_per_minute,
                tokens_per_day=tokens_per_day,
            )
            self._audit(_told("key made", made[0]))
        return made

    def rotate(self, identity: str, overlap_hours: float = 24.0) -> tuple[Key, str]:
        """Make a key that takes the place of another: same name, scopes, limits, and lifetime.

        Args:
            identity: the old key's id.
            overlap_hours: how long the old key stays valid, at most as long as it was to be.

        Returns:
            As `add`.

        Raises:
            KeysError: there is no such key, it opens nothing any more, or see `listed`.
        """
        if overlap_hours < 0:
            raise KeysError(f"The old key cannot stay for {overlap_hours:g} hours: give 0 or more.")
        now = self.now()
        with self._changing() as keys:
            old = _named(keys, identity, self.path)
            if old.state(now) != "valid":
                raise KeysError(
                    f"Key {identity} is {old.state(now)}, so nothing can take its place: make one "
                    f"with `elara keys add`."
                )
            until = _after(now, overlap_hours / 24)
            ends = min(until, old.expires) if old.expires else until
            keys[identity] = old.model_copy(update={"expires": ends})
            same = old.model_dump(exclude={"id", "sha256", "created", "expires"})
            expires = now + (old.expires - old.created) if old.expires else None
            made = self._make(keys, expires=expires, **same)
            old_ends = {"old": identity, "old_expires": ends.isoformat(timespec="seconds")}
            self._audit(_told("key rotated", made[0]) | old_ends)
        return made

    def revoke(self, identity: str) -> Key:
        """Make a key open nothing from now on.

        Args:
            identity: its id.

        Raises:
            KeysError: there is no such key, or see `listed`.
        """
        with self._changing() as keys:
            key = _named(keys, identity, self.path)
            if not key.revoked:
                keys[identity] = key.model_copy(update={"revoked": self.now()})
                self._audit(_told("key revoked", key))
            return keys[identity]

    def _make(self, keys: dict[str, Key], **fields: Any) -> tuple[Key, str]:
        secret = secrets.token_urlsafe(32)
        identity = next(i for i in iter(lambda: secrets.token_hex(4), "") if i not in keys)
        own: dict[str, Any] = {"id": identity, "account": identity, "created": self.now()}
        try:
            key = Key(sha256=_sha256(secret), **(own | fields))
        except ValidationError as error:
            first = error.errors()[0]
            raise KeysError(f"{first['loc'][0]} is {first['input']!r}: {first['msg']}.") from None
        keys[identity] = key
        return key, f"{PREFIX}_{identity}_{secret}"

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Key]]:
        """The keys, to be changed by one program at a time and written at the end."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise KeysError(
                f"No keys can be kept in {self.path} ({error.strerror}): name a file in a folder "
                f"that you may write."
            ) from None
        with FileLock(f"{self.path}.lock"):
            keys = dict(self._read())
            yield keys
            # As a new file that takes the old one's place: a reader never sees half of it.
            # mkstemp makes it with mode 0600.
            handle, draft = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
            with os.fdopen(handle, "wb") as file:
                file.write(_KEYS.dump_json(list(keys.values()), indent=1))
                file.flush()
                os.fsync(file.fileno())
            Path(draft).replace(self.path)

    def _read(self) -> dict[str, Key]:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return {}
        seen = (found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode)
        if seen == self._seen:
            return self._keys
        if os.name == "posix" and found.st_mode & 0o077:
            raise KeysError(
                f"{self.path} can be read or changed by others (mode "
                f"{stat.S_IMODE(found.st_mode):o}): run `chmod 600 {self.path}`, and if others use "
                f"this computer, rotate the keys."
            )
        try:
            keys = {key.id: key for key in _KEYS.validate_json(self.path.read_bytes())}
        except (OSError, ValidationError) as error:
            why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
            raise KeysError(
                f"{self.path} cannot be read as a file of keys ({why}): restore it from a copy, or "
                f"move it away and make new keys with `elara keys add`."
            ) from None
        self._seen, self._keys = seen, keys
        return keys


def default_file(environ: Mapping[str, str]) -> Path | None:
    """Where keys are kept unless a setting says otherwise; outside workspaces, which get copied.

    Args:
        environ: the environment.

    Returns:
        `elara/keys.json` in the folder for configuration; None where there is no such folder.

    Source: https://specifications.freedesktop.org/basedir-spec/latest/
    """
    home = environ.get("HOME") or environ.get("USERPROFILE")
    folder = environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
    return Path(folder, "elara", "keys.json") if folder else None


def _after(now: datetime, days: float) -> datetime:
    try:
        return now + timedelta(days=days)
    except (OverflowError, ValueError):
        raise KeysError(f"No calendar goes {days:g} days on: give a smaller number.") from None


def _told(act: str, key: Key) -> dict[str, Any]:
    """An act for the audit log: nothing of it opens anything, or says what the key is for."""
    expires = key.expires.isoformat(timespec="seconds") if key.expires else "never"
    return {"event": act, "key": key.id, "scopes": "+".join(key.scopes), "expires": expires}


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _named(keys: Mapping[str, Key], identity: str, path: Path) -> Key:
    if identity not in keys:
        raise KeysError(f"There is no key {identity!r} in {path}: `elara keys list` names them.")
    return keys[identity]
