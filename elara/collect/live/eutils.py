"""Read the answers of the E-utilities, and tell whole ones from broken ones.

Source: https://www.ncbi.nlm.nih.gov/books/NBK25499/
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import NamedTuple

import polars as pl
from lxml import etree

from elara.collect.live.store import payload_table, read_payload

_ENDS = {"pubmed": (b"</PubmedArticleSet>", b"<PubmedArticleSet/>"), "pmc": (b"</pmc-articleset>",)}
_ID = {
    "pubmed": re.compile(
        rb"<(?:MedlineCitation|BookDocument)\b[^>]*>\s*<PMID\b[^>]*>\s*(\d+)\s*</PMID>"
    ),
    "pmc": re.compile(
        rb"<article-id\s[^>]*pub-id-type=\"(?:pmc|pmcid|pmcaid)\"[^>]*>\s*(?:PMC)?(\d+)"
    ),
}
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
_KEY = re.compile(rb"<(WebEnv|QueryKey)>\s*([^<\s]+)\s*</")
_FORGOTTEN = (b"unable to obtain query", b"webenv", b"query_key", b"history")


def record_ids(body: bytes, database: str) -> set[str]:
    """The ids of the records in an answer of efetch.

    Args:
        body: the answer.
        database: `pubmed` or `pmc`.
    """
    return {i.decode() for i in _ID[database].findall(body)}


def wrong_records(body: bytes, database: str) -> str:
    """What is wrong with an answer of efetch, or "".

    Args:
        body: the answer.
        database: `pubmed` or `pmc`.
    """
    whole = body.rstrip().endswith(_ENDS[database])
    return "" if whole else f"no complete set of records but {_beginning(body)}"


def forgotten(body: bytes) -> bool:
    """Whether an answer says that the History server does not know some ids any more."""
    words = body[:2000].lower()
    return b"error" in words and any(word in words for word in _FORGOTTEN)


def history_key(body: bytes) -> dict[str, str]:
    """The parameters by which efetch finds what was posted; empty for a broken answer of epost."""
    found = {name: value.decode() for name, value in _KEY.findall(body)}
    whole = len(found) == 2
    return {"WebEnv": found[b"WebEnv"], "query_key": found[b"QueryKey"]} if whole else {}


def wrong_post(body: bytes) -> str:
    """What is wrong with an answer of epost, or ""."""
    return "" if history_key(body) else f"no history key but {_beginning(body)}"


class SearchAnswer(NamedTuple):
    """What a search answer says.

    Args:
        total: how many records there are.
        ids: those that it lists.
        translation: how the service understood the query: two that differ have two of them.
        said: what of the query it could not use, and searched without.

    Source: https://eutils.ncbi.nlm.nih.gov/eutils/dtd/20060628/esearch.dtd
    """

    total: int
    ids: list[str]
    translation: str
    said: str


@functools.lru_cache(maxsize=4)  # it is looked at several times, but not kept for long
def search_answer(body: bytes) -> SearchAnswer:
    """What an answer of esearch says.

    Raises:
        ValueError: it is no whole answer; the message says what is wrong.
    """
    try:
        tree = etree.fromstring(body, _PARSER)
    except etree.XMLSyntaxError:
        tree = etree.Element("none")
    if tree.tag != "eSearchResult":
        raise ValueError(f"no search result but {_beginning(body)}")
    if error := tree.findtext("ERROR"):
        raise ValueError(f"the search failed: {error}")
    if not (tree.findtext("Count") or "").isdecimal():
        raise ValueError("a search result without a count")
    remarks = (e for kind in ("ErrorList", "WarningList") for e in tree.iterfind(f"{kind}/*"))
    return SearchAnswer(
        int(tree.findtext("Count") or 0),
        [i.text or "" for i in tree.iterfind("IdList/Id")],
        tree.findtext("QueryTranslation") or "",
        "; ".join(f"{remark.tag}: {(remark.text or '').strip()}" for remark in remarks),
    )


def wrong_search(body: bytes) -> str:
    """What is wrong with an answer of esearch, or ""."""
    try:
        search_answer(body)
    except ValueError as error:
        return str(error)
    return ""


def finds_nothing(body: bytes) -> str:
    """Why the answer of esearch is odd, or "": it may be right, but is worth asking for twice."""
    return "" if search_answer(body).total else "a search that finds nothing at all"


def _beginning(body: bytes) -> str:
    return repr(body[:60].decode("utf-8", "replace")) if body.strip() else "an empty answer"


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
