"""Topics of questions and references of answers are counted, and nothing else of them is kept."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from local_client import LocalClient
from saying_row import SayingRow
from test_serve_http import question, wait_until_loaded
from test_serve_operation import counts

from elara.serve import ModelManager, Settings, create_app
from elara.serve.drift import BLOCK, OTHER, TopicDrift, divergence, topic_of
from elara.serve.metrics import Metrics
from elara.text.keyed import own_items
from elara.text.topics import specialties

HEART, SKIN = "Is my heart failure getting worse?", "What is this itchy rash on my skin?"


@pytest.fixture
def client(trained: Any, fake: Any) -> Any:
    settings = Settings.from_environment({}, workspace=str(trained.root))
    manager = ModelManager(settings.adapter, loader=fake.load, decoder=fake.decoder)
    with LocalClient(create_app(settings, manager=manager)) as made:
        wait_until_loaded(made)
        yield made


def samples(metrics: Metrics, name: str) -> dict[str, float]:
    found = getattr(metrics, name).collect()[0].samples
    return {"".join(s.labels.values()): s.value for s in found if not s.name.endswith("_created")}


def asked(drift: TopicDrift, *questions: str, blocks: int = 4, adapter: str = "a" * 64) -> None:
    for number in range(blocks * BLOCK):
        drift.count(questions[number % len(questions)], adapter)


def test_topics_are_those_of_stage_one() -> None:
    assert topic_of(HEART) == "Cardiology"
    assert topic_of(SKIN) == "Dermatology"
    assert topic_of("What should I do?") == OTHER
    assert topic_of("x " * 5000 + "heart") == OTHER  # the beginning is read
    assert OTHER not in specialties().labels
    assert len(specialties().labels) == 13


def test_the_guide_says_how_much_the_words_miss(project: Path) -> None:
    items = list(own_items())
    right = sum(topic_of(item["question"]) == item["specialty"] for item in items)
    told = f"they find the specialty of {round(100 * right / len(items))} in 100"
    assert told in (project / "book" / "serving.md").read_text(encoding="utf-8")


def test_the_divergence_is_known_where_it_can_be_worked_out() -> None:
    one, both = Counter(a=3), Counter(a=5, b=5)
    assert divergence(one, Counter(a=70)) == 0
    assert divergence(one, Counter(b=2)) == 1
    assert divergence(one, both) == pytest.approx(divergence(both, one)) == pytest.approx(0.311278)


def test_a_shift_is_measured_once_there_are_enough_questions() -> None:
    metrics = Metrics()
    drift = TopicDrift(metrics)
    asked(drift, HEART, SKIN)
    assert samples(metrics, "drift_questions") == {"reference": 200, "window": 0}
    asked(drift, HEART, SKIN, blocks=3)
    drift.count(HEART, "a" * 64)
    assert samples(metrics, "drift") == {}
    asked(drift, HEART, SKIN, blocks=1)
    assert samples(metrics, "drift") == {"a" * 12: pytest.approx(0, abs=0.001)}
    assert samples(metrics, "drift_questions") == {"reference": 200, "window": 200}
    asked(drift, "Why?", blocks=5)
    assert samples(metrics, "drift") == {"a" * 12: 1.0}


def test_chance_alone_stays_below_the_alert(project: Path) -> None:
    threshold = 0.1
    assert f"elara_question_drift > {threshold}" in (project / "deploy" / "alerts.yml").read_text()
    topics, draw = [topic_of(item["question"]) for item in own_items()], random.Random(1)
    worst = max(
        divergence(Counter(draw.choices(topics, k=200)), Counter(draw.choices(topics, k=200)))
        for _ in range(2000)
    )
    assert 0.03 < worst < threshold


def test_another_adapter_begins_another_reference() -> None:
    metrics = Metrics()
    drift = TopicDrift(metrics)
    asked(drift, HEART, blocks=8)
    drift.count(SKIN, "b" * 64)
    assert samples(metrics, "drift") == {}
    assert samples(metrics, "drift_questions") == {"reference": 0, "window": 0}
    for _ in range(8 * BLOCK - 1):
        drift.count(SKIN, "b" * 64)
    assert samples(metrics, "drift") == {"b" * 12: 0.0}


def test_counts_leave_fifty_together_and_in_fives() -> None:
    metrics = Metrics()
    drift = TopicDrift(metrics)
    for number in range(BLOCK - 1):
        drift.count(SKIN if number < 7 else HEART, "")
    assert set(samples(metrics, "topics").values()) == {0}
    drift.count(HEART, "")
    told = samples(metrics, "topics")
    assert (told["Dermatology"], told["Cardiology"]) == (5, 40)
    for number in range(BLOCK):
        drift.count(SKIN if number < 3 else HEART, "")
    told = samples(metrics, "topics")
    assert (told["Dermatology"], told["Cardiology"]) == (10, 90)  # what was held back is not lost
    assert set(told) == {*specialties().labels, OTHER}


def test_questions_of_an_adapter_that_went_are_counted_all_the_same() -> None:
    metrics = Metrics()
    drift = TopicDrift(metrics)
    for number in range(2 * BLOCK - 10):
        drift.count(HEART, "a" if number < BLOCK - 10 else "b")
    assert samples(metrics, "topics")["Cardiology"] == 2 * BLOCK - 10


def test_questions_that_a_model_got_are_counted(client: LocalClient) -> None:
    for _ in range(BLOCK):
        assert client.post("/chat", json=question(SKIN)).status_code == 200
    found = counts(client)
    assert found["elara_question_topics_total Dermatology"] == BLOCK
    assert found["elara_question_drift_questions reference"] == BLOCK


def test_a_long_question_takes_no_longer() -> None:
    drift = TopicDrift(Metrics())
    short = " ".join(item["question"] for item in own_items())[:800]

    def seconds(text: str) -> float:
        """Of one question; what else the processor does can only add to it."""
        found = []
        for _ in range(20):
            begun = time.process_time()
            for _ in range(20):
                drift.count(text, "")
            found.append(time.process_time() - begun)
        return min(found)

    assert seconds(100 * short) < 5 * seconds(short)


# References in answers


def citations(client: LocalClient) -> tuple[float, float]:
    found = counts(client)
    return found["elara_citations_total question"], found["elara_citations_total none"]


def test_references_are_counted_by_who_brought_them(client: LocalClient, fake: Any) -> None:
    says = "PMID 1, doi.org/10.1000/x, and PMID 1 again; Doe et al., 2019"
    fake.row = lambda ask: SayingRow(ask, says)
    assert citations(client) == (0, 0)
    client.post("/chat", json=question("What does PMID: 1 say?"))
    assert citations(client) == (1, 2)
    client.post("/chat", json=question("What does PMID: 1 say?"))  # remembered, and told once more
    assert citations(client) == (2, 4)


def test_references_in_a_stream_are_counted_though_they_are_cut(
    client: LocalClient, fake: Any
) -> None:
    fake.row = lambda ask: SayingRow(ask, "NCT01234567")
    body = {"model": "elara", "messages": question("x")["messages"], "stream": True}
    assert "[DONE]" in client.post("/v1/chat/completions", json=body).text
    assert citations(client) == (0, 1)


def test_an_earlier_answer_supports_nothing(client: LocalClient, fake: Any) -> None:
    fake.row = lambda ask: SayingRow(ask, "As I said: PMID 1.")
    told = [("user", "Who says so?"), ("assistant", "PMID 1."), ("user", "Really?")]
    turns = [{"role": role, "content": content} for role, content in told]
    client.post("/chat", json={"messages": turns})
    assert citations(client) == (0, 1)
