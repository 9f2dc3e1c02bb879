"""Whole folders: merging, deletions, topics, tables, and nothing lost."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elara.collect import (
    african_health,
    collect_folder,
    load_topics,
    outcome_table,
    per_licence,
    per_source,
    raw_record,
    sample_folder,
    source_folder,
    specialty_figure,
)
from elara.collect.merge import merge
from elara.collect.parsed import Parsed
from elara.collect.report import per_specialty
from elara.records import Article, Outcome, Section, frame


def parsed(id: str, *, record: int = 0, revision: str = "", **fields: object) -> Parsed:
    article = Article(id=id, source=id.split(":")[0], title="T", **fields)  # type: ignore[arg-type]
    return Parsed(
        record=record, article=article, article_id=id, file=f"{record}.xml", revision=revision,
        native_id=id.split(":")[1],
    )  # fmt: skip


def test_the_newest_version_replaces_the_others() -> None:
    old = parsed("pubmed:1", pmid="1", abstract="long " * 50, pmcid="PMC1", revision="0001")
    new = parsed("pubmed:1", pmid="1", abstract="short", record=1, revision="0002")
    for order in ([old, new], [new, old]):
        (article,), outcomes, _ = merge(order)
        assert (article.abstract, article.pmcid) == ("short", "")
        reasons = {o.record: (o.status, o.reason) for o in outcomes}
        assert reasons[1] == ("article", "")
        assert reasons[0] == ("skipped", "same PMID 1 as record 1 of 1.xml, which is kept")


def test_full_text_is_kept_and_completed_across_sources() -> None:
    abstract = parsed("pubmed:1", pmid="1", doi="10.1/a", mesh=["Humans"], retracted=True)
    full = parsed("pmc:PMC1", doi="10.1/a", body=[Section("", "text")], record=1)
    (article,), outcomes, _ = merge([abstract, full])
    assert (article.id, article.pmid, article.mesh, article.retracted) == (
        "pmc:PMC1", "1", ["Humans"], True,
    )  # fmt: skip
    assert [o.article_id for o in outcomes] == ["pmc:PMC1", "pmc:PMC1"]
    assert "same DOI 10.1/a" in outcomes[0].reason


def test_two_pmids_are_two_articles_even_with_one_doi() -> None:
    articles, *_ = merge([
        parsed("pubmed:1", pmid="1", doi="10.1/a"), parsed("pubmed:2", pmid="2", doi="10.1/a"),
    ])  # fmt: skip
    assert [a.id for a in articles] == ["pubmed:1", "pubmed:2"]


def test_a_record_can_connect_two_others() -> None:
    articles, outcomes, _ = merge([
        parsed("pubmed:1", pmid="1"),
        parsed("cdc:x", doi="10.1/a", body=[Section("", "t")], record=1),
        parsed("pmc:PMC2", pmid="1", doi="10.1/a", record=2),
    ])  # fmt: skip
    assert [a.id for a in articles] == ["cdc:x"]
    assert {o.article_id for o in outcomes} == {"cdc:x"}


def test_deletions_remove_the_article_and_say_so() -> None:
    notice = Parsed(record=5, native_id="1", status="deletion", file="d.xml")
    articles, outcomes, _ = merge(
        [notice, parsed("pubmed:1", pmid="1"), parsed("pubmed:2", pmid="2")]
    )
    assert [a.id for a in articles] == ["pubmed:2"]
    reasons = [o.reason for o in outcomes if o.status == "skipped"]
    assert reasons == [
        "withdrawn: DeleteCitation in d.xml lists PMID 1",
        "DeleteCitation: the source withdraws this PMID",
    ]


keys = st.sampled_from(["", "a", "b", "c"])


@given(st.lists(st.tuples(st.sampled_from(["pubmed", "pmc", "cdc"]), keys, keys), max_size=8))
def test_merging_loses_nothing_and_shares_no_id(rows: list[tuple[str, str, str]]) -> None:
    records = [
        parsed(f"{source}:{pmid or n}", record=n, pmid=pmid, doi=doi)
        for n, (source, pmid, doi) in enumerate(rows)
    ]
    articles, outcomes, _ = merge(records)
    assert sorted(o.record for o in outcomes) == list(range(len(rows)))
    ids = [a.id for a in articles]
    assert ids == sorted(set(ids))
    assert {o.article_id for o in outcomes} == set(ids)
    pmids = [a.pmid for a in articles if a.pmid]
    assert len(pmids) == len(set(pmids))


def test_all_shared_data_runs_through(shared_data: Path) -> None:
    collection = collect_folder(shared_data)
    files = {p.relative_to(shared_data).as_posix() for p in shared_data.rglob("*") if p.is_file()}
    outcomes = collection.outcomes.collect()
    assert set(outcomes["file"]) == files
    # This copy of a table was cut in the middle of a cell.
    errors = outcomes.filter(status="error")
    assert errors["file"].to_list() == ["clinical_notes/mtsamples_truncated.csv.gz"]
    assert "quotation mark is not closed" in errors["reason"].item()
    assert outcomes.filter((pl.col("status") == "skipped") & (pl.col("reason") == "")).height == 0
    told = set(outcomes.filter(status="article")["article_id"])
    assert told == set(collection.articles.collect()["id"])
    unread = outcomes.filter(pl.col("reason") == "not a format that Elara reads")
    assert unread["file"].n_unique() == unread.height


def test_the_sample_gives_the_same_bytes_wherever_it_is_read(tmp_path: Path) -> None:
    first, second = (collect_folder(sample_folder()).articles.collect() for _ in range(2))
    assert first.equals(second)
    assert set(first["retrieved_at"]) == {"2026-11-22T00:00:00Z"}
    copy = tmp_path / "copy"
    shutil.copytree(sample_folder(), copy)
    moved = collect_folder(copy).articles.collect()
    assert moved.drop("retrieved_at").equals(first.drop("retrieved_at"))
    assert moved["retrieved_at"].str.contains(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$").all()
    assert set(load_topics().labels) == set(first["topics"].explode().drop_nulls())


def test_raw_records_can_be_read_back() -> None:
    articles = collect_folder(sample_folder()).articles.collect()
    for row in articles.filter(pl.col("source").is_in(["pubmed", "medlineplus"])).rows(named=True):
        raw = raw_record(sample_folder(), row["raw_file"], row["raw_record"])
        assert row["id"].split(":")[1].encode() in raw
    with pytest.raises(IndexError, match="has no record 9999"):
        raw_record(sample_folder(), "medlineplus/mplus_topics.xml", 9999)


def test_a_missing_folder_is_a_clear_error(tmp_path: Path) -> None:
    assert source_folder("") == sample_folder()
    with pytest.raises(NotADirectoryError, match=r"local_files.*nowhere"):
        source_folder(str(tmp_path / "nowhere"))


def test_an_empty_folder_gives_an_empty_collection(tmp_path: Path) -> None:
    collection = collect_folder(tmp_path)
    assert collection.articles.collect().height == collection.outcomes.collect().height == 0
    assert per_source(collection.articles).height == 0
    assert per_specialty(collection.articles).height == 13
    with pytest.raises(ValueError, match="No article could be read from this folder: 0 articles"):
        collection.example()
    specialty_figure(collection.articles)


def test_an_unreadable_file_is_a_named_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> Iterator[bytes]:
        yield from ()
        raise PermissionError(13, "Permission denied", path.name)

    (tmp_path / "locked.xml").write_text("<posts>")
    monkeypatch.setattr("elara.collect.rawfiles.raw_chunks", refuse)
    (outcome,) = collect_folder(tmp_path).outcomes.collect().rows(named=True)
    assert (outcome["status"], outcome["file"]) == ("error", "locked.xml")
    assert "Permission denied" in outcome["reason"]


def test_topics_match_whole_words_and_a_keyword_wins() -> None:
    topics = load_topics()
    assert topics.of("Heart failure in children", [], []) == ["Cardiology", "Pediatrics"]
    assert topics.of("The hippocampus of octopus", [], []) == []
    assert topics.of("Heart, heart and heart", ["Dermatology"], [])[0] == "Dermatology"
    assert topics.of("Chest X-Ray", [], []) == ["Radiology"]
    assert topics.of("", ["OB/GYN"], []) == ["OB/GYN"]
    assert len(topics.labels) == 13


def test_african_health_is_told_from_african_american() -> None:
    titles = ["Malaria in Côte d'Ivoire", "African American adults", "Guinea pigs", "Kenya"]
    table = frame(
        [Article(id=f"x:{n}", source="x", title=t) for n, t in enumerate(titles)], Article
    )
    assert african_health(table)["id"].to_list() == ["x:0", "x:3"]


def test_tables_count_everything_once() -> None:
    articles = frame(
        [
            Article(id="a:1", source="a", title="", topics=["Cardiology", "Neurology"]),
            Article(id="a:2", source="a", title="", abstract="x", licence="CC0-1.0",
                    redistributable=True),
            Article(id="b:1", source="b", title="", topics=["Cardiology"], retracted=True),
        ],
        Article,
    )  # fmt: skip
    assert per_source(articles).rows() == [("a", 2, 1, 0, 1, 0), ("b", 1, 0, 0, 0, 1)]
    assert per_licence(articles).rows() == [("unknown", False, 2), ("CC0-1.0", True, 1)]
    specialties = per_specialty(articles)
    assert specialties.row(0) == ("Cardiology", 1, 1, 2)
    assert specialties["total"].sum() == 3
    figure = specialty_figure(articles)
    assert sum(p.get_width() for p in figure.axes[0].patches) == 3


def test_one_reason_is_one_line() -> None:
    held = "; its abstract is not added, since its licence (unknown) asks for more"
    reasons = [
        "same PMID 1 as record 2 of a.xml, which is kept",
        "same PMID 7 as record 1 of b",
        f"same DOI 10.1/x as record 1 of b, which is kept{held}",
    ]
    lines = [
        Outcome(file="f", record=n, native_id="", status="skipped", reason=r)
        for n, r in enumerate(reasons)
    ]
    assert outcome_table(frame(lines, Outcome)).rows() == [
        ("skipped", "same PMID as another record, which is kept", 2),
        ("skipped", f"same DOI as another record, which is kept{held}", 1),
    ]


def test_a_packed_dump_reads_like_the_plain_one(
    source_files: Path, tmp_path: Path, least: Callable[[int], int]
) -> None:
    """Stack Exchange publishes its dumps as 7z archives that bear the site's name."""
    import py7zr

    dump = next(
        p for p in sorted((source_files / "stackexchange" / "dump").rglob("*")) if p.is_file()
    )
    content = dump.read_bytes()
    plain = tmp_path / "plain" / "coffee.stackexchange.com" / "Posts.xml"
    plain.parent.mkdir(parents=True)
    plain.write_bytes(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
    (tmp_path / "packed").mkdir()
    with py7zr.SevenZipFile(tmp_path / "packed" / "coffee.stackexchange.com.7z", "w") as archive:
        archive.write(plain, "Posts.xml")
    read = [collect_folder(tmp_path / name).articles.collect() for name in ("plain", "packed")]
    assert read[0].height >= least(50)
    where = ("raw_file", "retrieved_at")
    assert read[0].drop(where).equals(read[1].drop(where))
    article = read[1].row(0, named=True)
    assert article["raw_file"] == "coffee.stackexchange.com.7z!Posts.xml"
    row = raw_record(tmp_path / "packed", article["raw_file"], article["raw_record"])
    assert row.startswith(b"<row ")


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "dump.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + b"\0" * 100)
    outcomes = collect_folder(tmp_path).outcomes.collect()
    assert outcomes["status"].to_list() == ["error"]
    assert outcomes["file"].to_list() == ["dump.7z"]
