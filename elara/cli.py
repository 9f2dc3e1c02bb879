"""The command line: run, list, look at, check, export and serve what the notebooks make."""

from __future__ import annotations

import difflib
import io
import json
import logging
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from elara import __version__, pipeline
from elara.machine.caches import settle_home
from elara.pipeline import forecast
from elara.pipeline.explain import ParameterCommand, parameter_tables
from elara.pipeline.notebooks import NOTEBOOKS, PACKAGE, Notebook
from elara.workspace import Workspace, WorkspaceError
from elara.workspace.names import shown
from elara.workspace.parameters import ParameterError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From open medical text to a medical LoRA adapter that can be inspected and audited.",
)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

_INCOMPLETE = 3  # exit status of a run that ended well, but in which something did not come

WorkspaceOption = Annotated[
    str, typer.Option("--workspace", "-w", help="Folder for everything a run reads and leaves.")
]
ProfileOption = Annotated[
    str, typer.Option("--profile", help="laptop or gpu. Remembered for this workspace.")
]
ParameterOption = Annotated[
    list[str],
    typer.Option(
        "--parameter",
        "-p",
        metavar="NAME=VALUE",
        help="name=value or stage.name=value. Remembered for this workspace.",
    ),
]
LocalFilesOption = Annotated[
    str | None,
    typer.Option(
        "--local-files", help="Collect from this folder, not from the sample. Remembered, too."
    ),
]
ForgetOption = Annotated[
    bool, typer.Option("--forget", help="Leave out what earlier runs in this workspace were given.")
]
NotebooksOption = Annotated[
    Path, typer.Option("--notebooks", help="Folder of the numbered notebooks.")
]


def _plan(
    workspace: str,
    profile: str,
    parameters: list[str],
    local_files: str | None,
    notebooks: Path,
    forget: bool = False,
    *,
    checked: bool = True,
) -> pipeline.Plan:
    values: dict[str, str] = {}
    for text in (workspace, local_files or "", *parameters):
        if any("\ud800" <= sign <= "\udfff" for sign in text):  # bytes that are not UTF-8
            raise ParameterError(
                f"`{shown(text)}` is no text (UTF-8, in this locale) that a notebook can hold: "
                "rename the folder, or give it a second name with `ln -s FOLDER NAME`."
            )
    for item in parameters:
        name, equals, value = item.partition("=")
        if not equals:
            raise ParameterError(f"`{item}` is not NAME=VALUE: write -p {item}=VALUE.")
        values[name.strip()] = value.strip()
    if local_files is not None:
        values["local_files"] = local_files
    return pipeline.make_plan(
        Workspace(workspace),
        profile=profile,
        parameters=values,
        folder=notebooks,
        forget=forget,
        checked=checked,
    )


def _opening(plan: pipeline.Plan, named: str) -> None:
    """Say which workspace this is and what it was made with."""
    place = plan.workspace
    out.print(escape(f"Workspace: {place.root} (from --workspace)" if named else str(place)))
    if plan.recalled and (plan.recalled.given() or plan.recalled.profile != "laptop"):
        profile = plan.recalled.profile
        values = ({} if profile == "laptop" else {"profile": profile}) | plan.recalled.given()
        told = ", ".join(f"{name}={value}" for name, value in values.items())
        out.print(escape(f"As in earlier runs here: {told} (--forget leaves this out)"))
    for change in plan.changed:
        out.print(escape(f"Changed: {change}"))


