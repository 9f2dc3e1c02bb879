"""Count what the server does, for Prometheus: nothing in it is about a person or a text.

Names and units follow https://prometheus.io/docs/practices/naming/.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from elara.serve.engine import Engine
from elara.serve.models import ModelManager

router = APIRouter(tags=["Operation"])

# From a cached answer to a long one on a laptop, in seconds.
_SECONDS = (0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The counts of one application; each has a registry of its own."""

    def __init__(self) -> None:
        self.registry = here = CollectorRegistry()
        self.questions = Counter(
            "elara_questions_total",
            "Questions by how they ended.",
            ["outcome", "arm"],
            registry=here,
        )
        self.tokens = Counter(
            "elara_tokens_total", "Tokens read and written.", ["direction"], registry=here
        )
        self.seconds = Histogram(
            "elara_answer_seconds", "From a question to its end.", buckets=_SECONDS, registry=here
        )
        self.cache = Counter(
            "elara_cache_total", "Looks into the cache of answers.", ["result"], registry=here
        )
        self.spans = Counter(
            "elara_spans_total", "Spans of traces, made and sent.", ["state"], registry=here
        )
        self.waiting = Gauge("elara_chats_waiting", "Chats that wait for the model.", registry=here)
        self.writing = Gauge("elara_chats_writing", "Chats that are being answered.", registry=here)
        self.ready = Gauge("elara_model_ready", "1 if a model can answer.", registry=here)
        for outcome in ("answered", "cancelled", "refused", "failed"):
            self.questions.labels(outcome, "")  # so that a rate exists before the first one
        for state in ("made", "sent"):
            self.spans.labels(state)

    def ended(
        self, outcome: str, arm: str, tokens_in: int, tokens_out: int, milliseconds: int
    ) -> None:
        """Count a question.

        Args:
            outcome: as in the audit log.
            arm: of an experiment, or "".
            tokens_in: tokens read.
            tokens_out: tokens written.
            milliseconds: from its arrival to its end.
        """
        self.questions.labels(outcome, arm).inc()
        self.tokens.labels("read").inc(tokens_in)
        self.tokens.labels("written").inc(tokens_out)
        self.seconds.observe(milliseconds / 1000)

    def text(self, manager: ModelManager) -> bytes:
        """All counts in Prometheus' format.

        Args:
            manager: whose queue is looked at.
        """
        self.ready.set(manager.ready)
        engines = [s.backend for s in manager.loaded() if isinstance(s.backend, Engine)]
        self.waiting.set(sum(engine.waiting for engine in engines))
        self.writing.set(sum(engine.writing for engine in engines))
        return generate_latest(self.registry)


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """What Prometheus collects; with keys, it needs one with the scope `metrics`."""
    state = request.app.state
    return Response(state.metrics.text(state.manager), media_type=CONTENT_TYPE_LATEST)
