"""Add one short caution to an answer that names a drug or a dose."""

from __future__ import annotations

import re

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
# The same stems and names as Spanish, French and Portuguese write them.
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
_DRUG = re.compile(rf"\b(?:\w{{3,}}(?:{_STEMS})|{_NAMES})\b", re.IGNORECASE)
_ROMANCE = re.compile(rf"\b(?:\w{{3,}}(?:{_ROMANCE_STEMS})|{_ROMANCE_NAMES})\b", re.IGNORECASE)
_SWAHILI = re.compile(rf"\b(?:{_SWAHILI_NAMES})\b", re.IGNORECASE)
# Words of these languages that end as a drug does in English.
_NO_DRUG = re.compile(r"servir|\w+(?:ri|mini|bli|xi|ro)caines?")
_OTHERS = {"es": _ROMANCE, "fr": _ROMANCE, "pt": _ROMANCE, "sw": _SWAHILI}
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


def drugs(text: str, language: str = "en") -> set[str]:
    """The drugs that a text names, in small letters, as far as stems and lists of ours go.

    Args:
        text: any text.
        language: ISO 639-1 code; names are looked for as it and English write them.
    """
    found = {match[0].casefold() for match in _DRUG.finditer(text)}
    if other := _OTHERS.get(language):
        found |= {match[0].casefold() for match in other.finditer(text)}
        found = {name for name in found if not _NO_DRUG.fullmatch(name)}
    return found


def caution(answer: str, language: str) -> str:
    """The caution that belongs behind an answer, "" where it names neither drug nor dose.

    Args:
        answer: the answer.
        language: of the answer.
    """
    return _CAUTIONS[language] if drugs(answer, language) or _DOSE.search(answer) else ""
