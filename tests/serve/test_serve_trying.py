"""An answer is heard as the page hears it, and each of the answers has a row in the figures."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from elara.serve import Settings, create_app, running
from elara.serve.trying import Heard, hear, latency_figure, support_figure


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with running(create_app(Settings())) as url, httpx.Client(base_url=url, timeout=60) as opened:
        yield opened


def test_an_answer_is_heard_with_its_times_and_what_is_said_of_it(client: httpx.Client) -> None:
    heard = hear(client, "What is anaemia?")
    assert heard.text.startswith("[simulation]")
    assert heard.pieces > 0
    assert 0 < heard.first_seconds <= heard.seconds
    assert (heard.about["mode"], heard.about["sentences"]) == ("simulation", [])


def test_a_refusal_is_told_in_the_words_of_the_server(client: httpx.Client) -> None:
    with pytest.raises(RuntimeError, match="There is no such model here"):
        hear(client, "What is anaemia?", model="another")


@pytest.mark.parametrize(
    "lines",
    [
        ['{"error": {"message": "The model broke off.", "code": 500}}'],
        ['{"elara": {}, "choices": [{"delta": {"content": "It is"}}]}'],
    ],
)
def test_an_answer_that_breaks_off_is_no_answer(lines: list[str]) -> None:
    body = "".join(f"data: {line}\n\n" for line in lines)
    transport = httpx.MockTransport(lambda request: httpx.Response(200, text=body))
    with (
        httpx.Client(transport=transport, base_url="http://test") as broken,
        pytest.raises(RuntimeError, match=r"broke off|stopped without an end"),
    ):
        hear(broken, "What is anaemia?")


def test_two_answers_to_one_question_have_two_rows() -> None:
    sentences = [{"source": 1, "score": 0.9}, {"source": None, "score": 0.3}]
    answers = [
        Heard("Why?", "a", 0.5, 2.0, 3, {"sentences": sentences}),
        Heard("Why?", "b", 1.0, 4.0, 3, {"sentences": []}),
    ]
    (bars,) = latency_figure(answers).axes
    assert [round(bar.get_y() + bar.get_height() / 2) for bar in bars.patches] == [0, 1, 0, 1]
    (points,) = support_figure(answers).axes
    assert [[*map(tuple, c.get_offsets())] for c in points.collections] == [[(0.9, 0)], [(0.3, 0)]]
    assert [label.get_text() for label in points.get_yticklabels()] == ["Why?", "Why?"]
