"""Take part in training a job, as one of its processes.

Started by `accelerate launch … --module elara.train.devices.worker JOB`, or by torchrun.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

from elara.model import LanguageModel, ModelError, load_base
from elara.train.config import TrainingConfig, TrainingError
from elara.train.data import tokenise
from elara.train.devices.launch import FOLLOW, REASON, per_process, read_job
from elara.train.lora import add_lora
from elara.train.save import save_adapter
from elara.train.sft import fine_tune


def _train_job(folder: Path) -> None:
    """Take part in training the job in a folder; the main process saves the adapter there."""
    import accelerate
    import torch

    # The others wait while the main process saves, which takes minutes where the model is large.
    patience = datetime.timedelta(minutes=30)
    state = accelerate.PartialState(cpu=not torch.cuda.is_available(), timeout=patience)
    if not state.is_main_process:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - one process tells the progress
    whole, examples, validation = read_job(folder)
    profile = _profile(whole, str(state.distributed_type))
    config = per_process(whole, state.num_processes)
    if state.is_main_process:  # a result of an earlier run must not stand for this one
        (folder / "losses.parquet").unlink(missing_ok=True)
        shutil.rmtree(folder / "adapter", ignore_errors=True)
    lm = _load(config)
    data = tokenise(lm.tokenizer, examples, validation, config)
    print(f"{state.num_processes} processes ({profile}): {lm.precision.reason}", flush=True)
    # Another profile or number of processes writes checkpoints that this one cannot read.
    checkpoints = folder / "checkpoints" / f"{profile}-{state.num_processes}"
    training = fine_tune(lm, data, config, checkpoints, logs=folder / "logs")
    weights = gather_weights(training.model.model)
    if state.is_main_process:
        if profile != "data_parallel":
            training = dataclasses.replace(training, model=_whole_model(whole, weights))
        used = examples.filter(examples["id"].is_in(data.ids))
        licences = dict(used.group_by("licence").len().sort("licence").iter_rows())
        save_adapter(training, whole, data, licences, folder / "adapter")
        training.losses.write_parquet(folder / "losses.parquet")
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    state.wait_for_everyone()


def _load(config: TrainingConfig) -> LanguageModel:
    formats = {"quantisation": config.quantisation, "precision": config.precision}
    return load_base(config.base_model, **formats)


def _profile(config: TrainingConfig, distributed: str) -> str:
    # `accelerate launch` tells its workers the profile in this variable.
    if os.environ.get("ACCELERATE_USE_FSDP") != "true":
        return "data_parallel"
    if distributed.endswith(("CPU", "NO")):
        raise TrainingError(
            "The fsdp2 profile splits the model over GPUs and this machine offers none: "
            "use the data_parallel profile."
        )
    for name in ("patience", "loraplus_ratio"):
        if getattr(config, name):
            raise TrainingError(
                f"`{name}` needs the whole adapter in each process, which the fsdp2 profile "
                "splits: set it to 0, or use data_parallel."
            )
    return "fsdp2"


def gather_weights(model: Any) -> dict[str, Any]:
    """Put the trained parameters together where they are split; every process must take part.

    Args:
        model: a model after training, whole or split by FSDP2.

    Returns:
        Trained parameters by name, whole, on the CPU.
    """
    weights = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        value = parameter.detach()
        if hasattr(value, "full_tensor"):  # FSDP2: a DTensor
            value = value.full_tensor()
        weights[name] = value.cpu()
    return weights


def _whole_model(config: TrainingConfig, weights: dict[str, Any]) -> LanguageModel:
    """A model that one process can save, which it cannot do with one that is split."""
    lm = _load(config)
    model = add_lora(lm, config)
    unknown = model.load_state_dict(weights, strict=False).unexpected_keys
    assert not unknown, unknown
    model.eval()
    return dataclasses.replace(lm, model=model)


def _follow() -> None:
    """End this process when the launcher's does: nobody is left to tell the result to."""
    os.read(0, 1)
    os._exit(1)


def main() -> int:
    """Train the job named on the command line; say in one line why where that fails."""
    if os.environ.get(FOLLOW):
        threading.Thread(target=_follow, daemon=True).start()
    try:
        _train_job(Path(sys.argv[1]))
    except (TrainingError, ModelError) as error:
        print(f"{REASON}{error}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
