"""Compare what the GPU check measured with bars, predictions and other trainers, as tables."""

from __future__ import annotations

from typing import Any

# Which runs may show it, and what it asks for: field; at least (+1), exactly (0) or below (-1);
# bound. One run has to meet all of a line.
BARS: list[tuple[str, tuple[str, ...], list[tuple[str, int, float]]]] = [
    ("bf16 LoRA at 4 x 2048", ("lora-bf16", "lora-bf16-compiled"), [("mfu_percent", 1, 50)]),
    ("bf16 LoRA, mixed lengths", ("lora-bf16-mixed",), [("mfu_percent", 1, 42)]),
    (
        "QLoRA at 2 x 2048",
        ("qlora", "qlora-compiled"),
        [("mfu_percent", 1, 38), ("peak_gib", -1, 7.4), ("examples_per_step", 0, 2)],
    ),
]
# Elara's run, another trainer's, and how many times as fast it is to be, if that is a bar.
RATIOS: list[tuple[str, str, float]] = [
    ("lora-bf16-mixed", "trl-bf16-mixed", 2.2),
    ("lora-bf16-mixed", "trl-bf16-packed", 1.3),
    ("lora-bf16-mixed", "unsloth-bf16-mixed", 0),
    ("lora-bf16-compiled", "trl-bf16", 0),
    ("qlora-compiled", "trl-qlora", 0),
    ("qlora-compiled", "unsloth-qlora", 0),
]
_WAYS = {1: "at least", 0: "exactly", -1: "below"}
PLAN_PERCENT = 10  # how far a measured peak may be from the plan's


