"""Check a GPU: how fast a model of Mistral 7B's shape trains, beside others, and real runs.

    python benchmarks/gpu.py               # script A, Elara alone; then B, the real run and peers
    python benchmarks/gpu.py --script A    # each keeps to --seconds and names what was not run
    python benchmarks/gpu.py --steps install environment lora-bf16 trl-bf16
    python benchmarks/gpu.py --check            # compare what was measured with the bars
    python benchmarks/gpu.py --variants '{"name": {"batch": 2, "compiled": true}}'

Steps write benchmarks/gpu.json one by one and are skipped where it holds their result, so a run
that was cut off goes on. On a machine without network, carry the bundles that gpu_bundle.py made,
as _build/gpu/bundle-1 and so on; step `install` unpacks what is there. Needed of the project are
elara/, benchmarks/, notebooks/ and pyproject.toml.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gpu_bundle
import gpu_model
import gpu_report
import gpu_steps

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = ROOT / "_build" / "gpu"
SITE = BUILD / "site"
RESULT = HERE / "gpu.json"
REAL_RUN = HERE / "real_run.py"

ALWAYS = ("install", "environment")
STEPS = [*ALWAYS, *(name for steps in gpu_steps.SCRIPTS.values() for name in steps)]
REPORT = 3.0  # seconds of a script's budget that are left for its report


class Record:
    """The results so far, on disk after every step."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, Any] = (
            json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        )

    def done(self, step: str) -> bool:
        """Whether a step has a result."""
        return step in self.found and not {"error", "not_run"} & {*self.found[step]}

    def keep(self, step: str, result: dict[str, Any]) -> None:
        """Write a step's result, whole or not at all."""
        self.found[step] = result
        draft = self.path.with_suffix(".draft")
        draft.write_text(json.dumps(self.found, indent=1) + "\n", encoding="utf-8")
        draft.replace(self.path)


def environment() -> dict[str, Any]:
    """Device, driver and versions."""
    code = (
        "import inspect, json, importlib.metadata as m, torch\n"
        "try: from torch.nn.attention.varlen import varlen_attn as f\n"
        "except ImportError: f = lambda: None\n"
        "from elara.train.devices.cards import peak_flops\n"
        "n = ['torch','transformers','trl','peft','accelerate','bitsandbytes','datasets']\n"
        "v = {x: m.version(x) for x in n}\n"
        "c = torch.cuda.is_available()\n"
        "p = torch.cuda.get_device_properties(0) if c else None\n"
        "d = p.name if c else 'none (CPU)'\n"
        "print(json.dumps({'device': d, 'peak': peak_flops(d),"
        " 'memory_gib': round(p.total_memory / 2**30, 1) if c else 0,"
        " 'cuda': torch.version.cuda, 'versions': v,"
        " 'varlen_attn takes': [*inspect.signature(f).parameters]}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=_environ(), capture_output=True, text=True
    )
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    peak, source = found.pop("peak")
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


def call(command: list[str], log: Path, limit: float | None) -> str:
    """Run a command with what it starts; "" where it went well, else what was wrong.

    Args:
        command: program and arguments.
        log: gets what it prints.
        limit: seconds, after which it and its own processes are ended; None: none.
    """
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(
            command,
            env=_environ(),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a notebook's kernel is to end with it
        )
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return f"took longer than {limit:.0f} s"
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    return (lines[-1] if lines else f"exit code {code}")[:300] if code else ""


def measured(
    name: str, script: str, settings: dict[str, Any], limit: float | None
) -> dict[str, Any]:
    """What a script of its own measured, in a process of its own."""
    asked, answer = BUILD / f"{name}.asked.json", BUILD / f"{name}.json"
    answer.unlink(missing_ok=True)
    asked.write_text(json.dumps(settings), encoding="utf-8")
    command = [sys.executable, str(HERE / script), str(asked), str(answer)]
    wrong = call(command, BUILD / f"{name}.log", limit)
    if wrong or not answer.exists():
        return {"error": wrong or "left no result"}
    found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    return found


