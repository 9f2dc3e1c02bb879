"""Find texts that may say the same in other words: first by rare words, then by embeddings.

To embed every text would cost hours. Texts that say the same nearly always share rare words, the
names of diseases, drugs and genes above all, so these propose pairs, and only the texts of such
pairs are embedded. What proposes no pair is not compared, and is said not to be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from elara.model.embedding import Store, Vectors

STEM = 6  # letters of a word that count: inflections and derived words have them in common
RARE, COMMON = 0.02, 0.1  # share of all texts in which a word may stand to propose pairs, to count
ALIKE = 0.7  # cosine of two titles from which their articles are linked: of 60 links 56 were right

_FEW = 5  # texts that may share a word, however few texts there are
_ROWS = 256  # texts whose pairs are looked for at once
_LEAST, _LEAST_OF_TITLES = 0.45, 0.2  # weight that a pair shares, see `RareWords.pairs`
_TITLES = 5  # pairs of a title

Weights = Any  # scipy.sparse.csr_array: texts × stems


@dataclass(frozen=True)
class RareWords:
    """How much each word says about what a text is about: inverse document frequency, 0 to 1.

    Args:
        stems: columns stem, column (number) and weight.
    """

    stems: pl.DataFrame

    @classmethod
    def of(cls, texts: Sequence[str]) -> RareWords:
        """Weigh the words of all texts that are to be compared.

        Args:
            texts: both sides together: how rare a word is depends on all of them.

        Source: https://nlp.stanford.edu/IR-book/html/htmledition/inverse-document-frequency-1.html
        """
        count = max(len(texts), 2)
        often = _stems(texts).group_by("stem").len("often").sort("stem")
        often = often.filter(pl.col("often") <= max(_FEW, COMMON * count))
        weight = 1 - pl.col("often").log() / np.log(count)
        rare = pl.col("often") <= max(_FEW, RARE * count)
        return cls(often.select("stem", rare=rare, weight=weight).with_row_index("column"))

    def weights(self, texts: Sequence[str]) -> Weights:
        """Texts × stems: the weight where a text has a word with the stem.

        Args:
            texts: any texts; words that were not weighed do not count.
        """
        from scipy.sparse import csr_array

        found = _stems(texts).join(self.stems, on="stem").sort("text", "column")
        place = found["text"].to_numpy(), found["column"].to_numpy()
        shape = (len(texts), max(self.stems.height, 1))
        return csr_array((found["weight"].to_numpy(), place), shape)

    def pairs(self, held: Weights, seen: Weights, most: int, least: float = _LEAST) -> pl.DataFrame:
        """For each held text those that share most of its rare words.

        Long texts share more with everything, so what is shared is divided by the square root of
        the length of the other text's weights.

        Args:
            held: weights of one set of texts.
            seen: weights of the other one.
            most: pairs of one text.
            least: what a pair shares, so divided, at least.

        Returns:
            Positions `held` and `seen`, sorted.
        """
        keep = np.flatnonzero(self.stems["rare"].to_numpy())
        held, seen = held[:, keep], seen[:, keep]
        damped = np.maximum(np.sqrt(lengths(seen)), 1e-9)
        turned = seen.T.tocsr()
        rows = [
            row for part in _parts(held, turned) for row in _strongest(part, damped, most, least)
        ]
        places = [np.full(len(row), at) for at, row in enumerate(rows)]
        empty = np.zeros(0, dtype=np.int64)
        table = {"held": np.concatenate([empty, *places]), "seen": np.concatenate([empty, *rows])}
        return pl.DataFrame(table, {"held": pl.Int64, "seen": pl.Int64}).sort("held", "seen")


def _stems(texts: Sequence[str]) -> pl.DataFrame:
    """The beginnings of the words of texts, each once a text: text (position), stem."""
    plain = pl.Series("stem", list(texts), pl.String).str.normalize("NFKC").str.to_lowercase()
    plain = plain.str.replace_all(r"(\p{L})[ao]e(\p{L})", "${1}e$2")  # haemorrhage, oesophagus
    words = plain.str.extract_all(r"\p{L}{3,}|\p{N}+").to_frame().with_row_index("text")
    table = words.explode("stem").drop_nulls()
    return table.select("text", pl.col("stem").str.slice(0, STEM)).unique()


def _parts(held: Weights, turned: Weights) -> Iterator[Weights]:
    for start in range(0, held.shape[0], _ROWS):
        yield (held[start : start + _ROWS] @ turned).tocsr()


def _strongest(product: Weights, damped: Any, most: int, least: float) -> Iterator[Any]:
    """The positions of the seen texts that share most with each held one."""
    for start, end in zip(product.indptr[:-1], product.indptr[1:], strict=True):
        seen = product.indices[start:end]
        score = np.round(product.data[start:end] / damped[seen], 6)
        order = np.lexsort((seen, -score))[:most]  # the earlier one first of two that share alike
        yield seen[order[score[order] >= least]].astype(np.int64)


def lengths(weights: Weights) -> Any:
    """The length of each row of weights, as a vector.

    Args:
        weights: from `RareWords.weights`.
    """
    return np.sqrt(np.asarray(weights.multiply(weights).sum(axis=1)).ravel())


def cosines(one: Vectors, other: Vectors) -> Any:
    """The cosine of each pair of rows to three decimals; what a batch changes is far below that.

    Args:
        one: vectors of length 1.
        other: as many of them.
    """
    return np.round(np.einsum("ij,ij->i", one, other, dtype=np.float64), 3)


def near_titles(titles: Sequence[tuple[str, str]], store: Store | None) -> pl.DataFrame:
    """Articles whose titles say nearly the same.

    Only titles that share rare words are embedded.

    Args:
        titles: id and title of each article.
        store: embeds; None: there is no model, and no pair.

    Returns:
        article, article_b and similarity (the cosine), for `topic_clusters`.
    """
    schema: Any = {"article": pl.String, "article_b": pl.String, "similarity": pl.Float64}
    if store is None or not titles:
        return pl.DataFrame(schema=schema)
    names, texts = zip(*sorted(titles), strict=True)
    words = RareWords.of(texts)
    weights = words.weights(texts)
    found = words.pairs(weights, weights, _TITLES + 1, _LEAST_OF_TITLES)
    found = found.filter(pl.col("held") != pl.col("seen"))
    ends = [pl.min_horizontal("held", "seen"), pl.max_horizontal("held", "seen").alias("b")]
    pairs = found.select(*ends).unique().sort("held", "b")
    needed = sorted({*pairs["held"], *pairs["b"]})
    vectors = store.vectors([texts[at] for at in needed], "titles")
    a, b = (np.searchsorted(needed, pairs[end].to_numpy()) for end in ("held", "b"))
    table = pl.DataFrame(
        {
            "article": [names[at] for at in pairs["held"]],
            "article_b": [names[at] for at in pairs["b"]],
            "similarity": cosines(vectors[a], vectors[b]) if needed else [],
        },
        schema,
    )
    return table.filter(pl.col("similarity") >= ALIKE)
