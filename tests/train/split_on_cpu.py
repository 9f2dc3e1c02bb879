"""Run a worker so that accelerate takes CPU processes for GPUs, since it splits only over those.

Everything else is the real thing: the profile, torch's `fully_shard`, gloo between the processes.
Beside the job it leaves `split-<rank>.json`: whole and local shape of one layer's weight.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import accelerate
from accelerate.utils import DistributedType

from elara.train.devices import worker

begin = accelerate.PartialState.__init__
gather = worker.gather_weights


def as_if_gpu(self: Any, cpu: bool = False, **options: Any) -> None:
    options.pop("backend", None)
    begin(self, cpu=False, **options)


def gather_and_tell(model: Any) -> dict[str, Any]:
    weight = next(p for n, p in model.named_parameters() if n.endswith("q_proj.base_layer.weight"))
    local = weight.to_local() if hasattr(weight, "to_local") else getattr(weight, "ds_tensor", None)
    told = [weight.numel(), None if local is None else local.numel()]
    (Path(sys.argv[1]) / f"split-{os.environ['RANK']}.json").write_text(json.dumps(told))
    return gather(model)


if __name__ == "__main__":
    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    accelerate.PartialState.__init__ = as_if_gpu
    accelerate.PartialState._prepare_backend = lambda *_, **__: ("gloo", DistributedType.MULTI_GPU)
    worker.gather_weights = gather_and_tell
    raise SystemExit(worker.main())
