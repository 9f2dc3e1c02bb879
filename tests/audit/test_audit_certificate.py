"""The certificate finds each kind of leak, names both sides, and lets clean text alone."""

from __future__ import annotations

import gzip
import json
import textwrap
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import tiny_run

from elara.audit import AuditError
from elara.audit.certificate import certify
from elara.audit.overlap import Words, similar
from elara.expand.evaluation_sets import read_evaluation_sets

LONG = (
    "Magnesium sulfate is given to prevent seizures in severe pre-eclampsia, the blood pressure "
    "is lowered slowly, and delivery follows once the mother is stable enough to bear it."
)
ASKED = (
    "A woman of 34 weeks has a blood pressure of 170/112 mmHg, a headache and brisk reflexes in a "
    "health-center without a laboratory. Which of these is given first?"
)
OPTIONS = [
    "Magnesium sulfate into a muscle",
    "Furosemide by mouth for a week",
    "A litre of saline over an hour",
    "Diazepam by mouth at night",
]


def example(name: str, answer: str, *, article: str = "", question: str = "What?") -> pl.DataFrame:
    row = tiny_run.examples(1).to_dicts()[0]
    row |= {"id": name, "article_ids": [article or name]}
    row["messages"][1]["content"], row["messages"][2]["content"] = question, answer
    return pl.DataFrame([row], schema=tiny_run.examples(0).schema)


def item(question: str = ASKED, **more: Any) -> pl.DataFrame:
    return pl.DataFrame([{"id": "q1", "question": question, **more}])


def found(train: pl.DataFrame, held: pl.DataFrame, **more: Any) -> set[str]:
    return set(certify(train, {"test": held}, **more).findings["check"])


def test_different_texts_are_clean() -> None:
    certificate = certify(tiny_run.examples(16), {"test": tiny_run.examples(4, start=100)})
    assert certificate.clean
    certificate.require_clean()
    assert certificate.record()["verdict"] == "clean"
    assert certificate.compared["test"]["items"] == 4


def test_each_check_finds_its_leak_and_names_both_sides() -> None:
    train = example("a:1", LONG, article="pubmed:123")
    other = "Nothing here resembles the text on the other side of it in any way at all."
    assert found(train, example("b:1", other, article="pubmed:123")) == {"article", "identifier"}
    assert found(train, pl.DataFrame({"id": ["q1"], "pmid": ["123"]})) == {"identifier"}
    upper = LONG.upper().replace(",", " -- ")
    assert "equal" in found(train, example("b:1", upper, question="Anything else?"))
    near = LONG.replace("Magnesium", "Intravenous magnesium").replace("bear it", "bear this")
    assert found(train, example("b:1", near)) == {"similar", "overlap"}
    copied = f"{LONG} {other}"
    assert found(train, example("b:1", copied)) == {"overlap"}
    finding = certify(train, {"test": example("b:1", near)}).findings.row(0, named=True)
    assert (finding["set"], finding["item"], finding["train_id"]) == ("test", "b:1", "a:1")


def test_a_benchmark_matches_by_doi_through_the_articles_table() -> None:
    articles = pl.DataFrame(
        {"id": ["cdc:x"], "pmid": [""], "pmcid": [""], "doi": ["10.1000/abc"], "title": ["T"]}
    )
    benchmark = pl.DataFrame({"id": ["q7"], "doi": ["https://doi.org/10.1000/ABC"]})
    train = example("a:1", LONG, article="cdc:x")
    assert found(train, benchmark, articles=articles) == {"identifier"}
    assert found(train, benchmark) == set()


def test_phrases_of_the_genre_are_no_leak() -> None:
    own = "Then comes what only this one item of the twelve has to ask about drug "
    held = pl.concat(
        [item(f"{LONG} {own}{'x' * n}?").with_columns(id=pl.lit(n)) for n in range(12)]
    )
    train = example("a:1", LONG)
    assert found(train, held.head(3)) == {"overlap"}
    assert found(train, held) == set()  # what so many items say is no item's own


