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

    def line(self) -> str:
        """What is missing, and why."""
        named = self.reason.startswith(self.what)
        return self.reason if named else f"{self.what}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
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
            f"{source}: {failure.line()}"
            for source, failures in self.failures.items()
            for failure in failures
        ]

    def remarks(self) -> list[str]:
        """A line for each search of which the service left words out."""
        said = self.accounts.filter(pl.col("said").str.contains(_LEFT_OUT.pattern))
        rows = said.select("source", "what", "said").iter_rows()
        return [f"{source}: {what} left out a part: {words}" for source, what, words in rows]

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
        missing = [
            _outcome(source, failure.what, NOT_RECEIVED + failure.reason, "error", native_id)
            for source, failures in self.failures.items()
            for failure in failures
            for native_id in failure.ids or ("",)
        ]
        said = self.accounts.filter(pl.col("said") != "").select("source", "what", "said")
        return missing + [
            _outcome(
                source,
                what,
                f"the service says of this search: {words}",
                "error" if _LEFT_OUT.search(words) else "skipped",
            )
            for source, what, words in said.iter_rows()
        ]

    def per_source(self) -> pl.DataFrame:
        """One row per source: answers kept, of which fetched in this run, records and bytes.

        `expected` and `received` add up its accounts (a record counts in each search that finds
        it), and `missing` is how many lines `missing` has for it.
        """
        new = pl.DataFrame(
            {"source": list(self.downloaded), "fetched_now": list(self.downloaded.values())},
            schema={"source": pl.String, "fetched_now": pl.Int64},
        )
        closed = self.accounts.group_by("source").agg(pl.sum("expected", "received"))
        missing = pl.DataFrame(
            [(source, len(failures)) for source, failures in self.failures.items()],
            schema={"source": pl.String, "missing": pl.Int64},
            orient="row",
        )
        return (
            self.payloads.group_by("source")
            .agg(answers=pl.len(), records=pl.col("ids").list.len().sum(), bytes=pl.sum("bytes"))
            .join(new, on="source", how="full", coalesce=True)
            .join(closed, on="source", how="full", coalesce=True)
            .join(missing, on="source", how="full", coalesce=True)
            .fill_null(0)
            .sort("source")
        )


def _outcome(source: str, what: str, reason: str, status: Status, native_id: str = "") -> Outcome:
    file = what if "://" in what else f"{source}/{what}"
    return Outcome(file=file, record=-1, native_id=native_id, status=status, reason=reason)
