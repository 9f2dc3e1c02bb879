"""Find what may identify a person, by rules, and report where it is. The text is never copied.

Rules find forms, in English and Spanish, not people: a single name in passing, a place, or a rare
combination of facts passes unseen. What is found is a reason to look, what is not found is no
proof.

Source: the identifiers of 45 CFR 164.514(b)(2),
    https://www.ecfr.gov/current/title-45/section-164.514; check digits of cards and accounts after
    ISO/IEC 7812-1 and ISO 13616-1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from elara.text.phi_people import GIVEN_NAMES, PEOPLE, SOMEBODY, TITLE_GATE, TITLED, PhiKind
from elara.text.references import URL

_words = str.split

_MONTHS = _words(
    "january february march april may june july august september october november december "
    "enero febrero marzo abril mayo junio julio agosto septiembre setiembre octubre noviembre "
    "diciembre"
)
_SHORT_MONTHS = _words("jan feb mar apr jun jul aug sep sept oct nov dec")
_MONTH = rf"(?i:{'|'.join(_MONTHS)}|(?:{'|'.join(_SHORT_MONTHS)})\b\.?)"
_DATE = (
    r"(?:(?=\d)(?:\d{1,2}/\d{1,2}/\d{2,4}|\d{1,2}\.\d{1,2}\.\d{4}|\d{1,2}-\d{1,2}-\d{4}"
    r"|\d{4}[-/]\d{2}[-/]\d{2}"
    rf"|\d{{1,2}}(?: de)? {_MONTH}(?: de|,)? \d{{4}})|\b{_MONTH} \d{{1,2}},? \d{{4}})"
)
_BEGINNING = rf"(?i:{'|'.join(sorted({month[:3] for month in _MONTHS}))})"
_SOME_DATE = rf"\d[-/.]\d\d?[-/.]\d\d|\d (?:de )?{_BEGINNING}|{_BEGINNING}[a-z]*\.? \d"
_PHONE_LABELS = _words("phone telephone tel tlf tfno teléf teléfono telefono fax mobile móvil")
_PHONE_PLACES = _words("cell desk office home work")
_CALLS = _words(
    "call calls called calling numbers dial dialled ring text texted reach reached contact "
    "page messages message answering number whatsapp sms hotline helpline helpdesk voicemail "
    "reachable phoned dialing faxed texting pager beeper viber telegram"
)
_NUMBER = (
    r"(?:\+ ?)?(?:\(\d[\d ]{0,5}\)|\d{1,12})"
    r"(?:[ .\-/\xa0‑]{0,2}\(\d{1,4}\)|[ .\-/\xa0‑]{1,2}\d{1,8}|(?<=\))\d{1,8}){0,6}"
)
_EXTENSION = r"(?: ?(?:x|ext\.?) ?\d{1,6})?"
_SEP = r"[ .\-/\xa0‑]"
_GROUPED = r"\d{2,5}(?:[ -]\d{2,8}){1,4}(?!\d)"
_PHONE_FORMS = (
    r"(?<![\w.)-])(?:1[ .-])?\(0?\d{2,4}\) ?\d{3,4}[ -]\d{3,4}(?!\d)",
    r"(?<![\w.-])\(0\d{1,4}\) ?\d{2,8}(?:[ -]\d{2,4}){0,3}(?!\d)",
    r"(?<![\w./-])(?:1[ .-])?[2-9]\d{2}[.-]\d{3}[.-]\d{4}(?!\d)",
    # Blanks group thousands by three, so that four digits at the end are no quantity.
    r"(?<![\w./-])(?:(?:1|\d\d) )?[2-9]\d{2} \d{3} \d{4}(?! ?\d)",
    r"(?<![\w./,-])(?<!\d )[2-9]\d{2} (?!19|20)\d{4}(?! ?\d)",
    r"(?<![\w./,-])(?!20)[2-9]\d{2}[2-9]\d{6}(?! ?\d)",
    r"(?<![\w./-])[06-9]\d{2} \d{3} \d{2} \d{2}(?!\d)",
    r"(?<![\w./-])(?:1[3-9]\d(?P<c>[ -])\d{4}(?P=c)\d{4}|[6-9]\d{4} \d{5})(?! ?\d)",
    r"(?<![\w./+:-])(?:0\d(?:\.\d\d){4}|0\d(?: \d\d){4}|\d\d(?:-\d\d){3})(?!\d)",
    r"(?<![\w./+:-])0\d{2,4}\.\d{3,4}\.\d{3,4}(?!\d)",
    r"(?<![\w./+:-])(?=0(?:[ /-]?\d){9})0\d{1,4}(?: ?[ /-] ?)\d{2,8}(?:[ -]\d{2,8}){0,3}(?!\d)",
    r"(?<![\w./+:-])0(?:\d{1,2}-\d{7}|[5-9]\d{8,9})(?!\d)",
    rf"(?<![\w)+])(?:\(\+\d{{1,3}}\)|\+\d{{1,3}})(?:{_SEP}{{0,2}}\(\d{{1,4}}\))?{_SEP}{{0,2}}\d{{1,4}}"
    rf"(?P<b> / |{_SEP}?)\d{{2,8}}(?:(?P=b)\d{{2,4}}){{0,4}}(?!\d)",
    # A line of its own, as below an address.
    r"(?m:(?<=\n)\d{2,4}(?: \d{2,4}){1,4}$)",
)
_CODE_BEFORE = re.compile(
    r"(?i)(?:isbn|issn|nct|isrctn|pmc?id|doi|grants?|cas|icd|trial|registration|protocol|award|lot|"
    r"cat(?:alog(?:ue)?)?|accession|contract|\bnos?|#|\d(?=[ ,./-]))[\W_]{0,3}"
    r"(?:nos?\.?|numbers?)?\W{0,3}$"
)
_UNIT_AFTER = re.compile(
    r"[.,]\d|[\w%°]|\s?(?:[mckµμnp]?[gLlmM]|mm\s?Hg|mmol|kPa|bp|kb|Da|kDa|Hz|ppm|IU|U|days?|years?|"
    r"months?|weeks?|hours?|min|patients|people|persons|women|men|children|participants|"
    r"individuals|subjects|cells|cases|records|%|±)\b"
)
_YEARS = re.compile(r"\b(?:19|20)\d\d[ -]{1,2}(?:19|20)\d\d\b")
_SECTION_BEFORE = re.compile(
    r"(?i)(?:\bEC|\bE\.C\.|enzymes?|\bv|versions?|release|build|sections?|sec\.|§|chapters?|tables?|"
    r"fig(?:ure)?\.?|appendix|icd(?:-\d+)?|paragraphs?|clauses?|articles?|steps?|items?|\bR|SPSS|SAS|"
    r"Stata)\W{0,3}(?:nos?\.?|numbers?|codes?)?\W{0,3}$"
)
_NETWORK = re.compile(r"(?i)\bip(?:v4)?\b|address|host|server|\bping|login")


def _rises(number: str) -> bool:
    """Whether a number in brackets precedes a range, as in "120 (15) 130-150"."""
    ends = re.fullmatch(r"(?:\(\d+\) ?)?(\d{1,3})-(\d{1,3})", number)
    return ends is not None and int(ends[1]) < int(ends[2]) and len(ends[1]) >= len(ends[2])


def _is_phone(match: re.Match[str]) -> bool:
    """Seven to fifteen digits that are no code, range or quantity."""
    text, start, end = match.string, *match.span()
    number = re.sub(rf"{_EXTENSION}$", "", match[0])
    if not 7 <= sum(c.isdigit() for c in number) <= 15:
        return False
    if _UNIT_AFTER.match(text, end) or _YEARS.search(number):
        return False
    # Pages or years: "contact page 1201-1210".
    pages = re.search(r"(?<!\d)(\d{4})-(\d{4})$", number)
    if pages and 0 <= int(pages[2]) - int(pages[1]) < 100:
        return False
    if number[0].isalpha() and not re.match(r"(?i)numbers?\b|me\b|my\b|us\b", number):
        return True  # a label says what it is
    return not _rises(number) and not _CODE_BEFORE.search(text, max(0, start - 30), start)


def _is_network_address(match: re.Match[str]) -> bool:
    """Four numbers (or eight) that are no enzyme, version or section."""
    text, start = match.string, match.start()
    if _SECTION_BEFORE.search(text, max(0, start - 30), start):
        return False
    if ":" in match[0]:
        return True
    parts = [int(part) for part in match[0].split(".")]
    short = max(parts) <= 30 or (parts[0] <= 7 and parts[1] <= 30)
    return not short or _NETWORK.search(text, max(0, start - 40), start) is not None


def _luhn(match: re.Match[str]) -> bool:
    """Whether a card number has the right check digit, after ISO/IEC 7812-1, annex B."""
    values = [int(d) for d in match[0] if d.isdigit()][::-1]
    return sum(values[::2]) % 10 == -sum(sum(divmod(2 * v, 10)) for v in values[1::2]) % 10


def _iban(match: re.Match[str]) -> bool:
    """Whether a bank account number has the right check digits, after ISO 13616-1."""
    number = match[0][4:] + match[0][:4]
    return int("".join(str(int(c, 36)) for c in number)) % 97 == 1


_RECORD_LABELS = (
    *("mrn", "medical record number", "medical record no", "patient id", "hospital number", "nhc"),
    *("nass", "cipa", "dni", "nº historia", "historia clínica", "passport number"),
    *("license number is", "episodio", "insurance number"),
)
_STREETS = _words(
    "Street Road Avenue Lane Drive Boulevard Square Court Highway Terrace Rd Ave Blvd"
)
_VIAS = _words("calle c/ av avda avenida plaza paseo carretera ctra")
_PLACES = (
    *_words("localidad ciudad provincia municipio domicilio"),
    *("lugar de nacimiento", "país de nacimiento"),
)

PHI = (
    *PEOPLE,
    PhiKind("email", r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}", "@", False, "a@example.org"),
    PhiKind("url", URL, "(?i:http|www)", False, "www.example.org"),
    PhiKind(
        "phone",
        rf"(?:\b(?i:{'|'.join(_PHONE_LABELS)}|ph(?=[.:]))\b"
        rf"(?:\.?:?\s?|[^\d\n]{{1,50}}?[ (]){_NUMBER}"
        rf"|\b(?i:{'|'.join(_PHONE_PLACES)})(?::| (?:phone|number):?)\s?{_NUMBER}"
        rf"|(?<!of )\b(?i:{'|'.join(_CALLS)})\b(?! of\b)"
        rf"(?:[ ,]{{1,2}}[A-Za-z']+\.?){{0,7}}?[ :#@=\n-]{{1,3}}{_NUMBER}"
        rf"|(?<![\w.-])[TMPFCOHW]: ?{_GROUPED}"
        rf"|(?<![\d)(.-]){_NUMBER}(?= (?:is (?:my|his|her|our|their|the|a)|was my) (?:[a-z]+ )?"
        rf"(?i:phone|number|mobile|cell|new|home|work))"
        rf"|\b(?:[Mm]e|[Mm]y|us)\b[^.;\n\d]{{0,60}}?"
        rf" (?:at|on|is|from)(?:[ :]{{1,2}}){_GROUPED}"
        rf"|(?<![\d)(.-]){_NUMBER}(?=\s?[-,(]\s?(?i:office|home|mobile|cell|fax|work)\b)"
        rf"|{'|'.join(_PHONE_FORMS)}){_EXTENSION}",
        r"\d(?:[ .\-/\xa0‑()+]{0,8}\d){6}",
        False,
        "Tel: +44 20 7946 0000",
        _is_phone,
    ),
    PhiKind(
        "ssn",
        r"(?<![\w/-])(?!000|666|9\d\d)\d{3}-\d{2}-\d{4}\b",
        r"\d-\d\d-\d",
        True,
        "123-45-6789",
    ),
    PhiKind(
        "record_number",
        # Without a colon, "CIPA 2000" is a name and a year.
        rf"\b(?i:{'|'.join(_RECORD_LABELS)})(?![^\W\d_])\.?\s?"
        r"(?:[:#]\s?[A-Z]{0,3}-?\d[\d /.-]{2,}\d|(?!(?:19|20)\d\d\b)[A-Z]{0,3}-?\d[\d /.-]{3,}\d)",
        rf"(?i:{'|'.join(_RECORD_LABELS)})",
        True,
        "MRN: 0012345",
    ),
    PhiKind(
        "card",
        r"(?<![\w./-])(?:3\d|4\d|5[0-5]|6\d|2[2-7])\d{2}[ -]?\d{4}[ -]?\d{4}[ -]?\d{1,7}\b",
        r"\d{4}[ -]?\d{4}[ -]?\d",
        True,
        "4539 9889 1572 0591",
        _luhn,
    ),
    PhiKind(
        "iban",
        r"\b[A-Z]{2}\d{2}[A-Z]{0,4}\d{10,26}\b",
        r"\d{10}",
        True,
        "GB82WEST12345698765432",
        _iban,
    ),
    PhiKind(
        "ip_address",
        r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?!\.?\d)"
        r"|(?<![\w:])(?:[\da-fA-F]{1,4}:){7}[\da-fA-F]{1,4}(?![\w:])",
        r"\d\.\d{1,3}\.\d{1,3}\.\d|[\da-fA-F]:[\da-fA-F]{1,4}:[\da-fA-F]",
        False,
        "179.177.214.91",
        _is_network_address,
    ),
    PhiKind(
        "birth_date",
        rf"(?i:\b(?:DOB|date of birth|born on|birthday|fecha de nacimiento))\b[:.]?"
        rf"(?: is| it's|\. It's)?\s?{_DATE}",
        r"(?-u:\b)(?i:DOB|date of birth|born on|birthday|fecha de nacimiento)(?-u:\b)",
        True,
        "DOB: 12/04/1961",
    ),
    PhiKind(
        "dated_name",
        rf"{TITLED}\b[^.\n]{{0,60}}?\b{_DATE}",
        TITLE_GATE,
        True,
        "Mrs. Moyo was admitted on 3 May 2020",
    ),
    PhiKind("date", rf"(?<![\d/.-]){_DATE}(?![\d/-])", _SOME_DATE, False, "3 May 2020"),
    PhiKind(
        "registration_number",
        r"\b(?i:n[º°o]\s?col(?:egiado)?\.?|gmc(?: number)?|npi)\s?:?\s?\d[\d -]{3,}\d",
        r"(?i:n[º°o]\s?col|gmc|npi)",
        False,
        "NºCol: 28 28 20943",
    ),
    PhiKind(
        "age_over_89",
        rf"\b(?:9\d|1[01]\d)[- ](?i:years?|yrs?|años)\b(?![- ]old\b(?!{SOMEBODY}))"
        r"|(?i:\b(?:aged|edad:|age:)) (?:9\d|1[01]\d)\b",
        r"\d\d[- ](?i:years?|yrs?|años)|(?i:aged|edad:|age:) \d\d",
        False,
        "a 93-year-old",
    ),
    PhiKind(
        "home_address",
        r"(?i:\b(?:lives at|home address is) )(?!an? |\d[\d,.]* ?(?:m|km|ft|feet|met(?:re|er)s?)\b)"
        r"[^\n.]{0,40}\d[^\n.]{0,40}"
        r"|(?i:\bdomicilio\s?:)\s{0,2}[^\s.][^\n.]{3,60}",
        r"(?i:lives at|home address is|domicilio)",
        True,
        "Domicilio: Calle Carmen Romero, 23",
    ),
    PhiKind(
        "address",
        rf"\b\d{{1,5}} (?:[A-Z][\w.'’-]+ ){{1,3}}(?:{'|'.join(_STREETS)})\b"
        r"|\b(?i:apt|suite)\.? \d{1,4}\b|\b(?i:p\.?o\.? box) \d+"
        rf"|\b(?i:{'|'.join(_VIAS)})\.? [A-ZÀ-Þ][^\n.,]{{2,40}}, ?(?:(?:nº ?)?\d{{1,4}}|s/n)"
        rf"|\b(?i:{'|'.join(_PLACES)})\s?:\s?[A-ZÀ-Þ][^\n,.;]{{1,40}}",
        rf"\d (?:\S+ ){{1,3}}(?:{'|'.join(_STREETS)})|(?i:apt|suite|p\.?o\.? box)\.? \d"
        rf"|(?i:{'|'.join(_VIAS)})\.? [^\n.,]+,|(?i:{'|'.join(_PLACES)})\s?:",
        False,
        "12 Baker Street",
    ),
    PhiKind(
        "postcode",
        r"\b(?i:cp|zip|zip code is|postcode)\s?:? ?\d{3,5}(?:[ -]\d{2,4})?\b",
        r"(?i:cp|zip|zip code is|postcode)\s?:? ?\d",
        False,
        "CP: 28035",
    ),
)

_BY_NAME = ("patient_name", "labelled_name", "name_with_age", "treated_name", "greeted_name")


def find_in(text: str, kinds: Iterable[PhiKind] = PHI) -> list[tuple[str, int, int]]:
    """Where one text holds what may identify a person.

    A name that was recognised once is looked for in the rest of the text as well.

    Args:
        text: any text.
        kinds: the forms to look for.

    Returns:
        Kind, start and end (characters, end exclusive), by place.
    """
    found: list[tuple[str, int, int]] = []
    names: set[str] = set()
    for kind in kinds:
        for match in kind.matches(text):
            found.append((kind.kind, *match.span()))
            if kind.kind in _BY_NAME:
                names |= set(re.findall(r"[^\W\d_]{4,}", next(filter(None, match.groups()))))
    if names:
        taken = [(s, e) for name, s, e in found if name in _BY_NAME]
        # Dialogues are in lower case. What was seen with a capital is no word in lower case.
        forms = names | {name.upper() for name in names} | {n.title() for n in names if n.islower()}
        again = re.compile(rf"\b(?:{'|'.join(sorted(map(re.escape, forms)))})\b")
        found += [
            ("repeated_name", *m.span())
            for m in again.finditer(text)
            if not any(s < m.end() and m.start() < e for s, e in taken)
        ]
    return sorted(found, key=lambda place: (place[1], place[0]))


def find_each(
    texts: pa.LargeStringArray, wanted: npt.NDArray[np.uint64] | None = None
) -> Iterator[tuple[int, list[tuple[str, int, int]]]]:
    """Look through many texts; one search tells which kinds each of them may hold.

    Args:
        texts: `n` texts, none of them null.
        wanted: for each text a number whose bit `k` says whether to look for kind `k` of `PHI`.

    Yields:
        The position of each text in which something was found, and what `find_in` says about it.
    """
    bits = np.zeros(len(texts), np.uint64)
    values = pl.Series(texts, dtype=pl.String)
    given = values.str.contains_any(GIVEN_NAMES).to_numpy()
    for number, kind in enumerate(PHI):
        bit = np.uint64(1 << number)
        if wanted is None or (wanted & bit).any():
            may = values.str.contains(kind.gate).to_numpy()
            bits[may | given if kind.listed else may] |= bit
    if wanted is not None:
        bits &= wanted
    for place in np.flatnonzero(bits).tolist():
        mask = int(bits[place])
        kinds = [kind for number, kind in enumerate(PHI) if mask >> number & 1]
        if found := find_in(texts[place].as_py(), kinds):
            yield place, found


def patient_kinds() -> frozenset[str]:
    """The kinds that point to a patient."""
    return frozenset(kind.kind for kind in PHI if kind.patient)


def find_phi(texts: pl.DataFrame) -> pl.DataFrame:
    """Report where texts hold what may identify a person.

    Args:
        texts: `id`, `field` and `text`.

    Returns:
        `id`, `field`, `kind`, `start`, `end` (character positions in that text, end exclusive),
        sorted; never the text itself.

    Source: the identifiers of 45 CFR 164.514(b)(2),
        https://www.ecfr.gov/current/title-45/section-164.514
    """
    names = texts.select("id", "field").rows()
    values = pa.array(texts["text"].to_list(), pa.large_string())
    rows = [(*names[place], *each) for place, found in find_each(values) for each in found]
    types = {"id": pl.String, "field": pl.String, "kind": pl.String}
    schema = types | {"start": pl.Int64, "end": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("id", "field", "start", "kind")
