"""An example leads back to its passage, its article and the raw file."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from elara.audit.tracing import trace
from elara.expand import grounded_examples
from elara.records import Article, Example, Message, Payload, Section, Span, frame
from elara.workspace import Workspace, WorkspaceError

TEXT = (
    "Iron deficiency is the commonest cause of anaemia in adults, found by a low ferritin value. "
    "Treatment replaces the iron, and the source of the bleeding is looked for in every patient."
)


def article(**fields: Any) -> Article:
    return Article(
        id="pubmed:7",
        source="pubmed",
        title="Anaemia",
        **{"abstract": TEXT, "language": "en", "raw_file": "a/seven.xml", "raw_record": 3} | fields,
    )


def workspace_of(folder: Path, one: Article, payloads: list[Payload] | None = None) -> Workspace:
    workspace = Workspace(folder / "workspace")
    table = frame([one], Article)
    kept = {"articles.parquet": table, "payloads.parquet": frame(payloads or [], Payload)}
    (folder / "raw" / "a").mkdir(parents=True, exist_ok=True)
    (folder / "raw" / "a" / "seven.xml").write_text("<seven/>")
    local = {"local_files": str(folder / "raw")}
    workspace.begin("collect", local).write(kept)
    workspace.begin("clean", {}).write({"articles.parquet": table})
    examples = grounded_examples(table, "s", licences="any").examples
    none = examples.clear()
    files = {"train.jsonl": examples, "validation.jsonl": none, "test.jsonl": none}
    workspace.begin("expand", {}).write(files)
    return workspace


def test_an_example_leads_to_its_passage_and_raw_file(tmp_path: Path) -> None:
    one = article(body=[Section("Signs", TEXT.replace("adults", "children"))])
    workspace = workspace_of(tmp_path, one)
    found = trace(workspace, "pubmed:7/explain/0")
    lines = "\n".join(found.lines())
    assert not found.changed
    assert "Passage    body/0, characters 0–" in lines
    assert "commonest cause of anaemia in children" in lines
    assert f"record 3\n           SHA-256 {hashlib.sha256(b'<seven/>').hexdigest()}" in lines


@pytest.mark.parametrize(("content", "note"), [(b"seven", "as recorded"), (b"eight", "CHANGED")])
def test_a_payload_is_compared_with_its_record(tmp_path: Path, content: bytes, note: str) -> None:
    payload = Payload(
        source="pubmed",
        step="fetch/1",
        file="a/seven.xml",
        url="https://example.org",
        sha256=hashlib.sha256(b"seven").hexdigest(),
        bytes=5,
        retrieved_at="2026-11-01T00:00:00Z",
    )
    workspace = workspace_of(tmp_path, article(), [payload])
    place = workspace.folder("collect") / "payloads" / "a" / "seven.xml"
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    found = trace(workspace, "pubmed:7/key_points/0")
    assert f", {note}" in "\n".join(found.lines())


def test_a_changed_text_and_a_lost_file_are_said(tmp_path: Path) -> None:
    workspace = workspace_of(tmp_path, article())
    (tmp_path / "raw" / "a" / "seven.xml").unlink()
    table = frame([article(abstract=f"{TEXT} More.")], Article)
    workspace.begin("clean", {}).write({"articles.parquet": table})
    found = trace(workspace, "pubmed:7/key_points/0")
    assert found.changed
    lines = "\n".join(found.lines())
    assert "its text has changed since" in lines
    assert "the file is gone" in lines


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    workspace = workspace_of(tmp_path, article())
    with pytest.raises(WorkspaceError, match="There is no example pubmed:8/key_points/0 in"):
        trace(workspace, "pubmed:8/key_points/0")
    workspace.begin("clean", {}).write({"articles.parquet": frame([], Article)})
    with pytest.raises(
        WorkspaceError, match=r"article pubmed:7 of .* is not among the clean articles"
    ):
        trace(workspace, "pubmed:7/key_points/0")


@pytest.mark.long
def test_one_among_a_hundred_thousand_is_found_at_once(tmp_path: Path) -> None:
    count = 100_000
    articles = [Article(id=f"x:{n}", source="x", title="T", abstract=TEXT) for n in range(count)]
    workspace = workspace_of(tmp_path, article())
    workspace.begin("clean", {}).write({"articles.parquet": frame(articles, Article)})
    rows = [
        Example(
            id=f"x:{n}/key_points/0",
            messages=[Message("user", "Why?"), Message("assistant", TEXT)],
            specialty="General",
            origin="grounded",
            recipe="key_points",
            article_ids=[f"x:{n}"],
            licence="CC0-1.0",
            redistributable=True,
            spans=[Span(1, f"x:{n}", "abstract", 0, len(TEXT))],
        )
        for n in range(count)
    ]
    workspace.begin("expand", {}).write({"train.jsonl": frame(rows, Example)})
    trace(workspace, "x:1/key_points/0")
    start = time.perf_counter()
    trace(workspace, f"x:{count - 1}/key_points/0")
    assert time.perf_counter() - start < 3  # a tenth of a second on an idle machine


def test_a_curated_case_names_the_project(tmp_path: Path) -> None:
    workspace = workspace_of(tmp_path, article())
    case = pl.read_ndjson(workspace.folder("expand") / "train.jsonl").with_columns(
        origin=pl.lit("curated"), id=pl.lit("curated-01")
    )
    none = case.clear()
    files = {"train.jsonl": case, "validation.jsonl": none, "test.jsonl": none}
    workspace.begin("expand", {}).write(files)
    assert "a curated case of this project" in "\n".join(trace(workspace, "curated-01").lines())
