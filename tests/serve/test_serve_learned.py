"""Training examples close to an answer: found, withheld, retracted, and where there are none."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fake_index import FakeEncoder, FakeIndex, write_manifest
from local_client import LocalClient
from test_serve_http import wait_until_loaded

from elara.audit.passport import data_manifest
from elara.model import ModelError
from elara.records import Example, Message, frame
from elara.serve import ModelManager, Settings, create_app
from elara.serve import learned as module
from elara.serve.learned import LearnedError, read_learned
from elara.workspace import Workspace
from elara.workspace.formats import write_file

ASKED = {"question": "What does the heart do?", "answer": "The heart pumps blood."}
Make = Callable[..., LocalClient]


def example(name: str, question: str, answer: str, *, licence: str = "CC-BY-4.0") -> Example:
    turns = [Message("system", "Be brief."), Message("user", question)]
    return Example(
        id=f"{name}/explain/0",
        messages=[*turns, Message("assistant", answer)],
        specialty="Cardiology",
        origin="grounded",
        recipe="explain",
        article_ids=[name],
        licence=licence,
        redistributable=licence != "private",
    )


EXAMPLES = [
    example("pubmed:1", "What does the heart do?", "The heart pumps the blood."),
    example("own:2", "What does my heart do?", "My heart pumps blood.", licence="private"),
    example("pubmed:3", "Why is skin dry?", "Winter air takes water from skin."),
]


@pytest.fixture
def learned(trained: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The workspace `trained`, whose adapter learned the examples and one that is gone."""
    adapter, examples = trained.folder("train") / "adapter", frame(EXAMPLES, Example)
    ids = [e.id for e in EXAMPLES]
    write_file(adapter / "training.json", {"examples": ids, "earlier_examples": ["gone/0"]})
    write_file(adapter / "data_manifest.jsonl", data_manifest(examples))
    not_learned = frame([example("pubmed:4", **ASKED)], Example)
    write_file(trained.folder("expand") / "train.jsonl", pl.concat([examples, not_learned]))
    monkeypatch.setattr(module, "load_encoder", FakeEncoder)
    return trained


@pytest.fixture
def serve(fake: Any) -> Iterator[Callable[..., LocalClient]]:
    started = []

    def make(workspace: Workspace, **given: Any) -> LocalClient:
        settings = Settings.from_environment({}, workspace=str(workspace.root), **given)
        manager = ModelManager(settings.adapter, loader=fake.load, decoder=fake.decoder)
        client = LocalClient(create_app(settings, manager=manager))
        client.__enter__()
        started.append(client)
        wait_until_loaded(client)
        return client

    yield make
    for client in started:
        client.__exit__(None, None, None)


def test_the_closest_examples_come_first_and_only_those_that_were_learned(
    serve: Make, learned: Workspace
) -> None:
    found = serve(learned).post("/evidence/trace", json=ASKED | {"k": 2}).json()
    assert [e["id"] for e in found["examples"]] == ["pubmed:1/explain/0", "own:2/explain/0"]
    assert found["lost"] == 1
    first, second = found["examples"]
    assert 1 >= first["score"] > second["score"] > 0
    assert (first["answer"], first["url"]) == (
        "The heart pumps the blood.",
        "https://pubmed.ncbi.nlm.nih.gov/1/",
    )
    assert not any(e["withheld"] or e["retracted"] for e in found["examples"])
    assert second["answer"] == "My heart pumps blood."  # only this computer reads it
    assert any((learned.root / "embeddings").rglob("*.parquet"))


def test_what_may_not_be_passed_on_is_withheld_from_others(serve: Make, learned: Workspace) -> None:
    client = serve(learned, trusted_proxies=("10.0.0.2/32",))
    found = client.post("/evidence/trace", json=ASKED)
    told = {e["id"]: e for e in found.json()["examples"]}
    own, open_ = told["own:2/explain/0"], told["pubmed:1/explain/0"]
    assert (own["withheld"], own["question"], own["answer"]) == (True, "", None)
    assert (open_["withheld"], open_["answer"]) == (False, "The heart pumps the blood.")
    assert "My heart" not in found.text


def test_a_retraction_is_named_while_the_server_runs(serve: Make, learned: Workspace) -> None:
    client = serve(learned)

    def retracted() -> list[str]:
        found = client.post("/evidence/trace", json=ASKED).json()["examples"]
        return [e["article_id"] for e in found if e["retracted"]]

    assert retracted() == []
    (learned.root / "retractions.csv").write_text("article_id\npubmed:3\n")
    assert retracted() == ["pubmed:3"]
    (learned.root / "retractions.csv").unlink()
    assert retracted() == []
    (learned.root / "retractions.csv").write_text('"unclosed\n')
    assert client.post("/evidence/trace", json=ASKED).status_code == 503
    (learned.root / "retractions.csv").write_text("pmid\n1\n")
    assert retracted() == ["pubmed:1"]


def test_a_retraction_holds_for_the_record_that_stands_for_its_article(
    serve: Make, learned: Workspace
) -> None:
    names = {"title": "T", "pmid": "", "pmcid": "", "doi": ""}
    articles = pl.DataFrame([names | {"id": "medquad:7", "doi": "10.1000/a"}])
    removed = pl.DataFrame({"id": ["medquad:7"], "kept_id": ["own:2"], "reason": ["duplicate"]})
    for stage, name, table in (("collect", "articles", articles), ("inspect", "removed", removed)):
        learned.folder(stage).mkdir(parents=True, exist_ok=True)
        table.write_parquet(learned.folder(stage) / f"{name}.parquet")
    (learned.root / "retractions.csv").write_text("doi\n10.1000/a\n")
    client = serve(learned)

    def retracted() -> list[str]:
        found = client.post("/evidence/trace", json=ASKED).json()["examples"]
        return [e["article_id"] for e in found if e["retracted"]]

    assert retracted() == ["own:2"]
    # Another run of inspect finds that another record is the same article.
    now = removed.with_columns(kept_id=pl.lit("pubmed:3"))
    now.write_parquet(learned.folder("inspect") / "removed.parquet")
    assert retracted() == ["pubmed:3"]