def _version(asked: bool) -> None:
    if asked:
        out.print(f"elara {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command(cls=ParameterCommand)
def run(
    workspace: WorkspaceOption = "",
    profile: ProfileOption = "",
    parameter: ParameterOption = [],  # noqa: B006 - typer copies it
    local_files: LocalFilesOption = None,
    start: Annotated[str, typer.Option("--from", help="Begin here: 4, 04-expand, expand.")] = "",
    only: Annotated[str, typer.Option("--only", help="Just this notebook.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Run fresh notebooks too.")] = False,
    forget: ForgetOption = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace what was collected from elsewhere.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run.")] = False,
    book: Annotated[bool, typer.Option("--book", help="Render the book afterwards.")] = False,
    notebooks: NotebooksOption = NOTEBOOKS,
) -> None:
    """Run the numbered notebooks that are not fresh, in order. Exit status 3: one is incomplete."""
    started = time.monotonic()
    plan = _plan(workspace, profile, parameter, local_files, notebooks, forget)
    chosen = pipeline.select(plan, start=start, only=only)
    pipeline.check_values(plan, chosen)
    lost = _would_replace(plan, chosen)
    _opening(plan, workspace)
    if dry_run:
        table, lines = forecast.report(plan, chosen, force=force)
        Console(highlight=False).print(table)
        out.print(escape("\n".join([*lines, *([f"{lost} That takes --replace."] if lost else [])])))
        return
    if lost:
        _ask_to_replace(plan, lost, replace)
    try:
        pipeline.run(plan, chosen, force=force, report=lambda line: out.print(escape(line)))
    except KeyboardInterrupt:
        # The cell that was left behind ends with its kernel, and asyncio would print that too.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
        err.print("Interrupted. Run the same command again: it continues with this notebook.")
        raise typer.Exit(130) from None
    page = PACKAGE.parent / "_build" / "html" / "index.html"
    if book:
        builder = PACKAGE.parent / "book" / "build.py"
        command = [sys.executable, str(builder), "--workspace", str(plan.workspace.root)]
        if code := subprocess.run(command, check=False).returncode:
            raise typer.Exit(code)
    _closing(plan, time.monotonic() - started, page if book else None)
    for state in pipeline.states(plan):
        if state.status == "incomplete" and state.notebook in chosen:
            err.print(escape(f"Incomplete: {state.notebook.name}: {state.why}"), style="yellow")
            raise typer.Exit(_INCOMPLETE)


def _would_replace(plan: pipeline.Plan, chosen: Sequence[Notebook]) -> str:
    """What the collect notebook would replace that came from elsewhere, or ""."""
    collect = next((n for n in chosen if "replace" in n.defaults), None)
    if collect is None:
        return ""
    from elara.collect import would_replace

    values = plan.values(collect)
    if values["replace"]:  # said with -p
        return ""
    return would_replace(plan.workspace, values["local_files"], values["sources"])


def _ask_to_replace(plan: pipeline.Plan, lost: str, allowed: bool) -> None:
    """Let the collect notebook replace it, if that was allowed or is now."""
    if not allowed:
        if not _somebody_answers():
            raise WorkspaceError(
                f"{lost} To keep them, leave the source as it was or name another workspace (-w); "
                "to replace them, add --replace."
            )
        if not typer.confirm(f"{lost} Replace them?"):
            raise typer.Exit(1)
    for notebook in plan.notebooks:
        if "replace" in notebook.defaults:
            plan.overrides[notebook.name]["replace"] = True


def _somebody_answers() -> bool:
    """Whether a person sits at this terminal."""
    return sys.stdin.isatty()


def _closing(plan: pipeline.Plan, seconds: float, book: Path | None) -> None:
    """Say where the results are and what to type next."""
    place = plan.workspace
    verdict = place.folder("evaluate") / "verdict.json"
    adapter = place.folder("train") / "adapter"
    lines = []
    for what, path in (("Adapter", adapter), ("Evaluation", verdict), ("Book", book)):
        if path and path.exists():
            lines.append(f"{what:<11} {path}")
    if verdict.exists():
        told = json.loads(verdict.read_text(encoding="utf-8"))["verdict"]
        lines.append(f"{'Verdict':<11} {told}")
    lines.append(f"{'Took':<11} {seconds / 60:.1f} minutes")
    steps = {"lab": "explore"}
    if adapter.exists():
        steps["serve"] = "ask the adapter"
    if any(state.status != "fresh" for state in pipeline.states(plan)):
        steps = {"run": "go on"} | steps
    steps["status"] = "see what is fresh"
    next_steps = [f"{pipeline.command(place, name)} ({why})" for name, why in steps.items()]
    lines.append(f"{'Next':<11} {', '.join(next_steps)}")
    out.print(escape("\n" + "\n".join(lines)))


@app.command(cls=ParameterCommand)
def parameters(
    stage: Annotated[str, typer.Argument(help="4, 04-expand, expand; none: all.")] = "",
    workspace: WorkspaceOption = "",
    profile: ProfileOption = "",
    parameter: ParameterOption = [],  # noqa: B006 - typer copies it
    local_files: LocalFilesOption = None,
    forget: ForgetOption = False,
    notebooks: NotebooksOption = NOTEBOOKS,
) -> None:
    """List the parameters: values that a run would use, types, and what changing them does."""
    plan = _plan(workspace, profile, parameter, local_files, notebooks, forget, checked=False)
    _opening(plan, workspace)
    for table in parameter_tables(plan, stage):
        Console(highlight=False).print(table)


@app.command(cls=ParameterCommand)
def status(
    workspace: WorkspaceOption = "",
    profile: ProfileOption = "",
    parameter: ParameterOption = [],  # noqa: B006 - typer copies it
    local_files: LocalFilesOption = None,
    forget: ForgetOption = False,
    notebooks: NotebooksOption = NOTEBOOKS,
) -> None:
    """Show which notebooks are fresh, which are stale and why."""
    # Not checked: what a folder has become is no reason to say nothing of the results.
    plan = _plan(workspace, profile, parameter, local_files, notebooks, forget, checked=False)
    _must_exist(plan.workspace)
    _opening(plan, workspace)
    table = Table()
    for name in ("notebook", "status", "why", "rows", "seconds"):
        table.add_column(name, justify="right" if name in ("rows", "seconds") else "left")
    colours = {"fresh": "green", "failed": "red", "never run": "dim"}
    for state in pipeline.states(plan):
        table.add_row(
            state.notebook.name,
            f"[{colours.get(state.status, 'yellow')}]{state.status}[/]",
            escape(state.why),
            "" if state.rows is None else f"{state.rows:,}",
            "" if state.seconds is None else f"{state.seconds:,.0f}",
        )
    Console(highlight=False).print(table)


def _must_exist(place: Workspace) -> None:
    """Refuse a workspace in which nothing has run: its name is most likely mistyped.

    Raises:
        WorkspaceError: the message names the closest one beside it.
    """
    if place.exists():
        return
    near = [p.name for p in place.root.parent.glob("*") if Workspace(p).exists()]
    close = difflib.get_close_matches(place.root.name, near, n=1)
    hint = f" Did you mean {place.root.parent / close[0]}?" if close else ""
    start = pipeline.command(place, "run")
    raise WorkspaceError(
        f"There is no workspace in {place.root}.{hint} To make one there: `{start}`."
    )


@app.command()
def show(
    stage: Annotated[str, typer.Argument(help="collect, inspect, clean …")],
    table: Annotated[str, typer.Argument(help="One of its tables; none: list them.")] = "",
    where: Annotated[
        list[str],
        typer.Option(metavar="COLUMN=VALUE", help="Only such rows; VALUE,VALUE for either."),
    ] = [],  # noqa: B006 - typer copies it
    most: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 20,
    workspace: WorkspaceOption = "",
) -> None:
    """List the tables that a stage left, or the rows of one: what was skipped, removed, changed."""
    import polars as pl

    from elara.workspace import show as listing

    place = Workspace(workspace)
    _must_exist(place)
    if not table:
        for name, number in listing.tables(place, stage).items():
            out.print(escape(f"{pipeline.command(place, 'show', stage, name)}  ({number:,} rows)"))
        return
    rows = listing.rows(place, stage, table, where)
    for row in rows.head(most).collect().iter_rows(named=True):
        for name, value in row.items():
            if value not in ("", None, []):
                out.print(escape(f"{name + ':':<18} {textwrap.shorten(str(value), 400)}"))
        out.print()
    total = rows.select(pl.len()).collect().item()
    out.print(f"{min(most, total):,} of {total:,} rows" + ("" if total <= most else " (--most N)"))


@app.command()
def lab(
    arguments: Annotated[
        list[str], typer.Argument(help="Options of JupyterLab, after --, such as --no-browser.")
    ] = [],  # noqa: B006 - typer copies it
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Copy the notebooks anew; yours stay beside them.")
    ] = False,
    workspace: WorkspaceOption = "",
    notebooks: NotebooksOption = NOTEBOOKS,
) -> None:
    """Open working copies of the notebooks in JupyterLab; those in notebooks/ stay as they are."""
    from elara.pipeline import lab as room

    plan = _plan(workspace, "", [], None, notebooks)
    copies = room.working_copies(plan, fresh=fresh)
    _opening(plan, workspace)
    out.print(escape(f"Working copies of the notebooks: {copies.folder}"))
    for path in copies.saved:
        out.print(escape(f"Your changed copy is now {path}"))
    for path in copies.outdated:
        why = "the notebook or its values have changed since; --fresh makes a new one beside it"
        out.print(escape(f"{path.name}: your changed copy is kept, though {why}"))
    try:
        raise typer.Exit(room.start(copies, plan, arguments))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@app.command()
