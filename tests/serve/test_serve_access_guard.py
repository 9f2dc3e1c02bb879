"""What is refused before the application sees it: by host, origin, key, rate, size and time."""

from __future__ import annotations

import logging
import select
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from local_client import LocalClient
from starlette.requests import Request
from starlette.responses import StreamingResponse

from elara.serve import Settings, SettingsError, create_app, run, running
from elara.serve.keys import KeyFile
from elara.serve.running import check_listening

QUESTION: dict[str, Any] = {"messages": [{"role": "user", "content": "What is anaemia?"}]}
PAGE = "http://localhost:5173"
SECURE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


def client(*, raise_errors: bool = True, **settings: Any) -> LocalClient:
    app = create_app(Settings(**settings))

    @app.post("/chat/length")
    async def length(request: Request) -> int:
        return len(await request.body())

    @app.get("/chat/fails")
    async def fails() -> None:
        raise ValueError("SECRET")

    @app.get("/chat/breaks")
    async def breaks() -> StreamingResponse:
        async def parts() -> Any:
            yield "begin"
            raise ValueError("SECRET")

        return StreamingResponse(parts())

    @app.get("/admin/state")
    @app.get("/metrics")
    @app.get("/something/new")
    async def state() -> str:
        return "reached"

    return LocalClient(app, raise_server_exceptions=raise_errors)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# Host and Origin


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("LOCALHOST:8000", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("elara.test", 200),
        ("elara.test:9999", 200),
        ("other.test:444", 200),
        ("other.test", 421),
        ("localhost:8001", 421),
        ("localhost", 421),
        ("attacker.example:8000", 421),
        ("localhost.attacker.example:8000", 421),
        ("localhost:8000@attacker.example", 421),
        ("", 421),
    ],
)
def test_only_its_own_names(host: str, status: int) -> None:
    asked = client(allowed_hosts=["elara.test", "Other.Test:444"]).get(
        "/health", headers={"Host": host}
    )
    assert asked.status_code == status
    assert "attacker" not in asked.text


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        (PAGE, 200),
        ("http://127.0.0.1:8000", 200),
        ("https://127.0.0.1:8000", 403),
        ("http://127.0.0.1:8001", 403),
        ("http://attacker.example", 403),
        ("null", 403),
    ],
)
def test_pages_elsewhere_may_not_post(origin: str | None, status: int) -> None:
    headers = {"Origin": origin} if origin else {}
    with client() as local:
        assert local.post("/chat", json=QUESTION, headers=headers).status_code == status


def test_huge_headers_are_refused() -> None:
    asked = client(max_header_bytes=2000).get("/health", headers={"X-Big": "a" * 2000})
    assert asked.status_code == 431


# Keys


def test_without_keys_it_is_for_this_computer_and_no_administrator() -> None:
    local = client()
    assert local.get("/metrics").status_code == 200
    assert local.get("/chat/models/status", headers=bearer("any")).status_code == 200
    refused = local.get("/admin/state")
    assert (refused.status_code, "--scope admin" in refused.json()["detail"]) == (403, True)
    for name in ("X-Forwarded-For", "Forwarded"):
        assert local.get("/health", headers={name: "for=1.2.3.4"}).status_code == 403
    away = LocalClient(create_app(Settings(allowed_hosts=["192.0.2.1"])), "http://192.0.2.1:8000")
    assert away.get("/health").status_code == 403  # whatever program lets it listen there


