"""Run the mirror as a process of its own: `python -m elara.mirror FOLDER`."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from elara.mirror.faults import Faults
from elara.mirror.server import Mirror


def main() -> None:
    """Serve a folder until interrupted; the first line printed is the address."""
    parser = argparse.ArgumentParser(prog="python -m elara.mirror", description=__doc__)
    parser.add_argument("folder", type=Path, help="raw files to serve")
    parser.add_argument("--port", type=int, default=0, help="0 (default): any free one")
    parser.add_argument("--fault-rate", type=float, default=0.0, help="share of requests, 0 to 1")
    parser.add_argument("--gone", type=float, default=0.0, help="share answered with 404 for good")
    parser.add_argument("--seed", type=int, default=0, help="which requests the faults hit")
    parser.add_argument("--copies", type=int, default=1, help="virtual records for each real one")
    parser.add_argument("--per-query", type=int, default=400, help="hits of a search")
    parser.add_argument("--log", type=Path, help="JSON Lines file for the requests")
    given = parser.parse_args()
    if not given.folder.is_dir():
        parser.error(f"{given.folder} is not a folder: name the one that holds the raw files")
    with Mirror(
        given.folder,
        Faults(seed=given.seed, rate=given.fault_rate, gone=given.gone),
        given.copies,
        port=given.port,
        per_query=given.per_query,
        log_file=given.log,
    ) as mirror:
        print(mirror.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            mirror.wait()


if __name__ == "__main__":
    main()
