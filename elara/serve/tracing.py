"""Send a span for each request and one for each answer to an OTLP collector, and no text of them.

Neither FastAPI's own traces nor OpenTelemetry's for FastAPI are used: they send addresses with
their query, and what exceptions say. What leaves from here is named here, and nothing else.

Every request begins a trace of its own. A caller's `traceparent` is not followed, from a proxy
neither, because proxies pass it on: with it, a caller could keep a request out of the traces, mix
it into somebody else's, or hide a message in it. The request's id joins traces of several programs.

This module needs the packages of the group `tracing`, so it is imported only where it is used.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span, SpanKind, StatusCode, set_span_in_context

import elara

if TYPE_CHECKING:
    from prometheus_client import Counter

    from elara.serve.conversing import Talk
    from elara.serve.journal import Accepted, Ended

log = logging.getLogger("elara.serve")
# It would say the same at every try of a night; `_Counted` says it once.
logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)

_SECONDS = 5.0  # for one delivery, and for all that are left when the server stops


class Traces:
    """Makes spans, and delivers them in a thread of its own: nobody waits for the collector.

    Args:
        endpoint: the collector's address for OTLP over HTTP; `/v1/traces` may be left out.
        count: of spans, by `state`: `made` and `sent`. The difference waits, or is lost.
        exporter: takes the spans instead.
    """

    def __init__(
        self, endpoint: str, count: Counter, *, exporter: SpanExporter | None = None
    ) -> None:
        address = endpoint.rstrip("/").removesuffix("/v1/traces") + "/v1/traces"
        exporter = exporter or OTLPSpanExporter(endpoint=address, timeout=_SECONDS)
        resource = Resource.create({"service.name": "elara", "service.version": elara.__version__})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._counted = _Counted(exporter, address, count)
        self._provider.add_span_processor(BatchSpanProcessor(self._counted))
        self._tracer = self._provider.get_tracer("elara.serve", elara.__version__)
        self._count, self._made = count, 0

    def begin(self) -> Span:
        """The span of a request that has just arrived."""
        return self._tracer.start_span("request", Context(), SpanKind.SERVER)

    def end(self, span: Span, told: Mapping[str, Any]) -> None:
        """End the span of a request.

        Args:
            span: from `begin`.
            told: what the log says of the request.

        Source: https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span
        """
        method, route, status = (told[name] for name in ("method", "route", "status"))
        method = "_OTHER" if method == "?" else method
        span.set_attributes({"http.request.method": method, "elara.request.id": told["request"]})
        span.update_name(method)
        if route.startswith("/"):
            span.update_name(f"{method} {route}")
            span.set_attribute("http.route", route)
        if status:
            span.set_attribute("http.response.status_code", status)
        if not status or status >= 500:
            span.set_status(StatusCode.ERROR)
            span.set_attribute("error.type", str(status or "no answer"))
        self._end(span)

    def answered(self, talk: Talk, accepted: Accepted, ended: Ended, reason: str) -> None:
        """A span for an answer that has ended, below that of its request.

        Args:
            talk: the question, of which only its limits are sent.
            accepted: its first record.
            ended: its second record.
            reason: why a whole answer stopped: `stop` or `length`; "" for any other.

        Source: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
        """
        model = (talk.serving and talk.serving.model) or "simulation"
        span = self._tracer.start_span(
            f"chat {model}",
            set_span_in_context(talk.request.state.span, Context()),
            SpanKind.INTERNAL,
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "elara",
                "gen_ai.request.model": model,
                "gen_ai.request.max_tokens": talk.ask.max_new_tokens,
                "gen_ai.request.temperature": talk.ask.temperature,
                "gen_ai.usage.input_tokens": ended.tokens_in,
                "gen_ai.usage.output_tokens": ended.tokens_out,
                "elara.outcome": ended.outcome,
                "elara.adapter": accepted.adapter,
                "elara.arm": accepted.arm,
                "elara.cached": talk.cached,
                "elara.sources": len(talk.found.hits),
                "elara.retrieval.seconds": round(talk.found.seconds, 4),
            },
            # Not of the record, whose milliseconds are rounded: it would begin before its request.
            start_time=time.time_ns() - round((time.perf_counter() - talk.started) * 1e9),
        )
        if reason:
            span.set_attribute("gen_ai.response.finish_reasons", [reason])
        if ended.outcome == "failed":
            span.set_status(StatusCode.ERROR)
            span.set_attribute("error.type", ended.outcome)
        self._end(span)

    def close(self) -> None:
        """Deliver what waits, for a few seconds; what is not delivered then is lost and said."""
        # Not awaited without end: a collector that answers byte by byte never times out.
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(_SECONDS)
        if lost := self._made - self._counted.sent:
            log.warning("%d of %d spans did not reach the collector", lost, self._made)

    def _end(self, span: Span) -> None:
        if span.is_recording():  # not left out by a sampler
            self._count.labels("made").inc()
            self._made += 1
        span.end()


class _Counted(SpanExporter):
    """Counts what another exporter delivers, and says when it begins to fail and when that ends."""

    def __init__(self, inner: SpanExporter, address: str, count: Counter) -> None:
        self._inner, self._address, self._count = inner, address, count
        self._works, self.sent = True, 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._inner.export(spans)
        works = result is SpanExportResult.SUCCESS
        if works:
            self._count.labels("sent").inc(len(spans))
            self.sent += len(spans)
        if self._works and not works:
            log.warning(
                "%s takes no traces, so they are lost: see that a collector for OTLP over HTTP "
                "listens there. Answers do not wait for it.",
                self._address,
            )
        elif works and not self._works:
            log.info("%s takes traces again", self._address)
        self._works = works
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()
