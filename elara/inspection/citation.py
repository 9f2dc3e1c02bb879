"""Bring citations to one form, so that two databases' ways of writing one article compare equal.

A database may abbreviate the journal, cut the page range (`221-8`), translate or annotate the
title, write initials for forenames, or hide the supplement in the volume. What is left after this
module is what does not depend on such habits. What cannot be read is null: it proves nothing.
"""

from __future__ import annotations

import re
from functools import lru_cache

import polars as pl

_TEXT = ("title", "journal", "published", "doi", "pmid", "volume", "pages")

# "[Review] [70 refs]", "[Romanian]", "[Erratum appears in …]", "<ORIGINAL> …", "LA: Chi": what
# a database says about the article, not what the authors called it.
_ANNOTATION = (
    r"(?i)<original>.*|\bLA: ?[a-z]{3}\b.*"
    r"|\[(?:erratum|retraction|comment|summary|republished|corrected)\b[^\[]* (?:in|for|from)\b.*"
    r"|\[errat[^\[\]]*$"
    r"|\[(?:[^\[\]]{0,14}review[^\[\]]*|\d+ refs?|abstract[^\[\]]{0,20}|see comments?"
    r"|[a-z]{4,12})\.?\]"
)
_GREEK_NAMES = """alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron
pi rho sigma tau upsilon phi chi psi omega"""
_GREEK = dict(zip("αβγδεζηθικλμνξοπρστυφχψω", _GREEK_NAMES.split(), strict=True))
# A notice about an article is not the article, whatever else the two share. Some databases write
# "Erratum: …" in front of its title, others "(vol 142, pg 310, 2003)" or "(Blood (2003) 142 (310))"
# behind it.
_NOTICE = (
    r"^(?:author'?s'? |publisher'?s? |in )?"
    r"(errat|corrigend|correction|addend|retraction|expression of concern|reply|response to"
    r"|comments? on|commentary on|re:)"
)
_NOTICE_TAIL = (
    r"[:.\-–—(\[] ?(errat|corrigend|correction|retraction|reply|author'?s'? reply)[a-z]*\W*$"
)
_CITED = r"(?i) ?\((?:vol \d+|[^()]+(?:\([^()]*\)[^()]*)?\((?:19|20)\d\d\)).*$"
_NOTICE_WORDS = r"(?i)^\W*(?:erratum|errata|corrigendum|correction|addendum)(?: to| for)?\s*:\s*"
# The article itself, marked by its publisher: not the notice "Retraction: …".
_RETRACTED = r"(?i)^\W*retracted(?: article)?\s*[:.]\s*| \(retracted article.*$"
_ESCAPED = {"%2f": "/", "%28": "(", "%29": ")", "%3c": "<", "%3e": ">"}
_NUMERAL = r"\d|\b(?:i{1,3}|iv|vi{0,3}|ix)\b"
_MONTH = r"(?i)\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
_LITTLE_WORDS = "the of and de la le les et und der die des for in on del y e a an d l"
_STOP = frozenset([*_LITTLE_WORDS.split(), "suppl", "supplement", "supplements"])


