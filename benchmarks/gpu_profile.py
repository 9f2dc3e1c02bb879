"""Group the time of Elara's training steps by its use: `gpu_profile.py VARIANT.json OUT.json`.

PyTorch's profiler records every kernel of a few steps after the warm-up. Kernels are grouped by
their names, and what is left of the wall time is idle. Recording costs time itself, so the speed is
that of another run, and idle is rather too high than too low.

Source: https://docs.pytorch.org/docs/stable/profiler.html
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpu_run import Variant, ours  # sets what has to be set before torch is imported

import torch  # isort: skip
import transformers  # isort: skip
from elara.train.devices.compiling import running_plan  # isort: skip

ELEMENTWISE = "elementwise, norms, loss"
# Names of kernels on a GPU and of operators on a CPU. The first pattern that is found counts.
GROUPS: list[tuple[str, str]] = [
    ("matrix products", r"^triton_tem"),
    # A compiled kernel is named after all that was fused into it, copies and norms too.
    (ELEMENTWISE, r"^triton_"),
    ("optimiser", r"multi_tensor_apply|_foreach_|adam|clip_grad"),
    ("attention", r"flash|fmha|attention|varlen"),
    ("dequantisation", r"dequant|bitsandbytes|nf4|4bit"),
    ("matrix products", r"gemm|gemv|nvjet|xmma|cutlass|cublas|splitk|matmul"),
    ("matrix products", r"::(add|b|baddb)?mm|linear_pointwise"),  # on a CPU
    ("copies", r"memcpy|memset|copy|aten::(cat|to|contiguous|clone)\b"),
]
ORDER = ("matrix products", "attention", "dequantisation", ELEMENTWISE)
ORDER += ("optimiser", "copies", "idle")


class Watch(transformers.TrainerCallback):  # type: ignore[misc]
    """Profile some steps after the warm-up, then stop training.

    Args:
        warmup: steps before.
        steps: profiled steps.
        on_gpu: whether to record a device's kernels, else a CPU's operators.
    """

    def __init__(self, warmup: int, steps: int, *, on_gpu: bool) -> None:
        kinds = torch.profiler.ProfilerActivity
        self.profiler = torch.profiler.profile(activities=[kinds.CUDA if on_gpu else kinds.CPU])
        self.first, self.last, self.on_gpu = warmup, warmup + steps, on_gpu
        self.seconds = 0.0
        self.running: Any = None  # the plan by which layers ran to the end, where they are compiled

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Begin or end where it is time."""
        if state.global_step not in (self.first, self.last):
            return
        if state.global_step == self.first:
            self.wait()
            self.profiler.start()
            self.started = time.perf_counter()
            return
        self.wait()
        self.seconds = time.perf_counter() - self.started
        self.profiler.stop()
        self.running = running_plan(given["model"])
        control.should_training_stop = True

    def wait(self) -> None:
        """Wait for the device."""
        if self.on_gpu:
            torch.cuda.synchronize()


def group_of(name: str) -> str:
    """The group that a kernel or operator belongs to, by its name."""
    found = (group for group, pattern in GROUPS if re.search(pattern, name, re.I))
    return next(found, ELEMENTWISE)


def times(events: Iterable[Any], seconds: float, *, on_gpu: bool) -> dict[str, float]:
    """Seconds by group; together they are the wall time.

    Args:
        events: the profiler's.
        seconds: wall time of what was profiled.
        on_gpu: whether a device's kernels count, else a CPU's operators, each without those that
            it calls.
    """
    spent: Counter[str] = Counter()
    for event in events:
        if event.is_user_annotation or event.name.startswith(("ProfilerStep", "Optimizer.")):
            continue
        on_device = event.device_type != torch.autograd.DeviceType.CPU
        if on_gpu and on_device:
            spent[group_of(event.name)] += event.time_range.elapsed_us()
        elif not on_gpu:
            spent[group_of(event.name)] += event.self_cpu_time_total
    found = {group: spent[group] / 1e6 for group in ORDER}
    # Where copies run beside kernels, the sum may be more than the wall time.
    found["idle"] = max(0.0, seconds - sum(found.values()))
    return {group: round(value, 4) for group, value in found.items()}


def measure(variant: Variant) -> dict[str, Any]:
    """Train for some steps and say where the last ones spent their time.

    Raises:
        SystemExit: no step was profiled, or nothing was recorded.
    """
    on_gpu = torch.cuda.is_available()
    watch = Watch(variant.warmup, variant.steps, on_gpu=on_gpu)
    found = ours(variant, watch)
    if not watch.seconds:
        raise SystemExit("Training ended before the last step to be profiled.")
    if on_gpu and variant.compiled and not (watch.running and watch.running.compiled):
        raise SystemExit("The layers could not be compiled; the log says why.")
    spent = times(watch.profiler.events(), watch.seconds, on_gpu=on_gpu)
    if spent["idle"] >= watch.seconds:
        raise SystemExit("The profiler recorded no kernel: is another profiler attached?")
    told = {"variant": asdict(variant), "plan": found["plan"]}
    return told | {"profiled_seconds": round(watch.seconds, 4), "time": spent}


if __name__ == "__main__":
    asked = Variant(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    answer = measure(asked)
    Path(sys.argv[2]).write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")
