"""What others do with the same files, one function each; benchmarks/inspect.py runs them.

    <its own python> -P benchmarks/inspect_peers.py NAME INPUT OUTPUT

The texts that are compared are the abstracts. Each peer runs as its documentation shows it, on
two processes or all cores, and removes what it finds; none but Elara verifies its candidates.
"""

from __future__ import annotations

import sys
from pathlib import Path

PROCESSES = 2


def orjson_parse(source: Path, into: Path) -> None:
    """Parse every line, and nothing else."""
    import orjson

    for path in sorted(source.glob("*.jsonl")):
        with path.open("rb") as lines:
            for line in lines:
                orjson.loads(line)


def plain_python(source: Path, into: Path) -> None:
    """Exact duplicates only: a set of digests of the lower-cased words."""
    import hashlib
    import json
    import re

    word = re.compile(r"[^\W_]+")
    seen = set()
    with (into / "kept.jsonl").open("w", encoding="utf-8") as kept:
        for path in sorted(source.glob("*.jsonl")):
            with path.open(encoding="utf-8") as lines:
                for line in lines:
                    row = json.loads(line)
                    text = " ".join(word.findall(f"{row['title']} {row['abstract']}".lower()))
                    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
                    if digest not in seen:
                        seen.add(digest)
                        kept.write(json.dumps(row, ensure_ascii=False) + "\n")


def daft(source: Path, into: Path) -> None:
    """Daft's built-in normalisation, MinHash and group-by: 32 bands of 4, as Elara has them."""
    import daft
    from daft import col

    articles = daft.read_json(str(source / "*.jsonl"))
    uint32 = daft.DataType.uint32()
    text = col("abstract").normalize(remove_punct=True, lowercase=True, white_space=True)
    hashes = text.minhash(num_hashes=128, ngram_size=3).cast(daft.DataType.list(uint32))
    bands = (
        articles.select("id", hashes.chunk(4).alias("band"))
        .with_column("number", daft.lit(list(range(32))))
        .explode("band", "number")
        .select("id", "number", col("band").hash().alias("key"))
    )
    first = bands.groupby("number", "key").agg(
        col("id").min().alias("first"), col("id").count().alias("size")
    )
    copies = (
        bands.join(first.where(col("size") > 1), on=["number", "key"])
        .where(col("id") != col("first"))
        .select("id")
        .distinct()
    )
    articles.join(copies, on="id", how="anti").write_parquet(str(into))


def datatrove(source: Path, into: Path) -> None:
    """The four steps of its MinHash example, two workers, Parquet at the end."""
    from datatrove.executor.local import LocalPipelineExecutor as Executor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import ParquetWriter

    config = MinhashConfig(n_grams=3, num_buckets=14, hashes_per_bucket=8)
    reader = JsonlReader(str(source), glob_pattern="*.jsonl", text_key="abstract")
    signatures, buckets, ids = (str(into / name) for name in ("signatures", "buckets", "ids"))
    steps = (
        ([reader, MinhashDedupSignature(signatures, config)], PROCESSES),
        ([MinhashDedupBuckets(signatures, buckets, config=config)], config.num_buckets),
        ([MinhashDedupCluster(buckets, ids, config=config)], 1),
        ([reader, MinhashDedupFilter(ids), ParquetWriter(str(into / "kept"))], PROCESSES),
    )
    for number, (pipeline, tasks) in enumerate(steps):
        logs = str(into / f"logs{number}")
        Executor(pipeline, tasks=tasks, workers=PROCESSES, logging_dir=logs).run()


def text_dedup(source: Path, into: Path) -> None:
    """Its MinHash command, two processes."""
    import os

    flags = {
        "path": "json",
        "data_files": str(source / "*.jsonl"),
        "split": "train",
        "cache_dir": str(into / "cache"),
        "output": str(into / "kept"),
        "column": "abstract",
        "ngram": "3",
        "min_length": "0",
        "threshold": "0.8",
        "num_proc": str(PROCESSES),
    }
    arguments = [part for name, value in flags.items() for part in (f"--{name}", value)]
    os.execv(sys.executable, [sys.executable, "-m", "text_dedup.minhash", *arguments])


PEERS = (orjson_parse, plain_python, daft, datatrove, text_dedup)

if __name__ == "__main__":
    chosen = {peer.__name__: peer for peer in PEERS}[sys.argv[1]]
    target = Path(sys.argv[3])
    target.mkdir(parents=True, exist_ok=True)
    chosen(Path(sys.argv[2]), target)
