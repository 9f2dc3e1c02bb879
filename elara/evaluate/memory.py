"""Remember every score that was measured, so that an interrupted evaluation goes on.

A score belongs to weights, prompt form, item, scorer and version of Elara. Where all five are the
same as before, it is not measured again; where one differs, nothing is taken over. The file has one
line for each score, with a check sum: a line that does not hold is named, and its score measured
again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import elara
from elara.display.progress import track
from elara.evaluate.scores import EvaluationError
from elara.model import LanguageModel

SIDES = ("base", "adapter")


@dataclass(frozen=True)
class Ask:
    """Something to measure on one model.

    Args:
        item: digest of the item, with the order in which its options are shown.
        size: tokens that the model has to read; asks of similar size share a batch.
        told: what stands beside the score: set, id, split, shots, prompt …
        given: what the measurement needs; it is not kept.
    """

    item: str
    size: int
    told: dict[str, Any]
    given: Any


@dataclass
class Memory:
    """The scores measured so far.

    Args:
        path: a JSON Lines file, in the `evaluation` folder; None keeps nothing.
        damaged: lines of it that could not be used, as `scores.jsonl:12`.
        measured: how many scores were measured, and not remembered.
        kept: the scores by key.
    """

    path: Path | None = None
    damaged: list[str] = field(default_factory=list)
    measured: int = 0
    kept: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read what is there."""
        if self.path is None or not self.path.exists():
            return
        data = self.path.read_bytes()
        for number, line in enumerate(data.split(b"\n"), 1):
            if line.strip() and not self._take(line):
                self.damaged.append(f"{self.path.name}:{number}")
        if data and not data.endswith(b"\n"):
            with self.path.open("ab") as file:
                file.write(b"\n")
        if self.damaged:
            print(f"Damaged, measured again: {', '.join(self.damaged)} in {self.path.parent}.")

    def _take(self, line: bytes) -> bool:
        try:
            row = json.loads(line)
            if row["sum"] != _sum(row):
                return False
            self.kept[row["key"]] = row["value"]
        except (ValueError, KeyError, TypeError):
            return False
        return True

    def fill(
        self,
        asks: Sequence[Ask],
        measure: Callable[[list[Any]], list[Any]],
        about: dict[str, str],
        *,
        batch_size: int,
        label: str,
    ) -> list[Any]:
        """Measure what is not remembered, in batches of similar size, and keep it at once.

        Args:
            asks: what to measure.
            measure: takes what several asks give, and returns a value (of JSON) for each.
            about: what is the same for all: weights, template, scorer.
            batch_size: asks that are measured at once, the longest first.
            label: for the progress.

        Returns:
            A value for each ask, in their order.
        """
        about = about | {"elara": elara.__version__}  # another one may score in another way
        keys = [_key(about | {"item": ask.item}) for ask in asks]
        new = {key: ask for key, ask in zip(keys, asks, strict=True) if key not in self.kept}
        order = sorted(new, key=lambda key: -new[key].size)
        for start in track(range(0, len(order), batch_size), label=label):
            batch = order[start : start + batch_size]
            values = measure([new[key].given for key in batch])
            told = [about | new[key].told | {"item": new[key].item} for key in batch]
            self._keep(batch, values, told)
        return [self.kept[key] for key in keys]

    def _keep(self, keys: list[str], values: list[Any], told: list[dict[str, Any]]) -> None:
        self.measured += len(keys)
        self.kept |= dict(zip(keys, values, strict=True))
        if self.path is None:
            return
        rows = [
            {"key": key, "value": value} | more
            for key, value, more in zip(keys, values, told, strict=True)
        ]
        lines = [json.dumps(row | {"sum": _sum(row)}, ensure_ascii=False) for row in rows]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(line + "\n" for line in lines))


def _key(parts: dict[str, str]) -> str:
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _sum(row: dict[str, Any]) -> str:
    told = {name: value for name, value in row.items() if name != "sum"}
    return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]


def weights_hash(lm: LanguageModel, side: str) -> str:
    """Name the weights that answer, and the number format in which they compute.

    Args:
        lm: a model, with or without adapter.
        side: `base`, without the adapter, or `adapter`, with all that is loaded.

    Returns:
        Hexadecimal. A base model has the same with an adapter that is switched off.

    Raises:
        EvaluationError: there is no such side.
    """
    import torch

    if side not in SIDES:
        raise EvaluationError(f"Unknown side {side!r}: `base` or `adapter`.")
    found = sha256(f"{lm.device} {lm.dtype}".encode())
    for name, value in sorted(lm.model.state_dict().items()):
        plain = name.removeprefix("base_model.model.").replace(".base_layer", "")
        if isinstance(value, torch.Tensor) and not (side == "base" and "lora_" in name):
            found.update(plain.encode())
            data: Any = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            found.update(data)
    return found.hexdigest()[:32]
