"""API keys: only their hash is kept, and each opens what it should for as long as it should."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from elara.cli import app
from elara.serve.keys import KeyFile, KeysError, default_file

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """A time that passes when a test says so."""

    def __init__(self) -> None:
        self.time = BEGIN

    def __call__(self) -> datetime:
        return self.time

    def pass_(self, **duration: float) -> None:
        self.time += timedelta(**duration)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(tmp_path: Path, clock: Clock) -> KeyFile:
    return KeyFile(tmp_path / "elara" / "keys.json", clock)


def test_only_the_hash_is_kept_and_only_the_owner_reads_it(keys: KeyFile) -> None:
    key, token = keys.add("ward 3", ["chat"])
    text = keys.path.read_text()
    secret = token.split("_", 2)[2]
    assert len(secret) >= 43  # 256 bits, in base64
    assert secret not in text
    assert key.sha256 in text
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600
    assert token.startswith(f"elara_{key.id}_")


def test_a_key_opens_and_anything_near_it_does_not(keys: KeyFile) -> None:
    key, token = keys.add("a", ["chat"])
    other, _ = keys.add("b", ["chat"])
    assert keys.find(token) == key
    secret = token.split("_", 2)[2]
    for wrong in (
        "",
        "elara",
        f"elara_{key.id}_",
        token[:-1],
        token + "x",
        token.upper(),
        f" {token}",
        f"elara_{other.id}_{secret}",
        f"other_{key.id}_{secret}",
        f"elara_{key.id}_{key.sha256}",
        "elara_00000000_\udcff",
    ):
        assert keys.find(wrong) is None, wrong


def test_a_key_ends_when_it_should(keys: KeyFile, clock: Clock) -> None:
    _, token = keys.add("a", ["chat"], days=1)
    clock.pass_(hours=24, seconds=-1)
    assert keys.find(token)
    clock.pass_(seconds=1)
    assert keys.find(token) is None


def test_after_a_rotation_both_open_for_a_while(keys: KeyFile, clock: Clock) -> None:
    old, old_token = keys.add("a", ["chat", "metrics"], days=30, tokens_per_day=7)
    clock.pass_(days=10)
    new, new_token = keys.rotate(old.id, overlap_hours=2)
    assert (new.name, new.scopes, new.tokens_per_day) == ("a", ("chat", "metrics"), 7)
    assert new.account == old.account  # else a rotation would bring a second budget
    assert new.expires == BEGIN + timedelta(days=40)
    assert keys.find(old_token)
    clock.pass_(hours=2)
    assert keys.find(old_token) is None
    assert keys.find(new_token) == new
    with pytest.raises(KeysError, match="is expired"):
        keys.rotate(old.id)


def test_a_rotation_lengthens_no_life(keys: KeyFile, clock: Clock) -> None:
    old, token = keys.add("a", ["chat"], days=1)
    keys.rotate(old.id, overlap_hours=1000)
    clock.pass_(days=1)
    assert keys.find(token) is None


def test_a_revoked_key_is_shut_at_once_in_every_worker(keys: KeyFile) -> None:
    key, token = keys.add("a", ["chat"])
    worker = KeyFile(keys.path, keys.now)
    assert worker.find(token)
    keys.revoke(key.id)
    assert worker.find(token) is None
    with pytest.raises(KeysError, match="is revoked"):
        keys.rotate(key.id)


def test_a_file_that_others_may_read_is_refused(keys: KeyFile) -> None:
    _, token = keys.add("a", ["chat"])
    keys.path.chmod(0o640)
    with pytest.raises(KeysError, match=r"mode 640.*chmod 600"):
        keys.find(token)


def test_a_damaged_file_opens_nothing_and_quotes_nothing(keys: KeyFile) -> None:
    _, token = keys.add("a", ["chat"])
    found = json.loads(keys.path.read_text())
    keys.path.write_text(json.dumps([found[0] | {"scopes": ["SECRET"]}]))
    with pytest.raises(KeysError, match="cannot be read as a file of keys") as error:
        keys.find(token)
    assert "SECRET" not in str(error.value)
    with pytest.raises(KeysError):
        keys.add("b", ["chat"])
    assert "SECRET" in keys.path.read_text()  # nothing was overwritten


@pytest.mark.parametrize(
    ("scopes", "days", "why"),
    [
        (["root"], 1, "scopes is 'root'"),
        ([], 1, "scopes is"),
        (["chat"], -1, "cannot be valid"),
        (["chat"], 1e9, "No calendar"),
        (["chat"], float("nan"), "No calendar"),
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(
    keys: KeyFile, scopes: list[str], days: float, why: str
) -> None:
    with pytest.raises(KeysError, match=why):
        keys.add("a", scopes, days=days)
    assert keys.listed() == []


@pytest.mark.parametrize("name", ["", " ", "a\n00000000  valid    admin", "a\x1b[2K"])
def test_a_name_cannot_pretend_to_be_another_key(keys: KeyFile, name: str) -> None:
    with pytest.raises(KeysError, match="cannot be named"):
        keys.add(name, ["chat"])


def test_a_limit_that_cannot_be_counted_is_refused(keys: KeyFile) -> None:
    with pytest.raises(KeysError, match="tokens_per_day is"):
        keys.add("a", ["chat"], tokens_per_day=2**63)


@pytest.mark.parametrize("hours", [1e12, float("inf"), float("nan")])
def test_an_overlap_without_an_end_changes_nothing(keys: KeyFile, hours: float) -> None:
    made, _ = keys.add("a", ["chat"])
    with pytest.raises(KeysError, match="No calendar"):
        keys.rotate(made.id, hours)
    assert keys.listed() == [made]


def test_two_who_add_at_once_lose_nothing(keys: KeyFile) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: KeyFile(keys.path).add(str(n), ["chat"]), range(8)))
    assert {key.id for key in keys.listed()} == {key.id for key, _ in made}
    assert all(KeyFile(keys.path).find(token) for _, token in made)
    assert not [p for p in keys.path.parent.iterdir() if p.name.startswith(".")]


def test_where_keys_are_kept() -> None:
    assert default_file({"XDG_CONFIG_HOME": "/c", "HOME": "/h"}) == Path("/c/elara/keys.json")
    assert default_file({"HOME": "/h"}) == Path("/h/.config/elara/keys.json")
    assert default_file({}) is None


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.json"
    monkeypatch.setenv("ELARA_SERVE_KEYS", str(path))
    monkeypatch.setenv("ELARA_WORKSPACE", str(tmp_path / "workspace"))
    runner = CliRunner()

    def command(*words: str) -> tuple[str, str]:
        done = runner.invoke(app, ["keys", *words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout.strip(), done.stderr

    token, told = command("add", "ward 3", "--scope", "chat", "--days", "30")
    (key,) = KeyFile(path).listed()
    assert KeyFile(path).find(token) == key
    assert token not in told
    listed, _ = command("list")
    assert f"{key.id}  valid    chat until 20" in listed
    assert token.split("_", 2)[2] not in listed
    newer, told = command("rotate", key.id, "--overlap-hours", "0")
    assert "0 hours" in told
    assert KeyFile(path).find(token) is None
    found = KeyFile(path).find(newer)
    assert found
    told, _ = command("revoke", found.id)
    assert "ward 3" in told
    assert KeyFile(path).find(newer) is None
    with pytest.raises(KeysError, match=r"There is no key 'abc'.*elara keys list"):
        command("revoke", "abc")


def test_a_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("", encoding="utf-8")
    file = KeyFile(tmp_path / "taken" / "keys.json")
    with pytest.raises(KeysError, match=r"No keys can be kept in .*keys\.json .*you may write"):
        file.add("someone", ["chat"])
