"""What is found fits the question, and nothing is found that may not be shown."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from clean_articles import DRUGS, article, finish

from elara.model.embedding import load_encoder
from elara.records import Article, Section
from elara.retrieval import Index, build_index, current_index, open_index
from elara.retrieval import index as building
from elara.retrieval import search as searching
from elara.workspace import Workspace, WorkspaceError
from elara.workspace.parameters import ParameterError

HOWS = ("vectors", "words", "both")
QUESTION = "Patients who take warfarin may notice bleeding"


@pytest.fixture
def index(workspace: Workspace, model: str) -> Index:
    return open_index(build_index(workspace, embedding_model=model))


def retract(workspace: Workspace, *pmids: str) -> None:
    lines = ["pmid,reason", *(f"{pmid},invented" for pmid in pmids)]
    (workspace.root / "retractions.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def found(index: Index, how: Any = "vectors", k: int = 5, **more: Any) -> list[str]:
    return [hit.passage.article_id for hit in index.search(QUESTION, k, how=how, **more)]


@pytest.mark.parametrize("how", HOWS)
def test_the_best_passages_come_first_and_a_score_lies_between_0_and_1(
    index: Index, how: Any
) -> None:
    hits = index.search(QUESTION, 6, how=how)
    scores = [hit.score for hit in hits]
    assert len(hits) == 6
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)
    assert "warfarin" in hits[0].passage.text
    assert len({hit.passage.id for hit in hits}) == 6
    assert index.search(QUESTION, 6, how=how) == hits
    assert index.search(" ", how=how) == []


def test_the_score_by_vectors_is_the_cosine(index: Index) -> None:
    (asked,) = index.encoder.encode([QUESTION])
    hits = index.search(QUESTION, 40)
    assert len(hits) == 40
    for hit in hits:
        (own,) = index.encoder.encode([hit.passage.in_context])
        assert hit.score == pytest.approx(max(0, float(np.dot(asked, own))), abs=2e-3)


@pytest.mark.parametrize("how", HOWS)
def test_a_topic_and_excluded_articles_hold(index: Index, how: Any) -> None:
    everyone = {hit.passage.article_id: hit.passage for hit in index.search(QUESTION, 40, how=how)}
    hits = index.search(QUESTION, 5, how=how, topic="Cardiology")
    assert len(hits) == 5
    assert all("Cardiology" in hit.passage.topics for hit in hits)
    out = [*everyone][:-3]
    rest = found(index, how, exclude=out)
    assert rest
    assert not {*rest} & {*out}
    assert found(index, how, exclude=[*everyone, *found(index, "vectors", 40)]) == []


@pytest.mark.parametrize("how", HOWS)
def test_a_retraction_and_a_block_act_at_once_and_other_passages_take_their_place(
    index: Index, workspace: Workspace, how: Any
) -> None:
    best, second = [*dict.fromkeys(found(index, how, 10))][:2]
    retract(workspace, best.removeprefix("pubmed:"))
    assert best not in found(index, how)
    assert index.article(best) is None
    workspace.folder("expand").mkdir(parents=True)
    blocked = pl.DataFrame({"set": ["exam"], "pmid": [second.removeprefix("pubmed:")]})
    blocked.write_parquet(workspace.folder("expand") / "blocked.parquet")
    assert not {best, second} & {*found(index, how)}
    (workspace.root / "retractions.csv").unlink()
    assert found(index, how)[0] == best
    last = ({"pubmed:1001", "pubmed:1009", "pubmed:1017"} - {second}).pop()  # all on warfarin
    every = {f"pubmed:{1000 + number}" for number in range(20)}
    retract(workspace, *(name.removeprefix("pubmed:") for name in every - {last}))
    assert found(index, how, 2) == [last, last]
    assert found(index, "vectors", 9) == [last, last]


def test_a_list_that_cannot_be_read_stops_the_search(index: Index, workspace: Workspace) -> None:
    (workspace.root / "retractions.csv").write_text("name\nA study\n", encoding="utf-8")
    with pytest.raises(WorkspaceError, match="has none of the columns"):
        index.search(QUESTION)
    (workspace.root / "retractions.csv").unlink()
    assert found(index)


def test_the_least_likeness_is_that_of_the_packaged_model(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "LEAST", 1.1)
    assert found(index)
    monkeypatch.setattr(searching, "PACKAGED", index.encoder.name)
    assert found(index) == []
    assert index.search(QUESTION, how="words")


def test_what_stands_for_a_retracted_article_goes_as_soon_as_that_is_known(
    index: Index, workspace: Workspace
) -> None:
    first = found(index)[0]
    retract(workspace, "77")
    assert found(index)[0] == first
    collected, removed = (
        workspace.folder("collect") / "articles.parquet",
        workspace.folder("inspect") / "removed.parquet",
    )
    names = {"id": "pubmed:77", "title": "", "pmid": "77", "pmcid": "", "doi": ""}
    same = {"id": "pubmed:77", "kept_id": first, "reason": "same_text"}
    for path, row in ((collected, names), (removed, same)):
        path.parent.mkdir(parents=True)
        pl.DataFrame([row]).write_parquet(path)
    assert first not in found(index)
    assert index.article(first) is None
    removed.write_bytes(b"PAR1")
    with pytest.raises(WorkspaceError, match="stages collect and inspect"):
        index.search(QUESTION)


def test_many_articles_are_searched_by_a_graph_that_finds_nearly_the_same(
    workspace: Workspace, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(workspace, [article(number) for number in range(400)])
    exact = open_index(build_index(workspace, embedding_model=model))
    questions = [f"Stop {drug} when it begins" for drug in DRUGS]
    wanted = [[h.score for h in exact.search(q, 8)] for q in questions]
    monkeypatch.setattr(building, "_EXACT", 100)
    monkeypatch.setattr(building, "_FORM", 0)
    graph = open_index(build_index(workspace, embedding_model=model))
    assert [i.index_type for i in graph._opened.table.list_indices()].count("IvfHnswSq") == 1
    scores = [[h.score for h in graph.search(q, 8)] for q in questions]
    assert np.isclose(wanted, scores, atol=1e-4).mean() > 0.9
    gone = {h.passage.article_id for h in graph.search(questions[0], 200)}
    hits = graph.search(questions[0], 10, exclude=gone, topic="Cardiology")
    assert len(hits) == 10
    assert not {h.passage.article_id for h in hits} & gone


def test_signs_in_ids_and_questions_are_no_commands(workspace: Workspace, model: str) -> None:
    odd = "own:it's 50% \") OR 1=1 --"
    body = [Section("", f"Patients who take warfarin may notice it {n}.") for n in range(30)]
    finish(workspace, [article(1, id=odd, pmid="", abstract="", body=body), article(2)])
    index = open_index(build_index(workspace, embedding_model=model))
    assert index.article(odd) is not None
    assert {*found(index, k=2, exclude=[odd])} == {"pubmed:1002"}
    for how in HOWS:
        for question in (
            "'",
            '"warfarin',
            "warfarin AND (",
            "+a -b ~c^2",
            "\0",
            "什么",
            "a" * 9999,
        ):
            index.search(question, how=how)  # type: ignore[arg-type]


def test_several_threads_find_what_one_finds(index: Index, workspace: Workspace) -> None:
    questions = [f"What does {drug} do?" for drug in DRUGS] * 6
    alone = [index.search(q, how="both") for q in questions]
    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(lambda q: index.search(q, how="both"), questions)] == alone


def test_what_cannot_be_asked_says_so(index: Index) -> None:
    with pytest.raises(ParameterError, match="vectors, words, both"):
        index.search(QUESTION, how="fuzzy")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="at least one passage"):
        index.search(QUESTION, 0)
    with pytest.raises(ParameterError, match="Cardiology"):
        index.search(QUESTION, topic="Cardiologi")


def test_an_index_that_goes_away_is_named_without_the_question(
    index: Index, workspace: Workspace
) -> None:
    shutil.rmtree(workspace.root / "retrieval" / "passages.lance" / "data")
    with pytest.raises(WorkspaceError, match="cannot be searched") as raised:
        index.search("a secret question")
    assert "secret" not in str(raised.value)
    shutil.rmtree(workspace.root / "retrieval")
    for ask in (index.search, index.article):
        with pytest.raises(WorkspaceError, match="There is no index in"):
            ask("a secret question")


def test_an_index_that_was_built_again_takes_the_place_of_the_one_that_is_open(
    index: Index, workspace: Workspace, model: str, make_model: Callable[..., str]
) -> None:
    """Not one with other licences: that could put on a network what may only be read here."""
    before = index.identity
    assert "pubmed:1025" not in found(index, k=40)
    finish(workspace, [article(number) for number in range(25, 30)])
    build_index(workspace, embedding_model=model)
    assert {*found(index, k=40)} == {f"pubmed:{1000 + number}" for number in range(25, 30)}
    assert index.passages == 10
    assert index.identity != before
    for how in ({"licences": "any"}, {"embedding_model": make_model(seed=5)}):
        build_index(workspace, **{"embedding_model": model} | how)  # type: ignore[arg-type]
        with pytest.raises(WorkspaceError, match="was replaced by one with other"):
            index.search(QUESTION)


def test_an_article_is_read_from_the_index_that_is_there(
    index: Index, workspace: Workspace, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def then(change: Callable[[], object]) -> Article | None:
        """Ask for an article, and change the folder between the look-up and the reading."""
        changes, scan = [change], pl.scan_parquet

        def scanned(path: Path) -> Any:
            if changes:
                changes.pop()()
            return scan(path)

        monkeypatch.setattr(pl, "scan_parquet", scanned)
        try:
            return index.article("pubmed:1003")
        finally:
            monkeypatch.setattr(pl, "scan_parquet", scan)

    def rebuilt(*numbers: int) -> None:
        finish(workspace, [article(number) for number in numbers])
        build_index(workspace, embedding_model=model)

    def between() -> None:
        rebuilt(3, 4)
        raise FileNotFoundError("the new folder is not in its place yet")

    assert then(lambda: rebuilt(3, 5)) == article(3)
    assert then(between) == article(3)
    assert then(lambda: rebuilt(6)) is None
    rebuilt(3)
    with pytest.raises(WorkspaceError, match=r"FileNotFoundError.*`elara index`"):
        then((workspace.root / "retrieval" / "articles.parquet").unlink)


def test_the_current_index_is_mended_as_it_was_made_and_its_model_is_loaded_once(
    workspace: Workspace, make_model: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = make_model({"query": "query: ", "passage": "passage: "}, seed=6)
    how: Any = {"licences": "any", "words": 6, "prefixes": ("on ", None)}
    folder = build_index(workspace, embedding_model=own, **how)
    identity = open_index(folder).identity
    loaded: list[str] = []
    for module in (building, searching):
        monkeypatch.setattr(
            module, "load_encoder", lambda name: loaded.append(name) or load_encoder(name)
        )
    (folder / "left_out.parquet").unlink()
    index = current_index(workspace)
    assert (index.identity, index.licences) == (identity, "any")
    assert (index.encoder.query, index.encoder.passage) == ("on ", "passage: ")
    assert loaded == [own]
    assert (folder / "left_out.parquet").exists()
    monkeypatch.setattr(building, "PACKAGED", own)
    monkeypatch.setattr(searching, "PACKAGED", own)
    (folder / "manifest.json").write_text("{", encoding="utf-8")
    assert current_index(workspace).licences == "redistributable"


def test_a_model_is_given_the_prefixes_that_it_wants(
    workspace: Workspace, model: str, make_model: Callable[..., str], tmp_path: Path
) -> None:
    """As multilingual e5 does: by its own settings, or as a parameter says."""
    wanted = ("query: ", "passage: ")
    settings = {"query": wanted[0], "passage": wanted[1]}
    told = open_index(build_index(workspace, embedding_model=make_model(settings)))
    assert (told.encoder.query, told.encoder.passage) == wanted
    (hit,) = told.search(QUESTION, 1)
    asked, own = told.encoder.encode([wanted[0] + QUESTION, wanted[1] + hit.passage.in_context])
    assert hit.score == pytest.approx(float(np.dot(asked, own)), abs=2e-3)
    expected = told.search(QUESTION, 5)
    plain = open_index(build_index(workspace, embedding_model=model))
    without = plain.search(QUESTION, 5)
    assert (plain.encoder.query, plain.encoder.passage) == ("", "")
    given = open_index(build_index(workspace, embedding_model=model, prefixes=wanted))
    assert given.search(QUESTION, 5) == expected != without
    half = build_index(workspace, embedding_model=make_model(settings), prefixes=("on ", None))
    assert (open_index(half).encoder.query, open_index(half).encoder.passage) == ("on ", wanted[1])
