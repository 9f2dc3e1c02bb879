"""Clean: named rules repair text and take noise away; a ledger proves that no term was lost."""

from elara.clean.cleaning import Cleaned, clean
from elara.clean.ledger import PROTECTED, LostTerms, Protected, compare, terms
from elara.clean.phi import PHI, PhiKind, find_phi
from elara.clean.repair import where
from elara.clean.rules import RULES, Rule, removing

__all__ = [
    "PHI",
    "PROTECTED",
    "RULES",
    "Cleaned",
    "LostTerms",
    "PhiKind",
    "Protected",
    "Rule",
    "clean",
    "compare",
    "find_phi",
    "removing",
    "terms",
    "where",
]
