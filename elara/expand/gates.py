"""Refuse passages that would teach a model something other than medicine it can look up.

Each gate gives its name and the words that decided, so that every refusal can be shown.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

from elara.expand.cautions import drugs
from elara.text.sentences import count_words
from elara.text.wordlist import SUFFIXES, is_word

MIN_WORDS = 25
MEDICAL_SHARE = 0.05  # of a text's words: below it, the text is about something else

# Sections of an article that report how a study was made or published, and not what it found.
_NOT_CONTENT = re.compile(
    r"\b(?:(?:materials?|patients?|subjects?) and methods?|methods?|methodology|metodolog\w+|"
    r"métodos?|méthodes?|mbinu|statistic\w*|study (?:design|area|site|population|setting|"
    r"participants?|selection)|sample size|sampling|data (?:collection|analys[ei]s|extraction|"
    r"availability|sources?|sharing)|search strategy|eligibility|inclusion|exclusion criteria|"
    r"randomi[sz]ation|blinding|procedures?|protocol|assays?|antibodies|reagents?|primers?|pcr|"
    r"western blot\w*|cell (?:culture|lines?)|animals?|mice|plasmids?|strains?|sequenc\w+|"
    r"immuno(?:histochemistry|fluorescence|blotting|precipitation)\w*|microscopy|software|"
    r"simulations?|model(?:l?ing)?|acknowledge?ments?|agradecimientos|remerciements|funding|"
    r"financ\w+|ethic\w*|consent|competing interests?|conflicts? of interests?|disclosures?|"
    r"declarations?|author(?:'?s'?|s’)? (?:contributions?|summary|information|details)|"
    r"contributors?|abbreviations?|supplementary|supporting information|"
    r"additional (?:file|information)s?|"
    r"appendix|references|bibliograph\w+|further reading|about the authors?|pre-?publication "
    r"history|open access|decision letter|author response|editor\w*|reviewers?|results?|"
    r"findings|limitations?|resultados|résultats|for patients and families|"
    r"for more information|related (?:links|topics|information)|resources|contact\w*)\b",
    re.IGNORECASE,
)
_POINTER = re.compile(
    r"\b(?:fig(?:ure)?s?\.?|tables?|box|panels?|videos?|appendix|supplementa(?:ry|l)|"
    r"additional files?|eq(?:uation)?s?\.?|tableau|figuras?|tablas?|cuadros?)\s*\(?[S]?\d|"
    r"\b(?:shown|listed|described|given|seen) (?:above|below)\b|"
    r"\bsee (?:above|below|text|section|also)\b|\bclick\b|\blinks? (?:above|below)\b",
    re.IGNORECASE,
)
# The authors speak of themselves; languages without an entry are read as English.
_SPEAKER = {
    "en": re.compile(
        r"\b(?:[Ww]e|[Oo]urs?|I (?:am|was|have|had|would|think|do|did|see|saw)|[Mm]y)\b|"
        r"\b(?:[Tt]his|[Tt]he present|[Tt]he current|[Pp]resent) (?:study|paper|article|work|"
        r"review|report|survey|trial|investigation|analysis|manuscript)\b|\b[Tt]he authors?\b|"
        r"\bet al\b"
    ),
    "es": re.compile(
        r"(?i)\b(?:nosotros|nuestr[oa]s?|este (?:estudio|trabajo|artículo)|los autores|et al)\b"
    ),
    "fr": re.compile(
        r"(?i)\b(?:nous|notre|nos|cette étude|ce travail|cet article|les auteurs|et al)\b"
    ),
    "pt": re.compile(
        r"(?i)\b(?:nós|noss[oa]s?|este (?:estudo|trabalho|artigo)|os autores|et al)\b"
    ),
    "sw": re.compile(r"(?i)\b(?:sisi|utafiti huu|makala hii|waandishi|et al)\b"),
}
_ITEM = re.compile(r"^\s*(?:[-*•·▪–]|\(?\d{1,2}[.)]|\(?[a-z][.)])\s", re.MULTILINE)

# Words that belong to medicine wherever they stand; the endings of `SUFFIXES` do as well.
_MEDICAL = re.compile(
    r"(?:patient|disease|diagnos|treat|symptom|therap|clinic|infect|syndrom|mortal|morbid|dose|dosage|"
    r"drug|medic|surg|hospital|pain|fever|blood|cancer|tumou?r|vaccin|immun|bacter|antibio|viral|"
    r"pregnan|birth|neonat|infant|child|pediatr|paediatr|matern|obstet|gyna?ecol|cardi|heart|"
    r"vascul|hypertens|stroke|renal|kidney|liver|hepat|lung|pulmon|respirat|asthma|diabet|insulin|"
    r"gluc|obes|nutrit|brain|neuro|seizur|epilep|mental|psych|depress|anxi|suicid|skin|dermat|bone|"
    r"fractur|joint|muscl|orthop|trauma|injur|wound|bleed|ha?emor|ana?emi|leuk|lymph|malaria|"
    r"tubercul|hiv|aids|hepatitis|sepsis|shock|emergenc|resuscit|intensive|anesth|anaesth|opioid|"
    r"nurs|physician|doctor|health|risk|chronic|acute|prognos|screen|biops|radio|imaging|tomograph|"
    r"ultraso|x-ray|ecg|gene|genet|mutat|chromosom|inherit|congenital|hormon|thyroid|steroid|"
    r"contracept|menstr|ovulat|sexual|antigen|antibod|serolog|virus|pharm|prescri|oxygen|serum|plasma|"
    r"allerg|inflam|arthr|ulcer|gastr|intestin|colo|rect|urin|bladder|prostat|eye|ocul|vision|ear|"
    r"hearing|dental|tooth|teeth|oral|poison|toxi|venom|snake|bite|parasit|worm|enferm|salud|"
    r"paciente|tratam|s[íi]ntoma|maladie|sant[ée]|traitement|doen[çc]a|sa[úu]de|ugonjwa|afya|"
    r"dalili|matibabu)\w*"
)
_ENDING = re.compile(rf"[^\W\d_]{{3,}}(?:{SUFFIXES})")
_NUMBER = re.compile(r"\d+(?:[.,·]\d+)*")
_UP = re.compile(
    r"\b(?:increas|higher|great|rise|rais|elevat|more|improv|better|superior|gain|up)\w*",
    re.I,
)
_DOWN = re.compile(
    r"\b(?:decreas|lower|reduc|fewer|less|fall|fell|declin|drop|wors|inferior|prevent|down|loss)\w*",
    re.I,
)
_NOT = re.compile(r"\b(?:no|not|nor|without|neither|none|fail\w*|lack\w*|similar\w*|un\w+)\b", re.I)

Refusal = tuple[str, str]


def not_content(heading: str) -> str:
    """The words of a heading that say its section is about the making of a study, or "".

    Args:
        heading: of a section, with the headings above it.
    """
    found = _NOT_CONTENT.search(heading)
    return found[0] if found else ""


def medical_share(text: str) -> float:
    """The share of a text's words that belong to medicine, 0 to 1.

    Args:
        text: title and text of an article.
    """
    words = re.findall(r"[^\W\d_]{3,}", text.casefold())
    return sum(map(_is_medical, words)) / max(len(words), 1)


@lru_cache(maxsize=2**17)
def _is_medical(word: str) -> bool:
    return bool(_MEDICAL.match(word) or _ENDING.fullmatch(word))


def answer_refusals(answer: str, language: str) -> Iterator[Refusal]:
    """What speaks against a passage as an answer.

    Args:
        answer: the passage.
        language: ISO 639-1 code of its language.

    Yields:
        A gate's name and the words that decided.
    """
    words = count_words(answer)
    if words < MIN_WORDS:
        yield "short answer", f"{words} words"
    lines = [line.rstrip() for line in answer.splitlines() if line.strip()]
    listed = all(_ITEM.match(line) for line in lines)
    if listed and not all(line.endswith((".", "?", "!")) for line in lines):
        yield "bare list", lines[0][:60]
    speaker = _SPEAKER.get(language, _SPEAKER["en"])
    for name, pattern in (("points elsewhere", _POINTER), ("speaks of itself", speaker)):
        if found := pattern.search(answer):
            yield name, answer[max(0, found.start() - 20) : found.end() + 20].replace("\n", " ")


def unsupported(conclusion: str, findings: str) -> str:
    """What a conclusion states that the findings do not show, or "".

    Every number, every technical term (a word of no general word list: drugs, organisms, genes)
    and every direction (more, less, no difference) has to stand in the findings.

    Args:
        conclusion: the answer.
        findings: what the question shows, title included.
    """
    shown = Counter(_NUMBER.findall(findings))
    for number in _NUMBER.findall(conclusion):
        if not shown[number]:
            return str(number)
    known = {word.removesuffix("s") for word in _words(findings)}
    for word in _words(conclusion):
        if word.removesuffix("s") not in known and (drugs(word) or not is_word(word)):
            return str(word)
    for direction in (_UP, _DOWN, _NOT):
        if (found := direction.search(conclusion)) and not direction.search(findings):
            return str(found[0])
    return ""


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]{4,}", text.casefold())
