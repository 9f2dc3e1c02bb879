"""The OpenAPI description and the server agree: schemathesis looks for a request that shows no.

It sends the examples, values at every border of the schemas, and random ones, right and wrong, over
a real socket, and checks each answer against the description. All of its checks are on. Some find
nothing to do, because no address names a thing that is made, deleted or owned: `use_after_free`,
`ensure_resource_availability`, `object_level_authorization`, `allow_header_conformance`.
`max_response_time` is off, since it says more about the machine than about Elara.

Source: https://schemathesis.readthedocs.io/
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from local_client import LocalClient
from schemathesis.engine import Status, events, from_schema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from elara.serve import ModelManager, Settings, create_app, running
from elara.serve.backends import (
    Ask,
    BackendError,
    BrokenOff,
    End,
    GenerationFailed,
    ModelUnavailable,
    Piece,
    QueueFull,
    TookTooLong,
)
from elara.serve.keys import KeyFile
from elara.serve.pool import UpstreamState

CONFORMANCE = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
Check = Callable[[httpx.Response], None]
EXPOSED = {"x-request-id", "server-timing", "retry-after", "www-authenticate"}
# Why a request that fits its schema is refused: what no schema says, or none without the settings.
RULES = (
    "turns must alternate user, assistant",
    "the conversation is too long",
    "the conversation has more than",
    "the message is empty",  # all the parts of it
    "This server reads no pictures",
    "a picture cannot be read",
    "text stands between two pictures",
    "only a user shows pictures",
    "this server writes at most",
    "stream_options is for streams",
    "user and safety_identifier name two people",
    "the feedback is empty",
    "the correction is the answer itself",
    "The request is longer than",
    "a day: ask for fewer tokens",
)
REFUSED = ["400", "401", "403", "413", "422", "429"]
CHECKS: dict[str, Any] = {
    # A 404 or 409 would mean that something wrong was taken for right, and looked up.
    "negative_data_rejection": {"expected-statuses": REFUSED},
    # `faults_of` looks at why: see RULES.
    "positive_data_acceptance": {
        "expected-statuses": ["200", "401", "403", "404", "409", "413", "422", "429", "5xx"]
    },
}


@dataclass
class Form:
    """A server, who asks it, and the statuses that are to be seen."""

    app: FastAPI
    statuses: set[int]
    token: str = ""
    checks: dict[str, Any] = field(default_factory=dict)
    operations: list[dict[str, Any]] = field(default_factory=list)


class Failing:
    """A backend that fails in every way, one after the other, and then answers."""

    name, ready, models = "upstream", True, "stub"

    def __init__(self) -> None:
        first: list[BackendError | None] = [
            QueueFull("Too many wait: ask again in 3 seconds.", 3),
            GenerationFailed("The model broke off."),
            BrokenOff("The answer broke off."),
            ModelUnavailable("The model is loading: ask again in 3 seconds.", 3),
            ModelUnavailable("The model could not be loaded."),
            TookTooLong("The time ran out."),
        ]
        # Each at once, and after the first piece of text.
        self._turns = itertools.cycle([*itertools.product((False, True), first), (True, None)])

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def states(self) -> list[UpstreamState]:
        return [UpstreamState("http://127.0.0.1:1", "stub", "it cannot be reached", 0, 0, 7)]

    async def answer(self, ask: Ask) -> AsyncGenerator[Piece | End]:
        late, error = next(self._turns)
        if late:
            yield Piece("It")
        if error:
            raise type(error)(*error.args, error.retry_after)
        yield End(True, 5, 1, 0.1)


@pytest.fixture
def form(request: pytest.FixtureRequest, tmp_path: Path) -> Form:
    name: str = request.param
    keys = KeyFile(tmp_path / "keys.json")
    settings: dict[str, Any] = {"keys": keys.path, "requests_per_minute": 0, "tokens_per_day": 0}
    if name == "no keys":
        off = {"enabled": False}
        # Without keys, what an administrator does is refused before its method is looked at.
        only = {"include-path-regex": "^/admin", "checks": {"unsupported_method": off}}
        return Form(create_app(Settings()), {200, 403, 404, 405, 422}, operations=[only])
    if name == "nobody's key":
        keys.add("somebody", ["chat"])
        # It is never let in, so nothing that is wrong with a request is seen.
        return Form(create_app(Settings(**settings)), {200, 401, 405})
    if name in ("chat", "metrics", "admin"):
        _, token = keys.add(name, [name])
        seen = {200, 401, 403, 405} | ({404, 422} if name == "chat" else set())
        seen |= {409, 422} if name == "admin" else set()
        return Form(create_app(Settings(**settings)), seen, token)
    _, token = keys.add("all", ["chat", "metrics", "admin"])
    if name == "limited":
        limits = {"requests_per_minute": 30, "tokens_per_day": 4000}
        app = create_app(Settings(**settings | limits))
        return Form(app, {200, 401, 405, 422, 429}, token)
    if name == "failing":
        manager = ModelManager(None, upstreams=Failing())  # type: ignore[arg-type]
        app = create_app(Settings(**settings, cached_answers=0), manager=manager)
        expected = ["2xx", "4xx", "500", "502", "503", "504"]
        checks = {"not_a_server_error": {"expected-statuses": expected}}
        seen = {200, 401, 404, 405, 409, 422, 429, 500, 502, 503, 504}
        return Form(app, seen, token, checks)
    assert name == "everything"
    settings |= {"serving": tmp_path / "serving", "audit_log": tmp_path / "audit.sqlite"}
    settings["images"] = True
    app = create_app(Settings(**settings), manager=request.getfixturevalue("manager"))
    return Form(app, {200, 401, 404, 405, 409, 422}, token)


FORMS = ("no keys", "nobody's key", "chat", "metrics", "admin", "limited", "failing", "everything")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def search(form: Form, examples: int) -> Counter[tuple[str, int]]:
    """Let schemathesis search a server; returns how often each operation had each status."""
    seen: Counter[tuple[str, int]] = Counter()
    faults: dict[str, str] = {}  # one request for each
    with running(form.app) as url:
        with httpx.Client(base_url=url, trust_env=False) as client:
            wait_until_loaded(client)
        config = schemathesis.Config.from_dict(
            {
                "seed": 1,
                "headers": {"Authorization": f"Bearer {form.token}"} if form.token else {},
                "generation": {"deterministic": True, "max-examples": examples},
                "continue-on-failure": True,
                "checks": CHECKS | form.checks,
                "operations": form.operations,
            }
        )
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)
        for event in from_schema(schema).execute():
            if isinstance(event, events.NonFatalError):
                faults[f"{event.label}: {event.value}"] = ""
            elif isinstance(event, events.FatalError):
                raise event.exception
            elif isinstance(event, events.ScenarioFinished):
                for fault, sample in faults_of(event.recorder, schema.raw_schema):
                    faults.setdefault(fault, sample)
                for case, interaction in event.recorder.interactions.items():
                    assert interaction.response, event.recorder.cases[case]
                    seen[event.recorder.label, interaction.response.status_code] += 1
    text = "\n\n".join(f"{fault}\n{sample[:1000]}" for fault, sample in faults.items())
    assert not faults, f"{len(faults)} faults:\n\n{text}"
    return seen


def faults_of(recorder: Any, document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What schemathesis found, and what it does not look at, each with a request that shows it."""
    for checks in recorder.checks.values():
        for check in checks:
            if check.status is not Status.SUCCESS:
                found = check.failure_info
                told = (found.failure.message, found.code_sample) if found else ("it crashed", "")
                yield f"{recorder.label}, {check.name}: {told[0]}", told[1]
    for case, interaction in recorder.interactions.items():
        sent, response = recorder.cases[case].value, interaction.response
        operation = document["paths"][sent.operation.path][sent.operation.method.lower()]
        where, sample = f"{recorder.label}, {response.status_code}", repr(sent.body)
        if told := operation["responses"].get(str(response.status_code)):
            for name in EXPOSED & {*response.headers} - {n.lower() for n in told["headers"]}:
                yield f"{where}: the header {name} is not described", sample
        if response.status_code < 400:
            continue
        problem = json.loads(response.content)
        if [problem["request_id"]] != response.headers["x-request-id"]:
            yield f"{where}: the problem is about another request", sample
        if problem["detail"].startswith("The server failed"):
            yield f"{where}: {problem['detail']}", sample
        positive = sent.meta.generation.mode.is_positive
        ruled = any(rule in problem["detail"] for rule in RULES)
        if response.status_code in (413, 422) and positive and not ruled:
            yield f"{where}: refused, though it fits the schema: {problem['detail']}", sample


