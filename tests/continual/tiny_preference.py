"""Tune the tiny model on synthetic feedback: `python tiny_preference.py MODEL OUT KIND`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import synthetic_preferences
import tiny_run

from elara.continual import PreferenceConfig, Preferred, prefer
from elara.continual.saving import save_preferred


def config(**changes: Any) -> PreferenceConfig:
    settings: dict[str, Any] = {
        "learning_rate": 1e-2,
        "epochs": 2,
        "gradient_accumulation": 1,
        "held_out_share": 0.25,
        "save_steps": 1,
        "seed": 3,
    }
    return PreferenceConfig(**(settings | changes))


def run(model: Path, out: Path, kind: str = "pairs", **changes: Any) -> Preferred:
    settings, earlier = config(**changes), out / "earlier" / "adapter"
    if not (earlier / "README.md").exists():  # where a run was killed it is there
        tiny_run.run(model, out / "earlier")
    feedback = getattr(synthetic_preferences, kind)(12 if kind == "pairs" else 18)
    preferred = prefer(earlier, feedback, settings, out / "checkpoints")
    save_preferred(preferred, settings, out / "adapter", earlier=earlier)
    return preferred


if __name__ == "__main__":
    print(run(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]).resumed_at)
