"""Serve a folder of raw files over the protocols of the live sources, for rehearsals and tests."""

from elara.mirror.answers import Faults
from elara.mirror.server import Mirror
