"""Find passages in other languages than English that tell how a study was made.

`elara.expand.gates` does so for English with a long table; these are shorter, and follow the same
rule: what speaks for a study gives points, each past tense beyond the second one more, and a
passage with two points is refused.
"""

from __future__ import annotations

import re
from functools import cache

_POINTS = 2  # with which a passage counts as a report of how a study was made
_TOLD = 2  # past tenses that knowledge, too, may have
_NUMBERS = r"\bp ?[<=>] ?0[.,]|\b(?:n|r) ?= ?\d|\b(?:ic|ci) ?(?:de |del |à )?95|±"

# For each language what gives two points, what gives one, and its past tenses.
_CUES = {
    "es": (
        r"\bobjetivos? (?:de (?:este|esta|nuestr|la presente)|del (?:presente|estudio|trabajo)|"
        r"principal|fue)|\bse (?:realiz|llev|incluy|analiz|evalu|estudi|recog|recopil|compar|"
        r"seleccion|reclut|aleatoriz|revis)\w*(?:ó|aron|ieron|eron)\b|\bestudio (?:transversal|"
        r"retrospectivo|prospectivo|observacional|descriptivo|longitudinal|analítico|de cohortes?|"
        r"de casos|aleatorizado|multicéntrico|piloto)|consentimiento informado|comité de ética",
        r"\b(?:encuesta|cuestionario|muestra de|revisión (?:sistemática|retrospectiva)|"
        r"historias clínicas)\b",
        r"\b(?:fue|fueron|era|eran|tuvo|tuvieron|hubo|presentó|presentaron|mostró|mostraron)\b",
    ),
    "fr": (
        r"\bobjectifs? (?:de (?:cette|ce|notre|l['’]étude)|du présent|principal|était)|\bétude "
        r"(?:transversale|rétrospective|prospective|observationnelle|descriptive|longitudinale|"
        r"analytique|de cohorte|cas-témoins|randomisée|multicentrique|pilote)|"
        r"\b(?:a|ont) été (?:inclus|analysé|évalué|réalisé|étudié|recueilli|comparé|sélectionné|"
        r"recruté|randomisé|mené|colligé)\w*|consentement éclairé|comité d['’]éthique",
        r"\b(?:enquête|questionnaire|échantillon de|dossiers médicaux|revue (?:systématique|"
        r"rétrospective))\b",
        r"\b(?:était|étaient|avait|avaient|a été|ont été|a montré|ont montré)\b",
    ),
    "pt": (
        r"\bobjetivos? (?:(?:deste|desta|do presente|do estudo|do trabalho)|principal|foi)|"
        r"\bestudo (?:transversal|retrospectivo|prospectivo|observacional|descritivo|longitudinal|"
        r"analítico|de coorte|caso-controle|randomizado|multicêntrico|piloto)|\b(?:foi|foram) "
        r"(?:realizad|incluíd|analisad|avaliad|estudad|coletad|comparad|selecionad|recrutad|"
        r"randomizad|revisad)\w*|\b\w+(?:ou|aram|iram)-se\b|termo de consentimento|"
        r"consentimento informado|comitê de ética",
        r"\b(?:questionário|amostra de|prontuários|revisão (?:sistemática|retrospectiva))\b",
        r"\b(?:foi|foram|era|eram|teve|tiveram|houve|apresentou|apresentaram|mostrou|mostraram)\b",
    ),
    "sw": (
        r"\blengo la (?:utafiti|makala)|\bkamati ya maadili|\bridhaa ya|\b(?:data|takwimu) "
        r"zili(?:kusany|chambul)\w+|\bwali(?:chaguliwa|hojiwa|jumuishwa)\b",
        r"\b(?:washiriki|dodoso|sampuli ya|mahojiano|utafiti ul\w+)\b",
        r"\b(?:zilikusanywa|zilichambuliwa|walichaguliwa|walihojiwa|walijumuishwa|ulifanyika)\b",
    ),
}


def study(passage: str, language: str) -> str:
    """The words by which a passage tells how a study was made, or "".

    Args:
        passage: an answer.
        language: ISO 639-1 code; of English, and of languages without a table, nothing is said.
    """
    if language not in _CUES:
        return ""
    small = passage.casefold()
    strong, weak, past = _compiled(language)
    told = [found[0] for found in past.finditer(small)][_TOLD:]
    evidence = [found[0] for found in strong.finditer(small)] * 2
    evidence += [found[0] for found in weak.finditer(small)] + told
    return "; ".join(dict.fromkeys(evidence)) if len(evidence) >= _POINTS else ""


@cache
def _compiled(language: str) -> list[re.Pattern[str]]:
    strong, weak, past = _CUES[language]
    return [re.compile(form) for form in (strong, f"{weak}|{_NUMBERS}", past)]
