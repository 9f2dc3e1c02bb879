"""Look at what a run left, and say what stands, what does not, and what cannot be told."""

from elara.audit.card import embedded_card, model_card
from elara.audit.certificate import AuditError, Certificate, certify
from elara.audit.passport import with_verdict, write_passport
from elara.audit.verify import Verification, verify
from elara.audit.workspace import Audit, audit

__all__ = [
    "Audit",
    "AuditError",
    "Certificate",
    "Verification",
    "audit",
    "certify",
    "embedded_card",
    "model_card",
    "verify",
    "with_verdict",
    "write_passport",
]
