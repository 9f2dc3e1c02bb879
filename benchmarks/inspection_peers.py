"""What others do with the same files, one function each; benchmarks/inspection.py runs them.

    <its own python> -P benchmarks/inspection_peers.py NAME INPUT OUTPUT

The texts that are compared are the abstracts. Each peer runs as its documentation shows it, on
two processes or all cores, and removes what it finds; none but Elara verifies its candidates. All
use 32 bands of 4 hashes of three-word runs, as Elara does. NAME_ids lists the ids that a peer kept.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

PROCESSES = 2
BANDS, ROWS = 32, 4


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
    """Daft's built-in normalisation, MinHash and group-by."""
    import daft
    from daft import col

    articles = daft.read_json(str(source / "*.jsonl"))
    uint32 = daft.DataType.uint32()
    text = col("abstract").normalize(remove_punct=True, lowercase=True, white_space=True)
    hashes = text.minhash(num_hashes=BANDS * ROWS, ngram_size=3).cast(daft.DataType.list(uint32))
    bands = (
        articles.select("id", hashes.chunk(ROWS).alias("band"))
        .with_column("number", daft.lit(list(range(BANDS))))
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

    config = MinhashConfig(n_grams=3, num_buckets=BANDS, hashes_per_bucket=ROWS)
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
        "num_perm": str(BANDS * ROWS),
        "b": str(BANDS),
        "r": str(ROWS),
        "num_proc": str(PROCESSES),
    }
    arguments = [part for name, value in flags.items() for part in (f"--{name}", value)]
    os.execv(sys.executable, [sys.executable, "-m", "text_dedup.minhash", *arguments])


def _sketch(row: tuple[str, str]) -> tuple[str, object]:
    """Id and MinHash of an abstract."""
    from datasketch import LeanMinHash, MinHash

    words = row[1].lower().split()
    sketch = MinHash(num_perm=BANDS * ROWS)
    sketch.update_batch([" ".join(words[i : i + 3]).encode() for i in range(len(words) - 2)])
    return row[0], LeanMinHash(sketch)


def datasketch(source: Path, into: Path) -> None:
    """Its MinHashLSH: a record that finds another in the index is dropped, others are inserted."""
    from multiprocessing import Pool

    import orjson
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasketch import MinHashLSH

    rows = [
        orjson.loads(line)
        for path in sorted(source.glob("*.jsonl"))
        for line in path.read_bytes().splitlines()
    ]
    index = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    kept = set()
    with Pool(PROCESSES) as pool:
        texts = ((row["id"], row["abstract"]) for row in rows)
        for name, sketch in pool.imap(_sketch, texts, chunksize=1000):
            if not index.query(sketch):
                index.insert(name, sketch)
                kept.add(name)
    table = pa.Table.from_pylist([row for row in rows if row["id"] in kept])
    pq.write_table(table, into / "kept.parquet")


def _from_lines(source: Path, into: Path) -> None:
    import json

    with (source / "kept.jsonl").open(encoding="utf-8") as lines:
        _list((json.loads(line)["id"] for line in lines), into)


def _from_parquet(source: Path, into: Path) -> None:
    import pyarrow.parquet as pq

    files = (p for p in sorted(source.rglob("*.parquet")))
    _list((i for p in files for i in pq.read_table(p, columns=["id"])["id"].to_pylist()), into)


def _from_dataset(source: Path, into: Path) -> None:
    from datasets import load_from_disk

    _list(load_from_disk(str(source / "kept"))["id"], into)


def _list(ids: Iterable[str], into: Path) -> None:
    (into / "kept.txt").write_text("".join(f"{i}\n" for i in ids), encoding="utf-8")


PEERS = {
    p.__name__: p for p in (orjson_parse, plain_python, daft, datasketch, datatrove, text_dedup)
}
LISTS = {
    "plain_python_ids": _from_lines,
    "daft_ids": _from_parquet,
    "datasketch_ids": _from_parquet,
    "datatrove_ids": _from_parquet,
    "text_dedup_ids": _from_dataset,
}

if __name__ == "__main__":
    target = Path(sys.argv[3])
    target.mkdir(parents=True, exist_ok=True)
    (PEERS | LISTS)[sys.argv[1]](Path(sys.argv[2]), target)
