"""Print what the commands say: results to standard output, errors to standard error."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def say(*lines: str) -> None:
    """Print lines as they are: square brackets in them are no markup."""
    for line in lines:
        out.print(escape(line))
