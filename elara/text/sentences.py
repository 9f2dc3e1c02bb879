"""Find where sentences end, so that a text can be shortened without changing what it says.

A cut in the wrong place turns "as described by Okafor et al. In children the dose was 1 mg" into
half a dose. In doubt two sentences stay together. Lists and tables are never cut. Cleaning relies
on it, too, before it removes a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# Blocks of the scripts that write no blanks between words: Thai and Lao, Burmese, Khmer, Tai,
# Balinese, Chinese and Japanese, Javanese.
UNSPACED = (
    *((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x1950, 0x19DF), (0x1A20, 0x1AAF)),
    *((0x1B00, 0x1B7F), (0x2E80, 0x2FDF), (0x3003, 0x31FF), (0x3400, 0x9FFF), (0xA980, 0xA9FF)),
    *((0xAA60, 0xAA7F), (0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x20000, 0x33FFF)),
)

# What a full stop ends without ending a sentence; those of the second list before a number only.
_ABBREVIATIONS = """
    al fig figs ca cf approx dr drs prof mr mrs ms messrs vs viz resp vol vols ref refs eq eqs
    dept univ assoc sp spp subsp ssp var spec seq ser inc ltd corp incl excl est hosp jan feb
    mar apr jun jul aug sep sept oct nov dec rev gen col lt sgt capt hon st mt tabl tabs caps
    inj susp supp suppl ed eds et bid tid qid prn ibid nr wt ht temp avg
"""
_BEFORE_NUMBER = """
    no nos p pp tab table sec sect ch chap art par para max min sol c vers v n nr pt pts about
    circa appx app ex exp step item
"""
# Words behind which a single letter is a name and no initial.
_LETTERED = """
    vitamin vitamins hepatitis influenza type types group groups grade class stage factor
    immunoglobulin protein coenzyme phase arm arms part appendix haemophilia hemophilia option
    drug level category and or plan
"""
_SHORT, _NUMBERED, _NAMING = (
    frozenset(words.split()) for words in (_ABBREVIATIONS, _BEFORE_NUMBER, _LETTERED)
)
_BLANKS = re.compile("[ \t]{2,}$")
_CLOSING = "\"'”’»)\\]」』）"
_END = re.compile(rf"[.!?…][{_CLOSING}]*(?=\s|$)|[。！？｡][{_CLOSING}]*|[။។]+")
_ITEM = re.compile(r"\s*(?:[-*•·▪◦‣–—]|\(?\d{1,3}[.)]|\(?[a-z][.)]|[A-Z]\)|\(?[ivx]{1,4}[.)])\s+\S")
_ROW = re.compile(r".*(?:\t|\|.*\||\S\s*\|\s*\S)")
_COMPLETE = re.compile(rf"[.!?…。！？｡။។:][{_CLOSING}*_]*$")
_DANGLING = re.compile(
    r"(?:[,;(\-–—]|\b(?:a|an|the|and|or|of|in|to|with|for|by|from|at|than|that|which|is|are|was|"
    r"were|be|not|no|must|should|may|can))$",
    re.IGNORECASE,
)
_UNSPACED = re.compile("[" + "".join(f"{chr(a)}-{chr(b)}" for a, b in UNSPACED) + "]")


def count_words(text: str) -> int:
    """The words of a text; in scripts without blanks each character counts as one."""
    if text.isascii():
        return len(text.split())
    alone = len(_UNSPACED.findall(text))
    return alone + len((_UNSPACED.sub(" ", text) if alone else text).split())


def sentences(line: str) -> Iterator[str]:
    """The sentences of running text, each with the blanks behind it.

    Args:
        line: text without line breaks, or with such as stand within sentences.
    """
    start = 0
    for match in _END.finditer(line):
        if _ends(line, start, match):
            rest = line[match.end() :]
            end = len(line) - len(rest.lstrip())
            yield line[start:end]
            start = end
    if start < len(line):
        yield line[start:]


def _ends(line: str, start: int, match: re.Match[str]) -> bool:
    """Whether a sentence that began at `start` ends with this sign."""
    before, after = line[start : match.start()], line[match.end() :].lstrip()
    if not after:
        return True
    if before.count("(") + before.count("[") > sum(
        line[start : match.end()].count(c) for c in ")]"
    ):
        return False
    if match[0][0] in "。！？｡။។":
        return True
    if after[0].islower() or after[0] in ",;:)]":
        return False
    if match[0][0] != ".":
        return True
    words = before.split()
    word = words[-1].lstrip("([\"'“‘«") if words else ""
    plain = word.casefold()
    if re.fullmatch(r"(?:\w{1,3}\.)+\w{1,3}", word) and not word.replace(".", "").isdigit():
        return False  # i.v., b.i.d., U.S., e.g., Ph.D.
    if len(words) <= 1 and re.fullmatch(r"\d{1,3}|[A-Za-z]|[ivxIVX]{1,4}", word):
        return False  # the number of an item
    if len(word) == 1 and word.isalpha():
        return len(words) > 1 and words[-2].casefold().strip("(,") in _NAMING
    if plain in _SHORT:
        return False
    return not (plain in _NUMBERED and after[0].isdigit())


def shorten(text: str, most: int) -> str:
    """Cut a text after the last whole sentence, list or table within so many words.

    Args:
        text: the text.
        most: words it may have, see `count_words`.

    Returns:
        The beginning of the text as it stands, "" if not even one sentence fits. A heading, a
        line that announces what follows, and a sentence that breaks off do not end it.
    """
    text = text.strip()
    kept: list[str] = []
    words = 0
    cut = False
    for part in _parts(text):
        words += count_words(part)
        if cut := words > most:
            break
        kept.append(part)
    while kept and not _can_be_last(kept[-1].strip(), cut):
        cut |= bool(kept.pop().strip())
    return "".join(kept).rstrip()


def _can_be_last(part: str, cut: bool) -> bool:
    if not part:
        return False
    if _DANGLING.search(part) and not _ITEM.match(part):
        return False
    if not cut:
        return True
    line = part.rpartition("\n")[2]
    if _is_listed(line):
        return True
    return bool(_COMPLETE.search(part)) and not part.endswith(":")


def _is_listed(line: str) -> bool:
    return bool(_ITEM.match(line) or _ROW.match(line))


def _parts(text: str) -> Iterator[str]:
    """What may only be kept as a whole, with the blanks behind it: sentences, lists, tables."""
    held = ""  # a list or table, or the sentence that announces it
    listed = False
    for line in lines(text):
        if _is_listed(line) or (listed and line[:1].isspace() and line.strip()):
            held, listed = held + line, True
            continue
        if not line.strip():
            if held:
                held += line
            else:
                yield line
            continue
        if held and listed:
            yield held
            held, listed = "", False
        *whole, last = (_BLANKS.sub(" ", sentence) for sentence in sentences(line))
        if held:  # announced, and no list came
            yield held
            held = ""
        yield from whole
        if last.rstrip().endswith(":"):
            held = last
        else:
            yield last
    if held:
        yield held


def lines(text: str) -> Iterator[str]:
    """Lines with their breaks; one that a sentence runs on from is joined with the next.

    Args:
        text: any text; the lines together are the whole of it.
    """
    held = ""
    for line in text.splitlines(keepends=True):
        runs_on = (
            held.strip()
            and line[:1].islower()
            and not _COMPLETE.search(held.rstrip())
            and not _is_listed(held)
            and not _is_listed(line)
        )
        if held and not runs_on:
            yield held
            held = ""
        held += line
    if held:
        yield held
