"""What stage 1 can be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elara.collect.folder import source_folder
from elara.collect.live.harvest import check_contact
from elara.collect.live.sources import last_day, wanted_sources
from elara.parameters import ParameterError, require


def check(values: Mapping[str, Any]) -> None:
    """Refuse what cannot be collected.

    Args:
        values: see `elara.checks.check`.

    Raises:
        ParameterError: there is no such folder, source or day, or no address for live sources.
    """
    named = values.get("sources", [])
    try:
        wanted_sources(named, values.get("base_urls", {}))
        if named:
            check_contact(values.get("email", ""))
        elif "local_files" in values:
            source_folder(values["local_files"])
        if values.get("until"):
            last_day(values["until"])
    except (ValueError, OSError) as error:
        raise ParameterError(str(error)) from error
    require(values, "use 0 for all records, or a positive number", most=0)
