"""Read MedQuAD, a public set of questions and answers, as it is published, for the answer loss.

The set is not part of Elara. Its questions are not written by patients: most follow a few patterns,
and the answers are pages of the US National Institutes of Health. A lower loss on them says that a
model expects such pages more, not that what it writes itself is true.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from lxml import etree

from elara.evaluate.public_sets import left
from elara.evaluate.scores import EvaluationError
from elara.model import SYSTEM_PROMPT
from elara.records import Example, Message, frame
from elara.text.items import item_files

SET, RECIPE, LICENCE = "medquad", "published", "CC-BY-4.0"
_TITLE = "MedQuAD, questions and answers from pages of the US National Institutes of Health"
_ADDRESS = "https://github.com/abachaa/MedQuAD"
_ROOTS = ("Document", "doc", "DiseaseFile")
_PARSER = etree.XMLParser(
    resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True
)


def read_question_answers(folder: Path) -> tuple[pl.DataFrame, list[dict[str, str]]]:
    """Read the questions and answers of MedQuAD in a folder.

    Three of its twelve collections have no answers, since those may not be passed on. Some answers
    are the same under many diseases: the first one counts, so that no sentence is asked hundreds of
    times. Ids of articles are those of notebook 1, so that what was trained on can be told.

    Args:
        folder: XML files as published, in this folder or in those within it.

    Returns:
        `Example` rows of the split `test`, without a specialty, as the set states none; beside
        them the column `topic`: documents about one disease have the same, and it is their
        cluster (`dict(zip(sources, table["topic"]))`, with the first of `article_ids`). And a row
        for each question or file that was left out: set, id and reason.

    Raises:
        EvaluationError: there is no such folder, or it holds no question with an answer.

    Source: Ben Abacha and Demner-Fushman 2019, https://doi.org/10.1186/s12859-019-3119-4
    """
    if not folder.is_dir():
        raise EvaluationError(f"There is no folder {folder} with public sets: name another one.")
    reader = _Reader()
    for name, path in item_files(folder):
        document, reason = _document(path)
        if document is None:
            reader.rejected.append(left(SET, name, reason))
        else:
            reader.read(document, path)
    if not reader.examples:
        raise EvaluationError(_nothing(folder, reader.rejected))
    first = pl.col("article_ids").list.first()
    table = frame(reader.examples, Example).with_columns(topic=first.replace(reader.topics))
    return table, reader.rejected


def _nothing(folder: Path, rejected: list[dict[str, str]]) -> str:
    told = (
        f"{folder} holds no question with an answer of {_TITLE}. Get it from {_ADDRESS} (licence: "
        f"{LICENCE}; XML files in one folder for each collection), and put its folders into "
        f"{folder / SET}."
    )
    for row in rejected[:1]:
        told += f" Left out: {len(rejected):,}, the first {row['id']} ({row['reason']})."
    return told


def _document(path: Path) -> tuple[etree._Element | None, str]:
    """The root of a file, or why it is no document of MedQuAD."""
    if path.suffix.lower() != ".xml":
        return None, "no XML file"
    try:
        root = etree.fromstring(path.read_bytes(), _PARSER)
    except etree.XMLSyntaxError as error:
        return None, f"broken XML: {error}"
    except OSError as error:
        return None, f"cannot be read: {error.strerror}"
    if root.tag not in _ROOTS:
        return None, f"no document of MedQuAD: its root is {root.tag}"
    return root, ""


@dataclass
class _Reader:
    """Examples of the documents read so far."""

    examples: list[Example] = field(default_factory=list)
    rejected: list[dict[str, str]] = field(default_factory=list)
    topics: dict[str, str] = field(default_factory=dict)  # of each article
    pairs: Counter[str] = field(default_factory=Counter)  # of each article
    answered: dict[str, str] = field(default_factory=dict)  # each answer's first example

    def read(self, document: etree._Element, path: Path) -> None:
        """Take the pairs of a document; files that are parts of one page share its id."""
        article = _article(document, path)
        topic = _text(document, "focus", "doctitle-focus").casefold()
        self.topics.setdefault(article, topic or article)
        pairs = list(document.iter("QAPair", "pair"))
        if not pairs:
            self.rejected.append(left(SET, article, "a document without questions"))
        for pair in pairs:
            name = f"{article}/{RECIPE}/{self.pairs[article]}"
            self.pairs[article] += 1
            question, answer = _text(pair, "question"), _text(pair, "answer")
            if reason := self._refused(question, answer):
                self.rejected.append(left(SET, name, reason))
            else:
                self.answered[answer] = name
                self.examples.append(_example(name, article, question, answer))

    def _refused(self, question: str, answer: str) -> str:
        if not (question and answer):
            return "no answer" if question else "no question"
        same = self.answered.get(answer)
        return f"its answer is that of {same}" if same else ""


def _article(document: etree._Element, path: Path) -> str:
    """The id that notebook 1 gives a document."""
    told = document.attrib
    native = next((str(told[k]) for k in ("id", "docid", "fid") if k in told), path.stem)
    source = str(told.get("source") or told.get("corpus") or "")
    return f"{SET}:{source}-{native}" if source else f"{SET}:{native}"


def _example(name: str, article: str, question: str, answer: str) -> Example:
    turns = (("system", SYSTEM_PROMPT), ("user", question), ("assistant", answer))
    return Example(
        id=name,
        messages=[Message(role, content) for role, content in turns],
        specialty="",
        origin="qa",
        recipe=RECIPE,
        article_ids=[article],
        licence=LICENCE,
        redistributable=True,
        split="test",
    )


def _text(parent: etree._Element, *names: str) -> str:
    """The text of the first child with such a name, white space as single spaces."""
    for child in parent:
        if str(child.tag).lower() in names:
            return " ".join("".join(map(str, child.itertext())).split())
    return ""
