"""What was once read wrongly is read right: this folder's cases, and the shared ones by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import check
import pytest

HERE = Path(__file__).parent
CASES = sorted(HERE.glob("[0-9]*"))


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_case(case: Path) -> None:
    passed, said = check.run(case)
    assert passed, said


def test_every_part_that_reads_an_input_has_a_case() -> None:
    used = {json.loads((case / "expected.json").read_text())["runner"] for case in CASES}
    assert used == check.RUNNERS.keys()


def test_a_case_can_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = shutil.copytree(HERE / "09-line-end-hyphens", tmp_path / "01-wrong")
    expected = json.loads((wrong / "expected.json").read_text())
    (wrong / "expected.json").write_text(json.dumps(expected | {"must_contain": ["aspirin"]}))
    (tmp_path / "02-program").mkdir()
    (tmp_path / "02-program" / "repro.py").write_text("print('ok'); print('LOST 5 mg')")
    (tmp_path / "03-by-hand").mkdir()
    monkeypatch.setattr("sys.argv", ["check.py", "--cases", str(tmp_path)])
    assert check.main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" |")[0] for line in lines] == [
        "FAIL 01-wrong",
        "FAIL 02-program",
        "hand 03-by-hand",
    ]
