"""Make keys for the server's audit log, sign it, and check it."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Annotated

import typer

from elara.cli.printing import err, say

app = typer.Typer(no_args_is_help=True, help="Keys and signatures of the server's audit log.")

KeyFile = Annotated[Path, typer.Argument(help="The file to make; one that exists is kept.")]


@app.command()
def signing_key(file: KeyFile) -> None:
    """Make the key that signs the audit log, and its public half in FILE.pub."""
    from elara.serve.journal import make_key

    public = make_key(file)
    say(f"{file}: keep it from the server's user.", f"{public}: takes part in every check.")


@app.command()
def text_key(file: KeyFile) -> None:
    """Make the key of the keyed hash that stands for a request's text in the audit log."""
    from elara.serve.journal import make_secret

    make_secret(file)
    say(f"{file}: the server reads it; whoever has it can test guesses about what was asked.")


@app.command()
def sign(
    log: Annotated[Path, typer.Argument(help="The audit log.")],
    key: Annotated[Path, typer.Option(help="From `elara journal signing-key`.")],
    checkpoints: Annotated[Path | None, typer.Option(help="Default: LOG.checkpoints.")] = None,
    every: Annotated[float, typer.Option(min=0.05, help="Seconds between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Sign once and end.")] = False,
) -> None:
    """Sign the end of the audit log every second until Ctrl-C, as another user than the server."""
    from elara.serve.journal import Signer

    signer = Signer(log, key, checkpoints)
    if once:
        made = signer.sign()
        say(f"Signed: {made.sequence:,} records." if made else "Nothing new to sign.")
        return
    with contextlib.suppress(KeyboardInterrupt):
        signer.run(threading.Event(), every, report=err.print)


def check(
    log: Path | None, public_key: Path | None, checkpoints: Path | None, fhir: Path | None
) -> int:
    """Verify an audit log, print what was found, and export it if asked.

    Args:
        log: the audit log.
        public_key: the signer's.
        checkpoints: a copy that was kept elsewhere; None means those beside the log.
        fhir: where to export to, if anywhere.

    Returns:
        The exit status: 0 whole, 2 damaged, 1 cannot say.
    """
    if log is None:
        raise typer.BadParameter("Say with --audit which audit log.")
    from elara.serve.journal import verify
    from elara.serve.journal.fhir import export

    found = verify(log, public_key, checkpoints)
    say(*found.lines())
    if fhir:
        say(f"{export(log, fhir):,} AuditEvents: {fhir}")
    return found.exit_code
