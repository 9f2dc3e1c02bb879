"""Group articles by what they are about, so that a split does not cut through a disease."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from elara.expand.cases import Case
from elara.expand.parts import Examples
from elara.text.words import Array

LINKED = 0.5  # share of the weight of one article's terms that the other has, to share a topic
LARGEST = 0.1  # share of all examples that one topic may hold
# Only terms of so few articles are looked up for pairs: a share of all, within these numbers.
_COMMON, _FEW, _MANY = 0.05, 5, 200
_ROWS = 2000  # articles that are compared with all others at a time

# MeSH headings that say who or what was studied, and words of titles that name no topic.
_NAMES_NO_TOPIC = """
    humans male female adult adults aged child children preschool infant newborn adolescent animals
    middle young pregnancy patients patient disease diseases syndrome acute chronic severe early
    late new study trial review case report care clinical treatment management diagnosis therapy
    prevention guide guideline guidelines approach practice hospital health medical using based
    with without from after before between during their what when where which does about into
    over than that this these those first second line step common errors safe safely simple
    africa african clinics adults primary complete whole right hours knowing recognising recognizing
"""
_GENERAL = frozenset(_NAMES_NO_TOPIC.split())
_LINKS = {"article_a": pl.String, "article_b": pl.String, "similarity": pl.Float64, "kept": bool}
_PAIRS = {"a": pl.UInt32, "b": pl.UInt32, "similarity": pl.Float64}


class _Terms(NamedTuple):
    """The terms of articles as numbers, one article after the other, ascending in each."""

    lengths: Array
    codes: Array


def topic_clusters(
    articles: pl.DataFrame | pl.LazyFrame,
    examples: Examples,
    cases: Sequence[Case] = (),
    alike: pl.DataFrame | None = None,
    near: pl.DataFrame | None = None,
) -> tuple[dict[str, str], pl.DataFrame]:
    """Put articles, and curated cases, on the same topic into one cluster.

    Two articles are linked when the terms of their titles (up to a colon) overlap, or those with
    MeSH headings and keywords: the terms in common have at least `LINKED` of the weight (inverse
    document frequency) of one article's terms. Titles of the same terms are always linked. The
    strongest links come first; one that would make a cluster larger than `LARGEST` is refused.

    Args:
        articles: `Article` rows, which may be scanned; titles, headings and keywords are read.
        examples: the examples; articles that gave none are left out.
        cases: curated cases, which count as articles.
        alike: from `without_repeats`: examples whose articles are linked, too.
        near: from `near_titles`: articles whose titles say the same in other words.

    Returns:
        Article or case id to the id of its cluster's first one; and the links: article_a,
        article_b, similarity (0 to 1), kept (false: the cluster would have become too large).

    Source: https://nlp.stanford.edu/IR-book/html/htmledition/inverse-document-frequency-1.html
    """
    counts = dict(examples.index.group_by("article_id").len().iter_rows())
    counts |= {case.id: 1 for case in cases}
    names = pl.Series("id", sorted(counts), pl.String)
    told = _described(articles, names, cases)
    titles = _coded(_terms(title or "", []) for _, title, *_ in told.iter_rows())
    terms = _coded(
        _terms(title or "", [*(mesh or []), *(words or [])])
        for _, title, mesh, words in told.iter_rows()
    )
    said = [_answers(examples, names, alike), _among(near, names)]
    found = [*_pairs(titles), *_pairs(terms), _equal(titles), *said]
    pairs = pl.concat(found).group_by("a", "b").agg(pl.col("similarity").max())
    pairs = pairs.sort("similarity", "a", "b", descending=[True, False, False])
    first, kept = _joined(pairs, [counts[name] for name in names])
    a, b = (names.gather(pairs[side]) for side in ("a", "b"))
    links = pl.DataFrame([a, b, pairs["similarity"], pl.Series(kept, dtype=pl.Boolean)], _LINKS)
    return dict(zip(names, names.gather(first), strict=True)), links


def _joined(pairs: pl.DataFrame, size: list[int]) -> tuple[list[int], list[bool]]:
    """The first article of each one's cluster, and whether each pair was kept."""
    most = max([_FEW, math.ceil(LARGEST * sum(size)), *size])
    first, links = list(range(len(size))), []
    for a, b in pairs.select("a", "b").iter_rows():
        one, other = sorted((_root(first, a), _root(first, b)))
        kept = one == other or size[one] + size[other] <= most
        if kept and one != other:
            first[other] = one
            size[one] += size[other]
        links.append(kept)
    return [_root(first, article) for article in range(len(size))], links


