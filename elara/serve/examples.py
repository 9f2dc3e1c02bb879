"""Show what to send to each address and what comes back, for the OpenAPI description."""

from __future__ import annotations

import json
from typing import Any

from elara.serve.config import EMERGENCY
from elara.serve.problems import EXAMPLE_ID
from elara.serve.released import PASSED
from elara.serve.schemas import DISCLAIMER, EXAMPLE, INTENDED_USE

_JSON = "application/json"
_HASH = "9b74c9897bac770ffc029102a200c5de1d2a2e8ae9ba2a4d5f3b4f0a8d9c1e27"
_IDENTITY = {"weights_sha256": _HASH, "training_run": "3f1c9e0b7d52"}
_ANSWER = "Tiredness, pale skin and shortness of breath are common signs."
_RECEIPT = json.dumps({"request": EXAMPLE_ID, "adapter": _HASH, "mac": "c0ffee"})
_VERDICT = "Tuning helped on held-out articles."
_JUDGED: dict[str, Any] = {
    "messages": EXAMPLE["messages"],
    "answer": _ANSWER,
    "thumb": "down",
    "comment": "Restless legs are missing.",
    "correction": "",
    "dangerous": False,
}
_HEAD: dict[str, Any] = {
    "id": f"chatcmpl-{EXAMPLE_ID}",
    "created": 1767225600,
    "model": f"elara-{_HASH[:12]}",
    "elara": {
        "disclaimer": DISCLAIMER,
        "mode": "model",
        "adapter": _HASH,
        "base": False,
        "notice": "",
        "warnings": [],
    },
}
_WHOLE = _HEAD | {"elara": _HEAD["elara"] | {"receipt": _RECEIPT}}  # an event of a stream has none
_CHOICE = {"index": 0, "finish_reason": "stop", "logprobs": None}
_EVENT = _HEAD | {
    "object": "chat.completion.chunk",
    "choices": [_CHOICE | {"delta": {"content": "Tiredness"}, "finish_reason": None}],
}

# Those of /chat and /v1/chat/completions are with their models.
REQUESTS: dict[str, dict[str, Any]] = {
    "/admin/swap": {"adapter": "adapter"},
    "/feedback/preview": _JUDGED | {"receipt": _RECEIPT},
    "/feedback": _JUDGED | {"receipt": _RECEIPT},
    "/feedback/delete": {"token": "kJ8v0nVtQw3c1yM5sZr2XbH7dLpF4gAe"},
    "/experiment/withdraw": {"subject": "reader-17"},
}
ANSWERS: dict[str, dict[str, Any]] = {
    "/": {
        _JSON: {
            "name": "Elara",
            "version": "1.0.0",
            "intended_use": INTENDED_USE,
            "disclaimer": DISCLAIMER,
            "mode": "model",
            "verdict": _VERDICT,
            "links": {"health": "/health", "chat": "/chat", "documentation": "/docs"},
        },
        "text/html": "<!doctype html><title>Elara</title>",
    },
    "/app/about": {
        _JSON: {
            "version": "1.0.0",
            "intended_use": INTENDED_USE,
            "disclaimer": DISCLAIMER,
            "emergency": EMERGENCY,
            "verdict": _VERDICT,
            "mode": "model",
            "keys_required": True,
            "images": False,
            "retrieval": None,
            "specialties": ["Cardiology", "Neurology"],
            "feedback": True,
            "max_new_tokens": 256,
            "base": True,
        }
    },
    "/health": {
        _JSON: {
            "status": "alive",
            "model_ready": True,
            "mode": "model",
            "adapter": _HASH,
            "gate": PASSED,
        }
    },
    "/chat/models/status": {
        _JSON: {
            "mode": "model",
            "state": "ready",
            "model": "SmolLM2-135M-Instruct",
            "adapter": _IDENTITY,
            "device": "cpu",
            "dtype": "float32",
            "load_seconds": 4.2,
            "error": None,
            "verdict": _VERDICT,
            "evaluation": None,
            "max_new_tokens": 256,
            "temperature": 0.0,
        }
    },
    "/chat": {
        _JSON: {
            "answer": _ANSWER,
            "disclaimer": DISCLAIMER,
            "mode": "model",
            "model": "SmolLM2-135M-Instruct",
            "adapter": _IDENTITY,
            "prompt_tokens": 62,
            "new_tokens": 14,
            "finished": True,
            "seconds": 0.8,
            "notice": "",
            "warnings": [],
            "cached": False,
            "receipt": _RECEIPT,
            "request_id": EXAMPLE_ID,
        }
    },
    "/admin/adapters": {
        _JSON: [
            {
                "adapter": _IDENTITY,
                "model": "SmolLM2-135M-Instruct",
                "gate": PASSED,
                "serves": True,
            }
        ]
    },
    "/admin/upstreams": {
        _JSON: [
            {
                "url": "http://127.0.0.1:8080",
                "model": "elara",
                "problem": "",
                "under_way": 1,
                "answered": 41,
                "failed": 0,
            }
        ]
    },
    "/admin/swap": {_JSON: _IDENTITY},
    "/admin/audit": {
        _JSON: {
            "ok": False,
            "lines": ["FAILED  Removed: record 17.", "DAMAGED."],
        }
    },
    "/admin/keys": {
        _JSON: [
            {
                "id": "0a1b2c3d",
                "name": "research group",
                "scopes": ["chat"],
                "state": "valid",
                "created": "2026-01-01T09:00:00Z",
                "expires": None,
                "requests_per_minute": None,
                "tokens_per_day": 50_000,
                "tokens_today": 1234,
            }
        ]
    },
    "/admin/queue": {
        _JSON: {"waiting": 0, "writing": 2, "queue_limit": 32, "ready": True, "state": "ready"}
    },
    "/v1/models": {
        _JSON: {
            "object": "list",
            "data": [
                {"id": name, "object": "model", "created": 0, "owned_by": "elara"}
                for name in (_HEAD["model"], "elara-base")
            ],
        }
    },
    "/v1/chat/completions": {
        _JSON: _WHOLE
        | {
            "object": "chat.completion",
            "choices": [_CHOICE | {"message": {"role": "assistant", "content": _ANSWER}}],
            "usage": {"prompt_tokens": 62, "completion_tokens": 14, "total_tokens": 76},
        },
        "text/event-stream": f"data: {json.dumps(_EVENT)}\n\ndata: [DONE]\n\n",
    },
    "/feedback/preview": {_JSON: _JUDGED},
    "/feedback": {
        _JSON: {
            "stored": _JUDGED,
            "token": "kJ8v0nVtQw3c1yM5sZr2XbH7dLpF4gAe",
            "counted_in_experiment": False,
        }
    },
    "/feedback/delete": {_JSON: {"deleted": EXAMPLE_ID, "ratings_taken_back": 0}},
    "/experiment": {
        _JSON: {
            "experiment": "shorter-answers",
            "question": "Are shorter answers better liked?",
            "reviewed_by": "the ethics board",
            "what_is_kept": "A pseudonym, which of two models answered, and your ratings.",
            "your_choice": "Without consent the usual model answers. You can leave at any time.",
        }
    },
    "/experiment/withdraw": {_JSON: {"withdrawn": True}},
}
