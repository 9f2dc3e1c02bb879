"""Take an adapter elsewhere, and prove that it still answers the same."""

from elara.export.errors import ExportError
from elara.export.exporting import export

__all__ = [
    "ExportError",
    "export",
]
