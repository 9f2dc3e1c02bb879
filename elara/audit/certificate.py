"""Prove that what a model is tested on is not in what it was trained on.

Five checks compare the training examples with every held-out set, from the surest to the
finest: article ids, identifiers (PMID, PMCID, DOI), equal text, near-duplicate text, and long word
sequences in common. Everything held out is indexed once, so that 100,000 training examples take
seconds to minutes and not a comparison of all with all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from elara.text.words import characters, strings

SIMILAR = 0.8  # Jaccard similarity of word 3-shingles from which two texts are near-duplicates
LONG, SHORT = 13, 8  # words in a sequence that counts as copied; SHORT for texts below LONG words
SHARE = 0.5  # share of a text's sequences in one training example from which it counts as seen
COMMON = 10  # a sequence found in more sources than this is a phrase of the genre, not a leak

METHODS = {
    "article": "the same article id",
    "identifier": "the same PMID, PMCID or DOI",
    "equal": f"equal text (question with answer, or an answer of {SHORT} words or more); "
    "case, punctuation and spacing do not count",
    "similar": f"Jaccard similarity of word 3-shingles at or above {SIMILAR}, computed exactly",
    "overlap": f"{SHARE:.0%} or more of its {LONG}-word sequences stand in one training example "
    f"({SHORT}-word sequences for texts of {SHORT} to {LONG - 1} words); sequences found in more "
    f"than {COMMON} training sources are left out",
}
SOURCES = (
    "Brown et al. 2020, Language Models are Few-Shot Learners, appendix C, "
    "https://arxiv.org/abs/2005.14165 (overlap of 8 to 13 words)",
    "Lee et al. 2022, Deduplicating Training Data Makes Language Models Better, "
    "https://arxiv.org/abs/2107.06499 (near-duplicates by Jaccard similarity 0.8)",
    "Singh et al. 2024, Evaluation data contamination in LLMs, "
    "https://arxiv.org/abs/2411.03923 (how such measures compare)",
)

_LISTED = 1000  # findings that the passport lists
_FINDINGS: Any = dict.fromkeys(("set", "item", "check", "train_id"), pl.String)
_FINDINGS |= {"similarity": pl.Float64}


class AuditError(RuntimeError):
    """Data or an adapter cannot be audited, or must not be used; the message says what to do."""


@dataclass(frozen=True)
class Certificate:
    """What the comparison of training data with held-out data found.

    Args:
        compared: set name to its number of `items`, of `texts` and its `sha256`; `train` is one.
        findings: columns set, item (the held-out id), check (a key of `METHODS`), train_id and
            similarity (0 to 1; 1 where ids or texts are equal), without repeats, sorted.
    """

    compared: dict[str, dict[str, Any]]
    findings: pl.DataFrame

    @property
    def clean(self) -> bool:
        """Whether nothing held out was found in the training data."""
        return self.findings.is_empty()

    def without(self, train: pl.DataFrame) -> pl.DataFrame:
        """The training examples that no check found.

        Args:
            train: the `Example` rows that were compared.
        """
        return train.filter(~pl.col("id").is_in(self.findings["train_id"].implode()))

    def require_clean(self) -> None:
        """Refuse to train on what the model will be tested on.

        Raises:
            AuditError: something held out is in the training data.
        """
        if self.clean:
            return
        first = self.findings.row(0, named=True)
        items = self.findings.select("set", "item").n_unique()
        raise AuditError(
            f"{items} held-out items are in the training data, the first: {first['item']} of "
            f"{first['set']} in {first['train_id']} ({METHODS[first['check']]}). "
            "Train on `certificate.without(examples)`."
        )

    def record(self) -> dict[str, Any]:
        """The certificate as plain values, for the passport; all findings are counted."""
        found = self.findings.group_by("check").agg(pl.struct("set", "item").n_unique())
        counts = dict(found.iter_rows())
        checks = [
            {"check": name, "method": text, "found": counts.get(name, 0)}
            for name, text in METHODS.items()
        ]
        return {
            "verdict": "clean" if self.clean else "contaminated",
            "compared": self.compared,
            "checks": checks,
            "contaminated_items": self.findings.select("set", "item").n_unique(),
            "findings": self.findings.head(_LISTED).to_dicts(),
            "sources": list(SOURCES),
        }


def contaminated_items(passport: dict[str, Any]) -> int:
    """How many held-out items were found in all that an adapter learned from, earlier runs too.

    Args:
        passport: the content of `passport.json`.
    """
    found = int(passport["certificate"]["contaminated_items"])
    tuning = passport.get("preference", {})
    if tuning.get("continues"):  # else that certificate is the first one
        found += tuning["certificate"]["contaminated_items"]
    return found + int(passport.get("continues", {}).get("contaminated_items", 0))


def certify(
    train: pl.DataFrame,
    held_out: Mapping[str, pl.DataFrame],
    *,
    articles: pl.DataFrame | None = None,
) -> Certificate:
    """Look for held-out items in the training examples.

    Args:
        train: the `Example` rows that are trained on.
        held_out: name of a set to its rows: `Example` rows (a test split), or a benchmark's list
            with a column `id` and any of `text`, `pmid`, `pmcid`, `doi`.
        articles: `Article` rows; they give the identifiers of the articles that examples name.

    Raises:
        AuditError: a benchmark's list has no `id`, or none of the columns that can be compared.

    Source: https://arxiv.org/abs/2005.14165, appendix C; https://arxiv.org/abs/2107.06499.
    """
    known: dict[str, list[str]] = {}
    if articles is not None:
        rows = articles.select("id", "pmid", "pmcid", "doi").iter_rows()
        known = {article: _keys(*identifiers) for article, *identifiers in rows}
    seen = _items("train", train, known)
    compared = {"train": _described(seen)}
    findings = [pl.DataFrame(schema=_FINDINGS)]
    for name, table in held_out.items():
        held = _items(name, table, known)
        compared[name] = _described(held)
        for check, pairs in _compare(seen, held):
            named = pairs.with_columns(set=pl.lit(name), check=pl.lit(check))
            findings.append(named.select(_FINDINGS.keys()).cast(_FINDINGS))
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


def _items(name: str, table: pl.DataFrame, known: dict[str, list[str]]) -> pl.DataFrame:
    """Bring examples and benchmark lists into one shape: item, articles, keys, whole, answer."""
    if "id" not in table.columns or not {"messages", "text", "pmid", "pmcid", "doi"} & {
        *table.columns
    }:
        raise AuditError(
            f"The held-out set {name!r} cannot be compared: it needs a column `id` and `messages`, "
            f"`text`, `pmid`, `pmcid` or `doi`. It has: {', '.join(table.columns)}."
        )
    rows = []
    for row in table.iter_rows(named=True):
        said = [m["content"] for m in row.get("messages") or [] if m["role"] != "system"]
        articles = list(row.get("article_ids") or [])
        keys = _keys(row.get("pmid"), row.get("pmcid"), row.get("doi"))
        for article in articles:
            keys += [*_named(article), *known.get(article, [])]
        whole = "\n".join(said) or str(row.get("text") or "")
        answer = said[-1] if said else ""
        rows.append((str(row["id"]), articles, sorted(set(keys)), whole, answer))
    columns = ("item", "articles", "keys", "whole", "answer")
    schema: Any = dict.fromkeys(columns, pl.String)
    schema |= dict.fromkeys(("articles", "keys"), pl.List(pl.String))
    return pl.DataFrame(rows, schema=schema, orient="row")


def described(examples: pl.DataFrame) -> dict[str, Any]:
    """What a certificate says about the examples that it compared.

    Args:
        examples: `Example` rows, or a benchmark's list.

    Returns:
        `items`, `texts`, and `sha256` over ids and texts, whatever their order.
    """
    return _described(_items("examples", examples, {}))


def _described(items: pl.DataFrame) -> dict[str, Any]:
    digests = (
        f"{item}\t{hashlib.sha256(whole.encode()).hexdigest()}\n"
        for item, whole in items.select("item", "whole").sort("item", "whole").iter_rows()
    )
    sha256 = hashlib.sha256("".join(digests).encode()).hexdigest()
    return {"items": items.height, "texts": int((items["whole"] != "").sum()), "sha256": sha256}


def _compare(seen: pl.DataFrame, held: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    for check, column in (("article", "articles"), ("identifier", "keys")):
        yield check, _shared(seen.explode(column), held.explode(column), column)
    ours, theirs = _passages(seen), _passages(held)
    of_seen, of_held = Words.of(ours["text"]), Words.of(theirs["text"])
    names = {"item": theirs["item"], "train_id": ours["item"]}
    yield "equal", _equal(ours, theirs, of_seen, of_held)
    near = similar(of_seen.sequences(3), of_held.sequences(3))
    yield "similar", _pairs(near, names)
    lengths = of_held.lengths
    sources = seen.select("item", pl.col("articles").list.first().alias("source"))
    origin = ours.join(sources, on="item", how="left", maintain_order="left")
    source = origin["source"].fill_null(origin["item"]).rank("dense").to_numpy()
    for size, wanted in ((LONG, lengths >= LONG), (SHORT, (lengths >= SHORT) & (lengths < LONG))):
        yield "overlap", _pairs(_copied(of_seen, of_held, size, wanted, source), names)


def _shared(seen: pl.DataFrame, held: pl.DataFrame, column: str) -> pl.DataFrame:
    ours = seen.select(column, pl.col("item").alias("train_id")).drop_nulls()
    both = held.select(column, "item").drop_nulls().join(ours, on=column)
    return both.select("item", "train_id", similarity=pl.lit(1.0)).unique()


def _passages(items: pl.DataFrame) -> pl.DataFrame:
    """Each item's whole text, and its answer by itself: item, kind, text."""
    parts = [
        items.select("item", kind=pl.lit(kind), text=pl.col(kind)) for kind in ("whole", "answer")
    ]
    return pl.concat(parts).filter(pl.col("text") != "")


