"""Build examples from articles: run the recipes, pass every draft through the gates."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import polars as pl

from elara.audit.tracing import passage, text_sha256
from elara.expand.cautions import caution
from elara.expand.drafts import RECIPES, Draft, Passage, Recipe
from elara.expand.gates import answer_refusals, not_content
from elara.expand.languages import language_of, languages_of
from elara.expand.medicine import MINIMUM, medicine
from elara.expand.questions import LANGUAGES, ask, bare
from elara.expand.specialties import specialty_of
from elara.expand.studies import study
from elara.expand.support import unsupported
from elara.records import PRIVATE, Article, Example, Message, Section, Span, frame, schema
from elara.text.sentences import count_words
from elara.text.sentences import shorten as _shorten

READ = tuple(schema(Article))  # the columns that articles have
_LISTS = [name for name, dtype in schema(Article).items() if dtype.is_nested()]
_CONTEXT_WORDS = 120  # of the question and answer that a follow-up question follows
_SIGNS = re.compile(r"\S+")
_REJECTED = dict.fromkeys(("article_id", "recipe", "part", "rule", "evidence"), pl.String)
_SKIPPED = dict.fromkeys(("article_id", "reason"), pl.String)
_NOTED = dict.fromkeys(("article_id", "recipe", "part", "what", "detail"), pl.String)


@dataclass(frozen=True)
class Expansion:
    """The result of running the recipes.

    Args:
        examples: `Example` rows, in the order of the articles and recipes.
        skipped: columns `article_id`, `reason`: every article that gave no example.
        rejected: columns article_id, recipe, part (where the answer would have come from), rule
            (the gate) and evidence (the words that decided): every draft that a gate refused.
        noted: columns article_id, recipe, part, what and detail: what was not refused, and yet is
            not as the source has it, an answer that was cut or a language that the words decided.
    """

    examples: pl.DataFrame
    skipped: pl.DataFrame
    rejected: pl.DataFrame
    noted: pl.DataFrame


def check_licences(licences: str) -> None:
    """Raise ValueError unless this is a choice of texts."""
    if licences not in ("redistributable", "any"):
        raise ValueError(f"`licences` is {licences!r}: use `redistributable` or `any`.")


def check_languages(languages: Sequence[str]) -> None:
    """Raise ValueError unless there are questions in each of these languages."""
    if not languages or (unknown := set(languages) - set(LANGUAGES)):
        wrong = f"{min(unknown)!r} is unknown" if languages else "it is empty"
        raise ValueError(f"`languages`: {wrong}. There are questions in {', '.join(LANGUAGES)}.")


def grounded_examples(
    articles: pl.DataFrame,
    system_prompt: str,
    *,
    licences: str = "redistributable",
    languages: Sequence[str] = LANGUAGES,
    max_answer_words: int = 160,
    max_question_words: int = 200,
    seed: int = 0,
) -> Expansion:
    """Run every recipe on every article.

    Args:
        articles: clean `Article` rows.
        system_prompt: the system turn of every example.
        licences: `redistributable` uses only text that may be passed on, and text that its
            owner marked `private`; `any` uses all, for training that stays private.
        languages: ISO 639-1 codes of the languages to use.
        max_answer_words: answers are cut after the last whole sentence, list or table within
            this many words.
        max_question_words: a longer question (with its context) gives no example.
        seed: chooses among the phrasings of a question.

    Returns:
        The examples, every article that gave none, and every draft that a gate refused.

    Raises:
        ValueError: `licences` or `languages` cannot be used.
    """
    check_licences(licences)
    check_languages(languages)
    maker = _Maker(system_prompt, languages, max_answer_words, max_question_words, seed)
    examples: list[Example] = []
    skipped: list[tuple[str, str]] = []
    for article in _read(articles):
        maker.in_its_language(article)
        reason = _refused(article, licences, languages)
        found = [] if reason else list(maker.examples(article))
        examples += found
        if not found:
            skipped.append((article.id, reason or "no passage answers a question"))
    return Expansion(
        frame(examples, Example),
        pl.DataFrame(skipped, _SKIPPED, orient="row"),
        pl.DataFrame(maker.rejected, _REJECTED, orient="row"),
        pl.DataFrame(maker.noted, _NOTED, orient="row"),
    )


def _read(articles: pl.DataFrame) -> Iterator[Article]:
    for row in articles.select(READ).iter_rows(named=True):
        row |= {name: row[name] or [] for name in _LISTS}
        row["body"] = [Section(**section) for section in row["body"]]
        yield Article(**row)


def _refused(article: Article, licences: str, languages: Sequence[str]) -> str:
    """Why no recipe is tried on an article, or ""."""
    allowed = article.redistributable or article.licence == PRIVATE
    if licences == "redistributable" and not allowed:
        return f"licence {article.licence} does not allow redistribution"
    if article.retracted:
        return "retracted"
    if not languages_of(article).isdisjoint(languages):
        return "" if medicine(article) >= MINIMUM else "not about medicine"
    if article.language == "und":
        return "no language is stated, and its words do not tell"
    return f"language {article.language} is not among `languages`"


# Specialty and hash of an article, decided when its first example needs them.
_Told = Callable[[], tuple[str, str]]


class _Maker:
    """Turns the drafts of articles into examples, and lists those that a gate refuses."""

    def __init__(
        self, system: str, languages: Sequence[str], max_answer: int, max_question: int, seed: int
    ) -> None:
        self.system, self.languages, self.seed = system, languages, seed
        self.max_answer, self.max_question = max_answer, max_question
        self.rejected: list[tuple[str, str, str, str, str]] = []
        self.noted: list[tuple[str, str, str, str, str]] = []

    def in_its_language(self, article: Article) -> None:
        """Give an article the language that its words tell; a row says where it stated another."""
        texts = [section.text for section in article.body if section.kind != "translation"]
        stated = article.language
        text = " ".join([article.abstract, *texts[:2]]).strip() or article.title
        article.language = language_of(text, stated)
        if article.language != stated:
            detail = f"{article.language} by its words, {stated} as stated"
            self.noted.append((article.id, "", "", "language", detail))

    def examples(self, article: Article) -> Iterator[Example]:
        told = cache(lambda: (specialty_of(article), text_sha256(article)))
        for recipe in RECIPES:
            for number, draft in enumerate(recipe.drafts(article)):
                part = draft.answer[0][0]
                try:
                    yield self._example(article, recipe, draft, f"{recipe.name}/{number}", told)
                except _RejectedError as refusal:
                    rule, evidence = refusal.args
                    self.rejected.append((article.id, recipe.name, part, rule, evidence))

    def _example(
        self, article: Article, recipe: Recipe, draft: Draft, name: str, told: _Told
    ) -> Example:
        language = draft.language or article.language
        if language not in self.languages:
            raise _RejectedError("language", f"{language} is not among `languages`")
        if words := not_content(draft.under):
            raise _RejectedError("not content", words)
        passages = self._shortened(article, draft.answer)
        answer = quoted(article, passages)
        kinds = article.publication_types
        for refusal in answer_refusals(answer, language, draft.under, kinds):
            raise _RejectedError(*refusal)
        if words := study(answer, language):
            raise _RejectedError("tells how a study was made", words)
        question = draft.question or self._asked(article, draft, language, f"{article.id}/{name}")
        if (length := count_words(question)) > self.max_question:
            raise _RejectedError("long question", f"{length} words")
        if draft.findings:
            shown = f"{draft.title or article.title} {quoted(article, draft.findings)}"
            if missing := unsupported(answer, shown, language):
                raise _RejectedError("not shown in the findings", missing)
        asked = self._context(article, draft, language)
        self._note_cut(article, recipe, draft.answer, passages)
        messages = [Message("system", self.system), *asked]
        answer = "\n\n".join(filter(None, [answer, caution(answer, language)]))
        messages += [Message("user", question.strip()), Message("assistant", answer)]
        quotes = [(len(messages) - 1, place) for place in passages]
        if asked and draft.before:
            quotes = [(2, place) for place in draft.before[1]] + quotes
        specialty, sha256 = told()
        return Example(
            id=f"{article.id}/{name}",
            messages=messages,
            specialty=specialty,
            origin=recipe.origin,
            recipe=recipe.name,
            article_ids=[article.id],
            licence=article.licence,
            redistributable=article.redistributable,
            language=language,
            spans=[Span(turn, article.id, *place) for turn, place in quotes],
            article_sha256=sha256,
        )

    def _note_cut(
        self, article: Article, recipe: Recipe, whole: list[Passage], kept: list[Passage]
    ) -> None:
        """A row where an answer had to be cut."""
        if kept[-1][2] == whole[-1][2]:
            return
        left, had = (count_words(quoted(article, passages)) for passages in (kept, whole))
        if left < had:
            detail = f"{left} of {had} words"
            self.noted.append((article.id, recipe.name, whole[0][0], "answer cut", detail))

    def _asked(self, article: Article, draft: Draft, language: str, key: str) -> str:
        return ask(
            draft.kind,
            language,
            random.Random(f"{self.seed}:{key}"),
            title=bare(draft.title or article.title),
            heading=draft.heading,
            findings=quoted(article, draft.findings),
        )

    def _context(self, article: Article, draft: Draft, language: str) -> list[Message]:
        """The question and answer before this one, where they are short and pass the gates."""
        if draft.before is None:
            return []
        question, passages = draft.before
        answer = quoted(article, passages)
        kinds = article.publication_types
        refusals = answer_refusals(answer, language, kinds=kinds)
        refused = any(rule != "short answer" for rule, _ in refusals)
        if refused or count_words(question) + count_words(answer) > _CONTEXT_WORDS:
            return []
        return [Message("user", question), Message("assistant", answer)]

    def _shortened(self, article: Article, passages: list[Passage]) -> list[Passage]:
        """As many of the passages, and of the last one's sentences, as an answer may have."""
        kept: list[Passage] = []
        left = self.max_answer
        for part, start, end in passages:
            text = passage(article, part, start, end)
            start += len(text) - len(text.lstrip())
            short = _shorten(text, left)
            if not short:
                break
            whole = len(short.split()) == len(text.split())
            kept.append((part, start, start + _length(text.lstrip(), short)))
            left -= count_words(short)
            if not whole:
                break
        if not kept:
            raise _RejectedError("no whole sentence", f"within {self.max_answer} words")
        return kept


class _RejectedError(Exception):
    """A gate refuses a draft; the arguments are its name and the words that decided."""


def _length(text: str, short: str) -> int:
    """How many characters of a text its shortened form covers: blanks may have become fewer."""
    if text.startswith(short):
        return len(short)
    signs = sum(map(len, short.split()))
    for word in _SIGNS.finditer(text):
        if signs <= len(word[0]):
            return word.start() + signs
        signs -= len(word[0])
    return len(text)


def quoted(article: Article, passages: Sequence[Passage]) -> str:
    """The text of passages, with a blank between them.

    Args:
        article: the clean article.
        passages: part, start and end of each.
    """
    return " ".join(passage(article, *place) for place in passages)
