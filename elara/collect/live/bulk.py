"""PubMed as files: the yearly baseline and the daily updates, with checksums.

Updates hold new and revised records and lists of deleted ones; reading all files and merging them
gives PubMed as of the last update.

Source: https://pubmed.ncbi.nlm.nih.gov/download/
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from elara.collect.live.client import FetchError, Request
from elara.collect.live.harvest import Fetch

BASE_URL = "https://ftp.ncbi.nlm.nih.gov/pubmed"
_FILE = re.compile(rb'href="(pubmed\d\dn\d{4,}\.xml\.gz)"')
_MD5 = re.compile(rb"\b[0-9a-f]{32}\b")
_TRIES = 3  # downloads of a file whose checksum is wrong


@dataclass(frozen=True, slots=True)
class PubmedFiles:
    """A mirror of PubMed's files.

    Args:
        folders: `baseline`, `updatefiles`, or both.
        most: files per folder, the newest; 0 means all.
        base_url: address of the files or of a mirror.
        per_second: requests per second.
        name: name of the source and of the folder of its payloads.
    """

    folders: tuple[str, ...] = ("baseline", "updatefiles")
    most: int = 0
    base_url: str = BASE_URL
    per_second: int = 3
    name: str = "pubmed_files"

    def run(self, fetch: Fetch) -> None:
        """List each folder and fetch the files that are not here yet."""
        for folder in self.folders:
            url = f"{self.base_url}/{folder}"
            # The list grows every day, so that it is asked for in every run and not kept.
            listing = fetch.ask(Request(f"{url}/", check=_wrong_listing))
            names = sorted({name.decode() for name in _FILE.findall(listing)})[-self.most :]
            fetch.expect(folder, len(names))
            for name in names:
                try:
                    self._file(fetch, f"{folder}/{name}", f"{url}/{name}")
                except FetchError as error:
                    fetch.fail(name, error)

    def _file(self, fetch: Fetch, step: str, url: str) -> None:
        if step not in fetch.store.steps:
            expected = _MD5.findall(fetch.ask(Request(f"{url}.md5", check=_wrong_md5)))[0].decode()
            part = fetch.store.part(Path(step).name)
            for _ in range(_TRIES):
                fetch.check_stopped()
                fetch.client.download(Request(url), part)
                if _md5(part) == expected:
                    break
                part.unlink()
            else:
                raise FetchError(
                    f"{url} does not have the MD5 sum {expected} that the server states, "
                    f"{_TRIES} times in a row: try another mirror (`base_url`)."
                )
            fetch.check_stopped()
            fetch.store.adopt(step, url, part, "xml.gz", ids=[step])
            fetch.downloaded += 1
        fetch.seen(step)


def _md5(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "md5").hexdigest()


def _wrong_listing(body: bytes) -> str:
    return "" if _FILE.search(body) else "no list of PubMed files"


def _wrong_md5(body: bytes) -> str:
    return "" if len(_MD5.findall(body)) == 1 else "no MD5 sum"
