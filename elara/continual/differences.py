"""Compare two adapters: settings, examples, losses, and the distance between their updates."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from elara.model import TRAINING_FILE, WEIGHTS_FILE

_A, _B, _LENGTH = ".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector"


@dataclass(frozen=True)
class Comparison:
    """How two adapters differ.

    Args:
        settings: columns setting, a, b: what differs among the training settings and the other
            values of `training.json`.
        added: ids of the training examples that only b was trained on, sorted.
        removed: ids of those that only a was trained on, sorted.
        weights: per module, how far b's update is from a's; see `weights_distance`.
        losses: columns split, a, b: the last recorded loss in nats per answer token.
    """

    settings: pl.DataFrame
    added: list[str]
    removed: list[str]
    weights: pl.DataFrame
    losses: pl.DataFrame


def compare_adapters(
    a: Path, b: Path, losses_a: dict[str, float], losses_b: dict[str, float]
) -> Comparison:
    """Say how two adapter folders differ.

    Args:
        a: the earlier adapter.
        b: the later one.
        losses_a: the last recorded loss of a per split.
        losses_b: the same of b.
    """
    contents = [json.loads((p / TRAINING_FILE).read_text(encoding="utf-8")) for p in (a, b)]
    ids_a, ids_b = (set(content.get("examples", [])) for content in contents)
    of_a, of_b = (_flat(content) for content in contents)
    settings = [
        (name, of_a.get(name), of_b.get(name))
        for name in sorted(of_a.keys() | of_b.keys())
        if of_a.get(name) != of_b.get(name)
    ]
    splits = [split for split in ("train", "validation") if split in losses_a | losses_b]
    last = [(split, losses_a.get(split), losses_b.get(split)) for split in splits]
    texts = dict.fromkeys(("setting", "a", "b"), pl.String)
    numbers = {"split": pl.String, "a": pl.Float64, "b": pl.Float64}
    return Comparison(
        settings=pl.DataFrame(settings, schema=texts, orient="row"),
        added=sorted(ids_b - ids_a),
        removed=sorted(ids_a - ids_b),
        weights=weights_distance(a, b),
        losses=pl.DataFrame(last, schema=numbers, orient="row"),
    )


def last_losses(adapter: Path, losses: pl.DataFrame | None = None) -> dict[str, float]:
    """The last recorded loss of every split.

    Args:
        adapter: an adapter folder.
        losses: `Training.losses`; by default `losses.parquet` beside the adapter, if there.

    Returns:
        Split to loss in nats per answer token; empty where nothing was recorded.
    """
    table = adapter.parent / "losses.parquet"
    if losses is None:
        losses = pl.read_parquet(table) if table.exists() else None
    if losses is None:
        return {}
    ends = losses.drop_nulls("loss").group_by("split").agg(pl.col("loss").sort_by("step").last())
    return {str(split): float(loss) for split, loss in ends.sort("split").iter_rows()}


def weights_distance(a: Path, b: Path) -> pl.DataFrame:
    """Measure the distance between the updates that two adapters make to each module.

    An adapter changes a module's weights by scale * B A. B and A themselves are no measure: many
    pairs have the same product. So the products are compared, by their Frobenius norm, without
    ever being written out: with B (d, r) and A (r, k), the squared norm of B A is the sum of the
    element-wise product of B'B and A A', both (r, r). DoRA's lengths, where there are any, are a
    row of their own.

    Args:
        a: an adapter folder.
        b: another one.

    Returns:
        Columns module, norm_a, norm_b, distance (norm of the difference), relative (distance over
        norm_a; missing where norm_a is 0), largest relative distance first. A module that only
        one of them has counts as 0 in the other. Distances below 1e-7 of the norms are rounding.

    Source: LoRA, https://arxiv.org/abs/2106.09685, section 4.1.
    """
    of_a, of_b = _updates(a), _updates(b)
    rows = []
    for name in sorted(of_a.keys() | of_b.keys()):
        first, second = of_a.get(name), of_b.get(name)
        norm_a, norm_b = (_norm(*update) if update else 0.0 for update in (first, second))
        distance = _distance(first, second) if first and second else max(norm_a, norm_b)
        rows.append((name, norm_a, norm_b, distance, distance / norm_a if norm_a else None))
    floats = dict.fromkeys(("norm_a", "norm_b", "distance", "relative"), pl.Float64)
    table = pl.DataFrame(rows, schema={"module": pl.String, **floats}, orient="row")
    return table.sort("relative", "module", descending=[True, False], nulls_last=True)


def _updates(folder: Path) -> dict[str, tuple[Any, Any]]:
    """Per module the pair (scaled B, A), in float64."""
    import torch
    from safetensors.torch import load_file

    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    rank, alpha = config["r"], config["lora_alpha"]
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    tensors = load_file(folder / WEIGHTS_FILE)
    found: dict[str, tuple[Any, Any]] = {}
    for name, values in tensors.items():
        short = name.removeprefix("base_model.model.")
        if name.endswith(_A):
            other = tensors[name.removesuffix(_A) + _B].double()
            found[short.removesuffix(_A)] = (scale * other, values.double())
        elif name.endswith(_LENGTH):
            ones = torch.ones((1, 1), dtype=torch.float64)
            found[short] = (values.double().reshape(-1, 1), ones)
    return found


def _norm(b: Any, a: Any) -> float:
    squared = ((b.T @ b) * (a @ a.T)).sum()
    return math.sqrt(max(float(squared), 0.0))


def _distance(first: tuple[Any, Any], second: tuple[Any, Any]) -> float:
    import torch

    if all(torch.equal(one, other) for one, other in zip(first, second, strict=True)):
        return 0.0
    # B1 A1 - B2 A2 is itself a product of two narrow matrices.
    return _norm(torch.cat([first[0], -second[0]], dim=1), torch.cat([first[1], second[1]]))


def _flat(training: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as `config.lora_r`, in JSON; the examples are compared apart."""
    flat: dict[str, str] = {}
    for name, value in training.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        elif f"{prefix}{name}" != "examples":
            flat[f"{prefix}{name}"] = json.dumps(value, ensure_ascii=False)
    return flat
