"""What a source prints in place of a value is no value, and leaves a row."""

from __future__ import annotations

import pytest

from elara.collect import medline, tables
from elara.collect.own import own_article
from elara.text.placeholders import is_placeholder

NONE = [
    "[Not Available].", "[Not Available]", "N/A", "n/a", "N/A N/A", "n. a.", "-", "—", "...", "[ ]",
    "No abstract available", "[No abstract available]", "No abstract", "Not available",
    "NOT AVAILABLE", "[title not available]", "[Article title not available].", "Title unavailable",
    "No abstract is available for this article.", "This article has no abstract.", "Untitled.",
    "[No authors listed]", "Abstract not provided.", "null", "NaN", "[Non disponible]",
    "Abstract available from the publisher.", "Resumen no disponible", "Kein Abstract verfügbar",
]  # fmt: skip
VALUES = [
    "", "Na", "Nan Li", "No", "Not", "Jan Null", "Available drugs", "Abstract", "β", "5", "中文",
    "Not available to women: a survey", "Fever of unknown origin", "Null hypothesis", "Nil per os",
    "Unavailable beds", "FUNDING: None", "Not known to be infected", "No title, no rank: nurses",
]  # fmt: skip


@pytest.mark.parametrize("text", NONE)
def test_placeholders_are_told(text: str) -> None:
    assert is_placeholder(text)


@pytest.mark.parametrize("text", VALUES)
def test_values_are_kept(text: str) -> None:
    assert not is_placeholder(text)


def test_medline_text_leaves_rows() -> None:
    record = """PMID- 7
TI  - [Not Available].
TT  - Un titre.
AB  - No abstract available.
OAB - Publisher: Abstract available from the publisher.
OABL- fre
OAB - PIP: Ten.
OABL- eng
OAB - Publisher: Uno.
OABL- spa
LA  - fre
FAU - [No authors listed]
SO  - x.
"""
    (found,) = medline.parse([record.encode()])
    article = found.article
    assert article is not None
    assert (article.title, article.abstract, article.authors) == ("Un titre.", "Ten.", [])
    assert [(s.heading, s.text, s.kind) for s in article.body] == [
        ("Abstract (es)", "Uno.", "translation")
    ]
    assert [d.block for d in found.dropped] == ["TI", "AB", "FAU", "OAB"]


def test_tables_and_references_leave_rows() -> None:
    values = {"title": "N/A", "abstract": "Real.", "keywords": "-; fever", "authors": "n/a",
              "journal": "Not available", "pmid": "0012"}  # fmt: skip
    found = own_article(values, [])
    assert found.article is not None
    assert (found.article.title, found.article.journal) == ("", "")
    assert (found.article.keywords, found.article.authors) == (["fever"], [])
    assert [d.block for d in found.dropped] == ["title", "journal", "pmid", "keywords", "authors"]
    ris = "TY  - JOUR\nTI  - [Not available]\nAB  - No abstract available\nER  - \n"
    (reference,) = tables.parse(tables.ris_rows([ris.encode()]), {}, "a.ris")
    assert (reference.status, reference.reason) == ("skipped", "no text in `abstract`")
