"""Sphinx extension: reads docstrings as this project writes them.

Code is marked with single backticks, as in Markdown, where reStructuredText wants two. Types are in
signatures, not in `Returns:`, where napoleon takes everything before a colon for one.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

_CODE = re.compile(r"(?<![`:\w])`([^`\n]+)`(?![`_])")


def translate(app: Sphinx, what: str, name: str, item: Any, options: Any, lines: list[str]) -> None:
    """Rewrite the lines of one docstring in place."""
    lines[:] = [_CODE.sub(lambda code: f"``{code[1].strip()}``", line) for line in lines]
    for i, line in enumerate(lines[:-1]):
        if line.strip() in ("Returns:", "Yields:"):
            lines[i + 1] = re.sub(r"\S", r": \g<0>", lines[i + 1], count=1)  # an empty type


def setup(app: Sphinx) -> dict[str, bool]:
    """Run before napoleon, which reads the sections of a docstring."""
    app.connect("autodoc-process-docstring", translate, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
