"""Trace a training example back to its article, the passage, and the raw file with its hash."""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import polars as pl

from elara.records import Article, records
from elara.workspace import Workspace, WorkspaceError, file_sha256

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Trace:
    """Where an example comes from.

    Args:
        example: its line in the training data.
        article: the clean article, or {} for a curated case.
        raw: path, record (position in the file), sha256 (of the file as it is now, "" where it is
            gone) and recorded (the hash when it was fetched, "" where nothing recorded one).
        changed: whether the article's text is another than when the example was built.
        passages: the text of each of its spans.
    """

    example: dict[str, Any]
    article: dict[str, Any]
    raw: dict[str, Any]
    changed: bool
    passages: list[str]

    def lines(self) -> Iterator[str]:
        """The trace for a reader, from the example back to the raw file."""
        example = self.example
        yield f"Example    {example['id']}"
        yield f"           {example['split']}, {example['specialty']}, recipe {example['recipe']}"
        yield f"Licence    {example['licence']}"
        if not self.article:
            yield "Source     a curated case of this project, elara/expand/curated"
            return
        yield f"Article    {self.article['title']} ({self.article['id']})"
        if self.article["url"]:
            yield f"           {self.article['url']}"
        if self.changed:
            yield "           its text has changed since: run `elara run --from expand`"
        for span, text in zip(example["spans"], self.passages, strict=True):
            yield f"Passage    {span['part']}, characters {span['start']}–{span['end']}:"
            yield f"           {text if len(text) <= 300 else text[:300] + ' …'}"
        yield f"Raw file   {self.raw['path']}, record {self.raw['record']}"
        known = self.raw["recorded"]
        note = "" if not known else ", as recorded" if known == self.raw["sha256"] else ", CHANGED"
        yield f"           SHA-256 {self.raw['sha256'] or 'unknown: the file is gone'}{note}"


def passage(article: Article, part: str, start: int, end: int) -> str:
    """The text of a passage of an article.

    Args:
        article: a clean article.
        part: `abstract`, or `body/N`.
        start: its first character.
        end: the character behind its last one.
    """
    text = article.abstract
    if part != "abstract":
        text = article.body[int(part.removeprefix("body/"))].text
    return text[start:end]


def trace(workspace: Workspace, example_id: str) -> Trace:
    """Find where an example comes from.

    Args:
        workspace: where the stages collect to expand have run.
        example_id: the example's id, as in `train.jsonl`.

    Raises:
        WorkspaceError: no workspace, no such example, or its article is no longer there.
    """
    workspace.must_exist()
    example = _example(workspace, example_id)
    if example["origin"] == "curated":
        return Trace(example, {}, {}, changed=False, passages=[])
    article_id = example["article_ids"][0]
    found = pl.scan_parquet(workspace.folder("clean") / "articles.parquet")
    rows = found.filter(pl.col("id") == article_id).collect()
    if rows.is_empty():
        raise WorkspaceError(
            f"The article {article_id} of {example_id} is not among the clean articles any more: "
            "run `elara run --from expand`, which builds the examples anew."
        )
    article = rows.row(0, named=True)
    (record,) = records(rows, Article)
    changed = text_sha256(record) != example["article_sha256"]
    places = [(span["part"], span["start"], span["end"]) for span in example["spans"]]
    texts = [passage(record, *place) for place in places]
    return Trace(example, article, _raw(workspace, article), changed, texts)


def text_sha256(article: Article) -> str:
    """The hash of an article's text: title, abstract and body.

    Args:
        article: a clean article.

    Returns:
        SHA-256 in hexadecimal.
    """
    body = [[section.kind, section.heading, section.text] for section in article.body]
    text = json.dumps([article.title, article.abstract, body], ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _example(workspace: Workspace, example_id: str) -> dict[str, Any]:
    """The line of an example; the files are searched as bytes, which takes no time."""
    wanted = f'"id":{json.dumps(example_id, ensure_ascii=False)}'.encode()
    for split in SPLITS:
        path = workspace.folder("expand") / f"{split}.jsonl"
        if not path.is_file() or not path.stat().st_size:
            continue
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            at = text.find(wanted)
            while at >= 0:
                start, end = text.rfind(b"\n", 0, at) + 1, text.find(b"\n", at)
                line = json.loads(text[start : end if end >= 0 else len(text)])
                if line["id"] == example_id:
                    return dict(line)
                at = text.find(wanted, at + 1)
    raise WorkspaceError(
        f"There is no example {example_id} in {workspace.folder('expand')}: the ids stand in "
        f"{', '.join(f'{split}.jsonl' for split in SPLITS)}."
    )


def _raw(workspace: Workspace, article: dict[str, Any]) -> dict[str, Any]:
    name = article["raw_file"]
    local = workspace.manifest("collect")["parameters"].get("local_files")
    raw_folder = Path(local).expanduser() if local else Path(str(files("elara") / "sample"))
    home = workspace.folder("collect")
    fetched = home / "payloads" / name
    payloads = home / "payloads.parquet"
    recorded = ""
    if payloads.is_file():
        known = pl.scan_parquet(payloads).filter(pl.col("file") == name).select("sha256").collect()
        recorded = known.item(0, 0) if known.height else ""
    path = fetched if recorded or fetched.is_file() else raw_folder / name
    sha256 = file_sha256(path) if path.is_file() else ""
    record = article["raw_record"]
    return {"path": str(path), "record": record, "sha256": sha256, "recorded": recorded}
