"""Serve the adapter, and manage who may ask it: the commands of the server."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from elara.serve.keys import Key, KeyFile

keys = typer.Typer(
    no_args_is_help=True, help="Make, list, rotate and revoke the API keys of the server."
)
Place = Annotated[
    str, typer.Option("--workspace", "-w", help="Its audit log records what is done to keys.")
]
FileOption = Annotated[
    Path | None, typer.Option("--file", help="The keys' file; ELARA_SERVE_KEYS by default.")
]
KeyId = Annotated[str, typer.Argument(help="The key's id, as `elara keys list` shows it.")]


def serve(
    workspace: Annotated[
        str, typer.Option("--workspace", "-w", help="Folder for everything a run reads and leaves.")
    ] = "",
    host: Annotated[str | None, typer.Option(help="Address; 127.0.0.1 by default.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 8000 by default.")] = None,
    override: Annotated[
        str | None, typer.Option(help="Why to serve an adapter that the release gate blocks.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate (PEM), to encrypt.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
) -> None:
    """Serve the trained adapter over HTTP until Ctrl-C."""
    from elara.serve import Settings, run

    settings = Settings.from_environment(
        workspace=workspace,
        host=host,
        port=port,
        override=override,
        tls_cert=tls_cert,
        tls_key=tls_key,
    )
    run(settings)


@keys.command()
def add(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Annotated[list[str], typer.Option(help="chat, metrics or admin; repeatable.")],
    days: Annotated[float, typer.Option(help="How long it is valid; 0: without end.")] = 90,
    requests_per_minute: Annotated[int | None, typer.Option(help="Its own limit; 0: none.")] = None,
    tokens_per_day: Annotated[int | None, typer.Option(help="Its own budget; 0: no limit.")] = None,
    file: FileOption = None,
    workspace: Place = "",
) -> None:
    """Make a key. It is printed once, alone on standard output."""
    made = _keys(file, workspace).add(
        name,
        scope,
        days=days or None,
        requests_per_minute=requests_per_minute,
        tokens_per_day=tokens_per_day,
    )
    _show(*made)


@keys.command("list")
def list_keys(file: FileOption = None) -> None:
    """List the keys: id, state, scopes, end and name. The keys themselves are not kept."""
    found = _keys(file)
    for key in found.listed():
        typer.echo(f"{key.id}  {key.state(found.now()):<8} {_ends(key)}  {key.name}")
    if not found.listed():
        typer.echo(f"No keys in {found.path}.")


@keys.command()
def rotate(
    key: KeyId,
    overlap_hours: Annotated[float, typer.Option(help="How long the old one stays valid.")] = 24,
    file: FileOption = None,
    workspace: Place = "",
) -> None:
    """Make a key that takes the place of another. It is printed once."""
    _show(*_keys(file, workspace).rotate(key, overlap_hours))
    typer.echo(f"Key {key} stays valid for at most {overlap_hours:g} hours.", err=True)


@keys.command()
def revoke(key: KeyId, file: FileOption = None, workspace: Place = "") -> None:
    """Make a key open nothing from now on; the server need not be started again."""
    revoked = _keys(file, workspace).revoke(key)
    typer.echo(f"Key {key} ({revoked.name}) opens nothing any more.")


def _keys(file: Path | None, workspace: str = "") -> KeyFile:
    from elara.serve.keys import KeyFile, KeysError, default_file

    named = os.environ.get("ELARA_SERVE_KEYS")
    path = file or (Path(named) if named else default_file(os.environ))
    if path is None:
        raise KeysError("There is no home folder to keep keys in: name a file with --file.")
    return KeyFile(path, audit=partial(_record, workspace))


def _record(workspace: str, event: dict[str, Any]) -> None:
    """Record an act in the audit log of the server, or say that there is none."""
    from elara.serve.config import audit_log
    from elara.workspace import Workspace

    if log := audit_log(os.environ, workspace):
        from elara.serve.commands import audit

        audit(log, event)
        typer.echo(f"Recorded in {log}.", err=True)
    else:
        if workspace:
            Workspace(workspace).must_exist()
        told = "Not recorded: no server keeps an audit log here. Name its workspace with -w, or"
        typer.echo(f"{told} the log in ELARA_SERVE_AUDIT_LOG.", err=True)


def _show(key: Key, token: str) -> None:
    typer.echo(token)
    told = f"Key {key.id}, {_ends(key)}. It is not kept and cannot be shown again."
    typer.echo(told, err=True)


def _ends(key: Key) -> str:
    until = f"until {key.expires:%Y-%m-%d %H:%M} UTC" if key.expires else "without end"
    return f"{'+'.join(key.scopes)} {until}"
