"""Inspect a collection that outgrows a machine: the parts are worked on by Daft on Ray.

The work on a part is that of `elara.inspection.parts`, and the decisions are those of the local
driver, so that both remove the same records. This module only hands parts to Daft.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from elara.inspection.features import MEDIUM
from elara.inspection.files import Limits, inspect_parts
from elara.inspection.parts import Part, selected
from elara.text.words import Array

Item = TypeVar("Item")
Result = TypeVar("Result")


def inspect_on_cluster(
    paths: Path | Iterable[Path],
    into: Path,
    *,
    address: str,
    minimum: float = MEDIUM,
    threshold: float = 0.8,
    keep_non_english: bool = False,
) -> dict[str, Any]:
    """Like `elara.inspection.inspect_files`, on a Ray cluster.

    Needs the packages `daft` and `ray`, and Elara installed on every node.

    Args:
        paths: as for `inspect_files`; every node must see them under the same path.
        into: as for `inspect_files`, on storage that all nodes share. The kept articles are in a
            folder `articles`, one Parquet file for each part, in order.
        address: of the cluster's head, e.g. `ray://head:10001` or `auto`.
        minimum: smallest quality that is kept, in [0, 1].
        threshold: smallest Jaccard similarity of a near duplicate, in (0, 1].
        keep_non_english: whether records in other languages stay.

    Returns:
        The report.

    Raises:
        InputError, ValueError, OSError: as `inspect_files`.

    Source: Daft on Ray, https://docs.daft.ai/en/stable/distributed/ray/
    """
    import daft

    daft.set_runner_ray(address, noop_if_initialized=True)
    limits = Limits(minimum, threshold, keep_non_english)
    return inspect_parts(paths, into.resolve(), limits, _Nodes())


class _Nodes:
    """The nodes of the cluster; Daft decides which of them does what."""

    def each(
        self, function: Callable[[Item], Result], items: Iterable[Item], label: str
    ) -> Iterator[Result]:
        import daft

        tasks = [pickle.dumps((function, item)) for item in items]
        numbered = daft.from_pydict({"number": list(range(len(tasks))), "task": tasks})
        work = daft.func(_call, return_dtype=daft.DataType.binary())
        spread = numbered.into_partitions(len(tasks))
        done = spread.select("number", work(daft.col("task")).alias("done")).to_pydict()
        for _, result in sorted(zip(done["number"], done["done"], strict=True)):
            found = pickle.loads(result)
            if isinstance(found, Exception):
                raise found
            yield found

    def write(self, parts: list[Part], kept: Array, folder: Path) -> str:
        (folder / "articles").mkdir()
        slices = ((p, kept[p.first : p.first + p.rows]) for p in parts)
        list(self.each(partial(_write, folder / "articles"), slices, "write parts"))
        return "articles"


def _call(task: bytes) -> bytes:
    """On a node: do one task. An exception is a result too, so that its message arrives whole."""
    function, item = pickle.loads(task)
    try:
        return pickle.dumps(function(item))
    except (ValueError, OSError) as error:
        return pickle.dumps(error)


def _write(folder: Path, job: tuple[Part, Array]) -> None:
    part, kept = job
    articles = selected(part, kept)
    path = folder / f"{part.path.stem}.parquet"
    articles.write_parquet(path, compression="snappy", statistics=False)