def real_run(seeds: int, given: argparse.Namespace, limit: float | None) -> dict[str, Any]:
    """Notebooks 01 to 06 on real text, up to a number of seeds; those that are there are kept.

    Where 01 to 04 have run for it, on whatever machine, it begins with 05.
    """
    if not REAL_RUN.exists():
        return {"not_run": f"{REAL_RUN.name} is not here"}
    prepared = ROOT / "_build" / "real-run" / "workspace" / "training_data" / "manifest.json"
    if not given.text.is_dir() and not prepared.exists():
        return {"not_run": f"no real text in {given.text}: name a folder with --text, or carry one"}
    result = given.result.with_name("real_run.json")
    left = 0 if limit is None else max(1, limit - 5)
    command = [sys.executable, str(REAL_RUN)]
    command += ["--folder", str(given.text)] if given.text.is_dir() else ["--prepared"]
    if not _there("lancedb"):  # said in the run's result
        command += ["-p", "evaluate.sources_each=0"]
    command += ["--seeds", str(seeds), "--result", str(result), "--seconds", f"{left:.0f}"]
    wrong = call(command, BUILD / f"real-run-{seeds}.log", limit)
    if "not run" in wrong:
        return {"not_run": wrong}
    return {"error": wrong} if wrong else {"seeds": seeds, "result": result.name}


def notebooks(workspace: Path, limit: float | None) -> dict[str, Any]:
    """Run 05 and 06 with the packaged model; 01-04 before them where their result is missing."""
    left = gpu_bundle.unpack(BUILD, workspace)
    names = ["05-train", "06-evaluate"]
    if not (workspace / "training_data" / "manifest.json").exists():
        if not any((ROOT / "elara" / "sample").glob("*")):
            return {"not_run": f"no training data in {workspace}, and no sample to make it from"}
        names = ["01-collect", "02-inspect", "03-clean", "04-expand", *names]
    result: dict[str, Any] = {"unpacked": left}
    begun = time.perf_counter()
    for name in names:
        started = time.perf_counter()
        command = [sys.executable, "-m", "papermill", "--no-progress-bar", "-k", "python3"]
        command += [str(ROOT / "notebooks" / f"{name}.ipynb"), str(BUILD / f"{name}.ipynb")]
        command += ["-p", "workspace", str(workspace)]
        if name == "06-evaluate" and not _there("lancedb"):
            command += ["-p", "sources_each", "0"]
            result["left_out"] = "answers with sources: lancedb is not installed"
        wrong = call(command, BUILD / f"{name}.log", limit and max(1, limit - (started - begun)))
        if wrong:
            return result | {"error": f"{name}: {wrong}"}
        result[name] = {"seconds": round(time.perf_counter() - started, 1)}
    record = json.loads((workspace / "lora_adapters" / "adapter" / "training.json").read_text())
    result["precision"] = record["precision"]
    result["train_tokens_per_second"] = round(record["tokens"] / record["seconds"], 1)
    verdict = json.loads((workspace / "evaluation" / "verdict.json").read_text(encoding="utf-8"))
    result["verdict"] = verdict
    return result


def run(name: str, step: gpu_steps.Step, given: argparse.Namespace, left: float) -> dict[str, Any]:
    """One step of a script, and the seconds that it took.

    Args:
        name: the step's.
        step: what it runs.
        given: the command's options.
        left: seconds until the script has to end; infinite without a budget.
    """
    for package in step.needs:
        if not _there(package):
            return {"not_run": f"{package} is not installed"}
    most = min(given.limit, left) if name in gpu_steps.ELARA else left
    if name == "real-run":
        # What it is expected to take, or all but what comes after its first seed, if that is more.
        most = max(step.seconds, most - gpu_steps.AFTER_REAL_RUN)
    limit = None if most == float("inf") else max(1.0, most)
    started = time.perf_counter()
    if name == "notebooks":
        found = notebooks(given.workspace, limit)
    elif name.startswith("real-run"):
        seeds = int(name.removeprefix("real-run").lstrip("-") or 1)
        found = real_run(seeds, given, limit)
    else:
        settings = {"shape": given.shape} | step.settings
        if given.shape == "tiny":
            settings |= gpu_steps.TINY[step.script]
        found = measured(name, step.script, settings, limit)
    return found | {"seconds_in_all": round(time.perf_counter() - started, 1)}


