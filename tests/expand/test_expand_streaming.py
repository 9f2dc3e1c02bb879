"""Streams give the same bytes whoever works on them, go on after a kill, and lose nothing."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from elara.expand import (
    Examples,
    Expanded,
    Settings,
    curated_examples,
    expand_file,
    grounded_examples,
    split_by_topic,
    streaming,
    topic_clusters,
    validate,
    without_repeats,
    write_dataset,
    write_splits,
)
from elara.expand import repeats as repeats_room
from elara.machine.workers import WorkerError
from elara.model import SYSTEM_PROMPT
from elara.records import Article, Example, Section, frame
from elara.workspace import Workspace, WorkspaceError
from elara.workspace.formats import file_hashes

ORGANS = ("heart", "lung", "liver", "kidney", "spleen", "stomach", "brain", "skin", "bone", "eye")
IRON = (
    "Iron deficiency is the commonest cause of anaemia in adults, found by a low ferritin value. "
    "Treatment replaces the iron, and the source of the bleeding is looked for in every patient."
)
SIGNS = ("pain", "swelling", "fever", "pallor", "cough", "weakness", "bleeding", "jaundice", "rash")


def text(n: int) -> str:
    organ, sign = ORGANS[n % len(ORGANS)], SIGNS[n // len(ORGANS) % len(SIGNS)]
    return (
        f"Disease of the {organ} often begins with {sign}, and patients are slow to ask for care. "
        f"The clinician looks at the {organ}, asks about {sign} and treats the cause with patience."
    )


def article(n: int, **fields: Any) -> Article:
    base: dict[str, Any] = {
        "title": f"{SIGNS[n % 9]} of the {ORGANS[n // 9 % 10]}",
        "abstract": text(n),
        "language": "en",
        "licence": "CC-BY-4.0",
        "redistributable": True,
    }
    return Article(id=f"pubmed:{n:03d}", source="pubmed", **(base | fields))


ARTICLES = [
    *(article(n) for n in range(90)),
    article(90, abstract=text(3)),  # a repeat, far from the first
    article(91, abstract=text(4).replace("often", "very often")),  # nearly one
    article(92, abstract="We think so."),
    article(93, licence="unknown", redistributable=False),
    article(94, abstract=f"{text(5)} Vaccines cause autism."),
    article(95, abstract="", body=[Section("", "Why?", "question"), Section("", IRON, "answer")]),
]


@cache
def cases() -> pl.DataFrame:
    return curated_examples(SYSTEM_PROMPT).head(5)


def source(folder: Path, articles: list[Article] = ARTICLES) -> Path:
    path = folder / "articles.parquet"
    frame(articles, Article).write_parquet(path, row_group_size=13)
    return path


def expanded(path: Path, folder: Path, **options: Any) -> Expanded:
    (folder / "out").mkdir(parents=True, exist_ok=True)
    return expand_file(path, folder / "out", cases(), Settings(), **options)


def finished(path: Path, folder: Path, **options: Any) -> dict[str, str]:
    """The hashes of all that stage 4 writes."""
    made = expanded(path, folder, **options)
    repeats = without_repeats(made.examples)
    scanned = pl.scan_parquet(path)
    topics, links = topic_clusters(scanned, repeats.examples, [], repeats.alike)
    examples = split_by_topic(repeats.examples, topics)
    write_splits(examples, folder / "out")
    write_dataset(examples, scanned, folder / "out")
    links.write_parquet(folder / "out" / "links.parquet")
    repeats.dropped.write_parquet(folder / "out" / "repeated.parquet")
    return file_hashes(folder / "out")


def test_batches_and_pieces_do_not_change_a_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "_GROUP", 3)
    path = source(tmp_path)
    whole = finished(path, tmp_path / "a")
    assert len(whole) == 21
    monkeypatch.setattr("elara.expand.parts.ROWS", 10)
    monkeypatch.setattr("elara.expand.topics._ROWS", 9)
    assert finished(path, tmp_path / "b", batch=7) == whole


def test_processes_do_not_change_a_byte(tmp_path: Path) -> None:
    path = source(tmp_path)
    alone = finished(path, tmp_path / "a", batch=30)
    assert finished(path, tmp_path / "b", batch=30, workers=2) == alone


def test_it_is_what_recipes_and_validators_say(tmp_path: Path) -> None:
    path = source(tmp_path)
    made = expanded(path, tmp_path, batch=20)
    articles = pl.read_parquet(path)
    grounded = grounded_examples(articles, SYSTEM_PROMPT)
    checked = validate(pl.concat([cases(), grounded.examples]), articles)
    assert made.examples.all().equals(checked.examples)
    for name, table in {
        "skipped": grounded.skipped,
        "rejected": grounded.rejected,
        "noted": grounded.noted,
        "refused": checked.rejected,
    }.items():
        assert getattr(made, name).collect().equals(table)
        assert made.counts[name] == table.height


def test_nothing_is_silent(tmp_path: Path) -> None:
    made = expanded(source(tmp_path), tmp_path, batch=20)
    repeats = without_repeats(made.examples)
    built = made.examples.index.filter(pl.col("origin") != "curated")
    skipped, refused = made.skipped.collect(), made.refused.collect()
    named = {*built["article_id"], *skipped["article_id"], *refused["article_id"]}
    assert named == {one.id for one in ARTICLES}
    assert skipped["article_id"].to_list() == ["pubmed:092", "pubmed:093"]
    assert refused.select("article_id", "rule").rows() == [("pubmed:094", "harm")]
    assert len(repeats.examples) + repeats.dropped.height == len(made.examples)
    assert repeats.dropped.select("id", "rule", "repeats").rows() == [
        ("pubmed:090/key_points/0", "equal answer", "pubmed:003/key_points/0"),
        ("pubmed:091/key_points/0", "answer alike", "pubmed:004/key_points/0"),
    ]


def test_an_id_that_comes_twice_is_a_row(tmp_path: Path) -> None:
    twice = [article(1), article(2), article(1, abstract=text(50))]
    found = without_repeats(expanded(source(tmp_path, twice), tmp_path, batch=1).examples)
    assert found.dropped.rows() == [
        ("pubmed:001/key_points/0", "equal id", "pubmed:001/key_points/0", 1.0)
    ]


def test_no_article_is_no_error(tmp_path: Path) -> None:
    made = expanded(source(tmp_path, []), tmp_path)
    assert set(made.examples.index["origin"]) == {"curated"}
    assert made.skipped.collect().is_empty()


def test_what_is_no_table_of_articles_is_named(tmp_path: Path) -> None:
    path = tmp_path / "articles.parquet"
    pl.DataFrame({"id": ["a"]}).write_parquet(path)
    with pytest.raises(WorkspaceError, match=r"no column abstract, .*body.*run the stage"):
        expanded(path, tmp_path)
    path.write_text("no table", encoding="utf-8")
    with pytest.raises(WorkspaceError, match="cannot be read as a table of articles"):
        expanded(path, tmp_path)


def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = source(tmp_path)
    wanted = finished(path, tmp_path / "whole", batch=10)
    made: list[int] = []
    worked = streaming._expand_batch

    def counted(parts: Path, settings: Settings, task: Any) -> int:
        if len(made) == 4:
            raise KeyboardInterrupt
        made.append(task[0])
        return worked(parts, settings, task)

    monkeypatch.setattr(streaming, "_expand_batch", counted)
    with pytest.raises(KeyboardInterrupt):
        expanded(path, tmp_path / "cut", batch=10)
    assert not list((tmp_path / "cut" / "out").iterdir())  # nothing looks finished
    made = [-1] * 5
    assert finished(path, tmp_path / "cut", batch=10) == wanted
    assert made[5:] == [5, 6, 7, 8, 9, 10]  # and 1 to 4 were there


def test_parts_of_other_articles_or_settings_are_not_used(tmp_path: Path) -> None:
    path = source(tmp_path)
    parts = tmp_path / ".parts"
    first = Settings(seed=1)
    streaming._begin(parts, path, first, 10)
    (parts / "000001.index").touch()
    streaming._begin(parts, path, first, 10)
    assert (parts / "000001.index").exists()
    streaming._begin(parts, path, Settings(seed=2), 10)
    assert not (parts / "000001.index").exists()
    (parts / "000001.index").touch()
    source(tmp_path, ARTICLES[1:])
    streaming._begin(parts, path, Settings(seed=2), 10)
    assert not (parts / "000001.index").exists()


def test_parts_go_with_the_examples(tmp_path: Path) -> None:
    made = expanded(source(tmp_path), tmp_path)
    again = expanded(tmp_path / "articles.parquet", tmp_path)  # a cell that is run twice
    folder = made.examples.folder
    assert folder.exists()
    del made
    assert not folder.exists()
    assert len(again.examples.all()) == len(again.examples)
    del again
    assert not list(tmp_path.glob(".parts*"))


def test_a_process_that_fails_is_named(tmp_path: Path) -> None:
    none = frame(ARTICLES, Article).with_columns(title=pl.lit(None, pl.String))
    none.write_parquet(tmp_path / "articles.parquet")  # as no stage writes it
    with pytest.raises(WorkerError, match=r"batch \d of articles, from pubmed:0\d0 on failed"):
        expanded(tmp_path / "articles.parquet", tmp_path, batch=60, workers=2)


def test_the_stage_is_whole_or_not_there(tmp_path: Path) -> None:
    path = source(tmp_path)
    workspace = Workspace(tmp_path / "workspace")
    stage = workspace.begin("expand", {"seed": 0})
    made = expand_file(path, stage.draft, cases(), Settings())
    write_splits(split_by_topic(made.examples, {}), stage.draft)
    with pytest.raises(WorkspaceError, match="has not finished"):
        workspace.manifest("expand")
    del made
    manifest = stage.write({})
    lines = sum(manifest["files"][f"{s}.jsonl"]["rows"] for s in ("train", "validation", "test"))
    assert lines > 90
    assert not workspace.damage("expand")
    assert not list(stage.home.glob(".*"))


def likeness(one: str, other: str) -> float:
    """Jaccard similarity of runs of three words, counted with sets."""
    sets = []
    for told in (one, other):
        words = told.lower().replace(",", "").replace(".", "").split()
        sets.append({*zip(words, words[1:], words[2:], strict=False)})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_no_pair_that_is_alike_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [" ".join(text(n * k % 140) for k in (1, 3, 5)) for n in range(60)]
    texts += [told.replace("patience", f"patience{n % 3}") for n, told in enumerate(texts)]
    rows = [
        Example(
            id=f"x:{n:03d}",
            messages=[],
            specialty="General",
            origin="grounded",
            recipe="key_points",
            article_ids=[f"x:{n}"],
            licence="CC0-1.0",
            redistributable=True,
        )
        for n in range(len(texts))
    ]
    messages = [
        [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": told}]
        for n, told in enumerate(texts)
    ]
    examples = Examples.of(frame(rows, Example).with_columns(messages=pl.Series(messages)))
    pairs = {
        (a, b)
        for a in range(len(texts))
        for b in range(a + 1, len(texts))
        if likeness(texts[a], texts[b]) >= 0.8
    }
    assert len(pairs) > 50
    for bits in (26, 4):  # so few that all runs seem frequent
        monkeypatch.setattr(repeats_room, "_BITS", bits)
        found, shared = repeats_room._similar(examples, repeats_room._candidates(examples))
        assert {*map(tuple, found.tolist())} == pairs
        for (a, b), share in zip(found.tolist(), shared, strict=True):
            assert share == pytest.approx(likeness(texts[a], texts[b]))


def test_hashes_do_not_depend_on_the_process() -> None:
    table = cases().head(1)
    answer = table["messages"].to_list()[0][-1]["content"]
    plain = " ".join(answer.lower().split())
    digest = hashlib.blake2b(plain.encode(), digest_size=8).digest()
    assert Examples.of(table).index["answer"].to_list() == [int.from_bytes(digest, "big")]
