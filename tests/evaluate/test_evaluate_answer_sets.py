"""MedQuAD is read as it is published, and its answers can be judged like any others."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from elara.evaluate import EvaluationError, answer_losses, judge, loss_scores
from elara.evaluate.answer_sets import read_question_answers
from elara.model import load_base

DOCUMENT = """<?xml version="1.0" encoding="UTF-8"?>
<Document id="{id}" source="GARD" url="https://example.org/{id}">
<!-- {id} --><Focus>{focus}</Focus><QAPairs>{pairs}</QAPairs></Document>"""
PAIR = '<QAPair pid="1"><Question qid="q">{}</Question><Answer>{}</Answer></QAPair>'
OLD = """<doc docid="7" corpus="NINDS"><doctitle-focus>iron fever</doctitle-focus><qaPairs>
<pair pid="1"><question qid="7-1">what is  iron fever ?</question>
<answer>Iron fever is a disease&#160;
   that was made up.</answer></pair></qaPairs></doc>"""


def write(folder: Path, name: str, *pairs: tuple[str, str], focus: str = "Iron fever") -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    told = "".join(PAIR.format(*pair) for pair in pairs)
    path.write_text(DOCUMENT.format(id=path.stem.partition("_")[0], focus=focus, pairs=told))


def test_questions_are_read_with_their_answers(tmp_path: Path) -> None:
    write(tmp_path, "2_GARD_QA/1.xml", ("What is (are) Iron fever ?", "It  is\n  made up."))
    (tmp_path / "7.xml").write_text(OLD)
    table, rejected = read_question_answers(tmp_path)
    assert rejected == []
    first, second = table.to_dicts()
    assert [turn["role"] for turn in first["messages"]] == ["system", "user", "assistant"]
    assert first["messages"][1]["content"] == "What is (are) Iron fever ?"
    assert first["messages"][2]["content"] == "It is made up."
    assert second["messages"][2]["content"] == "Iron fever is a disease that was made up."
    assert table["id"].to_list() == ["medquad:GARD-1/published/0", "medquad:NINDS-7/published/0"]
    assert table["article_ids"].to_list() == [["medquad:GARD-1"], ["medquad:NINDS-7"]]
    assert table["topic"].to_list() == ["iron fever", "iron fever"]
    assert set(table["licence"]) == {"CC-BY-4.0"}


def test_parts_of_one_page_are_one_article(tmp_path: Path) -> None:
    write(tmp_path, "1_1.xml", ("Q?", "A."), focus="")
    write(tmp_path, "1_2.xml", ("Q?", "B."), focus="Tin fever")
    table, _ = read_question_answers(tmp_path)
    assert [name[-1] for name in table["id"]] == ["0", "1"]
    assert set(table["topic"]) == {"medquad:GARD-1"}


def test_whatever_is_left_out_is_named(tmp_path: Path) -> None:
    write(tmp_path, "1.xml", ("Q?", "A."), ("", "B."), ("Q?", " "), ("Other?", "A."))
    write(tmp_path, "2.xml")
    (tmp_path / "3.xml").write_text("<Document><QAPair></Document>")
    (tmp_path / "4.xml").write_text("<LiveQA/>")
    (tmp_path / "5.xml").write_text("")
    (tmp_path / "6.csv").write_text("question,answer")
    table, rejected = read_question_answers(tmp_path)
    assert table.height == 1
    assert {row["set"] for row in rejected} == {"medquad"}
    told = {row["id"]: row["reason"] for row in rejected}
    page = "medquad:GARD-1/published"
    assert told.pop("3").startswith("broken XML: ")
    assert told.pop("5").startswith("broken XML: ")
    assert told == {
        f"{page}/1": "no question",
        f"{page}/2": "no answer",
        f"{page}/3": f"its answer is that of {page}/0",
        "medquad:GARD-2": "a document without questions",
        "4": "no document of MedQuAD: its root is LiveQA",
        "6": "no XML file",
    }


def test_an_entity_of_a_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    text = f'<!DOCTYPE doc [<!ENTITY x SYSTEM "{tmp_path / "secret"}">]>'
    (tmp_path / "1.xml").write_text(text + OLD.replace("made up", "&x; made up"))
    table, _ = read_question_answers(tmp_path)
    assert "secret" not in table["messages"][0][2]["content"]


def test_a_folder_without_it_is_told_where_it_is(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no folder"):
        read_question_answers(tmp_path / "none")
    with pytest.raises(EvaluationError) as error:
        read_question_answers(tmp_path)
    assert all(x in str(error.value) for x in ("https://github.com/abachaa/MedQuAD", "CC-BY-4.0"))
    write(tmp_path, "1.xml", ("Q?", ""))
    with pytest.raises(EvaluationError, match=r"Left out: 1, .*GARD-1/published/0 \(no answer\)"):
        read_question_answers(tmp_path)


def test_its_answers_are_judged_by_topic(tmp_path: Path, tiny_folder: Path) -> None:
    import peft

    for number in range(4):
        pair = (f"What is sign {number}?", f"Sign {number} has {number} grades.")
        write(tmp_path, f"{number}.xml", pair, focus=f"Sign {number % 3}")
    table, _ = read_question_answers(tmp_path)
    lm = load_base(str(tiny_folder))
    lm.model = peft.get_peft_model(lm.model, peft.LoraConfig(target_modules=["q_proj"]))
    losses = answer_losses(lm, table, max_length=256)
    topics = dict(zip(table["article_ids"].list.first(), table["topic"], strict=True))
    verdict = judge(loss_scores(losses, table, topics), resamples=99).verdict
    assert (verdict.examples, verdict.articles, verdict.topics) == (4, 4, 3)
    assert verdict.difference == pytest.approx(0)  # a new adapter changes nothing


def test_real_files_are_read(shared_data: Path) -> None:
    table, rejected = read_question_answers(shared_data / "qa" / "medquad")
    reasons = Counter(row["reason"].partition(" is that of")[0] for row in rejected)
    assert reasons == {"no answer": 442, "its answer": 15, "no XML file": 2}
    assert (table.height, table["topic"].n_unique()) == (1052, 175)
    assert table["id"].is_unique().all()
    assert not {row["id"] for row in rejected} & set(table["id"])
    assert table["article_ids"].list.first().str.starts_with("medquad:").all()
