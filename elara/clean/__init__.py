"""Clean texts by named rules, and check against a ledger that no protected term was lost."""

from elara.clean.ledger import PROTECTED, Loss, Protected, count_terms, lost, terms
from elara.clean.phi import PHI, find_phi
from elara.clean.phi_people import PhiKind
from elara.clean.rules import RULES, Rule, clean_text, removing
from elara.clean.streaming import Cleaned, clean, clean_file

__all__ = [
    "PHI",
    "PROTECTED",
    "RULES",
    "Cleaned",
    "Loss",
    "PhiKind",
    "Protected",
    "Rule",
    "clean",
    "clean_file",
    "clean_text",
    "count_terms",
    "find_phi",
    "lost",
    "removing",
    "terms",
]