def test_each_scope_opens_its_own_addresses(keys: KeyFile) -> None:
    tokens = {s: keys.add(s, [s])[1] for s in ("chat", "metrics", "admin")}
    needs = {
        "/chat/models/status": "chat",
        "/something/new": "chat",
        "/nowhere": "chat",
        "/metrics": "metrics",
        "/admin/state": "admin",
        "/%61dmin/state": "admin",
    }
    local = client(keys=keys.path)
    for path, needed in needs.items():
        missing = local.get(path)
        assert (missing.status_code, missing.headers["WWW-Authenticate"]) == (401, "Bearer")
        for scope, token in tokens.items():
            asked = local.get(path, headers=bearer(token))
            if scope == needed:
                assert asked.status_code in (200, 404), path
            else:
                assert asked.status_code == 403, (path, scope)
                told = asked.headers["WWW-Authenticate"]
                assert told == f'Bearer error="insufficient_scope", scope="{needed}"'


def test_what_is_open_with_keys(keys: KeyFile) -> None:
    keys.add("a", ["chat"])
    local = client(keys=keys.path)
    for path in ("/", "/health", "/docs", "/openapi.json", "/assets/elara.css", "/app/about"):
        assert local.get(path).status_code == 200, path


def test_a_wrong_key_is_refused_and_a_revoked_one_at_once(keys: KeyFile) -> None:
    key, token = keys.add("a", ["chat"])
    local = client(keys=keys.path)
    path = "/chat/models/status"
    assert local.get(path, headers=bearer(token)).status_code == 200
    assert local.get(path, headers={"Authorization": f"bearer  {token}"}).status_code == 200
    assert local.get(f"{path}?access_token={token}").status_code == 401
    assert local.get(path, headers={"Authorization": f"Basic {token}"}).status_code == 401
    for wrong in (token[:-1], "", "sk-1"):
        refused = local.get(path, headers=bearer(wrong))
        assert refused.status_code == 401
        assert wrong == "" or wrong not in refused.text
    keys.revoke(key.id)
    refused = local.get(path, headers=bearer(token))
    assert refused.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_keys_that_cannot_be_read_open_nothing(keys: KeyFile) -> None:
    _, token = keys.add("a", ["chat"])
    keys.path.chmod(0o644)
    refused = client(keys=keys.path).get("/chat/models/status", headers=bearer(token))
    assert refused.status_code == 503
    assert str(keys.path) not in refused.text


def test_a_page_can_read_why_it_was_refused(keys: KeyFile) -> None:
    keys.add("a", ["chat"])
    local = client(keys=keys.path)
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    asked["Access-Control-Request-Headers"] = "authorization"
    assert local.options("/chat", headers=asked).status_code == 200  # it carries no key
    refused = local.post("/chat", json=QUESTION, headers={"Origin": PAGE})
    assert refused.status_code == 401
    assert refused.headers["Access-Control-Allow-Origin"] == PAGE


def test_the_log_names_the_key_but_no_secret(
    keys: KeyFile, caplog: pytest.LogCaptureFixture
) -> None:
    key, token = keys.add("a", ["chat"])
    with caplog.at_level(logging.DEBUG, "elara.serve"):
        local = client(keys=keys.path, raise_errors=False)
        local.get("/chat/models/status", headers=bearer(token))
        local.get("/Ada.Moyo", headers=bearer(token))
        local.get("/Ada.Moyo")
        failed = local.get("/chat/fails", headers=bearer(token))
        broken = local.get("/chat/breaks", headers=bearer(token))
    ours = [r.getMessage() for r in caplog.records if r.name == "elara.serve"]
    assert any(m.startswith("GET /chat/models/status 200") and key.id in m for m in ours)
    assert sum("(no such address)" in m for m in ours) == 2
    text = caplog.text + failed.text + broken.text
    for secret in (token.split("_", 2)[2], "Moyo", "SECRET"):
        assert secret not in text
    assert failed.status_code == 500
    assert failed.json()["request_id"] == failed.headers["X-Request-ID"]


# Rates and budgets


def test_a_key_has_its_rate(keys: KeyFile) -> None:
    limited = bearer(keys.add("a", ["chat"], requests_per_minute=2)[1])
    other = bearer(keys.add("b", ["chat"])[1])
    with client(keys=keys.path) as local:
        found = [local.post("/chat", json={}, headers=limited) for _ in range(3)]
        assert [f.status_code for f in found] == [422, 422, 429]
        assert 1 <= int(found[2].headers["Retry-After"]) <= 30
        assert local.get("/chat/models/status", headers=limited).status_code == 200
        assert local.post("/chat", json=QUESTION, headers=other).status_code == 200


