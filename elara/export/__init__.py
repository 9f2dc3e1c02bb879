"""Take an adapter elsewhere, and prove that it still answers the same."""

from elara.export.errors import ExportError, ParityError
from elara.export.exporting import Exported, export
from elara.export.parity import BOUNDS, Bound

__all__ = [
    "BOUNDS",
    "Bound",
    "ExportError",
    "Exported",
    "ParityError",
    "export",
]