def _equal(
    ours: pl.DataFrame, theirs: pl.DataFrame, of_seen: Words, of_held: Words
) -> pl.DataFrame:
    def keyed(passages: pl.DataFrame, words: Words) -> pl.DataFrame:
        ends = np.cumsum(words.lengths)
        pieces = zip(ends - words.lengths, ends, strict=True)
        keys = [hashlib.sha256(words.hashes[a:b].tobytes()).hexdigest() for a, b in pieces]
        table = passages.select("item", "kind", key=pl.Series(keys, dtype=pl.String))
        least = np.where(table["kind"].to_numpy() == "whole", 1, SHORT)
        return table.filter(words.lengths >= least)

    seen = keyed(ours, of_seen).select("key", pl.col("item").alias("train_id"))
    both = keyed(theirs, of_held).join(seen, on="key")
    return both.select("item", "train_id", similarity=pl.lit(1.0)).unique()


def _pairs(found: pl.DataFrame, names: dict[str, pl.Series]) -> pl.DataFrame:
    held, train = found["text"].to_numpy(), found["train"].to_numpy()
    named = {"item": names["item"].gather(held), "train_id": names["train_id"].gather(train)}
    table = pl.DataFrame(named | {"similarity": found["similarity"].round(4)})
    return table.group_by("item", "train_id").agg(pl.col("similarity").max())