def verify(
    workspace: WorkspaceOption = "",
    adapter: Annotated[
        str, typer.Option("--adapter", help="Check this adapter folder alone, without workspace.")
    ] = "",
    base: Annotated[
        str, typer.Option("--base", help="The adapter's base model, where it has moved.")
    ] = "",
    expect: Annotated[
        str, typer.Option("--expect", help="The fingerprint that the adapter should have.")
    ] = "",
    rerun: Annotated[
        bool, typer.Option("--rerun/--no-rerun", help="Measure the recorded losses again.")
    ] = True,
) -> None:
    """Account for every file: as recorded, FAILED or not checked; run an adapter's losses again."""
    from elara import audit

    if adapter:
        raise typer.Exit(0 if _sound(Path(adapter).expanduser(), base, expect, rerun) else 1)
    place = Workspace(workspace)
    result = audit.audit(place)
    if result.passed and not result.finished:
        raise WorkspaceError(f"No finished stage in {place.root}: run `elara run` first.")
    for line in result.lines():
        out.print(escape(line))
    if any(path.endswith("/export.json") for path in result.files):
        out.print("exports: not checked: their answers were not compared again, only their bytes")
    passed = result.passed
    if "train" in result.finished:
        passed &= _sound(place.folder("train") / "adapter", base, expect, rerun)
    raise typer.Exit(0 if passed else 1)


