"""The probe notices a changed model, gives way to people, and never breaks or delays the server."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from pathlib import Path
from typing import Any

import fake_upstream as fakes
import pytest
from filelock import FileLock
from local_client import LocalClient
from saying_row import SayingRow
from test_serve_conversing import records
from test_serve_http import question
from test_serve_operation import counts

from elara.serve import ModelManager, Settings, create_app, main
from elara.serve.backends import Ask, Piece
from elara.serve.config import serving_folder
from elara.serve.metrics import Metrics
from elara.serve.pool import Upstreams
from elara.serve.probe import ITEMS, Probe, probe_items
from elara.text.keyed import LETTER_FORM, asked, own_items
from elara.workspace import Workspace

KEYS = {asked(i["question"], i["options"], LETTER_FORM): i["key"] for i in probe_items()}


@pytest.fixture
def model(fake: Any) -> Any:
    """The fake model. It answers each item with its key, unless `says` or `stops` is changed."""
    fake.says = lambda text: f"The answer is {KEYS.get(text, 'none')}."
    fake.stops = True
    fake.row = lambda ask: SayingRow(ask, fake.says(ask.messages[-1]["content"]), stops=fake.stops)
    return fake


@pytest.fixture
def held(model: Any, trained: Workspace) -> Any:
    adapter = trained.folder("train") / "adapter"
    manager = ModelManager(adapter, loader=model.load, decoder=model.decoder)
    manager.load()
    yield manager
    manager.unload()


def probe_of(manager: ModelManager, **given: Any) -> Probe:
    return Probe(manager, Metrics(), None, **({"hours": 1.0, "folder": None} | given))


def told(probe: Probe, name: str) -> dict[str, float]:
    """A gauge of the probe by adapter."""
    samples = probe._metrics.probe[name].collect()[0].samples
    return {sample.labels["adapter"]: sample.value for sample in samples}


def outcomes(probe: Probe) -> dict[str, float]:
    samples = probe._metrics.probes.collect()[0].samples
    return {s.labels["outcome"]: s.value for s in samples if s.name.endswith("_total") and s.value}


def run(probe: Probe) -> tuple[str, list[float]]:
    outcome = asyncio.run(probe.run())
    shares = ("accuracy", "agreement", "finished")
    return outcome, [value for name in shares for value in told(probe, name).values()]


def test_the_items_are_of_every_specialty_and_their_keys_of_every_letter() -> None:
    items = probe_items()
    assert len(items) == len({item["id"] for item in items}) == ITEMS
    specialties = Counter(item["specialty"] for item in items)
    assert specialties.keys() == {item["specialty"] for item in own_items()}
    assert sorted(specialties.values()) == [1] * 6 + [2] * 7
    assert items == probe_items()
    letters = Counter(item["key"] for item in items)
    assert max(letters.values()) < ITEMS / 2  # who always says one letter fails
    assert len(letters) == 4


def test_right_answers_are_right_and_asked_one_at_a_time(held: ModelManager, model: Any) -> None:
    probe = probe_of(held)
    assert run(probe) == ("complete", [1.0, 1.0, 1.0])
    assert [batch for batch in model.batches if len(batch) != 1] == []
    assert [text for (text,) in model.batches] == list(KEYS)
    assert list(told(probe, "items").values()) == [ITEMS]
    assert time.time() - told(probe, "last_run_timestamp_seconds").popitem()[1] < 60


def test_another_model_behind_the_same_name_is_noticed_even_if_both_guess(
    held: ModelManager, model: Any
) -> None:
    probe = probe_of(held)
    model.says = lambda text: "A."
    _, first = run(probe)
    model.says = lambda text: "B."
    _, second = run(probe)
    assert [first[1], second[1]] == [1.0, 0.0]
    assert first[0] < 0.5
    model.says = lambda text: "A." if list(KEYS).index(text) else "C."
    assert run(probe)[1][1] == 0.95


def test_a_lost_stop_token_is_noticed_at_once_and_as_a_change(
    held: ModelManager, model: Any
) -> None:
    probe = probe_of(held)
    assert run(probe)[1] == [1.0, 1.0, 1.0]
    model.stops = False
    assert run(probe)[1] == [1.0, 0.0, 0.0]


def test_answers_without_a_letter_are_wrong_and_said(held: ModelManager, model: Any) -> None:
    probe = probe_of(held)
    model.says = lambda text: "I cannot say." if list(KEYS).index(text) % 2 else f"{KEYS[text]}."
    assert run(probe)[1][0] == 0.5
    assert list(told(probe, "named").values()) == [0.5]


def test_the_first_answers_outlive_a_restart_as_hashes(
    held: ModelManager, model: Any, tmp_path: Path
) -> None:
    run(probe_of(held, folder=tmp_path))
    assert run(probe_of(held, folder=tmp_path))[1] == [1.0, 1.0, 1.0]
    model.says = lambda text: "A."
    assert run(probe_of(held, folder=tmp_path))[1][1] == 0.0
    assert "answer" not in (tmp_path / "probe.json").read_text()


def test_a_damaged_file_of_first_answers_is_said_and_replaced(
    held: ModelManager, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "probe.json").write_text("{")
    assert run(probe_of(held, folder=tmp_path)) == ("complete", [1.0, 1.0, 1.0])
    assert "probe.json cannot be read" in caplog.text
    assert len(json.loads((tmp_path / "probe.json").read_text())) == 1


def test_a_folder_that_cannot_be_written_is_said_and_fails_nothing(
    held: ModelManager, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    probe = probe_of(held, folder=tmp_path / "file" / "serving")
    assert run(probe)[0] == "complete"
    assert "cannot be written" in caplog.text


def test_another_adapter_is_compared_with_itself(
    held: ModelManager, model: Any, trained: Workspace
) -> None:
    other = trained.folder("train") / "other"
    other.mkdir()
    (other / "adapter_model.safetensors").write_bytes(b"5678")
    probe = probe_of(held)
    run(probe)
    (before,) = told(probe, "agreement")
    model.says = lambda text: "A."
    held.swap("other")
    assert run(probe)[1][1] == 1.0
    assert before not in told(probe, "agreement")


def test_no_probe_is_of_two_adapters(held: ModelManager, model: Any, trained: Workspace) -> None:
    other = trained.folder("train") / "other"
    other.mkdir()
    (other / "adapter_model.safetensors").write_bytes(b"5678")
    probe = probe_of(held)

    def exchanged(text: str) -> str:
        if text == list(KEYS)[3]:
            held.swap("other")
        return "A."

    model.says = exchanged
    assert run(probe) == ("skipped", [])
    assert len(model.batches) == 4


def test_people_come_first(held: ModelManager, model: Any) -> None:
    probe = probe_of(held, patience=0.0)

    async def scenario() -> None:
        model.may_answer.clear()
        ask = Ask([{"role": "user", "content": "person"}], 8, 0.0, 0, time.monotonic() + 60)
        with held.use() as serving:
            person = serving.answer(ask)
            first = asyncio.ensure_future(anext(person))
            await asyncio.to_thread(model.answering.wait, 60)
            assert await probe.run() == "skipped"
            model.may_answer.set()
            assert isinstance(await first, Piece)
            await person.aclose()

    asyncio.run(scenario())
    assert model.batches == [["person"]]
    assert (outcomes(probe), told(probe, "accuracy")) == ({"skipped": 1}, {})


def test_it_waits_for_a_quiet_moment(held: ModelManager, model: Any) -> None:
    probe = probe_of(held)

    async def scenario() -> None:
        model.may_answer.clear()
        ask = Ask([{"role": "user", "content": "person"}], 8, 0.0, 0, time.monotonic() + 60)
        with held.use() as serving:
            person = serving.answer(ask)
            first = asyncio.ensure_future(anext(person))
            await asyncio.to_thread(model.answering.wait, 60)
            probing = asyncio.ensure_future(probe.run())
            await asyncio.sleep(0.2)
            assert model.batches == [["person"]]
            model.may_answer.set()
            await first
            await person.aclose()
        assert await probing == "complete"

    asyncio.run(scenario())


def test_without_a_model_nothing_is_asked() -> None:
    probe = probe_of(ModelManager(None))
    assert run(probe) == ("skipped", [])


def test_an_upstream_that_is_down_is_a_count(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with fakes.fake() as upstream:
            pool = Upstreams([upstream.upstream()])
            manager = ModelManager(None, upstreams=pool)
            await manager.start()
            upstream.script = fakes.says("The answer ", "is A.")
            probe = probe_of(manager)
            assert await probe.run() == "complete"
            assert [call.json["max_tokens"] for call in upstream.calls] == [32] * ITEMS
            assert told(probe, "agreement") == {"elara": 1.0}
            upstream.script = fakes.status(500)
            assert await probe.run() == "failed"
            assert await probe.run() == "failed"  # out of service: nobody is asked
            assert outcomes(probe) == {"complete": 1, "failed": 2}
            assert told(probe, "agreement") == {"elara": 1.0}  # that of the last complete one
            await manager.stop()

    asyncio.run(scenario())
    assert "outcome failed" in caplog.text


def test_changed_weights_of_an_upstream_are_noticed() -> None:
    async def scenario() -> None:
        async with fakes.fake() as upstream:
            manager = ModelManager(None, upstreams=Upstreams([upstream.upstream()]))
            await manager.start()
            probe = probe_of(manager)
            for says, agrees in (("A.", 1.0), ("A.", 1.0), ("Take A.", 0.0)):
                upstream.script = fakes.says(says)
                await probe.run()
                assert told(probe, "agreement") == {"elara": agrees}
            await manager.stop()

    asyncio.run(scenario())


def test_nothing_of_items_or_answers_is_logged(
    held: ModelManager, model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    probe = probe_of(held)
    model.says = lambda text: "SECRET"
    run(probe)

    def broken(questions: list[str]) -> None:
        raise RuntimeError(questions)

    model.fault = broken
    assert run(probe)[0] == "failed"

    def unread(text: str) -> str:
        raise KeyError(text)

    model.says = unread
    assert run(probe)[0] == "failed"
    assert "outcome complete" in caplog.text
    assert "SECRET" not in caplog.text
    for text in KEYS:
        assert text[:40] not in caplog.text


@pytest.mark.parametrize(("hours", "runs"), [(1.0, 1), (0.0, 5)])
def test_the_interval_is_kept(
    held: ModelManager, monkeypatch: pytest.MonkeyPatch, hours: float, runs: int
) -> None:
    probe = probe_of(held, hours=hours, tick=0.01)
    times = 0

    async def counted() -> str:
        nonlocal times
        times += 1
        return "complete"

    async def scenario() -> None:
        monkeypatch.setattr(probe, "run", counted)
        asking = asyncio.create_task(probe.keep_asking())
        await asyncio.sleep(0.5)
        asking.cancel()

    asyncio.run(scenario())
    assert times == 1 if runs == 1 else times >= runs


def test_after_an_exchange_it_asks_at_once(
    held: ModelManager, model: Any, trained: Workspace
) -> None:
    other = trained.folder("train") / "other"
    other.mkdir()
    (other / "adapter_model.safetensors").write_bytes(b"5678")
    probe = probe_of(held, hours=1000.0, tick=0.01)

    async def scenario() -> None:
        async with asyncio.timeout(60):
            asking = asyncio.create_task(probe.keep_asking())
            for runs in (1, 2):
                while outcomes(probe) != {"complete": runs}:
                    await asyncio.sleep(0.01)
                await asyncio.to_thread(held.swap, "other" if runs == 1 else "adapter")
            asking.cancel()

    asyncio.run(scenario())


def served(model: Any, trained: Workspace, **given: Any) -> LocalClient:
    settings = Settings.from_environment({}, workspace=str(trained.root), **given)
    manager = ModelManager(settings.adapter, loader=model.load, decoder=model.decoder)
    return LocalClient(create_app(settings, manager=manager))


def test_a_probe_is_recorded_and_no_question_of_a_person(model: Any, trained: Workspace) -> None:
    with served(model, trained, probe_hours=24.0) as client:
        while not counts(client)["elara_probes_total complete"]:
            time.sleep(0.01)
        found = counts(client)
        person = client.post("/chat", json=question(next(iter(KEYS)))).json()
    assert not person["cached"]
    assert sum(v for k, v in found.items() if k.startswith("elara_questions_total")) == 0
    assert found["elara_answer_seconds_count"] == 0
    assert "elara_tokens_total read" not in found
    event, *others = records(trained)
    assert (event["kind"], event["what"], event["by"]) == ("event", "probe", "server")
    details = event["details"]
    assert [details[k] for k in ("outcome", "asked", "right", "agree")] == ["complete"] + ["20"] * 3
    assert details["adapter"].startswith("elara-")
    assert "answers" not in details
    assert [other["kind"] for other in others] == ["accepted", "ended"]
    assert (serving_folder(trained) / "probe.json").exists()


def test_it_is_off_unless_it_is_asked_for(model: Any, trained: Workspace) -> None:
    with served(model, trained) as client:
        while not client.get("/health").json()["model_ready"]:
            time.sleep(0.01)
        time.sleep(0.2)
    assert model.batches == []


def test_the_server_stops_promptly_in_the_middle_of_a_probe(model: Any, trained: Workspace) -> None:
    model.fault = lambda questions: time.sleep(0.5)  # 1.5 s for an answer, 30 s for all
    with served(model, trained, probe_hours=24.0):
        assert model.answering.wait(60)
        begun = time.monotonic()
    assert time.monotonic() - begun < 5
    (event,) = records(trained)
    assert event["details"]["outcome"] == "cancelled"
    assert event["details"]["asked"] == "1"


def test_of_several_processes_one_probes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "_WATCH_SECONDS", 0.01)
    settings = Settings(workers=2, probe_hours=1, audit_log=tmp_path / "audit.sqlite")
    skipped = 'elara_probes_total{outcome="skipped"} '  # nobody is there to ask
    with FileLock(tmp_path / "probe.lock") as other, LocalClient(create_app(settings)) as client:
        time.sleep(0.2)
        assert f"{skipped}0.0" in client.get("/metrics").text
        other.release()
        while f"{skipped}1.0" not in client.get("/metrics").text:
            time.sleep(0.01)
    with pytest.raises(ValueError, match="needs audit_log"):
        Settings(workers=2, probe_hours=1)
