"""Serve an adapter over HTTP: a FastAPI application that says what it is and what it is not.

In short::

    app = create_app(Settings.from_environment())
    with running(app) as url: ...  # on a free port, for a notebook or a test
    run(Settings.from_environment())  # the server of `elara serve`
"""

import logging

from elara.serve.config import Settings, SettingsError
from elara.serve.main import create_app
from elara.serve.models import ModelManager
from elara.serve.running import PortInUse, run, running, wait_until_ready

# As in any library, whether its log is shown is up to the program that uses it.
logging.getLogger("elara.serve").addHandler(logging.NullHandler())

__all__ = [
    "ModelManager",
    "PortInUse",
    "Settings",
    "SettingsError",
    "create_app",
    "run",
    "running",
    "wait_until_ready",
]
