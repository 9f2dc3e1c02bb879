"""Read references as reference managers export them: RIS, with its abstracts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from elara.collect.own import decoded, own_article
from elara.collect.parsed import Parsed
from elara.text.placeholders import is_placeholder

_RECORD = re.compile(r"^(?=TY  -)", re.MULTILINE)
_TAG = re.compile(r"([A-Z][A-Z0-9])  -(?: (.*))?")
# The tags of RIS that say the same thing, the first that is there. Source:
# https://en.wikipedia.org/wiki/RIS_(file_format), from the specification of Research Information
# Systems, which is not online any more.
_RIS = {
    "title": ("TI", "T1", "CT"),
    "abstract": ("AB", "N2"),
    "journal": ("JO", "JF", "T2", "JA", "J2"),
    "date": ("PY", "Y1", "DA"),
    "language": ("LA",),
    "doi": ("DO",),
    "url": ("UR",),
    "id": ("ID", "AN"),
}
_PUBMED = re.compile(r"pubmed|medline", re.IGNORECASE)


def ris_records(chunks: Iterable[bytes]) -> Iterator[str]:
    """Cut a RIS file into its records, each from `TY` to the line before the next one.

    Args:
        chunks: pieces of the file.

    Raises:
        PayloadError: it is not text.
    """
    waiting = ""
    for piece in decoded(chunks):
        waiting += piece
        *whole, waiting = _RECORD.split(waiting)
        yield from (record.strip() for record in whole if record.startswith("TY  -"))
    if waiting.startswith("TY  -"):
        yield waiting.strip()


def parse_ris(chunks: Iterable[bytes]) -> Iterator[Parsed]:
    """Read RIS: each record becomes one article with title and abstract.

    Args:
        chunks: pieces of the file.

    Yields:
        One `Parsed` per record; one that does not end is an error.

    Raises:
        PayloadError: it is not text.
    """
    for number, record in enumerate(ris_records(chunks)):
        values = _ris_values(record)
        if "ER" not in values:
            reason = "the record breaks off before its line `ER  -`: export it again"
            yield Parsed(record=number, status="error", reason=reason)
            continue
        said: dict[str, str | list[str]] = {}
        for field, tags in _RIS.items():
            said[field] = next((values[t][0] for t in tags if values.get(t, [""])[0]), "")
        if _PUBMED.search(" ".join(values.get("DB", []))):
            said["pmid"] = values.get("AN", [""])[0]
        said["authors"] = [name for tag in ("AU", "A1") for name in values.get(tag, [])]
        said["keywords"] = [k for word in values.get("KW", []) for k in word.split("\n")]
        abstracts = {text for tag in _RIS["abstract"] for text in values.get(tag, [])}
        found = _reference(said, number)
        if found.article and len(abstracts) > 1:
            found.reason = f"{len(abstracts) - 1} more abstracts are not used"
        yield found


def _ris_values(record: str) -> dict[str, list[str]]:
    """Tag to its values; a line without a tag goes on with the value before."""
    values: dict[str, list[str]] = {}
    last: list[str] = []
    for line in record.split("\n"):
        if found := _TAG.fullmatch(line.rstrip()):
            last = values.setdefault(found[1], [])
            last.append((found[2] or "").strip())
        elif last:
            last[-1] = f"{last[-1]}\n{line.strip()}".strip()
    return values


def _reference(said: dict[str, str | list[str]], number: int) -> Parsed:
    """An article with an abstract or without: what it lacks, a record of PubMed may add."""
    texts = str(said["title"]), str(said["abstract"])
    if not any(text and not is_placeholder(text) for text in texts):
        reason = "reference without title and abstract"
        return Parsed(record=number, native_id=str(said["id"]), status="skipped", reason=reason)
    found = own_article(said, [])
    found.record = number
    return found