def wait_until_loaded(client: Any) -> None:
    for _ in range(500):
        found = client.get("/health").json()
        if found["mode"] != "model" or found["model_ready"]:
            return
    pytest.fail("the model was not loaded")


@pytest.mark.parametrize("form", FORMS, indirect=True)
def test_no_request_shows_that_the_description_is_wrong(form: Form) -> None:
    seen = search(form, examples=12)
    assert form.statuses <= {status for _, status in seen}
    operations = {label for label, _ in seen}
    assert len(operations) == (20 if form.app.state.participation else 15)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS, indirect=True)
def test_nor_does_any_of_thousands(form: Form) -> None:
    seen = search(form, examples=400)
    assert form.statuses <= {status for _, status in seen}


# The examples that are not answered with 200, since they would have to be made here.
NOT_FROM_HERE = dict.fromkeys(("/feedback/preview", "/feedback", "/feedback/delete"), 409)
NAMED = {"article_id": "pmc:PMC1"}  # a parameter in an address, which nothing here has
NOT_HERE = dict.fromkeys(("/evidence/articles/pmc:PMC1", "/evidence/trace"), 404)
_ADMINS = ("swap", "adapters", "upstreams", "audit", "keys", "queue")
ADMINS = dict.fromkeys((f"/admin/{name}" for name in _ADMINS), 403)


