"""Define a kind of personal data, and list those that are names of people.

A name is found by a title, a label, an age, a greeting, or the form of a full name.

A capital letter alone makes no name: drugs, brands, eponyms, studies and places have one as well.
So each form asks for something that only a person has. How often that works is measured by
benchmarks/phi.py.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from elara.text.folding import SPACES, fold

_words = str.split


@dataclass(frozen=True)
class PhiKind:
    """One form of personal data.

    Args:
        kind: its name in phi.parquet.
        pattern: regular expression.
        gate: regular expression that polars searches quickly: the pattern is tried only on texts
            that hold a match.
        patient: whether it points to a patient; an author's address or a date alone does not.
        example: what it finds.
        valid: a further test of what was matched, e.g. its check digit or what stands beside it.
        prepare: makes the text that the pattern reads, of the same length.
        listed: whether it is tried on texts that hold a first name of the list, too.
    """

    kind: str
    pattern: str
    gate: str
    patient: bool
    example: str
    valid: Callable[[re.Match[str]], bool] | None = None
    prepare: Callable[[str], str] | None = None
    listed: bool = False

    @cached_property
    def _found(self) -> re.Pattern[str]:
        """Compiled when first used: patterns with many words take a moment."""
        return re.compile(self.pattern)

    def matches(self, text: str) -> Iterator[re.Match[str]]:
        """Where a text holds it."""
        found = self._found.finditer(self.prepare(text) if self.prepare else text)
        return (match for match in found if not self.valid or self.valid(match))


_SIGNS = map(chr, (*range(0x41, 0x180), *range(0x370, 0x500)))
_LETTERS = [c for c in _SIGNS if c.isalpha() and c not in "ªº"]
_U = "".join(c for c in _LETTERS if c.isupper())
_L = "".join(c for c in _LETTERS if c.islower())
_GAP = r"[^\S\n]{1,2}"
_FAMILY_ENDINGS = _words(  # which English words hardly ever have
    "ová ova ovic ović evic ević ski ský ská sky skaya czyk czak wicz arek cki cka enko chuk "
    "shvili oğlu oglu escu dóttir dottir sson nsen rsen lsen dsen tsen ksen inen onen opoulos akis "
    "idis iadis ström strøm qvist quist gaard mann stein swamy murthy walla moto mura naka yama "
    "kawa hashi"
)


def _first_names() -> frozenset[str]:
    """The listed first names, and each without its accents, as names are often written."""
    text = Path(__file__).with_name("first_names.txt").read_text(encoding="utf-8")
    listed = {name for line in text.splitlines() if line[:1] != "#" for name in line.split()}
    bare = unicodedata.normalize("NFD", " ".join(listed))
    return frozenset(listed.union("".join(c for c in bare if not unicodedata.combining(c)).split()))


_GIVEN = _first_names()


def _tree(words: Iterable[str]) -> str:
    """A pattern for any of the words that looks at each letter once."""
    branches: dict[str, list[str]] = {}
    for word in words:
        branches.setdefault(word[:1], []).append(word[1:])
    rests = [letter + _tree(rest) if letter else "" for letter, rest in sorted(branches.items())]
    return f"(?:{'|'.join(reversed(rests))})" if len(rests) > 1 else rests[0]


# Words that stand where a name might and name nobody, not even after a title.
_WORDS = _words(
    "The This These That Those In It We And Our All For A An No Not Of Is Was Were Are Has Had Who "
    "With Date Sex Age Dr Dra Prof Name To From On At By As If But Or Two Three Four Five Six Both "
    "Event Events Rate Rates Error Errors Report Reports Value Values Results Methods Conclusion "
    "Conclusions Mean Difference Patient Patients Ranelate Isotope Isotopes Imaging Spectroscopy "
    "Angiography Sequence Spectrum Excel Office Windows PowerPoint NºCol Avda Ctra "
    "Doctor He She His Her How What Why Hi Hello Yes OK Okay Well Thank Thanks Good Sorry"
)
# The same where no title says that a person follows.
_THINGS = _words(
    "Hospital Hospitals University College Institute Foundation Center Centre Clinic School "
    "Academy Department Medical Medicine Health Healthcare Disease Diseases Syndrome Syndromes "
    "Disorder Test Tests Score Scores Scale Index Criteria Criterion Classification Method Model "
    "Rule Equation Formula Guideline Guidelines Questionnaire Inventory Checklist Protocol "
    "Registry Study Studies Trial Trials Cohort Group Society Association Company Inc Ltd Corp "
    "Organization Organisation Nations Bank Union Press Journal Library Laboratory Laboratories "
    "Pharma Pharmaceuticals Award Prize Fund Trust Act Law Analysis Survey Committee Council "
    "County City State States Island Islands River Lake Street Road Avenue Drive Lane Park Valley "
    "Way Bay Airport Memorial Square Boulevard Heart Lung Liver Kidney Brain Cell Cells Cancer "
    "Tumor Tumour Tumors Virus Viruses Bacteria Protein Proteins Gene Genes Kinase Receptor "
    "Antigen Antibody Agar Stain Staining Medium Buffer Solution Reagent Kit Tube Catheter Forceps "
    "Clamp Needle Stent Valve Screw Nail Plate Prosthesis Fracture Nerve Artery Vein Ligament Sign "
    "Reflex Procedure Operation Technique Repair Therapy Treatment Maneuver Manoeuvre Position "
    "Tablet Tablets Capsule Capsules Injection Cream Ointment Syrup Drops Suspension Vaccine "
    "Calcium Sodium Potassium Magnesium Zinc Hydrochloride Sulfate Sulphate Acetate Citrate "
    "Phosphate Maleate Tartrate Succinate Chloride Acid Oil Extract Vitamin Unknown Withheld "
    "Redacted Anonymous Available None Please Yes Phone Address Email Doctor Physician Nurse Adult "
    "Adults Children Women Men Male Female Informed Consent Care Safety Services Service Unit Ward "
    "System Program Programme Project Network Statement Declaration Convention Principle Theorem "
    "Corporation Technologies Technology Markets Transit Systems Solutions Partners Holdings "
    "Industries Software Networks International Associates Consulting Capital Financial Media "
    "Energy Labs Trail Court Terrace Close Via Home Deaconess Comprehensive "
    "Springs Bengal Bengala Stanley Starling Morris Diagnosis Admission Discharge Chief Complaint "
    "History Allergies Medications Assessment Plan Physical Speech Occupational Interventional "
    "Infectious Internal Emergency Primary Social General Flat Type Class Group Stage Grade Phase "
    "Factor Hepatitis Influenza Candida Table Figure Appendix Box Panel Section Part Level Model "
    "Genotype Haplotype Complex January February March April May June July August September "
    "October November December Monday Tuesday Wednesday Thursday Friday Saturday Sunday North "
    "South East West New"
)
_CAPITAL = (
    rf"(?:[{_U}dl]['’](?=[{_U}]))?[{_U}]{{1,2}}[{_L}]+(?:[{_U}][{_L}]+)?(?:['’](?!s\b)[{_L}]+)?"
    rf"(?:[-‐‑][{_U}]?[{_L}]+)*"
)
_PARTICLE = (
    r"(?:de|del|della|di|da|do|dos|das|du|la|las|le|los|van|von|der|den|ter|ten|zu|al|bin|ibn|ben|"
    r"y|e)"
)


def _family(*stops: list[str]) -> tuple[str, str]:
    """A family name that is none of the words, and what may follow the first of a name."""
    stopped = {word for words in stops for word in words}
    family = rf"(?!(?:{_tree(stopped)}|[{_U}][{_L}]+ology)\b){_CAPITAL}"
    return family, rf"(?:(?:{_GAP}[{_U}]\.?){{0,2}}(?:{_GAP}{_PARTICLE}\b)*{_GAP}{family})"


_AFTER_TITLE, _MORE_AFTER_TITLE = _family(_WORDS)
_FAMILY, _MORE = _family(_WORDS, _THINGS)
_INITIALS = rf"(?:[{_U}]\.?(?:[ -]?[{_U}]\.?){{0,2}}\s|[{_U}]\.(?:[{_U}]\.)*)?(?:{_PARTICLE}\s)*"
_TITLED_NAME = rf"{_INITIALS}{_AFTER_TITLE}{_MORE_AFTER_TITLE}{{0,4}}"
_NAME = rf"{_INITIALS}{_FAMILY}{_MORE}{{0,4}}"
_START = r"(?<![\w.@/-])"
# What `mark_given` puts for the blank after a listed first name: a blank too, but one that no text
# uses. A pattern that held thousands of names would take a quarter of a second to compile.
_LISTED = "\x1f"
_END = rf"(?![{_U}{_L}])(?!{_GAP}(?:{_tree(set(_THINGS))})\b)"
_FULL = rf"{_START}[{_U}]\w*(?:-{_CAPITAL})?(?={_LISTED}){_MORE}{{1,3}}{_END}"
_WITH_CAPITAL = re.compile(rf"{_START}([{_U}][{_L}]+(?:[{_U}][{_L}]+)?)(?:-{_CAPITAL})?[^\S\n]")


@lru_cache(maxsize=8)
def mark_given(text: str) -> str:
    """The text with a sign for the blank after each first name of the list.

    Args:
        text: any text.
    """
    return _WITH_CAPITAL.sub(lambda m: f"{m[0][:-1]}{_LISTED}" if m[1] in _GIVEN else m[0], text)


# Two words with capitals, for forms that say by other means that they are a person.
_PAIR = rf"{_FAMILY}{_MORE}{{1,2}}{_END}"
_ENDING = rf"[{_U}][{_L}]*?{_tree(_FAMILY_ENDINGS)}(?![{_L}])"
_ENDS_LIKE_A_NAME = rf"{_FAMILY}(?:{_GAP}[{_U}]\.?)?{_GAP}(?={_ENDING}){_FAMILY}{_END}"
# "Zhang H. Oral flora of …" is a citation, "Zinzi H. Okeke was …" a person.
_WITH_INITIAL = (
    rf"(?<![,;&] ){_FAMILY}{_GAP}[{_U}]\.{_GAP}{_FAMILY}"
    r"(?=['’]s\b|\s?[.,;:!?)]|\s*(?:\n|$)|\s(?:is|was|has|had|will|who|and|from|said|told|came|lives)\b)"
)
_CREDENTIAL = r"(?:M\.?D|Ph\.?D|D\.?D\.?S|R\.?N|D\.?O|F\.?A\.?C\.?[PSC]|M\.?B\.?B\.?S)"
_QUIET = _tree({word.upper() for word in (*_WORDS, *_THINGS)})
_LOUD_WORD = rf"(?!{_QUIET}\b)[{_U}]{{2,}}(?:['’-][{_U}]+)*(?![{_L}'’])"
_LOUD = rf"{_LOUD_WORD}(?:[ ,]{{1,2}}(?:[{_U}]\.? )?{_LOUD_WORD}){{1,3}}"
_MET = (
    r"follow(?:ed)?[ -]up with|sp(?:oke|eak|oken) (?:to|with)|talk(?:ed)? (?:to|with)|met with|"
    r"seen by|signed by|dictated by|reviewed by|referred by|discussed with|accompanied by|"
    r"(?:was|is|am|be|been) (?:called|named)|says|said|[Nn]ame(?: is)?|"
    r"[Nn]ame(?: on [a-z ]+)?\?(?:\s[A-Z][a-z]+:)?"
)
_DOES = r"(?:said|says|told|asked|live[sd] (?:at|in|on)|works (?:at|for)|grew up|was born)"
_LETTER_HEAD = (
    rf"(?m:^>?[ \t]*)({_FAMILY}(?:{_GAP}[{_U}]\.?)?{_MORE}{{1,2}})[^\S\n]*\n"
    rf"(?=(?:[^\n]{{0,60}}\n){{0,3}}>?[ \t]*\d{{1,5}} [^\n]{{0,60}}(?:\n|$))"
)

_NOBODY = _words(
    "patient pt case he she it who this here proband man woman boy girl child infant male female "
    "baby mother father brother sister son daughter husband wife client subject participant "
    "member individual one which that there they mom dad friend uncle aunt cousin partner "
    "spouse neighbor neighbour person age mean range minimum maximum what and also resident "
    "veteran victim donor recipient driver owner gentleman lady sibling twin nephew niece mum "
    "grandmother grandfather volunteer informant nurse doctor deceased index two three four five "
    "six seven eight nine ten second third first last other another oldest youngest median"
)
_HUMAN = _words(
    "man woman male female boy girl gentleman lady person patient individual child infant toddler "
    "teenager adolescent student teacher farmer worker nurse lawyer engineer veteran mother "
    "father widow widower grandmother grandfather housewife retiree smoker pensioner resident"
)
_BEASTS = _words("dog cat horse mare stallion gelding cow bull sheep goat pig rat mouse monkey")
# What follows "50-year-old": a human being, or nothing that would say otherwise.
SOMEBODY = (
    r"(?:(?=\s?(?:[,.;:!?)]|$|\n))|\s(?=(?i:who|with|from|here|in|presenting|and)\b)"
    r"|(?:[\s-](?!(?i:in|for|of|with|by|used|given|that|which|to|from|at|on)\b)[\w'’-]+){0,4}?[\s-]"
    rf"(?=(?i:{'|'.join(_HUMAN)})\b(?!\s(?:[A-Z][a-z]|(?i:spayed|neutered|castrated|intact)"
    rf"|(?:[a-z-]+\s){{0,2}}(?:{'|'.join(_BEASTS)})\b))))"
)
_AGED = r"\d{1,3}(?:\s|-|\s-\s?)years?[- ]old"
_CARE = (
    r"(?:was|is|has been|had been)\s(?:admitted|hospitali[sz]ed|referred|discharged|diagnosed|seen|"
    r"brought|transferred|operated|examined)|presented\s(?:with|to)|came\sto\s(?:the\s)?(?:ward|"
    r"clinic|hospital|emergency|office)|complain(?:s|ed)\sof|suffers\sfrom|underwent"
)
_GREETINGS = ("hi", "hello", "hey", "good morning", "good afternoon")
_NO_GREETED = _words(
    "there sir miss madam world doctor doc dragon how my so good nice thank thanks what all "
    "everyone and the mrs again hello hi hey guys man nurse mom mum dad folks ma maam sweetie dear "
    "buddy friend mister"
)
_TITLE = (
    # Sr is strontium unless something says that it is Spanish.
    r"(?=[MHFSm])(?:(?<![\w-])(?:Mrs?|Ms|Mx|Mme|Mlle|Herr|Frau|Señora?|Sra|Srta)\b\.?"
    r"|(?<![Nn]ear[ -])(?<![\w-])Miss\b"
    r"|(?<![\w-])Sr\.|(?<=\b[eE]l )Sr|(?<=\b[aA]l )Sr|(?<=\b[dD]el )Sr|(?<![\w-])(?:mr|mrs)\."
    r"|(?<=\b(?:with|from) )ms\.|(?<=\b(?:by|to|is|of) )ms\.)"
)
_WHO = (
    "patient|client|child|infant|mother|father|parent|guardian|spouse|husband|wife|resident|member|"
    "insured|beneficiary|applicant|customer|employee|contact(?: person)?|emergency contact|"
    "next of kin|physician|clinician|surgeon|attending|account holder|card ?holder"
)
_LABEL = (
    rf"(?i:(?:(?:{_WHO})(?:['’]?s)?(?:\s(?:full|first|last|family|given))?|full|first|last|family|"
    rf"given|middle|maiden|preferred)\sname|name\sof\s(?:the\s)?(?:{_WHO})|surname|forenames?|"
    r"apellidos?|nombre\s(?:y\sapellidos|(?:del|de\sla)\spaciente))"
)
_FILE = re.compile(
    r"(?i)\b(?:dob|date of birth|birth date|mrn|surname|apellidos|nhc|nass|fecha de nacimiento|"
    r"(?:sex|gender|sexo)\s?:|(?:age|edad)\s?:\s?\d)"
)
_FOLDED = frozenset(map(fold, _GIVEN))


def _names_somebody(match: re.Match[str]) -> bool:
    """Whether what stands after a bare "Name:" is a person: two words, or in a patient's file."""
    name = match["bare"]
    if name is None or ("," not in name and len(name.split()) > 1):
        return True
    if any(fold(re.split(r"\W", word)[0]) in _FOLDED for word in name.split()):
        return True
    return _FILE.search(match.string, max(0, match.start() - 200), match.end() + 200) is not None


