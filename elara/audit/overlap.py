"""Find where texts share runs of words: near-duplicates, and items copied into longer texts.

Case, punctuation, line breaks and spacing do not count. For copied items numbers and the way a
compound is written (`non-invasive`, `noninvasive`, `non invasive`) do not count either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from elara.text.words import characters, strings

SIMILAR = 0.8  # Jaccard similarity of word 3-shingles from which two texts are near-duplicates
RUN = 8  # words in a run that counts as copied
QUESTION, STATEMENT = 7, 5  # words from which a question or an option counts as one run
FEWEST = 3  # runs in common from which a share below DROPPED is flagged
FLAGGED, DROPPED = 0.5, 0.8  # share of an item's runs that stand in one training example
COMMON = 10  # a run found in more held-out items than this is a phrase of the genre, not a leak

Runs = np.ndarray[Any, np.dtype[np.uint64]]


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

    def sequences(self, size: int, wanted: Any = None, among: Runs | None = None) -> pl.DataFrame:
        """Every run of so many words, once per text: its position and a hash.

        Args:
            size: words in a run.
            wanted: for each text whether to read it; all are read when it is not given.
            among: sorted hashes; runs with another hash are left out.

        Returns:
            Columns `text` (position of the text) and `run` (the hash).
        """
        text = np.repeat(np.arange(len(self.lengths), dtype=np.uint32), self.lengths)
        count = max(len(text) - size + 1, 0)
        run = np.zeros(count, dtype=np.uint64)
        for k in range(size):  # a polynomial in the words' hashes, modulo 2 to the 64
            run = run * np.uint64(0x9E3779B97F4A7C15) + self.hashes[k : k + count]
        whole = text[:count] == text[size - 1 :]  # the run does not cross into the next text
        if wanted is not None:
            whole &= wanted[text[:count]]
        if among is not None:
            whole &= among[np.searchsorted(among[:-1], run)] == run if len(among) else False
        return pl.DataFrame({"text": text[:count][whole], "run": run[whole]}).unique()


def similar(seen: pl.DataFrame, held: pl.DataFrame) -> pl.DataFrame:
    """Pairs of texts with Jaccard similarity at or above SIMILAR: none is missed.

    Two such texts share at least SIMILAR of the held-out one's shingles, so one of any
    `size * (1 - SIMILAR) + 1` of them is shared; the rarest ones give the fewest candidates.

    Args:
        seen: 3-word runs of one set of texts, from `Words.sequences`.
        held: those of the other.

    Returns:
        Columns `text` (position in `held`), `train` (position in `seen`) and `similarity`.

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


def _spelt(texts: pl.Series) -> Iterator[pl.Series]:
    """Texts without numbers; compounds are two words in the one, and one in the other."""
    plain = texts.str.normalize("NFKC").str.replace_all(r"\p{Pd}\s*[\r\n]+\s*", "-")
    plain = plain.str.replace_all(r"\p{N}+(?:[.,]\p{N}+)*", " ")
    yield plain
    yield plain.str.replace_all(r"(\p{L})[\p{Pd}\x{AD}](\p{L})", "$1$2")


class Index:
    """The runs of words of held-out passages, to look for in training texts.

    Args:
        parts: columns `passage` (number), `text` and `least` (words from which a text shorter
            than RUN counts as one run). A passage may have several texts; no run goes from one to
            the next.
    """

    def __init__(self, parts: pl.DataFrame) -> None:
        numbers, least = parts["passage"], parts["least"].to_numpy()
        asks = (Words.of(parts["text"]).lengths >= least) & (least < RUN)
        self._spellings = [self._runs(Words.of(t), numbers, asks) for t in _spelt(parts["text"])]
        often = pl.concat(self._spellings).unique().group_by("run").len()
        common = often.filter(pl.col("len") > COMMON).select("run")
        self._spellings = [runs.join(common, on="run", how="anti") for runs in self._spellings]

    @staticmethod
    def _runs(words: Words, numbers: pl.Series, asks: Any) -> pl.DataFrame:
        found = []
        for size in range(STATEMENT, RUN + 1):
            whole = (words.lengths == size) & asks
            runs = words.sequences(size, whole | (words.lengths >= RUN) & (size == RUN))
            found.append(
                runs.select("run", passage=numbers.gather(runs["text"]), size=pl.lit(size))
            )
        return pl.concat(found).unique()

    def copied(self, texts: pl.Series) -> pl.DataFrame:
        """Pairs of passages and texts where a text holds FLAGGED of a passage's runs.

        Runs that more than COMMON passages have do not count, and fewer than FEWEST runs in common
        only where they are DROPPED or more of all.

        Args:
            texts: training texts.

        Returns:
            Columns `passage`, `train` (position in `texts`) and `similarity`.

        Source: https://arxiv.org/abs/2005.14165, appendix C (Brown et al. 2020).
        """
        found = []
        for runs, spelt in zip(self._spellings, _spelt(texts), strict=True):
            words = Words.of(spelt)
            ours = []
            for size in sorted(set(runs["size"])):
                among = np.sort(runs.filter(size=size)["run"].unique().to_numpy())
                ours.append(words.sequences(size, among=among).rename({"text": "train"}))
            total = runs.group_by("passage").agg(total=pl.len())
            seen = pl.concat(ours or [pl.DataFrame(schema={"train": pl.UInt32, "run": pl.UInt64})])
            shared = runs.join(seen, on="run").group_by("passage", "train").agg(shared=pl.len())
            share = pl.col("shared") / pl.col("total")
            enough = pl.when(pl.col("shared") < FEWEST).then(DROPPED).otherwise(FLAGGED)
            near = shared.join(total, on="passage").filter(share >= enough)
            found.append(near.select("passage", "train", similarity=share))
        return pl.concat(found).group_by("passage", "train").agg(pl.col("similarity").max())