def citations(records: pl.DataFrame) -> pl.DataFrame:
    """The comparable form of each record's citation.

    Args:
        records: `id` and any of `title`, `authors` (list), `journal`, `published`, `doi`, `pmid`,
            `publication_types` (list), `volume`, `pages` (text).

    Returns:
        One row per record, in order: `id`, `title` (folded words), `words` (how many), `parts`
        (all numerals of the title, Roman ones too), `notice` (`errat`, `reply` … or null),
        `authors` and `first` (folded name words without initials), `year`, `journal`, `volume`,
        `page` and `last` (numbers of the page range), `electronic` (the page is an article
        number), `work` (the DOI, without the version of a Cochrane review), `pmid`.

    Source: Unicode NFKD, https://unicode.org/reports/tr15/; how Cochrane numbers its versions,
        https://www.cochranelibrary.com/cdsr/about-cdsr
    """
    given = records.select(
        "id",
        *(_column(records, name, pl.String) for name in _TEXT),
        _column(records, "authors", pl.List(pl.String)),
        _column(records, "publication_types", pl.List(pl.String)),
    ).with_columns(said=_said_title(pl.col("title")))
    given = given.with_columns(folded=_fold(_own_title(pl.col("said"))))
    names = _names(pl.col("authors").list.join(" "))
    doi = pl.col("doi").str.to_lowercase().str.replace_many(_ESCAPED)
    doi = doi.str.extract(r"(10\.\d{4,9}/\S+[^\s.,;/])")
    review = pl.col("pages").str.to_lowercase().str.extract(r"^\s*(cd\d{6})\b")
    cochrane = pl.lit("10.1002/14651858.") + review
    table = given.select(
        "id",
        title=_null_if_empty(pl.col("folded")),
        words=pl.col("folded").str.count_matches(r"\w+"),
        parts=pl.col("folded").str.extract_all(_NUMERAL).list.join(""),
        notice=_notice(pl.col("said"), pl.col("publication_types")),
        authors=_null_if_empty(names),
        first=_null_if_empty(_names(pl.col("authors").list.first())),
        year=pl.col("published").str.extract(r"^\s*([12]\d{3})").cast(pl.Int32),
        journal=_null_if_empty(pl.col("journal").str.strip_chars()),
        volume=pl.col("volume").str.extract(r"^\s*(?:vol\w*\.? ?)?(\d+)\s*(?:$|[^\d)\s]|\s[^)])"),
        work=pl.coalesce(doi.str.replace(r"(\.cd\d{6})\.pub\d+$", "$1"), cochrane),
        pmid=pl.col("pmid").str.extract(r"^\s*(\d+)\s*$"),
        pages=pl.when(~pl.col("pages").str.contains(_MONTH)).then("pages"),
    )
    return _page_numbers(table).with_columns(
        # Pages of an article without a volume that begin with 1 await their final numbers.
        page=pl.when(pl.col("volume").is_not_null() | (pl.col("page") != "1")).then("page"),
        # A volume that is the year, as electronic journals have it, tells no more than the year.
        volume=pl.when(
            pl.col("volume").cast(pl.Int32, strict=False).ne_missing(pl.col("year"))
        ).then("volume"),
    )


def folded_abstracts(records: pl.DataFrame, read: int, first: int, length: int) -> pl.Series:
    """Some folded characters of each abstract, null where there are none.

    Args:
        records: with or without `abstract`.
        read: so many characters of the abstract are folded.
        first: the first character that is taken of these.
        length: how many are taken.
    """
    abstract = _column(records, "abstract", pl.String).str.slice(0, read)
    folded = _fold(abstract).str.slice(first, length)
    return records.select("id", abstract=_null_if_empty(folded))["abstract"]


def _column(records: pl.DataFrame, name: str, dtype: type[pl.DataType] | pl.DataType) -> pl.Expr:
    if name in records.columns:
        return pl.col(name).cast(dtype, strict=False)
    return pl.lit(None, dtype=dtype).alias(name)


def _null_if_empty(text: pl.Expr) -> pl.Expr:
    return pl.when(text != "").then(text)


def _fold(text: pl.Expr) -> pl.Expr:
    """Lower case, no accents, Greek letters by name, words of letters and digits only."""
    lowered = text.str.to_lowercase().str.replace_many(_GREEK).str.replace_all("&", " and ")
    bare = lowered.str.normalize("NFKD").str.replace_all(r"[\p{M}'’]", "")
    return bare.str.replace_all(r"[^\p{L}\p{N}]+", " ").str.strip_chars()


def _said_title(title: pl.Expr) -> pl.Expr:
    """The title without markup, the brackets of a translation, and what a database added."""
    bare = title.str.replace_all(r"</?(?:inf|sub|sup|i|b|em|strong)>", "")
    bare = bare.str.replace(r"^\s*\[([^\[\]]*)\]", "$1").str.replace_all(_ANNOTATION, "")
    return bare.str.replace(_RETRACTED, "").str.strip_chars(" .[]\"'")


