"""What readers thought of answers: read it, check it, split it by question."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import polars as pl

from elara.records import Message, Preference, frame, records, schema
from elara.train.config import TrainingError

_ROLES = ("system", "user", "assistant")
_LABELS = ("pair", "desirable", "undesirable")
_TEXTS = ("id", "chosen", "rejected", "label", "source", "adapter", "created_at")


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
    found: list[Preference] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            preference = _parse(line)
            if preference.id in seen:
                raise ValueError(f"its id {preference.id!r} is that of line {seen[preference.id]}")
        except ValueError as error:
            raise TrainingError(
                f"{path}, line {number}: {error}. Correct the line, or remove it."
            ) from error
        seen[preference.id] = number
        found.append(preference)
    if not found:
        raise TrainingError(f"{path} holds no preference: collect feedback first.")
    return frame(found, Preference)


def _parse(line: bytes) -> Preference:
    """One line as a preference; a ValueError says what is wrong with it."""
    try:
        content = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON ({error.msg} at character {error.pos + 1})") from None
    if not isinstance(content, dict):
        raise ValueError("it is not a JSON object")
    if unknown := sorted(content.keys() - schema(Preference).keys()):
        raise ValueError(f"it has unknown fields: {', '.join(unknown)}")
    if missing := sorted({"id", "prompt", "chosen"} - content.keys()):
        raise ValueError(f"it lacks {', '.join(missing)}")
    for name in _TEXTS:
        if not isinstance(content.get(name, ""), str):
            raise ValueError(f"`{name}` is not text")
    preference = Preference(**content | {"prompt": _messages(content["prompt"])})
    if wrong := _what_is_wrong(preference):
        raise ValueError(wrong)
    return preference


def _messages(prompt: Any) -> list[Message]:
    if not isinstance(prompt, list) or not prompt:
        raise ValueError("`prompt` is not a list of messages")
    for message in prompt:
        if (
            not isinstance(message, dict)
            or message.keys() != {"role", "content"}
            or message["role"] not in _ROLES
            or not isinstance(message["content"], str)
        ):
            raise ValueError(
                "`prompt` holds a message that is not a `role` (system, user or assistant) with a "
                "`content`"
            )
    return [Message(**message) for message in prompt]


def _what_is_wrong(preference: Preference) -> str:
    if not preference.id.strip():
        return "its id is empty"
    if not preference.prompt or preference.prompt[-1].role != "user":
        return "the last message of `prompt` is not the user's"
    if not preference.prompt[-1].content.strip():
        return "the question is empty"
    if not preference.chosen.strip():
        return "`chosen` is empty"
    if preference.label not in _LABELS:
        return f"`label` is {preference.label!r} and not one of {', '.join(_LABELS)}"
    if preference.label != "pair":
        return "`rejected` is set although one answer was judged" if preference.rejected else ""
    if not preference.rejected.strip():
        return "`rejected` is empty in a pair"
    if preference.chosen.strip() == preference.rejected.strip():
        return "both answers of the pair are the same"
    return ""


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
        question = _digest(_question(row["prompt"]))[:12]
        for text, desirable in judged:
            messages = [*row["prompt"], {"role": "assistant", "content": text}]
            rows.append(
                {
                    "id": row["id"],
                    "question": question,
                    "desirable": desirable,
                    "messages": messages,
                }
            )
    turn = pl.Struct({"role": pl.String, "content": pl.String})
    text = {"id": pl.String, "question": pl.String}
    return pl.DataFrame(rows, schema=text | {"desirable": pl.Boolean, "messages": pl.List(turn)})
