"""Group articles by what they are about, so that a split does not cut through a disease."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence

import polars as pl

from elara.expand.cases import Case

LINKED = 0.5  # share of the weight of one article's terms that the other has, to share a topic
LARGEST = 0.1  # share of all examples that one topic may hold
# Only terms of so few articles are looked up for pairs: a share of all, within these numbers.
_COMMON, _FEW, _MANY = 0.05, 5, 200

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


def topic_clusters(
    articles: pl.DataFrame,
    examples: pl.DataFrame,
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
        articles: `Article` rows.
        examples: `Example` rows; articles that gave none are left out.
        cases: curated cases, which count as articles.
        alike: from `without_repeats`: examples whose articles are linked, too.
        near: from `near_titles`: articles whose titles say the same in other words.

    Returns:
        Article or case id to the id of its cluster's first one; and the links: article_a,
        article_b, similarity (0 to 1), kept (false: the cluster would have become too large).

    Source: https://nlp.stanford.edu/IR-book/html/htmledition/inverse-document-frequency-1.html
    """
    size = dict(examples.group_by(pl.col("article_ids").list.first()).len().iter_rows())
    rows = articles.select("id", "title", "mesh", "keywords").rows()
    rows = [row for row in rows if row[0] in size] + [(c.id, c.title, [], []) for c in cases]
    size |= {case.id: 1 for case in cases}
    titles = {name: _terms(title, []) for name, title, _, _ in rows}
    terms = {name: _terms(title, [*mesh, *words]) for name, title, mesh, words in rows}
    said = [_answers(examples, alike), *_among(near, size)]
    found = pl.concat([_pairs(titles), _pairs(terms), _equal(titles), *said])
    pairs = found.group_by("article", "article_b").agg(pl.col("similarity").max())
    pairs = pairs.sort("similarity", "article", "article_b", descending=[True, False, False])
    most = max([_FEW, math.ceil(LARGEST * sum(size.values())), *size.values()])
    first = {article: article for article in size}
    links = []
    for a, b, similarity in pairs.iter_rows():
        one, other = sorted((_root(first, a), _root(first, b)))
        kept = one == other or size[one] + size[other] <= most
        if kept and one != other:
            first[other] = one
            size[one] += size[other]
        links.append((a, b, similarity, kept))
    return {article: _root(first, article) for article in size}, pl.DataFrame(
        links, _LINKS, orient="row"
    )


def _terms(title: str, headings: list[str]) -> set[str]:
    told = " ".join([title.split(": ")[0], *headings]).casefold()
    told = re.sub("(?<=[a-z])[ao]e(?=[a-z])", "e", told)  # haemorrhage, oesophagus
    words = {word for word in re.findall(r"[^\W\d_]{3,}", told) if word not in _GENERAL}
    return {word.removesuffix("s") for word in words}


def _pairs(terms: dict[str, set[str]]) -> pl.DataFrame:
    """Similar pairs: article, article_b, similarity."""
    table = pl.DataFrame(
        [(article, term) for article, found in terms.items() for term in sorted(found)],
        {"article": pl.String, "term": pl.String},
        orient="row",
    )
    often = table.group_by("term").len("often")
    weight = (1 + len(terms) / pl.col("often")).log()
    weighted = table.join(often, on="term").with_columns(weight=weight)
    whole = weighted.group_by("article").agg(whole=pl.col("weight").sum())
    telling = weighted.filter(pl.col("often") <= max(_FEW, min(_MANY, _COMMON * len(terms))))
    telling = telling.join(whole, on="article")
    pairs = telling.join(telling, on="term", suffix="_b").filter(
        pl.col("article") < pl.col("article_b")
    )
    least = pl.min_horizontal(pl.col("whole").first(), pl.col("whole_b").first())
    share = pl.col("weight").sum() / least
    found = pairs.group_by("article", "article_b").agg(similarity=share.round(4))
    return found.filter(pl.col("similarity") >= LINKED)


def _equal(terms: dict[str, set[str]]) -> pl.DataFrame:
    """Each article with the next one of the same terms, however many share them."""
    rows = sorted((" ".join(sorted(found)), article) for article, found in terms.items() if found)
    pairs = [(a, b, 1.0) for (one, a), (other, b) in itertools.pairwise(rows) if one == other]
    schema = {"article": pl.String, "article_b": pl.String, "similarity": pl.Float64}
    return pl.DataFrame(pairs, schema, orient="row")


def _answers(examples: pl.DataFrame, alike: pl.DataFrame | None) -> pl.DataFrame:
    """The articles of examples whose answers are alike."""
    source = examples.select("id", pl.col("article_ids").list.first().alias("article"))
    schema = {"article": pl.String, "article_b": pl.String, "similarity": pl.Float64}
    if alike is None:
        return pl.DataFrame(schema=schema)
    both = alike.join(source, left_on="id_a", right_on="id")
    both = both.join(source, left_on="id_b", right_on="id", suffix="_b")
    return both.filter(pl.col("article") != pl.col("article_b")).select(list(schema))


def _among(near: pl.DataFrame | None, articles: dict[str, int]) -> list[pl.DataFrame]:
    """The pairs of which both articles gave examples."""
    if near is None:
        return []
    known = pl.col("article", "article_b").is_in(list(articles))
    return [near.filter(pl.all_horizontal(known))]


def _root(first: dict[str, str], article: str) -> str:
    while first[article] != article:
        article = first[article]
    return article