def _described(
    articles: pl.DataFrame | pl.LazyFrame, names: pl.Series, cases: Sequence[Case]
) -> pl.DataFrame:
    """Title, headings and keywords of each name, in their order."""
    columns = ("id", "title", "mesh", "keywords")
    ours = articles.lazy().select(columns).filter(pl.col("id").is_in(names.implode())).collect()
    more = pl.DataFrame([(c.id, c.title, [], []) for c in cases], ours.schema, orient="row")
    return names.to_frame().join(
        pl.concat([ours, more]), on="id", how="left", maintain_order="left"
    )


def _terms(title: str, headings: list[str]) -> set[str]:
    told = " ".join([title.split(": ")[0], *headings]).casefold()
    told = re.sub("(?<=[a-z])[ao]e(?=[a-z])", "e", told)  # haemorrhage, oesophagus
    words = {word for word in re.findall(r"[^\W\d_]{3,}", told) if word not in _GENERAL}
    return {word.removesuffix("s") for word in words}


def _coded(found: Iterable[set[str]]) -> _Terms:
    known: dict[str, int] = {}
    lengths, codes = array("I"), array("I")
    for terms in found:
        lengths.append(len(terms))
        codes.extend(sorted(known.setdefault(term, len(known)) for term in sorted(terms)))
    return _Terms(np.array(lengths, np.int64), np.array(codes, np.int32))


def _pairs(terms: _Terms) -> Iterator[pl.DataFrame]:
    """Similar pairs, some articles with all others at a time: a, b, similarity."""
    from scipy.sparse import csr_array

    count = len(terms.lengths)
    often = np.bincount(terms.codes)
    weight = np.log1p(count / np.maximum(often, 1))[terms.codes]
    owner = np.repeat(np.arange(count), terms.lengths)
    whole = np.bincount(owner, weight, count)
    telling = (often > 1) & (often <= max(_FEW, min(_MANY, _COMMON * count)))
    used = telling[terms.codes] if len(often) else np.empty(0, bool)
    size = (count, max(len(often), 1))
    weighted, there = (
        csr_array((values[used], (owner[used], terms.codes[used])), size)
        for values in (weight, np.ones(len(weight), np.float32))
    )
    there = there.T.tocsr()
    for start in range(0, count, _ROWS):
        shared = (weighted[start : start + _ROWS] @ there).tocoo()
        a, b = (np.asarray(side, np.int64) for side in shared.coords)
        a += start
        share = (shared.data / np.minimum(whole[a], whole[b])).round(4)
        near = (a < b) & (share >= LINKED)
        yield pl.DataFrame([a[near], b[near], share[near]], _PAIRS)


def _equal(terms: _Terms) -> pl.DataFrame:
    """Each article with the next one of the same terms, however many share them."""
    ends = np.cumsum(terms.lengths).tolist()
    same: dict[bytes, int] = {}
    pairs = []
    for article, (start, end) in enumerate(itertools.pairwise([0, *ends])):
        told = hashlib.blake2b(terms.codes[start:end].tobytes(), digest_size=16).digest()
        if end > start and told in same:
            pairs.append((same[told], article, 1.0))
        same[told] = article
    return pl.DataFrame(pairs, _PAIRS, orient="row")


def _answers(examples: Examples, names: pl.Series, alike: pl.DataFrame | None) -> pl.DataFrame:
    """The articles of examples whose answers are alike."""
    if alike is None or alike.is_empty():
        return pl.DataFrame(schema=_PAIRS)
    source = examples.index.select("id", article="article_id")
    both = alike.join(source, left_on="id_a", right_on="id")
    return _placed(both.join(source, left_on="id_b", right_on="id", suffix="_b"), names)


def _placed(pairs: pl.DataFrame, names: pl.Series) -> pl.DataFrame:
    """Pairs of articles (article, article_b, similarity) by their places; no others are known."""
    place = pl.DataFrame({"article": names, "a": np.arange(len(names), dtype=np.uint32)})
    both = pairs.join(place, on="article")
    both = both.join(place.rename({"article": "article_b", "a": "b"}), on="article_b")
    sides = pl.min_horizontal("a", "b").alias("a"), pl.max_horizontal("a", "b").alias("b")
    return both.select(*sides, "similarity").filter(pl.col("a") != pl.col("b"))


def _among(near: pl.DataFrame | None, names: pl.Series) -> pl.DataFrame:
    """The pairs of titles of which both articles gave examples."""
    if near is None:
        return pl.DataFrame(schema=_PAIRS)
    place = pl.DataFrame({"article": names, "place": np.arange(len(names), dtype=np.uint32)})
    both = near.join(place, on="article")
    both = both.join(place, left_on="article_b", right_on="article", suffix="_b")
    sides = pl.min_horizontal("place", "place_b"), pl.max_horizontal("place", "place_b")
    return both.select(sides[0].alias("a"), sides[1].alias("b"), "similarity")


def _root(first: list[int], article: int) -> int:
    while first[article] != article:
        first[article] = first[first[article]]
        article = first[article]
    return article
