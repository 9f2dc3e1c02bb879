"""References are found in prose, each under one name however it is written."""

from __future__ import annotations

import time

import pytest

from elara.text.references import references


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("See PMID: 12345678 and pmid 12345678.", {"PMID 12345678"}),
        ("https://pubmed.ncbi.nlm.nih.gov/123/ says so", {"PMID 123"}),
        ("doi:10.1000/AbC-1, and https://doi.org/10.1000/abc-1.", {"DOI 10.1000/abc-1"}),
        ("(https://doi.org/10.1000%2Fx)", {"DOI 10.1000/x"}),
        ("**10.1000/x**", {"DOI 10.1000/x"}),
        ("PMC123 (https://pmc.ncbi.nlm.nih.gov/articles/PMC123/)", {"PMCID PMC123"}),
        ("the trial nct01234567; NCT0123456 is too short", {"NCT01234567"}),
        ("https://clinicaltrials.gov/study/NCT01234567", {"NCT01234567"}),
        ("at https://www.WHO.int/news/. Or www.who.int/news", {"who.int/news"}),
        ("Smith et al., 2019; SMITH *et al.* (2019)", {"smith et al. 2019"}),
        ("Müller-Lüdenscheidt et al [2003] and O’Brien et al. 1999",
         {"müller-lüdenscheidt et al. 2003", "o’brien et al. 1999"}),
        ("[1] Smith J, Doe A, et al. Title. 2019.", set()),
        ("In 2019, 10.5 mg/kg every 12/24 h, 10.000/12 people; et al.", set()),
        ("The PMID is not known, nor the doi. Visit our website.", set()),
    ],
)  # fmt: skip
def test_what_a_text_refers_to(text: str, found: set[str]) -> None:
    assert references(text) == found


@pytest.mark.parametrize(
    "unit", ["10.1234/", ".", "www.", "http://", "Aa et al., ", "A", "PMC", "PMID: ", "*", "a-"]
)
def test_no_text_takes_long(unit: str) -> None:
    begun = time.perf_counter()
    references(f"10.1234/{unit * (40_000 // len(unit))}")
    assert time.perf_counter() - begun < 1