def test_the_list_holds_for_what_a_loop_trained_in_its_workspace(learned: Workspace) -> None:
    loop = Workspace(learned.root / "loop")
    for stage in ("train", "expand"):
        shutil.copytree(learned.folder(stage), loop.folder(stage))
    read = read_learned(loop.folder("train") / "adapter", None, threading.Event())
    (learned.root / "retractions.csv").write_text("article_id\npubmed:3\n")
    found = read.nearest("Why is skin dry?", "Winter.", 1, local=True)
    assert [(e["article_id"], e["retracted"]) for e in found] == [("pubmed:3", True)]


def test_vectors_come_from_the_model_that_the_index_has_loaded(
    serve: Make, learned: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = FakeIndex("The heart pumps blood.")
    write_manifest(learned.root / "retrieval")
    monkeypatch.setattr("elara.serve.sources.open_index", lambda folder: index)
    monkeypatch.delattr(module, "load_encoder")
    assert serve(learned).post("/evidence/trace", json=ASKED).json()["examples"]


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("lora_adapters/adapter/training.json", "no record of its training"),
        ("training_data/train.jsonl", "not beside it"),
    ],
)
def test_an_adapter_from_elsewhere_is_said(
    serve: Make, learned: Workspace, missing: str, told: str
) -> None:
    path = learned.root / missing
    content = path.read_bytes()
    path.unlink()
    client = serve(learned)
    refused = client.post("/evidence/trace", json=ASKED)
    assert refused.status_code == 404
    assert told in refused.json()["detail"]
    path.write_bytes(content)  # put right while the server runs
    assert client.post("/evidence/trace", json=ASKED).status_code == 200


def test_an_adapter_that_lies_in_no_workspace_is_said(learned: Workspace, tmp_path: Path) -> None:
    shutil.copytree(learned.folder("train") / "adapter", tmp_path / "mine")
    with pytest.raises(LearnedError, match="not beside it"):
        read_learned(tmp_path / "mine", None, threading.Event())


def test_examples_that_are_all_gone_are_said(learned: Workspace) -> None:
    path = learned.folder("expand") / "train.jsonl"
    write_file(path, frame([example("pubmed:9", "Why?", "So.")], Example))
    with pytest.raises(LearnedError, match="stage expand has run again"):
        read_learned(learned.folder("train") / "adapter", None, threading.Event())


def test_a_record_without_examples_is_said(learned: Workspace) -> None:
    adapter = learned.folder("train") / "adapter"
    (adapter / "training.json").write_text("{}")
    with pytest.raises(LearnedError, match=r"training\.json .* \(KeyError\): bring back"):
        read_learned(adapter, None, threading.Event())


def test_no_failure_lasts_longer_than_its_cause(
    serve: Make, learned: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise MemoryError

    monkeypatch.setattr(module, "load_encoder", broken)
    client = serve(learned)
    assert client.post("/evidence/trace", json=ASKED).status_code == 500
    monkeypatch.setattr(module, "load_encoder", FakeEncoder)
    assert client.post("/evidence/trace", json=ASKED).status_code == 200


def test_where_nothing_was_trained_here_it_is_said() -> None:
    with LocalClient(create_app(Settings())) as client:
        refused = client.post("/evidence/trace", json=ASKED)
    assert refused.status_code == 404
    assert "not trained here" in refused.json()["detail"]


def test_who_asks_while_vectors_are_computed_is_asked_to_come_back(
    serve: Make, learned: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_load = threading.Event()

    def slow() -> FakeEncoder:
        assert may_load.wait(60)
        return FakeEncoder()

    monkeypatch.setattr(module, "load_encoder", slow)
    monkeypatch.setattr(module, "_PATIENCE", 0.1)
    client = serve(learned)
    early = client.post("/evidence/trace", json=ASKED)
    assert (early.status_code, early.headers["Retry-After"]) == (503, "5")
    may_load.set()
    for _ in range(500):
        if (found := client.post("/evidence/trace", json=ASKED)).status_code == 200:
            break
        time.sleep(0.01)
    assert found.json()["examples"]


def test_an_encoder_that_is_missing_is_said_and_logged(
    serve: Make, learned: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def missing() -> None:
        raise ModelError("The packaged embedding model is not installed.")

    monkeypatch.setattr(module, "load_encoder", missing)
    refused = serve(learned).post("/evidence/trace", json=ASKED)
    assert refused.status_code == 503
    assert "not installed" in caplog.text


@pytest.mark.parametrize("change", [{"question": " "}, {"answer": ""}, {"k": 0}, {"k": 21}])
def test_a_trace_of_nothing_is_refused(change: dict[str, Any]) -> None:
    with LocalClient(create_app(Settings())) as client:
        assert client.post("/evidence/trace", json=ASKED | change).status_code == 422


def test_a_server_that_stops_computes_no_more_vectors(learned: Workspace) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(LearnedError, match="stops"):
        read_learned(learned.folder("train") / "adapter", None, stop)
    assert not list((learned.root / "embeddings").rglob("*.parquet"))
