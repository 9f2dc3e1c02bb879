"""Prove that what a model is tested on is not in what it was trained on.

Five checks compare the training examples with every held-out set, from the surest to the finest:
article ids, identifiers (PMID, PMCID, DOI), equal text, near-duplicate text, and word sequences in
common. A finding *drops* the training example or only *flags* it. Everything held out is indexed
once, and training examples are read in batches, so that 100,000 of them take seconds to minutes and
not a comparison of all with all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import polars as pl

from elara.audit.overlap import (
    COMMON,
    DROPPED,
    FLAGGED,
    QUESTION,
    RUN,
    SIMILAR,
    STATEMENT,
    Index,
    Words,
    similar,
)

SHORTEST = 3  # words in a question below which it asks nothing by itself

METHODS = {
    "article": "the same article id",
    "identifier": "the same PMID, PMCID or DOI",
    "equal": f"equal text: question with answer; a question of {SHORTEST} words or more, also as a "
    f"sentence of the example; an answer of {RUN} words or more. Case, punctuation and spacing do "
    "not count",
    "similar": f"Jaccard similarity of word 3-shingles at or above {SIMILAR}, computed exactly",
    "overlap": f"{FLAGGED:.0%} or more of the {RUN}-word sequences of its question, options, "
    "answer or explanation stand in one training example (or all of a question of "
    f"{QUESTION} words, or of an option of {STATEMENT} or more); from {DROPPED:.0%} on (from "
    f"{FLAGGED:.0%} on, if it is of a split of our own) the example is dropped, else flagged. Line "
    f"breaks, hyphens, order of options, numbers, and what over {COMMON} items share, do not count",
}
SOURCES = (
    "Brown et al. 2020, Language Models are Few-Shot Learners, appendix C, "
    "https://arxiv.org/abs/2005.14165 (overlap of 8 to 13 words)",
    "Lee et al. 2022, Deduplicating Training Data Makes Language Models Better, "
    "https://arxiv.org/abs/2107.06499 (near-duplicates by Jaccard similarity 0.8)",
    "Singh et al. 2024, Evaluation data contamination in LLMs, "
    "https://arxiv.org/abs/2411.03923 (how such measures compare)",
)

_BATCH = 20_000  # training examples compared at a time
_LISTED = 1000  # findings that the passport lists
Articles = pl.DataFrame | pl.LazyFrame | None
_FINDINGS: Any = dict.fromkeys(("set", "item", "check", "train_id"), pl.String)
_FINDINGS |= {"similarity": pl.Float64, "action": pl.String}
_SAID = ("question", "options", "answer", "rationale")  # the parts of an item that can leak
_LEAST = {"options": STATEMENT, "question": QUESTION}
_COMPARABLE = {"messages", "question", "text", "pmid", "pmcid", "doi"}


class AuditError(RuntimeError):
    """Data or an adapter cannot be audited, or must not be used; the message says what to do."""


@dataclass(frozen=True)
class Certificate:
    """What the comparison of training data with held-out data found.

    Args:
        compared: set name to its number of `items`, of `texts` and its `sha256`; `train` is one.
        findings: columns set, item (the held-out id), check (a key of `METHODS`), train_id,
            similarity (0 to 1; 1 where ids or texts are equal) and action (`drop` or `flag`),
            without repeats, sorted.
    """

    compared: dict[str, dict[str, Any]]
    findings: pl.DataFrame

    @property
    def dropped(self) -> pl.DataFrame:
        """The findings for which a training example has to go."""
        return self.findings.filter(action="drop")

    @property
    def clean(self) -> bool:
        """Whether nothing held out was found in the training data, apart from what is flagged."""
        return self.dropped.is_empty()

    @property
    def rejected(self) -> pl.DataFrame:
        """The training examples to drop: id, rule (the check) and evidence (set and item)."""
        evidence = pl.concat_str("set", pl.lit(": "), "item")
        rows = self.dropped.select(pl.col("train_id").alias("id"), rule="check", evidence=evidence)
        return rows.unique("id", keep="first", maintain_order=True)

    def counted(self) -> pl.DataFrame:
        """How many items and examples each check found in each set."""
        return (
            self.findings.group_by("set", "check", "action")
            .agg(items=pl.col("item").n_unique(), examples=pl.col("train_id").n_unique())
            .sort("set", "check", "action")
        )

    def __str__(self) -> str:
        """What was compared and found, in a sentence."""
        sets = {name: known["items"] for name, known in self.compared.items() if name != "train"}
        trained = self.compared["train"]["items"]
        if not sets:
            return "No evaluation sets were given: the examples were not compared with any."
        flagged = self.findings.filter(action="flag")["train_id"].n_unique()
        return (
            f"{trained:,} examples were compared with {sum(sets.values()):,} items of evaluation "
            f"sets ({', '.join(sets)}): {self.rejected.height:,} are dropped, {flagged:,} flagged."
        )

    def without(self, train: pl.DataFrame) -> pl.DataFrame:
        """The training examples that no check drops.

        Args:
            train: the `Example` rows that were compared.
        """
        return train.filter(~pl.col("id").is_in(self.dropped["train_id"].implode()))

    def require_clean(self) -> None:
        """Refuse to train on what the model will be tested on.

        Raises:
            AuditError: something held out is in the training data.
        """
        if self.clean:
            return
        first = self.dropped.row(0, named=True)
        items = self.dropped.select("set", "item").n_unique()
        raise AuditError(
            f"{items} held-out items are in the training data, the first: {first['item']} of "
            f"{first['set']} in {first['train_id']} ({METHODS.get(first['check'], 'paraphrase')}). "
            "Train on `certificate.without(examples)`."
        )

    def record(self) -> dict[str, Any]:
        """The certificate as plain values, for the passport; all findings are counted."""
        found = {
            action: dict(
                self.findings.filter(action=action)
                .group_by("check")
                .agg(pl.struct("set", "item").n_unique())
                .iter_rows()
            )
            for action in ("drop", "flag")
        }
        checks = [
            {
                "check": name,
                "method": text,
                "found": found["drop"].get(name, 0),
                "flagged": found["flag"].get(name, 0),
            }
            for name, text in METHODS.items()
        ]
        flagged = self.findings.filter(action="flag").select("set", "item").unique()
        return {
            "verdict": "clean" if self.clean else "contaminated",
            "compared": self.compared,
            "checks": checks,
            "contaminated_items": self.dropped.select("set", "item").n_unique(),
            "flagged_items": flagged.join(self.dropped, on=["set", "item"], how="anti").height,
            "findings": self.findings.head(_LISTED).to_dicts(),
            "sources": list(SOURCES),
        }


def contaminated_items(passport: dict[str, Any]) -> int:
    """How many held-out items were found in all that an adapter learned from, earlier runs too.

    Args:
        passport: the content of `passport.json`.
    """
    found = int(passport["certificate"]["contaminated_items"])
    if tuning := passport.get("preference"):
        found += tuning["certificate"]["contaminated_items"]
    return found + int(passport.get("continues", {}).get("contaminated_items", 0))


def certify(
    train: pl.DataFrame | Iterable[pl.DataFrame],
    held_out: Mapping[str, pl.DataFrame],
    *,
    articles: Articles = None,
) -> Certificate:
    """Look for held-out items in the training examples.

    Of a split of `Example` rows, what would only be flagged is dropped, too.

    Args:
        train: the `Example` rows that are trained on, whole or in pieces.
        held_out: name of a set to its rows: `Example` rows (a test split), or a benchmark's list
            with a column `id` and any of `question`, `options`, `answer`, `rationale`, `text`,
            `pmid`, `pmcid`, `doi` (see `elara.expand.evaluation_sets`).
        articles: `Article` rows; they give the identifiers of the articles that examples name.

    Raises:
        AuditError: a benchmark's list has no `id`, or none of the columns that can be compared.

    Source: https://arxiv.org/abs/2005.14165, appendix C; https://arxiv.org/abs/2107.06499.
    """
    pieces = train.iter_slices(_BATCH) if isinstance(train, pl.DataFrame) else train
    # Of the project's own questions half is enough: to lose an example costs less than a test.
    enough = {n: FLAGGED if "messages" in t.columns else DROPPED for n, t in held_out.items()}
    sets = {n: _HeldOut(_items(n, t, articles), enough[n]) for n, t in held_out.items()}
    ours, findings = [], [pl.DataFrame(schema=_FINDINGS)]
    for piece in pieces:
        seen = _items("train", piece, articles)
        ours.append(_digests(seen))
        for name, held in sets.items():
            for check, pairs in held.found_in(seen):
                named = pairs.with_columns(set=pl.lit(name), check=pl.lit(check))
                findings.append(named.select(_FINDINGS.keys()).cast(_FINDINGS))
    compared = {"train": _told(ours)}
    compared |= {name: _told([_digests(held.items)]) for name, held in sets.items()}
    return Certificate(compared, pl.concat(findings).unique().sort(*_FINDINGS))


def _keys(pmid: object, pmcid: object, doi: object) -> list[str]:
    plain = str(doi or "").strip().lower()
    for prefix in ("https://doi.org/", "http://dx.doi.org/", "https://dx.doi.org/", "doi:"):
        plain = plain.removeprefix(prefix)
    number = str(pmcid or "").strip().upper().removeprefix("PMC")
    pairs = (("pmid", str(pmid or "").strip()), ("pmcid", number), ("doi", plain.strip()))
    return [f"{kind}:{value}" for kind, value in pairs if value]


def _named(article: str) -> list[str]:
    """The identifier that an article's id itself states."""
    source, _, native = article.partition(":")
    return _keys(native if source == "pubmed" else "", native if source == "pmc" else "", "")


