"""Find evaluation items that training examples tell in other words.

The certificate compares words, so a question told in other words escapes it. Here pairs of item
and example that share rare words are embedded, and a rule decides from a few measures of likeness:
of meanings and of words, of questions, of answers and of both together. What is not compared is
listed, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from elara.audit.certificate import Certificate
from elara.expand.languages import language_of
from elara.expand.neighbours import RareWords, Weights, cosines, lengths
from elara.model.embedding import PACKAGED, Store

CHECK = "paraphrase"
MOST = 5  # examples that an item is compared with: those that share most of its rare words
BEGINNING = 60  # words of an answer that are embedded
_ASKED, _TOLD = 200, 80  # words of an example's question and answer that are compared
FLAGGED, DROPPED = 0.5, 0.86  # what the rule gives, from which on a pair is flagged, or dropped

# What each measure of likeness adds to the rule: where the set gives an answer, and where it gives
# none. Fitted by `benchmarks/paraphrases.py --fit`; with the constant, 0 is where flags begin.
RULE = {
    "meaning": (8.25, 6.05),
    "meaning of questions": (3.53, 4.58),
    "meaning of answers": (3.44, 0.0),
    "words": (0.52, 1.35),
    "words of questions": (-2.58, -2.60),
    "words of answers": (5.94, 0.0),
    "further words": (0.59, 1.12),
}
CONSTANT = (-11.90, -9.79)

_SIDES, _ENDS = ("item", "example"), ("held", "seen")
_PARTS = ("question", "answer", "whole")
_UNCOMPARED: Any = dict.fromkeys(("side", "set", "id", "reason"), pl.String)
_NO_MODEL = "no embedding model was named"
_FOREIGN = "it is not in English, which is what the model reads"
_SILENT = "it asks nothing"
_ALONE = "it shares too few rare words with anything on the other side"


@dataclass(frozen=True)
class ParaphraseCertificate(Certificate):
    """A certificate that looked for paraphrases as well, and says what it did not compare.

    Args:
        uncompared: a row for each item, and each example, that was not compared by meaning: side
            (`item` or `example`), set ("" for examples), id and reason.
        model: the embedding model; "" where there was none.
    """

    uncompared: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_UNCOMPARED))
    model: str = ""

    def __str__(self) -> str:
        """What was compared and found, and what was not compared by meaning."""
        told = super().__str__()
        items = sum(known["items"] for name, known in self.compared.items() if name != "train")
        if not items:
            return told
        if not self.model:
            return f"{told} Paraphrases were not looked for: {_NO_MODEL}."
        missed = self.uncompared.filter(side="item").height
        other = f" The rule was fitted with {PACKAGED}: with {self.model} its errors are unknown."
        by = "" if self.model == PACKAGED else other
        return (
            f"{told} Paraphrases were looked for in {items - missed:,} of the items; {missed:,} "
            f"were not compared by meaning, nor was anything in another language than English.{by}"
        )

    def record(self) -> dict[str, Any]:
        """The certificate as plain values, with the check for paraphrases and its gaps."""
        told = super().record()
        found = self.findings.filter(check=CHECK)
        counted = {
            action: found.filter(action=action).select("set", "item").n_unique()
            for action in ("drop", "flag")
        }
        told["checks"].append(
            {
                "check": CHECK,
                "method": f"cosines of embeddings ({self.model or _NO_MODEL}) and shared rare "
                f"words, weighed by a fitted rule; at most {MOST} examples an item",
                "found": counted["drop"],
                "flagged": counted["flag"],
            }
        )
        gaps = self.uncompared.group_by("side", "reason").len("count").sort("side", "reason")
        return told | {"not_compared_by_meaning": gaps.to_dicts()}


def with_paraphrases(
    certificate: Certificate,
    train: pl.DataFrame | Iterable[pl.DataFrame],
    sets: Mapping[str, pl.DataFrame],
    store: Store | None,
) -> ParaphraseCertificate:
    """Look for items that examples tell in other words, and add what is found to a certificate.

    Args:
        certificate: what `elara.audit.certify` found for the same examples and sets.
        train: the `Example` rows, also in pieces.
        sets: from `read_evaluation_sets`.
        store: embeds texts and keeps the vectors; None: there is no model, nothing is compared.

    Returns:
        The certificate with findings of the check `paraphrase`, and a list of what was not
        compared. Pairs that an earlier check found are not found again.
    """
    items = held_parts(sets)
    if store is None:
        unread = _gap(items, "item", _NO_MODEL).sort(*_UNCOMPARED)
        return ParaphraseCertificate(certificate.compared, certificate.findings, unread)
    examples = seen_parts(train) if items.height else _table([])
    clear = pl.col("english") & (pl.col("question") != "")
    sides = [table.filter(clear) for table in (items, examples)]
    scored = likeness(sides[0], sides[1], store) if items.height else None
    found = (
        certificate.findings.clear() if scored is None else _findings(scored, certificate.findings)
    )
    gaps = [pl.DataFrame(schema=_UNCOMPARED)]
    for side, table, kept, end in zip(_SIDES, (items, examples), sides, _ENDS, strict=True):
        places = [] if scored is None else scored[end].unique().sort().to_list()
        gaps += _gaps(side, table, kept, kept[places])
    every = pl.concat([certificate.findings, found]).sort(*certificate.findings.columns)
    uncompared = pl.concat(gaps).sort(*_UNCOMPARED)
    return ParaphraseCertificate(certificate.compared, every, uncompared, store.encoder.name)


def held_parts(sets: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """The items of sets: set, id, question, answer, whole, english.

    Args:
        sets: from `read_evaluation_sets`.
    """
    rows = []
    for name, table in sets.items():
        for row in table.iter_rows(named=True):
            options = [str(option) for option in row.get("options") or []]
            question, answer = str(row.get("question") or ""), _answer(row, options)
            whole = " ".join([question, *options, answer]).strip()
            rows.append((name, str(row["id"]), question, answer, whole))
    return _table(rows)


def _answer(row: Mapping[str, Any], options: list[str]) -> str:
    """The answer's text, also where the set gives the letter of an option."""
    answer = str(row.get("answer") or "").strip()
    letter = ord(answer.upper()) - ord("A") if len(answer) == 1 else -1
    return options[letter] if 0 <= letter < len(options) else answer


