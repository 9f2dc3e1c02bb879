"""Refuse parameters that stage 1 cannot use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elara.collect.licences import folder_licence
from elara.collect.live.harvest import check_contact
from elara.collect.live.sources import last_day, wanted_sources
from elara.collect.own import check_columns
from elara.collect.rawfiles import source_folder
from elara.workspace.parameters import ParameterError, require


def check(values: Mapping[str, Any]) -> None:
    """Refuse what cannot be collected.

    Args:
        values: see `elara.workspace.check_parameters`.

    Raises:
        ParameterError: there is no such folder, source, day or licence, no address for live
            sources, a folder beside them, or a column that is to hold what no article has.
    """
    named = values.get("sources", [])
    if named and values.get("local_files"):
        raise ParameterError(
            f"`local_files` is {values['local_files']!r} and `sources` is {named!r}, but a run "
            "collects from one of the two: leave the other empty, on the command line with "
            "`--local-files ''` or `-p sources=`."
        )
    try:
        wanted_sources(named, values.get("base_urls", {}))
        if named:
            check_contact(values.get("email", ""))
        elif "local_files" in values:
            source_folder(values["local_files"])
        if values.get("until"):
            last_day(values["until"])
        folder_licence(values.get("licence", ""))
        check_columns(values.get("columns", {}))
    except (ValueError, OSError) as error:
        raise ParameterError(str(error)) from error
    require(values, "use 0 for all records, or a positive number", most=0)
