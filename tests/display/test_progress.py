"""Progress is one line now and then, and a bar where somebody is looking."""

from __future__ import annotations

import pytest

from elara.display import progress


def test_items_pass_unchanged_and_quietly(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress.track([3, 1, 2], label="count")) == [3, 1, 2]
    assert capsys.readouterr().out == ""


def test_long_work_prints_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.setattr(progress, "_EVERY_SECONDS", 0.0)
    list(progress.track(range(2), label="count"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("count: 1 of 2, ")
    assert len(lines) == 2


def test_a_bar_shows_in_jupyterlab(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "x")
    assert list(progress.track(range(3), label="count")) == [0, 1, 2]
    assert "count" in capsys.readouterr().err


def test_the_line_tells_the_rate_and_the_time_left() -> None:
    assert progress._line("train", 1, 4, 60.0) == "train: 1 of 4, 1.0/min, 3.0 min left"
    assert progress._line("read", 60_000, None, 60.0) == "read: 60,000, 1,000/s"


def test_a_total_can_grow_while_the_work_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.setattr(progress, "_EVERY_SECONDS", 0.0)
    with progress.Progress("collect") as collected:
        collected.expect(500)
        collected.expect(500)
        collected.advance(250)
    assert capsys.readouterr().out.startswith("collect: 250 of 1,000, ")
