"""List the words that count as medical or English, and those that can stand for each other.

The lists are written for this project; no third-party word list is part of them. That of medical
words need not be complete: the score asks how densely a text speaks medicine, not which terms it
knows.

Two texts of one template differ in a drug or a dose and in nothing else. So a word that replaces
another makes another text unless both are listed here: as one meaning (`starts`, `begins`), or as
ordinary words that no patient's treatment hangs on. A word that is missing leads to a review, never
to a removal.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

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

# Between two semicolons stands one meaning: a word may be replaced by another of it only. The words
# of the first table may be neither added to a sentence nor left out of one.
_FIXED = """
no not non nor none never neither without cannot nt absent absence lack lacks lacking negative;
ne pas jamais sans aucun aucune nunca sin ningún ninguna não nem sem nunca nicht kein keine nie
ohne; deny denies denied;
fail fails failed failing failure; only solely exclusively; unless except; if; until till;
avoid avoids avoided avoiding; contraindicated contraindication contraindications;
contraindicates; stop stops stopped stopping cease discontinue discontinued discontinues
discontinuation; withhold withheld withdraw withdrawn withdrawal;
more; less fewer; most; least;
increase increases increased increasing rise rises rose raise raises raised raising elevated
elevates gain; decrease decreases decreased decreasing reduce reduces reduced reducing reduction
fall falls fell drop decline declined declines lower lowers lowered; improve improves improved
improving improvement better; worsen worsens worsened worsening deteriorate deteriorated worse;
high higher; low lower; great greater larger bigger; small smaller; above over exceeding
exceeds; below under;
positive; left; right; upper; anterior; posterior; bilateral; unilateral;
safe safely; unsafe harmful harm dangerous; effective effectively effectiveness; ineffective;
superior superiority; inferior inferiority; significant significantly; insignificant; normal;
abnormal; benign; malignant malignancy; severe severely severity; mild mildly; moderate
moderately; acute acutely; chronic chronically;
must shall; should ought; recommended recommends recommend recommendation advised advise
advises; allowed permitted permit permits allow allows;
twice two; thrice three; half; double; daily; weekly; monthly; hourly;
child children childhood paediatric pediatric; adult adults adulthood; infant infants infancy
baby babies; neonate neonates neonatal newborn newborns; adolescent adolescents teenager
teenagers; boy boys; girl girls; man men male males; woman women female females; pregnant
pregnancy; breastfeeding; elderly; older; younger; mother mothers maternal; father fathers;
placebo; oral orally; intravenous intravenously iv; aspirin; insulin; antibiotic antibiotics;
vaccine vaccines; vitamin;
hypertension; hypotension; always; sometimes occasionally;
seldom rarely infrequently uncommonly;
before prior; after following; or; some several; many; few;
first initial initially; second; third; last final finally; primary; secondary;
morning; evening; night; animal animals
"""
_FREE = """
once; often frequently commonly usually generally typically normally mostly;
can may might could; will would; need needs needed require requires required; during throughout;
with; and; but however; all every each any; both; either; early; late later;
day days; week weeks; month months; year years; hour hours; minute minutes;
start starts started starting begin begins began begun beginning initiate initiated; continue
continues continued; end ends ended; sudden suddenly abrupt abruptly; rapid rapidly quick
quickly fast; slow slowly; urgent urgently prompt promptly immediately;
treatment treatments therapy therapies; drug drugs medicine medicines medication medications;
doctor doctors physician physicians clinician clinicians; nurse nurses; disease diseases illness
illnesses disorder disorders;
study studies; trial trials; patient patients people persons individuals; participant
participants subject subjects; human humans;
cause causes caused; prevent prevents prevented; include includes included including; exclude
excludes excluded excluding; similar similarly same equal equally comparable alike; different
differ differs differed difference differences; give gives given giving prescribe prescribes
prescribed administer administers administered; take takes taken took taking;
major; minor; easy easily simple simply; difficult complex; open opened; close closed; accept
accepts accepted; near; far; up; out outside;
in on at of inside within; for; to into; from; by; against
"""

# Ordinary words, without -s, -ed, -ing and -ly.
_COMMON = """
a about access accompany accomplish accord account achieve act action actual add addition
additional address adequate advice affect again aid aim alert along already also although among an
analyse analyze announce another answer apparent appear apply approach appropriate approximate are
area arise arrange article as ask aspect assess assist associate assume attempt attend author
aware background bag based basic basis be became because become been behave being believe belong
beside besides between body book bottle box bracelet brief bring broad build call came card
careful carry case category certain chair chance change chapter character check choice choose
circumstance claim clarify clear collect column combine come comment common community company
compare complete comprehensive concept concern conclude conclusion condition conduct confirm
consequent consider consist constant construct contact contain content context contrast contribute
convenient cost couple course cover create criterion current data date deal decide decision deem
define demonstrate department depend describe description design despite detail detect determine
develop development direct discover discuss discussion distinct distribute divide do document does
done draw due editor education effort element else embark emerge emergency emphasise emphasize
employ enable encourage enough ensure enter entire environment especial essential establish
estimate evaluate even event evidence evident evolve exact examine example excellent exist expect
experience expert explain explore express extend extensive extent fact factor family feature field
figure file find finding fit focus form former forward found frame framework frequent friend full
function further furthermore gather general get glass go goal good group grow guide guideline had
hand handle happen has have he heading hear help hence her here herein him his hold home house
household how ideal identify illustrate image imply important indeed indicate individual inform
information instance instead institution intend interest interpret introduce introduction
investigate investigation involve is issue it item its itself join journal just keep key kind kit
know knowledge known label large latter lead leaflet learn leave letter level life light like line
link list literature little local look main maintain make manage management manner mark material
matter mean means measure meet member mention message method moreover motivate move much name
namely nature necessary network new next notable note novel now number object objective obtain
obvious occur offer office opinion order organise organize other our outline overall own page
paper paragraph part particular pass pattern perform perhaps period person phase phrase piece
place plan play point poor population possible practice prefer preferable preferably prepare
present previous principal probable problem procedure proceed process produce professional program
programme project proper property propose prove provide public publish purpose put question quite
range rather reach read ready real reason receive recent recognise recognize record refer reflect
regard region register regular relate relation relative relevant rely remain remark remember
remind report represent request research resource respect respective responsible result reveal
review role room route routine row run said sample say scale school scope search section see seem
seen select send sense separate sequence serve service set setting shape share she sheet short
show shown side since single site situation size so social society solution source space speak
special specialist specific stand standard state statement step still store strategy strong
structure submit subsequent substantial such suggest suitable summarise summarize summary supply
support sure survey system table tell term text than that the their them then there thereby
therefore these they thing think this those though thought through thus time title together tool
top topic total toward trace training try turn type typical undergo understand undertake unique
unit update upon us use useful user usual valuable value various vary version very via view visit
wait want was water way we well went were what when where whereas whether which while who whole
whom whose why wide word work world write written yield you your
"""
_ORDINARY = frozenset(_COMMON.split())
# The words that may be neither added to a sentence nor left out of one.
FIXED = frozenset(_FIXED.replace(";", " ").split())
_ENDINGS = (("ies", "y"), ("es", ""), ("s", ""), ("ed", ""), ("ed", "e"), ("ing", ""), ("ing", "e"),
            ("ly", ""), ("ly", "le"), ("ally", ""))  # fmt: skip

# British and American spelling, and the like: what is rewritten in both words before they are
# compared.
_SPELLINGS = (("ae", "e"), ("oe", "e"), ("our", "or"), ("isa", "iza"), ("ise", "ize"),
              ("isi", "izi"), ("yse", "yze"), ("ysi", "yzi"), ("ll", "l"), ("tre", "ter"),
              ("ogue", "og"), ("sulph", "sulf"))  # fmt: skip


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


@cache
def meanings() -> dict[str, frozenset[int]]:
    """The meanings of a word, by their numbers."""
    found: dict[str, frozenset[int]] = {}
    for number, group in enumerate(f"{_FIXED};{_FREE}".split(";")):
        for word in group.split():
            found[word] = found.get(word, frozenset()) | {number}
    return found


def is_ordinary(word: str) -> bool:
    """Whether a lower-case word is one on which no treatment hangs, in any of its forms."""
    return word in _ORDINARY or any(
        word.endswith(end) and word[: -len(end)] + instead in _ORDINARY for end, instead in _ENDINGS
    )


def is_familiar(word: str) -> bool:
    """Whether a word that is added is one that names no drug, organism or the like."""
    return is_ordinary(word) or word in meanings() or word in COMMON_MEDICAL_WORDS


def spelt_alike(word: str) -> str:
    """A lower-case word in the one spelling in which two of them are compared."""
    for one, other in _SPELLINGS:
        word = word.replace(one, other)
    return word
