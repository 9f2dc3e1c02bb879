"""JSON Lines of others: what can be read is, and every other line is a row that says why."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from elara.inspection import inspect_files, reading
from elara.inspection.foreign import Notes
from elara.inspection.reading import pieces, read

# A line, and what some fields of the record are.
READ = [
    ('{"pmid": 99900001, "year": 2021}', {"pmid": "99900001"}),
    ('{"published": 2021}', {"published": "2021"}),
    ('{"pmid": 99900001.0}', {"pmid": "99900001"}),
    ('{"id": 1e5}', {"id": "1e5"}),
    ('{"id": 12345678901234567890123}', {"id": "12345678901234567890123"}),
    ('{"id": true, "doi": false}', {"id": "true", "doi": "false"}),
    ('{"title": ["a", null, 5]}', {"title": "a\n5"}),
    ('{"title": {"#text": "inner"}}', {"title": "inner"}),
    ('{"abstract": {"AIM": "a", "RESULTS": ["b"]}}', {"abstract": "AIM: a\nRESULTS: b"}),
    ('{"abstract": [{"label": "AIM", "text": "a"}, "b"]}', {"abstract": "AIM: a\nb"}),
    ('{"abstract": {"AbstractText": [{"@Label": "AIM", "#text": "a"}]}}', {"abstract": "AIM: a"}),
    ('{"PMID": 7, "ArticleTitle": "T"}', {"pmid": "7", "title": "T"}),
    ('{"AbstractText": "a", "TITLE": "T"}', {"abstract": "a", "title": "T"}),
    ('{"Title": "other", "title": "T"}', {"title": "T"}),
    ('{"authors": {"LastName": "Moyo", "ForeName": "Ada"}}', {"authors": ["Ada Moyo"]}),
    ('{"body": {"Dose": "5 mg"}}', {"body": [("Dose", "5 mg", "text")]}),
    ('{"title": NaN, "abstract": -Infinity, "language": null}', {"title": "", "language": "und"}),
    ('{"authors": "A Moyo", "mesh": null}', {"authors": ["A Moyo"], "mesh": []}),
    ('{"authors": [{"given": "A", "family": "M"}, {"name": "B"}]}', {"authors": ["A M", "B"]}),
    ('{"body": "plain"}', {"body": [("", "plain", "text")]}),
    ('{"body": [null, "p"]}', {"body": [("", "p", "text")]}),
    ('{"body": {"text": 5, "heading": "H"}}', {"body": [("H", "5", "")]}),
    ('{"retracted": "no", "redistributable": 1}', {"retracted": False, "redistributable": True}),
    ('{"raw_record": "7"}', {"raw_record": 7}),
    ('{"title": "T", "title": "T"}', {"title": "T"}),
    ('{"title": "T", "extra": {"a": 1, "a": 2}}', {"title": "T"}),
    ('{"title": "\\ud83d half"}', {"title": "\ufffd half"}),
    ('\ufeff{"title": "T"}\r', {"title": "T"}),
]  # fmt: skip
# A line, and why there is no record.
SKIPPED = [
    (b"[1, 2]", "not a JSON object"),
    (b"null", "not a JSON object"),
    (b'"text"', "not a JSON object"),
    (b'{"id": "cut', "not valid JSON"),
    (b'{"id": "a:1"} {"id": "a:2"}', "not valid JSON"),
    (b"[" * 100_000, "not valid JSON"),
    (b'{"title": "caf\xe9"}', "not UTF-8"),
    (b"{}", "neither an `id` nor a text"),
    (b'{"id": null, "abstract": "", "pmid": 7}', "neither an `id` nor a text"),
    (b'{"title": {"en": "x"}}', "`title` holds an object"),
    (b'{"abstract": {"a": {"b": "c"}}}', "`abstract` holds an object"),
    (b'{"abstract": "5 mg", "abstract": "50 mg"}', "`abstract` stands there twice"),
    (b'{"id": "a", "retracted": "maybe"}', "`retracted` holds 'maybe'"),
    (b'{"id": "a", "raw_record": 1.5}', "`raw_record` holds '1.5'"),
    (b'{"id": "a", "raw_record": 99999999999999999999}', "`raw_record` holds"),
]


def test_values_are_taken_as_they_are_meant(tmp_path: Path) -> None:
    for number, (line, expected) in enumerate(READ):
        path = tmp_path / f"{number}.jsonl"
        stated = line.replace("{", '{"id": "x:1", ', 1)
        path.write_text((line if '"id"' in line else stated) + "\n\n", encoding="utf-8")
        (piece,) = pieces([path])
        (table,) = read(piece, notes := Notes())
        assert notes.skipped == [], line
        (row,) = table.to_pylist()
        row["body"] = [tuple(section.values()) for section in row["body"]]
        assert {name: row[name] for name in expected} == expected, line


def test_a_line_that_is_no_record_is_a_row_and_ends_no_run(tmp_path: Path) -> None:
    good = b'{"id": "g:1", "title": "T"}'
    lines = [good, b"", *(line for line, _ in SKIPPED)]
    (tmp_path / "a.jsonl").write_bytes(b"\r\n".join(lines))
    (tmp_path / "b.jsonl").write_text('{"id": "w:1"}', encoding="utf-16")
    (tmp_path / "c.ndjson").write_bytes(b"\x1f\x8b\x08\x00")
    names = ("a.jsonl", "b.jsonl", "c.ndjson")
    report = inspect_files([tmp_path / n for n in names], tmp_path / "out", minimum=0).report
    skipped = pl.read_parquet(tmp_path / "out" / "skipped.parquet")
    assert report["input"]["lines_skipped"] == skipped.height == len(SKIPPED) + 2
    told = {(Path(file).name, line): reason for file, line, reason in skipped.iter_rows()}
    for number, (line, why) in enumerate(SKIPPED, 3):
        assert why in told["a.jsonl", number], line[:60]
    assert "UTF-16" in told["b.jsonl", 0]
    assert "packed" in told["c.ndjson", 0]
    assert pl.read_parquet(tmp_path / "out" / "articles.parquet")["id"].to_list() == ["g:1"]
    assert f"{skipped.height} lines were skipped" in (tmp_path / "out/report.html").read_text()


def test_fields_that_no_article_has_are_named_once_with_their_number(tmp_path: Path) -> None:
    rows = [{"id": f"x:{i}", "year": 2020 + i, "extra": {"a": i} if i else None} for i in range(4)]
    rows[0]["body"] = [{"text": "t", "note": "n"}]
    rows[1]["fulltext"] = {"text": "t", "note": "n"}
    rows[2]["body"] = {"Dose": "5 mg"}  # a heading, which is read
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    report = inspect_files([tmp_path / "a.jsonl"], tmp_path / "out", minimum=0).report
    assert report["input"]["fields_not_read"] == {"year": 4, "extra": 3, "body.note": 2}
    table = pl.DataFrame(rows, schema=["id", "year"]).with_columns(title=pl.lit("T"))
    table.write_parquet(tmp_path / "a.parquet")
    report = inspect_files([tmp_path / "a.parquet"], tmp_path / "out", minimum=0).report
    assert report["input"]["fields_not_read"] == {"year": 4}


def test_records_without_ids_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for path in (tmp_path / "a.jsonl", tmp_path / "b" / "a.jsonl"):
        path.write_text('{"title": "T"}\n{"title": "U"}\n')
    files = [tmp_path / "a.jsonl", tmp_path / "b" / "a.jsonl"]
    inspect_files(files, tmp_path / "out", minimum=0)
    assert pl.read_parquet(tmp_path / "out" / "articles.parquet")["id"].n_unique() == 4


def test_an_id_that_is_there_again_is_a_row_and_the_first_record_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "Forty invented adults took one tablet a day. Pain fell by half in 31 of them."
    lines = [{"id": f"x:{i % 5}", "title": f"T{i}", "abstract": f"{text} {i}."} for i in range(7)]
    (tmp_path / "a.jsonl").write_text("\n\n".join(map(json.dumps, lines)))
    (tmp_path / "b.jsonl").write_text('[]\n{"id": 9, "title": "T"}\n{"id": "x:0"}\n')
    pl.DataFrame({"id": ["x:8", "9", "x:8"]}).write_parquet(
        tmp_path / "c.parquet", row_group_size=1
    )
    files = [tmp_path / n for n in ("a.jsonl", "b.jsonl", "c.parquet")]
    expected = [("a", 11, "x:0"), ("a", 13, "x:1"), ("b", 1, "JSON object"), ("b", 3, "x:0"),
                ("c", 2, "'9'"), ("c", 3, "x:8")]  # fmt: skip
    for size in (12 << 20, 1):
        monkeypatch.setattr(reading, "PART_BYTES", size)
        report = inspect_files(files, tmp_path / "out", minimum=0).report
        skipped = pl.read_parquet(tmp_path / "out" / "skipped.parquet").rows()
        for (file, line, reason), (stem, number, why) in zip(
            sorted(skipped), expected, strict=True
        ):
            assert (Path(file).stem, line) == (stem, number)
            assert why in reason
        kept, removed = (
            pl.read_parquet(tmp_path / "out" / f"{n}.parquet") for n in ("articles", "removed")
        )
        assert report["input"]["lines_skipped"] == len(expected)
        assert report["articles"] == kept.height + removed.height == 7
        together = pl.concat([kept["id"], removed["id"]]).sort().to_list()
        assert together == ["9", "x:0", "x:1", "x:2", "x:3", "x:4", "x:8"]
        assert kept.filter(pl.col("id") == "x:0")["title"].to_list() == ["T0"]


def test_a_column_of_another_type_is_named(tmp_path: Path) -> None:
    pl.DataFrame({"id": ["a"], "title": [["x"]]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet: a column has another type"):
        inspect_files([tmp_path / "a.parquet"], tmp_path / "out")


def test_one_file_may_be_named_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    text = "Forty invented adults took one tablet. Pain fell by half in 31 of them."
    file.write_text(json.dumps({"id": "x:1", "pmid": 99900001, "title": "T", "abstract": text}))
    assert inspect_files(file, tmp_path / "out").report["input"]["lines_skipped"] == 0
