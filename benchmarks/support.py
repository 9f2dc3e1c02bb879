"""How well the support score tells sentences that a passage says from those that it does not.

Run: python benchmarks/support.py   (prints a table, writes support.json beside it; two minutes)

Sentences are those of MedQuAD answers (../shared/data/qa/medquad). Each is judged against three
passages of about 120 words, as in an answer with three sources.

Should be supported, by the passage they come from (the other two are the most similar ones of
other articles):
- verbatim: a sentence as it stands;
- reworded: the same with words replaced from a table, brackets dropped and clauses exchanged.

Should not be supported:
- far: a sentence of another article, three passages at random;
- near: a sentence of another article, the three most similar passages of articles whose titles
  share no word but `syndrome` and the like with its own and which do not hold the sentence as well;
- number, negation, drug: a sentence of the passage with one number, its negation or the name of a
  drug changed.

Judged by likeness (`cosine`, as `elara.retrieval.citing.support` has it), by `overlap` (the share
of a sentence's words that the passage has: so `support` judges with any encoder but the packaged),
and by the mean of `both`; without and with the rules for what contradicts.

Articles are cut in two halves by a hash. Each threshold, and that of `support`, is fitted
on `tuned` (`fitted`); the figures that count are those of `reported`. No sentence here was written
by a model or reworded by a person: real paraphrases are harder, and more of them will be missed.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elara.model.embedding import Store, load_encoder
from elara.retrieval.citing import THRESHOLD
from elara.retrieval.supporting import content, contradiction, overlap
from elara.text.sentences import count_words, sentences

PROJECT = Path(__file__).resolve().parents[1]
HALVES = ("tuned", "reported")
ARTICLES = 400
WORDS = 120
SUPPORTED = ("verbatim", "reworded")
NOT_SUPPORTED = ("far", "near", "number", "negation", "drug")

DRUGS = (
    "aspirin|ibuprofen|acetaminophen|insulin|metformin|warfarin|heparin|penicillin|amoxicillin|"
    "prednisone|methotrexate|morphine|tamoxifen|lithium|levodopa|digoxin|cisplatin|acyclovir|"
    "erythromycin|doxycycline|phenytoin|carbamazepine|valproate|botulinum|rituximab|interferon|"
    "clopidogrel|atenolol|baclofen|diazepam"
)
REWORDED = {
    "physician": "doctor", "doctor": "physician", "people": "persons", "may": "can",
    "signs and symptoms": "symptoms", "symptoms": "signs", "usually": "mostly",
    "often": "frequently", "is caused by": "results from", "are caused by": "result from",
    "caused by": "due to", "causes": "leads to", "cause": "lead to", "children": "kids",
    "treatment": "therapy", "medicines": "drugs", "medicine": "drug", "disease": "illness",
    "disorder": "condition", "affects": "involves", "affect": "involve", "includes": "comprises",
    "include": "are", "severe": "serious", "approximately": "about", "about": "around",
    "such as": "like", "occurs": "happens", "occur": "happen", "develop": "get",
    "called": "known as", "can": "may", "help": "assist", "large": "big", "begin": "start",
    "begins": "starts", "known": "recognized", "because": "since", "most": "the majority of",
    "individuals": "people", "rare": "uncommon", "tests": "examinations", "used": "employed",
}  # fmt: skip
_REWORDED = re.compile(
    r"\b(" + "|".join(sorted(map(re.escape, REWORDED), key=len, reverse=True)) + r")\b"
)
_DRUG = re.compile(rf"\b({DRUGS})\b", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.,-])\d{1,3}(?![\w,]|\.\d)")
_ANY_TITLE = {"diseas", "syndro", "disord", "type", "defici", "cancer", "and", "the", "with"}
_VERB = re.compile(r"\b(is|are|can|may|should|was|were|will|does|do)\b")
_NOT = re.compile(r"\b(is|are|can|may|should|was|were|will|does|do) not\b|\bcannot\b")


@dataclass(frozen=True)
class Text:
    """A passage of about 120 words: its article and its sentences."""

    article: str
    title: str
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(self.sentences)


@dataclass(frozen=True)
class Case:
    """A sentence of a kind, the passages it is judged against, and which of them says it."""

    kind: str
    sentence: str
    passages: tuple[int, ...]
    right: int | None
    article: str


def half(article: str) -> str:
    """The half of an article, by a hash of its name."""
    return HALVES[hashlib.sha256(article.encode()).digest()[0] % 2]


def texts(data: Path) -> list[Text]:
    """One passage for each of so many articles, drawn by a fixed seed."""
    found: dict[str, Text] = {}
    with gzip.open(data / "qa/medquad/medquad.jsonl.gz", "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            article = f"{row['collection']}/{row['document_id']}"
            if article in found or "Approximate number of patients" in row["answer"]:
                continue
            whole = [s.strip() for s in sentences(" ".join(row["answer"].split()))]
            kept, words = [], 0
            for sentence in whole:
                words += count_words(sentence)
                kept.append(sentence)
                if words >= WORDS:
                    break
            if len(kept) >= 4 and 60 <= words <= 1.5 * WORDS:
                found[article] = Text(article, row["focus"], tuple(kept))
    drawn = random.Random(0).sample(sorted(found), len(found))
    with_drugs = [a for a in drawn if _DRUG.search(found[a].text)]
    chosen = dict.fromkeys([*with_drugs[: ARTICLES // 4], *drawn])
    return [found[a] for a in [*chosen][:ARTICLES]]


def reworded(sentence: str) -> str:
    """A sentence in other words, as far as a table goes."""
    text = re.sub(r"\s*\([^()]*\)", "", sentence)
    if found := re.fullmatch(r"(If|When|Because|Although) ([^,]{8,80}), (.+)\.", text):
        text = f"{found[3][:1].upper()}{found[3][1:]} {found[1].lower()} {found[2]}."
    return _REWORDED.sub(lambda m: REWORDED[m[1]], text)


def changed_number(sentence: str, chance: random.Random) -> str | None:
    """A sentence with one number changed."""
    places = [*_NUMBER.finditer(sentence)]
    if not places:
        return None
    place = chance.choice(places)
    other = str(int(place[0]) * chance.choice((2, 3, 10)) + 1)
    return sentence[: place.start()] + other + sentence[place.end() :]


def changed_negation(sentence: str, chance: random.Random) -> str | None:
    """A sentence that says the opposite."""
    if found := _NOT.search(sentence):
        return sentence[: found.start()] + (found[1] or "can") + sentence[found.end() :]
    if not (found := _VERB.search(sentence)):
        return None
    return f"{sentence[: found.end()]} not{sentence[found.end() :]}"


def changed_drug(sentence: str, chance: random.Random) -> str | None:
    """A sentence about another drug."""
    if not (found := _DRUG.search(sentence)):
        return None
    other = chance.choice([d for d in DRUGS.split("|") if d != found[1].lower()])
    return sentence[: found.start()] + other + sentence[found.end() :]


CHANGES: dict[str, Callable[[str, random.Random], str | None]] = {
    "number": changed_number,
    "negation": changed_negation,
    "drug": changed_drug,
}


def cases(passages: list[Text], near: np.ndarray[Any, Any]) -> Iterator[Case]:
    """The labelled set.

    Args:
        passages: one for each article.
        near: for each passage the numbers of all, the most similar first.
    """
    chance = random.Random(0)
    for at, text in enumerate(passages):
        long = [s for s in text.sentences if 6 <= count_words(s) <= 45 and not s.endswith("?")]
        if not long:
            continue
        others = tuple(int(i) for i in near[at] if i != at)
        beside = (at, *others[:2])
        sentence = chance.choice(long)
        words = content(text.title) - _ANY_TITLE
        strange = [i for i in others if not words & content(passages[i].title)]
        strange = [i for i in strange if sentence not in passages[i].text]
        yield Case("verbatim", sentence, beside, at, text.article)
        changed = reworded(sentence)
        if changed != sentence:
            yield Case("reworded", changed, beside, at, text.article)
        yield Case("near", sentence, tuple(strange[:3]), None, text.article)
        yield Case("far", sentence, tuple(chance.sample(strange, 3)), None, text.article)
        for kind, change in CHANGES.items():
            found = [c for s in long if (c := change(s, chance)) and c not in text.text]
            if found:
                yield Case(kind, chance.choice(found), beside, None, text.article)


@dataclass(frozen=True)
class Scores:
    """A case, and for each of its passages: likeness, overlap, and what speaks against it."""

    case: Case
    likeness: tuple[float, ...]
    overlap: tuple[float, ...]
    contradiction: tuple[str, ...]


def score(case: Case, passages: list[Text], vector: dict[str, Any]) -> Scores:
    """Judge the sentence of a case against its passages as `support` does."""
    rows = []
    for i in case.passages:
        text = passages[i]
        units = [*text.sentences, text.text]
        likeness = np.stack([vector[u] for u in units]) @ vector[case.sentence]
        likest = text.sentences[int(likeness[:-1].argmax())]
        whole = f"{text.title} {text.text}"
        against = contradiction(case.sentence, likest, whole)
        rows.append((float(likeness.max()), overlap(case.sentence, whole), against))
    likeness_, overlaps, contradictions = zip(*rows, strict=True)
    return Scores(case, likeness_, overlaps, contradictions)


def found(scores: Scores, weight: float, threshold: float, rules: bool) -> int | None:
    """The passage that supports a sentence, or None."""
    best, where = 0.0, None
    for i, like, over, against in zip(
        scores.case.passages, scores.likeness, scores.overlap, scores.contradiction, strict=True
    ):
        total = weight * like + (1 - weight) * over
        # Of equal passages the first counts.
        if total >= threshold and total > best and not (rules and against):
            best, where = total, i
    return where


def rates(scored: list[Scores], weight: float, threshold: float, rules: bool) -> dict[str, Any]:
    """Precision and recall, and for each kind the share in which a source was named."""
    named: dict[str, list[bool]] = {k: [] for k in (*SUPPORTED, *NOT_SUPPORTED)}
    right = total = 0
    for one in scored:
        where = found(one, weight, threshold, rules)
        named[one.case.kind].append(where is not None)
        total += where is not None
        right += where is not None and where == one.case.right
    positives = sum(len(named[kind]) for kind in SUPPORTED)
    return {
        "precision": round(right / total, 3) if total else None,
        "recall": round(right / positives, 3),
        "source_named": {k: round(sum(v) / len(v), 3) for k, v in named.items()},
    }


def fitted(scored: list[Scores], weight: float, rules: bool) -> float:
    """The lowest threshold whose F0.5 is within 0.01 of the best.

    F0.5, because a wrong source is worse than a missing one; the lowest, because people and models
    reword more freely than the table here.
    """

    def quality(threshold: float) -> float:
        got = rates(scored, weight, threshold, rules)
        p, r = got["precision"] or 0.0, got["recall"]
        return 1.25 * p * r / (0.25 * p + r) if p + r else 0.0

    reached = {round(0.3 + 0.01 * i, 2): quality(0.3 + 0.01 * i) for i in range(70)}
    return min(t for t, q in reached.items() if q >= max(reached.values()) - 0.01)


def main() -> None:
    """Measure, print the table and write the file."""
    named = os.environ.get("ELARA_SHARED_DATA")
    data = Path(named) if named else PROJECT.parent / "shared" / "data"
    passages = texts(data)
    encoder = load_encoder()
    assert encoder
    store = Store(encoder)
    whole = store.vectors([p.text for p in passages])
    drawn = [*cases(passages, (-(whole @ whole.T)).argsort(axis=1))]
    wanted = {s for p in passages for s in (*p.sentences, p.text)} | {c.sentence for c in drawn}
    ordered = sorted(wanted)
    vector = dict(zip(ordered, store.vectors(ordered), strict=True))
    scored = [score(case, passages, vector) for case in drawn]
    halves = {h: [s for s in scored if half(s.case.article) == h] for h in HALVES}
    kinds = (*SUPPORTED, *NOT_SUPPORTED)
    out: dict[str, Any] = {
        "articles": len(passages),
        "sentences": {
            h: {k: sum(s.case.kind == k for s in halves[h]) for k in kinds} for h in HALVES
        },
    }
    print(
        f"{'measure':34}{'from':>6}{'prec.':>7}{'recall':>7}" + "".join(f"{k:>10}" for k in kinds)
    )
    for rules in (False, True):
        for name, weight in (("cosine", 1.0), ("overlap", 0.0), ("both", 0.5)):
            threshold = fitted(halves["tuned"], weight, rules)
            got = rates(halves["reported"], weight, threshold, rules)
            label = f"{name}{', with contradictions' if rules else ''}"
            out[label] = {"weight": weight, "threshold": threshold, **got}
            shares = "".join(f"{got['source_named'][k]:10.3f}" for k in kinds)
            print(f"{label:34}{threshold:6.2f}{got['precision']:7.3f}{got['recall']:7.3f}{shares}")
    out["as used"] = {"threshold": THRESHOLD, **rates(halves["reported"], 1.0, THRESHOLD, True)}
    print(f"as used, from {THRESHOLD}: {out['as used']}")
    text = json.dumps(out, indent=2) + "\n"
    (PROJECT / "benchmarks" / "support.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
