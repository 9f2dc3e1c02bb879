"""Run, list, look at, check, export and serve what the notebooks make: the command line."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from elara import __version__, pipeline
from elara.cli import indexing, journal, people
from elara.cli.printing import err, out, say
from elara.cli.replacing import allow_to_replace, would_replace
from elara.cli.server import keys, serve
from elara.machine.caches import use_writable_home
from elara.pipeline import console, forecast
from elara.pipeline.console import opening_lines
from elara.pipeline.notebooks import NOTEBOOKS, PACKAGE, Notebook
from elara.workspace import Workspace, WorkspaceError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From open medical text to a medical LoRA adapter that can be inspected and audited.",
)
app.add_typer(journal.app, name="journal")

WorkspaceOption = Annotated[
    str, typer.Option("--workspace", "-w", help="Folder for everything a run reads and leaves.")
]
ProfileOption = Annotated[
    str, typer.Option("--profile", help="A file in notebooks/profiles: laptop, gpu … Remembered.")
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
    notebooks: Path,
    parameters: Sequence[str] = (),
    local_files: str | None = None,
    **how: Any,
) -> pipeline.Plan:
    given = console.parse_parameters(parameters, workspace, local_files)
    return pipeline.make_plan(Workspace(workspace), parameters=given, folder=notebooks, **how)


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


@app.command()
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
    plan = _plan(workspace, notebooks, parameter, local_files, profile=profile, forget=forget)
    chosen = pipeline.select(plan, start=start, only=only)
    pipeline.check_values(plan, chosen)
    lost = would_replace(plan, chosen)
    say(*opening_lines(plan, workspace))
    if dry_run:
        table, lines = forecast.report(plan, chosen, force=force)
        Console(highlight=False).print(table)
        say(*lines, *([f"{lost} That takes --replace."] if lost else []))
        return
    if lost:
        allow_to_replace(plan, lost, replace)
    try:
        pipeline.run(plan, chosen, force=force, report=say)
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
    say("", *console.closing_lines(plan, time.monotonic() - started, page if book else None))
    for state in pipeline.states(plan):
        if state.status == "incomplete" and state.notebook in chosen:
            err.print(escape(f"Incomplete: {state.notebook.name}: {state.why}"), style="yellow")
            raise typer.Exit(3)


@app.command()
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
    how: dict[str, Any] = {"profile": profile, "forget": forget, "checked": False}
    plan = _plan(workspace, notebooks, parameter, local_files, **how)
    say(*opening_lines(plan, workspace))
    for table in console.parameter_tables(plan, stage):
        Console(highlight=False).print(table)


@app.command()
def status(workspace: WorkspaceOption = "", notebooks: NotebooksOption = NOTEBOOKS) -> None:
    """Show which notebooks are fresh, which are stale and why."""
    # Not checked: what a folder has become is no reason to say nothing of the results.
    plan = _plan(workspace, notebooks, checked=False)
    plan.workspace.must_exist()
    say(*opening_lines(plan, workspace))
    Console(highlight=False).print(console.status_table(plan))


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
    from elara.workspace.tables import stage_tables, table_rows

    place = Workspace(workspace)
    place.must_exist()
    if not table:
        for name, number in stage_tables(place, stage).items():
            say(f"{place.command('show', stage, name)}  ({number:,} rows)")
        return
    rows, total = table_rows(place, stage, table, where, most=most)
    for row in rows.iter_rows(named=True):
        for name, value in row.items():
            if value not in ("", None, []):
                say(f"{name + ':':<18} {textwrap.shorten(str(value), 400)}")
        out.print()
    out.print(f"{rows.height:,} of {total:,} rows" + ("" if total <= most else " (--most N)"))


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
    from elara.pipeline.lab import start, working_copies

    plan = _plan(workspace, notebooks)
    copies = working_copies(plan, fresh=fresh)
    say(*opening_lines(plan, workspace))
    say(f"Working copies of the notebooks: {copies.folder}")
    for path in copies.saved:
        say(f"Your changed copy is now {path}")
    for path in copies.outdated:
        why = "the notebook or its values have changed since; --fresh makes a new one beside it"
        say(f"{path.name}: your changed copy is kept, though {why}")
    try:
        raise typer.Exit(start(copies, plan, arguments))
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
    audit_log: Annotated[
        Path | None, typer.Option("--audit", help="Check this audit log of the server instead.")
    ] = None,
    public_key: Annotated[Path | None, typer.Option(help="With --audit: the signer's.")] = None,
    checkpoints: Annotated[Path | None, typer.Option(help="With --audit: your own copy.")] = None,
    fhir: Annotated[
        Path | None, typer.Option(help="With --audit: also export FHIR AuditEvents here.")
    ] = None,
) -> None:
    """Account for every file: as recorded, FAILED or not checked; run an adapter's losses again.

    Exit status with --audit: 0 whole, 2 damaged, 1 cannot say.
    """
    if audit_log or public_key or checkpoints or fhir:
        raise typer.Exit(journal.check(audit_log, public_key, checkpoints, fhir))
    from elara import audit

    if adapter:
        raise typer.Exit(0 if _sound(Path(adapter).expanduser(), base, expect, rerun) else 1)
    place = Workspace(workspace)
    result = audit.audit(place)
    if result.passed and not result.finished:
        raise WorkspaceError(f"No finished stage in {place.root}: run `elara run` first.")
    say(*result.lines())
    trained = "train" in result.finished
    sound = not trained or _sound(place.folder("train") / "adapter", base, expect, rerun)
    raise typer.Exit(0 if sound and result.passed else 1)


def _sound(folder: Path, base: str, expect: str, rerun: bool) -> bool:
    """Verify an adapter and print each check."""
    from elara import audit

    result = audit.verify(folder, base or None, rerun=rerun, expect=expect)
    say(*result.lines())
    return result.passed


@app.command()
def compare(
    evaluation: Annotated[
        list[str], typer.Argument(help="Records, evaluations, adapters or fingerprints; none: all.")
    ] = [],  # noqa: B006 - typer copies it
    html: Annotated[Path | None, typer.Option(help="Also write a page for people here.")] = None,
    workspace: WorkspaceOption = "",
) -> None:
    """Say what got better and what worse from one evaluation to the next."""
    from elara.evaluate import comparing

    say(*comparing.compare(Workspace(workspace), evaluation, html).lines())


@app.command()
def gate(
    adapter: Annotated[Path, typer.Argument(help="The adapter folder.")],
    base: Annotated[str, typer.Option(help="Its base model, where it has moved.")] = "",
    workspace: Annotated[str, typer.Option("--workspace", "-w", help="Where it was made.")] = "",
    to: Annotated[Path | None, typer.Option("--out", help="Default: evaluation/gate.json.")] = None,
) -> None:
    """Look for reasons not to use an adapter. Exit status 0: none, 2: blocked, 3: cannot tell."""
    from elara.evaluate.gate import pass_gate

    found = pass_gate(adapter, base or None, workspace=workspace, out=to)
    say(*found.lines())
    raise typer.Exit(found.exit_code)


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
    from elara.export import export as export_adapter

    place = Workspace(workspace)
    adapter, folder = place.folder("train") / "adapter", into or place.root / "exports"
    say(*export_adapter(adapter, folder, format, dtype=dtype, gguf_type=gguf_type).lines())


app.command()(indexing.index)
app.command()(serve)
app.add_typer(keys, name="keys")
app.add_typer(people.ab, name="ab")
app.add_typer(people.feedback, name="feedback")
app.command()(people.loop)


@app.command()
def trace(
    example: Annotated[str, typer.Argument(help="Its id, as in train.jsonl.")],
    workspace: WorkspaceOption = "",
) -> None:
    """Say where an example comes from: passage, article, licence, raw file with its hash."""
    from elara.audit import tracing

    say(*tracing.trace(Workspace(workspace), example).lines())


@app.command()
def retract(
    article: Annotated[
        list[str], typer.Argument(help="PMID, PMC id, DOI or article id; none: what is listed.")
    ] = [],  # noqa: B006 - typer copies it
    csv: Annotated[Path | None, typer.Option(help="A file of Retraction Watch.")] = None,
    reason: Annotated[str, typer.Option(help="Why, as adapters will say it.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing.")] = False,
    workspace: WorkspaceOption = "",
) -> None:
    """Leave retracted articles out from the next run on; mark adapters and exports made of them."""
    from elara.audit import retraction

    how: dict[str, Any] = {"reason": reason, "dry_run": dry_run}
    say(*retraction.retract(Workspace(workspace), article, csv, **how).lines())


def main() -> None:
    """Entry point: expected errors become one clear message and exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        # A console that lacks → or é shows a question mark; it does not end the program.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    use_writable_home()
    try:
        app()
    except (RuntimeError, ValueError) as error:
        if not type(error).__module__.startswith("elara."):  # nobody expected it
            raise
        err.print(escape(f"Error: {error}"), style="red")
        sys.exit(1)
