"""Shortening never changes what a text says: the cut is behind a whole sentence, list or table."""

from __future__ import annotations

import pytest

from elara.text.sentences import count_words, shorten

LIST = "Rest first. Do not take it if:\n- you are pregnant\n- you are a child\n\nRest now."
TABLE = "Doses.\n\nAge | Dose\nChild | 5 mg\nAdult | 50 mg\n\nEnd here."
ABBREVIATIONS = (
    "et al.|Fig.|ca.|e.g.|i.e.|Dr.|Prof.|Mrs.|St.|vs.|cf.|approx.|i.v.|p.o.|b.i.d.|U.S.|Ph.D."
    "|J.|spp."
)


@pytest.mark.parametrize("abbreviation", ABBREVIATIONS.split("|"))
def test_an_abbreviation_ends_no_sentence(abbreviation: str) -> None:
    text = f"One two three. Four five {abbreviation} Six seven must not go. The end."
    assert shorten(text, 8) == "One two three."
    assert shorten(text, count_words(text) - 1) == text.removesuffix(" The end.")


@pytest.mark.parametrize(
    ("text", "most", "kept"),
    [
        ("Take it. See No. 5 for more. End here now.", 5, "Take it."),
        ("The answer is no. Patients should rest.", 5, "The answer is no."),
        ("Give 0.5 mg. Then 1.5 mg daily.", 4, "Give 0.5 mg."),
        ("S. aureus grew. E. coli did not grow.", 4, "S. aureus grew."),
        ("Written by J. Smith today. More here.", 6, "Written by J. Smith today."),
        ("Take vitamin C. It helps a lot.", 4, "Take vitamin C."),
        ("(See Dr. A. B. Then rest.) Go on now.", 7, "(See Dr. A. B. Then rest.)"),
        ("He said “Stop.” Then he left.", 4, "He said “Stop.”"),
        ("Is it safe? Yes it is.", 3, "Is it safe?"),
        ("pH was 7.4. mRNA rose. End.", 3, ""),
        ("It rose in 2020. The rest fell.", 4, "It rose in 2020."),
        ("A sentence. 1. Take it. 2. Do not stop. 3. Rest.", 6, "A sentence. 1. Take it."),
        ("口服补液盐安全。不应给予儿童。结束。", 9, "口服补液盐安全。"),
        ("口服补液盐安全有效而且便宜", 5, ""),
        ("It is hard\nwrapped text here. Next one.", 6, "It is hard\nwrapped text here."),
        ("First one.\n\nSide effects\n\nNausea and more things.", 4, "First one."),
        ("A whole sentence. It must not be given to the", 99, "A whole sentence."),
        ("Aspirin 75 mg once daily", 99, "Aspirin 75 mg once daily"),
        (LIST, 8, "Rest first."),
        (LIST, 17, LIST.removesuffix("\n\nRest now.")),
        (LIST, 99, LIST),
        (TABLE, 6, "Doses."),
        (TABLE, 12, TABLE.removesuffix("\n\nEnd here.")),
    ],
)
def test_the_cut_is_behind_something_whole(text: str, most: int, kept: str) -> None:
    assert shorten(text, most) == kept


def test_words_are_counted_in_any_script() -> None:
    assert count_words("5 mg of COVID-19疫苗 a day") == 8
    assert count_words("") == 0
