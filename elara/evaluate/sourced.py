"""Give both models sources with their questions, and say whether that helps.

Each arm with sources is asked as the service asks: the passages that a search finds stand in the
question's turn. They must not hold the answer that is scored, so every article of a held-out topic
is kept out, and so is any other passage that repeats a part of the answer word for word.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from elara.evaluate.answering import Answered, answer_scenarios
from elara.evaluate.arms import judge_arms
from elara.evaluate.memory import SIDES
from elara.evaluate.scores import PRIMARY, loss_scores, topics_of
from elara.model import LanguageModel
from elara.model.embedding import Encoder
from elara.model.losses import answer_losses
from elara.retrieval.citing import CitationFilter, sources_prompt, support
from elara.retrieval.passages import Passage
from elara.retrieval.search import Index

WITH_SOURCES = {side: f"{side} with sources" for side in SIDES}
# Base against adapter is the verdict, which stands before these are looked at and shares no chance
# of error with them. Each of the three answers a question of its own, and together they relate all
# four arms; more pairs would only widen every interval.
PAIRS = (
    ("base", "base with sources"),  # do sources help the model as it was published?
    ("adapter", "adapter with sources"),  # do they help the one that is served?
    ("base with sources", "adapter with sources"),  # does tuning help where both have sources?
)
NO_PASSAGE, REPEATS, TOO_LONG = "no passage was found", "it repeats the answer", "it is too long"

_RUN = 8  # words in a row that make a passage a repeat of the answer
_SPARE = 5  # passages to fall back on where some repeat the answer
_ARTICLE = pl.col("article_ids").list.first()
_READ = dict.fromkeys(("arm", "item", "article_id", "pmid", "passage"), pl.String)
_LEFT_OUT = dict.fromkeys(("item", "passage", "reason"), pl.String)
_ARMS: Any = dict.fromkeys(("against", "arm"), pl.String)
_ARMS |= dict.fromkeys(("items", "clusters"), pl.Int64)
_ARMS |= dict.fromkeys(("loss_against", "loss", "difference", "low", "high", "level"), pl.Float64)
_ARMS |= {"word": pl.String}
_SUPPORT: Any = dict.fromkeys(("scenario", "side"), pl.String)
_SUPPORT |= dict.fromkeys(("sentences", "with_source", "cited", "removed"), pl.Int64)
_SUPPORT |= {"support": pl.Float64}


@dataclass(frozen=True)
class Sources:
    """The passages that go with each question.

    Args:
        given: item to its passages, the best first.
        left_out: columns item, passage ("" for all of the item) and reason: passages that were
            not given although they were found, and items for which none was.
    """

    given: dict[str, list[Passage]]
    left_out: pl.DataFrame

    @property
    def read(self) -> pl.DataFrame:
        """A row for each passage that an arm was given: arm, item, article_id, pmid, passage."""
        rows = [
            (arm, item, one.article_id, one.pmid, one.id)
            for arm in WITH_SOURCES.values()
            for item, passages in self.given.items()
            for one in passages
        ]
        return pl.DataFrame(rows, _READ, orient="row")


def of_held_out_topics(examples: pl.DataFrame, links: pl.DataFrame) -> set[str]:
    """The articles that may be no source, as they may hold an answer that is scored.

    Args:
        examples: all held-out `Example` rows.
        links: `links.parquet` of stage 4, see `topics_of`.

    Returns:
        The articles of the examples, all others of their topics, and those that are linked to
        one of the examples' articles although the topic would have become too large.
    """
    topics, built = topics_of(links), set(examples["article_ids"].explode())
    told = {topics.get(article, article) for article in built}
    linked = {b for pair in links.select("article_a", "article_b").rows() if built & {*pair}
              for b in pair}  # fmt: skip
    return built | linked | {article for article, topic in topics.items() if topic in told}


def questions_of(examples: pl.DataFrame, items: int) -> tuple[dict[str, str], dict[str, str]]:
    """The questions of some examples, and their answers.

    Args:
        examples: held-out `Example` rows.
        items: how many of them, of as many articles as possible.

    Returns:
        Example to its last question, and example to its answer.
    """
    nth = pl.int_range(pl.len()).over(_ARTICLE)
    some = examples.sort("id").sort(nth, maintain_order=True).head(items)
    turns = dict(some.select("id", "messages").iter_rows())
    return (
        {item: said[-2]["content"] for item, said in turns.items()},
        {item: said[-1]["content"] for item, said in turns.items()},
    )


def find_sources(
    index: Index | None,
    questions: Mapping[str, str],
    *,
    each: int,
    exclude: Collection[str],
    answers: Mapping[str, str],
) -> Sources:
    """Search passages for each question.

    Args:
        index: where to search; None gives no question any.
        questions: item to its question.
        each: the most passages of a question.
        exclude: articles that may be no source, from `of_held_out_topics`.
        answers: item to the answer that is scored, where there is one. A passage that has eight
            words in a row of it is left out; a shorter answer cannot be looked for.
    """
    given: dict[str, list[Passage]] = {}
    left_out: list[tuple[str, str, str]] = []
    if index is None:
        return Sources(given, pl.DataFrame(schema=_LEFT_OUT))
    for item, question in questions.items():
        answer = _runs(answers.get(item, ""))
        kept: list[Passage] = []
        for hit in index.search(question, each + _SPARE, exclude=exclude):
            if answer & _runs(hit.passage.text):
                left_out.append((item, hit.passage.id, REPEATS))
            elif len(kept) < each:
                kept.append(hit.passage)
        if kept:
            given[item] = kept
        else:
            left_out.append((item, "", NO_PASSAGE))
    return Sources(given, pl.DataFrame(left_out, _LEFT_OUT, orient="row"))


def _runs(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.casefold())
    return {tuple(words[i : i + _RUN]) for i in range(len(words) - _RUN + 1)}


def sourced_losses(
    lm: LanguageModel,
    examples: pl.DataFrame,
    sources: Sources,
    *,
    max_length: int,
    batch_size: int = 1,
) -> tuple[pl.DataFrame, Sources]:
    """Measure how surprised both models are by each reference answer when they have sources.

    Args:
        lm: a model with a trained adapter.
        examples: held-out `Example` rows; those without sources are not measured.
        sources: from `find_sources`.
        max_length: examples longer than this many tokens, with their sources, are left out.
        batch_size: examples read at once.

    Returns:
        The columns of `answer_losses`, with the arms' names; and the sources, without those of
        the examples that are too long, which `left_out` names.
    """
    rows = [
        row | {"messages": _asked(row["messages"], sources.given[row["id"]])}
        for row in examples.to_dicts()
        if row["id"] in sources.given
    ]
    asked = pl.DataFrame(rows, examples.schema)
    losses = answer_losses(lm, asked, max_length=max_length, batch_size=batch_size)
    long = sorted(set(asked["id"]) - set(losses["id"]))
    named = pl.DataFrame([(item, "", TOO_LONG) for item in long], _LEFT_OUT, orient="row")
    given = {item: passages for item, passages in sources.given.items() if item not in long}
    left = Sources(given, pl.concat([sources.left_out, named]))
    return losses.rename(WITH_SOURCES), left


def _asked(messages: list[dict[str, str]], passages: Sequence[Passage]) -> list[dict[str, str]]:
    *before, question, answer = messages
    told = question | {"content": sources_prompt(question["content"], passages)}
    return [*before, told, answer]


def compare_arms(
    losses: pl.DataFrame, sourced: pl.DataFrame, topics: dict[str, str], **settings: Any
) -> pl.DataFrame:
    """Compare the arms of `PAIRS` on the answer loss, on the items that all four arms answered.

    Args:
        losses: result of `answer_losses`.
        sourced: result of `sourced_losses`.
        topics: from `topics_of`.
        settings: for `judge_arms`: level, resamples, seed.

    Returns:
        A row for each pair: against, arm, items, clusters (topics), loss_against and loss (means
        over the topics), difference (arm minus against), low, high, level (of the interval, so
        that all together hold at the level asked for), word. None where nothing was measured.
    """
    if sourced.is_empty():
        return pl.DataFrame(schema=_ARMS)
    both = losses.join(sourced.drop("source", "tokens"), on="id")
    arms = (*SIDES, *WITH_SOURCES.values())
    # Without specialties: each of them would be one more comparison.
    scores = loss_scores(both, both.select("id", specialty=pl.lit("")), topics, arms)
    judged = judge_arms(scores.filter(metric=PRIMARY), PAIRS, **settings)
    rows = []
    for (against, arm), one in zip(PAIRS, (j.verdict for j in judged.values()), strict=True):
        numbers = (one.base, one.adapter, one.difference, one.low, one.high, one.level)
        rows.append((against, arm, one.examples, one.topics, *numbers, one.word))
    return pl.DataFrame(rows, _ARMS, orient="row")


def answer_with_sources(
    lm: LanguageModel, questions: Mapping[str, str], sources: Sources, *, max_new_tokens: int
) -> dict[str, Answered]:
    """Ask both models questions with their sources, always taking the most likely token.

    Args:
        lm: a model with a trained adapter.
        questions: item to its question; those without sources are not asked.
        sources: from `find_sources`.
        max_new_tokens: the longest answer, in tokens.

    Returns:
        Item to both answers, as the models wrote them.
    """
    asked = {item: question for item, question in questions.items() if item in sources.given}
    prompts = [sources_prompt(question, sources.given[item]) for item, question in asked.items()]
    answered = answer_scenarios(lm, max_new_tokens=max_new_tokens, questions=prompts)
    both = zip(asked.items(), answered, strict=True)
    return {item: replace(one, question=question) for (item, question), one in both}


def support_table(
    answered: Mapping[str, Answered], sources: Sources, encoder: Encoder
) -> pl.DataFrame:
    """Look for each sentence of the answers in the sources that the model was given.

    This is support and not accuracy: a wrong sentence may be close to a source, and a right one to
    none.

    Args:
        answered: result of `answer_with_sources`.
        sources: what was given.
        encoder: `Index.encoder`.

    Returns:
        A row for each answer: scenario, side, sentences (that claim something), with_source (those
        for which a source was found), cited (those in which the model names a source itself),
        removed (citations of sources that do not exist), support (their mean score; null where
        there are no sentences).
    """
    rows = []
    for item, both in answered.items():
        passages = sources.given[item]
        for side in SIDES:
            known = CitationFilter(len(passages))
            text = known.feed(getattr(both, side).text) + known.close()
            found = support(text, passages, encoder)
            scores = [sentence.score for sentence in found]
            supported = sum(sentence.source is not None for sentence in found)
            cited = sum(bool(sentence.cited) for sentence in found)
            mean = sum(scores) / len(scores) if scores else None
            rows.append((item, side, len(found), supported, cited, known.removed, mean))
    return pl.DataFrame(rows, _SUPPORT, orient="row")


def support_summary(supported: pl.DataFrame) -> pl.DataFrame:
    """The support of each side's answers, over all their sentences.

    Args:
        supported: result of `support_table`.

    Returns:
        A row for each side: side, answers, sentences, share_with_source, support (mean score),
        cited and removed.
    """
    sentences = pl.col("sentences")
    return supported.group_by("side", maintain_order=True).agg(
        answers=pl.len(),
        sentences=sentences.sum(),
        share_with_source=pl.col("with_source").sum() / sentences.sum(),
        support=(pl.col("support") * sentences).sum() / sentences.sum(),
        cited=pl.col("cited").sum(),
        removed=pl.col("removed").sum(),
    )
