"""Every evaluation leaves a record, and records say what got better and worse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import answering_models
import lxml.html
import polars as pl
import pytest
from score_tables import around, scores
from typer.testing import CliRunner

from elara.audit.certificate import described
from elara.audit.records import why_unchecked
from elara.cli import app
from elara.evaluate import EvaluationError, judge
from elara.evaluate.comparing import compare, compared, page
from elara.evaluate.history import (
    chosen_records,
    leave_record,
    make_record,
    read_history,
    read_record,
    record_evaluation,
)
from elara.evaluate.languages import judge_languages
from elara.evaluate.reliability import coverage_and_reliability
from elara.workspace import Stage, Workspace, sealed

SETS = {"test": {"items": 32, "sha256": "5" * 64}}


def record(
    mean: float = -0.3, adapter: str = "a1", heart: float = -0.3, **other: Any
) -> dict[str, Any]:
    """One evaluation: `mean` in Neurology, `heart` in Cardiology."""
    table = pl.concat([
        scores(around(mean, topics=20), specialty="Neurology"),
        scores(around(heart, topics=12), specialty="Cardiology", start=100),
    ])  # fmt: skip
    judgement = judge(table, resamples=199)
    how = {"base": "SmolLM2", "template": "t1", "sets": SETS, "parameters": {"max_length": 1024}}
    counts = pl.DataFrame({"specialty": ["Cardiology"], "examples": [30]})
    items = dict.fromkeys(table["item"], "en")
    return make_record(
        judgement,
        adapter=adapter * 32,
        specialties=coverage_and_reliability(counts, judgement.comparisons),
        languages=judge_languages(table, items, {"en": 30, "sw": 2}, resamples=199),
        **(how | other),
    )


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "w")


def leave(place: Workspace, made: str, **how: Any) -> Path:
    """A record as if it had been made on that day."""
    return leave_record(
        place.folder("evaluate"), sealed(record(**how) | {"made": f"2026-01-{made}T00:00:00Z"})
    )


def test_the_same_evaluation_leaves_one_record(tmp_path: Path) -> None:
    first = leave_record(tmp_path, record())
    before = first.read_bytes()
    assert leave_record(tmp_path, record()) == first
    assert first.read_bytes() == before
    assert leave_record(tmp_path, record(mean=-0.2)) != first
    assert len(read_history(tmp_path)[0]) == 2


def test_an_evaluation_records_what_it_was_judged_on(place: Workspace) -> None:
    judgement = judge(scores(around(-0.3, topics=20)), resamples=199)
    lm = answering_models.model({})
    stage = Stage("evaluate", place, {"max_length": 1024})
    passport = {"completes": {"fingerprint": "f" * 64}, "base_model": "SmolLM2"}
    test = pl.DataFrame(
        {"id": ["x:1/key_points/0"], "messages": [[{"role": "user", "content": "?"}]]}
    )
    sets: dict[str, Any] = {"test": test, "items": ["b", "a"]}
    path = record_evaluation(stage, lm, judgement, passport, sets)
    found = read_record(path)
    assert path.parent == place.folder("evaluate") / "history"
    assert found["sets"]["test"] == described(test)
    assert found["sets"]["items"]["items"] == 2
    again = record_evaluation(stage, lm, judgement, passport, sets | {"items": ["a", "b"]})
    assert again == path, "the order of items says nothing"
    other = record_evaluation(stage, lm, judgement, passport, sets | {"items": ["a", "c"]})
    assert other != path


def test_a_record_is_named_after_time_and_adapter_and_never_overwritten(tmp_path: Path) -> None:
    made = {"made": "2026-01-02T03:04:05Z"}
    paths = [leave_record(tmp_path, sealed(record(mean=m) | made)) for m in (-0.3, -0.2)]
    names = ["2026-01-02T030405Z-a1a1a1a1.json", "2026-01-02T030405Z-a1a1a1a1-2.json"]
    assert [path.name for path in paths] == names
    assert read_record(paths[0])["verdict"] != read_record(paths[1])["verdict"]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda text: text[:200], "cannot be read"),
        (lambda text: text.replace("helped", "hurt", 1), "is not as it was written"),
        (lambda text: text.replace('"schema": 1', '"schema": 9', 1), "has version 9"),
        (lambda text: "[]", "is not a record of an evaluation"),
        (lambda text: json.dumps(sealed({"schema": 1})), "is not as it was written"),
    ],
)
def test_a_damaged_record_is_named_and_left_out(tmp_path: Path, spoil: Any, why: str) -> None:
    kept = leave_record(tmp_path, record())
    broken = leave_record(tmp_path, record(mean=-0.2))
    broken.write_text(spoil(broken.read_text(encoding="utf-8")), encoding="utf-8")
    found, damaged = read_history(tmp_path)
    assert [path for path, _ in found] == [kept]
    assert len(damaged) == 1
    assert damaged[0].startswith(f"{broken} ")
    assert why in damaged[0]


def test_what_got_worse_and_better_is_said() -> None:
    found = compared([("old", record()), ("new", record(mean=-0.9, heart=0.3, adapter="b2"))])
    words = {
        r["specialty"]: r["word"] for r in found.changes.filter(endpoint="answer loss").to_dicts()
    }
    assert (words["Neurology"], words["Cardiology"]) == ("better", "worse")
    lines = list(found.lines())
    expected = "worse: answer loss in Cardiology, adapter − base -0.300 → +0.300, old → new"
    assert expected in lines
    assert lines[-1].startswith("worse: 1, better: ")


def test_the_same_numbers_are_no_change() -> None:
    found = compared([("old", record()), ("new", record(adapter="b2"))])
    assert set(found.changes["word"]) == {"no clear change"}


def test_a_specialty_of_one_side_only_is_no_evidence() -> None:
    other = record(adapter="b2")
    other["comparisons"] = [r for r in other["comparisons"] if r["specialty"] != "Cardiology"]
    found = compared([("old", record()), ("new", other)])
    row = found.changes.filter(specialty="Cardiology").row(0, named=True)
    assert (row["word"], row["after"], row["change"]) == ("no evidence", None, None)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"base": "Qwen"}, "the base model is SmolLM2 and Qwen"),
        ({"template": "t2"}, "the chat template is t1 and t2"),
        ({"sets": {"test": {"items": 1, "sha256": "6"}}}, "the items of test are not the same"),
        ({"sets": SETS | {"medqa": {"sha256": "6"}}}, "only one was measured on medqa"),
        ({"parameters": {"max_length": 512}}, "max_length is 1024 and 512"),
    ],
)
def test_what_cannot_be_compared_is_named(other: dict[str, Any], why: str) -> None:
    found = compared([("old", record()), ("new", record(heart=0.9, **other))])
    assert found.obstacles == [f"old and new cannot be compared: {why}."]
    assert found.changes.is_empty()
    assert "Nothing could be compared." in page(found)


def test_draws_alone_do_not_keep_records_apart() -> None:
    new = record(parameters={"max_length": 1024, "seed": 3, "workspace": "x"})
    assert compared([("old", record()), ("new", new)]).obstacles == []


def test_records_are_found_by_file_stem_fingerprint_and_adapter_folder(
    place: Workspace, tmp_path: Path
) -> None:
    old, new = leave(place, "01"), leave(place, "02", mean=-0.2, adapter="b2")
    for name in (str(old), old.stem, "a1a1a1"):
        assert [n for n, _ in chosen_records(place, [name])[0]] == [old.stem]
    assert [n for n, _ in chosen_records(place, [])[0]] == [old.stem, new.stem]
    folder = place.folder("evaluate")
    assert [n for n, _ in chosen_records(place, [str(folder)])[0]] == [new.stem]
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "SHA256SUMS").write_text("x")
    with pytest.raises(EvaluationError, match=r"No record .*: 2026-01-01T000000Z-a1a1a1a1, 2026"):
        chosen_records(place, [str(adapter)])


def test_a_name_that_fits_nothing_or_two_adapters_is_refused(place: Workspace) -> None:
    leave(place, "01"), leave(place, "02", adapter="a1a1a1a2" + "0")
    with pytest.raises(EvaluationError, match="No record of an evaluation fits zz"):
        chosen_records(place, ["zz"])
    with pytest.raises(EvaluationError, match="a1a1 fits 2 adapters: write more"):
        chosen_records(place, ["a1a1"])


def test_one_record_is_too_few(place: Workspace) -> None:
    leave(place, "01")
    with pytest.raises(EvaluationError, match="needs two records of evaluations, and there is 1"):
        compare(place, [])


def test_the_command_prints_and_writes_a_page(place: Workspace, tmp_path: Path) -> None:
    leave(place, "01"), leave(place, "02", heart=0.3, adapter="b2")
    html = tmp_path / "comparison.html"
    done = CliRunner().invoke(app, ["compare", "-w", str(place.root), "--html", str(html)])
    assert done.exit_code == 0, done.output
    assert "worse: answer loss in Cardiology" in done.output
    text = html.read_text(encoding="utf-8")
    tree: Any = lxml.html.fromstring(text)
    assert tree.get("lang") == "en"
    assert len(tree.xpath("//h1")) == 1
    assert len(tree.xpath("//table/caption")) == len(tree.xpath("//table")) == 2
    assert all(th.get("scope") in ("col", "row") for th in tree.xpath("//th"))
    assert [svg.get("role") for svg in tree.xpath("//svg")] == ["img", "img"]
    assert all(svg.get("aria-label") for svg in tree.xpath("//svg"))
    assert not tree.xpath("//script | //link | //img | //@src")
    assert "url(" not in text
    assert "Swahili (2 training examples). No evidence" in text


def test_the_page_escapes_what_it_is_given() -> None:
    found = compared([("<script>", record()), ("b", record(adapter="b2"))])
    assert "<script>" not in page(found)


def test_a_record_in_the_history_is_no_stray_file() -> None:
    assert why_unchecked("evaluation/history/2026-01-02T030405Z-a1a1a1a1.json")
    assert not why_unchecked("evaluation/history/other.txt")
