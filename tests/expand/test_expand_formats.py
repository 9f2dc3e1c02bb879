"""The data set to pass on opens in every format, holds only open text, and names every work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from elara.expand import FORMATS, Examples, write_dataset, write_splits
from elara.expand.formats import SPLITS, converted
from elara.model import SYSTEM_PROMPT
from elara.records import Article, Example, Message, Span, Split, frame, records


def example(n: int, split: Split, licence: str = "CC-BY-4.0", turns: int = 1) -> Example:
    asked = [
        message
        for turn in range(turns)
        for message in (
            Message("user", f"Question {n}.{turn}?"),
            Message("assistant", f"Answer {n}.{turn}: é, “x” | *y*.\n\n- a\n- b"),
        )
    ]
    return Example(
        id=f"pubmed:{n}/key_points/0",
        messages=[Message("system", SYSTEM_PROMPT), *asked],
        specialty="General",
        origin="grounded",
        recipe="key_points",
        article_ids=[f"pubmed:{n}"],
        licence=licence,
        redistributable=licence.startswith("CC-BY") and "NC" not in licence,
        split=split,
        language="fr" if n == 2 else "en",
        spans=[] if split == "train" else [Span(2, f"pubmed:{n}", "abstract", 0, 9)],
        article_sha256="0" * 64,
    )


EXAMPLES = [
    example(1, "train"),
    example(2, "train", turns=2),
    example(3, "train", "CC-BY-SA-3.0"),
    example(4, "train", "CC-BY-NC-4.0"),
    example(5, "test"),
    example(6, "test", "private"),
]
ARTICLES = frame(
    [
        Article(
            id=e.article_ids[0],
            source="pubmed",
            title=f"Iron | [and] *copper* {n}.",
            authors=["Ada One", "Ben Two", "Cy Three", "Di Four"],
            journal="Journal of Metals",
            published="2019-03-01",
            url="https://example.org/1" if n else "",
            doi="10.1000/x",
            licence=e.licence,
        )
        for n, e in enumerate(EXAMPLES)
    ],
    Article,
)


def written(folder: Path, examples: list[Example], **options: Any) -> dict[str, str]:
    """The files of a data set, by their path; tables as the lines that were written."""
    write_dataset(Examples.of(frame(examples, Example)), ARTICLES, folder, **options)
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".parquet")
    return {p.relative_to(folder).as_posix(): p.read_text(encoding="utf-8") for p in paths}


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def header(card: str) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load(card.split("---\n")[1])
    return found


def test_every_format_opens_and_holds_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    files = written(tmp_path, EXAMPLES)
    opened = 0
    for name in FORMATS:
        found = datasets.load_dataset(
            str(tmp_path / "dataset"), name, cache_dir=str(tmp_path / "cache")
        )
        assert set(found) == {"train", "test"}
        for split in found:
            lines = rows(files[f"dataset/{name}/{split}.jsonl"])
            assert found[split].to_list() == lines
            opened += len(lines)
    assert opened == 4 + 4 + 3


def test_prompts_are_what_the_plain_template_writes(tiny_folder: Path) -> None:
    from elara.model import load_tokenizer

    tokenizer = load_tokenizer(str(tiny_folder))
    tokenizer.chat_template = None
    from elara.model.chat import give_template

    give_template(tokenizer)
    table = frame(EXAMPLES, Example)
    made = converted(table, "prompt-completion").to_dicts()
    for row, chat in zip(made, table["messages"].to_list(), strict=True):
        text = tokenizer.apply_chat_template(chat, tokenize=False)
        end = tokenizer.eos_token  # the text of a format has none: whoever trains adds it
        assert text.replace(end, "").removeprefix(tokenizer.bos_token or "") == (
            row["prompt"] + row["completion"]
        )


def test_single_questions_keep_the_names_of_the_reference() -> None:
    first = converted(frame(EXAMPLES, Example), "instruction-response").row(0, named=True)
    assert first["system"] == SYSTEM_PROMPT
    assert first["instruction"] == "Question 1.0?"
    assert first["response"].startswith("Answer 1.0")


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(ValueError, match=r"'chat'.*messages, prompt-completion"):
        converted(frame(EXAMPLES, Example), "chat")


def test_what_may_not_be_passed_on_is_a_row_and_in_no_file(tmp_path: Path) -> None:
    files = written(tmp_path, EXAMPLES)
    out = pl.read_parquet(tmp_path / "dataset" / "left_out.parquet")
    assert out.select("article_id", "licence", "format").rows() == [
        ("pubmed:2", "CC-BY-4.0", "instruction-response"),
        ("pubmed:4", "CC-BY-NC-4.0", "all"),
        ("pubmed:6", "private", "all"),
    ]
    for name, text in files.items():
        assert "pubmed:1" in text or name.endswith(".md") or "test" in name
        assert "Question 4" not in text
        assert "Question 6" not in text
        assert "copper* 3" not in text
    # whatever is missing from a format has a row
    for name in FORMATS:
        paths = [f"dataset/{name}/{split}.jsonl" for split in SPLITS]
        held = {row["id"] for path in paths for row in rows(files.get(path, ""))}
        missing = out.filter(pl.col("format").is_in(["all", name]))["id"]
        assert held | set(missing) == {e.id for e in EXAMPLES}
        assert not held & set(missing)


def test_nothing_to_pass_on_writes_only_the_list(tmp_path: Path) -> None:
    closed = [e for e in EXAMPLES if not e.redistributable]
    assert written(tmp_path, closed) == {}
    assert pl.read_parquet(tmp_path / "dataset" / "left_out.parquet").height == 2


def test_the_splits_hold_every_example_once_in_order(tmp_path: Path) -> None:
    write_splits(Examples.of(frame(EXAMPLES, Example)), tmp_path)
    held = {split: pl.read_ndjson(tmp_path / f"{split}.jsonl") for split in ("train", "test")}
    for split, table in held.items():
        assert table["id"].to_list() == [e.id for e in EXAMPLES if e.split == split]
    both = [example for table in held.values() for example in records(table, Example)]
    assert sorted(both, key=lambda example: example.id) == EXAMPLES
    assert (tmp_path / "validation.jsonl").read_bytes() == b""  # there is none, and it says so


def test_the_header_says_what_a_hub_shows(tmp_path: Path) -> None:
    from huggingface_hub import DatasetCard

    files = written(tmp_path, EXAMPLES)
    card = files["dataset/README.md"]
    data = DatasetCard(card).data.to_dict()
    assert data == header(card)
    assert data["license"] == "other"
    assert data["license_link"] == "LICENSE.md"
    assert data["language"] == ["en", "fr"]
    assert data["size_categories"] == "n<1K"
    assert data["task_categories"] == ["question-answering", "text-generation"]
    for config in data["configs"]:
        for file in config["data_files"]:
            assert f"dataset/{file['path']}" in files
    assert [c["config_name"] for c in data["configs"] if c["default"]] == ["messages"]


def test_one_licence_that_hubs_know_is_named_itself(tmp_path: Path) -> None:
    one = [e for e in EXAMPLES if e.licence == "CC-BY-SA-3.0"]
    data = header(written(tmp_path, one)["dataset/README.md"])
    assert data["license"] == "cc-by-sa-3.0"
    assert "license_name" not in data


def test_the_card_counts_and_names_every_work(tmp_path: Path) -> None:
    parameters = {"seed": 7, "workspace": "/home/somebody/w", "base_model": "/home/somebody/m"}
    told = {"parameters": parameters, "contamination": "None was found."}
    files = written(tmp_path, EXAMPLES, **told)
    card = files["dataset/README.md"]
    assert "| pubmed | 4 | 4 | CC-BY-4.0, CC-BY-SA-3.0 |" in card
    assert "| CC-BY-4.0 | 3 |" in card
    assert "| 2 | every format |" in card
    assert "| 1 | `instruction-response` |" in card
    assert "| `seed` | 7 |" in card
    assert "somebody" not in card
    assert "**Contamination.** None was found." in card
    assert "**No clinician has reviewed them.**" in card
    work = (
        r"- Iron \| \[and\] \*copper\* 2. Ada One, Ben Two, Cy Three et al. Journal of Metals, "
        "2019. <https://example.org/1>. CC-BY-SA-3.0"
    )
    for text in (card, files["dataset/LICENSE.md"]):
        assert work in text
        assert text.count("- Iron") == 4
        assert "<https://doi.org/10.1000/x>" in text


def test_a_long_list_of_works_stands_in_the_licence_file(tmp_path: Path) -> None:
    many = frame([example(n, "train") for n in range(300)], Example)
    articles = [Article(id=f"pubmed:{n}", source="pubmed", title=f"Iron {n}") for n in range(300)]
    write_dataset(Examples.of(many), frame(articles, Article).lazy(), tmp_path)
    told = [(tmp_path / "dataset" / n).read_text() for n in ("README.md", "LICENSE.md")]
    assert "300 works ask for attribution" in told[0]
    assert told[1].count("- Iron") == 300
