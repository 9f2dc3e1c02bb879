"""Which words count as medical: Elara's own list plus the subject headings of the collection.

The list is written for this project; no third-party word list is part of it. It need not be
complete: the score asks how densely a text speaks medicine, not which terms it knows.
"""

from __future__ import annotations

from functools import cache

import polars as pl

from elara.text.words import WORD

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


@cache
def common_medical_words() -> frozenset[str]:
    """Elara's own list, in lower case."""
    return frozenset(_WORDS.split())


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
    return common_medical_words() | (frozenset(found.to_list()) - frozenset(_GENERAL.split()))
