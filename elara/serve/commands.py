"""Find what the commands of the server act on, by the settings that the server has."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from elara.serve.adapters import AdapterRefused, check_adapter, find_adapter
from elara.serve.config import Settings, SettingsError
from elara.serve.experiments import Experiments
from elara.serve.feedback import FeedbackStore
from elara.serve.journal import JournalError, account, append
from elara.serve.participation import act_of
from elara.serve.released import GateStatus, admitted


def audit(log: Path, event: Mapping[str, Any]) -> None:
    """Record an act of whoever types it.

    Args:
        log: the audit log; a server may be writing to it. It is made where there is none.
        event: see `act_of`.

    Raises:
        JournalError: it cannot be recorded.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        append(log, act_of(event, account()))
    except OSError as error:
        raise JournalError(
            f"The audit log {log} cannot be written ({error.strerror}), so nothing was done: act "
            f"as a user who may write there, or name another log in ELARA_SERVE_AUDIT_LOG."
        ) from None


def experiments(settings: Settings) -> Experiments:
    """The experiments of a server.

    Args:
        settings: the server's.

    Raises:
        SettingsError: it keeps none.
    """
    folder, log = _kept(settings)
    return Experiments(folder, partial(audit, log))


def feedback(settings: Settings) -> FeedbackStore:
    """The feedback that a server was given.

    Args:
        settings: the server's.

    Raises:
        SettingsError: it takes none.
    """
    folder, log = _kept(settings)
    return FeedbackStore(folder / "feedback.sqlite", partial(audit, log))


def may_serve(settings: Settings, adapter: str) -> GateStatus:
    """What the release gate found about an adapter that a server would serve.

    Args:
        settings: the server's.
        adapter: SHA-256 of the adapter's weights.

    Raises:
        AdapterRefused: the server would refuse it.
    """
    folder = settings.adapters or (settings.adapter.parent if settings.adapter else None)
    if folder is None:
        raise AdapterRefused(
            "An experiment compares adapters that the server itself loads, and no folder of them "
            "is known here: set ELARA_SERVE_ADAPTER or ELARA_SERVE_ADAPTERS as for the server."
        )
    place = find_adapter(folder, adapter)
    check_adapter(place, folder)
    return admitted(place, settings.gate, settings.override)


def _kept(settings: Settings) -> tuple[Path, Path]:
    if not settings.serving or not settings.audit_log:
        raise SettingsError(
            "No server keeps experiments or feedback here: finish training in the workspace, name "
            "another one with -w, or set ELARA_SERVE_SERVING and ELARA_SERVE_AUDIT_LOG as for the "
            "server."
        )
    return settings.serving, settings.audit_log
