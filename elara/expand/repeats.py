"""Drop examples that repeat another one, and say which and why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from elara.audit.overlap import SIMILAR
from elara.expand.cautions import drugs
from elara.expand.parts import Examples
from elara.text.words import Array

_TERM = re.compile(
    r"\d+(?:[.,·]\d+)*|[<>≤≥%]|\b(?:no|not|non|nor|none|never|without|cannot|avoid\w*|contraindicated|"
    r"stop\w*|withh[eo]ld\w*)\b",
    re.IGNORECASE,
)
_RULES = {"equal id": "id", "equal answer": "answer", "equal question": "question"}
_BITS = 26  # of a hash, by which runs are counted: 64 MiB
_ALIKE = {"id_a": pl.String, "id_b": pl.String, "similarity": pl.Float64, "differs": pl.String}


@dataclass(frozen=True)
class Repeats:
    """Which examples repeat others.

    Args:
        examples: those kept: of each repeat the first.
        dropped: columns id, rule (`equal id`, `equal answer`, `equal question`, `answer alike`),
            repeats (the id of the one kept) and similarity (0 to 1).
        alike: id_a, id_b, similarity, differs: answers alike but for a number, a negation, a
            comparison or a drug. Both stay, and belong on one side of a split.
    """

    examples: Examples
    dropped: pl.DataFrame
    alike: pl.DataFrame


def without_repeats(examples: Examples) -> Repeats:
    """Drop examples whose question or answer stands in an earlier one already.

    Question sets repeat template answers under many titles; if one copy were trained on and
    another tested on, the test would reward memory. Two answers are alike from a Jaccard
    similarity of word 3-shingles of `elara.audit.overlap.SIMILAR` on.

    Args:
        examples: the examples; of each repeat the first stays.
    """
    left, dropped = examples, []
    for rule, key in _RULES.items():
        first = left.index.with_columns(repeats=pl.col("id").first().over(key))
        again = ~pl.col(key).is_first_distinct()
        dropped.append(first.filter(again).select("id", "repeats", rule=pl.lit(rule)))
        left = left.only(left.index.filter(~again))
    near = _alike(left)
    repeated = near.filter(differs="").unique("id_b", keep="first", maintain_order=True)
    alike = pl.lit("answer alike")
    rows = [
        *(table.with_columns(similarity=pl.lit(1.0)) for table in dropped),
        repeated.select("similarity", id="id_b", repeats="id_a", rule=alike),
    ]
    both = near.filter(
        pl.col("differs") != "",
        ~pl.any_horizontal(pl.col("id_a", "id_b").is_in(repeated["id_b"].implode())),
    )
    found = pl.concat([table.select("id", "rule", "repeats", "similarity") for table in rows])
    return Repeats(left.without(repeated["id_b"]), found.sort("id"), both)


def _alike(examples: Examples) -> pl.DataFrame:
    """Pairs of answers that are alike: id_a, id_b (the later one), similarity, differs."""
    pairs, shared = _similar(examples, _candidates(examples))
    rows = np.unique(pairs)
    found = [(_telling(text), text) for text in examples.answers(rows)] if len(rows) else []
    told = dict(zip(rows.tolist(), (counts for counts, _ in found), strict=True))
    ids = examples.index["id"]
    differ = [_difference(told[a], told[b]) for a, b in pairs.tolist()]
    columns = [ids.gather(pairs[:, 0]), ids.gather(pairs[:, 1]), shared.round(4), differ]
    return pl.DataFrame(dict(zip(_ALIKE, columns, strict=True)), _ALIKE)


def _candidates(examples: Examples) -> Array:
    """Pairs of rows that may be alike: none that is alike is missed.

    Two texts that share `SIMILAR` of their runs share one of any `runs * (1 - SIMILAR) + 1` of
    each; the rarest ones give the fewest candidates. How rare a run is, is counted by the first
    bits of its hash, so that memory does not grow with the examples; runs that stand in one text
    alone, as nearly all of these do, are not kept.

    Source: https://doi.org/10.1145/1242572.1242591 (Bayardo, Ma and Srikant 2007).
    """
    often = np.zeros(1 << _BITS, np.uint8)
    for _, _, runs in examples.runs():
        places, counts = np.unique(runs >> np.uint64(64 - _BITS), return_counts=True)
        often[places] = np.minimum(often[places] + counts, 255)
    rare = [_rarest(often, *part) for part in examples.runs()]
    if not rare:
        return np.empty((0, 2), np.int64)
    runs, rows = (np.concatenate([part[i] for part in rare]) for i in (0, 1))
    order = np.lexsort((rows, runs))
    found = [*_together(runs[order], rows[order], examples.index["runs"].to_numpy())]
    return np.unique(np.concatenate(found), axis=0) if found else np.empty((0, 2), np.int64)


def _rarest(often: Array, rows: Array, lengths: Array, runs: Array) -> tuple[Array, Array]:
    """The rarest runs of each text, as far as others have them: run and row."""
    text = np.repeat(rows, lengths)
    count = often[runs >> np.uint64(64 - _BITS)]
    order = np.lexsort((runs, count, text))
    rank = np.arange(len(text)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    least = np.repeat(np.floor(lengths * (1 - SIMILAR) + 1e-9), lengths)
    kept = order[(rank <= least) & (count[order] > 1)]
    return runs[kept], text[kept].astype(np.uint32)


def _together(runs: Array, rows: Array, sizes: Array) -> Iterator[Array]:
    """Pairs of rows with a run in common, where their sizes allow them to be alike."""
    at, step = np.arange(len(runs)), 0
    while len(at):
        step += 1
        at = at[at + step < len(runs)]
        at = at[runs[at] == runs[at + step]]
        one, other = rows[at].astype(np.int64), rows[at + step].astype(np.int64)
        small, large = (f(sizes[one], sizes[other]) for f in (np.minimum, np.maximum))
        close = small >= SIMILAR * large
        if close.any():
            yield np.unique(np.stack([one[close], other[close]], axis=1), axis=0)


def _similar(examples: Examples, pairs: Array) -> tuple[Array, Array]:
    """The pairs that are alike, and how much."""
    from elara.text.shingles import jaccard

    wanted = np.unique(pairs)
    lengths: list[Array] = [np.zeros(1, np.int64)]
    kept: list[Array] = [np.empty(0, np.uint64)]
    for rows, sizes, runs in examples.runs():
        some = np.isin(rows, wanted)
        lengths.append(sizes[some])
        kept.append(runs[np.repeat(some, sizes)])
    starts = np.cumsum(np.concatenate(lengths))
    left, right = (np.searchsorted(wanted, pairs[:, i]) for i in (0, 1))
    found = jaccard(starts, np.concatenate(kept), left, right)
    near = found >= SIMILAR - 1e-12
    return pairs[near], found[near]


def differs(one: str, other: str) -> str:
    """The first number, negation, comparison or drug that only one of two texts has, or "".

    Args:
        one: a text.
        other: another one.
    """
    return _difference(_telling(one), _telling(other))


def _telling(text: str) -> Counter[str]:
    """The words of a text that count."""
    return Counter([*map(str.casefold, _TERM.findall(text)), *drugs(text)])


def _difference(one: Counter[str], other: Counter[str]) -> str:
    missing = (one - other) + (other - one)
    return min(missing, default="")
