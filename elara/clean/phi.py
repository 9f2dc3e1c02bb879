"""Find what may identify a person, by rules, and report where it is. The text is never copied.

Rules find forms, not people: a single name in passing, a place, or a rare combination of facts
passes unseen. What is found is a reason to look, what is not found is no proof.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from elara.clean.phi_forms import PHI
from elara.clean.phi_people import GIVEN_NAMES, PhiKind

_BY_NAME = ("patient_name", "labelled_name", "name_with_age", "treated_name", "greeted_name")


def find_in(text: str, kinds: Iterable[PhiKind] = PHI) -> list[tuple[str, int, int]]:
    """Where one text holds what may identify a person.

    A name that was recognised once is looked for in the rest of the text as well.

    Args:
        text: any text.
        kinds: the forms to look for.

    Returns:
        Kind, start and end (characters, end exclusive), by place.
    """
    found: list[tuple[str, int, int]] = []
    names: set[str] = set()
    for kind in kinds:
        for match in kind.matches(text):
            found.append((kind.kind, *match.span()))
            if kind.kind in _BY_NAME:
                names |= set(re.findall(r"[^\W\d_]{4,}", next(filter(None, match.groups()))))
    if names:
        taken = [(s, e) for name, s, e in found if name in _BY_NAME]
        # Dialogues are in lower case. What was seen with a capital is no word in lower case.
        forms = names | {name.upper() for name in names} | {n.title() for n in names if n.islower()}
        again = re.compile(rf"\b(?:{'|'.join(sorted(map(re.escape, forms)))})\b")
        found += [
            ("repeated_name", *m.span())
            for m in again.finditer(text)
            if not any(s < m.end() and m.start() < e for s, e in taken)
        ]
    return sorted(found, key=lambda place: (place[1], place[0]))


def find_each(
    texts: pa.LargeStringArray, wanted: npt.NDArray[np.uint64] | None = None
) -> Iterator[tuple[int, list[tuple[str, int, int]]]]:
    """Look through many texts; one search tells which kinds each of them may hold.

    Args:
        texts: `n` texts, none of them null.
        wanted: for each text a number whose bit `k` says whether to look for kind `k` of `PHI`.

    Yields:
        The position of each text in which something was found, and what `find_in` says about it.
    """
    bits = np.zeros(len(texts), np.uint64)
    values = pl.Series(texts, dtype=pl.String)
    given = values.str.contains_any(GIVEN_NAMES).to_numpy()
    for number, kind in enumerate(PHI):
        may = values.str.contains(kind.gate).to_numpy() if kind.gate else np.zeros_like(given)
        bits[may | given if kind.listed else may] |= np.uint64(1 << number)
    if wanted is not None:
        bits &= wanted
    for place in np.flatnonzero(bits).tolist():
        mask = int(bits[place])
        kinds = [kind for number, kind in enumerate(PHI) if mask >> number & 1]
        if found := find_in(texts[place].as_py(), kinds):
            yield place, found


def patient_kinds() -> frozenset[str]:
    """The kinds that point to a patient."""
    return frozenset(kind.kind for kind in PHI if kind.patient)


def find_phi(texts: pl.DataFrame) -> pl.DataFrame:
    """Report where texts hold what may identify a person.

    Args:
        texts: `id`, `field` and `text`.

    Returns:
        `id`, `field`, `kind`, `start`, `end` (character positions in that text, end exclusive),
        sorted; never the text itself.

    Source: the identifiers of 45 CFR 164.514(b)(2),
        https://www.ecfr.gov/current/title-45/section-164.514
    """
    names = texts.select("id", "field").rows()
    values = pa.array(texts["text"].to_list(), pa.large_string())
    rows = [(*names[place], *each) for place, found in find_each(values) for each in found]
    types = {"id": pl.String, "field": pl.String, "kind": pl.String}
    schema = types | {"start": pl.Int64, "end": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("id", "field", "start", "kind")
