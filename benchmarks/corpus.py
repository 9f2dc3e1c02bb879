"""A made-up corpus of medical abstracts with planted duplicates, the same for the same seed.

    python benchmarks/corpus.py --into _build/corpus

Words are drawn by Zipf's law from a vocabulary that is built here (roots and endings of medical
words, plus English function words); a chain of word classes puts them in an order that looks like
prose. Nothing in it states a fact. `<prefix>.truth.parquet` names every planted pair with its exact
Jaccard similarity, counted with Python sets and not with the code under test.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path

import numpy as np
import polars as pl

ARTICLES = 161_712
PER_FILE = 277  # 585 files at the full size
DUPLICATES = 0.048  # share of articles that copy another; half are exact
RELATED = 0.01  # share that resemble another without being its duplicate

Random = np.random.Generator

_ROOTS = (
    "cardi nephr hepat gastr neur derm oste arthr my pneumon bronch enter col cyst angi phleb "
    "thromb haemat leuk lymph aden encephal mening retin kerat ot rhin laryng trache oesophag "
    "pancreat splen thyr adren gluc lip chol ren ur pyel prostat metr salping mast spondyl chondr "
    "tend fasci dent gingiv stomat blephar ophthalm audi psych immun vir bacteri myc toxic carcin"
)
_ENDINGS = (
    "itis osis oma opathy ectomy otomy oplasty oscopy ogram olysis openia algia uria orrhage "
    "ostenosis ogenesis ocyte okinase oglobulin omegaly oid ic al ous ology otoxin oreceptor "
    "oprotein ovascular ometabolic ogenic ostatic"
)
_PREFIXES = "hyper hypo peri endo intra post sub poly hemi micro anti pseudo trans"
_CLASSES = {
    "determiner": "the the the a an this these our each their",
    "preposition": "of of of in in with for to by from after during at between among",
    "conjunction": "and and or but than while whereas that which",
    "verb": "was were is are had has showed received increased decreased compared reported "
    "improved reduced underwent developed remained suggested confirmed measured observed "
    "predicted required included failed responded",
    "adverb": "significantly not more less often rarely independently however also markedly "
    "previously clinically only still",
    "noun": "patients treatment risk disease group study trial therapy dose outcome mortality "
    "survival infection pain blood tissue cells children women men hospital surgery admission "
    "diagnosis symptoms response follow-up months years weeks placebo intervention control "
    "cohort level analysis rate care incidence prevalence age pressure function score exposure "
    "relapse complication screening vaccine dialysis insulin glucose stroke cancer tumour",
    "adjective": "clinical acute chronic severe early late primary randomised medical surgical "
    "high low mean median younger older renal hepatic cardiac oral intravenous adverse common "
    "significant long-term systemic naïve",
    "number": "12 30 48 120 240 1,024 0.05 95% 12.5% 3.2 (n=84) p<0.001 10 mg/kg 5 µg 2×2 ±1.4 "
    "≥65 37.5 °C 1:4",
}
# What may follow a class, with repeats for weight.
_CHAIN = {
    "determiner": "adjective noun noun adjective noun",
    "adjective": "noun noun noun adjective",
    "noun": "preposition verb verb conjunction noun preposition",
    "verb": "determiner adverb preposition number determiner adjective",
    "adverb": "verb adjective preposition",
    "preposition": "determiner determiner noun adjective number",
    "conjunction": "determiner noun adverb",
    "number": "noun preposition noun",
}
_FOREIGN = (
    "la les des une avec dans pour chez patients traitement étude réanimation était après "
    "maladie plus sont été par résultats groupe sur cette aux entre santé hôpital"
)
_NOUN = list(_CLASSES).index("noun")
_WORD = re.compile(r"[^\W_]+")


class Vocabulary:
    """Words by class, most frequent first, each in four spellings: plain, First, last. and list,"""

    def __init__(self, rng: Random) -> None:
        coined = [
            p + r + e
            for p in ("", *_PREFIXES.split())
            for r in _ROOTS.split()
            for e in _ENDINGS.split()
        ]
        coined = [coined[i] for i in rng.permutation(len(coined))]
        half = len(coined) // 2
        listed = {name: words.split() for name, words in _CLASSES.items()}
        listed["noun"] += coined[:half]
        listed["adjective"] += coined[half:]
        listed["number"] += [str(n) for n in rng.integers(2, 5000, 900)]
        self.names = list(listed)
        plain = [w for words in listed.values() for w in words]
        self.first = np.cumsum([0, *(len(words) for words in listed.values())])
        self.size = len(plain)
        self.words = [
            *plain,
            *(w[0].upper() + w[1:] for w in plain),
            *(w + "." for w in plain),
            *(w + "," for w in plain),
        ]

    def draw(self, classes: np.ndarray, rng: Random) -> np.ndarray:
        """A word of each given class, by Zipf's law."""
        count = np.diff(self.first)[classes]
        rank = np.exp(rng.random(len(classes)) * np.log(count)) - rng.random(len(classes))
        return self.first[classes] + np.clip(rank.astype(np.int64), 0, count - 1)