@dataclass(frozen=True)
class Words:
    """The words of many texts, end to end: one number per word, and the words in each text.

    Case, punctuation and spacing do not count, see `elara.text.words`.
    """

    hashes: np.ndarray[Any, np.dtype[np.uint64]]
    lengths: np.ndarray[Any, np.dtype[np.int64]]

    @classmethod
    def of(cls, texts: pl.Series) -> Words:
        """Read the words of texts."""
        from elara.text.shingles import word_hashes

        return cls(*word_hashes(strings(texts.str.normalize("NFKC")), *characters()))

    def sequences(self, size: int, wanted: Any = None) -> pl.DataFrame:
        """Every run of so many words, once per text: its position and a hash.

        `wanted` says for each text whether to read it; all are read when it is not given.
        """
        text = np.repeat(np.arange(len(self.lengths), dtype=np.uint32), self.lengths)
        count = max(len(text) - size + 1, 0)
        run = np.zeros(count, dtype=np.uint64)
        for k in range(size):  # a polynomial in the words' hashes, modulo 2 to the 64
            run = run * np.uint64(0x9E3779B97F4A7C15) + self.hashes[k : k + count]
        whole = text[:count] == text[size - 1 :]  # the run does not cross into the next text
        if wanted is not None:
            whole &= wanted[text[:count]]
        return pl.DataFrame({"text": text[:count][whole], "run": run[whole]}).unique()


