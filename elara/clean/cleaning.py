"""Apply the rules until nothing changes, file what each of them did, and check the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from elara.clean.boilerplate import boilerplate_rule
from elara.clean.fields import RUNNING, pack, unpack
from elara.clean.ledger import LostTerms, compare, terms
from elara.clean.phi import find_phi, patient_kinds
from elara.clean.rules import RULES, Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# One rule can uncover work for another (an entity that hides a tag), so the list runs again on
# what changed. Real text needs two or three rounds.
_MOST_ROUNDS = 12
_EXCERPT = 120
_LEAD = 40

_CHANGES = {
    "id": pl.String,
    "rule": pl.String,
    "field": pl.String,
    "before": pl.String,
    "after": pl.String,
    "count": pl.Int64,
}
_LOST = {
    "id": pl.String,
    "rule": pl.String,
    "kind": pl.String,
    "term": pl.String,
    "before": pl.Int64,
    "after": pl.Int64,
}
_REMOVED = {"id": pl.String, "rule": pl.String, "field": pl.String, "text": pl.String}


@dataclass(frozen=True)
class Cleaned:
    """Clean articles and an account of how they came to be.

    Args:
        articles: the articles that still hold text, with a column `phi` (bool): something that
            may identify a patient was found.
        changes: one row per text and rule that changed it: `id`, `rule`, `field`, `before` and
            `after` (excerpts of at most 120 characters around the first change), `count`
            (characters that the text became shorter; below 0: longer).
        removed: passages taken away: `id`, `rule`, `field`, `text`.
        dropped: articles without any text left: `id`, `reason`.
        phi: what `find_phi` reports about the clean texts.
        lost: changes that were refused because they lost a protected term: `id`, `rule`, `kind`,
            `term`, `before`, `after` (how often it should be there and would have been).
        protected_terms: protected terms in the repaired input.
        characters_before: characters of all texts before.
        characters_after: and after.
    """

    articles: pl.DataFrame
    changes: pl.DataFrame
    removed: pl.DataFrame
    dropped: pl.DataFrame
    phi: pl.DataFrame
    lost: pl.DataFrame
    protected_terms: int
    characters_before: int
    characters_after: int

    def effects(self) -> pl.DataFrame:
        """What each rule did: `rule`, `texts` changed, `characters` removed, `passages` named."""
        done = self.changes.group_by("rule").agg(texts=pl.len(), characters=pl.col("count").sum())
        named = self.removed.group_by("rule").agg(passages=pl.len())
        joined = done.join(named, on="rule", how="left").with_columns(
            pl.col("passages").fill_null(0)
        )
        return joined.sort(["texts", "rule"], descending=[True, False])

    def files(self) -> dict[str, pl.DataFrame]:
        """The passages by rule, under the name of the file that keeps them."""
        parts = self.removed.partition_by("rule", as_dict=True)
        return {f"removed/{rule}.parquet": part.drop("rule") for (rule,), part in parts.items()}

    def plot(self) -> Figure:
        """How many texts each rule changed."""
        from elara.clean.report import effects_figure

        return effects_figure(self.effects())


def clean(
    articles: pl.DataFrame,
    rules: Sequence[Rule] = RULES,
    boilerplate_repeats: int = 5,
    stop_on_lost_term: bool = True,
) -> Cleaned:
    """Clean the texts of articles, and prove that no protected term was lost.

    Cleaning what is clean changes nothing.

    Args:
        articles: a table with the columns of `Article` (further columns stay).
        rules: what to apply, in this order.
        boilerplate_repeats: a sentence found in at least this many articles is boilerplate.
            Questions and answers keep all their sentences: each of them must stand alone.
        stop_on_lost_term: whether a rule that loses a protected term is an error. If not, its
            change to that text is refused and listed in `Cleaned.lost`.

    Returns:
        The clean articles and the account.

    Raises:
        LostTerms: a rule lost a protected term; the message names article, rule and term.
        ValueError: the rules do not come to rest, or `boilerplate_repeats` is below 2.
    """
    texts = unpack(articles).with_columns(
        pl.when(pl.col("part") < 0)
        .then("field")
        .otherwise(pl.format("body[{}].{}", "part", pl.col("field").str.slice(5)))
        .alias("label")
    )
    original = texts["text"]
    work = _Work(texts, stop_on_lost_term)
    active = pl.repeat(True, texts.height, dtype=pl.Boolean, eager=True)
    for _ in range(_MOST_ROUNDS):
        before = work.texts["text"]
        for rule in rules:
            may_remove = pl.col("field").is_in(RUNNING)
            work.apply(rule, pl.lit(active) & (may_remove if rule.removes else True))
        prose = pl.col("field").is_in(RUNNING) & (pl.col("kind") == "text")
        work.apply(boilerplate_rule(work.texts.filter(prose), boilerplate_repeats), prose)
        active = work.texts["text"] != before
        if not active.any():
            break
    else:
        stuck = work.texts.filter(active)["id"][0]
        raise ValueError(
            f"after {_MOST_ROUNDS} rounds rules still change {stuck}: two of them undo each "
            f"other; see Cleaned.changes with fewer rules"
        )
    return work.result(articles, original)


class _Work:
    """The texts on their way through the rules, and what was filed so far."""

    def __init__(self, texts: pl.DataFrame, stop: bool) -> None:
        self.texts = texts.with_row_index("key")
        self.stop = stop
        self.changes: list[pl.DataFrame] = [pl.DataFrame(schema=_CHANGES)]
        self.removed: list[pl.DataFrame] = [pl.DataFrame(schema=_REMOVED)]
        self.lost: list[pl.DataFrame] = [pl.DataFrame(schema=_LOST)]

    def apply(self, rule: Rule, where: pl.Expr) -> None:
        """Apply one rule to the texts that `where` selects."""
        text = pl.col("text")
        tried = self.texts.filter(where).with_columns(rule.apply(text).alias("after"))
        changed = tried.filter(text != pl.col("after"))
        if changed.is_empty():
            return
        passages = (
            changed.select("key", "id", "label", text=rule.removes(text))
            .explode("text")
            .filter(text.str.contains(r"\S"))
            if rule.removes
            else changed.head(0).select("key", "id", "label", "text")
        )
        lost = compare(
            changed.select("key", "text"),
            passages.select("key", "text"),
            changed.select("key", text="after"),
        )
        if lost.height:
            self._refuse(rule, lost)
            good = ~pl.col("key").is_in(lost["key"].implode())
            changed, passages = changed.filter(good), passages.filter(good)
        self.texts = self.texts.with_columns(
            self.texts["text"].clone().scatter(changed["key"], changed["after"])
        )
        self._file(rule, changed, passages)

    def _refuse(self, rule: Rule, lost: pl.DataFrame) -> None:
        named = lost.join(self.texts.select("key", "id"), on="key", how="left").sort("key", "term")
        first = named.row(0, named=True)
        if self.stop:
            raise LostTerms(
                f"rule {rule.name!r} loses the {first['kind']} {first['term']!r} of article "
                f"{first['id']} ({first['before']} before, {first['after']} after; {lost.height} "
                f"losses in all): correct the rule, or let it name the passage in `removes`"
            )
        self.lost.append(named.with_columns(rule=pl.lit(rule.name)).select(*_LOST))

    def _file(self, rule: Rule, changed: pl.DataFrame, passages: pl.DataFrame) -> None:
        rows = [
            (article, rule.name, label, *_excerpts(before, after), len(before) - len(after))
            for article, label, before, after in changed.select(
                "id", "label", "text", "after"
            ).iter_rows()
        ]
        self.changes.append(pl.DataFrame(rows, schema=_CHANGES, orient="row"))
        self.removed.append(
            passages.select("id", pl.lit(rule.name).alias("rule"), field="label", text="text")
        )

    def result(self, articles: pl.DataFrame, original: pl.Series) -> Cleaned:
        """Put everything together."""
        cleaned = pack(articles, self.texts)
        # The heading of an answer says who gave it, as an author line does.
        author = (pl.col("kind") == "answer") & (pl.col("field") == "body.heading")
        phi = find_phi(self.texts.filter(~author).select("id", "text", field="label"))
        patients = phi.filter(pl.col("kind").is_in(patient_kinds()))["id"].implode()
        has_text = self.texts.group_by("row").agg(pl.col("text").str.contains(r"\S").any())
        stays = has_text.sort("row")["text"]
        kept = cleaned.filter(stays).with_columns(phi=pl.col("id").is_in(patients))
        dropped = articles.filter(~stays).select("id", reason=pl.lit("empty_after_cleaning"))
        assert kept.height + dropped.height == articles.height, "an article was lost in cleaning"
        return Cleaned(
            articles=kept,
            changes=pl.concat(self.changes).sort("id", "field", maintain_order=True),
            removed=pl.concat(self.removed).sort("id", "field", maintain_order=True),
            dropped=dropped,
            phi=phi,
            lost=pl.concat(self.lost).unique().sort(list(_LOST)),
            protected_terms=int(
                terms(original.to_frame("text").with_columns(key=0))["count"].sum()
            ),
            characters_before=int(original.str.len_chars().sum()),
            characters_after=int(self.texts["text"].str.len_chars().sum()),
        )


def _excerpts(before: str, after: str) -> tuple[str, str]:
    """Both texts around their first difference, at most 120 characters each."""
    same, differ = 0, min(len(before), len(after)) + 1
    while same + 1 < differ:
        middle = (same + differ) // 2
        if before[:middle] == after[:middle]:
            same = middle
        else:
            differ = middle
    start = max(0, same - _LEAD)
    return before[start : start + _EXCERPT], after[start : start + _EXCERPT]
