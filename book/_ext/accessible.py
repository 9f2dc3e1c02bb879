"""Sphinx extension: what the theme leaves out for screen readers and for narrow screens.

- The arrow that unfolds a part of the contents gets a name.
- The logo stands in a landmark.
- A reference has no role that is no longer allowed.
- Each cell of a wide table names its column, so that a phone can show the rows as blocks
  (`elara.css`).

Source: https://www.w3.org/WAI/ARIA/apg/practices/names-and-descriptions/
Source: https://www.sphinx-doc.org/en/master/extdev/event_callbacks.html#event-html-page-context
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import lxml.html
from sphinx.application import Sphinx

_TABLE = re.compile(r"<table\b.*?</table>", re.DOTALL)
_BRANCH = re.compile(r"(<a [^>]*>)([^<]+)(</a><details[^>]*>)<summary>")
# Three columns, one of which holds sentences, do not fit beside each other on a phone.
_MANY_COLUMNS, _LONG_TEXT = 3, 40


def improve(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Change the HTML of one page before it is written."""
    if "body" in context:
        body = re.sub(r' role="(list|doc-biblioentry)"(?=[^>]*>)', "", context["body"])
        context["body"] = _TABLE.sub(lambda found: labelled(found[0]), body)
    if contents := context.get("generate_toctree_html"):
        context["generate_toctree_html"] = functools.partial(_named, contents)


def labelled(table: str) -> str:
    """Name the column in each cell of a table that is too wide for a phone."""
    tree = lxml.html.fragment_fromstring(table)
    heads = [head.text_content().strip() for head in tree.xpath("./thead/tr[1]/th")]
    cells = tree.xpath("./tbody/tr/*")
    long = any(len(cell.text_content()) > _LONG_TEXT for cell in cells)
    if len(heads) < _MANY_COLUMNS or not long:
        return table
    tree.classes.add("stacks")
    # The style sheet makes blocks of rows and cells; they stay rows and cells for readers.
    tree.set("role", "table")
    for group in tree.xpath("./thead|./tbody"):
        group.set("role", "rowgroup")
    for row in tree.iter("tr"):
        row.set("role", "row")
    for head in tree.xpath("./thead/tr/th"):
        head.set("role", "columnheader")
    for row in tree.xpath("./tbody/tr"):
        for name, cell in zip(heads, row, strict=True):
            cell.set("role", "cell")
            cell.set("data-label", name)
    return lxml.html.tostring(tree, encoding="unicode", with_tail=False)


def _named(contents: Any, *arguments: Any, **named: Any) -> Any:
    """The contents at the side, with a name for each arrow."""
    shown = str(contents(*arguments, **named))
    return _BRANCH.sub(r'\1\2\3<summary aria-label="Pages of \2">', shown)


def setup(app: Sphinx) -> dict[str, bool]:
    """Run after the theme, which sets what is changed here."""
    app.connect("html-page-context", improve, priority=900)
    app.config.templates_path.insert(0, str(Path(__file__).parent / "templates"))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
