"""Define the errors of an export."""

from __future__ import annotations

import polars as pl

from elara.model import ModelError


class ExportError(ModelError):
    """A model cannot be exported as asked; the message says why and what to do."""


class ParityError(ExportError):
    """An export differs from the original by more than its bound.

    Args:
        message: which format, value, bound and remedy.
        table: what was measured, one row per export and reader.
    """

    def __init__(self, message: str, table: pl.DataFrame) -> None:
        super().__init__(message)
        self.table = table
