"""Take an adapter elsewhere, and prove that it is still the same."""

from elara.export.bounds import BOUNDS, Bound
from elara.export.drafts import ExportError
from elara.export.export import Exported, export
from elara.export.parity import ParityError

__all__ = [
    "BOUNDS",
    "Bound",
    "ExportError",
    "Exported",
    "ParityError",
    "export",
]
