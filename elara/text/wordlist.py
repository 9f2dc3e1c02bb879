"""Look up whether a word exists: in three languages, or by an ending that only medicine has."""

from __future__ import annotations

import re
from functools import cache

# Endings that are medical in nearly every word of letters that has at least four before them.
SUFFIXES = (
    "aemia|emia|itis|osis|oses|oma|omas|pathy|pathies|ectomy|otomy|ostomy|plasty|scopy|"
    "graphy|gram|lysis|penia|philia|plegia|paresis|algia|uria|rrhea|rrhoea|rrhage|sclerosis|"
    "stenosis|trophy|cyte|cytes|genesis|kinase|ase|globulin|mycin|cillin|azole|prazole|statin|"
    "sartan|olol|dipine|mab|tinib|ciclib|gliptin|gliflozin|caine|vir|virus|viruses|coccus|"
    "cocci|bacter|itides|ectasis|megaly|dynia|phagia|pnea|pnoea|tension|cardia"
)
_MEDICAL = re.compile(rf"[^\W\d_]{{4,}}(?:{SUFFIXES})")


def is_word(word: str) -> bool:
    """Whether a word exists in English, Spanish or French, as far as our lists go.

    The lists are read when a word is first asked for. They are those of the installed version of
    pyspellchecker, which constraints.txt pins, and the same on every machine.

    Args:
        word: in small letters.

    Source: word lists of https://github.com/barrust/pyspellchecker
    """
    return word in _words() or _MEDICAL.fullmatch(word) is not None


@cache
def _words() -> frozenset[str]:
    from spellchecker import SpellChecker

    return frozenset(SpellChecker(language=["en", "es", "fr"]).word_frequency.keys())