def test_a_budget_is_asked_before_the_model_and_settled_after(
    keys: KeyFile, manager: Any, trained: Any, fake: Any
) -> None:
    def broken(questions: list[str]) -> None:
        raise RuntimeError

    key, token = keys.add("a", ["chat"], tokens_per_day=250)
    settings = Settings(keys=keys.path, adapter=trained.folder("train") / "adapter")
    app = create_app(settings, manager=manager)
    headers = bearer(token)
    asked = QUESTION | {"max_new_tokens": 60}
    with LocalClient(app) as local:
        while manager.state != "ready":
            local.get("/health")
        answered = [local.post("/chat", json=asked, headers=headers) for _ in range(3)]
        assert [a.status_code for a in answered] == [200] * 3
        assert answered[0].json()["prompt_tokens"] + answered[0].json()["new_tokens"] == 10
        used = app.state.limits._thread.submit(app.state.limits.used, key.account).result()
        assert used == 30
        too_much = local.post("/chat", json=asked | {"max_new_tokens": 200}, headers=headers)
        assert (too_much.status_code, "Retry-After" in too_much.headers) == (422, False)
        fake.fault = broken
        fresh = asked | {"messages": [{"role": "user", "content": "Something else?"}]}
        assert local.post("/chat", json=fresh, headers=headers).status_code == 500
        refused = local.post("/chat", json=asked, headers=headers)
        assert refused.status_code == 429  # what failed counts in full
        assert int(refused.headers["Retry-After"]) > 0


def test_a_model_that_was_not_asked_costs_nothing(keys: KeyFile, tmp_path: Path) -> None:
    key, token = keys.add("a", ["chat"])
    app = create_app(Settings(keys=keys.path, adapter=tmp_path / "nowhere"))
    with LocalClient(app) as local:
        assert local.post("/chat", json=QUESTION, headers=bearer(token)).status_code == 503
        used = app.state.limits._thread.submit(app.state.limits.used, key.account).result()
    assert used == 0


def test_what_cannot_be_counted_is_not_answered(keys: KeyFile) -> None:
    _, token = keys.add("a", ["chat"])
    local = client(keys=keys.path)
    local.app.state.limits._db.execute("drop table buckets")  # type: ignore[attr-defined]
    refused = local.post("/chat", json=QUESTION, headers=bearer(token))
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert "buckets" not in refused.text


# Bodies


def test_a_body_is_refused_by_what_it_says_and_by_what_it_sends() -> None:
    local = client(max_body_bytes=2000)
    assert local.post("/chat/length", content=b"a" * 2000).json() == 2000
    for body in (b"a" * 2001, iter([b"a" * 1000] * 3)):
        refused = local.post("/chat/length", content=body)
        assert (refused.status_code, refused.headers["Connection"]) == (413, "close")
        assert refused.headers["Content-Type"] == "application/problem+json"


