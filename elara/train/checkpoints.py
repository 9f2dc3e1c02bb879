"""Find a run's whole checkpoints, remove others, and keep the best weights so far."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

from elara.model.base import choose_precision
from elara.train.config import TrainingConfig
from elara.train.data import TokenData
from elara.workspace import file_sha256

_STATE = "trainer_state.json"
_BEST = "best.safetensors"
# Where curves are logged changes nothing about the weights.
_NO_PART_OF_THE_RUN = ("trackers",)


def run_name(data: TokenData, config: TrainingConfig, start_from: Path | None) -> str:
    """Name a run by what decides its weights: settings, training and validation tokens, start.

    Args:
        data: tokenised examples.
        config: settings; the precision counts as it was chosen, whoever chose it.
        start_from: the adapter folder that it goes on from, if any.
    """
    settings = dataclasses.asdict(config) | {"precision": choose_precision(config.precision).dtype}
    for name in _NO_PART_OF_THE_RUN:
        del settings[name]
    content: list[Any] = [settings]
    content += [[[e.input_ids, e.labels] for e in part] for part in (data.train, data.validation)]
    if start_from is not None:
        content.append(sorted(file_sha256(p) for p in start_from.glob("adapter_*") if p.is_file()))
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def last_checkpoint(folder: Path) -> Path | None:
    """The latest checkpoint that can be read from end to end.

    A kill or a full disk can leave one that was cut short; the one before it is used then.

    Args:
        folder: a run's folder.
    """
    found = sorted(folder.glob("checkpoint-*"), key=step_of, reverse=True)
    return next((p for p in found if _whole(p)), None)


def step_of(checkpoint: Path | None) -> int:
    """The optimiser step of a checkpoint by its name; 0 for none."""
    return int(checkpoint.name.split("-")[1]) if checkpoint else 0


def history(checkpoint: Path) -> list[dict[str, Any]]:
    """What the trainer had logged when it wrote a checkpoint.

    Args:
        checkpoint: a whole checkpoint.
    """
    state = json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
    logged: list[dict[str, Any]] = state["log_history"]
    return logged


def _whole(checkpoint: Path) -> bool:
    import safetensors

    try:
        # The last file that is written.
        state = json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
        if state["global_step"] != step_of(checkpoint):
            return False
        for path in [*checkpoint.rglob("*.pt"), *checkpoint.rglob("*.pth")]:
            with zipfile.ZipFile(path) as archive:  # torch's format carries checksums
                if archive.testzip():
                    return False
        for path in checkpoint.rglob("*.safetensors"):
            with safetensors.safe_open(path, framework="np"):
                pass
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, safetensors.SafetensorError):
        return False
    return True


def remove_others(checkpoints: Path, own: Path) -> None:
    """Remove other runs' checkpoints, and this run's that cannot be used any more.

    Args:
        checkpoints: the folder of all runs.
        own: this run's folder in it.
    """
    if not checkpoints.exists():
        return
    last = last_checkpoint(own)
    newest = step_of(last) if last else -1
    unusable = [p for p in own.glob("checkpoint-*") if step_of(p) > newest]
    for folder in [p for p in checkpoints.iterdir() if p != own and p.is_dir()] + unusable:
        shutil.rmtree(folder)


def best_evaluation(logged: list[dict[str, Any]]) -> tuple[int, int]:
    """Which evaluation was the best, and how many have come since without a lower loss.

    Args:
        logged: the trainer's log.

    Returns:
        Its step (-1 before any) and the number of evaluations after it.
    """
    evaluations = [(e["eval_loss"], e["step"]) for e in logged if "eval_loss" in e]
    if not evaluations:
        return -1, 0
    best = min(range(len(evaluations)), key=lambda i: evaluations[i][0])
    return evaluations[best][1], len(evaluations) - 1 - best


def keep_best(model: Any, step: int, folder: Path) -> None:
    """Write the trained weights down as the best so far.

    Args:
        model: a PEFT model.
        step: the optimiser step.
        folder: the run's folder.
    """
    import safetensors.torch

    weights = {n: p.detach().cpu() for n, p in model.named_parameters() if p.requires_grad}
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{_BEST}"
    safetensors.torch.save_file(weights, draft, {"step": str(step)})
    draft.replace(folder / _BEST)


def load_best(model: Any, folder: Path) -> None:
    """Put the best weights back into the model.

    Args:
        model: the PEFT model; it is changed.
        folder: the run's folder.
    """
    import safetensors.torch

    weights = safetensors.torch.load_file(folder / _BEST)
    unknown = model.load_state_dict(weights, strict=False).unexpected_keys
    assert not unknown, unknown
