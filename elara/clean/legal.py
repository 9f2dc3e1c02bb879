"""Recognise legal lines, citations and addresses by the words they consist of.

A sentence is one of these only if every word of it belongs there: a sign of copyright or a licence,
a year, the name of a holder, and the few small words between them. One word more, a dose, a verb or
a negation, and it may be a finding, whichever mark it begins with.

Sentences are cut here with an eye to publishers, not as in `elara.text.sentences`, where "Elsevier
Ltd." and "B.V." end none and a stop without a blank behind it neither. Too many cuts do no harm:
whatever lies between two of them has to consist of legal words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_YEAR = r"(?:19|20)\d\d"
# A DOI ends before a full stop that a sentence follows without a blank.
DOI = r"(?-i:10\.\d{4,9}/(?:(?![.;,][A-Z][A-Za-z]*(?:\s|\Z))[^\s<>\"])+)"
URL = r"(?i:https?://|www\.)(?-i:(?:(?!\.[A-Z][a-z]*(?:\s|\Z))[^\s()<>])+)"
MAIL = r"(?i:[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,})"
_ADDRESS = re.compile(rf"{URL}|{MAIL}|\b{DOI}")
# Whoever registers a trial or deposits data can be looked up by it: no mere address.
_REGISTERED = re.compile(
    r"(?i:clinicaltrial|isrctn|controlled-trials|trialregist|trialsearch|ictrp|anzctr|chictr|drks|"
    r"umin\.|ctri\.|pactr|prospero|crd\.york|irct)|(?<![A-Za-z])[A-Z]{2,8}[-_]?\d{4,}"
)

_WORK = r"u\.?\s?s\.?\s?government work"
_MARK = re.compile(
    r"(?i)©|\(c\)|\bcopyright(?:ed)?\b|\ball rights (?:are )?reserved\b"
    rf"|\bpublished (?:online )?(?:{_YEAR} )?(?:by|on behalf|under)\b"
    r"|\bpsycinfo database record\b|\bthis article is protected by copyright\b"
    rf"|\bthis (?:article |work )?is an? {_WORK}\b|\bno claim to original {_WORK}s?\b"
)
_PUBLISHER = (
    "elsevier|wiley|springer|nature|bmj|sage|karger|lippincott|thieme|blackwell|mosby|liebert|"
    "wolters|taylor|press|publish|verlag|ltd|inc|llc|gmbh|the authors?"
)
# Where a legal line may begin. In the middle of a sentence only the sign itself counts.
_START = re.compile(
    r"(?:^|(?<=[\s(.!?]))(?:\(?psycinfo database record"
    rf"|\(?copyright\s*(?:©|\(c\)|\(?{_YEAR}|by\b)|\(?(?:©|\(c\))\s*(?:copyright|\(?{_YEAR})"
    r"|©\s*(?:by\s|crown|[A-Z])|all rights reserved"
    rf"|this article is protected by copyright|this (?:article )?is an? {_WORK}"
    r"|no claim to original"
    r"|this (?:article )?is an open.access article)"
    rf"|(?:^|(?<=[.!?)\]]\s)|(?<=[.!?]))published (?:online )?(?:{_YEAR} )?by "
    rf"(?=[^\n]*\b(?:{_PUBLISHER}))",
    re.IGNORECASE | re.MULTILINE,
)
_HOLDING = _words("""
    a access al all an and article as at author author(s) authors behalf by co company
    compilation copyright crown de del der des di division domain du e et exclusive for from
    gmbh group imprint in inc international is it its journal kgaa la le les licence license
    licensed licensee limited ltd member of on open or original part periodicals press public
    publication published publisher publishers publishing record reserved rights society terms
    the their to trading u.s und under university van von with work works y
