"""Read which OpenAI-compatible servers answer for Elara, from a line of text or a YAML file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from elara.serve.config import SettingsError, loopback

_EXAMPLE = "http://127.0.0.1:8080 model=elara"


class Upstream(BaseModel):
    """One OpenAI-compatible server; immutable.

    Args:
        url: its address, such as `http://127.0.0.1:8080`; a final `/v1` may be left out.
        model: the model's name there; for an adapter on its base model, the adapter's.
        key_variable: the environment variable with the key, which is not kept; "" sends none.
        images: whether its model reads pictures; no other is asked about any.
        weight: how many answers at once it takes for each one of an upstream with weight 1.
        connect_seconds: for a connection, and for a whole health check.
        first_text_seconds: from the question to the first text.
        gap_seconds: from one text to the next.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    model: str = Field(min_length=1, max_length=200)
    key_variable: str = ""
    images: bool = False
    weight: float = Field(default=1.0, gt=0, le=1000)
    connect_seconds: float = Field(default=5.0, gt=0, le=600)
    first_text_seconds: float = Field(default=60.0, gt=0, le=3600)
    gap_seconds: float = Field(default=20.0, gt=0, le=3600)

    @field_validator("url")
    @classmethod
    def _plain_address(cls, url: str) -> str:
        wrong = f"must be a plain address such as {_EXAMPLE.split()[0]}"
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            raise ValueError(wrong) from None
        if "@" in parts.netloc:
            raise ValueError(f"{wrong}, without a name or password: name a key's variable instead")
        if not usable or "?" in url or "#" in url or not url.isascii() or len(url.split()) != 1:
            raise ValueError(wrong)
        return url.rstrip("/").removesuffix("/v1").rstrip("/")

    @model_validator(mode="after")
    def _key_stays_secret(self) -> Upstream:
        if self.key_variable and self.url.startswith("http:") and not self.local:
            raise ValueError("http:// would show the key on its way: use https://")
        return self

    @property
    def local(self) -> bool:
        """Whether it runs on this computer: what goes there does not travel."""
        return loopback(urlsplit(self.url).hostname or "")

    def headers(self, environ: Mapping[str, str] | None = None) -> dict[str, str]:
        """The headers that carry the key; none where no variable is named.

        Args:
            environ: the environment; None means this process's.

        Raises:
            SettingsError: the variable is not set, or holds what no header can carry.
        """
        if not self.key_variable:
            return {}
        key = (os.environ if environ is None else environ).get(self.key_variable, "").strip()
        if not key or not key.isascii() or not key.isprintable():
            raise SettingsError(
                f"The environment variable {self.key_variable} has no usable key for {self.url}: "
                f"set it, or take key_variable out of the upstream's description."
            )
        return {"Authorization": f"Bearer {key}"}


def read_upstreams(
    description: str, environ: Mapping[str, str] | None = None
) -> tuple[Upstream, ...]:
    """The upstreams that a description names, checked.

    Args:
        description: either a YAML file (its name ends in `.yaml` or `.yml`) with a list under
            `upstreams`, or each upstream's address followed by `name=value` pairs, with a
            semicolon between two upstreams. The names are those of `Upstream`.
        environ: where the keys are looked up; None means this process's environment.

    Raises:
        SettingsError: something in it cannot be used. The message says which upstream and what,
            and repeats no address, which could hold a password.
    """
    text = description.strip()
    if text.endswith((".yaml", ".yml")):
        place, entries = text, _from_file(Path(text))
    else:
        place, entries = "upstreams", [_from_words(w) for w in text.split(";") if w.strip()]
    if not entries:
        raise SettingsError(f"{place}: no upstream is named: write one, such as `{_EXAMPLE}`.")
    found = tuple(_checked(f"{place}, number {n}", e) for n, e in enumerate(entries, 1))
    for number, upstream in enumerate(found, 1):
        upstream.headers(environ)
        if any((u.url, u.model) == (upstream.url, upstream.model) for u in found[: number - 1]):
            raise SettingsError(
                f"{place}, number {number}: {upstream.url} with this model is there twice: give "
                f"it once, with a larger weight."
            )
    return found


def _checked(where: str, entry: Any) -> Upstream:
    try:
        return Upstream.model_validate(entry)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise SettingsError(
            f"{where}: {f'{name}: ' if name else ''}{said}. A complete one is `{_EXAMPLE}`."
        ) from None


def _from_words(words: str) -> dict[str, str]:
    url, *settings = words.split()
    entry = {"url": url}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or name in entry:
            raise SettingsError(
                f"upstreams: an address is followed by name=value pairs, each name once, as in "
                f"`{_EXAMPLE}`; between two upstreams stands a semicolon."
            )
        entry[name] = value
    return entry


def _from_file(path: Path) -> list[Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read ({type(error).__name__}).") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        raise SettingsError(f"{path} is not valid YAML{line}: correct it there.") from None
    entries = content.get("upstreams") if isinstance(content, dict) else None
    if not isinstance(entries, list) or len(content) != 1:
        raise SettingsError(
            f"{path}: write one list with the name `upstreams`, and in it a url and a model for "
            f"each, as book/upstreams.md shows."
        )
    return entries