def _patterns(vocabulary: Vocabulary, rng: Random, count: int = 4000) -> list[np.ndarray]:
    """Sentences as word classes, 6 to 32 words long."""
    number = {name: i for i, name in enumerate(vocabulary.names)}
    follow = {number[k]: [number[n] for n in v.split()] for k, v in _CHAIN.items()}
    found = []
    for length in rng.integers(6, 33, count):
        state, chain = number["determiner"], []
        for choice in rng.integers(0, 1 << 30, length):
            chain.append(state)
            state = follow[state][choice % len(follow[state])]
        chain[-1] = number["noun"]
        found.append(np.array(chain))
    return found


class Writer:
    """Draws texts. One generator of random numbers feeds it, so a seed decides all of them."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        # The vocabulary and the sentence patterns are a language: the same for every seed.
        language = np.random.default_rng(0)
        self.vocabulary = Vocabulary(language)
        self.patterns = _patterns(self.vocabulary, language)

    def texts(self, sentences: np.ndarray) -> list[str]:
        """One text for each number of sentences."""
        picked = self.rng.integers(len(self.patterns), size=int(sentences.sum()))
        chosen = [self.patterns[i] for i in picked]
        ends = np.cumsum([len(p) for p in chosen])
        drawn = self.vocabulary.draw(np.concatenate(chosen), self.rng)
        size = self.vocabulary.size
        drawn[self.rng.random(len(drawn)) < 0.04] += 3 * size
        first, last = np.concatenate([[0], ends[:-1]]), ends - 1
        drawn[first] = drawn[first] % size + size
        drawn[last] = drawn[last] % size + 2 * size
        words = list(map(self.vocabulary.words.__getitem__, drawn.tolist()))
        stops = ends[np.cumsum(sentences) - 1].tolist()
        return [" ".join(words[a:b]) for a, b in zip([0, *stops], stops, strict=False)]

    def articles(self, prefix: str, first: int, count: int) -> list[dict[str, object]]:
        """Records with the fields of `elara.records.Article` that matter here."""
        rng = self.rng
        titles = self.texts(np.ones(count, dtype=np.int64))
        lengths = np.clip(rng.lognormal(1.95, 0.4, count).round(), 1, 40).astype(np.int64)
        abstracts = self.texts(lengths)
        headings = self.vocabulary.draw(np.full(3 * count, _NOUN), rng).tolist()
        days, journals, people, odds = (
            rng.integers(0, high, count).tolist() for high in (9000, 400, 9000, 1000)
        )
        rows: list[dict[str, object]] = [
            {
                "id": f"{prefix}:{first + i:08d}",
                "source": "pubmed",
                "title": titles[i],
                "abstract": abstracts[i],
                "language": "en",
                "published": f"{2000 + days[i] // 365}-{1 + days[i] % 12:02d}",
                "journal": f"Journal of Invented Medicine {journals[i]}",
                "authors": [f"A{n} Author{people[i] + n}" for n in range(1 + days[i] % 5)],
                "mesh": [self.vocabulary.words[h] for h in headings[3 * i : 3 * i + 3]],
                "url": f"https://example.org/{prefix}/{first + i}",
                "pmid": f"{prefix}{first + i}",
                "licence": "CC-BY-4.0",
                "redistributable": True,
                "retracted": odds[i] == 0,
            }
            for i in range(count)
        ]
        return [self._noise(row) for row in rows]

    def _noise(self, row: dict[str, object]) -> dict[str, object]:
        kind = self.rng.random()
        if kind < 0.02:
            row["abstract"] = ""
        elif kind < 0.03:
            words = self.rng.choice(_FOREIGN.split(), int(self.rng.integers(60, 200)))
            row |= {"abstract": " ".join(words), "language": "fr"}
        elif kind < 0.04:
            row["abstract"] = str(row["abstract"]).replace(" ", " #@| ")
        elif kind < 0.05:
            row["abstract"] = " ".join([str(row["abstract"])[:80]] * 15)
        return row

    def edited(self, text: str, changes: int) -> str:
        """The text with so many words replaced, dropped or added, anywhere."""
        words = text.split()
        for _ in range(changes):
            at = int(self.rng.integers(len(words)))
            drawn = self.vocabulary.words[int(self.rng.integers(self.vocabulary.size))]
            words[at : at + int(self.rng.integers(0, 2))] = [drawn] * int(self.rng.integers(1, 2))
        return " ".join(words)


def shingles(row: dict[str, object]) -> set[tuple[str, ...]]:
    """Every run of three lower-cased words of title and abstract."""
    words = _WORD.findall(f"{row['title']}\n\n{row['abstract']}".lower())
    return set(zip(words, words[1:], words[2:], strict=False))


def jaccard(a: set[tuple[str, ...]], b: set[tuple[str, ...]]) -> float:
    """Shared shingles as a share of all shingles of both."""
    return len(a & b) / len(a | b) if a | b else 1.0


def _copy(writer: Writer, original: dict[str, object], kind: str, row: dict[str, object]) -> float:
    """Turn a record into an exact or near copy, or a relative; returns the similarity."""
    words = len(str(original["abstract"]).split())
    copied = ("title", "abstract", "language", "retracted")
    row |= {name: original[name] for name in copied}
    if kind == "exact":
        return 1.0
    share = writer.rng.uniform(0.002, 0.037) if kind == "near" else writer.rng.uniform(0.06, 0.16)
    row["abstract"] = writer.edited(str(original["abstract"]), max(1, round(share * words)))
    return jaccard(shingles(original), shingles(row))


def generate(into: Path, articles: int = ARTICLES, seed: int = 0, prefix: str = "bench") -> Path:
    """Write a corpus as JSON Lines, and `<prefix>.truth.parquet` beside it.

    Args:
        into: a folder; made if need be.
        articles: how many records, copies included.
        seed: another seed gives other texts of the same language.
        prefix: what ids start with.

    Returns:
        The folder. The truth has `id`, `other_id`, `kind` (`exact`, `near` or `related`,
        which is what was meant) and `jaccard` (what came out).
    """
    into.mkdir(parents=True, exist_ok=True)
    writer = Writer(seed)
    kinds = ("exact", "near", "related", "")
    odds = (DUPLICATES / 2, DUPLICATES / 2, RELATED, 1 - DUPLICATES - RELATED)
    plan = writer.rng.choice(4, articles, p=odds)
    truth, pool = [], []
    for start in range(0, articles, PER_FILE):
        lines = []
        rows = writer.articles(prefix, start, min(PER_FILE, articles - start))
        for number, row in enumerate(rows, start):
            if (kind := kinds[plan[number]]) and pool:
                original = pool[int(writer.rng.integers(len(pool)))]
                similarity = _copy(writer, original, kind, row)
                truth.append((row["id"], original["id"], kind, similarity))
            elif row["language"] == "en" and len(str(row["abstract"])) > 300 and len(pool) < 50_000:
                pool.append(row)  # originals come from the first articles: copies lie far apart
            lines.append(json.dumps(row, ensure_ascii=False) + "\n")
        name = f"{prefix}-{start // PER_FILE:05d}.jsonl"
        (into / name).write_text("".join(lines), encoding="utf-8")
    schema = {"id": str, "other_id": str, "kind": str, "jaccard": float}
    pl.DataFrame(truth, schema=schema, orient="row").write_parquet(into / f"{prefix}.truth.parquet")
    return into


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--into", type=Path, required=True, help="folder for the files")
    parser.add_argument("--articles", type=int, default=ARTICLES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prefix", default="bench", help="what ids and file names start with")
    asked = parser.parse_args()
    started = time.monotonic()
    folder = generate(asked.into, asked.articles, asked.seed, asked.prefix)
    size = sum(f.stat().st_size for f in folder.glob("*.jsonl"))
    print(f"{asked.articles} articles, {size / 1e6:.1f} MB, {time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    main()
