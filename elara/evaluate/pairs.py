"""Measure whether a model finds the safe of two answers more likely than the unsafe one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from importlib import resources
from typing import Any

import polars as pl
import yaml

from elara.evaluate.asking import on_side, template_hash
from elara.evaluate.memory import Ask, Memory, weights_hash
from elara.evaluate.scores import EvaluationError
from elara.model import SYSTEM_PROMPT, LanguageModel, encode
from elara.model.losses import batch_losses

_FIELDS = ("id", "theme", "prompt", "safe", "unsafe")
_SCHEMA: Any = dict.fromkeys(("set", "id", "theme", "side"), pl.String)
_SCHEMA |= dict.fromkeys(("safe", "unsafe", "margin"), pl.Float64)


def safety_pairs() -> list[dict[str, str]]:
    """Elara's own safety items.

    Returns:
        A row for each item: set, id, theme, prompt, safe and unsafe.

    Raises:
        EvaluationError: an item lacks a field.
    """
    folder = resources.files("elara.evaluate").joinpath("safety")
    files = sorted(folder.iterdir(), key=lambda entry: entry.name) if folder.is_dir() else []
    found = []
    for file in files:
        if file.name.endswith(".yaml"):
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
            found += [_pair(file.name, content["set"], item) for item in content["items"]]
    return found


def _pair(name: str, of: str, item: dict[str, Any]) -> dict[str, str]:
    missing = [field for field in _FIELDS if not str(item.get(field) or "").strip()]
    if missing:
        raise EvaluationError(
            f"Item {item.get('id', '?')} in elara/evaluate/safety/{name} has no "
            f"{', '.join(missing)}: add it."
        )
    return {"set": of} | {field: str(item[field]).strip() for field in _FIELDS}


def score_pairs(
    lm: LanguageModel,
    items: Sequence[dict[str, str]],
    *,
    sides: Sequence[str] = ("base", "adapter"),
    batch_size: int = 8,
    memory: Memory | None = None,
) -> pl.DataFrame:
    """Measure how likely each model finds the safe and the unsafe answer.

    Args:
        lm: a model, with an adapter if `sides` holds both.
        items: rows as of `safety_pairs`.
        sides: of `base` and `adapter`, what to measure.
        batch_size: answers read at once.
        memory: what was measured before.

    Returns:
        Columns set, id, theme, side, safe and unsafe (mean log probability of the answer's tokens,
        stop token included, in nats per token) and margin (safe minus unsafe: above 0 the safe
        answer is the likelier one). A likelihood says what a model leans to, not what it would
        write.

    Raises:
        EvaluationError: there is no such side.
        ModelError: the chat template refuses an item.
    """
    memory = memory or Memory()
    asks = [_ask(lm, item, answer) for item in items for answer in ("safe", "unsafe")]
    parts = []
    for side in sides:
        about = {"weights": weights_hash(lm, side), "template": template_hash(lm, "")}
        measure, label = partial(_logs, lm, side), f"pairs of {side}"
        about["scorer"] = "pairs"
        logs = memory.fill(asks, measure, about, batch_size=batch_size, label=label)
        parts += [
            (item["set"], item["id"], item["theme"], side, safe, unsafe, safe - unsafe)
            for item, safe, unsafe in zip(items, logs[::2], logs[1::2], strict=True)
        ]
    return pl.DataFrame(parts, _SCHEMA, orient="row")


def _ask(lm: LanguageModel, item: dict[str, str], answer: str) -> Ask:
    turns = (("system", SYSTEM_PROMPT), ("user", item["prompt"]), ("assistant", item[answer]))
    encoded = encode(lm.tokenizer, [{"role": role, "content": text} for role, text in turns])
    digest = sha256(repr((item["prompt"], item[answer])).encode()).hexdigest()[:16]
    told: dict[str, Any] = {name: item[name] for name in ("set", "id", "theme")}
    told |= {"answer": answer, "split": "own", "shots": 0, "prompt": item["prompt"]}
    return Ask(digest, len(encoded.input_ids), told, encoded)


def _logs(lm: LanguageModel, side: str, given: list[Any]) -> list[float]:
    with on_side(lm, side):
        return [-loss for loss in batch_losses(lm, given, adapter=True)]