_STREET_BEFORE = re.compile(
    r"(?i)(?:\bcalle|\bc/|avda\.?|avenida|plaza|paseo|passeig|carrer|\brúa|\brue|\bvia|ctra\.?|hospital|"
    r"universitari[oa]?|infanta|reina|\bfray|\bsanta?|\bsan|\bst\.?|saint|street|road|\d)\s*$"
)
_NUMBER_AFTER = re.compile(r",? ?(?:s/n|nº ?)?\d")


def _is_no_street(match: re.Match[str]) -> bool:
    """Whether a name is more than that of a street or a house: streets are named after people."""
    text, start, end = match.string, *match.span()
    if _NUMBER_AFTER.match(text, end):
        return False
    return not _STREET_BEFORE.search(text, max(0, start - 20), start)


# What tells that there may be a title.
TITLE_GATE = r"(?-u:\b)(?i:Mrs?|Ms|Mx|Miss|Mme|Mlle|Herr|Frau|Señora?|Sra?|Srta)[ .:\n\t\xa0]"
# What follows a first name in clean texts; texts with other blanks pass the gates.
GIVEN_NAMES = [f"{name}{end}" for name in sorted(_GIVEN) for end in " -"]

PEOPLE = (
    PhiKind(
        "patient_name",
        rf"(?=[MHFSmhs])(?:{_TITLE}\s({_TITLED_NAME})|\b(?:mr|mrs|ms) \. ([a-z]{{3,}})"
        r"|\b(?i:hi|hello|hey|seeing) miss ([a-z]{3,}))",
        TITLE_GATE,
        True,
        "Mrs. Moyo",
    ),
    PhiKind(
        "labelled_name",
        rf"\b{_LABEL}\s?:\s{{0,2}}({_NAME}|{_LOUD})"
        rf"|(?<![\w'’-])(?<![\w'’)] )(?:[Nn]ame|NAME|Nombre)\s?:\s{{0,2}}"
        rf"(?P<bare>{_NAME}(?:,{_GAP}{_FAMILY})?|{_LOUD})"
        rf"|\b(?:Patient|PATIENT)\s?:\s{{0,2}}({_FULL}|{_PAIR}(?=\s*(?:[\n,;(]|$))|{_LOUD})"
        rf"|(?i:\bmy name is)\s({_NAME})|(?i:\bpatient),\s({_FULL})(?=,)"
        rf"|(?i:\b(?:patient|man|woman|boy|girl|child|son|daughter|wife|husband|brother|sister|"
        rf"mother|father)\s(?:named|called))\s({_NAME})"
        rf"|\b([A-Za-zÀ-ÿ]+[ {_LISTED}][A-Za-zÀ-ÿ]+) ?[.,:;]?\s(?i:n- )?(?i:date of birth|dob|mrn)"
        r"(?=[ ,:.]{0,3}(?:is |number )?[a-z]?(?:\d|[A-Z][a-z]+ \d))",
        r"(?i:name|patient|paciente|apellidos?|nombre|forenames?)\s?:|(?i:name of |my name is)"
        r"|(?i: named | called |patient,)"
        r"|(?i:date of birth|dob|mrn)[ ,:.]{0,3}(?:is |number )?[a-z]?(?:\d|[A-Z][a-z]+ \d)",
        True,
        "Name: Ada Moyo",
        _names_somebody,
        mark_given,
    ),
    PhiKind(
        "name_with_age",
        rf"\b(?!(?i:{'|'.join(_NOBODY)})\b)({_FAMILY}{_MORE}{{0,3}}|[a-z]{{3,}}),?\s"
        rf"(?i:is|was)\s(?:an?\s)?(?:very\s)?(?:[a-z]+\s){{0,2}}{_AGED}{SOMEBODY}"
        rf"|({_FULL}),?\s(?:an?\s)?(?:aged?\s)?(?:[a-z]+\s)?{_AGED}"
        rf"|(?i:{_AGED}\s(?:{'|'.join(_HUMAN)}),?\s(?:named\s|called\s)?)({_FULL})",
        r"\d(?: | ?- ?)(?i:years?[- ]old)",
        True,
        "Ada Moyo is a 50-year-old",
        prepare=mark_given,
    ),
    PhiKind(
        "treated_name",
        rf"(?=[{_U}])({_FULL})(?:,\s[^,.\n]{{2,40}},)?\s(?:{_CARE})",
        f"[{SPACES}]",
        True,
        "Ada Moyo was admitted",
        prepare=mark_given,
        listed=True,
    ),
    PhiKind(
        "greeted_name",
        rf"\b(?i:{'|'.join(_GREETINGS)})(?: there)? ?,? (?!(?i:{'|'.join(_NO_GREETED)})\b)"
        r"([A-Za-z][a-z]{2,})(?: ?[.,?!]| (?:how|good|nice|what's|i'm|so|it's|thank)\b)",
        rf"(?i:{'|'.join(_GREETINGS)})[ ,]",
        True,
        "hi , martha .",
    ),
    PhiKind(
        "clinician_name",
        rf"\b(?:(?:Dra?|Prof)\b[.:]*|dr\.|Doctora?|Professor)\s(?:Dr\.?\s(?:med\.?\s)?)?{_TITLED_NAME}"
        rf"|\b(?:M[ée]dic[oa]|Remitido por|Responsable [Cc]línico)\s?:\s{{0,2}}"
        rf"(?:Dra?[.:]*\s?)?{_TITLED_NAME}",
        r"(?-u:\b)(?i:dra?|prof)[ .:\n\t\xa0]"
        r"|(?i:doctor|professor|remitido por|responsable clínico|m[eé]dic[oa] ?:)",
        False,
        "Dr. Okafor",
        _is_no_street,
    ),
    PhiKind(
        "full_name",
        rf"(?=[{_U}dl])(?:{_FULL}|{_START}(?:{_ENDS_LIKE_A_NAME}|{_WITH_INITIAL}"
        rf"|{_PAIR}(?=,?\s{_CREDENTIAL}\b|\s{_DOES}\b)))"
        rf"|\b(?:{_MET})\s(?:{_PAIR})|{_LETTER_HEAD}",
        rf"{_tree(_FAMILY_ENDINGS)}(?:[ .,;:!?)'’\n-]|$)| [A-Za-z]\. | {_CREDENTIAL}"
        rf"|(?:{_MET})\s|{_DOES}|(?m:^>?[ \t]*\d{{1,5}} )|[{SPACES}]",
        False,
        "Ada Moyo",
        _is_no_street,
        mark_given,
        listed=True,
    ),
)

# For a form that joins a name with a date.
TITLED = rf"{_TITLE}\s{_TITLED_NAME}"
