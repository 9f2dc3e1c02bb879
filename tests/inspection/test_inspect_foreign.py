"""JSON Lines of others: what can be read is, and every other line is a row that says why."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from elara.inspection import inspect_files
from elara.inspection.reading import Notes, pieces, read

# A line, and what some fields of the record are.
READ = [
    ('{"pmid": 99900001, "year": 2021}', {"pmid": "99900001"}),
    ('{"published": 2021}', {"published": "2021"}),
    ('{"pmid": 99900001.0}', {"pmid": "99900001"}),
    ('{"id": 1e5}', {"id": "1e5"}),
    ('{"id": 12345678901234567890123}', {"id": "12345678901234567890123"}),
    ('{"title": NaN, "abstract": -Infinity, "language": null}', {"title": "", "language": "und"}),
    ('{"authors": "A Moyo", "mesh": null}', {"authors": ["A Moyo"], "mesh": []}),
    ('{"mesh": ["Liver", null]}', {"mesh": ["Liver"]}),
    ('{"body": [null, {"text": 5, "heading": "H"}]}', {"body": [("H", "5", "")]}),
    ('{"retracted": true}', {"retracted": True, "redistributable": False}),
    ('{"raw_record": "7"}', {"raw_record": 7}),
    ('{"title": "T", "extra": {"a": 1, "a": 2}}', {"title": "T"}),
    ('\ufeff{"title": "T"}\r', {"title": "T"}),
]  # fmt: skip
# A line, and why there is no record.
SKIPPED = [
    (b"[1, 2]", "not a JSON object"),
    (b"null", "not a JSON object"),
    (b'"text"', "not a JSON object"),
    (b'{"id": "cut', "Unterminated string"),
    (b'{"id": "a:1"} {"id": "a:2"}', "Extra data"),
    (b"[" * 100_000, "recursion"),
    (b'{"title": "caf\xe9"}', "'utf-8' codec"),
    (b"{}", "it has no `id`"),
    (b'{"id": null, "abstract": "", "pmid": 7}', "it has no `id`"),
    (b'{"id": "a", "title": {"en": "x"}}', "`title` holds"),
    (b'{"id": "a", "title": ["x"]}', "`title` holds"),
    (b'{"id": "a", "title": "\\ud83d half"}', "surrogates not allowed"),
    (b'{"id": "a", "body": "plain"}', "`body` holds 'plain'"),
    (b'{"id": "a", "retracted": "maybe"}', "`retracted` holds 'maybe'"),
    (b'{"id": "a", "raw_record": 1.5}', "1.5"),
    (b'{"id": "a", "raw_record": 99999999999999999999}', "too large"),
]


def test_values_are_taken_as_they_are_meant(tmp_path: Path) -> None:
    for number, (line, expected) in enumerate(READ):
        path = tmp_path / f"{number}.jsonl"
        stated = line.replace("{", '{"id": "x:1", ', 1)
        path.write_text((line if '"id"' in line else stated) + "\n\n", encoding="utf-8")
        (piece,) = pieces([path])
        (table,) = read(piece, notes := Notes())
        assert notes.skipped == [], line
        (row,) = table.to_dicts()
        row["body"] = [tuple(section.values()) for section in row["body"]]
        assert {name: row[name] for name in expected} == expected, line


def test_a_line_that_is_no_record_is_a_row_and_ends_no_run(tmp_path: Path) -> None:
    good = b'{"id": "g:1", "title": "T"}'
    lines = [good, b"", *(line for line, _ in SKIPPED)]
    (tmp_path / "a.jsonl").write_bytes(b"\r\n".join(lines))
    (tmp_path / "b.ndjson").write_bytes(b"\x1f\x8b\x08\x00")
    files = [tmp_path / "a.jsonl", tmp_path / "b.ndjson"]
    report = inspect_files(files, tmp_path / "out", minimum=0).report
    skipped = pl.read_parquet(tmp_path / "out" / "skipped.parquet")
    assert report["input"]["lines_skipped"] == skipped.height == len(SKIPPED) + 1
    told = {(Path(file).name, line): reason for file, line, reason in skipped.iter_rows()}
    for number, (line, why) in enumerate(SKIPPED, 3):
        assert why in told["a.jsonl", number], line[:60]
    assert "'utf-8' codec" in told["b.ndjson", 1]
    assert pl.read_parquet(tmp_path / "out" / "articles.parquet")["id"].to_list() == ["g:1"]
    assert f"{skipped.height} lines were skipped" in (tmp_path / "out/report.html").read_text()


def test_fields_that_no_article_has_are_named_once_with_their_number(tmp_path: Path) -> None:
    rows = [{"id": f"x:{i}", "year": 2020 + i, "extra": {"a": i} if i else None} for i in range(4)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    report = inspect_files([tmp_path / "a.jsonl"], tmp_path / "out", minimum=0).report
    assert report["input"]["fields_not_read"] == {"year": 4, "extra": 3}
    table = pl.DataFrame(rows, schema=["id", "year"]).with_columns(title=pl.lit("T"))
    table.write_parquet(tmp_path / "a.parquet")
    report = inspect_files([tmp_path / "a.parquet"], tmp_path / "out", minimum=0).report
    assert report["input"]["fields_not_read"] == {"year": 4}


def test_an_id_that_is_there_again_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "x:1"}\n{"id": "x:2"}\n{"id": "x:1"}\n')
    with pytest.raises(ValueError, match="1 records have the id of another, first x:1"):
        inspect_files([tmp_path / "a.jsonl"], tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_column_of_another_type_is_named(tmp_path: Path) -> None:
    pl.DataFrame({"id": ["a"], "title": [["x"]]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet: a column has another type"):
        inspect_files([tmp_path / "a.parquet"], tmp_path / "out")


def test_one_file_may_be_named_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    text = "Forty invented adults took one tablet. Pain fell by half in 31 of them."
    file.write_text(json.dumps({"id": "x:1", "pmid": 99900001, "title": "T", "abstract": text}))
    assert inspect_files(file, tmp_path / "out").report["input"]["lines_skipped"] == 0
