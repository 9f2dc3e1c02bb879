"""Keep the small file that says which adapter answers whom, which is read at every request."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from elara.serve.experiments.assign import ExperimentError, Plan
from elara.workspace import write_atomically


@dataclass(frozen=True)
class Served:
    """Which adapter answers whom.

    Args:
        standing: SHA-256 of the weights of the adapter that answers whoever takes part in nothing;
            "" means the one that the server was started with.
        previous: the one that stood before the last promotion, or "".
        experiment: id of the running experiment, or "".
        salt: its secret, in hexadecimal.
        plan: its plan; None where none is running.
    """

    standing: str = ""
    previous: str = ""
    experiment: str = ""
    salt: str = ""
    plan: Plan | None = None


class ServedFile:
    """The file `served.json`.

    It is read anew each time, since a file's time and size may stay the same when its content
    changes, and is parsed only where the content did change.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: tuple[bytes, Served] = (b"", Served())

    def read(self) -> Served:
        """What the file says now.

        Raises:
            ExperimentError: it was damaged by hand.
        """
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return Served()
        seen, served = self._last
        if content != seen:
            served = self._parsed(content)
            self._last = content, served
        return served

    def _parsed(self, content: bytes) -> Served:
        try:
            told: dict[str, Any] = json.loads(content)
            plan = Plan.model_validate(told["plan"]) if told["plan"] else None
            return Served(**(told | {"plan": plan}))
        except (ValueError, KeyError, TypeError) as error:
            raise ExperimentError(
                f"{self._path} is damaged ({type(error).__name__}). Move it away: the server then "
                f"answers with the adapter that it was started with."
            ) from None

    def write(self, served: Served) -> None:
        """Replace the file; whoever reads it sees the old content or the new."""
        plan = served.plan.model_dump() if served.plan else None
        write_atomically(self._path, json.dumps(asdict(served) | {"plan": plan}))
