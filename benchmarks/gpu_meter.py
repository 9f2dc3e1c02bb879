"""Time training steps without slowing them: a callback that any of the measured trainers takes."""

from __future__ import annotations

import statistics
import time
from typing import Any

import gpu_model
import torch
import transformers

from elara.train.devices.compiling import running_plan


class Meter(transformers.TrainerCallback):  # type: ignore[misc]
    """Time, non-padding tokens and peak memory of a stretch of optimiser steps.

    The device is waited for twice: after the warm-up and after the last measured step, where
    training stops. In between nothing is added that a run does not do; the times of single steps
    come from events in the device's own queue.

    Args:
        warmup: steps that are not measured, at least one.
        steps: measured steps.
        on_gpu: whether there is a device to wait for.
    """

    def __init__(self, warmup: int, steps: int, *, on_gpu: bool) -> None:
        self.warmup, self.steps, self.on_gpu = warmup, steps, on_gpu
        self.marks: list[Any] = []
        self.counts: list[list[Any]] = [[]]
        self.seconds = 0.0
        self.memory = (0, 0)
        self.running: Any = None  # the plan by which layers ran to the end, where they are compiled

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Begin to count tokens, and memory from here on."""
        embeddings = given["model"].get_input_embeddings()
        self.hook = embeddings.register_forward_pre_hook(self.count)
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats()

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark where the first step begins; later ones begin where the last has ended."""
        if not self.marks:
            self.mark()

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Mark a step's end; begin, or stop, where it is the last of its kind."""
        self.counts.append([])
        done = len(self.marks)
        if done == self.warmup:
            self.wait()
            self.started = time.perf_counter()
        self.mark()
        if done == self.warmup + self.steps:
            self.wait()
            self.seconds = time.perf_counter() - self.started
            if self.on_gpu:
                reserved = torch.cuda.max_memory_reserved()
                self.memory = torch.cuda.max_memory_allocated(), reserved
            self.running = running_plan(given["model"])
            self.hook.remove()
            control.should_training_stop = True

    def count(self, _module: Any, given: Any) -> None:
        """Note how many tokens of a forward pass are no padding; on the device, without waiting."""
        self.counts[-1].append((given[0] != gpu_model.PAD).sum())

    def wait(self) -> None:
        """Wait for the device."""
        if self.on_gpu:
            torch.cuda.synchronize()

    def mark(self) -> None:
        """Note the time: in the device's queue, or of the clock."""
        if not self.on_gpu:
            self.marks.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self.marks.append(event)

    def result(self, shape: dict[str, Any], peak: float | None) -> dict[str, Any]:
        """What was measured.

        Args:
            shape: the model's, whose arithmetic is counted.
            peak: of the device, in FLOP/s; None where it is not known.

        Raises:
            SystemExit: training ended before the last step.
        """
        if not self.seconds:
            made = max(0, len(self.marks) - 1)
            raise SystemExit(
                f"Training ended after {made} steps, and {self.warmup + self.steps} were to be "
                "measured: give it more examples."
            )
        each = [self._between(a, b) for a, b in zip(self.marks, self.marks[1:], strict=False)]
        tokens = [sum(int(one) for one in step) for step in self.counts[: len(each)]]
        rates = [n / s for n, s in zip(tokens, each, strict=True)][self.warmup :]
        usual = statistics.median(each[self.warmup :])
        rate = sum(tokens[self.warmup :]) / self.seconds
        found = {
            "tokens_per_second": round(rate, 1),
            "slowest_and_fastest_step": [round(min(rates), 1), round(max(rates), 1)],
            "measured_seconds": round(self.seconds, 2),
            "start_seconds": round(sum(max(0, s - usual) for s in each[: self.warmup]), 1),
        }
        if self.on_gpu:
            share = gpu_model.utilisation(shape, rate, peak)
            allocated, reserved = self.memory
            found |= {
                "mfu_percent": None if share is None else round(100 * share, 1),
                "peak_gib": round(allocated / 2**30, 2),
                "reserved_gib": round(reserved / 2**30, 2),
            }
        return found

    def _between(self, earlier: Any, later: Any) -> float:
        return earlier.elapsed_time(later) / 1000 if self.on_gpu else later - earlier
