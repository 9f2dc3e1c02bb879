"""Check every example before it trains, and list each one that is refused, by which rule and why.

Recipes and gates decide what becomes an example. The validators look at the result, whoever made
it: a changed recipe, a curated case or another program.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

import polars as pl

from elara.expand import wording
from elara.expand.grounding import ungrounded
from elara.expand.questions import LANGUAGES
from elara.expand.recipes import check_languages, check_licences
from elara.model import SYSTEM_PROMPT, encode
from elara.model.chat import as_data
from elara.records import PRIVATE, Origin, Split

_FREE = r"^(?:CC0-1\.0|public-domain|CC-BY(?:-SA)?(?:-\d\.\d)?(?:-IGO)?)$"
_KNOWN = r"^(?:private|unknown|CC-BY(?:-NC)?(?:-ND|-SA)?(?:-\d\.\d)?(?:-IGO)?)$"
_REJECTED = ("id", "article_id", "source", "rule", "evidence")
_BATCH = 512  # conversations that are tokenised at once


@dataclass(frozen=True)
class Validated:
    """The result of the validators.

    Args:
        examples: those that passed all of them, in the order in which they came.
        rejected: columns id, article_id, source, rule (the validator) and evidence: a row for each
            validator that refuses an example.
    """

    examples: pl.DataFrame
    rejected: pl.DataFrame


@dataclass(frozen=True, kw_only=True)
class Given:
    """What the validators look at.

    Args:
        examples: `Example` rows, with their position `row`.
        articles: clean `Article` rows, or None: spans and licences are then not compared.
        licences: as `grounded_examples` takes it.
        languages: as `grounded_examples` takes it.
        retracted: ids of articles that were retracted.
        system_prompt: the system turn that every example has.
        tokenizer: of the base model, with a chat template; or None.
        max_tokens: of a whole example; 0: any number.
    """

    examples: pl.DataFrame
    articles: pl.DataFrame | None
    licences: str
    languages: Collection[str]
    retracted: Collection[str]
    system_prompt: str
    tokenizer: Any
    max_tokens: int

    @cached_property
    def turns(self) -> pl.DataFrame:
        """Row, turn, role, content and origin of every turn."""
        turn = pl.int_ranges(0, pl.col("messages").list.len()).alias("turn")
        table = self.examples.filter(pl.col("messages").list.len() > 0)
        table = table.select("row", "origin", turn, "messages").explode("turn", "messages")
        return table.unnest("messages").with_columns(pl.col("role", "content").fill_null(""))

    @cached_property
    def answers(self) -> pl.DataFrame:
        """Row, turn, language and content of the last turn."""
        last = self.turns.filter(pl.col("turn") == pl.col("turn").max().over("row"))
        return last.join(self.examples.select("row", "language"), on="row")


@dataclass(frozen=True)
class Validator:
    """A named check.

    Args:
        name: the `rule` of the rows of those it refuses.
        refuses: which examples it refuses.
        check: gives row and evidence of each of them.
    """

    name: str
    refuses: str
    check: Callable[[Given], pl.DataFrame]


def _schema(given: Given) -> pl.DataFrame:
    roles = pl.col("messages").list.eval(pl.element().struct.field("role")).list.join(",")
    examples = given.examples.with_columns(roles=roles)
    of_example = (
        (pl.col("id").str.strip_chars() == "", "it has no id"),
        (~pl.col("id").is_first_distinct(), "an earlier example has its id"),
        (pl.col("article_ids").list.len() == 0, "it names no article"),
        (~pl.col("roles").str.contains("^system(?:,user,assistant)+$"), "its turns are {roles}"),
        (~pl.col("origin").is_in(get_args(Origin)), "its origin is {origin}"),
        (~pl.col("split").is_in(get_args(Split)), "its split is {split}"),
    )
    content, question = pl.col("content"), pl.col("role") == "user"
    of_turn = (
        (content.str.strip_chars() == "", "turn {turn} is empty"),
        (
            content.str.contains(f"(?m){wording.MARKS}"),
            "turn {turn} holds a mark of a chat format",
        ),
        (
            question & content.str.contains(wording.PLACEHOLDERS),
            "the question has a gap that was not filled in: {content}",
        ),
    )
    found = [wording.evident(examples, *of_example), wording.evident(given.turns, *of_turn)]
    return pl.concat(found)


def _own_words(given: Given) -> pl.DataFrame:
    grown = given.turns.filter(pl.col("origin") != "curated")
    built = given.examples.filter(pl.col("origin") != "curated")
    spans = built.select("row", "article_ids", "spans").explode("spans").unnest("spans")
    spans = spans.drop_nulls("turn")
    if given.articles is not None:
        return ungrounded(grown, spans, given.articles)
    return wording.evident(built, (pl.col("spans").list.len() == 0, "it names no passage"))


def _licence(given: Given) -> pl.DataFrame:
    licence, free = pl.col("licence"), pl.col("licence").str.contains(_FREE)
    open_, shared = pl.col("redistributable"), given.licences == "redistributable"
    problems = (
        (~free & ~licence.str.contains(_KNOWN), "Elara does not know the licence {licence}"),
        (open_ & ~free, "it may be passed on, it says, but {licence} does not allow that"),
        (
            pl.lit(shared) & ~open_ & (licence != PRIVATE),
            "{licence} does not allow it to be passed on",
        ),
    )
    return pl.concat([wording.evident(given.examples, *problems), _other_licence(given)])


def _other_licence(given: Given) -> pl.DataFrame:
    """Examples that claim another licence than their article has."""
    if given.articles is None:
        return wording.evident(given.examples)
    told = given.articles.select("redistributable", article_id="id", theirs="licence")
    ours = given.examples.filter(pl.col("origin") != "curated")
    ours = ours.select("row", "licence", "article_ids", open="redistributable")
    joined = ours.explode("article_ids").join(told, left_on="article_ids", right_on="article_id")
    wrong = (pl.col("theirs") != pl.col("licence")) | (pl.col("open") & ~pl.col("redistributable"))
    return wording.evident(joined, (wrong, "it says {licence}, its article {theirs}"))


def _retracted(given: Given) -> pl.DataFrame:
    ids = set(given.retracted)
    if given.articles is not None:
        ids |= set(given.articles.filter(pl.col("retracted"))["id"])
    each = given.examples.select("row", "article_ids").explode("article_ids")
    gone = pl.col("article_ids").is_in(list(ids))
    return wording.evident(each, (gone, "{article_ids} was retracted"))


def _language(given: Given) -> pl.DataFrame:
    foreign = ~pl.col("language").is_in(list(given.languages))
    found = wording.evident(given.answers, (foreign, "{language} is not among `languages`"))
    return pl.concat([found, wording.misread(given.answers.filter(~foreign))])


def _length(given: Given) -> pl.DataFrame:
    rows: list[tuple[int, str]] = []
    if given.tokenizer is not None and given.max_tokens:
        table = given.examples.join(_schema(given), on="row", how="anti").select("row", "messages")
        for part in table.iter_slices(_BATCH):
            rows += _too_long(given, part.rows())
    return pl.DataFrame(rows, {"row": pl.UInt32, "evidence": pl.String}, orient="row")


def _too_long(given: Given, batch: list[tuple[int, Any]]) -> list[tuple[int, str]]:
    tokenizer, most = given.tokenizer, given.max_tokens
    texts = [
        tokenizer.apply_chat_template(as_data(tokenizer, messages), tokenize=False)
        for _, messages in batch
    ]
    encoded = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    found = []
    for (row, messages), ids in zip(batch, encoded, strict=True):
        number = len(ids)
        if number > most:  # as training counts, the conversation ends with the stop token
            number = len(encode(tokenizer, messages).input_ids)
        if number > most:
            found.append((row, f"{number} tokens, at most {most}"))
    return found


def _personal(given: Given) -> pl.DataFrame:
    return wording.personal_data(given.turns.filter(pl.col("role") != "system"))


def _disclaimer(given: Given) -> pl.DataFrame:
    other = (pl.col("turn") == 0) & (pl.col("content") != given.system_prompt)
    say = "its system turn is not the one with the caution: {content}"
    spoken = given.turns.filter(pl.col("role") == "assistant")
    return pl.concat([wording.evident(given.turns, (other, say)), wording.disclaiming(spoken)])


def _harmful(given: Given) -> pl.DataFrame:
    return wording.harming(given.turns.filter(pl.col("role") != "system"))


VALIDATORS = (
    Validator(
        "schema",
        "id missing or taken; turns other than system, user, assistant …; an empty turn; marks of "
        "a chat format or unfilled gaps in a text",
        _schema,
    ),
    Validator(
        "own words",
        "an answer that is not, sign for sign, the text of the passages that it names",
        _own_words,
    ),
    Validator(
        "licence",
        "a licence that is unknown to Elara, is not the article's, or does not allow what the "
        "example is used for",
        _licence,
    ),
    Validator("retracted", "an article that was retracted", _retracted),
    Validator(
        "language",
        "a language that was not chosen, or an answer whose small words are those of another one",
        _language,
    ),
    Validator("length", "more tokens than `max_tokens`, counted as the base model does", _length),
    Validator(
        "personal data",
        "e-mail addresses, telephone, record, account and social security numbers, dates of birth",
        _personal,
    ),
    Validator(
        "disclaimer",
        "another system turn than the one with the caution; an answer that is only a disclaimer, "
        "or in which a machine speaks of itself",
        _disclaimer,
    ),
    Validator(
        "harm",
        "instructions for self-harm, weapons, poisons, illicit drugs or intoxication; stopping a "
        "treatment in secret; denial of vaccination or of a disease (English only)",
        _harmful,
    ),
)


def validate(
    examples: pl.DataFrame,
    articles: pl.DataFrame | None = None,
    *,
    licences: str = "redistributable",
    languages: Collection[str] = LANGUAGES,
    retracted: Collection[str] = (),
    system_prompt: str = SYSTEM_PROMPT,
    tokenizer: Any = None,
    max_tokens: int = 0,
) -> Validated:
    """Pass every example through every validator.

    Args:
        examples: `Example` rows, curated ones too.
        articles: the clean `Article` rows that they were built from. Without them, answers,
            licences and retractions are not compared with the articles.
        licences: as `grounded_examples` takes it.
        languages: as `grounded_examples` takes it.
        retracted: ids of articles that were retracted since they were collected.
        system_prompt: the system turn that every example must have.
        tokenizer: of the base model, see `elara.model.load_tokenizer`; needed for `max_tokens`.
        max_tokens: the longest example, in tokens with the marks of the chat format; 0: no limit.

    Returns:
        The examples that pass, and a row for each refusal.

    Raises:
        ValueError: `licences` or `languages` cannot be used, or the tokenizer is missing.
    """
    check_licences(licences)
    check_languages(list(languages))
    if max_tokens and tokenizer is None:
        raise ValueError("`max_tokens` counts tokens: pass the base model's `tokenizer` as well.")
    given = Given(
        examples=examples.with_row_index("row"),
        articles=articles,
        licences=licences,
        languages=languages,
        retracted=retracted,
        system_prompt=system_prompt,
        tokenizer=tokenizer,
        max_tokens=max_tokens,
    )
    found = [
        validator.check(given)
        .unique("row", keep="first", maintain_order=True)
        .select("row", "evidence", rule=pl.lit(validator.name))
        for validator in VALIDATORS
    ]
    refusals = pl.concat(found)
    article = pl.col("article_ids").list.first().fill_null("").alias("article_id")
    named = given.examples.select("row", "id", article)
    rows = refusals.join(named, on="row").with_columns(
        source=pl.when(pl.col("article_id").str.contains(":"))
        .then(pl.col("article_id").str.split(":").list.first())
        .otherwise(pl.lit("curated"))
    )
    kept = given.examples.join(refusals, on="row", how="anti", maintain_order="left")
    return Validated(kept.drop("row"), rows.sort("row", "rule").select(_REJECTED))


def taken(**filters: pl.DataFrame) -> pl.DataFrame:
    """Say which filter took how many, most first.

    Args:
        filters: name of a filter to the rows that it left, with a column `reason` or `rule`.

    Returns:
        Columns filter, rule and took (rows).
    """
    counts = [
        table.group_by(rule="reason" if "reason" in table.columns else "rule")
        .len("took")
        .select(
            pl.lit(name.replace("_", " ")).alias("filter"), "rule", pl.col("took").cast(pl.Int64)
        )
        for name, table in filters.items()
    ]
    return pl.concat(counts).sort("took", "filter", "rule", descending=[True, False, False])