""")
_LICENSING = _HOLDING | _words("""
    adapt adaptations additional altered any appropriate appropriately are as attribution be
    build built but cc changes citation cited commercial commons copy creative credit credited
    deed derivatives distribute distributed distribution domain expressly give given granted
    if indicate licensor made material may medium modifications no no-derivatives nocommercial
    noderivatives non-commercial noncommercial noncommercially not only open-access otherwise
    permission permissions permit permits permitted properly provided public purposes re-use
    redistribute remix reproduce reproduced reproduction reuse share sharealike source
    specific subject terms that this transform under unless unported unrestricted upon use
    used version view visit which without you your
""")
_LICENCE = re.compile(
    r"(?i)creative commons|\bcc[ -](?:by|0)\b|open.access article|\blicen[cs]e\b|permission"
)
_CODE = re.compile(r"(?i)cc0?|by|nc|nd|sa|igo|(?:cc-)?by(?:-(?:nc|nd|sa))*|[1-4]\.0")
_NAME = re.compile(r"[A-ZÀ-ÖØ-Þ](?:[^\W\d_]|[&+’'.-])*|&|e-[A-Z][a-z]+")
_SHOUTED = re.compile(r"[A-Z]{7,}")  # longer than an acronym: an ordinary word in capitals
_PUBLISHERS = _words("ELSEVIER SPRINGER BLACKWELL LIPPINCOTT COPYRIGHT")
# Words that begin with a capital and still are no name: headings and what a finding is told with.
_NO_NAME = _words("""
    abstract aim aims background conclusion conclusions design discussion findings
    interpretation introduction limitations methods objective objectives outcome outcomes
    patients purpose results setting significance summary treatment treatments was were is are
    has have had did does do should must can could will would may be been being no not non nor
    none never neither without cannot absent absence lack lacks negative avoid stop take give
    use reduce reduces reduced increase increases increased cause causes caused lower lowers
    lowered raise raises raised improve improves improved prevent prevents prevented kill
    kills dose doses risk if when only we this these those it they there
""")
_MOST_NAMES = 20
_AROUND = ".,;:()[]{}'\"“”‘’–—-/|*"

_TALKING = _words("""
    correspondence corresponding author address for to e-mail email mail electronic contact
    tel telephone phone fax the of and at in by via de la le des du del di van von der
    reprints requests information please write or url link available accessed retrieved from
    on see doi fl floor room suite ext department university hospital institute center centre
