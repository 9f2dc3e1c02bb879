"""Turn the curated cases into training examples, and count how far they have been checked."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from elara.expand.cases import GENERAL_KNOWLEDGE, Case, read_cases
from elara.records import Example, Message, frame

LICENCE = "CC-BY-4.0"
# When the cases were last gone through; a table that changed with the calendar would not be
# reproducible. `review_table` takes any other month.
LAST_CHECK = "2026-11"


def curated_examples(system_prompt: str, cases: Sequence[Case] | None = None) -> pl.DataFrame:
    """The curated cases as training examples.

    A case that nobody has answered a second time, or whose disagreement is open, is left out.

    Args:
        system_prompt: the system turn of every example.
        cases: from `read_cases`; by default those that ship with Elara.

    Returns:
        One `Example` row per cleared case, in file order, all in the `train` split.

    Raises:
        CuratedError: see `read_cases`.
    """
    examples = [
        Example(
            id=case.id,
            messages=[
                Message("system", system_prompt),
                Message("user", case.instruction.strip()),
                Message("assistant", render(case)),
            ],
            specialty=case.specialty,
            origin="curated",
            recipe="case",
            article_ids=[case.id],
            licence=LICENCE,
            redistributable=True,
        )
        for case in (read_cases() if cases is None else cases)
        if case.cleared
    ]
    return frame(examples, Example)


def render(case: Case) -> str:
    """The answer of a case.

    Args:
        case: a case.

    Returns:
        Markdown with one heading per part. Where the scenario leaves decisive data out, the answer
        first asks for them and says what is safe until they are there.
    """
    steps = "\n".join(f"{n}. {step}" for n, step in enumerate(case.management, start=1))
    parts = {
        "Missing information": _bullets(case.missing),
        "Until then": _bullets(case.interim),
        "Clinical reasoning": case.reasoning,
        "Management": steps,
        "Depending on the answers": _bullets(case.branches),
        "Red flags": _bullets(case.red_flags),
        "What would change the plan": _bullets(case.would_change),
        "Safety note": case.safety_note,
    }
    return "\n\n".join(f"**{heading}**\n{text}" for heading, text in parts.items() if text)


def _bullets(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def review_table(cases: Sequence[Case], month: str = LAST_CHECK) -> pl.DataFrame:
    """How far each case has been checked.

    Args:
        cases: from `read_cases`.
        month: by which the age of guidelines is counted, such as `2026-11`.

    Returns:
        One row per case: id, specialty, stance, missing (decisive data left out), figures,
        sourced (figures that name a document), second_answer, guidelines, unchecked (guidelines
        that we did not look at), old (guidelines more than 24 months old), review_status.
    """
    return pl.DataFrame(
        {
            "id": case.id,
            "specialty": case.specialty,
            "stance": case.stance,
            "missing": len(case.missing),
            "figures": len(case.facts),
            "sourced": sum(fact.source != GENERAL_KNOWLEDGE for fact in case.facts),
            "second_answer": case.second_answer.status,
            "guidelines": len(case.guidelines),
            "unchecked": sum(g.checked is None for g in case.guidelines),
            "old": sum(g.older_than_two_years(month) for g in case.guidelines),
            "review_status": case.review_status,
        }
        for case in cases
    )