def ratios(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Elara's tokens per second over another trainer's, where both were measured."""
    rows = []
    for ours, theirs, _ in RATIOS:
        pair = [found.get(name, {}).get("tokens_per_second") for name in (ours, theirs)]
        if all(pair):
            rows.append({"of": ours, "to": theirs, "ratio": round(pair[0] / pair[1], 2)})
    return rows


def memory(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Predicted and measured peak memory of every planned run on a card, in GiB."""
    rows = []
    for name, run in found.items():
        if "peak_gib" not in run or not run.get("plan"):
            continue
        row = {"run": name, "weights": run["variant"]["quantisation"].replace("none", "bf16")}
        row |= {key: run["plan"][key] for key in ("batch", "checkpointed_layers", "compiled")}
        row |= {key: run[key] for key in ("predicted_by_shape_gib", "predicted_gib", "peak_gib")}
        off = 100 * (run["peak_gib"] / run["predicted_gib"] - 1)
        rows.append(row | {"off_percent": round(off, 1)})
    return rows


def check(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Compare with the bars: each with what was measured for it, and with whether it holds.

    Of several runs that may show a bar, it is the one that meets most of it and is fastest.
    """
    rows = []
    for what, names, wishes in BARS:
        runs = [n for n in names if all(found.get(n, {}).get(f) is not None for f, _, _ in wishes)]
        kept = {n: [_holds(found[n][f], way, to) for f, way, to in wishes] for n in runs}
        best = max(runs, key=lambda n: (sum(kept[n]), found[n]["mfu_percent"]), default=None)
        for at, (field, way, bound) in enumerate(wishes):
            wanted = f"{_WAYS[way]} {bound}"
            value = found[best][field] if best else None
            row = {"bar": f"{what}, {field}", "wanted": wanted, "measured": value, "run": best}
            rows.append(row | {"holds": bool(best) and kept[best][at]})
    times = {(row["of"], row["to"]): row["ratio"] for row in ratios(found)}
    for ours, theirs, least in RATIOS:
        if least:
            ratio = times.get((ours, theirs))
            row = {"bar": f"times as fast as {theirs}", "wanted": f"at least {least}"}
            row |= {"measured": ratio, "run": ours if ratio else None}
            rows.append(row | {"holds": ratio is not None and ratio >= least})
    worst = max(memory(found), key=lambda row: abs(row["off_percent"]), default=None)
    off = worst and worst["off_percent"]
    row = {"bar": "peak memory beside the plan's, %", "wanted": f"at most {PLAN_PERCENT} off"}
    row |= {"measured": off, "run": worst and worst["run"]}
    rows.append(row | {"holds": off is not None and abs(off) <= PLAN_PERCENT})
    return [*rows, _same_quality(found.get("held-out-loss", {}))]


def _same_quality(run: dict[str, Any]) -> dict[str, Any]:
    """Is the held-out loss TRL's within what TRL's own changes by from seed to seed?"""
    difference, noise = run.get("difference"), run.get("noise")
    row = {"bar": "held-out loss beside TRL's", "measured": difference, "holds": False}
    row |= {"run": "held-out-loss" if difference is not None else None}
    if noise is None:  # one seed shows no noise
        return row | {"wanted": "within the noise of at least two seeds"}
    row |= {"wanted": f"within {noise}, TRL's noise between seeds"}
    return row | {"holds": abs(difference) <= noise}


def _holds(value: float, way: int, bound: float) -> bool:
    return {1: value >= bound, 0: value == bound, -1: value < bound}[way]


def tables(found: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """What the report keeps beside the runs: `ratios`, `memory` and `bars`."""
    return {"ratios": ratios(found), "memory": memory(found), "bars": check(found)}


def show(found: dict[str, Any]) -> None:
    """Print every table, and a line for each comparison."""
    for part in (table(found), memory_table(found), time_table(found), evaluation_table(found)):
        if part:
            print(f"\n{part}")
    print()
    for row in ratios(found):
        print(f"{row['of']} is {row['ratio']} times as fast as {row['to']}")
    for row in check(found):
        verdict = "holds" if row["holds"] else "does not hold"
        print(f"{row['bar']}: {row['measured']}, wanted {row['wanted']}: {verdict} ({row['run']})")


def table(found: dict[str, Any]) -> str:
    """The runs as a Markdown table, those that were not made with the reason."""
    lines = _head("run", "batch", "checkpointed layers", "tokens/s", "MFU %", "peak GiB", "start s")
    for name, result in found.items():
        if "tokens_per_second" in result:
            plan = result["plan"] or {}
            cells = [
                name,
                result["examples_per_step"],
                plan.get("checkpointed_layers", "–" if "batching" in result else "all"),
                f"{result['tokens_per_second']:,.0f}",
                *(result.get(k, "–") for k in ("mfu_percent", "peak_gib", "start_seconds")),
            ]
            lines.append(_line(cells))
        elif "error" in result:
            lines.append(_line([name, result["error"], *[""] * 5]))
        elif "not_run" in result:
            lines.append(_line([name, f"not run: {result['not_run']}", *[""] * 5]))
    return "\n".join(lines)


def memory_table(found: dict[str, Any]) -> str:
    """Predicted and measured peak memory as a Markdown table; "" where no card was measured."""
    rows = memory(found)
    return "\n".join([*_head(*rows[0]), *(_line(row.values()) for row in rows)]) if rows else ""


def time_table(found: dict[str, Any]) -> str:
    """Shares of the profiled steps as a Markdown table; "" where nothing was profiled."""
    runs = {name: result["time"] for name, result in found.items() if "time" in result}
    if not runs:
        return ""
    groups = next(iter(runs.values()))
    lines = _head("share of a step's time, %", *groups)
    for name, spent in runs.items():
        whole = sum(spent.values())
        lines.append(_line([name, *(f"{100 * spent[group] / whole:.1f}" for group in groups)]))
    return "\n".join(lines)


def evaluation_table(found: dict[str, Any]) -> str:
    """What was evaluated, how fast, and the memory that it took."""
    lines = _head("evaluation", "part", "items/s", "tokens/s", "peak GiB")
    for name, result in found.items():
        for part, told in result.items():
            if not isinstance(told, dict) or not {"items", "seconds"} <= {*told}:
                continue
            items = told["items"] / max(told["seconds"], 0.01)
            tokens = f"{told['tokens_per_second']:,.0f}" if "tokens" in told else "–"
            lines.append(_line([name, part, f"{items:.1f}", tokens, result.get("peak_gib", "–")]))
    return "\n".join(lines) if len(lines) > 2 else ""


def _head(*names: str) -> list[str]:
    return [_line(names), "|---|" + "---:|" * (len(names) - 1)]


def _line(cells: Any) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"
