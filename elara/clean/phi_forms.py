"""The forms of personal data that rules can find, in English and Spanish.

Source: the identifiers of 45 CFR 164.514(b)(2),
    https://www.ecfr.gov/current/title-45/section-164.514; check digits of cards and accounts after
    ISO/IEC 7812-1 and ISO 13616-1.
"""

from __future__ import annotations

from elara.clean.phi_kinds import PhiKind, iban, luhn


def _words(text: str) -> list[str]:
    return text.split()


# Words that follow a title or a label without being a name.
_NO_NAME = (
    r"(?!(?:The|This|These|In|It|We|And|Our|All|For|A|An|No|Not|Of|Is|Was|Who|With|Date|Sex|Dra?|"
    r"Prof)\b)"
)
_CAPITAL = r"[A-ZÀ-ÖØ-Þ][a-zà-ÿ'’]+(?:-[A-ZÀ-ÖØ-Þ]?[a-zà-ÿ]+)*"
_PARTICLE = r"(?:\s(?:de|del|la|las|los|van|von|der|den|al|bin|da|dos|y))*"
_NAME = rf"{_NO_NAME}{_CAPITAL}(?:\s[A-Z]\.)?(?:{_PARTICLE}\s{_CAPITAL})*"
_MONTHS = _words(
    "january february march april may june july august september october november december "
    "enero febrero marzo abril mayo junio julio agosto septiembre setiembre octubre noviembre "
    "diciembre"
)
_SHORT_MONTHS = _words("jan feb mar apr jun jul aug sep sept oct nov dec")
_MONTH = rf"(?i:{'|'.join(_MONTHS)}|(?:{'|'.join(_SHORT_MONTHS)})\b\.?)"
_DATE = (
    r"(?:\d{1,2}/\d{1,2}/\d{2,4}|\d{1,2}\.\d{1,2}\.\d{4}|\d{1,2}-\d{1,2}-\d{4}"
    r"|\d{4}[-/]\d{2}[-/]\d{2}"
    rf"|\d{{1,2}}(?: de)? {_MONTH}(?: de|,)? \d{{4}}|{_MONTH} \d{{1,2}},? \d{{4}})"
)
_DATE_TRIGGERS = (
    *("0/0/00", "0/00/00", "0.0.0000", "0.00.0000", "0-0-0000", "0-00-0000"),
    *("0000-00-00", "0000/00/00"),
    *(f"{form}{month}" for month in _MONTHS for form in ("0 ", "0 de ")),
    *(f"0 {month}{end}" for month in _SHORT_MONTHS for end in " .,"),
    *(f"{month}{end}0" for month in (*_MONTHS, *_SHORT_MONTHS) for end in (" ", ". ")),
)
_PHONE_LABELS = _words(
    "phone telephone tel tlf tfno teléf teléfono telefono fax mobile móvil cell desk office"
)
_PHONE_FORMS = (
    r"\(\d{2,3}\) ?\d{3}[ -]\d{3,4}\b",
    r"\b\d{3}[.-]\d{3}[.-]\d{4}\b",
    r"\+\d{1,3}[ .-]?\(?\d[\d ().-]{6,}\d",
    r"\b\d{3} \d{3} \d{2} \d{2}\b",
)
_RECORD_LABELS = (
    "mrn",
    "medical record number",
    "medical record no",
    "patient id",
    "hospital number",
    "nhc",
    "nass",
    "cipa",
    "dni",
    "nº historia",
    "historia clínica",
    "passport number",
    "license number is",
    "episodio",
    "insurance number",
)
_STREETS = _words(
    "Street Road Avenue Lane Drive Boulevard Square Court Highway Terrace Rd Ave Blvd"
)
_VIAS = _words("calle c/ avda avenida plaza paseo carretera ctra")
_NOBODY = _words(
    "patient he she it who this here case proband man woman boy girl child infant male female "
    "baby mother father brother sister son daughter husband wife client subject participant "
    "member individual one which that there they mom dad friend uncle aunt cousin partner "
    "spouse neighbor neighbour person age mean range minimum maximum what and also resident "
    "veteran"
)
_TITLES = _words("Mr Mrs Ms Miss Sr Sra Srta")
_GREETINGS = ("hi", "hello", "hey", "good morning", "good afternoon")
_NO_GREETED = _words(
    "there sir miss madam world doctor doc dragon how my so good nice thank thanks what all "
    "everyone and the mrs"
)
_BLANKS = ("", " ", "\n", "\t", "\xa0")


def _after_break(*words: str) -> tuple[str, ...]:
    return tuple(before + word for word in words for before in "\ufffe \n\t(\"'“‘[:;,-/.>*_|")