def test_short_questions_are_found_as_sentences_only() -> None:
    inside = f"Some text comes first. What prevents rickets in infants? {LONG}"
    assert found(example("a:1", inside), item("What prevents rickets in infants?")) == {"equal"}
    running = "It says what prevents rickets in infants and adds a little more about the sun."
    assert found(example("a:1", running), item("What prevents rickets in infants?")) == set()
    assert found(example("a:1", inside), item("What?")) == set()
    asked = "Which vitamin prevents rickets in breastfed infants?"  # 7 words: wherever it stands
    assert found(example("a:1", f"now {asked} more {LONG}"), item(asked)) == {"overlap"}


@pytest.mark.parametrize(
    "planted",
    [
        ASKED,
        textwrap.fill(ASKED, 30),
        " ".join([LONG.replace("seizures", "fits")] * 20) + ASKED + LONG * 3,
        "\n".join([ASKED, *reversed(OPTIONS)]),
        ASKED.replace("34", "36").replace("170/112", "165/115"),
        ASKED.upper().replace("-", "\N{NON-BREAKING HYPHEN}"),
        ASKED.replace("health-center", "health center"),
        "\n".join(["Of a woman with a headache:", *reversed(OPTIONS)]),
    ],
    ids=["exact", "wrapped", "inside", "shuffled", "numbers", "case", "compound", "options"],
)
def test_changed_items_are_dropped(planted: str) -> None:
    findings = certify(example("a:1", planted), {"exam": item(options=OPTIONS)}).findings
    assert ("overlap", "drop") in set(findings.select("check", "action").iter_rows())


def test_half_an_item_is_flagged_and_stays() -> None:
    train = example("a:1", " ".join(ASKED.split()[:20]))
    certificate = certify(train, {"exam": item()})
    assert certificate.findings["action"].to_list() == ["flag"]
    assert certificate.clean
    assert certificate.without(train).height == 1
    record = certificate.record()
    assert (record["contaminated_items"], record["flagged_items"]) == (0, 1)
    split = example("b:1", "Yes.", question=ASKED)  # of our own: nothing is only flagged
    assert not certify(train, {"test": split}).clean
    (told,) = [check["method"] for check in record["checks"] if check["check"] == "overlap"]
    assert "from 80% on (from 50% on, if it is of a split of our own)" in told


def test_a_leak_is_refused_and_can_be_taken_out() -> None:
    train = pl.concat([tiny_run.examples(3), example("a:1", LONG)])
    certificate = certify(train, {"test": example("b:1", LONG)})
    with pytest.raises(AuditError, match=r"1 held-out items .* b:1 of test in a:1"):
        certificate.require_clean()
    rest = certificate.without(train)
    assert rest["id"].to_list() == tiny_run.examples(3)["id"].to_list()
    assert certify(rest, {"test": example("b:1", LONG)}).clean


def test_a_list_that_cannot_be_compared_is_an_error() -> None:
    with pytest.raises(AuditError, match="'exam' cannot be compared"):
        certify(tiny_run.examples(1), {"exam": pl.DataFrame({"name": ["x"]})})


def test_the_similarity_search_misses_no_pair() -> None:
    import random

    rng = random.Random(1)
    texts = [" ".join(rng.choices("abcdefgh", k=rng.randint(3, 30))) for _ in range(60)]
    texts += [t + " z" for t in texts] + [f"y {t} x" for t in texts[:30]]
    rng.shuffle(texts)
    seen, held = texts[::2], texts[1::2]

    def shingles(text: str) -> set[tuple[str, ...]]:
        words = text.split()
        return {tuple(words[i : i + 3]) for i in range(len(words) - 2)}

    wanted = set()
    for i, a in enumerate(held):
        for j, b in enumerate(seen):
            x, y = shingles(a), shingles(b)
            if len(x & y) >= 0.8 * len(x | y):
                wanted.add((i, j))
    pairs = similar(Words.of(pl.Series(seen)).sequences(3), Words.of(pl.Series(held)).sequences(3))
    assert {(i, j) for i, j in pairs.select("text", "train").iter_rows()} == wanted
    assert len(wanted) > 20