def seen_parts(train: pl.DataFrame | Iterable[pl.DataFrame]) -> pl.DataFrame:
    """What examples ask and answer, in the columns of `held_parts`.

    Args:
        train: `Example` rows, also in pieces.
    """
    pieces = [train] if isinstance(train, pl.DataFrame) else train
    rows = (row for piece in pieces for row in piece.select("id", "messages").iter_rows())
    return _table([_said(name, messages) for name, messages in rows])


def _said(name: str, messages: list[dict[str, str]]) -> tuple[str, ...]:
    """The last question of an example and its answer, as far as they are compared."""
    said = [m["content"] for m in messages if m["role"] != "system"]
    question = _beginning(said[-2], _ASKED) if len(said) > 1 else ""
    answer = _beginning(said[-1], _TOLD) if said else ""
    return "", name, question, answer, f"{question} {answer}"


def _table(rows: Sequence[tuple[str, ...]]) -> pl.DataFrame:
    names = ("set", "id", *_PARTS)
    english = [language_of(row[-1], "en") == "en" for row in rows]
    table = pl.DataFrame(rows, dict.fromkeys(names, pl.String), orient="row")
    return table.with_columns(english=pl.Series(english, dtype=pl.Boolean))


def _beginning(text: str, words: int = BEGINNING) -> str:
    return " ".join(text.split()[:words])


def proposed(
    items: pl.DataFrame, examples: pl.DataFrame
) -> tuple[RareWords, pl.DataFrame, Weights, Weights]:
    """The pairs that are compared: positions `held` and `seen`, with the words that chose them.

    Args:
        items: from `held_parts`.
        examples: from `seen_parts`.
    """
    texts = items["whole"].to_list(), examples["whole"].to_list()
    words = RareWords.of([*texts[0], *texts[1]])
    weights = words.weights(texts[0]), words.weights(texts[1])
    return words, words.pairs(*weights, MOST), *weights


