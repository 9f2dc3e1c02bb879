"""Read the server's settings from the environment, and check the files that they name."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from elara.serve.images import MOST
from elara.serve.keys import default_file
from elara.serve.logs import LogFormat
from elara.workspace import MANIFEST, Workspace

PREFIX = "ELARA_SERVE_"
EMERGENCY = (
    "In an emergency, do not ask here: call your local emergency number at once, such as "
    "112 (EU), 911 (US and Canada) or 999 (UK)."
)
AUDIT_LOG = "audit.sqlite"
PICTURES_AT = "/v1/chat/completions"
_ORIGIN = r"[\w+.-]+://[^/*@?#;,\s]+"
# Separated by commas.
_LISTS = {"cors_origins", "gate", "allowed_hosts", "trusted_proxies", "frame_ancestors"}


class SettingsError(ValueError):
    """A setting cannot be used; the message names its environment variable."""


class Settings(BaseModel):
    """Everything that changes how the server behaves; immutable.

    Args:
        adapter: folder of the trained adapter; None means simulation mode.
        adapters: folder of all adapters that may be served; None means where `adapter` lies.
        verdict: `verdict.json` of the evaluation of that adapter, if there is one.
        host: address to listen on. The default is reachable from this computer only.
        port: TCP port, 1 to 65535.
        cors_origins: origins whose pages a browser may let talk to this server.
        max_new_tokens: most tokens of an answer; a request may ask for fewer.
        temperature: 0 always takes the likeliest token; a request may name its own.
        batch_size: most chats that the model answers together.
        queue_limit: most chats that wait for it; others are told to ask again later.
        workers: processes that answer; more than one only where the model is elsewhere, or in a
            simulation.
        answer_seconds: longest time from a question to the end of its answer, in seconds; a client
            that takes nothing of it for as long loses its connection.
        stop_seconds: how long answers under way may last when the server stops, in seconds.
        cached_answers: whole answers that are remembered, of temperature 0 only; 0: none.
        upstreams: servers elsewhere that answer instead of an adapter here: see `read_upstreams`.
        gate: files from the release gate (`gate.json`); the one about an adapter counts for it.
        override: why an adapter that the gate blocks is served all the same.
        probe_hours: hours between two probes of what serves (see `elara.serve.probe`); 0: none, so
            that the model of a person's own computer works only when it is asked.
        audit_log: file of the audit log; None: no log is kept.
        text_key: key of the keyed hash that stands for a question in the audit log; None: one
            beside the log, which is made when it is missing.
        audit_text: whether the audit log also keeps the question, without personal data.
        signing_key: signs the audit log in this process; for one person's computer only.
        serving: folder for experiments and feedback; None: there are none.
        retrieval: folder of the index in which sources are searched; None: there is none. One with
            texts that must not be passed on is for this computer and models on it only.
        sources: passages that an answer is given; 0: answers have no sources.
        keys: file of API keys, from `elara keys add`. None: no keys are asked for, and the server
            is for programs of this computer only.
        allowed_hosts: names by which callers may call this server, as NAME or NAME:PORT, besides
            this computer's own (localhost, 127.0.0.1, [::1], and `host`) with the port.
        frame_ancestors: origins whose pages may show the page at /app in a frame.
        trusted_proxies: networks whose X-Forwarded-For and X-Forwarded-Proto are believed.
        tls_cert: certificate chain as PEM, to encrypt without a proxy.
        tls_key: its private key as PEM.
        images: whether questions at `/v1` may have pictures, where the model reads them.
        max_image_bytes: longest file of a picture; the default is 4 MiB.
        max_image_pixels: largest picture, width times height.
        max_body_bytes: longest request without pictures; the default is 256 KiB.
        max_header_bytes: names and values of all headers of a request together.
        body_seconds: how long a request may take to arrive; its head may take as long once more.
        requests_per_minute: for each key that has no limit of its own; 0: no limit.
        tokens_per_day: budget (read and written) of each key that has none of its own; 0: none.
        log_format: `text`, or `json` for an object on each line.
        traces: address of a collector for OTLP over HTTP; "": no traces are made.
        emergency: what the page tells people to do in an emergency, in one line of plain text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    adapter: Path | None = None
    adapters: Path | None = None
    verdict: Path | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    # Where the development server of a front end made with Vite listens.
    cors_origins: tuple[str, ...] = ("http://localhost:5173", "http://127.0.0.1:5173")
    max_new_tokens: int = Field(default=256, ge=1, le=2048)
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    batch_size: int = Field(default=8, ge=1, le=256)
    queue_limit: int = Field(default=32, ge=1)
    workers: int = Field(default=1, ge=1, le=64)
    answer_seconds: float = Field(default=300.0, gt=0.0, allow_inf_nan=False)
    stop_seconds: float = Field(default=15.0, gt=0.0, allow_inf_nan=False)
    cached_answers: int = Field(default=256, ge=0)
    upstreams: str = ""
    gate: tuple[Path, ...] = ()
    override: str = ""
    probe_hours: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    audit_log: Path | None = None
    text_key: Path | None = None
    audit_text: bool = False
    signing_key: Path | None = None
    serving: Path | None = None
    retrieval: Path | None = None
    sources: int = Field(default=3, ge=0, le=10)
    keys: Path | None = None
    allowed_hosts: tuple[str, ...] = ()
    frame_ancestors: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    images: bool = False
    max_image_bytes: int = Field(default=4 * 1024 * 1024, ge=1024)
    max_image_pixels: int = Field(default=4_000_000, ge=1)
    max_body_bytes: int = Field(default=256 * 1024, ge=1024)
    max_header_bytes: int = Field(default=16 * 1024, ge=1024)
    body_seconds: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    requests_per_minute: int = Field(default=60, ge=0)
    tokens_per_day: int = Field(default=200_000, ge=0)
    log_format: LogFormat = "text"
    traces: str = ""
    emergency: str = Field(default=EMERGENCY, max_length=300)

    def longest_body(self, path: str) -> int:
        """Most bytes of a request to an address.

        Args:
            path: of the request; pictures are taken at one only.
        """
        if not self.images or path != PICTURES_AT:
            return self.max_body_bytes
        return self.max_body_bytes + MOST * (self.max_image_bytes * 4 // 3 + 4)  # as base64

    @field_validator("allowed_hosts")
    @classmethod
    def _one_form(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        if any("/" in host or "*" in host for host in hosts):
            raise ValueError("write NAME or NAME:PORT, without scheme, path or *")
        return tuple(host.lower() for host in hosts)

    @field_validator("cors_origins")
    @classmethod
    def _as_browsers_send_them(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        # One of another form would match nothing; and with `*` any page could read what it gets.
        if not all(re.fullmatch(_ORIGIN, origin) for origin in origins):
            raise ValueError("write origins as http://NAME or http://NAME:PORT, without path or *")
        return tuple(origin.lower() for origin in origins)

    @field_validator("frame_ancestors")
    @classmethod
    def _as_policies_say_them(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        # JupyterLab takes another port when its own is taken, so of this computer any may be named.
        whole = [re.sub(r"(//(?:localhost|127\.0\.0\.1)):\*$", r"\1", origin) for origin in origins]
        cls._as_browsers_send_them(tuple(whole))
        return tuple(origin.lower() for origin in origins)

    @field_validator("emergency")
    @classmethod
    def _one_line(cls, text: str) -> str:
        if not text.strip() or not text.isprintable():
            raise ValueError("write one line of plain text: whom to call in an emergency")
        return text.strip()

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in map(ipaddress.ip_network, networks):  # its error names the network
            if network.prefixlen == 0:
                raise ValueError(f"{network} is everybody: name the proxy's own network")
        return networks

    @model_validator(mode="after")
    def _both_or_none(self) -> Settings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together: give both or none")
        if self.adapter and self.upstreams:
            raise ValueError("adapter and upstreams exclude each other: give one of them")
        if self.workers > 1 and (self.adapter or self.serving):
            raise ValueError(
                "workers: each would load a model of its own, and experiments and feedback are "
                "about such models; take 1, or name servers elsewhere in upstreams"
            )
        if self.workers > 1 and self.probe_hours and not self.audit_log:
            raise ValueError("probe_hours with several workers needs audit_log: one of them asks")
        if self.serving and not self.audit_log:
            raise ValueError("serving needs audit_log, since each act of it has to be recorded")
        if self.override and not self.audit_log:
            raise ValueError("override needs audit_log, since what it allows has to be recorded")
        for name in ("text_key", "audit_text", "signing_key"):
            if getattr(self, name) and not self.audit_log:
                raise ValueError(f"{name} is about a log: name the log in audit_log, too")
        if self.traces and not _is_plain(self.traces):
            raise ValueError(  # which does not quote it: there may be a key in it
                "ELARA_SERVE_TRACES must be a plain address such as http://127.0.0.1:4318; a key "
                "for it belongs into OTEL_EXPORTER_OTLP_HEADERS"
            )
        return self

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] | None = None, *, workspace: str = "", **given: Any
    ) -> Settings:
        """Settings from `ELARA_SERVE_ADAPTER`, `ELARA_SERVE_PORT` and so on, one per field.

        Without `ELARA_SERVE_ADAPTER` the adapter and the verdict are those of the workspace, as
        far as its stages have finished.

        Args:
            environ: the environment; None means this process's.
            workspace: the workspace's folder; "" means the default one.
            given: fields that a command line sets; they win over the environment. None counts
                as not given.

        Raises:
            SettingsError: a value does not fit; the message names the variable.
        """
        environ = os.environ if environ is None else environ
        names = {name: PREFIX + name.upper() for name in cls.model_fields}
        values: dict[str, Any] = {n: environ[v] for n, v in names.items() if environ.get(v)}
        for name in _LISTS & values.keys():
            values[name] = [v.strip() for v in values[name].split(",") if v.strip()]
        values |= {name: value for name, value in given.items() if value is not None}
        if "adapter" not in values:
            found = _of_workspace(Workspace(workspace))
            if values.get("upstreams"):  # they answer instead of the workspace's adapter
                found["adapter"] = None
                if str(values.get("workers", 1)) != "1":
                    found["serving"] = None  # which is about adapters here
            values = found | values
        if "keys" in values:
            _must_exist(Path(values["keys"]))
        elif (file := default_file(environ)) and file.exists():
            values["keys"] = file
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            if not first["loc"]:
                raise SettingsError(f"{first['msg'].removeprefix('Value error, ')}.") from None
            name = str(first["loc"][0])
            raise SettingsError(
                f"{names.get(name, name)} is {first['input']!r}: "
                f"{first['msg'].removeprefix('Value error, ')}."
            ) from None


def _is_plain(address: str) -> bool:
    """Whether an address is one of HTTP, and nothing in it could be a key or would be ignored."""
    try:
        parts = urlsplit(address)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # brackets that stay open, or a port that is no port
        return False
    return bool(known) and not re.search(r"[@?#\s]", address)


def _must_exist(keys: Path) -> None:
    if not keys.exists():
        raise SettingsError(
            f"ELARA_SERVE_KEYS is '{keys}', where no file is: make a key with `elara keys add NAME "
            f"--scope chat --file {keys}`, or leave the setting out."
        )


def audit_log(environ: Mapping[str, str], workspace: str = "") -> Path | None:
    """The audit log of the server that this environment starts; None: it keeps none.

    Args:
        environ: the environment.
        workspace: the workspace's folder; "" means the default one.
    """
    if named := environ.get(f"{PREFIX}AUDIT_LOG"):
        return Path(named)
    if environ.get(f"{PREFIX}ADAPTER"):
        return None
    found: Path | None = _of_workspace(Workspace(workspace))["audit_log"]
    return found


def serving_folder(workspace: Workspace) -> Path:
    """Where a server keeps what must outlive it; no stage's run replaces it."""
    return workspace.root / "serving"


def _of_workspace(workspace: Workspace) -> dict[str, Any]:
    adapter = workspace.folder("train") / "adapter"
    verdict = workspace.folder("evaluate") / "verdict.json"
    finished = (workspace.folder("train") / MANIFEST).exists() and adapter.is_dir()
    # `elara loop` leaves what the gate found about its adapter in a workspace of its own.
    gated = (workspace, Workspace(workspace.root / "loop"))
    gates = [place.folder("evaluate") / "gate.json" for place in gated]
    serving = serving_folder(workspace)
    index = workspace.root / "retrieval"
    return {
        "adapter": adapter if finished else None,
        "verdict": verdict if finished and verdict.exists() else None,
        "gate": [gate for gate in gates if finished and gate.exists()],
        "serving": serving if finished else None,
        "audit_log": serving / AUDIT_LOG if finished else None,
        "retrieval": index if (index / MANIFEST).exists() else None,
    }


@lru_cache(maxsize=64)
def loopback(host: str) -> bool:
    """Whether only this computer reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def local_only(settings: Settings) -> bool:
    """Whether only programs of this computer reach a server, and no proxy lets others in."""
    return loopback(settings.host) and not settings.trusted_proxies


def bracketed(host: str) -> str:
    """An address as it stands before a port."""
    return f"[{host}]" if ":" in host else host
