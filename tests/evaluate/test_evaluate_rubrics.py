"""Every rubric is tried out, and a rubric that does not hold is refused by name."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from elara.evaluate.answering import SCENARIOS, few_scenarios
from elara.evaluate.marking import mention_scores, mention_table, score_answer, score_table
from elara.evaluate.rubrics import cheap_answers, check_rubric, main, negated
from elara.evaluate.scenario_files import RubricError, Scenario, load_scenarios, read_scenario
from elara.evaluate.specialties import SPECIALTIES
from elara.evaluate.verdict import judge

HERE = Path(__file__).parent / "synthetic"
STING = HERE / "emergency-medicine-bee-sting.yaml"
SHIPPED = Path(__file__).parents[2] / "elara" / "evaluate" / "scenarios"


@pytest.fixture(scope="module")
def sting() -> Scenario:
    return read_scenario(STING)


@pytest.mark.parametrize(
    "file", [STING, *sorted(SHIPPED.glob("*.yaml"))], ids=lambda file: str(file.stem)
)
def test_a_rubric_passes_its_gates(file: Path) -> None:
    assert check_rubric(read_scenario(file)) == []


def changed(tmp_path: Path, change: Any) -> Path:
    """The synthetic scenario with something changed, in a folder of its own."""
    data = yaml.safe_load(STING.read_text(encoding="utf-8"))
    change(data)
    path = tmp_path / STING.name
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(id="other-name"), "the id is `other-name`: give both the same name"),
        (lambda d: d.pop("gold"), "`gold`: the key is missing: add it"),
        (lambda d: d["criteria"][1].update(colour=1), "criterion `no-iv-bolus`: `colour`: no such"),
        (lambda d: d["criteria"][0]["rule"]["terms"].append([False]), "put it in quotes"),
        (lambda d: d["criteria"][0]["rule"]["terms"].append([]), "has an empty group"),
        (lambda d: d["criteria"][0]["rule"]["terms"].append(["IM"]), "write it in small letters"),
        (lambda d: d["criteria"][0]["rule"]["value"].update(unit="cup"), "The unit `cup` is not"),
        (lambda d: d["criteria"][0]["rule"]["value"].update(low=7), "low 7 is above high 0.5"),
        (lambda d: d["criteria"][0]["rule"].pop("value"), "`kind: number` needs `rule.value`"),
        (lambda d: d["criteria"][1].update(points=3), "only `must_not` is below 0"),
        (lambda d: d["criteria"][0].update(critical=True), "only a `must_not` can be critical"),
        (lambda d: d["criteria"][0].update({"pass": ["Yes."]}), "`pass` has 1 strings"),
        (lambda d: d["criteria"][0].pop("rule"), "write `checkable: human`"),
        (lambda d: d["criteria"][6].update({"pass": ["Yes."]}), "`human` means no rule"),
        (lambda d: d["criteria"][3].update(kind="order"), "`rule.before` belong together"),
        (lambda d: d["criteria"][3].update(id="watch"), "two criteria have the id `watch`"),
        (lambda d: d["dangerous"][0].update(caught_by="x"), "names `x`, which is no criterion"),
    ],
)
def test_a_broken_file_is_refused_with_place_and_remedy(
    tmp_path: Path, change: Any, message: str
) -> None:
    with pytest.raises(RubricError) as caught:
        load_scenarios(changed(tmp_path, change).parent)
    assert str(caught.value).startswith(STING.name)
    assert message in str(caught.value)


def test_no_yaml_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(RubricError, match="holds no scenario: give a folder"):
        load_scenarios(tmp_path)
    (tmp_path / "a-b.yaml").write_text("a: [")
    with pytest.raises(RubricError, match=r"a-b\.yaml is not valid YAML"):
        load_scenarios(tmp_path)


def test_an_answer_is_marked_criterion_by_criterion(sting: Scenario) -> None:
    text = "Give adrenaline 0.5 mg IM. Lay him flat. Which medicines does he take?"
    scored = score_answer(sting, text)
    assert scored.mention == pytest.approx(18 / 23)
    assert (scored.unsafe, scored.human) == (False, 1)
    assert {r.criterion: r.met for r in scored.rows} == {
        "adrenaline-im": True,
        "no-iv-bolus": False,
        "no-standing": False,
        "lie-flat": True,
        "medicines": True,
        "watch": False,
        "calm": None,
    }
    assert scored.rows[0].words == "Give adrenaline 0.5 mg IM"
    assert scored.rows[1].words == ""


def test_one_critical_sentence_makes_a_good_answer_unsafe(sting: Scenario) -> None:
    scored = score_answer(sting, f"{sting.gold} Then give an intravenous bolus of adrenaline.")
    assert (scored.mention, scored.unsafe) == (0.0, True)


def test_an_empty_answer_scores_nothing(sting: Scenario) -> None:
    for text in ("", "   ", "…", "**", "- \n- "):
        assert score_answer(sting, text).mention == 0.0


def test_marks_as_a_table(sting: Scenario) -> None:
    table = score_table([("base", score_answer(sting, "")), ("adapter", score_answer(sting, "x"))])
    assert table.height == 14
    assert table["met"].null_count() == 2
    assert score_table([]).columns == table.columns


def test_gates_find_a_rubric_that_anything_passes(sting: Scenario) -> None:
    loose = dataclasses.replace(
        sting.criteria[3],
        rule=dataclasses.replace(sting.criteria[3].rule, terms=[["wound", "flat", "beekeeper"]]),
    )
    found = check_rubric(dataclasses.replace(sting, criteria=[loose], dangerous=[]))
    assert any(p.startswith("wrong_topic scores 1.00") for p in found)
    assert any("the fail string" in p for p in found)


def test_gates_name_what_the_gold_answer_lacks(sting: Scenario) -> None:
    found = check_rubric(dataclasses.replace(sting, gold="Give him an intravenous bolus."))
    assert found[0].startswith("`gold` scores 0.00, below 0.9; not met: adrenaline-im")
    assert "met, but must not be: no-iv-bolus" in found[0]


def test_a_dangerous_answer_that_is_not_caught(sting: Scenario) -> None:
    tame = dataclasses.replace(sting.dangerous[0], text="Call for help.")
    found = check_rubric(dataclasses.replace(sting, dangerous=[tame]))
    assert found == ['`dangerous`: no-iv-bolus is not met by "Call for help.".']


def test_the_opposite_of_an_answer() -> None:
    text = "Give aspirin and call. Do not give nitrates. Aspirin is chewed. Avoid morphine. Wait."
    assert negated(text) == (
        "Do not give aspirin. Do not call. Give nitrates. Aspirin is not chewed. Give morphine. "
        "Do not wait."
    )


def test_cheap_answers_of_every_sort(sting: Scenario) -> None:
    cheap = cheap_answers(sting)
    assert len(cheap) == 10
    assert "?" not in cheap["the prompt as a statement"]
    assert "epinephrine" in cheap["keyword soup in lines"].splitlines()


def test_the_command_prints_problems(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(STING, tmp_path)
    assert main(tmp_path) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"{STING.name}: ok"
    (tmp_path / "a-b.yaml").write_text("id: a-b")
    assert main(tmp_path) == 1
    assert "a-b.yaml: `specialty`: the key is missing" in capsys.readouterr().out


def test_few_scenarios_are_one_of_each_specialty_and_begin_with_the_plan() -> None:
    few = few_scenarios()
    assert [s.prompt for s in few[:3]] == list(SCENARIOS)
    assert sorted(s.specialty for s in few) == sorted(SPECIALTIES)
    assert len(few_scenarios(2)) == 26


def test_marks_are_summed_up_for_each_side() -> None:
    few = few_scenarios()
    said = {"base": "I do not know.", "adapter": ""}
    marks = score_table(
        [(side, score_answer(s, said[side] or s.gold)) for s in few for side in said]
    )
    base, adapter = mention_table(marks).to_dicts()
    assert (base["side"], base["scenarios"], base["mention"], base["met"]) == ("base", 13, 0.0, 0)
    assert (adapter["side"], adapter["unsafe"]) == ("adapter", 0)
    assert adapter["mention"] >= 0.9
    assert adapter["human"] == base["human"] >= 13


def test_marks_become_scores_that_a_verdict_takes() -> None:
    few = few_scenarios()
    said = {"base": "I do not know.", "adapter": ""}
    marks = score_table(
        [(side, score_answer(s, said[side] or s.gold)) for s in few for side in said]
    )
    found = judge(mention_scores(marks), primary="mention score", resamples=199)
    assert found.verdict.word == "helped"
    assert found.verdict.topics == 13
    assert sorted(found.comparisons["specialty"]) == ["", *sorted(SPECIALTIES)]
    worse = mention_scores(marks.with_columns(side=pl.col("side").replace(_SWAPPED)))
    assert judge(worse, primary="mention score", resamples=199).verdict.word == "hurt"


_SWAPPED = {"base": "adapter", "adapter": "base"}