def script(
    record: Record, steps: dict[str, gpu_steps.Step], given: argparse.Namespace, begun: float
) -> bool:
    """Run the steps that have no result and fit into the budget; whether all of them went well.

    Args:
        record: keeps every step's result, or why it was not run.
        steps: in their order.
        given: the command's options.
        begun: when the budget began, by `time.perf_counter`.
    """
    well = True
    for name, step in steps.items():
        if record.done(name) and not given.again:
            continue
        gone = time.perf_counter() - begun
        left = given.seconds - REPORT - gone if given.seconds else float("inf")
        expected = gpu_steps.TINY_SECONDS if given.shape == "tiny" else step.seconds
        if expected > left:
            why = f"{left:.0f} s of {given.seconds:.0f} were left, and it is expected to take"
            result: dict[str, Any] = {"not_run": f"{why} {expected:.0f}"}
        else:
            result = run(name, step, given, left)
        if "not_run" not in result or not record.done(name):
            record.keep(name, result)
        well &= "error" not in result
        why = f"not run: {result['not_run']}" if "not_run" in result else "done"
        gone = time.perf_counter() - begun
        print(f"{name}: {result.get('error') or why} ({gone:.0f} s so far)", flush=True)
    return well


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
    parser.add_argument("--script", nargs="*", default=["A", "B"], choices=["A", "B"])
    parser.add_argument("--steps", nargs="*", help=f"and no scripts; some of: {' '.join(STEPS)}")
    parser.add_argument("--variants", default="{}", help="more runs: JSON, name to settings")
    parser.add_argument("--shape", default="mistral-7b", choices=sorted(gpu_model.SHAPES))
    parser.add_argument("--seconds", type=float, default=280, help="of each script; 0: no limit")
    parser.add_argument("--limit", type=float, default=120, help="ends a step of script A, seconds")
    parser.add_argument("--result", type=Path, help="default: benchmarks/gpu.json")
    parser.add_argument("--workspace", type=Path, default=BUILD / "workspace")
    parser.add_argument("--text", type=Path, default=BUILD / "text", help="real text, a folder")
    parser.add_argument("--again", action="store_true", help="also steps that have a result")
    parser.add_argument("--check", action="store_true", help="compare with the bars, run nothing")
    given = parser.parse_args(arguments)
    # A rehearsal is no measurement: the book shows what stands in the one file.
    given.result = given.result or (BUILD / "rehearsal.json" if given.shape == "tiny" else RESULT)
    record = Record(given.result)
    unknown = [step for step in given.steps or [] if step not in STEPS]
    if unknown:
        parser.error(f"unknown step {unknown[0]!r}: {' '.join(STEPS)}")
    if given.check:
        rows = gpu_report.check(record.found)
        gpu_report.show(record.found)
        return 0 if all(row["holds"] for row in rows) else 1
    BUILD.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    for name, prepare in (("install", install), ("environment", environment)):
        if given.steps is not None and name not in given.steps:
            continue
        result = prepare()
        problem = result.get("error") or _wrong_machine(result, record.found.get(name, {}), given)
        print(f"{name}: {problem or 'done'}", flush=True)
        if problem:
            return 1
        record.keep(name, result)
    parts = [gpu_steps.SCRIPTS[name] for name in given.script]
    if given.steps is not None:
        every = gpu_steps.ELARA | gpu_steps.PEERS
        parts = [{name: every[name] for name in given.steps if name not in ALWAYS}]
    for name, settings in json.loads(given.variants).items():
        settings = dict(settings)
        file = settings.pop("script", gpu_steps.TRAIN)
        parts[-1] = parts[-1] | {name: gpu_steps.Step(seconds=20, script=file, settings=settings)}
    well = True
    for part in parts:
        well &= script(record, part, given, begun)
        begun = time.perf_counter()
    for name in STEPS:  # so that the report names every one of them
        if name not in record.found:
            record.keep(name, {"not_run": "not asked for"})
    for key, rows in gpu_report.tables(record.found).items():
        record.keep(key, {"rows": rows})
    gpu_report.show(record.found)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