""")
_CITATION = re.compile(
    rf"(?:[A-Z][A-Za-z.&'’-]*[ ,]+){{1,8}}\(?(?:{_YEAR}\)?[ ;,:.]*)?\d+(?:\(\d+\))?\s?:\s?e?\d+"
    rf"(?:\s?[-–]\s?e?\d+)?[ ,;.]*\(?(?:{_YEAR})?\)?\.?"
)
_LABEL = re.compile(
    r"(?i)(?:abstract|summary|full text|go to|top of page|back to top|on this page|advertisement)"
    r"\s*[:.—–-]?|\[?no abstract available\]?\.?"
)

# The end of a sentence, with or without a blank behind the stop, or of a line.
_END = re.compile(r"[.!?][)\]\"'’”]*(?=\s|\Z|[A-ZÀ-ÖØ-Þ])|\n|\Z")
_INITIAL = re.compile(r"(?:(?<![^\W_])[A-Z]|& Co|\bSt)\Z")
_UNFINISHED = _words("the a by of and & © (c) copyright for on behalf published")
_HOLDER = re.compile(
    r"(?:[A-Z][\w&'’-]*,? |& )*(?:Ltd|Limited|Inc|LLC|GmbH|AG|SAS|Co|B\.V|Press|Publishers?)\.?"
)
_COMPANY = re.compile(r"\b(?:B\.V|N\.V|S\.A|A\.G|L\.P|L\.L\.C|K\.G)\Z")


def kind_of(passage: str) -> str:
    """Which of these a passage consists of, all of it.

    Args:
        passage: a sentence, or several.

    Returns:
        `legal`, `citation`, `address` or `label`; "" if any part of it may say something else.
    """
    if one := _kind(passage.strip()):
        return one
    kinds = [_kind(sentence) for sentence in _sentences(passage)]
    return kinds[0] if kinds and all(kinds) else ""


def _kind(sentence: str) -> str:
    if not sentence:
        return ""
    if _LABEL.fullmatch(sentence):
        return "label"
    rest = _ADDRESS.sub(" ", sentence)
    if rest != sentence and _consists(rest, _TALKING, digits=True):
        return "" if _REGISTERED.search(re.sub(DOI, " ", sentence)) else "address"
    plain = _MARK.sub(" ", rest)
    if plain != rest and _consists(plain, _HOLDING):
        return "legal"
    if _LICENCE.search(rest) and _consists(plain, _LICENSING, names=False):
        return "legal"
    if _CITATION.fullmatch(sentence) and re.search(rf"\b{_YEAR}\b", sentence):
        return "citation"
    return ""


def _consists(text: str, small: frozenset[str], names: bool = True, digits: bool = False) -> bool:
    """Whether a text holds nothing but small words, years (or other digits) and names."""
    capitals = 0
    for token in text.replace("(s)", "").replace("/", " ").split():
        word = token.strip(_AROUND)
        lower = word.lower()
        if not word or lower in small:
            continue
        if digits and re.fullmatch(r"[+(]?\d[\d()./-]*", word):
            continue
        if re.fullmatch(rf"{_YEAR}(?:[-–,/]{_YEAR})*", word):
            continue
        if not names:
            if not _CODE.fullmatch(word):
                return False
            continue
        if not _NAME.fullmatch(word) or lower in _NO_NAME:
            return False
        if _SHOUTED.search(word) and word not in _PUBLISHERS:
            return False
        capitals += 1
    return capitals <= _MOST_NAMES


def _sentences(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = _end(text, start)
        if sentence := text[start:end].lstrip():
            yield sentence
        start = end


def _end(text: str, start: int, lines: bool = True) -> int:
    """Where the sentence that starts there ends; an initial (S. Karger) ends none."""
    for found in _END.finditer(text, start):
        if found[0] == "\n":
            if lines and text[start : found.start()].strip():
                return found.start()
            continue
        head = text[max(start, found.start() - 6) : found.start()]
        if found[0][:1] == "." and _INITIAL.search(head) and not _COMPANY.search(head):
            continue
        return found.end()
    return len(text)


def legal_spans(text: str) -> list[tuple[int, int]]:
    """Where a text holds legal lines, with what belongs to them: citations, addresses.

    Args:
        text: any text.

    Returns:
        Start and end of each, blanks before it included, in order. A sentence is taken whole or
        not at all, and none of them says anything else.
    """
    spans: list[tuple[int, int]] = []
    at = 0
    while found := _START.search(text, at):
        start = end = found.start()
        while (after := _next(text, end, end == start)) > end:
            end = after
        at = found.end()
        if end > start:
            # Where a sentence follows at once, the blank before stays to keep both apart.
            if end == len(text) or text[end].isspace():
                while start and text[start - 1] in " \t":
                    start -= 1
            if text[end : end + 1] == "\n" and (start == 0 or text[start - 1] == "\n"):
                end += 1  # no empty line stays behind
            spans.append((start, end))
            at = max(end, at)
    return spans


def _next(text: str, at: int, first: bool) -> int:
    """The end of the legal sentence that starts there; the same place if there is none."""
    start = at
    if not first:
        gap = re.compile(r"[ \t]*\n?[ \t]*").match(text, at)
        start = gap.end() if gap else at
    if start >= len(text):
        return at
    line = _end(text, start)
    # A legal line may be broken over two: certainly where it ends with "the" or "by".
    last = text[start:line].split()[-1:]
    broken = bool(last) and last[0].lower() in _UNFINISHED
    for end in dict.fromkeys(
        [_end(text, start, False), line] if broken else [line, _end(text, start, False)]
    ):
        sentence = text[start:end]
        kind = "" if "\n\n" in sentence else _kind(" ".join(sentence.split()))
        goes_on = kind in ("citation", "address") or _HOLDER.fullmatch(sentence)
        if kind == "legal" or (goes_on and not first):
            return end
    return at
