"""Find the drugs in a text as Spanish, French, Portuguese and Swahili write their names."""

from __future__ import annotations

import re
from collections.abc import Iterable

# The stems and names of `elara.expand.cautions`, as Spanish, French and Portuguese write them.
_ROMANCE_STEMS = (
    "cil+in[ae]|mi[cz]in[ae]|mycine|floxacin[ao]|floxacine|c[iy]clin[ae]|nidazole?|conazole?|"
    "bendazole?|virin[ae]|estatinas?|statin[ae]s?|prazole?|[aoi]tidin[ae]|setr[oó]na?|triptán|"
    "triptano|caín[ae]|caina|caïne|oxetin[ae]|tript[iy]lin[ae]|ipramin[ae]|peridole?|apin[ae]|"
    "idon[ae]|piprazole?|gliptin[ae]|gliflozin[ae]|parin[ae]|xabana?|tiazid[ae]|semid[ae]|"
    "solon[ae]|nison[ae]|tason[ae]|metasona|eson[ií]d[ae]|butamole?|terole?|tropio|"
    "[ao]quin[ae]|dronato|platino|platine|taxele?|trexato|profeno?|profène|fenaco?|code[ií]n[ae]|"
    "morfona|fentanil[oa]?|curonio|curônio|stigmin[ae]|zosin[ae]|dipin[aeo]|lukaste?|artesunato?|"
    "sartán|sartana|olole?"
)
_ROMANCE_NAMES = (
    "aspirin[ae]|paracétamol|dipirona|losartana|estatinas?|insulin[ae]|metformin[ae]|glucag[oó]n|morfina|morphine|"
    "codéine|adrenalin[ae]|adrénaline|epinefrina|épinéphrine|noradrenalina|noradrénaline|"
    "dopamin[ae]|dobutamin[ae]|atropin[ae]|digoxin[ae]|amiodaron[ae]|adenosin[ae]|adénosine|"
    "warfarin[ae]|varfarina|heparin[ae]|héparine|oxitocina|ocitocina|ocytocine|"
    "sulfato de magn[eé]sio|sulfate de magnésium|hidrala[cz]ina|metildopa|espironolacton[ae]|"
    "litio|lítio|lithium|valproato|carbamazepin[ae]|carbamazépine|fenito[ií]na|phénytoïne|"
    "ketamin[ae]|kétamine|quetamina|isoniazid[ae]|rifampicin[ae]|pirazinamid[ae]|etambutol|"
    "éthambutol|cotrimoxazole?|vancomicina|ceftriaxon[ae]|cefalosporinas?|céphalosporines?|"
    "artem[ée]ter|artéméther|quinin[ae]|ivermectin[ae]|prazi[cq]uantele?|anfotericina|"
    "hidroxiure[ai]a?|metotrexato|méthotrexate|colchicin[ae]|alopurinol|teofilin[ae]|"
    "ácido tranexámico|ácido tranexâmico|acide tranexamique|antiveneno|ácido fólico|acide folique|"
    "sulfato ferroso|sulfate ferreux|antibióticos?|antibiotiques?"
)
_SWAHILI_NAMES = (
    "parasetamoli|aspirini|ibuprofeni|insulini|penisilini|amoksilini|amoksisilini|morfini|kwinini|"
    "oksitosini|adrenalini|antibayotiki|viuavijasumu"
)
_ROMANCE = re.compile(rf"\b(?:\w{{3,}}(?:{_ROMANCE_STEMS})|{_ROMANCE_NAMES})\b", re.IGNORECASE)
_SWAHILI = re.compile(rf"\b(?:{_SWAHILI_NAMES})\b", re.IGNORECASE)
# Words of these languages that end as a drug does in English.
_NO_DRUG = re.compile(r"servir|\w+(?:ri|mini|bli|xi|ro)caines?")
_OTHERS = {"es": _ROMANCE, "fr": _ROMANCE, "pt": _ROMANCE, "sw": _SWAHILI}


def translated_drugs(text: str, language: str, english: Iterable[str]) -> set[str]:
    """The drugs that a text names, in small letters, as far as stems and lists of ours go.

    Args:
        text: any text.
        language: ISO 639-1 code of the text.
        english: what is found by the English stems and names, see `elara.expand.cautions`.

    Returns:
        Those, and what the language writes in its own way, without words of it that only end as
        a drug does in English.
    """
    if language not in _OTHERS:
        return set(english)
    found = {match[0].casefold() for match in _OTHERS[language].finditer(text)}
    return {name for name in {*english, *found} if not _NO_DRUG.fullmatch(name)}
