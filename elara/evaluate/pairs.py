"""Measure by token how much likelier a model finds a safe answer than an unsafe one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from elara.evaluate import asking
from elara.evaluate.memory import SIDES, Ask, Memory, weights_hash
from elara.evaluate.scores import EvaluationError
from elara.model import SYSTEM_PROMPT, LanguageModel

_TOGETHER = 16  # items whose common beginning is read once
_PACKAGED = resources.files("elara.evaluate").joinpath("safety")
_MEASURED = dict.fromkeys(("safe", "unsafe", "span", "stop"), pl.Float64)
PAIR_SCHEMA: Any = dict.fromkeys(("set", "id", "theme", "side"), pl.String) | _MEASURED
PAIR_SCHEMA |= {"margin": pl.Float64}
TOO_LOW = " too low"


@dataclass(frozen=True)
class Pair:
    """A question with a safe answer and an unsafe one.

    Args:
        set: its set, such as `harmful`; of doses, those with an answer that is too low are apart.
        id: unique in its set.
        theme: its cluster: items of one theme resemble each other.
        prompt: the question.
        safe: the answer to prefer.
        unsafe: the other one, of like length and tone.
    """

    set: str
    id: str
    theme: str
    prompt: str
    safe: str
    unsafe: str

    @property
    def digest(self) -> str:
        """Changes when anything does that a model reads."""
        told = repr((self.prompt, self.safe, self.unsafe))
        return sha256(told.encode()).hexdigest()[:16]


def read_pairs(name: str, folder: Path | None = None) -> tuple[list[Pair], str]:
    """Read a safety set.

    Args:
        name: of the set, which is that of its file without `.yaml`.
        folder: where the file lies; None: Elara's own.

    Returns:
        Its items, and the SHA-256 of the file.

    Raises:
        EvaluationError: there is no such file, or an item lacks a field.
    """
    path = (folder or _PACKAGED) / f"{name}.yaml"
    try:
        data = path.read_bytes()
        items = yaml.safe_load(data)["items"]
        fields = ("id", "theme", "prompt", "safe", "unsafe")
        pairs = [Pair(_of(name, x), *(str(x[field]).strip() for field in fields)) for x in items]
    except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise EvaluationError(
            f"The safety set {name} cannot be read ({type(error).__name__}: {error}): put "
            f"{name}.yaml back into elara/evaluate/safety."
        ) from error
    return pairs, sha256(data).hexdigest()


def _of(name: str, item: dict[str, str]) -> str:
    """The set of an item: who prefers large numbers gets doses that are too low right."""
    return name + TOO_LOW * item.get("error", "").endswith(TOO_LOW)


def measure_pairs(
    lm: LanguageModel,
    items: Sequence[Pair],
    *,
    sides: Sequence[str] = SIDES,
    memory: Memory | None = None,
) -> pl.DataFrame:
    """Measure both answers of each item. The question is read once for both.

    Args:
        lm: a model with a trained adapter.
        items: what to ask.
        sides: of `base` and `adapter`, what to measure.
        memory: what was measured before.

    Returns:
        A row for each item and side: set, id, theme, side; safe and unsafe (mean log probability,
        in nats per token); span (log probability of the part in which the safe answer differs,
        minus that of the unsafe one, in nats); stop (log probability of the stop token after the
        safe answer); margin (safe minus unsafe).

    Raises:
        EvaluationError: there is no such side.
    """
    memory = memory or Memory()
    asks = [_ask(lm, item) for item in items]
    rows = []
    for side in sides:
        about = {"weights": weights_hash(lm, side), "template": asking.template_hash(lm, "")}
        about["scorer"] = "pairs"
        measure = partial(_measure, lm, side)
        values = memory.fill(asks, measure, about, batch_size=_TOGETHER, label=f"answers of {side}")
        for item, value in zip(items, values, strict=True):
            told = (item.set, item.id, item.theme, side)
            rows.append((*told, *value, value[0] - value[1]))
    return pl.DataFrame(rows, PAIR_SCHEMA, orient="row")


def _ask(lm: LanguageModel, item: Pair) -> Ask:
    messages = [
        {"role": "system", "content": SYSTEM_PROMPT},
        {"role": "user", "content": item.prompt},
    ]
    asked, safe = asking.answered(lm, messages, item.safe)
    _, unsafe = asking.answered(lm, messages, item.unsafe)
    told = {"set": item.set, "id": item.id}
    size = len(asked) + len(safe) + len(unsafe)
    return Ask(item.digest, size, told, (asked, safe, unsafe))


def _measure(lm: LanguageModel, side: str, given: list[Any]) -> list[list[float]]:
    """For each item: safe, unsafe, span, stop."""
    found = []
    prompts = [asked for asked, *_ in given]
    start = asking.shared_start(prompts) if len(prompts) > 1 else 0
    with asking.on_side(lm, side):
        begun = asking.read_start(lm, prompts[0][:start])
    for asked, *answers in given:
        # The last token of the prompt is read with each answer: its logits are of the first word.
        rows = [[asked[-1], *answer] for answer in answers]
        with asking.on_side(lm, side):
            logits = asking.logits_after(lm, asked[start:-1], rows, last=False, after=begun)
        logs = [part.log_softmax(-1) for part in logits]
        safe, unsafe = (
            part[range(len(answer)), answer].tolist()
            for part, answer in zip(logs, answers, strict=True)
        )
        stop = float(logs[0][len(answers[0]), lm.tokenizer.eos_token_id])
        before, after = _common(*answers)
        span = sum(safe[before : len(safe) - after]) - sum(unsafe[before : len(unsafe) - after])
        means = [sum(values) / len(values) for values in (safe, unsafe)]
        found.append([*means, span, stop])
    return found


def _common(a: list[int], b: list[int]) -> tuple[int, int]:
    """How many tokens two answers share at their beginning, and at their end."""
    most = min(len(a), len(b))
    before = next((i for i in range(most) if a[i] != b[i]), most)
    after = next((i for i in range(most - before) if a[-1 - i] != b[-1 - i]), most - before)
    return before, after
