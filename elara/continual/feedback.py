"""Read feedback on answers, check it, and split it by question."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Any, get_args

import polars as pl
from pydantic import TypeAdapter, ValidationError

from elara.records import Opinion, Preference, frame, records, schema
from elara.train.config import TrainingError

_FORM = TypeAdapter(Preference)


def read_preferences(path: Path) -> pl.DataFrame:
    """Read feedback: JSON Lines with one `Preference` a line.

    Args:
        path: the file. Fields that have a default may be left out.

    Returns:
        A table with the columns of `Preference`, in the file's order.

    Raises:
        TrainingError: the file cannot be read or holds nothing, or a line is not a preference;
            the message names file, line and remedy.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise TrainingError(f"{path} cannot be read ({error}): name the feedback file.") from error
    found: dict[str, tuple[int, Preference]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            preference = _FORM.validate_json(line, strict=True, extra="forbid")
            wrong = _what_is_wrong(preference)
        except ValidationError as error:
            told = error.errors()[0]
            wrong = f"{'.'.join(map(str, told['loc']))}: {told['msg']}".removeprefix(": ")
        else:
            if (name := preference.id) in found:
                wrong = f"its id {name!r} is that of line {found[name][0]}"
        if wrong:
            raise TrainingError(f"{path}, line {number}: {wrong}. Correct the line, or remove it.")
        found[name] = number, preference
    if not found:
        raise TrainingError(f"{path} holds no preference: collect feedback first.")
    return frame([preference for _, preference in found.values()], Preference)


def _what_is_wrong(preference: Preference) -> str:
    """The first rule that a preference breaks, or ""."""
    last, pair = preference.prompt[-1:], preference.label == "pair"
    chosen, rejected = preference.chosen.strip(), preference.rejected.strip()
    rules = {
        "a turn of `prompt` is not by system, user or assistant": not all(
            turn.role in ("system", "user", "assistant") for turn in preference.prompt
        ),
        f"`label` {preference.label!r} is not known": preference.label not in get_args(Opinion),
        "its id is empty": not preference.id.strip(),
        "the last message of `prompt` is not the user's": not last or last[0].role != "user",
        "the question is empty": not last or not last[0].content.strip(),
        "`chosen` is empty": not chosen,
        "`rejected` is set although one answer was judged": bool(rejected) and not pair,
        "`rejected` is empty in a pair": pair and not rejected,
        "both answers of the pair are the same": pair and chosen == rejected,
    }
    return next((rule for rule, broken in rules.items() if broken), "")


def check(preferences: pl.DataFrame) -> None:
    """Hold a table that did not come from `read_preferences` to the same rules.

    Args:
        preferences: `Preference` rows.

    Raises:
        TrainingError: a row is not a preference, or two rows have the same id.
    """
    for preference in records(preferences, Preference):
        if wrong := _what_is_wrong(preference):
            raise TrainingError(f"Preference {preference.id!r}: {wrong}. Correct or remove it.")
    if double := preferences.filter(pl.col("id").is_duplicated())["id"].to_list():
        raise TrainingError(f"Preference {double[0]!r} is there twice: remove one.")


def split_by_prompt(
    preferences: pl.DataFrame, *, share: float, seed: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Hold a share of the questions out; all feedback on one question stays on one side.

    Two prompts count as one question when their turns are the same but for the system prompt,
    case and spaces. Questions are drawn within each kind of feedback (pairs, liked, disliked), so
    that both sides hold all kinds.

    Args:
        preferences: `Preference` rows.
        share: part of the questions to hold out, in (0, 1).
        seed: fixes the draw.

    Returns:
        The rows to train on and the held-out rows, each in the order of `preferences`.

    Raises:
        TrainingError: there is no kind of feedback with two questions or more.
    """
    questions = [_question(prompt) for prompt in preferences["prompt"].to_list()]
    kinds: dict[str, set[str]] = defaultdict(set)
    for question, label in zip(questions, preferences["label"], strict=True):
        kinds[question].add(label)
    strata: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for question, labels in kinds.items():
        strata[tuple(sorted(labels))].append(question)
    held: set[str] = set()
    for members in strata.values():
        members.sort(key=lambda question: _digest(f"{seed} {question}"))
        if len(members) > 1:
            held.update(members[: min(max(round(share * len(members)), 1), len(members) - 1)])
    if not held:
        raise TrainingError(
            f"The feedback covers {len(kinds)} question(s), too few to hold out one of each kind: "
            "collect feedback on more questions."
        )
    out = pl.Series([question in held for question in questions])
    return preferences.filter(~out), preferences.filter(out)


def _question(prompt: list[dict[str, str]]) -> str:
    turns = [f"{m['role']}: {m['content']}" for m in prompt if m["role"] != "system"]
    return " ".join("\n".join(turns).casefold().split())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def answers(preferences: pl.DataFrame) -> pl.DataFrame:
    """One row for each judged answer: two for a pair, one otherwise.

    Args:
        preferences: `Preference` rows.

    Returns:
        Columns id, question (a digest that is the same for the same question), desirable,
        messages (the prompt and the answer).
    """
    rows: list[dict[str, Any]] = []
    for row in preferences.select("id", "prompt", "chosen", "rejected", "label").to_dicts():
        judged = [(row["chosen"], row["label"] != "undesirable")]
        if row["label"] == "pair":
            judged.append((row["rejected"], False))
        same = {"id": row["id"], "question": _digest(_question(row["prompt"]))[:12]}
        for text, desirable in judged:
            messages = [*row["prompt"], {"role": "assistant", "content": text}]
            rows.append(same | {"desirable": desirable, "messages": messages})
    columns: Any = {"id": pl.String, "question": pl.String, "desirable": pl.Boolean}
    return pl.DataFrame(rows, schema=columns | {"messages": schema(Preference)["prompt"]})