def _sound(folder: Path, base: str, expect: str, rerun: bool) -> bool:
    """Verify an adapter and print each check."""
    from elara import audit

    try:
        result = audit.verify(folder, base or None, rerun=rerun, expect=expect)
    except audit.AuditError as error:
        raise WorkspaceError(str(error)) from error
    words = {True: "ok", False: "FAILED", None: "not checked"}
    for check in result.checks:
        out.print(escape(f"adapter {check.name}: {words[check.passed]}: {shown(check.detail)}"))
    if result.fingerprint:
        out.print(f"adapter fingerprint: {result.fingerprint}")
    if not expect:
        out.print(
            "adapter: not checked: whether somebody computed every hash anew; to know, get the"
        )
        out.print("  fingerprint from who made the adapter and add --expect FINGERPRINT")
    return result.passed


@app.command()
def export(
    workspace: WorkspaceOption = "",
    format: Annotated[
        list[str], typer.Option("--format", "-f", help="merged, gguf, vllm, vllm-lora; repeatable.")
    ] = ["merged", "gguf", "vllm"],  # noqa: B006 - typer copies it
    gguf_type: Annotated[str, typer.Option(help="F32, F16 or Q8_0.")] = "F16",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    into: Annotated[Path | None, typer.Option(help="Default: exports/ in the workspace.")] = None,
) -> None:
    """Export the trained adapter for other programs, with a proof that it answers the same."""
    from elara import export as room
    from elara.model import ModelError

    place = Workspace(workspace)
    folder = into or place.root / "exports"
    try:
        done = room.export(
            place.folder("train") / "adapter", folder, format, dtype=dtype, gguf_type=gguf_type
        )
    except ModelError as error:
        raise WorkspaceError(str(error)) from error
    for row in done.table.iter_rows(named=True):
        line = f"{row['format']} ({row['weights']}, {row['reader']}): KL {row['kl']:.1e}, "
        line += f"bound {row['kl_bound']:.1e}, same top token {row['top1_agreement']:.1%}"
        out.print(escape(line))
    for name, path in done.folders.items():
        reused = " (already there)" if name in done.reused else ""
        out.print(escape(f"{name}: {path}{reused}"))


@app.command()
def serve(
    workspace: WorkspaceOption = "",
    host: Annotated[str | None, typer.Option(help="Address; 127.0.0.1 by default.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 8000 by default.")] = None,
) -> None:
    """Serve the trained adapter over HTTP until Ctrl-C."""
    from elara import serve as room

    try:
        room.run(room.Settings.from_environment(workspace=workspace, host=host, port=port))
    except (room.SettingsError, room.PortInUse) as error:
        err.print(escape(f"Error: {error}"), style="red")
        raise typer.Exit(1) from error


def main() -> None:
    """Entry point: expected errors become one clear message and exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        # A console that lacks → or é shows a question mark; it does not end the program.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    settle_home()
    try:
        app()
    except (ParameterError, WorkspaceError, pipeline.NotebookError) as error:
        err.print(escape(f"Error: {error}"), style="red")
        sys.exit(1)


if __name__ == "__main__":
    main()
