"""Run the mirror as a process of its own: `python -m elara.mirror FOLDER`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from elara.mirror import Faults, Mirror

Folder = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="raw files to serve")]


def main(
    folder: Folder,
    port: Annotated[int, typer.Option(help="0: any free one")] = 0,
    rate: Annotated[float, typer.Option("--fault-rate", help="share of requests, 0 to 1")] = 0.0,
    gone: Annotated[float, typer.Option("--gone", help="share that answers 404 for good")] = 0.0,
    seed: Annotated[int, typer.Option(help="which requests the faults hit")] = 0,
    copies: Annotated[int, typer.Option(help="virtual records for each real one")] = 1,
    per_query: Annotated[int, typer.Option(help="hits of a search")] = 400,
    log: Annotated[Path | None, typer.Option(help="JSON Lines file for the requests")] = None,
) -> None:
    """Serve a folder until interrupted; the first line printed is the address."""
    faults = Faults(seed=seed, rate=rate, gone=gone)
    with Mirror(folder, faults, copies, port=port, per_query=per_query, log_file=log) as mirror:
        print(mirror.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            mirror.wait()


if __name__ == "__main__":
    typer.run(main)
