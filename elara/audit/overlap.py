"""Find texts that resemble each other, in two large collections, without comparing all pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from elara.text.words import characters, strings

SIMILAR = 0.8  # Jaccard similarity of word 3-shingles from which two texts are near-duplicates
LONG, SHORT = 13, 8  # words in a sequence that counts as copied; SHORT for texts below LONG words
SHARE = 0.5  # share of a text's sequences in one training example from which it counts as seen
COMMON = 10  # a sequence found in more sources than this is a phrase of the genre, not a leak


@dataclass(frozen=True)
class Words:
    """The words of many texts, end to end.

    Args:
        hashes: one number per word, see `elara.text.words`; case, punctuation and spacing do not
            count.
        lengths: words in each text.
    """

    hashes: np.ndarray[Any, np.dtype[np.uint64]]
    lengths: np.ndarray[Any, np.dtype[np.int64]]

    @classmethod
    def of(cls, texts: pl.Series) -> Words:
        """Read the words of texts.

        Args:
            texts: strings.
        """
        from elara.text.shingles import word_hashes

        return cls(*word_hashes(strings(texts.str.normalize("NFKC")), *characters()))

    def sequences(self, size: int, wanted: Any = None) -> pl.DataFrame:
        """Every run of words, once per text.

        Args:
            size: words in a run.
            wanted: one truth value per text: whether to read it; all of them when not given.

        Returns:
            Columns text (its position) and run (a hash).
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

    Args:
        seen: the shingles of the training texts, as `Words.sequences` gives them.
        held: those of the held-out texts.

    Returns:
        Columns text and train (positions) and similarity (0 to 1).

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


def copied(
    seen: Words, held: Words, size: int, wanted: Any, source: np.ndarray[Any, Any]
) -> pl.DataFrame:
    """Pairs of texts where the training text holds SHARE of the held-out one's sequences.

    Args:
        seen: the training texts.
        held: the held-out texts.
        size: words in a sequence.
        wanted: which held-out texts to compare, one truth value per text.
        source: a number per training text: texts of one source have the same.

    Returns:
        Columns text and train (positions) and similarity (the share, 0 to 1).

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
