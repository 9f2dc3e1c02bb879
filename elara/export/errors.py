"""Define the error of an export."""

from elara.model import ModelError


class ExportError(ModelError):
    """A model cannot be exported as asked; the message says why and what to do."""
