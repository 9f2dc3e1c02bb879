"""The real run in miniature: our own invented documents in MedQuAD's layout, and a tiny model."""

from __future__ import annotations

import functools
import gzip
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from lxml import etree

from elara.collect import collect_folder, sample_folder
from elara.pipeline import notebooks
from elara.workspace import Workspace

PROJECT = Path(__file__).resolve().parents[2]
sys.path.append(str(PROJECT / "benchmarks"))

import real_run  # noqa: E402

MODULES_OF = functools.cache(notebooks.modules_of)  # a second for each plan
Main = Callable[..., int]


@pytest.fixture
def synthetic(tmp_path: Path) -> Path:
    """A folder of synthetic documents in MedQuAD's layout, of the texts of the sample."""
    folder = tmp_path / "synthetic"
    articles = collect_folder(sample_folder()).articles.collect()
    told = articles.filter(pl.col("abstract").str.len_chars() > 600).head(40)
    for number, row in enumerate(told.iter_rows(named=True)):
        document = etree.Element("Document", id=f"{number:07}", source="SYNTHETIC", url="")
        etree.SubElement(document, "Focus").text = row["title"]
        pair = etree.SubElement(etree.SubElement(document, "QAPairs"), "QAPair", pid="1")
        question = etree.SubElement(pair, "Question", qid=f"{number:07}-1", qtype="information")
        question.text = f"What is known about {row['title'].rstrip('.')} ?"
        etree.SubElement(pair, "Answer").text = row["abstract"]
        path = folder / "synthetic" / f"{number:07}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(etree.tostring(document, encoding="utf-8", xml_declaration=True))
    return folder


