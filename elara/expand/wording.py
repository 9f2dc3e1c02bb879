"""Look at the words of examples: language, personal data, disclaimers, marks, harm.

Expressions over whole columns find the candidates, so that a hundred thousand examples take
seconds; only these are read one by one.
"""

from __future__ import annotations

import polars as pl

from elara.expand.harmful import WORDS, harm

# What chat formats write around turns; a model that learns from it inside a text cannot stop.
MARKS = (
    r"<\|[^|<>\s]{1,40}\|>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|"
    r"<(?:bos|eos|pad|unk)>|^\s*###\s*(?:Human|User|System|Instruction|Input|Response|Assistant)\b|"
    r"^\s*Assistant:"
)
# A template that nobody filled in, in a question. Formulas have braces, too.
PLACEHOLDERS = (
    r"\{(?:title|heading|topic|findings|does|rest|blank|question|answer)\}|\{\{\s*[a-z_]+\s*\}\}|"
    r"\{%|%\([a-z_]+\)s"
)
_AHEAD = 2  # times as many small words as those of the stated language
_FEWEST = 6
# Frequent words that no other of these languages has.
_SMALL_WORDS = {
    "en": "the|of|and|is|are|with|that|this|from|which|have|been|was|were|or|by",
    "es": "el|los|las|una|del|y|con|pero|más|está|puede|son|sus|muy|cuando",
    "fr": "le|les|des|est|dans|une|et|pour|avec|sont|cette|vous|être|chez|aux",
    "pt": "os|uma|dos|das|não|são|mais|pelo|pela|nos|ao|em|também|está|seu",
    "sw": "ya|wa|kwa|ni|za|katika|hii|kuwa|huu|hizi|vya|au|kama|yake|watu",
}
_MONTH = r"(?:de )?[^\W\d_]{3,10}\.?"
# The forms that cannot be anything else. Stage 3 looks for names, places and much more.
_PERSONAL = {
    "e-mail address": r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}",
    "social security number": r"(?:^|[^\w/-])\d{3}-\d{2}-\d{4}(?:[^\w-]|$)",
    "record number": r"(?i)\b(?:MRN|medical record (?:number|no)|patient (?:id|number)|hospital "
    r"(?:number|no)|NHS (?:number|no)|passport (?:number|no)|national id(?:entity)?(?: number)?|"
    r"insurance number|NHC|DNI)\b[.:# ]{0,3}(?:is )?[A-Z]{0,3}-?\d[\d /.-]{3,}\d",
    "date of birth": r"(?i)\b(?:DOB|date of birth|was born on|fecha de nacimiento|"
    r"date de naissance|data de nascimento|tarehe ya kuzaliwa)\b[.:]?\s{0,2}(?:is )?"
    rf"(?:\d{{1,2}}[./-]\d{{1,2}}[./-]\d{{2,4}}|\d{{4}}-\d\d-\d\d"
    rf"|\d{{1,2}} {_MONTH} (?:de )?\d{{4}}|{_MONTH} \d{{1,2}},? \d{{4}})",
    "telephone number": r"(?i)(?:\b(?:phone|telephone|tel|mobile|cell|fax|whatsapp|téléphone|"
    r"teléfono|telefone|simu)\b[.: ]{0,3}(?:number|no\.?|is|at)?[: ]{0,2}|(?:^|[^\w+])\+)"
    r"\(?\d{1,4}\)?(?:[ .-]\(?\d{2,5}\)?){2,4}\b",
    "account number": r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}\b",
}
_HOTLINE = r"\b(?:1[ .-])?(?:800|822|833|844|855|866|877|888|0800)[ .-]"  # of nobody in particular
_MACHINE = (
    r"(?i)\bas an? (?:ai|artificial intelligence|(?:large )?language model)\b|"
    r"\bi(?:['’]m| am) (?:just |only )?an? (?:ai|artificial intelligence|(?:large )?language model|"
    r"chatbot|virtual assistant)\b|\bmy (?:training data|knowledge cut-?off)\b|"
    r"\bi (?:cannot|can['’]t|am unable to|am not able to) (?:provide|give|offer) (?:any )?"
    r"(?:medical|personal|specific) (?:medical )?advice\b|"
    r"\ben tant qu['’](?:ia|intelligence artificielle)\b|\bcomo (?:una? )?(?:ia|inteligencia "
    r"artificial|inteligência artificial|modelo de (?:lenguaje|linguagem))\b"
)
_DISCLAIMER = (
    r"(?i)[^.!?\n]*(?:\bnot (?:intended )?(?:to be )?(?:as )?a substitute for\b|"
    r"\b(?:for|is|are) (?:general |only )?(?:educational|informational|information)"
    r"(?: only| purposes)?(?: only)?\b|\bnot (?:medical|professional) advice\b|"
    r"\b(?:always |please )?(?:consult|see|ask|speak (?:to|with)|talk (?:to|with)|"
    r"seek the advice of) (?:with )?"
    r"(?:your|a|an) (?:own )?"
    r"(?:qualified |licensed )?(?:doctor|physician|health|healthcare|medical|clinician|"
    r"professional)|\bconsulte a (?:su|un) médico\b|\bconsultez (?:un|votre) médecin\b|"
    r"\bprocure (?:um|o seu) médico\b|\bmuone daktari\b)[^.!?\n]*[.!?]?"
)
_FEWEST_WORDS = 15  # that an answer has beside its disclaimers


