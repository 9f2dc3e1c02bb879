"""Read parameters from the command line, and list those that there are to set."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table
from typer.core import TyperCommand

from elara.pipeline.notebooks import explanations
from elara.pipeline.plan import Plan, select
from elara.workspace.names import escaped
from elara.workspace.parameters import ParameterError

_OPTIONS = ("-p", "--parameter")
_NEXT_OPTION = re.compile(r"-\D")  # and no negative number


class ParameterCommand(TyperCommand):
    """A command with `-p NAME=VALUE`: says how to write what was typed with blanks."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Look at the words before they are taken apart.

        Raises:
            ParameterError: a value stands apart from its name.
        """
        for option, *rest in zip(args, args[1:], args[2:], [*args[3:], ""], strict=False):
            if option in _OPTIONS:
                _refuse_blanks(rest)
        return super().parse_args(ctx, args)


def _refuse_blanks(words: Sequence[str]) -> None:
    name, second, third = words
    bare = name.removesuffix("=")
    if "=" in bare or _NEXT_OPTION.match(second):
        return
    value = second.removeprefix("=") or third
    typed = shlex.quote(f"{bare}={value}")
    raise ParameterError(f"No blanks between name, `=` and value: write -p {typed}.")


def parse_parameters(
    given: Sequence[str], workspace: str = "", local_files: str | None = None
) -> dict[str, str]:
    """Take `NAME=VALUE` apart.

    Args:
        given: what followed `-p`, one item each time.
        workspace: the folder that was named, which has to be text too.
        local_files: the folder that `--local-files` named, if it was given.

    Raises:
        ParameterError: an item has no `=`, or is no text.
    """
    for text in (workspace, local_files or "", *given):
        if any("\ud800" <= sign <= "\udfff" for sign in text):  # bytes that are not UTF-8
            raise ParameterError(
                f"`{escaped(text)}` is no text (UTF-8, in this locale) that a notebook can hold: "
                "rename the folder, or give it a second name with `ln -s FOLDER NAME`."
            )
    values: dict[str, str] = {}
    for item in given:
        name, equals, value = item.partition("=")
        if not equals:
            raise ParameterError(f"`{item}` is not NAME=VALUE: write -p {item}=VALUE.")
        values[name.strip()] = value.strip()
    return values if local_files is None else values | {"local_files": local_files}


def parameter_tables(plan: Plan, stage: str = "") -> list[Table]:
    """Lay out the parameters of a stage, or of all, as the next run would set them.

    Args:
        plan: gives notebooks and values.
        stage: number, name or stage of a notebook; "" means all.

    Raises:
        ParameterError: there is no such notebook; the message gives the closest.
    """
    tables = []
    for notebook in select(plan, only=stage):
        meanings = explanations(notebook.path)
        table = Table(title=notebook.name, title_justify="left")
        for column in ("parameter", "value", "type", "what it does"):
            table.add_column(column, overflow="fold")
        for name, value in plan.values(notebook).items():
            if name == "workspace":  # --workspace sets it, for all notebooks
                continue
            default = notebook.defaults[name]
            values = repr(value) if value == default else f"{value!r}\ndefault: {default!r}"
            table.add_row(name, escape(values), type(default).__name__, escape(meanings[name]))
        tables.append(table)
    return tables
