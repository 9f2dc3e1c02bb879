"""Machine code that is kept belongs to the sources as they are, and runs without the compiler."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from elara.inspection import machine
from elara.inspection.kernels import hash_words


def test_a_change_of_any_source_or_of_the_machine_gives_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for source in machine.sources():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    monkeypatch.setattr(machine, "_HERE", tmp_path)
    names = {machine.kept_name("here"), machine.kept_name("elsewhere")}
    assert len(names) == 2
    for source in machine.sources():
        with source.open("a") as file:
            file.write("# changed\n")
        names.add(machine.kept_name("here"))
    assert len(names) == 2 + len(machine.sources())


def test_every_module_that_a_kernel_takes_numbers_from_is_a_source() -> None:
    sources = machine.sources()
    for source in sources:
        if source.stem not in (*machine.KERNELS, "compiled"):
            continue
        for statement in ast.parse(source.read_text(encoding="utf-8")).body:
            if isinstance(statement, ast.ImportFrom):
                named = f"{statement.module}.{statement.names[0].name}".split(".")
                if named[:2] == ["elara", "inspect"]:
                    assert named[2] in {s.stem for s in sources}, source


def test_a_second_process_runs_the_kernels_without_numba() -> None:
    expected = hash_words(["liver"]).tolist()  # compiles where nothing is kept
    code = (
        "import sys\nfrom elara.inspection.kernels import hash_words\n"
        "print(hash_words(['liver']).tolist(), 'numba' in sys.modules)"
    )
    said = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert said.strip() == f"{expected} False"


def test_threads_that_come_at_once_share_one_load() -> None:
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from elara.inspection.kernels import hash_words\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    found = pool.map(lambda _: hash_words(['liver'] * 999).tolist(), range(64))\n"
        "    print(len({tuple(f) for f in found}))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "1"


def test_arrays_of_another_type_are_refused() -> None:
    wrong = np.zeros(1, dtype=np.int32)
    with pytest.raises(AssertionError, match="components"):
        machine.call("components", wrong, wrong, wrong)
