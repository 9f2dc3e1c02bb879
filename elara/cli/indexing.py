"""Make the clean articles searchable: the command of the retrieval index."""

from __future__ import annotations

from typing import Annotated

import typer

from elara.cli.printing import say
from elara.workspace import Workspace


def index(
    workspace: Annotated[
        str, typer.Option("--workspace", "-w", help="Folder for everything a run reads and leaves.")
    ] = "",
    licences: Annotated[
        str,
        typer.Option(help="redistributable, or any: the index is then served on loopback only."),
    ] = "redistributable",
    embedding_model: Annotated[
        str | None,
        typer.Option(help="A folder or a hub id (owner/name@revision); by default the packaged."),
    ] = None,
    query_prefix: Annotated[
        str | None, typer.Option(help="What it wants before a query; by default its settings say.")
    ] = None,
    passage_prefix: Annotated[
        str | None, typer.Option(help="What it wants before a passage; likewise.")
    ] = None,
) -> None:
    """Make the clean articles searchable, so that answers can name their sources."""
    from elara.model.embedding import PACKAGED
    from elara.retrieval import index as building

    folder = building.build_index(
        Workspace(workspace),
        licences=licences,
        embedding_model=PACKAGED if embedding_model is None else embedding_model,
        prefixes=(query_prefix, passage_prefix),
    )
    say(*building.told(folder))
