"""Traces: all that is sent is named and quotes nothing, and no collector holds the server up."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from local_client import LocalClient
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from test_serve_http import question, wait_until_loaded

from elara.serve import ModelManager, Settings, SettingsError, create_app, running, tracing
from elara.serve.judged import adapter_identity
from elara.serve.metrics import Metrics
from elara.serve.tracing import Traces
from elara.workspace import Workspace

SECRET = "Okonkwo"
STREAM = {"model": "elara", "stream": True}


@pytest.fixture
def settings(trained: Workspace) -> Settings:
    return Settings.from_environment({}, workspace=str(trained.root), max_new_tokens=50)


def asked(settings: Settings, manager: ModelManager, fake: Any) -> list[ReadableSpan]:
    """The spans of a server that is asked in every way."""
    app, kept = create_app(settings, manager=manager), InMemorySpanExporter()
    app.state.traces = Traces("http://unused", app.state.metrics.spans, exporter=kept)

    @app.get("/chat/fails")
    async def fails() -> None:
        raise ValueError(f"about {SECRET}")

    with LocalClient(app, raise_server_exceptions=False) as client:
        wait_until_loaded(client)
        ask_everything(client, fake)
    return [s for s in kept.get_finished_spans() if "status" not in s.name]


def ask_everything(client: httpx.Client, fake: Any) -> None:
    headers = {
        "X-Request-ID": "mine-7",
        "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-00",
        "tracestate": f"a={SECRET}",
        "baggage": f"a={SECRET}",
        "User-Agent": SECRET,
    }
    client.headers.update(headers)
    client.post("/chat", json=question(f"about {SECRET}"))
    client.post("/v1/chat/completions", json=STREAM | question(f"again {SECRET}"))
    client.post("/chat", json=question(SECRET, seed=-1))
    client.get(f"/{SECRET}?{SECRET}=1")
    client.get("/chat/fails")
    fake.fault = lambda questions: [][SECRET]  # type: ignore[call-overload]
    client.post("/chat", json=question(f"another {SECRET}"))


def test_each_request_and_each_answer_has_a_span(
    settings: Settings, manager: ModelManager, fake: Any
) -> None:
    spans = asked(settings, manager, fake)
    assert [span.name for span in spans] == [
        "chat fake",
        "POST /chat",
        "chat fake",
        "POST /v1/chat/completions",
        "POST /chat",
        "GET",
        "GET /chat/fails",
        "chat fake",
        "POST /chat",
    ]
    answer, request = spans[:2]
    assert request.parent is None
    assert answer.parent is not None
    assert answer.parent.span_id == request.context.span_id
    assert len({span.context.trace_id for span in spans}) == 6
    assert request.start_time <= answer.start_time <= answer.end_time <= request.end_time  # type: ignore[operator]
    assert settings.adapter
    assert dict(answer.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "elara",
        "gen_ai.request.model": "fake",
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.temperature": 0.0,
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.response.finish_reasons": ("stop",),
        "elara.outcome": "answered",
        "elara.adapter": adapter_identity(settings.adapter).weights_sha256,
        "elara.arm": "",
        "elara.cached": False,
        "elara.sources": 0,
        "elara.retrieval.seconds": 0.0,
    }
    assert dict(request.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/chat",
        "http.response.status_code": 200,
        "elara.request.id": "mine-7",
    }
    failed = spans[-2].attributes or {}
    assert (failed["elara.outcome"], failed["error.type"]) == ("failed", "failed")
    assert [s.status.is_ok for s in spans] == [True] * 6 + [False] * 3
    assert not any(span.events or span.status.description for span in spans)


def test_a_caller_cannot_choose_the_trace(
    settings: Settings, manager: ModelManager, fake: Any
) -> None:
    spans = asked(settings, manager, fake)
    assert spans  # the caller's header says that nothing is to be kept
    assert not any(f"{span.context.trace_id:032x}" == "ab" * 16 for span in spans)
    assert not any(span.context.trace_state for span in spans)


def test_the_framework_sends_nothing_by_itself(
    settings: Settings, manager: ModelManager, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    assert asked(settings, manager, fake)
    assert kept.get_finished_spans() == ()


class Collector:
    """Takes traces as OTLP over HTTP, and keeps every byte."""

    def __init__(self) -> None:
        self.received, self.spans = b"", list[Any]()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.received += f"{self.path}\n{self.headers}".encode() + body
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    outer.spans += [s for scope in resource.scope_spans for s in scope.spans]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *given: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.05,))
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def test_nothing_of_a_conversation_reaches_the_collector(
    settings: Settings, manager: ModelManager, fake: Any, collector: Collector
) -> None:
    app = create_app(settings.model_copy(update={"traces": collector.url}), manager=manager)
    with running(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        while not client.get("/health").json()["model_ready"]:
            pass
        ask_everything(client, fake)
        counts = app.state.metrics.spans
    assert {span.name for span in collector.spans} >= {"chat fake", "POST /chat", "GET"}
    assert b"/v1/traces" in collector.received
    assert b"service.name" in collector.received
    for word in (SECRET.encode(), b"127.0.0.1:" + url.rpartition(":")[2].encode(), b"ValueError"):
        assert word not in collector.received
    made, sent = (counts.labels(state)._value.get() for state in ("made", "sent"))
    assert made == sent == len(collector.spans)


def trickles(connection: socket.socket) -> None:
    """Answer without end, so that no pause is long enough to be a timeout."""
    try:
        while True:
            connection.sendall(b"H")
            time.sleep(0.05)
    except OSError:
        connection.close()


@pytest.mark.parametrize("kind", ["silent", "trickles", "nobody"])
def test_a_collector_that_hangs_holds_nothing_up(
    settings: Settings,
    manager: ModelManager,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    monkeypatch.setattr(tracing, "_SECONDS", 0.5)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")  # milliseconds: it hangs at once
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        held: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    connection = listener.accept()[0]
                except OSError:
                    return
                held.append(connection)
                if kind == "trickles":
                    threading.Thread(target=trickles, args=(connection,), daemon=True).start()

        if kind == "nobody":
            listener.close()
        else:
            threading.Thread(target=accept, daemon=True).start()
        app = create_app(settings.model_copy(update={"traces": url}), manager=manager)
        with caplog.at_level(logging.INFO, "elara.serve"):
            with LocalClient(app) as client:
                wait_until_loaded(client)
                started = time.perf_counter()
                for number in range(20):
                    assert client.post("/chat", json=question(f"{number}")).status_code == 200
                assert time.perf_counter() - started < 20 * 0.5  # nobody waits for the collector
                stopped = time.perf_counter()
            assert time.perf_counter() - stopped < 30
        for connection in held:
            connection.close()
    said = [record.getMessage() for record in caplog.records]
    assert any("spans did not reach the collector" in line for line in said)
    if kind != "trickles":  # that delivery has neither failed nor succeeded
        assert sum(f"{url}/v1/traces takes no traces" in line for line in said) == 1


def test_what_is_lost_for_want_of_room_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    may_go = threading.Event()

    class Slow(InMemorySpanExporter):
        def export(self, spans: Any) -> Any:
            may_go.wait(60)
            return super().export(spans)

    count, kept = Metrics().spans, Slow()
    traces = Traces("http://unused", count, exporter=kept)
    told = {"method": "GET", "route": "/health", "status": 200, "request": "r"}
    for _ in range(100):
        traces.end(traces.begin(), told)
    may_go.set()
    traces.close()
    made, sent = (count.labels(state)._value.get() for state in ("made", "sent"))
    assert made == 100
    assert 4 <= sent == len(kept.get_finished_spans()) < 100


def test_a_rate_exists_before_the_first_span() -> None:
    samples = [s for family in Metrics().registry.collect() for s in family.samples]
    found = {s.labels["state"] for s in samples if s.name == "elara_spans_total"}
    assert found == {"made", "sent"}


def test_without_the_setting_nothing_is_imported() -> None:
    code = (
        "import sys; from elara.serve import *; create_app(Settings()); "
        "sys.exit(any(name.startswith('opentelemetry.sdk') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "elara.serve.tracing")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SettingsError, match=r"opentelemetry.*`pip install --group tracing`"):
        create_app(Settings(traces="http://127.0.0.1:4318"))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:4318",
        "http://me:secret@host",
        "http://host/v1/traces?key=secret",
        "http://host#secret",
        "http://host/ secret",
        "http://host\nsecret",
        "http://[::1",
        "http://host:99999",
    ],
)
def test_an_address_with_a_key_or_without_a_scheme_is_refused(address: str) -> None:
    told = r"ELARA_SERVE_TRACES must be a plain address.*OTEL_EXPORTER_OTLP_HEADERS"
    with pytest.raises(SettingsError, match=told) as error:
        Settings.from_environment({"ELARA_SERVE_TRACES": address})
    assert "secret" not in str(error.value)
