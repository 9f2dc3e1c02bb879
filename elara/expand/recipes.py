"""Turn one article into examples, by named recipes whose answer is the article's text.

A recipe never writes medicine. The answer it gives is a passage of the article, so that every
sentence the model learns can be looked up; only the question around it is ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl

from elara.records import (
    PRIVATE,
    Article,
    Example,
    Message,
    Origin,
    Section,
    abstract_parts,
    frame,
    records,
)
from elara.text.sentences import count_words
from elara.text.sentences import shorten as _shorten

_CONCLUSION = re.compile(r"CONCLUSION|INTERPRETATION|SIGNIFICANCE|IMPLICATION|TAKE-HOME")
_MIN_WORDS = 12

Pair = tuple[str, str]


@dataclass(frozen=True)
class Recipe:
    """A named rule.

    Args:
        name: how examples and the report call it.
        origin: what `Example.origin` becomes.
        why: what the model can learn from it.
        pairs: yields (question, answer) pairs of an article; none where it does not apply.
    """

    name: str
    origin: Origin
    why: str
    pairs: Callable[[Article], Iterator[Pair]]


@dataclass(frozen=True)
class Expansion:
    """The result of running the recipes.

    Args:
        examples: `Example` rows, ordered by id.
        skipped: columns `article_id`, `reason`: every article that gave no example.
    """

    examples: pl.DataFrame
    skipped: pl.DataFrame


def _bare(title: str) -> str:
    return title.strip().rstrip(".").strip("[]")


def _conclusion(article: Article) -> Iterator[Pair]:
    parts = abstract_parts(article.abstract)
    ends = [text for label, text in parts if _CONCLUSION.search(label)]
    rest = " ".join(text for label, text in parts if not _CONCLUSION.search(label))
    if ends and rest:
        yield (
            f'An article titled "{_bare(article.title)}" reports: {rest}\n\nWhat does it conclude?',
            " ".join(ends),
        )


def _key_points(article: Article) -> Iterator[Pair]:
    parts = abstract_parts(article.abstract)
    unlabelled = " ".join(text for label, text in parts if not label)
    if unlabelled:
        yield f"Summarise what a clinician should know: {_bare(article.title)}.", unlabelled
        return
    labelled = [(label, text) for label, text in parts if not re.search("METHOD|DESIGN", label)]
    if len(labelled) > 1:
        text = " ".join(text for _, text in labelled)
        yield f"Summarise what a clinician should know: {_bare(article.title)}.", text


def _explain(article: Article) -> Iterator[Pair]:
    for section in article.body:
        if section.kind != "text":
            continue
        heading = section.heading.strip()
        about = f"{_bare(article.title)}: {_bare(heading)}" if heading else _bare(article.title)
        yield f"Explain in plain professional language: {about}.", section.text


def _question(article: Article) -> Iterator[Pair]:
    asked: Section | None = None
    for section in article.body:
        if section.kind == "question":
            asked = section
        elif section.kind == "answer" and asked is not None:
            lines = [line for line in (asked.heading.strip(), asked.text.strip()) if line]
            yield "\n\n".join(dict.fromkeys(lines)), section.text
            asked = None  # the best answer comes first; the others stay in the article


RECIPES: list[Recipe] = [
    Recipe("question", "qa", "answer a question as its source did", _question),
    Recipe("conclusion", "grounded", "read findings and state what follows", _conclusion),
    Recipe("key_points", "grounded", "say what matters about a topic", _key_points),
    Recipe("explain", "grounded", "explain a section of a page or article", _explain),
]


def check_licences(licences: str) -> None:
    """Raise ValueError unless this is a choice of texts."""
    if licences not in ("redistributable", "any"):
        raise ValueError(f"`licences` is {licences!r}: use `redistributable` or `any`.")


def grounded_examples(
    articles: pl.DataFrame,
    system_prompt: str,
    *,
    licences: str = "redistributable",
    max_answer_words: int = 160,
    max_question_words: int = 200,
) -> Expansion:
    """Run every recipe on every article.

    Args:
        articles: clean `Article` rows.
        system_prompt: the system turn of every example.
        licences: `redistributable` uses only text that may be passed on, and text that its
            owner marked `private`; `any` uses all, for training that stays private.
        max_answer_words: answers are cut after the last whole sentence, list or table within
            this many words.
        max_question_words: a longer question (with its context) gives no example.

    Returns:
        The examples, and every article that gave none with its reason.
    """
    check_licences(licences)
    examples: list[Example] = []
    skipped: list[dict[str, str]] = []
    for article in records(articles, Article):
        allowed = article.redistributable or article.licence == PRIVATE
        if licences == "redistributable" and not allowed:
            reason = f"licence {article.licence} does not allow redistribution"
            skipped.append({"article_id": article.id, "reason": reason})
            continue
        found = list(_examples(article, system_prompt, max_answer_words, max_question_words))
        examples += found
        if not found:
            skipped.append({"article_id": article.id, "reason": "no recipe applies"})
    table = frame(examples, Example).sort("id")
    return Expansion(table, pl.DataFrame(skipped, {"article_id": pl.String, "reason": pl.String}))


def _examples(
    article: Article, system_prompt: str, max_answer: int, max_question: int
) -> Iterator[Example]:
    for recipe in RECIPES:
        for number, (question, answer) in enumerate(recipe.pairs(article)):
            short = _shorten(answer, max_answer)
            if count_words(short) < _MIN_WORDS or count_words(question) > max_question:
                continue
            yield Example(
                id=f"{article.id}/{recipe.name}/{number}",
                messages=[
                    Message("system", system_prompt),
                    Message("user", question.strip()),
                    Message("assistant", short),
                ],
                specialty=article.topics[0] if article.topics else "General",
                origin=recipe.origin,
                recipe=recipe.name,
                article_ids=[article.id],
                licence=article.licence,
                redistributable=article.redistributable,
            )
