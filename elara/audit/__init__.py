"""Look at what a run left, and say what stands, what does not, and what cannot be told."""

from elara.audit.workspace import Audit, audit

__all__ = ["Audit", "audit"]
