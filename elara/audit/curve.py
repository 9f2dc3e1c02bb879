"""The loss curve as a small drawing inside a page."""

from __future__ import annotations

from html import escape
from typing import Any

from elara.display.figures import BLUE, ORANGE

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 640, 240, 48, 36, 14
_POINTS = 200  # a longer training curve is thinned to about as many points


def curve_svg(losses: dict[str, Any]) -> str:
    """Draw training and validation loss over the optimiser steps.

    Args:
        losses: `training` and `validation`, each a list of points with `step` and `loss`.

    Returns:
        An SVG element with its own description, or "" where there is nothing to draw.
    """
    train, held = losses["training"], losses["validation"]
    every = train + held
    if len(every) < 2:
        return ""
    last = max(1, *(p["step"] for p in every))
    low, high = min(p["loss"] for p in every), max(p["loss"] for p in every)
    span = (high - low) or 1.0

    def place(point: dict[str, float]) -> tuple[float, float]:
        x = _LEFT + point["step"] / last * (_WIDTH - _LEFT - 90)
        y = _TOP + (high - point["loss"]) / span * (_HEIGHT - _TOP - _BOTTOM)
        return round(x, 1), round(y, 1)

    def line(points: list[dict[str, float]], colour: str) -> str:
        path = " ".join(f"{x},{y}" for x, y in map(place, points))
        return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>'

    thin = train[:: max(1, len(train) // _POINTS)]
    base = _HEIGHT - _BOTTOM
    told = f"Loss from step 0 to {last:.0f}, between {low:.2f} and {high:.2f} {losses['unit']}."
    if held:
        told += f" Validation: first {held[0]['loss']:.2f}, last {held[-1]['loss']:.2f}."
    parts = [f'<line x1="{_LEFT}" y1="{base}" x2="{_WIDTH - 90}" y2="{base}" stroke="#8a94a6"/>']
    for value in (low, (low + high) / 2, high):
        y = place({"step": 0, "loss": value})[1]
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{value:.2f}</text>')
    for step in (0, last):
        x = place({"step": step, "loss": high})[0]
        parts.append(f'<text x="{x}" y="{base + 18}" text-anchor="middle">{step:.0f}</text>')
    middle = (_LEFT + _WIDTH - 90) / 2
    parts.append(f'<text x="{middle}" y="{base + 32}" text-anchor="middle">optimiser step</text>')
    for points, colour, name in ((thin, BLUE, "training"), (held, ORANGE, "validation")):
        if not points:
            continue
        parts.append(line(points, colour))
        if name == "validation":
            dots = (place(p) for p in points)
            parts += [f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"/>' for x, y in dots]
    ends = sorted((place(p[-1])[1], n) for p, n in ((thin, "training"), (held, "validation")) if p)
    for i, (y, name) in enumerate(ends):
        apart = max(y, ends[0][0] + 16 * i)  # two names never stand on each other
        parts.append(f'<text x="{_WIDTH - 82}" y="{apart + 4:.1f}">{name}</text>')
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img" '
        f'aria-label="{escape(told)}">{"".join(parts)}</svg>\n'
    )
