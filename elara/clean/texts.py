"""Lay out the texts of articles as one Arrow array, and put them back into the articles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

TITLE, ABSTRACT, HEADING, TEXT = range(4)


@dataclass(frozen=True)
class Texts:
    """The texts of a batch of articles: all titles, all abstracts, all headings, all body texts.

    Args:
        values: the `n` texts.
        ids: the ids of the articles.
        row: for each text, the position of its article in the batch; `n` integers.
        field: for each text, `TITLE`, `ABSTRACT`, `HEADING` or `TEXT`; `n` integers.
        part: for each text, the position of its section; -1 outside the body; `n` integers.
        running: whether it is running text; titles and headings are names, from which no rule
            takes anything away; `n` booleans.
        prose: whether it is running text that is no question and no answer; `n` booleans.
        named: whether it is the heading of an answer, which says who gave it; `n` booleans.
    """

    values: pa.LargeStringArray
    ids: list[str]
    row: npt.NDArray[np.int64]
    field: npt.NDArray[np.int8]
    part: npt.NDArray[np.int64]
    running: npt.NDArray[np.bool_]
    prose: npt.NDArray[np.bool_]
    named: npt.NDArray[np.bool_]

    def address(self, text: int) -> tuple[str, str]:
        """The id of its article, and where in it: `title`, `abstract`, `body[2].text` …"""
        label = ("title", "abstract", "heading", "text")[self.field[text]]
        part = self.part[text]
        return self.ids[self.row[text]], label if part < 0 else f"body[{part}].{label}"


def unpack(batch: pa.Table) -> Texts:
    """Lay out every text of every article of a batch.

    Args:
        batch: a table with the columns of `Article`.

    Returns:
        Twice as many texts as there are articles and sections.
    """
    body = _whole(batch["body"])
    sections = body.flatten()
    lengths = pc.list_value_length(body).to_numpy(zero_copy_only=False)
    rows = np.arange(batch.num_rows)
    owner = np.repeat(rows, lengths)
    part = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    kinds = sections.field("kind").to_numpy(zero_copy_only=False)
    sizes = [len(rows), len(rows), len(owner), len(owner)]
    field = np.repeat(np.arange(4, dtype=np.int8), sizes)
    nowhere = np.full(len(rows), -1)
    prose = field == ABSTRACT
    prose[field == TEXT] = kinds == "text"
    named = np.zeros(len(field), bool)
    named[field == HEADING] = kinds == "answer"
    columns = batch["title"], batch["abstract"], sections.field("heading"), sections.field("text")
    return Texts(
        values=pa.concat_arrays([_strings(column) for column in columns]),
        ids=batch["id"].to_pylist(),
        row=np.concatenate([rows, rows, owner, owner]),
        field=field,
        part=np.concatenate([nowhere, nowhere, part, part]),
        running=(field == ABSTRACT) | (field == TEXT),
        prose=prose,
        named=named,
    )


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _strings(column: pa.ChunkedArray | pa.Array) -> pa.LargeStringArray:
    return _whole(column).cast(pa.large_string()).fill_null("")


def pack(batch: pa.Table, values: pa.LargeStringArray) -> pa.Table:
    """Put texts back into their articles: the inverse of `unpack`.

    Args:
        batch: the table that was unpacked.
        values: its texts, in the same order.

    Returns:
        The table with these texts.
    """
    rows, body = batch.num_rows, _whole(batch["body"])
    sections = body.flatten()
    middle = 2 * rows + len(sections)
    lengths = pc.fill_null(pc.list_value_length(body), 0).to_numpy(zero_copy_only=False)
    packed = pa.LargeListArray.from_arrays(
        pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int64()),
        pa.StructArray.from_arrays(
            [values[2 * rows : middle], values[middle:], _strings(sections.field("kind"))],
            names=["heading", "text", "kind"],
        ),
    )
    for name, column in (("title", values[:rows]), ("abstract", values[rows : 2 * rows])):
        batch = batch.set_column(batch.schema.get_field_index(name), name, column)
    return batch.set_column(batch.schema.get_field_index("body"), "body", packed)
