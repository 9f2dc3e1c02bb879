"""The command line without a start of its own: Python and its libraries take seconds to start."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

from elara.cli import main


def elara(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Do what `elara …` does, and give what it prints and its exit status.

    An error that nobody expected, which would end a program with a traceback, is raised.

    Args:
        arguments: words after `elara`.
        cwd: where; None is here.
    """
    words = list(map(str, arguments))
    out, err, status = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", ["elara", *words]),
        mock.patch.dict(os.environ),
        contextlib.chdir(cwd or Path.cwd()),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            status = int(ended.code or 0)
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())