def evident(table: pl.DataFrame, *problems: tuple[pl.Expr, str]) -> pl.DataFrame:
    """List the rows that have a problem, with the words that show it.

    Args:
        table: with a column `row`.
        problems: what is wrong, as an expression, and how to say so: `{name}` stands for the
            beginning of the value of that column. Of several problems of a row the first counts.

    Returns:
        Columns row and evidence.
    """
    found: dict[int, str] = {}
    for wrong, form in problems:
        for values in table.filter(wrong).iter_rows(named=True):
            begin = {name: " ".join(str(value)[:80].split()) for name, value in values.items()}
            found.setdefault(values["row"], form.format_map(begin))
    return pl.DataFrame(
        list(found.items()), {"row": pl.UInt32, "evidence": pl.String}, orient="row"
    )


def misread(answers: pl.DataFrame) -> pl.DataFrame:
    """Find answers in another language than they state.

    Args:
        answers: row, language and content.

    Returns:
        Columns row and evidence.
    """
    counts = [
        pl.col("content").str.count_matches(rf"(?i)\b(?:{words})\b").alias(code)
        for code, words in _SMALL_WORDS.items()
    ]
    table = answers.select("row", "language", *counts)
    stated = pl.coalesce(
        pl.when(pl.col("language") == code).then(pl.col(code)) for code in _SMALL_WORDS
    )
    table = table.with_columns(stated=stated, most=pl.max_horizontal(*_SMALL_WORDS))
    codes = [pl.when(pl.col(c) == pl.col("most")).then(pl.lit(c)) for c in _SMALL_WORDS]
    table = table.with_columns(other=pl.coalesce(codes))
    wrong = (pl.col("most") >= _FEWEST) & (pl.col("most") > _AHEAD * pl.col("stated"))
    said = "says {language}, reads {other}: {most} small words against {stated}"
    return evident(table, (wrong, said))


def personal_data(turns: pl.DataFrame) -> pl.DataFrame:
    """Find the unmistakable forms of what identifies a person. The evidence never copies them.

    Args:
        turns: row, turn and content.

    Returns:
        Columns row and evidence.
    """
    content = pl.col("content")
    some = pl.any_horizontal(content.str.contains(form) for form in _PERSONAL.values())
    kept = content.str.replace_all(_HOTLINE, "")
    problems = [
        (kept.str.contains(form), f"{kind} in turn {{turn}}") for kind, form in _PERSONAL.items()
    ]
    return evident(turns.filter(some), *problems)


def disclaiming(answers: pl.DataFrame) -> pl.DataFrame:
    """Find answers in which a machine speaks of itself, or that only send the reader elsewhere.

    Args:
        answers: row and content.

    Returns:
        Columns row and evidence.
    """
    text = pl.col("content")
    spoken = answers.with_columns(said=text.str.extract(f"({_MACHINE})"))
    candidates = answers.filter(text.str.contains(_DISCLAIMER))
    left = text.str.replace_all(_DISCLAIMER, " ").str.count_matches(r"\w+")
    found = [
        evident(spoken, (pl.col("said").is_not_null(), "a machine speaks of itself: {said}")),
        evident(candidates, (left < _FEWEST_WORDS, "only a disclaimer: {content}")),
    ]
    return pl.concat(found)


def harming(texts: pl.DataFrame) -> pl.DataFrame:
    """Find texts that tell how to hurt somebody, see `elara.expand.harmful`.

    Args:
        texts: row and content.

    Returns:
        Columns row and evidence.
    """
    flat = pl.col("content").str.replace_all(r"\s+", " ")
    likely = texts.filter(flat.str.contains_any(WORDS, ascii_case_insensitive=True))
    rows = [(row, harm(text)) for row, text in likely.select("row", "content").iter_rows()]
    found = pl.DataFrame(rows, {"row": pl.UInt32, "evidence": pl.String}, orient="row")
    return found.filter(pl.col("evidence") != "")
