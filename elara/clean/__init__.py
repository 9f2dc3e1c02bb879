"""Clean texts by named rules, and check against a ledger that no protected term was lost."""

from elara.clean.ledger import PROTECTED, Loss, Protected, count_terms, lost, terms
from elara.clean.rules import RULES, Rule, removing
from elara.clean.streaming import Cleaned, clean, clean_file
from elara.text.phi import PHI, find_phi
from elara.text.phi_people import PhiKind