def _items(name: str, table: pl.DataFrame, articles: Articles) -> pl.DataFrame:
    """Bring examples and benchmark lists into one shape: ids, what is said, and all of it."""
    if "id" not in table.columns or not _COMPARABLE & {*table.columns}:
        raise AuditError(
            f"The held-out set {name!r} cannot be compared: it needs a column `id` and `messages`, "
            f"`question`, `text`, `pmid`, `pmcid` or `doi`. It has: {', '.join(table.columns)}."
        )
    known, rows = {}, []
    if articles is not None and "article_ids" in table.columns:
        named = pl.col("id").is_in(table["article_ids"].explode().implode())
        told = articles.lazy().filter(named).select("id", "pmid", "pmcid", "doi").collect()
        known = {article: _keys(*identifiers) for article, *identifiers in told.iter_rows()}
    read = {"id", "article_ids", "options", "answer", "rationale"} | _COMPARABLE
    for row in table.select(pl.col(c) for c in table.columns if c in read).iter_rows(named=True):
        said = [m["content"] for m in row.get("messages") or [] if m["role"] != "system"]
        named_by = list(row.get("article_ids") or [])
        keys = _keys(row.get("pmid"), row.get("pmcid"), row.get("doi"))
        for article in named_by:
            keys += [*_named(article), *known.get(article, [])]
        if said:
            parts = [said[-2] if len(said) > 1 else "", "", said[-1], ""]
        else:
            parts = ["\n".join(_lines(row.get(part))) for part in _SAID]
        whole = "\n".join(said or [str(row.get("text") or ""), *parts]).strip()
        rows.append((str(row["id"]), named_by, sorted(set(keys)), whole, *parts))
    schema: Any = dict.fromkeys(("item", "articles", "keys", "whole", *_SAID), pl.String)
    schema |= dict.fromkeys(("articles", "keys"), pl.List(pl.String))
    return pl.DataFrame(rows, schema=schema, orient="row")


