"""Account for what live sources promised and what came, and name what is missing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from elara.records import Outcome, Status, frame

NOT_RECEIVED = "not received: "  # how the reason of an outcome begins that belongs to no file
_LEFT_OUT = re.compile("NotFound|Ignored")  # of PubMed's remarks, those on words without effect


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that a source did not get.

    Args:
        what: the address of a page, or words for the search or the records.
        reason: why not.
        gone: the server has no such page any more, so that another pass would change nothing.
        ids: the source's ids of the records, where they are known.
    """

    what: str
    reason: str
    gone: bool = False
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Account:
    """What a source promised of one search, list or folder, and what came.

    Args:
        source: name of the source.
        what: the search, list or folder.
        expected: how many records, pages or files there should be.
        received: how many of them are here.
        said: what the service remarks on the search, such as words that it left out.
    """

    source: str
    what: str
    expected: int
    received: int
    said: str = ""


@dataclass(slots=True)
class Harvest:
    """What a run of the live sources did.

    Args:
        root: the folder of all payloads.
        payloads: one row per `Payload`, of this run and all before it.
        downloaded: source to how many answers this run fetched from the network.
        retries: how many requests had to be repeated.
        accounts: one row per `Account`.
        failures: source to what is missing.
    """

    root: Path
    payloads: pl.DataFrame
    downloaded: dict[str, int] = field(default_factory=dict)
    retries: int = 0
    accounts: pl.DataFrame = field(default_factory=lambda: frame([], Account))
    failures: dict[str, list[Failure]] = field(default_factory=dict)

    def missing(self) -> list[str]:
        """A line for each thing that did not come; none where every account closes."""
        return [
            f"{source}: {f.reason if f.reason.startswith(f.what) else f'{f.what}: {f.reason}'}"
            for source, failures in self.failures.items()
            for f in failures
        ]

    def remarks(self) -> list[str]:
        """A line for each search of which the service left words out."""
        said = ((*named, words) for *named, words in self._said() if _LEFT_OUT.search(words))
        return [f"{source}: {what} left out a part: {words}" for source, what, words in said]

    def _said(self) -> list[tuple[str, str, str]]:
        said = self.accounts.filter(pl.col("said") != "")
        return said.select("source", "what", "said").rows()

    def open_accounts(self) -> pl.DataFrame:
        """The accounts that do not close, and those of searches on which the service remarks."""
        short = pl.col("received") < pl.col("expected")
        return self.accounts.filter(short | (pl.col("said") != ""))

    def outcomes(self) -> list[Outcome]:
        """Rows for the table of outcomes: what did not come, and what services said of searches.

        The file is the address of what did not come, or source and search. That words of a
        search had no effect is an error, other remarks are not. Where the ids of
        missing records are known, each has a row of its own.
        """
        found = [
            _outcome(source, failure.what, NOT_RECEIVED + failure.reason, native_id=native_id)
            for source, failures in self.failures.items()
            for failure in failures
            for native_id in failure.ids or ("",)
        ]
        for source, what, words in self._said():
            status: Status = "error" if _LEFT_OUT.search(words) else "skipped"
            reason = f"the service says of this search: {words}"
            found.append(_outcome(source, what, reason, status))
        return found

    def per_source(self) -> pl.DataFrame:
        """One row per source: answers kept, of which fetched in this run, records and bytes.

        `expected` and `received` add up its accounts (a record counts in each search that finds
        it), and `missing` is how many lines `missing` has for it.
        """
        numbers = dict.fromkeys(("fetched_now", "expected", "received", "missing"), pl.Int64)
        rows = [{"source": s, "fetched_now": n} for s, n in self.downloaded.items()]
        rows += [{"source": s, "missing": len(f)} for s, f in self.failures.items()]
        parts = [
            self.payloads.select(
                "source", answers=pl.lit(1), records=pl.col("ids").list.len(), bytes="bytes"
            ),
            pl.DataFrame(rows, schema={"source": pl.String, **numbers}),
            self.accounts.select("source", "expected", "received"),
        ]
        return pl.concat(parts, how="diagonal").group_by("source").sum().sort("source")


def _outcome(
    source: str, what: str, reason: str, status: Status = "error", native_id: str = ""
) -> Outcome:
    file = what if "://" in what else f"{source}/{what}"
    return Outcome(file=file, record=-1, native_id=native_id, status=status, reason=reason)
