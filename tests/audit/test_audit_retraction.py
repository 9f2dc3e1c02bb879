"""A retracted article is left out of what is built next, and what learned from it says so."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import tiny_run
from typer.testing import CliRunner

from elara import train
from elara.audit import AuditError, audit, verify
from elara.audit import retraction as module
from elara.audit.certificate import certify
from elara.audit.passport import carried_on, read_manifest, write_passport
from elara.audit.retraction import Retraction, retract
from elara.cli import app
from elara.continual.versions import Versions
from elara.expand import grounded_examples, validate
from elara.export import ExportError, export
from elara.export.exporting import _seal
from elara.inspection import inspect_files
from elara.model import load_base
from elara.pipeline import make_plan, states
from elara.pipeline.state import fingerprint
from elara.records import Article, Section, frame, schema
from elara.serve.models import ModelManager
from elara.workspace import Workspace, WorkspaceError, file_hashes, withdrawn
from elara.workspace.retractions import LIST, listed, merged, read_list, read_watch, typed

ABOUT = {
    3: "Iron deficiency is the commonest cause of anaemia in adults, found by a low ferritin "
    "value. Treatment replaces the iron, and the source of bleeding is looked for in all patients.",
    5: "Asthma narrows the airways, so that patients wheeze at night and after exercise in cold "
    "air. Inhaled corticosteroids reduce the inflammation and prevent most severe attacks.",
    7: "Malaria is transmitted by the bites of infected mosquitoes, and fever begins after some "
    "ten days. A blood film or a rapid test confirms the diagnosis before treatment starts.",
}
WATCH = (
    "Record ID,Title,RetractionDate,RetractionDOI,OriginalPaperDOI,OriginalPaperPubMedID,"
    "RetractionNature,Reason,Notes\n"
)


SIGNS = {
    3: "Patients are pale and tired, breathe fast on stairs, and some crave ice or earth; nails "
    "turn brittle, and the tongue becomes smooth and sore when the deficiency lasts for months.",
    5: "Wheezing comes and goes, the chest feels tight, and coughing wakes children early in the "
    "morning; between attacks the lungs often sound normal, which does not exclude the disease.",
    7: "Shaking chills are followed by high fever and sweating; headache, vomiting and muscle pain "
    "are common, and drowsiness or convulsions in a child are signs of severe cerebral disease.",
}


def article(number: int) -> Article:
    title = ABOUT[number].split()[0]
    return Article(
        id=f"x:{number}",
        source="x",
        title=title,
        abstract=ABOUT[number],
        body=[Section("Signs and symptoms", SIGNS[number])],
        language="en",
        published="2020",
        journal=f"Journal of {title}",
        doi=f"10.1000/x{number}",
        pmid=f"900000{number}",
        licence="CC-BY-4.0",
        redistributable=True,
    )


def collect(workspace: Workspace, numbers: tuple[int, ...] = (3, 5, 7)) -> None:
    table = frame([article(n) for n in numbers], Article)
    workspace.begin("collect", {}).write({"articles.parquet": table})


def build(workspace: Workspace) -> None:
    """The stages inspect to expand, as their notebooks do it."""
    stage = workspace.begin("inspect", {})
    source = stage.path("collect", "articles.parquet")
    inspect_files(source, stage.draft, minimum=0.0, retractions=read_list(workspace))
    stage.write({})
    stage = workspace.begin("clean", {})
    kept = stage.read("inspect", "articles.parquet").select(*schema(Article))
    stage.write({"articles.parquet": kept})
    expand(workspace)


def expand(workspace: Workspace) -> None:
    stage = workspace.begin("expand", {})
    articles = stage.read("clean", "articles.parquet")
    checked = validate(
        grounded_examples(articles, "s").examples,
        articles,
        retracted=listed(read_list(workspace), articles)["id"],
        system_prompt="s",
    )
    made, held = checked.examples, pl.col("id").str.contains("explain")
    splits = {"train": made.filter(~held), "validation": made.clear(), "test": made.filter(held)}
    tables = {f"{name}.jsonl": rows for name, rows in splits.items()}
    stage.write(tables | {"refused.parquet": checked.rejected})


def store_adapter(workspace: Workspace, adapter: Path) -> Path:
    stage = workspace.begin("train", {})
    stage.path("expand", "train.jsonl")
    shutil.copytree(adapter, stage.draft / "adapter")
    stage.write({})
    return workspace.folder("train") / "adapter"


@pytest.fixture
def made(workspace: Workspace, sealed: Path) -> Workspace:
    """Three articles, examples, an adapter that saw all three, a version, an export, a verdict."""
    collect(workspace)
    build(workspace)
    adapter = store_adapter(workspace, sealed)
    Versions(workspace.folder("train")).keep()
    exported = workspace.root / "exports" / "merged"
    exported.mkdir(parents=True)
    (exported / "model.safetensors").write_bytes(b"weights")
    _seal(exported, "merged", "x", {"adapter": file_hashes(adapter)}, pl.DataFrame({"kl": [0.1]}))
    workspace.begin("evaluate", {}).write({"verdict.json": {"verdict": "better"}})
    return workspace


def contents(root: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in root.rglob("*") if p.is_file() and p.suffix != ".owner"}


def folders(workspace: Workspace) -> list[Path]:
    home = workspace.folder("train")
    return [home / "adapter", *home.glob("versions/v*"), workspace.root / "exports" / "merged"]


def test_everything_that_descends_from_an_article_is_listed_and_marked(made: Workspace) -> None:
    found = retract(made, ["9000003"], reason="invented data")
    ids = {row["id"]: row["split"] for row in found.examples.to_dicts()}
    assert found.articles["id"].to_list() == ["x:3"]
    assert ids == {"x:3/key_points/0": "train", "x:3/explain/0": "test"}
    assert [folder for folder, mark in found.marks.items() if mark] == folders(made)
    lines = "\n".join(found.lines())
    assert "x:3: Iron (retracted: invented data; elara retract)" in lines
    for name in ids:
        assert name in lines
    assert "and its adapter is withdrawn" in lines
    assert "Copies in other places are not known" in lines
    for folder in folders(made):
        assert "x:3 (retracted: invented data; elara retract)" in withdrawn(folder)
        mark = json.loads((folder / "WITHDRAWN.json").read_text())
        assert [row["id"] for row in mark["articles"]] == ["x:3"]


def test_a_withdrawn_adapter_says_why_and_is_not_used(made: Workspace, tmp_path: Path) -> None:
    adapter = made.folder("train") / "adapter"
    assert verify(adapter, rerun=False).passed
    retract(made, ["doi:10.1000/X3"], reason="invented data")
    result = verify(adapter, rerun=False)
    failed = [check for check in result.checks if check.passed is False]
    assert [check.name for check in failed] == ["retraction"], "the seal itself stands"
    assert failed[0].detail.startswith(
        "withdrawn: it learned from 1 examples of x:3 (retracted: inv"
    )
    with pytest.raises(ExportError, match=r"adapter is withdrawn: .* invented data"):
        export(adapter, tmp_path / "exports")
    with pytest.raises(AuditError, match=r"is withdrawn: .* invented data"):
        carried_on(adapter)
    manager = ModelManager(adapter)
    manager.load()
    assert manager.state == "failed"
    assert "withdrawn: " in (manager.error or "")
    page = (adapter / "WITHDRAWN.html").read_text()
    assert "Withdrawn." in page
    assert "invented data" in page
    copied = Path(shutil.copytree(adapter, tmp_path / "copied"))
    assert not verify(copied, rerun=False).passed, "the mark travels with the folder"
    assert audit(made).passed, "marks and list are no damage"
    assert not Versions(made.folder("train")).damage(folders(made)[1].name)


def retrained(model: Path, rows: pl.DataFrame, out: Path) -> Path:
    settings = tiny_run.config(model, epochs=1)
    lm, held = load_base(str(model)), tiny_run.examples(4, start=100)
    data = train.tokenise(lm.tokenizer, rows, held, settings)
    done = train.fine_tune(lm, data, settings, out / "checkpoints")
    train.save_adapter(done, settings, data, {"CC0-1.0": rows.height}, out / "adapter")
    splits = {"train": rows, "validation": held}
    write_passport(out / "adapter", done, settings, splits, certify(rows, {"validation": held}))
    return out / "adapter"


def test_after_the_next_run_nothing_descends_from_it(
    made: Workspace, tiny_folder: Path, tmp_path: Path
) -> None:
    retract(made, ["9000003"], reason="invented data")
    build(made)
    removed = pl.read_parquet(made.folder("inspect") / "removed.parquet")
    assert removed.select("id", "reason").rows() == [("x:3", "retracted")]
    told = pl.read_parquet(made.folder("inspect") / "retracted.parquet")
    assert told.select("id", "reason", "source").rows() == [
        ("x:3", "invented data", "elara retract")
    ]
    rows = tiny_run.examples(16).filter(pl.col("id") != "x:3/key_points/0")
    adapter = store_adapter(made, retrained(tiny_folder, rows, tmp_path / "again"))
    assert not list(adapter.glob("WITHDRAWN.*")), "the new adapter does not inherit the mark"
    for path in made.root.rglob("*.jsonl"):
        if "versions" not in path.parts:
            assert "x:3/" not in path.read_text(), path
    assert "x:3" not in pl.read_parquet(made.folder("clean") / "articles.parquet")["id"]
    found = retract(made)
    assert found.examples.is_empty()
    assert found.marks[adapter] == {}
    assert verify(adapter, rerun=False).passed
    kept = folders(made)[1]
    assert "x:3/key_points/0" in read_manifest(kept)["id"]
    assert not verify(kept, rerun=False).passed
    assert "invented data" in withdrawn(kept)
    assert "invented data" in withdrawn(folders(made)[2]), "made from the kept version"


def test_expand_alone_refuses_what_was_retracted_since(made: Workspace) -> None:
    retract(made, ["9000003"], reason="invented data")
    expand(made)
    refused = pl.read_parquet(made.folder("expand") / "refused.parquet").sort("id")
    assert refused.select("id", "rule", "evidence").rows() == [
        (f"x:3/{name}/0", "retracted", "x:3 was retracted") for name in ("explain", "key_points")
    ]
    kept = [pl.read_ndjson(made.folder("expand") / f"{s}.jsonl") for s in ("train", "test")]
    assert {i for rows in kept for ids in rows["article_ids"] for i in ids} == {"x:5", "x:7"}


def test_a_dry_run_changes_nothing(made: Workspace) -> None:
    before = contents(made.root)
    lines = "\n".join(retract(made, ["x:3"], dry_run=True).lines())
    assert "3 marks would change" in lines
    assert contents(made.root) == before


def test_a_broken_off_call_is_completed_by_the_next(
    made: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    marks: Iterator[int] = iter(range(9))
    real = module._mark

    def kill(folder: Path, mark: dict[str, Any], dry_run: bool) -> bool:
        if next(marks) == 1:
            raise Killed
        return real(folder, mark, dry_run)

    monkeypatch.setattr(module, "_mark", kill)
    with pytest.raises(Killed):
        retract(made, ["x:3"], reason="invented data")
    assert read_list(made)["article_id"].to_list() == ["x:3"]
    assert [bool(withdrawn(folder)) for folder in folders(made)] == [True, False, False]
    monkeypatch.undo()
    retract(made)
    assert all(withdrawn(folder) for folder in folders(made))
    before = contents(made.root)
    assert "0 marks changed" in "\n".join(retract(made, ["x:3"], reason="again").lines())
    assert contents(made.root) == before, "nothing is added twice"


def test_a_reinstated_article_frees_its_copies_too(made: Workspace, tmp_path: Path) -> None:
    row = {"id": "x:3", "reason": "same_text", "kept_id": "x:5", "similarity": 1.0}
    pl.DataFrame([row]).write_parquet(made.folder("inspect") / "removed.parquet")
    retract(made, ["9000003"])
    assert read_list(made)["article_id"].to_list() == ["x:3", "x:5"]
    back = watch(tmp_path, "9,Iron,1/2/2099 0:00,,unavailable,9000003,Reinstatement,,")
    assert retract(made, csv=back).articles.is_empty()
    assert read_list(made).is_empty()


def test_a_row_that_is_deleted_takes_the_marks_away(made: Workspace) -> None:
    before = contents(made.root)
    retract(made, ["x:3"])
    (made.root / LIST).unlink()
    retract(made)
    assert contents(made.root) == before


def test_the_next_run_begins_where_articles_are_selected(made: Workspace) -> None:
    plan = make_plan(made)
    before = [fingerprint(plan, notebook) for notebook in plan.notebooks]
    retract(made, ["x:3"])
    after = [fingerprint(plan, notebook) for notebook in plan.notebooks]
    changed = [n.stage for n, a, b in zip(plan.notebooks, before, after, strict=True) if a != b]
    reading = [n.stage for n in plan.notebooks if "elara/workspace/retractions.py" in n.modules]
    assert changed == reading
    assert changed[0] == "inspect"
    assert list(states(plan))


def test_an_article_that_is_no_longer_collected_stays_retracted(made: Workspace) -> None:
    retract(made, ["9000003"], reason="invented data")
    collect(made, (5, 7))
    retract(made)
    assert "invented data" in withdrawn(made.folder("train") / "adapter")


def test_a_copy_that_stands_for_the_article_is_retracted_with_it(made: Workspace) -> None:
    path = made.folder("inspect") / "removed.parquet"
    row = {"id": "x:3", "reason": "same_text", "kept_id": "x:5", "similarity": 1.0}
    pl.DataFrame([row]).write_parquet(path)
    found = retract(made, ["9000003"], reason="invented data")
    assert found.articles["id"].to_list() == ["x:3", "x:5"]
    assert "the same article as x:3: invented data" in "\n".join(found.lines())
    assert {row["article"] for row in found.examples.to_dicts()} == {"x:3", "x:5"}


def test_an_export_whose_adapter_is_gone_is_not_passed_over(made: Workspace) -> None:
    path = made.root / "exports" / "merged" / "export.json"
    path.write_text(path.read_text().replace('"training.json": "', '"training.json": "0'))
    found = retract(made, ["x:3"])
    assert list(found.marks) == folders(made)[:2], "and a mark that it has would stay"
    assert f"{path.parent}: not known, since its adapter is not here any more" in found.remarks


def test_what_names_no_article_here_is_kept_and_said(made: Workspace) -> None:
    found = retract(made, ["PMID 12345678", "PMC1234567", "9000005"])
    assert "no article here, listed for later: 12345678, PMC1234567" in found.remarks
    assert found.articles["id"].to_list() == ["x:5"]
    assert read_list(made).select("pmid", "pmcid").rows() == [
        ("12345678", ""),
        ("", "PMC1234567"),
        ("9000005", ""),
    ]


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("12345678", "pmid", "12345678"),
        ("PMID: 123", "pmid", "123"),
        ("pubmed:123", "pmid", "123"),
        ("pmc7654321", "pmcid", "PMC7654321"),
        ("https://doi.org/10.1000/ABC(1)", "doi", "10.1000/abc(1)"),
        ("doi:10.1000/abc", "doi", "10.1000/abc"),
        ("medquad:0000123-1", "article_id", "medquad:0000123-1"),
        ("own:a folder/b.txt", "article_id", "own:a folder/b.txt"),
    ],
)
def test_every_usual_name_is_understood(text: str, key: str, value: str) -> None:
    assert typed([text], "", "").select(key).item() == value


@pytest.mark.parametrize("text", ["", "abc", "12345678901", "PMC", "10.1000", "https://x.y/1"])
def test_a_malformed_name_is_an_error_that_names_it(made: Workspace, text: str) -> None:
    before = contents(made.root)
    with pytest.raises(WorkspaceError, match="names no article: give a PMID") as error:
        retract(made, ["x:3", text])
    assert repr(text) in str(error.value)
    assert contents(made.root) == before


def watch(folder: Path, *rows: str) -> Path:
    path = folder / "retraction_watch.csv"
    path.write_bytes(b"\xef\xbb\xbf" + WATCH.encode() + "\n".join(rows).encode())
    return path


def test_only_retractions_of_retraction_watch_count(made: Workspace, tmp_path: Path) -> None:
    path = watch(
        tmp_path,
        '1,"Iron, a ""study""",3/14/2024 0:00,,10.1000/X3,0,Retraction,+Fake Data;+Lies;,',
        "2,Asthma,3/14/2024 0:00,,unavailable,9000005,Expression of concern,+Doubt;,",
        "3,Malaria,3/14/2024 0:00,,10.1000/x7,9000007,Retraction,+Error;,",
        "4,Malaria,9/1/2024 0:00,,10.1000/x7,9000007,Reinstatement,+Error;,",
        "5,No name,3/14/2024 0:00,,unavailable,0,Retraction,+Error;,",
    )
    found = retract(made, csv=path)
    assert found.articles.select("id", "reason", "source", "date").rows() == [
        ("x:3", "Fake Data; Lies", "Retraction Watch, record 1", "2024-03-14")
    ]
    lines = "\n".join(found.lines())
    assert "x:5: not retracted, but expression of concern: Doubt; Retraction Watch" in lines
    assert f"2 rows of {path} retract nothing" in lines
    again = watch(tmp_path, "9,Iron,1/2/2025 0:00,,10.1000/x3,,Reinstatement,,")
    found = retract(made, csv=again)
    assert found.articles.is_empty()
    assert not any(withdrawn(folder) for folder in folders(made))