def _lines(value: Any) -> list[str]:
    return [str(v) for v in (value if isinstance(value, list) else [value]) if v]


def described(examples: pl.DataFrame) -> dict[str, Any]:
    """What a certificate says about the examples that it compared.

    Args:
        examples: `Example` rows, or a benchmark's list.

    Returns:
        `items`, `texts`, and `sha256` over ids and texts, whatever their order.
    """
    return _told([_digests(_items("examples", examples, None))])


def _digests(items: pl.DataFrame) -> list[tuple[str, bool]]:
    """Of each item a line with its id and the hash of its text, and whether it has any."""
    rows = items.select("item", "whole").iter_rows()
    return [(f"{i}\t{hashlib.sha256(w.encode()).hexdigest()}\n", w != "") for i, w in rows]


def _told(digests: Iterable[list[tuple[str, bool]]]) -> dict[str, Any]:
    found = sorted(chain.from_iterable(digests))
    sha256 = hashlib.sha256("".join(line for line, _ in found).encode()).hexdigest()
    return {"items": len(found), "texts": sum(has for _, has in found), "sha256": sha256}


class _HeldOut:
    """A held-out set, ready to be looked for in training examples.

    Args:
        items: from `_items`.
        enough: share of an item's runs from which an example is dropped and not only flagged.
    """

    def __init__(self, items: pl.DataFrame, enough: float) -> None:
        self.items, self._enough = items, enough
        self._texts = _passages(items, ("question", "answer", "whole"))
        words = Words.of(self._texts["text"])
        self._equal, self._shingles = _keyed(self._texts, words), words.sequences(3)
        alone = items.filter(~pl.any_horizontal(pl.col(part) != "" for part in _SAID))
        parts = pl.concat([_passages(items, _SAID), _passages(alone, ("whole",))])
        self._parts = parts.with_row_index("passage")
        options = self._parts.filter(kind="options").with_columns(pl.col("text").str.split("\n"))
        others = self._parts.filter(pl.col("kind") != "options")
        lines = pl.concat([others, options.explode("text")])
        least = pl.col("kind").replace_strict(_LEAST, default=RUN)
        self._index = Index(lines.select("passage", "text", least=least))

    def found_in(self, seen: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
        """The findings of each check: item, train_id, similarity, action."""
        for check, column in (("article", "articles"), ("identifier", "keys")):
            yield check, _shared(seen.explode(column), self.items.explode(column), column)
        texts = _passages(seen, ("question", "answer", "whole"))
        words = Words.of(texts["text"])
        asked = _sentences(seen)
        ours = pl.concat([_keyed(texts, words), _keyed(asked, Words.of(asked["text"]))])
        both = self._equal.join(ours, on=("kind", "key"), suffix="_train")
        yield "equal", _certain(both.rename({"item_train": "train_id"}))
        near = similar(words.sequences(3), self._shingles)
        yield "similar", _pairs(near, self._texts["item"].gather(near["text"]), texts["item"], 0)
        copied = self._index.copied(seen["whole"])
        item = self._parts["item"].gather(copied["passage"])
        yield "overlap", _pairs(copied, item, seen["item"], self._enough)


def _sentences(items: pl.DataFrame) -> pl.DataFrame:
    """The sentences of texts, as questions that they may be; line breaks end them, and do not."""
    ends = (r"[.?!:;]\s+|[\r\n]+", r"[.?!:;]\s+|[\r\n]\s*[\r\n]")
    parts = [pl.col("whole").str.replace_all(end, "\x1e").str.split("\x1e") for end in ends]
    found = items.select("item", kind=pl.lit("question"), text=pl.concat_list(parts))
    return found.explode("text").unique().filter(pl.col("text").str.len_chars().is_between(8, 400))


def _passages(items: pl.DataFrame, kinds: tuple[str, ...]) -> pl.DataFrame:
    """Parts of each item, where it has them: item, kind, text."""
    parts = [items.select("item", kind=pl.lit(kind), text=pl.col(kind)) for kind in kinds]
    return pl.concat(parts).filter(pl.col("text") != "")


def _keyed(passages: pl.DataFrame, words: Words) -> pl.DataFrame:
    """A hash of the words of each passage that is long enough: item, kind, key."""
    ends = np.cumsum(words.lengths)
    pieces = zip(ends - words.lengths, ends, strict=True)
    keys = [hashlib.sha256(words.hashes[a:b].tobytes()).hexdigest() for a, b in pieces]
    least = passages["kind"].replace_strict({"question": SHORTEST, "answer": RUN, "whole": 1})
    table = passages.select("item", "kind", key=pl.Series(keys, dtype=pl.String))
    return table.filter(words.lengths >= least.to_numpy())


def _shared(seen: pl.DataFrame, held: pl.DataFrame, column: str) -> pl.DataFrame:
    ours = seen.select(column, pl.col("item").alias("train_id")).drop_nulls()
    return _certain(held.select(column, "item").drop_nulls().join(ours, on=column))


def _certain(pairs: pl.DataFrame) -> pl.DataFrame:
    return pairs.select("item", "train_id", similarity=pl.lit(1.0), action=pl.lit("drop")).unique()


def _pairs(found: pl.DataFrame, item: pl.Series, seen: pl.Series, drop: float) -> pl.DataFrame:
    """Findings with names instead of positions; those below `drop` are flagged."""
    named = found.select(
        pl.col("similarity").round(4), item=item, train_id=seen.gather(found["train"])
    )
    best = named.group_by("item", "train_id").agg(pl.col("similarity").max())
    action = pl.when(pl.col("similarity") >= drop).then(pl.lit("drop")).otherwise(pl.lit("flag"))
    return best.with_columns(action=action)
