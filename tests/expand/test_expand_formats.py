"""The data set to pass on opens in every format, holds only open text, and names every work."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import yaml

from elara.expand import FORMATS, dataset_files
from elara.expand.formats import SPLITS, converted
from elara.model import SYSTEM_PROMPT
from elara.records import Article, Example, Message, Span, Split, frame
from elara.workspace.formats import write_file


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


def header(card: str) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load(card.split("---\n")[1])
    return found


def test_every_format_opens_and_holds_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    files = dataset_files(frame(EXAMPLES, Example), ARTICLES)
    for name, content in files.items():
        write_file(tmp_path / name, content)
    opened = 0
    for name in FORMATS:
        found = datasets.load_dataset(
            str(tmp_path / "dataset"), name, cache_dir=str(tmp_path / "cache")
        )
        assert set(found) == {"train", "test"}
        for split in found:
            rows = files[f"dataset/{name}/{split}.jsonl"].to_dicts()
            assert found[split].to_list() == rows
            opened += len(rows)
    assert opened == 4 + 4 + 3


def test_prompts_are_what_the_plain_template_writes(tiny_folder: Path) -> None:
    from elara.model import load_tokenizer

    tokenizer = load_tokenizer(str(tiny_folder))
    tokenizer.chat_template = None
    from elara.model.chat import give_template

    give_template(tokenizer)
    table = frame(EXAMPLES, Example)
    rows = converted(table, "prompt-completion").to_dicts()
    for row, chat in zip(rows, table["messages"].to_list(), strict=True):
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


def test_what_may_not_be_passed_on_is_a_row_and_in_no_file() -> None:
    files = dataset_files(frame(EXAMPLES, Example), ARTICLES)
    out = files["dataset/left_out.parquet"]
    assert out.select("article_id", "licence", "format").rows() == [
        ("pubmed:2", "CC-BY-4.0", "instruction-response"),
        ("pubmed:4", "CC-BY-NC-4.0", "all"),
        ("pubmed:6", "private", "all"),
    ]
    for name, content in files.items():
        text = content.write_ndjson() if isinstance(content, pl.DataFrame) else content
        if "left_out" not in name:
            assert "pubmed:1" in text or name.endswith(".md") or "test" in name
            assert "Question 4" not in text
            assert "Question 6" not in text
            assert "copper* 3" not in text
    # whatever is missing from a format has a row
    for name in FORMATS:
        written = {
            i
            for split in SPLITS
            if f"dataset/{name}/{split}.jsonl" in files
            for i in files[f"dataset/{name}/{split}.jsonl"]["id"]
        }
        missing = out.filter(pl.col("format").is_in(["all", name]))["id"]
        assert written | set(missing) == {e.id for e in EXAMPLES}
        assert not written & set(missing)


def test_nothing_to_pass_on_writes_only_the_list() -> None:
    closed = [e for e in EXAMPLES if not e.redistributable]
    assert list(dataset_files(frame(closed, Example), ARTICLES)) == ["dataset/left_out.parquet"]


def test_the_header_says_what_a_hub_shows() -> None:
    from huggingface_hub import DatasetCard

    files = dataset_files(frame(EXAMPLES, Example), ARTICLES)
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


def test_one_licence_that_hubs_know_is_named_itself() -> None:
    one = [e for e in EXAMPLES if e.licence == "CC-BY-SA-3.0"]
    data = header(dataset_files(frame(one, Example), ARTICLES)["dataset/README.md"])
    assert data["license"] == "cc-by-sa-3.0"
    assert "license_name" not in data


def test_the_card_counts_and_names_every_work() -> None:
    parameters = {"seed": 7, "workspace": "/home/somebody/w", "base_model": "/home/somebody/m"}
    files = dataset_files(
        frame(EXAMPLES, Example), ARTICLES, parameters=parameters, contamination="None was found."
    )
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


def test_a_long_list_of_works_stands_in_the_licence_file() -> None:
    many = [example(n, "train") for n in range(300)]
    articles = [Article(id=f"pubmed:{n}", source="pubmed", title=f"Iron {n}") for n in range(300)]
    files = dataset_files(frame(many, Example), frame(articles, Article))
    assert "300 works ask for attribution" in files["dataset/README.md"]
    assert files["dataset/LICENSE.md"].count("- Iron") == 300