PHI = (
    PhiKind("email", r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}", ("@",), False, "a@example.org"),
    PhiKind(
        "url", r"(?i:https?://|\bwww\.)[^\s()<>\"]+", ("http", "www."), False, "www.example.org"
    ),
    PhiKind(
        "phone",
        rf"\b(?i:{'|'.join(_PHONE_LABELS)})(?:\.?:?|\.? number:?)\s?\+?\(?\d[\d ().-]{{5,}}\d"
        rf"|{'|'.join(_PHONE_FORMS)}",
        (
            *(
                f"{label}{sep}{blank}{first}"
                for label in _PHONE_LABELS
                for sep in ("", ".", ":", ".:", " number", " number:", ". number", ". number:")
                for blank in ("", " ", "\n", "\t", "\xa0")
                for first in "0(+"
            ),
            *("(00) 00", "(00)00", "(000) 0", "(000)0", "000-000-0000", "000.000.0000"),
            *("000-000.0000", "000.000-0000", "000 000 00 00"),
            *(f"+{digits}{sep}" for digits in ("0", "00", "000") for sep in "0 .-("),
        ),
        False,
        "Tel: +44 20 7946 0000",
    ),
    PhiKind(
        "ssn",
        r"(?<![\w/-])(?!000|666|9\d\d)\d{3}-\d{2}-\d{4}\b",
        ("000-00-0000",),
        True,
        "123-45-6789",
    ),
    PhiKind(
        "record_number",
        rf"\b(?i:{'|'.join(_RECORD_LABELS)})(?![^\W\d_])\.?"
        r"\s?[:#]?\s?[A-Z]{0,3}-?\d[\d /.-]{2,}\d",
        _after_break(*_RECORD_LABELS),
        True,
        "MRN: 0012345",
    ),
    PhiKind(
        "card",
        r"\b(?:3\d|4\d|5[0-5]|6\d|2[2-7])\d{2}[ -]?\d{4}[ -]?\d{4}[ -]?\d{1,7}\b",
        ("0000000000000", "0000 0000 0000 0", "0000-0000-0000-0", "00000000 0", "00000000-0"),
        True,
        "4539 9889 1572 0591",
        luhn,
    ),
    PhiKind(
        "iban",
        r"\b[A-Z]{2}\d{2}[A-Z]{0,4}\d{10,26}\b",
        ("0000000000",),
        True,
        "GB82WEST12345698765432",
        iban,
    ),
    PhiKind(
        "ip_address",
        r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?!\.?\d)",
        tuple(
            f"{a}.{b}.{c}.0" for a in "0" for b in ("0", "00", "000") for c in ("0", "00", "000")
        ),
        False,
        "179.177.214.91",
    ),
    PhiKind(
        "birth_date",
        rf"(?i:\b(?:DOB|date of birth|born on|birthday|fecha de nacimiento))\b[:.]?"
        rf"(?: is| it's|\. It's)?\s?{_DATE}",
        (*_after_break("dob", "born on"), "date of birth", "birthday", "fecha de nacimiento"),
        True,
        "DOB: 12/04/1961",
    ),
    PhiKind("date", rf"(?<![\d/.-]){_DATE}(?![\d/-])", _DATE_TRIGGERS, False, "3 May 2020"),
    PhiKind(
        "dated_name",
        rf"\b(?:{'|'.join(_TITLES)}|[Pp]atient)\b\.?\s{_NAME}\b[^.\n]{{0,60}}?\b{_DATE}",
        _after_break(*(f"{t.lower()}{e}" for t in (*_TITLES, "patient") for e in " .\n\t\xa0")),
        True,
        "Patient Ada Moyo was admitted on 3 May 2020",
    ),
    PhiKind(
        "patient_name",
        rf"\b(?:{'|'.join(_TITLES)})\b\.?\s({_NAME})|\b(?:mr|mrs|ms) \. ([a-z]{{3,}})",
        _after_break(*(f"{t.lower()}{e}" for t in _TITLES for e in " .\n\t\xa0")),
        True,
        "Mrs. Moyo",
    ),
    PhiKind(
        "labelled_name",
        rf"\b(?:(?:Patient )?[Nn]ame|Nombre|Apellidos)\s?:\s{{0,2}}({_NAME})"
        rf"|\bPatient\s?:\s{{0,2}}({_CAPITAL}\s{_CAPITAL})"
        rf"|(?i:\bmy name is|\bpatient named|\bpatient,)\s({_NAME})"
        r"|\b([A-Za-zÀ-ÿ]+ [A-Za-zÀ-ÿ]+) ?[.,:;]? (?i:n- )?(?i:date of birth|dob|mrn)"
        rf"(?=[ ,:.]{{0,3}}(?:is |number )?[a-z]?(?:\d|{_MONTH} \d))",
        (
            *(f"{x}{b}:" for x in ("name", "patient", "nombre", "apellidos") for b in _BLANKS),
            *("my name is", "patient named", "patient,", "date of birth"),
            *_after_break("dob", "mrn"),
        ),
        True,
        "Name: Ada Moyo",
    ),
    PhiKind(
        "name_with_age",
        rf"\b(?!(?i:{'|'.join(_NOBODY)})\b)([A-Za-zÀ-ÿ][a-zà-ÿ'’-]+),? is an? "
        r"(?:very )?(?:[a-z]+ )?\d{1,3}(?: |-| -)year[- ]old",
        tuple(f"0{a}year{b}old" for a in (" ", "-", " -") for b in " -"),
        True,
        "Ada Moyo is a 50-year-old",
    ),
    PhiKind(
        "greeted_name",
        rf"\b(?i:{'|'.join(_GREETINGS)})(?: there)? ?,? (?!(?i:{'|'.join(_NO_GREETED)})\b)"
        r"([A-Za-z][a-z]{2,})(?: ?[.,?!]| (?:how|good|nice|what's|i'm|so|it's|thank)\b)",
        _after_break(*(f"{greeting}{end}" for greeting in _GREETINGS for end in " ,")),
        True,
        "hi , martha .",
    ),
    PhiKind(
        "clinician_name",
        rf"\b(?:(?:Dra?|Prof)\b[.:]*|Doctora?)\s{_NAME}"
        rf"|\b(?:Médic[oa]|Remitido por)\s?:\s{{0,2}}(?:Dra?[.:]*\s?)?{_NAME}",
        (
            *_after_break(*(f"{t}{e}" for t in ("dr", "dra", "prof") for e in " .:\n\t\xa0")),
            *("doctor", "médico", "médica", "remitido por"),
        ),
        False,
        "Dr. Okafor",
    ),
    PhiKind(
        "registration_number",
        r"\b(?i:n[º°o]\s?col(?:egiado)?\.?|gmc(?: number)?|npi)\s?:?\s?\d[\d -]{3,}\d",
        (
            *(f"{n}{blank}col" for n in ("nº", "n°", "no") for blank in ("", " ")),
            *_after_break("gmc", "npi"),
        ),
        False,
        "NºCol: 28 28 20943",
    ),
    PhiKind(
        "age_over_89",
        r"\b(?:9\d|1[01]\d)[- ](?i:years?|yrs?|años)\b"
        r"|(?i:\b(?:aged|edad:|age:)) (?:9\d|1[01]\d)\b",
        (
            *(f"00{sep}{word}" for sep in " -" for word in ("year", "yr", "años")),
            *("aged 00", "edad: 00", "age: 00"),
        ),
        False,
        "a 93-year-old",
    ),
    PhiKind(
        "home_address",
        r"(?i:\b(?:lives at|home address is) )[^\n.]{0,40}\d[^\n.]{0,40}"
        r"|(?i:\bdomicilio\s?:)\s{0,2}[^\s.][^\n.]{3,60}",
        ("lives at", "home address is", "domicilio"),
        True,
        "Domicilio: Calle Carmen Romero, 23",
    ),
    PhiKind(
        "address",
        rf"\b\d{{1,5}} (?:[A-Z][\w.'’-]+ ){{1,3}}(?:{'|'.join(_STREETS)})\b"
        r"|\b(?i:apt|suite)\.? \d{1,4}\b|\b(?i:p\.?o\.? box) \d+"
        rf"|\b(?i:{'|'.join(_VIAS)})\.? [A-ZÀ-Þ][^\n.,]{{2,40}}, ?(?:nº ?)?\d{{1,4}}",
        (
            *(f" {street.lower()}" for street in _STREETS),
            *("apt 0", "apt. 0", "suite 0", "suite. 0", "box 0"),
            *(f"{via}{dot} " for via in _VIAS for dot in ("", ".")),
        ),
        False,
        "12 Baker Street",
    ),
    PhiKind(
        "postcode",
        r"\b(?i:cp|zip|zip code is|postcode)\s?:? ?\d{3,5}(?:[ -]\d{2,4})?\b",
        tuple(
            f"{x}{s}{b}0"
            for x in ("cp", "zip", "zip code is", "postcode")
            for s in ("", ":", " :", "\n", "\n:")
            for b in ("", " ", "\n")
        ),
        False,
        "CP: 28035",
    ),
)
