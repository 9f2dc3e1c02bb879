"""Find the passages of an article that answer a question, by named recipes.

A recipe never writes medicine. The answer it gives is a passage of the article, so that every
sentence the model learns can be looked up; only the question around it is ours, or the source's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from elara.expand.questions import bare, is_topic
from elara.records import Article, Origin, Section

_CONCLUSION = re.compile(
    r"CONCLUSION|INTERPRETATION|SIGNIFICANCE|IMPLICATION|TAKE-HOME|CONCLUS[IÃ]|CONCLUSIÓN|CONCLUSÃO"
)
# Parts of an abstract that say how or why a study was made.
_STUDY = re.compile(
    r"METHOD|DESIGN|MÉTODO|MÉTHODE|SETTING|PARTICIPANT|DATA SOURCE|REGISTRATION|OBJECTI[VF]|AIM|"
    r"PURPOSE|OBJETIVO|MBINU"
)
# Parts that say what a study found; "recent findings" are those of others.
_FINDINGS = re.compile(r"RESULT|OBSERVATION|(?<!RECENT )FINDING|RESULTADO|RÉSULTAT|MATOKEO")
_LABELLED = re.compile(r"^([A-Z][A-Z0-9 &/,'()-]*): (?=\S)")
_ABOUT_ALL = re.compile(
    r"^(?:introduction|background|overview|summary|key (?:points|facts)|plain language summary|"
    r"abstract|introducción|resumen|introduction générale|résumé|introdução|resumo|utangulizi|"
    r"muhtasari)$",
    re.IGNORECASE,
)

# A passage: part of the article, first character, and the one behind the last.
Passage = tuple[str, int, int]


@dataclass(frozen=True)
class Draft:
    """A question and the passages that answer it.

    Args:
        answer: passages, in order.
        kind: how `elara.expand.questions.ask` words the question; "" where the source asks it.
        question: as the source asks it.
        heading: what the answer is about, within the article.
        under: the heading as the source has it, with those above it.
        findings: passages that the question quotes.
        before: question and answer passages that the source has before this one, or None.
    """

    answer: list[Passage]
    kind: str = ""
    question: str = ""
    heading: str = ""
    under: str = ""
    findings: list[Passage] = field(default_factory=list)
    before: tuple[str, list[Passage]] | None = None


@dataclass(frozen=True)
class Recipe:
    """A named rule.

    Args:
        name: how examples and the report call it.
        origin: what `Example.origin` becomes.
        why: what the model can learn from it.
        drafts: yields what it finds in an article; nothing where it does not apply.
    """

    name: str
    origin: Origin
    why: str
    drafts: Callable[[Article], Iterator[Draft]]


def _lines(article: Article) -> Iterator[tuple[str, Passage]]:
    """The labelled lines of an abstract: label (or "") and passage."""
    start = 0
    for line in article.abstract.splitlines(keepends=True):
        label = _LABELLED.match(line)
        first = start + (label.end() if label else len(line) - len(line.lstrip()))
        last = start + len(line.rstrip())
        if last > first:
            yield label[1] if label else "", ("abstract", first, last)
        start += len(line)


def _conclusion(article: Article) -> Iterator[Draft]:
    lines = list(_lines(article))
    ends = [passage for label, passage in lines if _CONCLUSION.search(label)]
    rest = [passage for label, passage in lines if not _CONCLUSION.search(label)]
    if ends and rest:
        yield Draft(ends, "conclusion", findings=rest)


def _key_points(article: Article) -> Iterator[Draft]:
    lines = list(_lines(article))
    plain = [passage for label, passage in lines if not label]
    told = [passage for label, passage in lines if label and not _STUDY.search(label)]
    answer = plain or (told if len(told) > 1 else [])
    reports = not plain and any(_FINDINGS.search(label) for label, _ in lines)
    if answer:
        kind = "topic" if is_topic(bare(article.title)) else "article"
        yield Draft(answer, kind, under="Results" if reports else "")


def _explain(article: Article) -> Iterator[Draft]:
    title = bare(article.title)
    topic = is_topic(title)
    for number, section in enumerate(article.body):
        if section.kind != "text":
            continue
        heading = bare(section.heading)
        whole = not heading or heading.casefold() == title.casefold()
        whole = whole or bool(_ABOUT_ALL.match(heading))
        kind = "topic" if topic else "article"
        if not whole:
            kind = "section" if topic else "article_section"
        place = (f"body/{number}", 0, len(section.text))
        yield Draft([place], kind, heading=heading, under=section.heading)


def _question(article: Article) -> Iterator[Draft]:
    asked: Section | None = None
    before: tuple[str, list[Passage]] | None = None
    for number, section in enumerate(article.body):
        if section.kind == "question":
            asked = section
        elif section.kind == "answer" and asked is not None:
            lines = [line for line in (_natural(asked.heading), _natural(asked.text)) if line]
            question = "\n\n".join(dict.fromkeys(lines))
            answer: list[Passage] = [(f"body/{number}", 0, len(section.text))]
            yield Draft(answer, question=question, before=before)
            before = question, answer
            asked = None  # the best answer comes first; the others stay in the article


def _natural(question: str) -> str:
    """A question without what a form left in it: "what is (are) Gout ?" becomes "What is Gout?"."""
    text = re.sub(r"\b(is|do|does) \((?:are|does|do)\)", r"\1", question.strip())
    text = re.sub(r"\?[ ?]+$", "?", re.sub(r" +([?.!,;])", r"\1", text))
    return text[:1].upper() + text[1:]


RECIPES: list[Recipe] = [
    Recipe("question", "qa", "answer a question as its source did", _question),
    Recipe("conclusion", "grounded", "read findings and state what follows", _conclusion),
    Recipe("key_points", "grounded", "say what matters about a topic", _key_points),
    Recipe("explain", "grounded", "explain a section of a page or article", _explain),
]
