"""Words that a line end splits become one only where the joined word is known."""

from __future__ import annotations

import pyarrow as pa
import pytest
from one_text import clean_text

from elara.clean import RULES, clean
from elara.clean.repair import count_forms, join_hyphens
from elara.records import Article, frame


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("hyper-\ntension", "hypertension"),
        ("signifi-\ncant", "significant"),
        ("inter-\nleukin-6", "interleukin-6"),
        ("hiper-\ntensión", "hipertensión"),
        ("hyper\u00ad\ntension", "hypertension"),
        ("screen-dete-\ncted", "screen-detected"),
        ("apnea-hypo-\npnea", "apnea-hypopnea"),
        ("zyx-\nwab of zyxwab", "zyxwab of zyxwab"),
        ("beta-\nblocker", "beta-blocker"),
        ("dose-\nresponse", "dose-response"),
        ("co-\noperation, co-operation", "co-operation, co-operation"),
        ("day-to-\nday", "day-to-day"),
        ("follow-\nup", "follow-up"),
        ("non-\ninvasive", "non-invasive"),
        ("T-\ncell", "T-cell"),
        ("HIV-\npositive", "HIV-positive"),
        ("Guillain-Barré, Guillain-\nBarré", "Guillain-Barré, Guillain-Barré"),
        ("pre- and post-\nmenopausal", "pre- and postmenopausal"),
        ("pre-\nand postmenopausal", "pre- and postmenopausal"),
        ("short-\nto long-term", "short- to long-term"),
        ("pré-\net postopératoire", "pré- et postopératoire"),
        ("intra-\noder extra", "intra- oder extra"),
        ("my elbow-\nit hurts", "my elbow- it hurts"),
        ("arthrit-\nis", "arthritis"),
        ("Guillain-\nBarré", "Guillain-\nBarré"),
        ("5-\n10 mg", "5-\n10 mg"),
        ("IL-\n6", "IL-\n6"),
        ("1,2-\ndiol", "1,2-\ndiol"),
        ("para-\n\ngraph", "para-\n\ngraph"),
    ],
)
def test_line_ends(before: str, after: str) -> None:
    assert clean_text(before, RULES) == after


def test_the_words_of_the_collection_decide() -> None:
    texts = ["The quixo-\nblat fell.", "A quixoblat.", "The vexo-\ntram rose.", "A vexo-tram."]
    rows = [Article(id=f"s:{i}", source="s", title="T", abstract=t) for i, t in enumerate(texts)]
    done = clean(frame(rows, Article))
    assert done.articles["abstract"].to_list() == [
        "The quixoblat fell.", "A quixoblat.", "The vexo-tram rose.", "A vexo-tram.",
    ]  # fmt: skip
    assert done.counts["review"] == done.counts["lost"] == 0


def test_words_are_counted_with_their_parts_and_pairs() -> None:
    asked = ["beta-blocker", "blocker-free", "beta", "état", "unseen"]
    texts = pa.array(["A beta-blocker, a Beta-blocker-free day", "état"], pa.large_string())
    words = count_forms(texts, asked)
    assert words == {"beta-blocker": 2, "blocker-free": 1, "beta": 2, "état": 1}
    assert join_hyphens("beta-\nblockers", words) == "beta-blockers"
