"""List the words that count as medical or English, and lay them out for the compiled pass.

The list of medical words is written for this project; no third-party word list is part of it. It
need not be complete: the score asks how densely a text speaks medicine, not which terms it knows.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl

from elara.text.wordlist import SUFFIXES
from elara.text.words import (
    ENGLISH,
    FLAGS,
    LETTERS,
    MEDICAL,
    WORD,
    Array,
    Tables,
    characters,
    strings,
)

_WORDS = """
abdominal abscess acute adherence adjuvant admission adrenal adverse airway allergy analgesia
anaemia anemia anesthesia anaesthesia aneurysm angina antibiotic antibiotics antibody antibodies
anticoagulant antigen aorta aortic arrhythmia arterial artery aspirin assay asthma atrial
autoimmune bacteria bacterial benign biomarker biopsy bleeding blood bone brain breast bronchial
cancer cardiac cardiovascular care carcinoma catheter cell cells cerebral cervical chemotherapy
chest chronic clinic clinical clinician clinicians cognitive cohort colon comorbidity
comorbidities complication complications congenital contraindicated coronary cough creatinine
culture cutaneous death dementia dermal diabetes diabetic diagnosed diagnosis diagnostic dialysis
diarrhea diarrhoea diastolic diet disease diseases disorder disorders dose doses dosing drug drugs
efficacy embolism emergency endocrine enzyme epidemic epilepsy etiology exposure failure fatigue
fetal fever fibrillation fibrosis fracture gastric gene genes genetic glucose haemoglobin
hemoglobin headache health healthcare heart hepatic hernia hip hormone hospital hospitalised
hospitalized human humans hypertension hypotension imaging immune immunity immunology implant
incidence infant infants infarction infected infection infections inflammation inflammatory
inhibitor inhibitors injury injuries insulin intensive intervention intravenous ischaemia ischemia
ischaemic ischemic kidney knee lesion lesions liver lung lungs lymph malaria malignancy malignant
maternal medical medication medications medicine melanoma meningitis mental metabolic metabolism
metastasis metastases metastatic microbial morbidity mortality muscle mutation mutations
myocardial neonatal nerve neurological nurse nurses nursing obese obesity oedema edema oncology
oral organ outcome outcomes outpatient ovarian oxygen pain palliative pancreatic pathogen
pathogens pathology patient patients pediatric paediatric pharmacokinetics pharmacological
physician physicians placebo plasma platelet pneumonia postoperative pregnancy pregnant prenatal
prevalence preventive primary prognosis prognostic prophylaxis protein proteins psychiatric
psychological pulmonary radiation radiotherapy randomised randomized receptor recurrence
rehabilitation relapse remission renal resection respiratory retinal rheumatoid risk screening
secondary sepsis septic serum severe severity shock skin spinal spine stroke surgeon surgeons
surgery surgical survival symptom symptoms syndrome syndromes systolic therapeutic therapies
therapy thoracic thrombosis thyroid tissue tissues tomography toxicity transplant
transplantation trauma traumatic treated treatment treatments trial trials tuberculosis tumor
tumors tumour tumours ulcer ultrasound urinary uterine vaccine vaccines vaccination vascular
ventricular viral vitamin vomiting wound wounds
"""

# Words of subject headings that say nothing about medicine by themselves.
_GENERAL = """
    adult adults africa aged america analysis animals areas asia australia canada china
    comparative computer countries country databases decision developing development education
    england environmental europe female france germany government groups history india
    information international internet italy japan journal kingdom knowledge language local
    male management methods middle model models national north organization organizations
    periodicals personal policy population practice program programs public publications quality
    reports research review rural schools sciences service services social software south state
    states statistics students studies study subject support surveys systems technology theory
    time topic united university urban water western women world young
"""
_SHORTEST_HEADING_WORD = 6
_FUNCTION_WORDS = """
    the of and in to was with were for is that by are from this at be which than we has have
    been or may not these had its it you your can who their more as an
"""

ENGLISH_WORDS = frozenset(_FUNCTION_WORDS.split())
COMMON_MEDICAL_WORDS = frozenset(_WORDS.split())


def medical_words(mesh: pl.Series) -> frozenset[str]:
    """The words that count as medical in a collection.

    Args:
        mesh: a list column of MeSH descriptor names, one list per article.

    Returns:
        Lower-cased words: our own list and those words of the headings that have at least six
        letters and are not general.

    Source: MeSH, https://www.nlm.nih.gov/mesh/meshhome.html
    """
    headings = mesh.explode().drop_nulls().unique().str.to_lowercase()
    found = headings.str.extract_all(WORD).explode().drop_nulls().unique()
    found = found.filter(found.str.len_chars() >= _SHORTEST_HEADING_WORD)
    return COMMON_MEDICAL_WORDS | (frozenset(found.to_list()) - frozenset(_GENERAL.split()))


def tables(vocabulary: Iterable[str]) -> Tables:
    """The tables that `elara.text.shingles` reads.

    Args:
        vocabulary: lower-cased medical words, see `medical_words`.

    Returns:
        Kinds and lower-case forms of characters; a hash table of known words (u64: the hash, its
        last two bits replaced by what the word is known as; 0 for a free place); the medical
        endings as a tree that is read from the last letter on (i16, per node LETTERS numbers: next
        node, -1 at the end of an ending, 0 for none).
    """
    return *characters(), _known(dict.fromkeys(vocabulary, MEDICAL)), _endings()


def _known(medical: dict[str, int]) -> Array:
    from elara.text.shingles import word_hashes

    meaning = medical | {w: ENGLISH | medical.get(w, 0) for w in ENGLISH_WORDS}
    # Small, because it is looked at for every word: it is to stay in the processor's cache.
    room = 1 << (2 * len(meaning)).bit_length()
    known = np.zeros(room, dtype=np.uint64)
    words = sorted(meaning)
    hashes, lengths = word_hashes(strings(pl.Series(words, dtype=pl.String)), *characters())
    single = lengths == 1  # in Chinese a heading's word is several
    hashes = hashes[np.repeat(single, lengths)]
    for word, hashed in zip(np.array(words)[single].tolist(), hashes.tolist(), strict=True):
        slot = hashed & (room - 1)
        while known[slot]:
            slot = (slot + 1) & (room - 1)
        known[slot] = hashed & ~FLAGS | meaning[word]
    return known


def _endings() -> Array:
    nodes = [[0] * LETTERS]
    for ending in SUFFIXES.split("|"):
        node = 0
        for letter in reversed(ending[1:]):
            column = ord(letter) - ord("a")
            if nodes[node][column] == 0:
                nodes.append([0] * LETTERS)
                nodes[node][column] = len(nodes) - 1
            node = nodes[node][column]
            if node < 0:  # a shorter ending says it already
                break
        else:
            nodes[node][ord(ending[0]) - ord("a")] = -1
    return np.array(nodes, dtype=np.int16).ravel()