def described(client: LocalClient) -> Iterator[tuple[str, str, dict[str, Any], Check]]:
    """Each operation, and what checks a response to it against the description."""
    document = client.get("/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            case = schema[path][method.upper()].Case(path_parameters=NAMED)

            def check(response: httpx.Response, case: Any = case) -> None:
                case.validate_response(response, checks=CONFORMANCE)

            for media in operation.get("requestBody", {}).get("content", {}).values():
                model = media["schema"]["$ref"].rpartition("/")[2]
                named = document["components"]["schemas"][model].get("examples", [None])
                operation["sent"] = media.get("example") or named[0]
            yield path.format(**NAMED), method, operation, check


@pytest.mark.parametrize("form", ["no keys", "everything"], indirect=True)
def test_every_example_is_true(form: Form) -> None:
    expected = NOT_HERE | (NOT_FROM_HERE if form.token else ADMINS)
    with LocalClient(form.app, headers={"Authorization": f"Bearer {form.token}"}) as client:
        wait_until_loaded(client)
        for path, method, operation, check in described(client):
            assert ("requestBody" in operation) == ("sent" in operation)
            response = client.request(method, path, json=operation.get("sent"))
            assert response.status_code == expected.get(path, 200), response.text
            check(response)
            for status, told in operation["responses"].items():
                for kind, media in told.get("content", {}).items():
                    check(as_if_sent(media["example"], int(status), kind))
            here = operation["responses"][str(response.status_code)]["content"]
            kind = response.headers["Content-Type"].partition(";")[0]
            if path != "/experiment":  # none is running here, and the example shows one
                assert shape(here[kind]["example"]) == shape(response.json()), path


def as_if_sent(example: Any, status: int, kind: str) -> httpx.Response:
    """A response that is the example."""
    response = httpx.Response(
        status,
        headers={
            "Content-Type": kind,
            "X-Request-ID": "mine-1",
            "Server-Timing": "total;dur=1.5",
            "Retry-After": "5",
            "WWW-Authenticate": "Bearer",
        },
        text=example if isinstance(example, str) else json.dumps(example),
        request=httpx.Request("GET", "http://127.0.0.1"),
    )
    response.elapsed = timedelta(0)
    return response


def shape(value: Any) -> Any:
    """The names in an object, which an example must show all of, and no other."""
    return {*value} if isinstance(value, dict) else type(value)


@pytest.mark.parametrize("form", ["everything"], indirect=True)
def test_feedback_with_its_own_receipt_is_as_described(form: Form) -> None:
    with LocalClient(form.app, headers={"Authorization": f"Bearer {form.token}"}) as client:
        wait_until_loaded(client)
        about = {path: (operation, check) for path, _, operation, check in described(client)}
        question = about["/chat"][0]["sent"]
        answered = client.post("/chat", json=question).json()
        own = {"messages": question["messages"], "answer": answered["answer"]}
        body = about["/feedback"][0]["sent"] | own | {"receipt": answered["receipt"]}
        token = ""
        for path in NOT_FROM_HERE:
            sent = {"token": token} if path == "/feedback/delete" else body
            response = client.post(path, json=sent)
            assert response.status_code == 200
            about[path][1](response)
            example = about[path][0]["responses"]["200"]["content"]["application/json"]["example"]
            assert shape(example) == shape(response.json())
            token = response.json().get("token", "")


@pytest.mark.parametrize("form", ["everything"], indirect=True)
def test_what_the_guards_refuse_is_described_everywhere(form: Form) -> None:
    held = form.app.state.settings
    allowed = {"Authorization": f"Bearer {form.token}"}
    refused = {
        401: {"Authorization": "Bearer elara_00000000_x"},
        421: allowed | {"Host": "elsewhere.test"},
        431: allowed | {"X-Long": "x" * held.max_header_bytes},
        503: allowed,
    }
    with LocalClient(form.app) as client:
        for path, method, _, check in described(client):
            long = {"Content-Length": str(held.longest_body(path) + 1)}
            for status, headers in (refused | {413: allowed | long}).items():
                held.keys.chmod(0o644 if status == 503 else 0o600)  # then nobody's key is read
                response = client.request(method, path, headers=headers)
                if path in ("/", "/health", "/app/about") and status in (401, 503):
                    status = 200
                assert response.status_code == status, path
                check(response)
