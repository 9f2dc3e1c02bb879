"""What the GPU benchmark measured, compared: with the bars, with other trainers, as a table."""

from __future__ import annotations

from typing import Any

# Which runs may show it, and what it asks for: field, at least (+1) or below (-1), bound. One run
# has to meet all of a line.
BARS: list[tuple[str, tuple[str, ...], list[tuple[str, int, float]]]] = [
    ("bf16 LoRA", ("lora-bf16", "lora-bf16-compiled"), [("mfu_percent", 1, 30)]),
    (
        "QLoRA at 2 x 2048",
        ("qlora-10gib", "qlora-10gib-compiled"),
        [("mfu_percent", 1, 25), ("peak_gib", -1, 10)],
    ),
]
RATIOS = [
    ("lora-bf16", "trl-bf16"),
    ("lora-bf16-mixed", "trl-bf16-mixed"),
    ("qlora", "trl-qlora"),
    ("qlora-10gib", "trl-qlora-2"),
    ("lora-bf16", "unsloth-bf16"),
    ("qlora-10gib", "unsloth-qlora"),
]


def ratios(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Elara's tokens per second over another trainer's, where both were measured."""
    rows = []
    for ours, theirs in RATIOS:
        pair = [found.get(name, {}).get("tokens_per_second") for name in (ours, theirs)]
        if all(pair):
            rows.append({"of": ours, "to": theirs, "ratio": round(pair[0] / pair[1], 2)})
    return rows


def check(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Compare with the bars, each with the run that meets most of it and is fastest."""
    rows = []
    for what, names, wishes in BARS:
        runs = [n for n in names if all(found.get(n, {}).get(f) is not None for f, _, _ in wishes)]
        kept = {n: [_holds(found[n][f], way, to) for f, way, to in wishes] for n in runs}
        best = max(runs, key=lambda n: (sum(kept[n]), found[n]["mfu_percent"]), default=None)
        for at, (field, way, bound) in enumerate(wishes):
            wanted = f"at least {bound}" if way > 0 else f"below {bound}"
            value = found[best][field] if best else None
            row = {"bar": f"{what}, {field}", "wanted": wanted, "measured": value, "run": best}
            rows.append(row | {"holds": bool(best) and kept[best][at]})
    return rows


def _holds(value: float, way: int, bound: float) -> bool:
    return value >= bound if way > 0 else value < bound


def table(found: dict[str, Any]) -> str:
    """The runs as a Markdown table."""
    lines = ["| run | batch | checkpointed layers | tokens/s | MFU % | peak GiB | reserved GiB |"]
    lines.append("|---|---:|---:|---:|---:|---:|---:|")
    for name, result in found.items():
        if "tokens_per_second" in result:
            plan = result["plan"] or {}
            cells = [
                name,
                result["examples_per_step"] if not plan else plan["batch"],
                plan.get("checkpointed_layers", "all"),
                f"{result['tokens_per_second']:,.0f}",
                *(result.get(k, "–") for k in ("mfu_percent", "peak_gib", "reserved_gib")),
            ]
            lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
        elif "error" in result or "skipped" in result:
            lines.append(f"| {name} | {result.get('error') or result['skipped']} |||||| ")
    return "\n".join([*lines, *_evaluation(found)])


def _evaluation(found: dict[str, Any]) -> list[str]:
    """What was evaluated, how fast, and the memory that it took."""
    lines = ["", "| evaluation | part | items/s | tokens/s | peak GiB |"]
    lines.append("|---|---|---:|---:|---:|")
    for name, result in found.items():
        for part, told in result.items():
            if not isinstance(told, dict) or not {"items", "seconds"} <= {*told}:
                continue
            items = told["items"] / max(told["seconds"], 0.01)
            tokens = f"{told['tokens_per_second']:,.0f}" if "tokens" in told else "–"
            peak = result.get("peak_gib", "–")
            lines.append(f"| {name} | {part} | {items:.1f} | {tokens} | {peak} |")
    return lines if len(lines) > 3 else []
