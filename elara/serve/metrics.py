"""Count what the server does, for Prometheus: nothing in it is about a person or a text.

Names and units follow https://prometheus.io/docs/practices/naming/.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from elara.serve.models import ModelManager
from elara.text.references import references

router = APIRouter(tags=["Operation"])

# Names the folder of the counts of all processes of one server, if it has several.
SHARED = "PROMETHEUS_MULTIPROC_DIR"

# From a cached answer to a long one on a laptop, in seconds.
_SECONDS = (0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

_OF_A_PROBE = {
    "accuracy": "share of answers with the right letter",
    "named": "share of answers that name a letter; others count as wrong",
    "finished": "share of answers that ended by themselves",
    "agreement": "share of answers that are those of the adapter's first probe",
    "items": "items that were asked",
    "last_run_timestamp_seconds": "when it ended, in seconds since 1970",
}


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
        self.waiting = _gauge(here, "elara_chats_waiting", "Chats that wait for the model.")
        self.writing = _gauge(here, "elara_chats_writing", "Chats that are being answered.")
        self.ready = _gauge(here, "elara_model_ready", "1 if a model can answer.")
        self.probes = Counter(
            "elara_probes_total", "Probes by how they ended.", ["outcome"], registry=here
        )
        self.probe = {
            name: _gauge(
                here, f"elara_probe_{name}", f"The last complete probe: {what}.", "adapter"
            )
            for name, what in _OF_A_PROBE.items()
        }
        self.topics = Counter(
            "elara_question_topics_total",
            "Questions by topic, told fifty together and in steps of five.",
            ["topic"],
            registry=here,
        )
        self.drift = _gauge(
            here,
            "elara_question_drift",
            "Jensen-Shannon divergence of topics from the first questions, in bits (0 to 1).",
            "adapter",
        )
        self.drift_questions = _gauge(
            here,
            "elara_question_drift_questions",
            "Questions in the reference, and in the window that is compared with it.",
            "part",
        )
        self.citations = Counter(
            "elara_citations_total",
            "References in answers, by where they come from.",
            ["support"],
            registry=here,
        )
        self.retrievals = Counter(
            "elara_retrievals_total",
            "Searches for sources by how they ended, and answers not compared with theirs.",
            ["outcome"],
            registry=here,
        )
        self.sources = Counter(
            "elara_sources_total",
            "Passages that were found, by whether the model was given them.",
            ["state"],
            registry=here,
        )
        self.pictures = Counter(
            "elara_pictures_total", "Pictures, read or refused.", ["result"], registry=here
        )
        self.spans = Counter(
            "elara_spans_total", "Spans of traces, made and sent.", ["state"], registry=here
        )
        for outcome in ("answered", "cancelled", "refused", "failed"):
            self.questions.labels(outcome, "")  # so that a rate exists before the first one
        for outcome in ("complete", "cancelled", "skipped", "failed"):
            self.probes.labels(outcome)
        for support in ("question", "source", "none", "unknown"):
            self.citations.labels(support)
        for outcome in ("found", "nothing", "failed", "uncompared"):
            self.retrievals.labels(outcome)
        for state in ("given", "left_out"):
            self.sources.labels(state)
        for result in ("read", "refused"):
            self.pictures.labels(result)
        for state in ("made", "sent"):
            self.spans.labels(state)

    def ended(
        self, outcome: str, arm: str, tokens_in: int, tokens_out: int, milliseconds: int
    ) -> None:
        """Count a question.

        Args:
            outcome: as in the audit log.
            arm: of an experiment, `base` for the base model, or "".
            tokens_in: tokens read.
            tokens_out: tokens written.
            milliseconds: from its arrival to its end.
        """
        self.questions.labels(outcome, arm).inc()
        self.tokens.labels("read").inc(tokens_in)
        self.tokens.labels("written").inc(tokens_out)
        self.seconds.observe(milliseconds / 1000)

    def cited(
        self, answer: str, questions: Sequence[str], sources: Sequence[str], kept: int
    ) -> None:
        """Count the references of an answer: what nobody gave the model, it makes up.

        Args:
            answer: as much of it as was written.
            questions: the user's turns. An earlier answer supports nothing.
            sources: texts, titles and addresses of the passages, as `Found.texts` gives them.
            kept: citations of these sources by their number.
        """
        self.citations.labels("source").inc(kept)
        if found := references(answer):
            asked = found & references("\n".join(questions))
            given = found & references("\n".join(sources)) - asked
            self.citations.labels("question").inc(len(asked))
            self.citations.labels("source").inc(len(given))
            self.citations.labels("none").inc(len(found - asked - given))

    def forget(self, gauge: Gauge) -> None:
        """Tell no more of an adapter that served before.

        Args:
            gauge: a value for each adapter. Several processes have no adapter here to exchange.
        """
        if SHARED not in os.environ:
            gauge.clear()

    def text(self, manager: ModelManager) -> bytes:
        """All counts in Prometheus' format.

        Args:
            manager: whose queue is looked at.
        """
        self.ready.set(manager.ready)
        engines = manager.engines()
        self.waiting.set(sum(engine.waiting for engine in engines))
        self.writing.set(sum(engine.writing for engine in engines))
        registry = self.registry
        if folder := os.environ.get(SHARED):
            registry = CollectorRegistry()
            MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def _gauge(registry: CollectorRegistry, name: str, help_text: str, *labels: str) -> Gauge:
    """A gauge; of several processes, the one that has set it last is believed."""
    return Gauge(name, help_text, labels, registry=registry, multiprocess_mode="livemostrecent")


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """What Prometheus collects; with keys, it needs one with the scope `metrics`."""
    state = request.app.state
    return Response(state.metrics.text(state.manager), media_type=CONTENT_TYPE_LATEST)
