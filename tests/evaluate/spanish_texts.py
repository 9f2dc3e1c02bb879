"""Spanish examples from real texts, made by the package's own stages."""

from __future__ import annotations

import gzip
import json
import shutil
from itertools import groupby
from pathlib import Path

import polars as pl

from elara.clean import clean
from elara.collect import collect_folder
from elara.expand import Examples, grounded_examples, split_by_topic, validate, without_repeats
from elara.model import SYSTEM_PROMPT

_SENTENCES = 6  # of a passage; the first is its title
_NO_DOCUMENTS = {"CMU_1"}  # sentences of conversations, in no order
_LANGUAGES = ("en", "es")


def raw_texts(shared_data: Path, folder: Path) -> Path:
    """Lay health topics of MedlinePlus, in Spanish and English, beside passages of TICO-19.

    Args:
        shared_data: the real data.
        folder: where to write.
    """
    shutil.copytree(shared_data / "public_health" / "medlineplus", folder / "medlineplus")
    place = folder / "tico19"
    place.mkdir()
    (place / "licence.txt").write_text("CC0-1.0\n")
    with gzip.open(shared_data / "multilingual" / "tico19" / "en-es-LA.jsonl.gz", "rt") as lines:
        said = [json.loads(line) for line in lines]
    for document, rows in groupby(said, key=lambda row: row["id"].partition(":")[0]):
        if document in _NO_DOCUMENTS:
            continue
        sentences = [row["text"] for row in rows]
        with (place / f"{document}.jsonl").open("w", encoding="utf-8") as file:
            for start in range(0, len(sentences), _SENTENCES):
                title, *rest = sentences[start : start + _SENTENCES]
                row = {"title": title, "text": " ".join(rest), "language": "es"}
                file.write(json.dumps(row) + "\n")
    return folder


def examples(folder: Path) -> pl.DataFrame:
    """Collect, clean, expand: `Example` rows in three splits, with their `topic`.

    The texts of one file are one topic: passages of a document, or the pages of MedlinePlus.

    Args:
        folder: from `raw_texts`.
    """
    articles = clean(collect_folder(folder).articles.collect()).articles
    made = grounded_examples(articles, SYSTEM_PROMPT, languages=_LANGUAGES, max_answer_words=50)
    checked = validate(made.examples, articles, languages=_LANGUAGES)
    kept = without_repeats(Examples.of(checked.examples)).examples
    topics = dict(articles.select("id", "raw_file").iter_rows())
    split = split_by_topic(kept, topics, test_share=0.4, validation_share=0.1, seed=1)
    return split.all().with_columns(split.index["topic"])
