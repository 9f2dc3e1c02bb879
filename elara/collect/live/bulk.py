"""Collect PubMed as files: the yearly baseline and the daily updates, with checksums.

Updates hold new and revised records and lists of deleted ones; reading all files and merging them
gives PubMed as of the last update. Files are numbered without gaps, and updates go on where the
baseline ends, so that a list with files missing shows.

Source: https://pubmed.ncbi.nlm.nih.gov/download/
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from pathlib import Path

from elara.collect.live.client import FetchError, Request
from elara.collect.live.harvest import ASKS, Fetch, Source

BASE_URL = "https://ftp.ncbi.nlm.nih.gov/pubmed"
_FILE = re.compile(r'href="((pubmed\d\dn)(\d{4,})\.xml\.gz)"')  # year and number
_MD5 = re.compile(rb"\b[0-9a-f]{32}\b")
_NAMED = re.compile(rb"\((.*?)\)")

Listed = dict[str, tuple[str, int]]  # file name to year and number


@dataclass(frozen=True, slots=True)
class PubmedFiles(Source):
    """A mirror of PubMed's files; `most` of each folder.

    Args:
        folders: `baseline`, `updatefiles`, or both.
    """

    name: str = "pubmed_files"
    folders: tuple[str, ...] = ("baseline", "updatefiles")
    _: KW_ONLY
    base_url: str = BASE_URL
    per_second: int = 3

    def run(self, fetch: Fetch) -> None:
        """List each folder and fetch the files that are not here yet."""
        before: Listed = {}
        for folder in self.folders:
            url = f"{self.base_url}/{folder}"
            here = [Path(step).name for step in fetch.store.steps if step.startswith(f"{folder}/")]
            lacks = partial(_gaps, folder=folder, here=here, before=before)
            try:
                # The list grows every day, so that it is asked for in every run and not kept.
                body, wrong = fetch.ask(Request(f"{url}/", check=_wrong_listing), lacks)
            except FetchError as error:
                fetch.fail(f"{url}/", error)
                continue
            if wrong:
                fetch.fail(f"{url}/", FetchError(f"{wrong}, {ASKS} times in a row: run again."))
            before = _listed(body)
            names = sorted(before)[-self.most :]
            fetch.expect(folder, len(names))
            received = 0
            for name in names:
                try:
                    self._file(fetch, f"{folder}/{name}", f"{url}/{name}")
                    received += 1
                except FetchError as error:
                    fetch.fail(f"{url}/{name}", error)
            fetch.account(f"files in {folder}", len(names), received)

    def _file(self, fetch: Fetch, step: str, url: str) -> None:
        if step not in fetch.store.steps:
            check = partial(_wrong_md5, name=Path(step).name)
            body, _ = fetch.ask(Request(f"{url}.md5", check=check))
            expected = _MD5.findall(body)[0].decode()

            def lacks(body: bytes) -> str:
                return "" if hashlib.md5(body).hexdigest() == expected else "another MD5 sum"

            request = Request(url, headers={"Accept-Encoding": "identity"})  # packed as it is
            body, wrong = fetch.ask(request, lacks)
            if wrong:
                raise FetchError(
                    f"{url} does not have the MD5 sum {expected} that the server states, "
                    f"{ASKS} times in a row: try another mirror (`base_url`)."
                )
            fetch.store.add(step, url, body, "xml", [step], packed=True)
            fetch.downloaded += 1
        fetch.seen(step)


def _listed(body: bytes) -> Listed:
    found = _FILE.findall(body.decode("utf-8", "replace"))
    return {name: (year, int(number)) for name, year, number in found}


def _gaps(body: bytes, folder: str, here: Sequence[str], before: Listed) -> str:
    """What a list lacks: numbers in the row after the folder before, or files that are here."""
    listed = _listed(body)
    year, last = max(listed.values())
    numbers = {number for of, number in listed.values() if of == year}
    first = 1 if folder == "baseline" else min(numbers)
    if before and max(before.values())[0] == year:
        first = max(before.values())[1] + 1
    gone = {name for name in here if name.startswith(year)} - listed.keys()
    expected = set(range(first, max(first, last) + 1))
    lacking = len(expected ^ numbers) + len(gone)
    return f"a list with {lacking} files too few or of another folder" if lacking else ""


def _wrong_listing(body: bytes) -> str:
    whole = b"</html>" in body[-4096:].lower()
    return "" if whole and _listed(body) else "no list of PubMed files"


def _wrong_md5(body: bytes, name: str) -> str:
    if len(_MD5.findall(body)) != 1:
        return "no MD5 sum"
    named = _NAMED.search(body)
    other = named and Path(named[1].decode("ascii", "replace")).name
    return f"the MD5 sum of {other}" if other and other != name else ""