def likeness(items: pl.DataFrame, examples: pl.DataFrame, store: Store) -> pl.DataFrame:
    """Measure how alike items and examples are that share rare words.

    Args:
        items: from `held_parts`.
        examples: from `seen_parts`.
        store: embeds texts.

    Returns:
        Columns held and seen (positions), set, item, train_id, those of `RULE`, and score (0 to
        1, what the rule gives).
    """
    both = items, examples
    words, pairs, *weights = proposed(items, examples)
    held, seen = pairs["held"].to_numpy(), pairs["seen"].to_numpy()
    rows = [side[place.tolist()] for side, place in zip(both, (held, seen), strict=True)]
    measures = _of_words(words, weights, (held, seen), rows) | _of_meaning(rows, store)
    told = (rows[0]["answer"] != "").to_numpy()
    total = np.where(told, *CONSTANT)
    for name, by in RULE.items():
        total = total + np.where(told, *by) * measures[name]
    named = {"set": rows[0]["set"], "item": rows[0]["id"], "train_id": rows[1]["id"]}
    score = np.round(1 / (1 + np.exp(-total)), 3)
    return pairs.with_columns(
        **named, **{n: pl.Series(v) for n, v in measures.items()}, score=score
    )


def _of_words(
    words: RareWords, weights: list[Weights], places: tuple[Any, Any], rows: list[pl.DataFrame]
) -> dict[str, Any]:
    """Likeness of words: the cosine of their weights, and the weight of all but the best."""
    one, other = (side[place] for side, place in zip(weights, places, strict=True))
    shared = one.multiply(other).sqrt().tocsr()  # each has the same weight in both
    best = shared.max(axis=1).toarray().ravel() if len(rows[0]) else np.zeros(0)
    measures = {"words": _cosine(one, other)}
    for part in ("question", "answer"):
        sides = [words.weights(side[part].to_list()) for side in rows]
        measures[f"words of {part}s"] = _cosine(*sides)
    return measures | {"further words": np.asarray(shared.sum(axis=1)).ravel() - best}


def _cosine(one: Weights, other: Weights) -> Any:
    shared = np.asarray(one.multiply(other).sum(axis=1)).ravel()
    return shared / np.maximum(lengths(one) * lengths(other), 1e-9)


def _of_meaning(rows: list[pl.DataFrame], store: Store) -> dict[str, Any]:
    """Likeness of meanings: the cosines of embeddings."""
    measures = {}
    for part, name in (("whole", ""), ("question", " of questions"), ("answer", " of answers")):
        texts = [_texts(side, part) for side in rows]
        vectors = store.vectors([*texts[0], *texts[1]], part)
        cosine = cosines(*np.split(vectors, 2)) if len(vectors) else np.zeros(0)
        asked = np.array([bool(a and b) for a, b in zip(*texts, strict=True)], dtype=bool)
        measures[f"meaning{name}"] = np.where(asked, cosine, 0.0)
    return measures


def _texts(side: pl.DataFrame, part: str) -> list[str]:
    """What is embedded of items or examples; with options an item would only be longer."""
    if part == "question":
        return side["question"].to_list()
    answers = [_beginning(answer) for answer in side["answer"]]
    if part == "answer":
        return answers
    return [f"{q}\n{a}".strip() for q, a in zip(side["question"], answers, strict=True)]


def _findings(scored: pl.DataFrame, earlier: pl.DataFrame) -> pl.DataFrame:
    """What the rule finds, in the columns of a certificate's findings."""
    drop = pl.when(pl.col("score") >= DROPPED).then(pl.lit("drop")).otherwise(pl.lit("flag"))
    near = scored.filter(pl.col("score") >= FLAGGED).with_columns(
        check=pl.lit(CHECK), similarity="score", action=drop
    )
    near = near.join(earlier, on=["set", "item", "train_id"], how="anti")
    return near.select(earlier.columns)


def _gaps(
    side: str, table: pl.DataFrame, kept: pl.DataFrame, compared: pl.DataFrame
) -> list[pl.DataFrame]:
    """What was not compared, with the reason."""
    silent = pl.col("question") == ""
    return [
        _gap(table.filter(silent), side, _SILENT),
        _gap(table.filter(~silent & ~pl.col("english")), side, _FOREIGN),
        _gap(kept.join(compared, on=["set", "id"], how="anti"), side, _ALONE),
    ]


def _gap(table: pl.DataFrame, side: str, reason: str) -> pl.DataFrame:
    return table.select(side=pl.lit(side), set="set", id="id", reason=pl.lit(reason))