SETS: dict[str, Any] = {
    "mmlu/anatomy_test.csv": "Which bone is in the thigh?,Femur,Ulna,Tibia,Hyoid,A\n",
    "medqa.jsonl": {"question": ASKED, "options": {"A": "x", "B": "y"}, "answer": "x"},
    "medmcqa.jsonl": {"id": "m1", "question": ASKED, "opa": "x", "opb": "y", "cop": 1, "exp": LONG},
    "pubmedqa.json": {"123": {"QUESTION": ASKED, "CONTEXTS": [LONG], "LONG_ANSWER": "Yes, it is."}},
    "afrimedqa.jsonl": {"sample_id": "s1", "question": ASKED, "answer_options": '{"a": "x"}'},
    "french.json": [{"id": "f1", "question": ASKED, "answers": {"a": "x", "b": "y"}}],
    "healthbench.jsonl": {"prompt_id": "h1", "prompt": [{"role": "user", "content": ASKED}]},
    "blocked.txt": "PMID: 123\n456\n",
    "questions.txt": "What prevents rickets?\nWhat is gout?\n",
}


def write(folder: Path, name: str, content: Any) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def test_the_public_formats_are_read(tmp_path: Path) -> None:
    for name, content in SETS.items():
        write(tmp_path, name, content)
    (tmp_path / "more.jsonl.gz").write_bytes(gzip.compress(b'{"id": 7, "question": "Why?"}\n'))
    write(tmp_path, "README.txt", "nothing to read")
    sets = read_evaluation_sets(tmp_path)
    assert list(sets) == [
        "afrimedqa", "blocked", "french", "healthbench", "medmcqa", "medqa", "mmlu/anatomy_test",
        "more", "pubmedqa", "questions",
    ]  # fmt: skip
    rows = {name: table.row(0, named=True) for name, table in sets.items()}
    assert rows["mmlu/anatomy_test"]["options"] == ["Femur", "Ulna", "Tibia", "Hyoid"]
    assert rows["mmlu/anatomy_test"]["answer"] == "Femur"
    assert [rows[name]["options"] for name in ("medqa", "medmcqa", "french")] == [["x", "y"]] * 3
    assert rows["afrimedqa"] | {"options": ["x"], "id": "s1"} == rows["afrimedqa"]
    assert rows["medmcqa"]["rationale"] == rows["pubmedqa"]["rationale"] == LONG
    assert (rows["pubmedqa"]["pmid"], rows["pubmedqa"]["answer"]) == ("123", "Yes, it is.")
    assert rows["healthbench"]["question"] == ASKED
    assert sets["blocked"]["pmid"].to_list() == ["123", "456"]
    assert rows["questions"]["question"] == "What prevents rickets?"
    leaks = certify(example("a:1", LONG, article="pubmed:123"), sets).findings
    assert {"blocked", "pubmedqa"} <= set(leaks.filter(check="identifier")["set"])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", {"text": "x"}, "Item 1 of the evaluation set a has no question"),
        ("a.csv", "x,y\n1,2\n", "no header with known names"),
        ("a.txt", "123\n456\nseven\n", "'seven' is no PubMed id"),
        ("a.xyz", "x", "ending is unknown"),
        ("a.json", "{", "a.json cannot be read"),
        ("README.md", "x", "no evaluation set in"),
    ],
)
def test_a_folder_that_cannot_be_read_says_why(
    tmp_path: Path, name: str, content: Any, said: str
) -> None:
    write(tmp_path, name, content)
    with pytest.raises(AuditError, match=said):
        read_evaluation_sets(tmp_path)
    with pytest.raises(AuditError, match="no folder"):
        read_evaluation_sets(tmp_path / "none")


def test_pieces_and_scanned_articles_give_the_same_certificate(tmp_path: Path) -> None:
    from elara.records import Article, frame

    train = pl.concat([example("a:1", LONG, article="pmc:5"), example("a:2", LONG.upper())])
    articles = frame([Article(id="pmc:5", source="pmc", title="", pmid="123")], Article)
    articles.write_parquet(tmp_path / "articles.parquet")
    scanned = pl.scan_parquet(tmp_path / "articles.parquet")
    sets = {"exam": item(question=LONG), "ids": pl.DataFrame({"id": ["x"], "pmid": ["123"]})}
    whole = certify(train, sets, articles=articles)
    assert {"identifier", "equal"} <= set(whole.findings["check"])
    pieces = [train.head(1), train.tail(1)]
    found = certify(pieces, sets, articles=scanned)
    assert found.findings.equals(whole.findings)
    assert found.compared == whole.compared
