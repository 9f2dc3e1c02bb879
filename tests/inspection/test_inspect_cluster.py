"""Two drivers, one result: the cluster removes exactly what one machine removes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

pytest.importorskip("daft", reason="the cluster driver needs daft and ray")
pytest.importorskip("ray", reason="the cluster driver needs daft and ray")

pytestmark = pytest.mark.slow

# A process of its own: Ray's workers end with it, and Daft's runner is set once per process.
SCRIPT = """
import json, sys
from pathlib import Path

import polars as pl
import ray
from ray.cluster_utils import Cluster

from elara.inspection import inspect_files, reading

reading.PART_BYTES = 400_000
node = {"num_cpus": 1, "object_store_memory": 100_000_000}
cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
cluster.add_node(**node)
ray.init(address=cluster.address, log_to_driver=False)
source, into = Path(sys.argv[1]), Path(sys.argv[2])
inspected = inspect_files(source, into, cluster=cluster.address)
bad = into.parent / "bad.parquet"
pl.DataFrame({"title": ["t"]}).write_parquet(bad)
try:
    inspect_files([bad], into, cluster=cluster.address)
except ValueError as error:
    message = str(error)
print(json.dumps([len(ray.nodes()), inspected.report["articles"], message]))
ray.shutdown()
cluster.shutdown()
"""


def test_both_drivers_remove_the_same_records(
    corpus: Path, inspected: Path, tmp_path: Path
) -> None:
    into = tmp_path / "out"
    command = [sys.executable, "-c", SCRIPT, str(corpus), str(into)]
    output = subprocess.run(command, text=True, capture_output=True, timeout=300)
    assert output.returncode == 0, output.stderr
    nodes, articles, message = json.loads(output.stdout.splitlines()[-1])
    assert nodes == 2
    assert articles == 3000
    assert "a record without `id`, at row 1" in message
    for name in ("articles", "scores", "removed", "review", "skipped"):
        there, here = (pl.read_parquet(f / f"{name}.parquet") for f in (into, inspected))
        assert there.equals(here), name
