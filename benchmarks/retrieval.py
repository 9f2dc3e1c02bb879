"""Measure how well questions find their answers, and how fast, by words, by vectors and by both.

    python benchmarks/retrieval.py                 (both parts; writes retrieval.json beside it)
    python benchmarks/retrieval.py --part quality  (one of them; the other's figures stay)
    python benchmarks/retrieval.py --part speed
    python benchmarks/retrieval.py --answers 1000  (sooner done, and easier)

Quality: 3,000 answers of MedQuAD, no two the same, are indexed without their questions and without
the name of what they are about, and each is looked for by its question. Counted are answers (the
rank of one is that of its best passage) and passages (all those of the answer are right).

Speed: one question at a time against 150,000 passages. Each consists of the halves of two real
ones, and its vector is that of a question moved at random: so speed is real, and what is found
means nothing. The encoding of the question is measured apart. `graph_recall` is the share of the
ten nearest vectors that the graph finds. One text in three belongs to the specialty asked for.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import platform
import random
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lancedb import connect

from elara.machine.cores import usable_cores
from elara.model.embedding import Store, load_encoder
from elara.records import Article, Section, frame
from elara.retrieval import Index, build_index, index, open_index, passages, search
from elara.workspace import Workspace
from elara.workspace.workspace import Stage

HERE = Path(__file__).resolve().parent
MEDQUAD = HERE.parents[1] / "shared" / "data" / "qa" / "medquad" / "medquad.jsonl.gz"
KEPT = HERE.parent / "_build" / "retrieval"
RESULT = HERE / "retrieval.json"
ANSWERS, PASSAGES, QUESTIONS = 3000, 150_000, 200
DEEP = 50  # passages that are looked at for each question
HOWS: tuple[search.How, ...] = ("words", "vectors", "both")
# Questions on other subjects, for which no passage should be found.
ELSEWHERE = (
    *("What is the capital of France?", "Who wrote Hamlet?", "How do I change a bicycle tyre?"),
    *("When did the Roman Empire end?", "How does a sailing boat go against the wind?"),
    *("What is the square root of 144?", "How do I bake bread with a crisp crust?"),
    *("Who painted the Night Watch?", "How is glass made?", "What is inflation in economics?"),
    *("How do I sort a list in Python?", "Which planet has the most moons?"),
    *("How long is the river Nile?", "What is a sonnet?", "How do I tune a guitar?"),
    *("Why is the sky blue?", "What does a court of appeal do?", "How do volcanoes form?"),
    *("How do I plant tomatoes?", "What is the offside rule?"),
)
BARS = {"ndcg_at_10_vectors": 0.80, "p95_ms": 50.0}


def pairs(number: int) -> list[tuple[str, str]]:
    """Questions and answers, drawn at random among those whose answer is no other's."""
    first: dict[str, str] = {}
    with gzip.open(MEDQUAD, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if row["answer"]:
                first.setdefault(row["answer"], row["question"])
    drawn = random.Random(0).sample(sorted(first), ANSWERS)
    return [(first[answer], answer) for answer in drawn[:number]]


def articles(texts: Sequence[str]) -> list[Article]:
    """Each text as an article of one section without a title."""
    return [
        Article(
            id=f"medquad:{number}",
            source="medquad",
            title="",
            body=[Section("", text)],
            licence="CC-BY-4.0",
            redistributable=True,
            topics=[] if number % 3 else ["Cardiology"],
        )
        for number, text in enumerate(texts)
    ]


def indexed(name: str, texts: Sequence[str]) -> tuple[Index, float]:
    """An index of texts, and the seconds that building it took."""
    workspace = Workspace(KEPT / name)
    (workspace.root / "logs").mkdir(parents=True, exist_ok=True)
    stage = Stage("clean", workspace, {})
    shutil.rmtree(stage.draft, ignore_errors=True)
    stage.draft.mkdir(parents=True)
    stage.write({"articles.parquet": frame(articles(texts), Article)})
    started = time.time()
    folder = build_index(workspace)
    return open_index(folder), round(time.time() - started, 1)


def quality(number: int) -> dict[str, Any]:
    """Recall at 5 and nDCG at 10 of each way."""
    asked = pairs(number)
    found, _ = indexed("quality", [answer for _, answer in asked])
    questions = [question for question, _ in asked]
    store = Store(found.encoder, KEPT / "questions")
    given = dict(zip(questions, store.vectors(questions, "questions"), strict=True))
    given |= dict(zip(ELSEWHERE, found.encoder.encode(ELSEWHERE), strict=True))
    found.encoder = _Known(given)  # type: ignore[assignment]
    own = [len([*passages(article)]) for article in articles([answer for _, answer in asked])]
    result: dict[str, Any] = {"questions": len(questions), "passages": found.passages}
    for how in HOWS:
        values, best = [], list[float]()
        for place, question in enumerate(questions):
            hits = found.search(question, DEEP, how=how)
            names = [hit.passage.article_id for hit in hits]
            wanted = f"medquad:{place}"
            each = [name == wanted for name in names]
            once = [name == wanted for name in dict.fromkeys(names)]
            values.append([*_measures(once, 1), *_measures(each, own[place])])
            if how == "vectors":
                best += [hit.score for hit in hits if hit.passage.article_id == wanted][:1]
        means = [round(float(value), 3) for value in np.mean(values, axis=0)]
        result[how] = {
            "answers": {"recall_at_5": means[0], "ndcg_at_10": means[1]},
            "passages": {"recall_at_5": means[2], "ndcg_at_10": means[3]},
        }
        if how == "vectors":
            other = [found.search(question, 1)[0].score for question in ELSEWHERE]
            result["least"] = {
                "cosine": search.LEAST,
                "right passages among the first 50 that it leaves out": _share(
                    score < search.LEAST for score in best
                ),
                "questions on other subjects that it lets through": _share(
                    score >= search.LEAST for score in other
                ),
            }
    return result


def _share(yes: Iterable[bool]) -> float:
    return round(float(np.mean([*yes])), 4)


def _measures(right: Sequence[bool], number: int) -> tuple[float, float]:
    """Recall at 5 and nDCG at 10, where so many are right."""
    worth = 1 / np.log2(np.arange(2, 12))
    best = worth[: min(number, 10)].sum()
    gained = sum(value for value, yes in zip(worth, right, strict=False) if yes)
    return sum(right[:5]) / min(number, 5), float(gained / best)


@dataclass(frozen=True)
class Moved:
    """An encoder whose vectors are real ones, moved at random."""

    real: Any
    name: str = "moved"
    identity: str = "m" * 64
    query: str = ""
    passage: str = ""

    def encode(self, texts: Sequence[str]) -> Any:
        """A vector for each text, the same whenever it is asked."""
        rows = []
        for text in texts:
            seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
            draw = np.random.default_rng(seed)
            step = draw.standard_normal(self.real.shape[1]) / np.sqrt(self.real.shape[1])
            row = self.real[draw.integers(len(self.real))] + 0.7 * step
            rows.append(row / np.linalg.norm(row))
        return np.array(rows, dtype=np.float32)


def speed(number: int) -> dict[str, Any]:
    """The time of a search in many passages, and of encoding its question."""
    asked = pairs(number)
    questions = [question for question, _ in asked]
    real_encoder = load_encoder()
    assert real_encoder is not None
    real = Store(real_encoder, KEPT / "questions").vectors(questions, "questions")
    cut = [[*passages(article)] for article in articles([answer for _, answer in asked])]
    halves = [passage.text.split() for each in cut for passage in each]
    draw = random.Random(1)
    texts = [" ".join(_mixed(draw, halves)) for _ in range(PASSAGES)]
    encoder = Moved(real)
    for module in (index, search):
        module.load_encoder = lambda name: encoder  # type: ignore[attr-defined,assignment]
    many, seconds = indexed("speed", texts)
    questions = questions[:QUESTIONS]
    result: dict[str, Any] = {"passages": many.passages, "build_seconds": seconds}
    given = dict(zip(questions, encoder.encode(questions), strict=True))
    many.encoder = _Known(given)  # type: ignore[assignment]
    for how in HOWS:
        result[how] = _timed(lambda q, how=how: many.search(q, 5, how=how), questions)
    result["vectors, one specialty"] = _timed(
        lambda q: many.search(q, 5, topic="Cardiology"), questions
    )
    result["encoding"] = _timed(lambda q: real_encoder.encode([q]), questions)
    result["graph_recall_at_10"] = round(float(np.mean([*_recalls(given)])), 3)
    return result


class _Known:
    """Vectors that need not be computed."""

    name = "known"  # so that nothing is left out as being on another subject
    query = ""

    def __init__(self, vectors: dict[str, Any]) -> None:
        self._vectors = vectors

    def encode(self, texts: Sequence[str]) -> Any:
        return np.stack([self._vectors[text] for text in texts])


def _mixed(draw: random.Random, texts: list[list[str]]) -> list[str]:
    first, second = draw.choice(texts), draw.choice(texts)
    return first[: len(first) // 2] + second[len(second) // 2 :]


def _timed(work: Callable[[str], Any], questions: Sequence[str]) -> dict[str, float]:
    """Milliseconds of one question at a time, after ten that are not counted."""
    for question in questions[:10]:
        work(question)
    times = []
    for question in questions:
        started = time.perf_counter()
        work(question)
        times.append(1000 * (time.perf_counter() - started))
    return {f"p{p}_ms": round(float(np.percentile(times, p)), 1) for p in (50, 95)}


def _recalls(vectors: dict[str, Any]) -> Iterator[float]:
    table = connect(KEPT / "speed" / "retrieval").open_table("passages")
    for vector in [*vectors.values()][:50]:

        def nearest(query: Any) -> set[str]:
            found = query.distance_type("cosine").limit(10).select(["id", "_distance"]).to_list()
            return {row["id"] for row in found}

        exact = nearest(table.search(vector).bypass_vector_index())
        yield len(exact & nearest(table.search(vector).ef(200).refine_factor(2))) / 10


def main() -> None:
    """Measure, print and note it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=["quality", "speed"])
    parser.add_argument("--answers", type=int, default=ANSWERS)
    options = parser.parse_args()
    record = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    record["bars"] = BARS
    machine = {"cores": usable_cores(), "python": platform.python_version()}
    for name, measure in (("quality", quality), ("speed", speed)):
        if options.part in (None, name):
            command = f"python benchmarks/retrieval.py --part {name} --answers {options.answers}"
            record[name] = {"command": command, **machine, **measure(options.answers)}
            text = json.dumps(record, indent=2) + "\n"
            RESULT.write_text(text, encoding="utf-8")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
