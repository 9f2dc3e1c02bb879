"""Legal lines, citations and addresses go by what they consist of; all else stays."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import real_texts
from one_text import clean_text

from elara.clean import RULES, clean
from elara.clean.legal import kind_of
from elara.records import Article, frame


@pytest.mark.parametrize(
    ("legal", "finding"),
    [
        (" Copyright 2019 Example Society.", " Drug A should never be given to children."),
        (" © 2020 The Authors.", " The treatment was not effective."),
        (" All rights reserved.", " None of the patients had fever."),
        (" Copyright © 2020 Elsevier Ltd. All rights reserved.", " Never give it."),
        (" © 2020 Elsevier Inc.", " Aspirin is contraindicated."),
        (" © 2020 Elsevier B.V.", " Aspirin is contraindicated."),
        (" © 2013 Triplitt et al.", " Patients died."),
        (" © 2016 WILEY-VCH Verlag GmbH & Co. KGaA Weinheim.", " BRCA1 carriers died."),
        (" © 2010 S. Karger AG, Basel.", " It was lost without treatment."),
        (" Published by Elsevier Ltd.", " It is not for children."),
        (" © 2012 Wiley Periodicals, Inc. Hum Mutat 33:1–10, 2012.", " IL-6 fell."),
        (
            " This is an open access article under the CC BY-NC-ND license "
            "(http://creativecommons.org/licenses/by-nc-nd/4.0/).",
            " Stop at once.",
        ),
        (" (PsycINFO Database Record (c) 2016 APA, all rights reserved).", " 5 mg failed."),
        (
            " © 2019 The Author(s). European Journal of Heart Failure published by John Wiley & "
            "Sons Ltd on behalf of European Society of Cardiology.",
            " Avoid alcohol.",
        ),
        (" This article is protected by copyright. All rights reserved.", " Infants died."),
        (" This article is a U.S. Government work and is in the public domain in the USA.", " So."),
        ("\nCopyright © 2020\nElsevier Ltd. All rights\nreserved.", "\nDo not drive."),
        ("\n© 2020 The Authors", "\nBackground\nNo patient died."),
    ],
)
def test_only_the_legal_sentence_goes(legal: str, finding: str) -> None:
    assert clean_text(f"It fell.{legal}{finding}", RULES) == f"It fell.{finding}"
    assert clean_text(f"It fell.{legal}", RULES) == "It fell."
    assert kind_of(" ".join(legal.split())) in ("legal", "")


def test_no_blank_is_needed_behind_a_legal_sentence() -> None:
    text = "It fell. © 2020 The Authors.The drug was not safe."
    assert clean_text(text, RULES) == "It fell. The drug was not safe."
    text = "We followed it. doi: 10.1000/xyz.Do not exceed the dose."
    assert clean_text(text, RULES) == "We followed it. Do not exceed the dose."


@pytest.mark.parametrize(
    "text",
    [
        "This is an open access article under heavy criticism. It was not retracted.",
        "Published by Elsevier guidelines in 2010 recommend never combining both drugs.",
        "Registered trial (https://clinicaltrials.gov/ct2/show/NCT00000000). It fell.",
        "We used it (https://www.isrctn.com/ISRCTN12345678).",
        "Data (https://www.ncbi.nlm.nih.gov/geo/query/acc.cgi?acc=GSE12345).",
        "© 2020 aspirin lowers mortality.",
        "© 2020 The Authors: Aspirin Was Not Safe.",
        "© 2020 THE AUTHORS ASPIRIN KILLED PATIENTS.",
        "All rights reserved for patients without fever.",
        "Published by the committee, the guideline says never.",
        "Contact: patients should never stop warfarin; write to a@b.org",
        "See doi: 10.1000/xyz.5 mg daily",
        "(c) 2 of 12 patients died.",
        "Copyright © 2020 IL-6 Society",
        "2.1. Methods",
    ],
)
def test_what_says_more_than_a_legal_line_stays(text: str) -> None:
    assert clean_text(text, RULES) == text


@pytest.mark.parametrize(
    "every",
    [40, pytest.param(8, marks=pytest.mark.long), pytest.param(1, marks=pytest.mark.slow)],
)
def test_what_is_removed_from_texts_of_all_kinds_holds_no_term(
    every: int, source_files: Path
) -> None:
    paths = [path for group in real_texts.sets(source_files).values() for path in group]
    texts = dict.fromkeys(t for path in paths[::every] for t in real_texts.texts(path))
    rows = [Article(id=f"{i}", source="s", title="T", abstract=t) for i, t in enumerate(texts)]
    done = clean(frame(rows, Article))
    held = done.removed.filter(pl.col("terms") > 0)
    assert done.counts["lost"] == 0
    assert done.counts["removed"]
    assert held.filter(~pl.col("kind").is_in(["legal", "address", "citation", "label"])).is_empty()