def conversation(url: str, sent: bytes, *more: bytes) -> bytes:
    """What a server answers to these bytes, until it closes the connection."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 60) as line:
        line.sendall(sent)
        for part in more:
            line.sendall(part)
        answer = b""
        while part := line.recv(4096):
            answer += part
    return answer


class Ended(Exception):
    """The server closed the connection."""


def send_for_ever(url: str, sent: bytes, more: bytes) -> None:
    """Send a request that never ends, at most 64 MiB of it, until the server closes."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 60) as line:
        line.sendall(sent)
        for _ in range(2**26 // len(more)):
            line.sendall(more)
            if select.select([line], [], [], 0)[0] and not line.recv(4096):
                raise Ended


@pytest.fixture(scope="module")
def hasty() -> Iterator[str]:
    """A server that waits for a fifth of a second."""
    with running(create_app(Settings(body_seconds=0.2))) as url:
        yield url


@pytest.fixture(scope="module")
def patient() -> Iterator[str]:
    """A server that waits longer than any test, and takes 2000 bytes."""
    app = create_app(Settings(body_seconds=600, max_body_bytes=2000))

    @app.get("/chat/hurry")
    async def hurry() -> None:
        app.state.settings = Settings(body_seconds=0.2)

    with running(app) as url:
        yield url


def head(url: str, *lines: str) -> bytes:
    host = url.removeprefix("http://")
    return "\r\n".join(["POST /chat HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()


def test_a_slow_body_ends(hasty: str) -> None:
    answer = conversation(hasty, head(hasty, "Content-Length: 100"), b'{"mess')
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"within 0.2 seconds" in answer


@pytest.mark.parametrize("sent", [b"", b"POST /chat HTTP/1.1\r\nHost: loc"])
def test_a_slow_head_ends(hasty: str, sent: bytes) -> None:
    assert conversation(hasty, sent) == b""


def test_a_chunked_body_is_counted_while_it_is_read(patient: str) -> None:
    chunk = b"400\r\n" + b"a" * 0x400 + b"\r\n"
    answer = conversation(patient, head(patient, "Transfer-Encoding: chunked"), chunk, chunk)
    assert answer.startswith(b"HTTP/1.1 413 ")  # though the last chunk never came


def test_one_slow_caller_delays_nobody(patient: str) -> None:
    host, port = patient.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 60) as slow:
        slow.sendall(head(patient, "Content-Length: 100"))
        assert httpx.post(f"{patient}/chat", json=QUESTION, timeout=60).status_code == 200


def test_a_head_without_end_ends(patient: str) -> None:
    line = b"X-Long: " + b"a" * 1024 + b"\r\n"
    with pytest.raises((ConnectionError, Ended)):
        send_for_ever(patient, b"POST /chat HTTP/1.1\r\n", line)


def test_headers_after_the_body_end(patient: str) -> None:
    sent = head(patient, "Transfer-Encoding: chunked") + b"1\r\na\r\n0\r\n"
    with pytest.raises((ConnectionError, Ended)):
        send_for_ever(patient, sent, b"X-More: " + b"a" * 1024 + b"\r\n")


def test_a_slow_second_request_on_a_connection_ends(patient: str) -> None:
    host = patient.removeprefix("http://").encode()
    first = b"GET /chat/hurry HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
    answer = conversation(patient, first + b"GET /hea")
    assert answer.startswith(b"HTTP/1.1 200 ")


# Headers of responses


@pytest.mark.parametrize("path", ["/health", "/nowhere", "/chat/models/status"])
def test_every_response_is_safe_to_show(path: str) -> None:
    found = client().get(path)
    assert {name: found.headers.get(name) for name in SECURE} == SECURE
    assert "Strict-Transport-Security" not in found.headers
    assert client().get("/health", headers={"Host": "x"}).headers["X-Request-ID"]


def test_pages_keep_their_own_policy() -> None:
    page = client().get("/docs")
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Content-Type-Options"] == "nosniff"


def test_the_documentation_names_every_refusal(keys: KeyFile) -> None:
    document = client(keys=keys.path).get("/openapi.json").json()
    chat = document["paths"]["/chat"]["post"]
    assert {"401", "403", "408", "413", "421", "422", "429", "431", "500", "503"} <= {
        *chat["responses"]
    }
    assert "application/problem+json" in chat["responses"]["429"]["content"]
    assert chat["security"] == [{"Key": []}]
    assert "security" not in document["paths"]["/health"]["get"]
    without = client().get("/openapi.json").json()
    assert "security" not in without["paths"]["/chat"]["post"]


# Where it listens


def test_it_refuses_to_listen_to_others_unprotected(keys: KeyFile, tmp_path: Path) -> None:
    def why(**settings: Any) -> str:
        with pytest.raises(SettingsError) as error:
            run(Settings(port=9, **settings))  # nobody may listen there: refused before
        return str(error.value)

    assert "elara keys add" in why(host="192.0.2.1")
    assert "elara keys add" in why(host="localhost", trusted_proxies=["127.0.0.1/32"])
    keys.add("a", ["chat"], days=1e-9)
    assert "no valid key" in why(host="192.0.2.1", keys=keys.path)
    keys.add("b", ["chat"])
    assert "--tls-cert FILE" in why(host="192.0.2.1", keys=keys.path)
    assert "TRUSTED_PROXIES" in why(host="elara.example.org", keys=keys.path)
    proxied = {"keys": keys.path, "trusted_proxies": ["10.0.0.2/32"]}
    assert "ALLOWED_HOSTS" in why(host="0.0.0.0", **proxied)
    (tmp_path / "cert.pem").write_text("no certificate")
    pair = {"tls_cert": tmp_path / "cert.pem", "tls_key": tmp_path / "cert.pem"}
    assert "name a certificate" in why(**pair)
    check_listening(Settings(host="192.0.2.1", **proxied))
    check_listening(Settings(host="0.0.0.0", allowed_hosts=["elara.test"], **proxied))
    check_listening(Settings(host="::1"))


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("TRUSTED_PROXIES", "10.0.0.1/8", "has host bits set"),
        ("TRUSTED_PROXIES", "0.0.0.0/0", "is everybody"),
        ("TRUSTED_PROXIES", "*", "does not appear to be"),
        ("ALLOWED_HOSTS", "http://a.example", "without scheme"),
        ("ALLOWED_HOSTS", "*", "without scheme"),
        ("TLS_CERT", "a.pem", "belong together"),
        ("KEYS", "/nowhere/keys.json", "elara keys add"),
    ],
)
def test_a_setting_that_protects_nothing_is_an_error(variable: str, value: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        Settings.from_environment({f"ELARA_SERVE_{variable}": value})


def test_keys_in_their_usual_place_are_asked_for(tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert Settings.from_environment(environ).keys is None
    file = KeyFile(tmp_path / "elara" / "keys.json")
    file.add("a", ["chat"])
    assert Settings.from_environment(environ).keys == file.path


@pytest.mark.parametrize(("network", "believed"), [("127.0.0.1/32", True), ("10.0.0.2/32", False)])
def test_forwarded_headers_are_believed_from_named_networks_only(
    keys: KeyFile, network: str, believed: bool
) -> None:
    keys.add("a", ["chat"])
    settings = Settings(keys=keys.path, trusted_proxies=[network])
    with running(create_app(settings)) as url:
        found = httpx.get(f"{url}/health", headers={"X-Forwarded-Proto": "https"})
    # The scheme decides on it, so it shows who was believed.
    assert ("Strict-Transport-Security" in found.headers) == believed


def test_without_a_named_proxy_nobody_is_believed(keys: KeyFile) -> None:
    keys.add("a", ["chat"])
    with running(create_app(Settings(keys=keys.path))) as url:
        found = httpx.get(f"{url}/health", headers={"X-Forwarded-Proto": "https"})
    assert (found.status_code, "Strict-Transport-Security" in found.headers) == (200, False)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
def test_it_encrypts_by_itself(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    options = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=a"
    command = ["openssl", "req", *options.split(), "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
    settings = Settings(tls_cert=cert, tls_key=key)
    check_listening(settings)
    with running(create_app(settings)) as url:
        assert url.startswith("https://127.0.0.1:")
        found = httpx.get(f"{url}/health", verify=ssl.create_default_context(cafile=str(cert)))
    assert found.status_code == 200
    assert found.headers["Strict-Transport-Security"] == "max-age=31536000"
