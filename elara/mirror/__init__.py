"""A local stand-in for the live sources: it serves a folder of raw files over their protocols."""

from elara.mirror.faults import Faults
from elara.mirror.messages import Request
from elara.mirror.server import Mirror

__all__ = ["Faults", "Mirror", "Request"]