def _own_title(said: pl.Expr) -> pl.Expr:
    """Of a notice, the title of the article that it is about."""
    return said.str.replace(_CITED, "").str.replace(_NOTICE_WORDS, "")


def _notice(said: pl.Expr, types: pl.Expr) -> pl.Expr:
    text = said.str.to_lowercase()
    declared = types.list.join(" ").str.to_lowercase().str.extract(r"published (errat)um")
    cited = pl.when(text.str.contains(_CITED)).then(pl.lit("errat"))
    return pl.coalesce(
        declared, text.str.extract(_NOTICE), text.str.extract(_NOTICE_TAIL), cited
    ).replace(["corrigend", "correction", "addend"], "errat")


def _names(names: pl.Expr) -> pl.Expr:
    """Name words without initials: `Zuna, R E`, `Zuna RE` and `R. E. Zuna` are all `zuna`."""
    spaced = names.str.replace_all(r"[.,;]", " ")
    mixed = spaced.str.contains(r"\p{Ll}")
    without = pl.when(mixed).then(spaced.str.replace_all(r"\b\p{Lu}{2,3}\b", " ")).otherwise(spaced)
    named = _fold(without).str.replace_all(r"\b(?:\p{L}|and|jr|et al)\b", " ")
    return named.str.replace_all(r"\s+", " ").str.strip_chars()


def _page_numbers(table: pl.DataFrame) -> pl.DataFrame:
    """The first and last page as numbers; null where the first is lost, as in `Suppl-29`."""
    range_ = r"^([^-–\d]*?([a-z]*))0*(\d+)(?:[a-z]?\s*[-–—]+\s*[a-z]*0*(\d+))?"
    ends = pl.col("pages").str.to_lowercase().str.extract_groups(range_).struct
    letters, page, last = ends.field("2"), ends.field("3"), ends.field("4")
    # "221-8" means 221-228: the last page lacks the digits that it shares with the first.
    shared = page.str.len_chars().cast(pl.Int64) - last.str.len_chars().cast(pl.Int64)
    last = pl.when(shared > 0).then(page.str.head(shared) + last).otherwise(last)
    # "e103114", "CD008173" and "a1754" number the article, not a page.
    numbered = letters.is_in(["e", "cd"]) | ((letters != "") & (page.str.len_chars() >= 4))
    electronic = numbered | (page.str.len_chars() > 5)
    known = {"page": page, "last": pl.coalesce(last, page), "electronic": electronic}
    return table.with_columns(**known).drop("pages")


@lru_cache(maxsize=100_000)
def same_journal(name: str, other: str) -> bool:
    """Whether two names can stand for one journal: `Nutr Metab (Lond)`, `Nutrition & Metabolism`.

    Args:
        name: a journal's name, abbreviation or acronym, perhaps with a subtitle or translation.
        other: another one.

    Returns:
        True where, in any of their variants, each word of the shorter abbreviates a word of the
        longer, in order.
    """
    return any(_abbreviates(a, b) for a in _variants(name) for b in _variants(other))


@lru_cache(maxsize=100_000)
def _variants(name: str) -> list[list[str]]:
    """The words of a journal's whole name and of its parts: subtitle, translation, conference."""
    parts = [name, *re.split(r"[=:;/()\[\]]| - |(?<=\w{4})\. ?(?=[A-Z])", name)]
    listed = [[w for w in re.findall(r"\w+", p.lower()) if w not in _STOP] for p in parts]
    return [words for words in listed if len("".join(words)) >= 3]


def _abbreviates(a: list[str], b: list[str]) -> bool:
    short, long = sorted((a, b), key=len)
    if len(short) == 1 and len(long) > 1:
        return short[0] == "".join(word[0] for word in long)
    at = iter(long)
    return all(any(_shortens(word, full) for full in at) for word in short)


def _shortens(word: str, full: str) -> bool:
    """Whether one word has the other's first letter and its letters in order (`dtsch`)."""
    short, long = sorted((word, full), key=len)
    at = iter(long)
    return short[0] == long[0] and all(letter in at for letter in short)
