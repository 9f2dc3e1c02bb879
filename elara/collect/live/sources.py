"""Turn the parameters of a run into its live sources, and say what their searches found."""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl

from elara.collect.live.bulk import PubmedFiles
from elara.collect.live.entrez import Entrez, Query, search_answer
from elara.collect.live.europepmc import EuropePmc
from elara.collect.live.government import SITES
from elara.collect.live.harvest import Source
from elara.collect.live.stackexchange import MEDICAL_SCIENCES, StackExchange
from elara.collect.live.store import LAST_DAY, payload_table, read_payload
from elara.collect.topics import african_batches, load_searches
from elara.workspace import write_atomically
from elara.workspace.parameters import unknown_names

_TITLE_OR_ABSTRACT = re.compile(r'("[^"]*"|[^\s"()\[\]]+)\[Title/Abstract\]')
# What a user may name, and the sources that each stands for.
GROUPS = {
    "pubmed": ("pubmed",),
    "pubmed_files": ("pubmed_files",),
    "pmc": ("pmc",),
    "african": ("african_pubmed", "african_europepmc"),
    "stackexchange": ("stackexchange",),
    "government": ("medlineplus", "cdc", "who", "nih"),
}


def live_sources(
    named: Sequence[str],
    root: Path,
    contact: str,
    *,
    most: int = 0,
    until: str = "",
    stackexchange_site: str = MEDICAL_SCIENCES,
    base_urls: Mapping[str, str] | None = None,
    permissive_only: bool = False,
    per_second: int = -1,
) -> list[Source]:
    """The sources that a run collects from.

    Keys come from the environment, so that no manifest ever holds one: `NCBI_API_KEY` and
    `STACKEXCHANGE_KEY`.

    Args:
        named: groups of sources, see `GROUPS`.
        root: the folder of all payloads, which remembers the day up to which it reaches.
        contact: e-mail address, which the E-utilities ask for.
        most: records per topic, batch or site, files per folder; 0 means all.
        until: last day that is searched, `YYYY-MM-DD`; "" means the day of the first run.
        stackexchange_site: the API's name for a Stack Exchange site.
        base_urls: source to the address of a mirror of its service.
        permissive_only: ask PubMed Central only for licences that let others pass a text on.
        per_second: requests per second to each host; -1 means what the service allows, 0 no
            limit (for a mirror of your own).

    Returns:
        One object per source, in the order of `GROUPS`.

    Raises:
        ValueError: a name or a date is not known.
    """
    if not named:
        return []
    mirrors = dict(base_urls or {})
    wanted = wanted_sources(named, mirrors)
    day = _remembered_day(root, until)
    topics = [Query(s.id, s.query) for s in load_searches()]
    texts = [Query(s.id, full_text_query(s.query, permissive_only)) for s in load_searches()]
    in_pubmed = [Query(b.id, b.query) for b in african_batches()]
    in_europe_pmc = [Query(b.id, b.europepmc) for b in african_batches()]
    key, stack_key = (os.environ.get(n, "") for n in ("NCBI_API_KEY", "STACKEXCHANGE_KEY"))
    asked: dict[str, Any] = {"until": day, "api_key": key, "per_second": 10 if key else 3}
    entrez: Any = partial(Entrez, contact=contact, **asked)
    every: list[Any] = [
        entrez("pubmed", topics),
        PubmedFiles(),
        entrez("pmc", texts, database="pmc", page=20),  # some megabytes
        entrez("african_pubmed", in_pubmed),
        EuropePmc("african_europepmc", in_europe_pmc, until=day),
        StackExchange("stackexchange", stackexchange_site, until=day, api_key=stack_key),
        *(dataclasses.replace(site, until=day) for site in SITES),
    ]
    return [
        dataclasses.replace(
            source,
            most=most,
            base_url=mirrors.get(source.name, source.base_url).rstrip("/"),
            per_second=source.per_second if per_second < 0 else per_second,
        )
        for source in every
        if source.name in wanted
    ]


def wanted_sources(named: Sequence[str], mirrors: Iterable[str] = ()) -> list[str]:
    """The sources that some groups stand for.

    Args:
        named: groups of sources, see `GROUPS`.
        mirrors: sources that have a mirror; each has to be one of those.

    Raises:
        ValueError: a name is not known; the message gives the closest.
    """
    wanted = [name for group in GROUPS if group in named for name in GROUPS[group]]
    for given, known in ((named, GROUPS), (mirrors, wanted or chain(*GROUPS.values()))):
        if wrong := unknown_names(map(str, given), known, "source"):
            raise ValueError(wrong)
    return wanted


def last_day(until: str) -> str:
    """A day in its one form.

    Args:
        until: `YYYY-MM-DD`.

    Raises:
        ValueError: there is no such day.
    """
    try:
        return f"{datetime.date.fromisoformat(until)}"
    except ValueError:
        raise ValueError(f"Parameter `until` is {until!r}: write a day as 2026-11-30.") from None


def full_text_query(query: str, permissive_only: bool) -> str:
    """A PubMed query as PubMed Central understands it, for the texts that may be downloaded.

    Args:
        query: in PubMed's syntax.
        permissive_only: leave out texts that may not be passed on.

    Source: search fields and licence filters, https://pmc.ncbi.nlm.nih.gov/about/userguide/
    """
    permissive = ("cc0 license", "cc by license", "cc by-sa license")
    filters = permissive if permissive_only else ("open access",)
    allowed = " OR ".join(f'"{name}"[filter]' for name in filters)
    # PubMed Central has no field for title or abstract in one.
    text = _TITLE_OR_ABSTRACT.sub(r"(\1[Title] OR \1[Abstract])", query)
    return f"({text}) AND ({allowed})"


def _remembered_day(root: Path, until: str) -> str:
    """The day up to which a collection reaches; without a new one it stays what it was."""
    note = root / LAST_DAY
    if not until:
        known = note.read_text(encoding="utf-8").strip() if note.exists() else ""
        until = known or f"{datetime.date.today()}"
    day = last_day(until)
    root.mkdir(parents=True, exist_ok=True)
    write_atomically(note, f"{day}\n")
    return day


def topic_hits(root: Path, source: str = "pubmed") -> pl.DataFrame:
    """Which records the searches of a source found, read from the stored answers.

    Args:
        root: the folder of all payloads.
        source: name of an `Entrez` source.

    Returns:
        Columns topic (`Query.name`) and native_id, one row per pair.
    """
    searches = pl.col("step").str.starts_with("search/")
    kept = payload_table(root).filter(searches, source=source).select("step", "file")
    pairs = dict.fromkeys(
        (step.split("/")[1], native_id)
        for step, file in kept.iter_rows()
        for native_id in search_answer(read_payload(root / file)).ids
    )
    columns = {"topic": pl.String, "native_id": pl.String}
    return pl.DataFrame(list(pairs), schema=columns, orient="row")
