"""A local stand-in for the live sources: it serves a folder of raw files over their protocols."""

from elara.collect.mirror.faults import Faults
from elara.collect.mirror.messages import Request
from elara.collect.mirror.server import Mirror

__all__ = ["Faults", "Mirror", "Request"]
