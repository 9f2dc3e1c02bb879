"""Synthetic feedback, built by a rule: for tests, and never to be taken for readers' opinions.

The rule: of two answers to a question, the one that names the warning signs which need care at
once is chosen; the other one closes with a friendly sentence of about that length. Nothing else
differs, so a rising margin says that the model learned this rule, and nothing about medicine.
"""

from __future__ import annotations

import json
import sys

import polars as pl

from elara.records import Message, Preference, frame

# Complaint, common first advice, three warning signs.
TOPICS = [
    ("a fever", "rest and drink plenty of fluids", "a stiff neck, confusion or fits"),
    (
        "diarrhoea",
        "drink oral rehydration solution in small sips",
        "blood in the stool, sunken eyes or no urine",
    ),
    (
        "a cough with a cold",
        "rest and keep drinking",
        "coughing up blood, chest pain or trouble breathing",
    ),
    (
        "a headache",
        "rest in a quiet room and drink water",
        "a sudden severe onset, weakness of one side or a stiff neck",
    ),
    (
        "low back pain",
        "stay gently active",
        "numbness between the legs, loss of bladder control or weakness of a leg",
    ),
    (
        "a sore throat",
        "drink cool or warm fluids",
        "drooling, a muffled voice or trouble breathing",
    ),
    (
        "an earache",
        "keep the ear dry and rest",
        "swelling behind the ear, a stiff neck or a drooping face",
    ),
    (
        "an itchy rash",
        "keep the skin cool and do not scratch",
        "swelling of the face, trouble breathing or purple spots",
    ),
    (
        "vomiting",
        "take small sips of fluid often",
        "blood in the vomit, severe belly pain or no urine",
    ),
    (
        "a small burn",
        "cool it under running water for twenty minutes",
        "a large burn, a burn of the face or an electric burn",
    ),
    (
        "a nosebleed",
        "lean forward and pinch the soft part of the nose",
        "bleeding for over half an hour, a head injury or fainting",
    ),
    ("dizziness", "sit or lie down until it passes", "chest pain, slurred speech or fainting"),
    (
        "constipation",
        "drink more and eat more fibre",
        "vomiting, a swollen belly or blood in the stool",
    ),
    (
        "heartburn",
        "eat smaller meals and not late in the evening",
        "black stools, trouble swallowing or weight loss",
    ),
    (
        "a twisted ankle",
        "rest it, raise it and cool it",
        "a crooked joint, a numb foot or no step possible",
    ),
    (
        "sickness in early pregnancy",
        "eat small meals often",
        "no fluid kept down, dark urine or weight loss",
    ),
    (
        "a small cut",
        "wash it with clean water and press on it",
        "bleeding that does not stop, red streaks or a deep dirty wound",
    ),
    (
        "burning when passing urine",
        "drink water and have the urine tested",
        "fever, pain in the flank or pregnancy",
    ),
    (
        "a red eye",
        "wash the hands often and do not rub the eye",
        "loss of sight, severe pain or pain from light",
    ),
    (
        "a bee sting",
        "remove the sting and cool the skin",
        "swelling of the face, trouble breathing or fainting",
    ),
    (
        "too much sun and heat",
        "move to the shade and drink",
        "confusion, fits or hot skin without sweat",
    ),
    (
        "toothache",
        "rinse with warm salt water and see a dentist",
        "swelling of the face, fever or trouble swallowing",
    ),
    (
        "a swollen leg",
        "have it looked at soon",
        "sudden breathlessness, chest pain or coughing up blood",
    ),
    (
        "a child's cold",
        "offer drinks often and keep the nose clear",
        "fast breathing, a chest that draws in or no drinking",
    ),
]
FRIENDLY = "I hope that this short answer is of some use to you, and I wish you a pleasant week"


def pairs(n: int = len(TOPICS)) -> pl.DataFrame:
    """One pair per topic, under the source `synthetic`."""
    return frame(
        [
            Preference(
                id=f"synthetic:{i}",
                prompt=[Message("user", f"What helps against {complaint}?")],
                chosen=f"With {complaint}, {advice}. Go to a clinic at once with {signs}.",
                rejected=f"With {complaint}, {advice}. {FRIENDLY}.",
                source="synthetic",
            )
            for i, (complaint, advice, signs) in enumerate(TOPICS[:n])
        ],
        Preference,
    )


def singles(n: int = len(TOPICS)) -> pl.DataFrame:
    """The same answers judged one by one; two in three are liked."""
    good = pl.int_range(pl.len()) % 3 != 2
    return pairs(n).with_columns(
        id=pl.col("id") + "/single",
        chosen=pl.when(good).then("chosen").otherwise("rejected"),
        rejected=pl.lit(""),
        label=pl.when(good).then(pl.lit("desirable")).otherwise(pl.lit("undesirable")),
    )


if __name__ == "__main__":
    for row in pairs().iter_rows(named=True):
        sys.stdout.write(json.dumps(row) + "\n")
