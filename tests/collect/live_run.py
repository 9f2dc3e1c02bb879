"""One run of the live sources against a mirror, as a process that a test can kill.

Usage: python live_run.py MIRROR_URL FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from elara.collect.live.entrez import Entrez, Query
from elara.collect.live.harvest import Source, harvest
from elara.collect.live.store import payload_table
from elara.workspace import file_sha256

CONTACT = "name@example.org"
UNTIL = "2026-11-23"


def pubmed(
    url: str,
    names: tuple[str, ...] = ("asthma", "malaria"),
    *,
    most: int = 0,
    until: str = UNTIL,
    page: int = 40,
    per_second: int = 0,
    api_key: str = "",
) -> Entrez:
    """A PubMed source on a mirror, with small pages so that a run has many steps."""
    queries = [Query(name, f'"{name}"[MeSH Terms]') for name in names]
    return Entrez(
        "pubmed", queries, CONTACT, until=until, most=most, base_url=f"{url}/eutils",
        per_second=per_second, page=page, api_key=api_key,
    )  # fmt: skip


def damaged(root: Path) -> list[str]:
    """The stored answers that are missing or not as they came."""
    rows = payload_table(root).select("file", "sha256").iter_rows()
    return [f for f, h in rows if not (root / f).exists() or file_sha256(root / f) != h]


def full_texts(url: str) -> Entrez:
    """A source of full texts on a mirror."""
    return Entrez(
        "pmc", [Query("malaria", "malaria")], CONTACT, until=UNTIL, database="pmc",
        base_url=f"{url}/eutils", per_second=0, page=5,
    )  # fmt: skip


def ids(folder: Path) -> list[str]:
    """The ids of all stored records, sorted; twice fetched ones stand there twice."""
    return sorted(payload_table(folder)["ids"].explode().drop_nulls())


if __name__ == "__main__":
    url, folder = sys.argv[1:]
    sources: list[Source] = [pubmed(url), full_texts(url)]
    print("ready", flush=True)
    harvest(sources, Path(folder), CONTACT, longest_pause=0.1)
    print("done", flush=True)