def similar(seen: pl.DataFrame, held: pl.DataFrame) -> pl.DataFrame:
    """Pairs of texts with Jaccard similarity at or above SIMILAR: none is missed.

    Two such texts share at least SIMILAR of the held-out one's shingles, so one of any
    `size * (1 - SIMILAR) + 1` of them is shared; the rarest ones give the fewest candidates.

    Source: https://doi.org/10.1145/1242572.1242591 (Bayardo, Ma and Srikant 2007).
    """
    sizes = [t.group_by("text").agg(size=pl.len().cast(pl.Int64)) for t in (seen, held)]
    known = seen.join(held.select("run").unique(), on="run", how="semi")
    rarity = known.group_by("run").agg(pl.len().alias("often"))
    ranked = held.join(rarity, on="run", how="left").with_columns(pl.col("often").fill_null(0))
    ranked = ranked.sort("text", "often", "run").join(sizes[1], on="text")
    rank = pl.int_range(pl.len()).over("text")
    prefix = ranked.filter(rank <= (pl.col("size") * (1 - SIMILAR) + 1e-9).floor())
    candidates = (
        prefix.select("text", "run")
        .join(known.rename({"text": "train"}), on="run")
        .select("text", "train")
        .unique()
        .join(sizes[1], on="text")
        .join(sizes[0].rename({"text": "train", "size": "train_size"}), on="train")
        .filter(
            pl.col("size") >= SIMILAR * pl.col("train_size"),
            pl.col("train_size") >= SIMILAR * pl.col("size"),
        )
    )
    both = (
        candidates.join(held, on="text")
        .join(known.rename({"text": "train"}), on=["train", "run"])
        .group_by("text", "train", "size", "train_size")
        .agg(shared=pl.len().cast(pl.Int64))
    )
    union = pl.col("size") + pl.col("train_size") - pl.col("shared")
    found = both.select("text", "train", similarity=pl.col("shared") / union)
    return found.filter(pl.col("similarity") >= SIMILAR - 1e-12)


def _copied(
    seen: Words, held: Words, size: int, wanted: Any, source: np.ndarray[Any, Any]
) -> pl.DataFrame:
    """Pairs of texts where the training text holds SHARE of the held-out one's sequences.

    `source` has a number per training text: texts of one source have the same.

    Source: https://arxiv.org/abs/2005.14165, appendix C (Brown et al. 2020).
    """
    theirs = held.sequences(size, wanted)
    if theirs.is_empty():
        return pl.DataFrame(schema={"text": pl.UInt32, "train": pl.UInt32, "similarity": float})
    ours = seen.sequences(size).join(theirs.select("run").unique(), on="run", how="semi")
    origins = ours.with_columns(source=pl.Series(source[ours["text"].to_numpy()]))
    genre = origins.group_by("run").agg(pl.col("source").n_unique())
    rare = genre.filter(pl.col("source") <= COMMON).select("run")
    totals = theirs.group_by("text").agg(total=pl.len())
    shared = (
        theirs.join(rare, on="run", how="semi")
        .join(ours.rename({"text": "train"}), on="run")
        .group_by("text", "train")
        .agg(shared=pl.len())
        .join(totals, on="text")
    )
    found = shared.select("text", "train", similarity=pl.col("shared") / pl.col("total"))
    return found.filter(pl.col("similarity") >= SHARE)
