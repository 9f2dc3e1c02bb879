"""Spread the work on parts of a collection over a Ray cluster, with Daft.

The work on a part is that of `elara.inspection.collection`, and the decisions are taken where
inspection was called, so that a cluster removes the same records as one machine. It needs the
packages of the group `cluster` where it is called, Elara on every node, and files and workspace on
storage that all nodes see under one path.

Source: Daft on Ray, https://docs.daft.ai/en/stable/distributed/ray/
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Nodes:
    """The nodes of a cluster; Daft decides which of them does what.

    Args:
        address: of the cluster's head, e.g. `ray://head:10001` or `auto`.
    """

    def __init__(self, address: str) -> None:
        import daft

        daft.set_runner_ray(address, noop_if_initialized=True)

    def each(
        self, function: Callable[[Item], Result], items: Iterable[Item], label: str
    ) -> Iterator[Result]:
        """Apply a function to all items on the nodes; results come in the order of the items."""
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


def _call(task: bytes) -> bytes:
    """On a node: do one task. An exception is a result too, so that its message arrives whole."""
    function, item = pickle.loads(task)
    try:
        return pickle.dumps(function(item))
    except (ValueError, OSError) as error:
        return pickle.dumps(error)
