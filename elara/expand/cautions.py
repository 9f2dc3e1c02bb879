"""Add one short caution to an answer that names a drug or a dose."""

from __future__ import annotations

import re
from functools import lru_cache

from elara.expand.drugnames import translated_drugs

# Stems by which the World Health Organization names substances, and common names without one.
# Source: https://www.who.int/teams/health-product-and-policy-standards/inn/stembook
_STEMS = (
    "cillin|mycin|micin|floxacin|cycline|penem|bactam|nidazole|conazole|bendazole|vir|virine|mab|tinib|"
    "ciclib|parib|zomib|limus|pril|prilat|sartan|olol|dipine|statin|fibrate|prazole|[aoi]tidine|setron|"
    "triptan|caine|azepam|azolam|barbital|oxetine|triptyline|ipramine|peridol|apine|idone|piprazole|"
    "gliptin|gliflozin|glutide|glitazone|parin|xaban|gatran|grel|grelor|thiazide|semide|"
    "solone|nisone|tasone|thasone|esonide|buterol|meterol|tropium|[oa]quine|lukast|dronate|platin|"
    "rubicin|taxel|trexate|profen|fenac|coxib|codone|morphone|entanil|curonium|stigmine|zosin"
)
_NAMES = (
    "aspirin|paracetamol|acetaminophen|ibuprofen|naproxen|indometacin|morphine|codeine|tramadol|"
    "methadone|naloxone|insulin|metformin|glucagon|levothyroxine|adrenaline|epinephrine|"
    "noradrenaline|norepinephrine|losartan|dopamine|dobutamine|vasopressin|atropine|digoxin|amiodarone|"
    "adenosine|verapamil|diltiazem|nitroglycerin|warfarin|alteplase|tenecteplase|streptokinase|"
    "oxytocin|misoprostol|ergometrine|carboprost|magnesium sulfate|magnesium sulphate|"
    "hydralazine|methyldopa|spironolactone|potassium chloride|lithium|valproate|carbamazepine|"
    "phenytoin|levetiracetam|lamotrigine|topiramate|ketamine|propofol|haloperidol|"
    "chlorpromazine|clozapine|olanzapine|lorazepam|isoniazid|rifampicin|rifampin|pyrazinamide|"
    "ethambutol|co-trimoxazole|trimethoprim|sulfamethoxazole|nitrofurantoin|vancomycin|"
    "ceftriaxone|cefazolin|cefotaxime|cef\\w{3,}|nevirapine|efavirenz|dolutegravir|zidovudine|"
    "artemether|artemisinin|dihydroartemisinin|lumefantrine|furosemide|dapsone|"
    "ivermectin|praziquantel|amphotericin B|flucytosine|artesunate|hydroxyurea|hydroxycarbamide|"
    "methotrexate|cyclophosphamide|colchicine|allopurinol|salbutamol|albuterol|theophylline|"
    "prednisone|prednisolone|dexamethasone|hydrocortisone|tranexamic acid|antivenom|heparin|"
    "activated charcoal|acetylcysteine|pralidoxime|zinc sulfate|folic acid|ferrous sulfate"
)
_LONG = [name for name in _NAMES.split("|") if not re.fullmatch(r"\w+(?:\\w\{3,\})?", name)]
_WORD = re.compile(r"\w+")
_ONE = re.compile(rf"\w{{3,}}(?:{_STEMS})|{_NAMES}", re.IGNORECASE)
_SEVERAL = re.compile(rf"\b(?:{'|'.join(_LONG)})\b", re.IGNORECASE)
_DOSE = re.compile(
    r"\d\s?(?:mg|mcg|µg|μg|g|IU|UI|U|units?|mmol|mEq|mL|ml|puffs?|tablets?|drops|comprimidos?|"
    r"comprimés?|gotas|gouttes)(?:/(?:kg|m2|m²|day|d|h|"
    r"hour|min|dose))*\b"
)
_CAUTIONS = {
    "en": "This is educational: a clinician checks drug, dose, allergies and interactions.",
    "es": "Texto educativo: un profesional comprueba fármaco, dosis, alergias e interacciones.",
    "fr": "Texte éducatif : un soignant vérifie médicament, dose, allergies et interactions.",
    "pt": "Texto educativo: um profissional verifica fármaco, dose, alergias e interações.",
    "sw": "Maandishi ya elimu: mhudumu wa afya huhakiki dawa, kipimo, mizio na mwingiliano.",
}


def drugs(text: str) -> set[str]:
    """The drugs that a text names, in small letters, as far as stems and a list of ours go.

    Args:
        text: any text.
    """
    words = {word.casefold() for word in set(_WORD.findall(text)) if _is_drug(word)}
    return words | {name.casefold() for name in _SEVERAL.findall(text)}


@lru_cache(maxsize=2**17)
def _is_drug(word: str) -> bool:
    return _ONE.fullmatch(word) is not None


def caution(answer: str, language: str) -> str:
    """The caution that belongs behind an answer, "" where it names neither drug nor dose.

    Args:
        answer: the answer.
        language: of the answer.
    """
    named = translated_drugs(answer, language, drugs(answer))
    return _CAUTIONS[language] if named or _DOSE.search(answer) else ""
