"""Take an adapter elsewhere, and prove that it still answers the same."""

from elara.export.exporting import export
from elara.export.parity import ExportError