@pytest.fixture
def main(tmp_path: Path) -> Main:
    """The benchmark's command, with a build folder and a result of the test's own."""

    def run(folder: Path | None, *more: str) -> int:
        own = ["--result", str(tmp_path / "result.json"), "--build", str(tmp_path / "build")]
        text = ["--folder", str(folder)] if folder else ["--prepared"]
        return real_run.main([*text, *own, *more])

    return run


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds that were run, where running takes a hundred seconds on a clock of its own."""
    seeds: list[int] = []

    def one_seed(plan: Any, first: int, kept_in: Path) -> dict[str, Any]:
        seeds.append(plan.values(plan.notebooks[4])["seed"])
        return {"verdict": {"verdict": "No difference."}, "seconds": {"05-train": 100}}

    monkeypatch.setattr(notebooks, "modules_of", MODULES_OF)
    monkeypatch.setattr(real_run.time, "monotonic", lambda: 100.0 * len(seeds))
    monkeypatch.setattr(real_run, "one_seed", one_seed)
    monkeypatch.setattr(real_run, "data_facts", lambda _: {})
    monkeypatch.setattr(real_run, "seconds", lambda *_: {})
    monkeypatch.setattr(real_run, "together", lambda paths: {"seeds": len(paths)})
    return seeds


def result(tmp_path: Path) -> Any:
    return json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))


def test_no_seed_starts_that_would_not_fit(
    main: Main, asked: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = sample_folder()
    assert main(text, "--seeds", "3", "--seconds", "250") == 1
    assert asked == [0, 1]
    assert result(tmp_path)["seeds not run"] == [2]
    assert "seed 2: not run: 50 s are left, the last took 100 s" in capsys.readouterr().out
    # The same command goes on: what has a result stays, and its time counts.
    assert main(text, "--seeds", "3", "--seconds", "99") == 1
    assert asked == [0, 1]
    assert main(text, "--seeds", "3") == 0
    assert asked == [0, 1, 2]
    found = result(tmp_path)
    assert found["seeds"].keys() == {"0", "1", "2"}
    assert found["all seeds"] == {"seeds": 3}
    assert found["seeds not run"] == []
    assert found["command"] == "python benchmarks/real_run.py --folder sample --seeds 3"
    assert found["settings"]["05-train"]["max_train_tokens"] == 0
    assert "seed" not in found["settings"]["05-train"]
    assert str(tmp_path) not in json.dumps(found)


def test_what_was_done_before_a_crash_is_kept(
    main: Main, asked: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = real_run.one_seed

    def broken(plan: Any, first: int, kept_in: Path) -> dict[str, Any]:
        if len(asked) == 1:
            raise KeyboardInterrupt
        return whole(plan, first, kept_in)

    monkeypatch.setattr(real_run, "one_seed", broken)
    with pytest.raises(KeyboardInterrupt):
        main(sample_folder(), "--seeds", "2")
    assert result(tmp_path)["seeds"].keys() == {"0"}


@pytest.mark.usefixtures("asked")
def test_results_of_other_settings_are_not_mixed(main: Main) -> None:
    assert main(sample_folder()) == 0
    with pytest.raises(SystemExit, match=r"another settings .* name another --result"):
        main(sample_folder(), "-p", "train.max_train_tokens=500")


def test_a_folder_without_text_is_refused(main: Main, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="nowhere is no folder with files"):
        main(tmp_path / "nowhere")


def test_flattened_documents_become_their_own_layout(tmp_path: Path) -> None:
    pair = {"file": "1_X/1.xml", "document_id": "1", "source": "X", "url": "", "focus": "Synthosis"}
    pair |= {"synonyms": None, "pid": "1", "qid": "1-1", "qtype": "information"}
    pair |= {"question": "What is synthosis ?", "answer": "A disease that was invented for a test."}
    given = tmp_path / "given"
    given.mkdir()
    with gzip.open(given / real_run.FLATTENED, "wt", encoding="utf-8") as file:
        file.write(json.dumps(pair) + "\n")
    written = real_run.text_folder(given, tmp_path / "text")
    articles = collect_folder(written).articles.collect()
    assert articles["source"].to_list() == ["medquad"]
    assert articles["licence"].to_list() == ["CC-BY-4.0"]
    assert real_run.text_folder(given, tmp_path / "text") == written


def shown() -> list[str]:
    """Places of the result that the benchmarks page shows."""
    page = (PROJECT / "book" / "benchmarks.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```\{benchmark\} real_run\.json\n(.*?)^```", page, re.M | re.S)
    return re.findall(r" = (.+)$", block, re.M)


@pytest.mark.slow
def test_two_seeds_on_synthetic_documents(
    synthetic: Path,
    tiny_folder: Path,
    main: Main,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [f"train.base_model={tiny_folder}", "train.max_train_tokens=6000"]
    given += ["train.gradient_accumulation=1", "train.learning_rate=1e-2", "expand.test_share=0.3"]
    given += ["evaluate.source_items=2", "evaluate.repeat_items=2", "evaluate.max_new_tokens=8"]
    more = [part for pair in given for part in ("-p", pair)]
    assert main(synthetic, "--plan", *more) == 0
    told = capsys.readouterr().out
    assert re.search(r"05-train: \d+ steps over [\d,]+ tokens: about", told)
    assert "not counted is the index of all passages" in told
    assert re.search(r"one seed: about \d+ minutes; each further one as much again", told)
    assert not (tmp_path / "result.json").exists()
    place = Workspace(tmp_path / "build" / "workspace")
    collected = place.manifest("collect")["identity"]

    assert main(synthetic, *more) == 0
    # The second seed as on a machine that has the workspace, and no text.
    assert main(None, "--seeds", "2", *more) == 0
    found = result(tmp_path)
    assert place.manifest("collect")["identity"] == collected  # not run again
    assert found["seeds"].keys() == {"0", "1"}
    assert found["all seeds"]["seeds"] == 2
    assert found["data"]["licences of training examples"].keys() >= {"CC-BY-4.0"}
    one, two = (found["seeds"][seed] for seed in "01")
    assert one["verdict"]["base"] == two["verdict"]["base"]
    assert one["verdict"]["adapter"] != two["verdict"]["adapter"] < one["verdict"]["base"]
    assert one["exam"][0]["items"] > 100
    assert one["seconds"]["05-train"] > 0
    assert found["all seeds"]["seed_low"] <= found["all seeds"]["seed_high"]
    assert shown()
    for where in shown():  # the page will find what it shows
        value: Any = found
        for key in where.split("/"):
            value = value[key]


@pytest.mark.long
def test_the_real_text_is_read_as_its_licence_says(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "qa" / "medquad"
    if not (folder / real_run.FLATTENED).exists():
        pytest.skip(f"{folder / real_run.FLATTENED} is not there: it is no part of the project")
    written = real_run.text_folder(folder, tmp_path / "text")
    articles = collect_folder(written).articles.select("licence").collect()
    assert articles.height > 4000
    assert set(articles["licence"]) == {"CC-BY-4.0"}
