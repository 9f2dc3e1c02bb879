"""Every record of a folder, read without the steps that collecting adds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from elara.collect.listing import list_files
from elara.collect.parsed import Parsed
from elara.collect.rawfiles import read_listed


def read_folder(folder: Path) -> Iterator[Parsed]:
    """What is read of each file of a folder, in the order of their names."""
    for file in list_files(folder):
        yield from read_listed(file)
