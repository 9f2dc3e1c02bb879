"""An index is whole or not there, is built once, and leaves nothing out without a reason."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from clean_articles import article, finish
from command_line import elara

from elara.audit.workspace import audit
from elara.model import ModelError
from elara.model.embedding import PACKAGED, SentenceEncoder, encoder_folder
from elara.retrieval import build_index, open_index
from elara.retrieval import index as building
from elara.workspace import MANIFEST, Workspace, WorkspaceError, lock
from elara.workspace.parameters import ParameterError


def manifest_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return content


def test_every_article_is_indexed_or_left_out_with_a_reason(
    workspace: Workspace, model: str
) -> None:
    folder = build_index(workspace, embedding_model=model)
    index = open_index(folder)
    assert (index.passages, index.licences) == (40, "redistributable")
    left = dict(pl.read_parquet(folder / "left_out.parquet").iter_rows())
    assert left == {
        "pubmed:1020": "not_redistributable",
        "pubmed:1021": "retracted",
        "pubmed:1022": "no_text",
    }
    assert manifest_of(folder)["counts"] == {
        "articles": 20,
        "passages": 40,
        "left_out": {"no_text": 1, "not_redistributable": 1, "retracted": 1},
    }
    assert index.article("pubmed:1003") == article(3)
    assert all(index.article(name) is None for name in (*left, "pubmed:9"))


def test_any_licence_takes_all_but_what_was_retracted(workspace: Workspace, model: str) -> None:
    folder = build_index(workspace, embedding_model=model, licences="any")
    index = open_index(folder)
    assert (index.passages, index.licences) == (42, "any")
    assert index.article("pubmed:1020") is not None
    assert index.article("pubmed:1021") is None


def test_what_is_listed_when_it_is_built_is_left_out(workspace: Workspace, model: str) -> None:
    listed = workspace.root / "retractions.csv"
    listed.write_text("pmid,reason\n1001,invented\n", encoding="utf-8")
    blocked = pl.DataFrame({"set": ["exam", "exam"], "pmid": ["1002", ""]})
    workspace.folder("expand").mkdir(parents=True)
    blocked.write_parquet(workspace.folder("expand") / "blocked.parquet")
    folder = build_index(workspace, embedding_model=model)
    left = dict(pl.read_parquet(folder / "left_out.parquet").iter_rows())
    assert (left["pubmed:1001"], left["pubmed:1002"]) == ("retracted", "blocked")
    assert open_index(folder).passages == 36
    listed.unlink()
    assert open_index(build_index(workspace, embedding_model=model)).passages == 38


def test_an_index_that_stands_is_left_as_it_is_and_another_wish_builds_another(
    workspace: Workspace, model: str, make_model: Callable[..., str]
) -> None:
    def build(**how: Any) -> tuple[str, int]:
        folder = build_index(workspace, **{"embedding_model": model} | how)
        return manifest_of(folder)["identity"], (folder / MANIFEST).stat().st_mtime_ns

    first = build()
    assert build() == first
    others = [
        build(**how)[0]
        for how in (
            {"licences": "any"},
            {"words": 5},
            {"prefixes": ("query: ", "passage: ")},
            {"embedding_model": make_model(seed=1)},
        )
    ]
    assert len({first[0], *others}) == 5
    finish(workspace, [article(number) for number in range(3)])
    few, _ = build()
    assert few not in (first[0], *others)
    assert open_index(workspace.root / "retrieval").passages == 6


def test_the_same_articles_have_the_same_identity_wherever_and_whenever_they_are_indexed(
    workspace: Workspace, model: str, tmp_path: Path
) -> None:
    folder = build_index(workspace, embedding_model=model)
    first = manifest_of(folder)
    moved = Path(shutil.copytree(model, tmp_path / "moved model"))
    shutil.rmtree(folder)
    second = manifest_of(build_index(workspace, embedding_model=str(moved)))
    assert first["identity"] == second["identity"]
    assert first["embedding_model"] != second["embedding_model"]


@pytest.mark.parametrize("name", ["passages.lance", "articles.parquet", "left_out.parquet"])
def test_a_damaged_index_is_named_and_built_again(
    workspace: Workspace, model: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = build_index(workspace, embedding_model=model)
    whole = manifest_of(folder)["identity"]
    broken = folder / name
    if broken.is_dir():
        broken = max((p for p in broken.rglob("*.lance")), key=lambda p: p.stat().st_size)
    data = broken.read_bytes()
    broken.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))  # of the same length
    assert not audit(workspace).passed
    with caplog.at_level(logging.WARNING):
        build_index(workspace, embedding_model=model)
    assert f"{broken} was changed" in caplog.text
    assert manifest_of(folder)["identity"] == whole
    again = max((p for p in (folder, *(folder / name).parent.rglob("*")) if p.is_file()), key=str)
    again.unlink()
    with pytest.raises(WorkspaceError, match=r"is missing\. Build the index again: `elara index`"):
        open_index(folder)
    assert open_index(build_index(workspace, embedding_model=model)).passages == 40


def test_a_folder_without_a_sound_manifest_is_no_index(
    workspace: Workspace, model: str, tmp_path: Path
) -> None:
    with pytest.raises(WorkspaceError, match="There is no index in"):
        open_index(tmp_path / "none")
    folder = build_index(workspace, embedding_model=model)
    path = folder / MANIFEST
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"redistributable"', '"any"'), encoding="utf-8")
    with pytest.raises(WorkspaceError, match=r"manifest\.json was changed"):
        open_index(folder)
    for half in (text[:100], "[]"):
        path.write_text(half, encoding="utf-8")
        with pytest.raises(WorkspaceError, match="`elara index`"):
            open_index(folder)
    assert open_index(build_index(workspace, embedding_model=model)).passages == 40


def test_an_interrupted_build_leaves_the_earlier_index_and_goes_on(
    workspace: Workspace, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = build_index(workspace, embedding_model=model)
    first = manifest_of(folder)["identity"]
    finish(workspace, [article(number) for number in range(100, 200)])
    given: list[int] = []
    encode = SentenceEncoder.encode

    def interrupted(self: SentenceEncoder, texts: Sequence[str]) -> Any:
        if sum(given) + len(texts) > 120:
            raise KeyboardInterrupt
        given.append(len(texts))
        return encode(self, texts)

    monkeypatch.setattr(building, "_CHUNK", 64)
    monkeypatch.setattr(building, "_BATCH", 30)
    monkeypatch.setattr(SentenceEncoder, "encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_index(workspace, embedding_model=model)
    kept = sum(given)
    assert kept >= 60
    assert open_index(folder).identity == first
    (workspace.root / ".retrieval.partial" / "half").mkdir(parents=True)  # as a kill leaves it
    given.clear()
    monkeypatch.setattr(
        SentenceEncoder, "encode", lambda s, texts: given.append(len(texts)) or encode(s, texts)
    )
    build_index(workspace, embedding_model=model)
    assert sum(given) == 200 - kept
    assert open_index(folder).passages == 200
    assert not (workspace.root / ".retrieval.partial").exists()


def test_a_second_process_is_refused_while_one_builds(workspace: Workspace, model: str) -> None:
    held = lock(workspace.root / "logs" / "index.lock", "a test")
    with pytest.raises(WorkspaceError, match="`elara index` is already running in"):
        build_index(workspace, embedding_model=model)
    held.release()
    build_index(workspace, embedding_model=model)


def test_what_cannot_be_built_says_what_to_do(workspace: Workspace, model: str) -> None:
    for how, message in (
        ({"licences": "all"}, "write redistributable or any"),
        ({"words": 0}, "at least one"),
        ({"embedding_model": ""}, "name the packaged"),
    ):
        with pytest.raises(ParameterError, match=message):
            build_index(workspace, **{"embedding_model": model} | how)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="Cannot load the embedding model"):
        build_index(workspace, embedding_model="/no/such/folder")
    (workspace.folder("clean") / "articles.parquet").write_bytes(b"PAR1")
    with pytest.raises(WorkspaceError, match=r"articles\.parquet cannot be read"):
        build_index(workspace, embedding_model=model)
    finish(workspace, [article(1, redistributable=False), article(2, retracted=True)])
    with pytest.raises(WorkspaceError, match=r"\(1 not_redistributable, 1 retracted\)"):
        build_index(workspace, embedding_model=model)
    finish(workspace, [])
    with pytest.raises(WorkspaceError, match="it has no rows"):
        build_index(workspace, embedding_model=model)
    (workspace.folder("clean") / MANIFEST).unlink()
    with pytest.raises(WorkspaceError, match="'clean' has not finished"):
        build_index(workspace, embedding_model=model)
    assert not (workspace.root / "retrieval").exists()


def test_another_model_under_the_same_name_is_refused(
    workspace: Workspace, make_model: Callable[..., str]
) -> None:
    own = make_model(seed=2)
    folder = build_index(workspace, embedding_model=own)
    shutil.copytree(make_model(seed=3), own, dirs_exist_ok=True)
    with pytest.raises(WorkspaceError, match="is not the one that the index in"):
        open_index(folder)


def test_the_command_says_what_is_in_it_and_verify_accounts_for_it(
    workspace: Workspace, model: str
) -> None:
    done = elara("index", "-w", workspace.root, "--embedding-model", model)
    folder = workspace.root / "retrieval"
    assert done.returncode == 0, done.stderr
    assert f"40 passages of 20 articles (redistributable) in {folder}" in done.stdout
    assert "Left out: 1 no_text, 1 not_redistributable, 1 retracted" in done.stdout
    found = audit(workspace)
    assert found.passed
    own = [f for path, f in found.files.items() if path.startswith("retrieval/")]
    assert {f.passed for f in own} == {True}
    assert len(own) == sum(p.is_file() for p in folder.rglob("*"))
    done = elara("index", "-w", workspace.root, "--licences", "some")
    assert done.returncode == 1
    assert "write redistributable or any" in done.stderr
    done = elara("index", "-w", workspace.root, "--embedding-model", "")
    assert done.returncode == 1
    assert "`embedding_model` is empty" in done.stderr


@pytest.mark.model
def test_the_folder_of_the_packaged_model_is_the_packaged_model() -> None:
    folder = encoder_folder()
    assert folder is not None
    assert building.named_encoder(f"{folder}/../{folder.name}").name == PACKAGED