def test_a_later_retraction_outlives_a_reinstatement() -> None:
    rows = typed(["10.1000/x"], "again", "2024-05-01")
    known = rows.drop("nature")
    back = typed(["10.1000/x"], "", "2024-04-01").with_columns(nature=pl.lit("reinstatement"))
    assert merged(known.clear(), pl.concat([rows, back])).equals(known)
    assert merged(known, back.with_columns(date=pl.lit("2024-05-01"))).is_empty()


@pytest.mark.parametrize(
    ("text", "told"),
    [("a,b\n1,2\n", "lacks the columns OriginalPaperPubMedID"), ("", "cannot be read as CSV")],
)
def test_another_file_is_refused(made: Workspace, tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "other.csv"
    path.write_text(text)
    with pytest.raises(WorkspaceError, match=told):
        retract(made, csv=path)
    assert not (made.root / LIST).exists()


def test_fifty_thousand_rows_take_seconds(made: Workspace, tmp_path: Path) -> None:
    rows = (
        f'{n},"T, {n}",1/{n % 28 + 1}/2024 0:00,,10.1234/p.{n},{n + 10_000},Retraction,+Error;,'
        for n in range(50_000)
    )
    path = watch(tmp_path, *rows, "50001,Iron,3/14/2024 0:00,,10.1000/x3,0,Retraction,+Lies;,")
    start = time.perf_counter()
    found = retract(made, csv=path)
    assert time.perf_counter() - start < 6  # under two on an idle machine
    assert found.articles["id"].to_list() == ["x:3"]
    assert read_list(made).height == 50_001
    assert read_watch(path)["nature"].to_list() == ["retraction"] * 50_001


def test_the_command_says_what_it_found(made: Workspace) -> None:
    told = CliRunner().invoke(app, ["retract", "x:3", "-w", str(made.root), "--dry-run"])
    assert told.exit_code == 0, told.exception
    assert "  1 in test: x:3/explain/0" in told.stdout
    wrong = CliRunner().invoke(app, ["retract", "x3", "-w", str(made.root)])
    assert isinstance(wrong.exception, WorkspaceError)
    none = CliRunner().invoke(app, ["retract", "-w", str(made.root / "nowhere")])
    assert isinstance(none.exception, WorkspaceError)


def test_nothing_retracted_is_no_finding(made: Workspace) -> None:
    found = retract(made)
    assert isinstance(found, Retraction)
    assert (found.articles.height, found.examples.height) == (0, 0)
    assert not any(found.marks.values())
