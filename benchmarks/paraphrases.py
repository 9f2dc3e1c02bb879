"""Recall of the certificate for paraphrases, its false alarms, and what the comparison costs.

Run: python benchmarks/paraphrases.py          (prints a table, writes paraphrases.json beside it)
     python benchmarks/paraphrases.py --fit    (prints the rule of elara/expand/paraphrases.py)

The 100 paraphrases of items of MMLU and PubMedQA were written by people who had not seen the
certificate. The rule is fitted on every second one of them, the *seen* half, and on 1,500 items
that nothing was made of; the other half and 1,000 other items are only counted. Paraphrases stand
among 13,175 questions and answers of MedQuAD. So that sets without answers are known as well, each
item is looked for a second time without its answer.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

import contamination
import numpy as np
import polars as pl
import torch
from scipy.optimize import minimize

from elara.expand import paraphrases
from elara.model.embedding import Store, load_encoder

PROJECT = Path(__file__).resolve().parents[1]
KEPT = PROJECT / "_build" / "embeddings"
FITTED, COUNTED = 1500, 1000  # items of which nothing was made
FLAGS, DROPS = 0.008, 0.001  # share of clean items for which the rule may flag, and drop
FOLDS, RIDGE = 5, 10.0
Array = np.ndarray[Any, Any]


def tables() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Items, with their part in the measurement (`use`), and examples."""
    items = contamination.evaluation_items()
    told = json.loads(contamination.PARAPHRASES.read_text(encoding="utf-8"))
    planted, leaks = contamination.paraphrased(items)
    names = {item["id"] for item in planted}
    others = [item for item in items if item["id"] not in names]
    drawn = random.Random(3).sample(others, FITTED + COUNTED)
    uses = ["seen", "unseen"] * (len(planted) // 2) + ["fit"] * FITTED + ["count"] * COUNTED
    far = [p["far"] for p in told] + [""] * len(drawn)
    rows = [
        {**item, "use": use, "far": how, "of": n if n < len(planted) else -1}
        for n, (item, use, how) in enumerate(zip([*planted, *drawn], uses, far, strict=True))
    ]
    bare = [r | {"answer": "", "id": f"{r['id']} bare", "use": f"{r['use']} bare"} for r in rows]
    table = pl.DataFrame(rows + bare[: len(planted)], infer_schema_length=None)
    seen = pl.concat(
        [
            contamination.examples(leaks, "planted"),
            contamination.examples(contamination.carriers(), "medquad"),
        ]
    )
    return table, seen


def compared(items: pl.DataFrame, seen: pl.DataFrame, store: Store) -> pl.DataFrame:
    """All pairs that are compared, with the measures, the part of the item, and whether right."""
    held = paraphrases.held_parts({"set": items}).filter("english")
    pairs = paraphrases.likeness(held, paraphrases.seen_parts(seen), store)
    pairs = pairs.join(items.select(item="id", use="use", of="of", far="far"), on="item")
    own = pl.concat_str(pl.lit("planted/"), pl.col("of"))
    planted = pl.col("train_id").str.starts_with("planted/")
    # The paraphrase of another item may rightly be found: it is neither leak nor false alarm.
    pairs = pairs.with_columns(right=pl.col("train_id") == own)
    told = pl.col("item").str.ends_with(" bare") | (pl.col("answer") == "")
    answers = held.select(item="id", answer="answer")
    pairs = pairs.join(answers, on="item").with_columns(bare=told)
    return pairs.filter(~planted | pl.col("right"))


def fitted(x: Array, y: Array) -> tuple[Array, float]:
    """Weights and constant of a logistic rule, with a ridge on standardised measures."""
    mean, spread = x.mean(0), x.std(0) + 1e-9
    z = np.c_[(x - mean) / spread, np.ones(len(x))]
    weight = np.where(y, np.sqrt((~y).sum() / max(y.sum(), 1)), 1.0)

    def loss(b: Array) -> tuple[float, Array]:
        p = 1 / (1 + np.exp(-np.clip(z @ b, -500, 500)))
        value = -(weight * np.where(y, np.log(p + 1e-12), np.log(1 - p + 1e-12))).sum()
        slope = z.T @ (weight * (p - y))
        slope[:-1] += RIDGE * b[:-1]
        return value + RIDGE * (b[:-1] ** 2).sum() / 2, slope

    b = minimize(loss, np.zeros(z.shape[1]), jac=True, method="L-BFGS-B").x
    by = b[:-1] / spread
    return by, float(b[-1] - by @ mean)


def fit(pairs: pl.DataFrame, bare: bool) -> None:
    """Print the rule for items with or without an answer, and the shares it gives in the fit."""
    names = list(paraphrases.RULE)
    use = ["seen bare", "fit"] if bare else ["seen", "fit"]
    part = pairs.filter(pl.col("use").is_in(use), bare=bare)
    x, y = part.select(names).to_numpy(), part["right"].to_numpy()
    fold = part["item"].hash(0).to_numpy() % FOLDS
    out = np.zeros(len(y))
    for number in range(FOLDS):
        by, constant = fitted(x[fold != number], y[fold != number])
        out[fold == number] = x[fold == number] @ by + constant
    scored = part.select("item", "use", "right").with_columns(out=out)
    clean = scored.filter(use="fit").group_by("item").agg(pl.col("out").max())["out"]
    ranked = np.sort(clean.to_numpy())[::-1]
    share = 0.25 if bare else 0.75  # of the false alarms that are allowed
    flag, drop = (float(ranked[round(most * share * FITTED)]) for most in (FLAGS, DROPS))
    right = scored.filter("right")["out"].to_numpy()
    by, constant = fitted(x, y)
    print("without an answer" if bare else "with an answer")
    for name, value in zip(names, by, strict=True):
        print(f'    "{name}": {value:.2f}')
    print(f"    constant {constant - flag:.2f}, dropped from {1 / (1 + np.exp(flag - drop)):.3f}")
    print(f"    of 50: {(right > flag).sum()} flagged or dropped, {(right > drop).sum()} dropped")


def counted(pairs: pl.DataFrame, items: pl.DataFrame, use: str, **of: Any) -> dict[str, Any]:
    """The share of items of one part that are dropped, flagged or either, with intervals."""
    part = pairs.filter(use=use, **of)
    part = part.filter("right") if use.startswith(("seen", "unseen")) else part
    best = part.group_by("item").agg(pl.col("score").max())["score"]
    count = items.filter(use=use, **of).height
    found = int((best >= paraphrases.FLAGGED).sum())
    dropped = int((best >= paraphrases.DROPPED).sum())
    return {
        "items": count,
        "dropped": contamination.share(dropped, count),
        "flagged": contamination.share(found - dropped, count),
        "found": contamination.share(found, count),
    }


def bound(count: int = 100_000) -> dict[str, Any]:
    """What would be embedded of all items, and of 13,175 and 100,000 examples.

    The 100,000 are the answers of MedQuAD cut into pieces of 26 words, so there are no more
    questions than before.
    """
    held = paraphrases.held_parts({"set": pl.DataFrame(contamination.evaluation_items())})
    texts = contamination.carriers()
    words = [(q, a.split()) for q, a in texts]
    pieces = [(q, " ".join(a[n : n + 26])) for q, a in words for n in range(0, len(a), 26)]
    result: dict[str, Any] = {}
    for name, told in (("whole", texts), ("pieces", pieces[:count])):
        seen = paraphrases.seen_parts(contamination.examples(told, name))
        items, examples = held.filter("english"), seen.filter("english")
        started = time.process_time()
        pairs = paraphrases.proposed(items, examples)[1]
        result[name] = {
            "examples": len(told),
            "items": held.height,
            "pairs": pairs.height,
            "items compared": pairs["held"].n_unique(),
            "examples compared": pairs["seen"].n_unique(),
            "seconds": round(time.process_time() - started, 1),
        }
    return result


def speed(examples: pl.DataFrame, store: Store) -> dict[str, float]:
    """Texts a second: 400 questions with answers, of up to 80 words, and their questions alone."""
    parts = paraphrases.seen_parts(examples)[-400:]
    texts = [*parts["whole"], *parts["question"]]
    fresh = Store(store.encoder)
    started, used = time.time(), time.process_time()
    fresh.vectors(texts)
    return {
        "threads": torch.get_num_threads(),
        "texts_per_second": round(len(texts) / (time.time() - started), 1),
        "texts_per_cpu_second": round(len(texts) / (time.process_time() - used), 1),
    }


def main() -> None:
    """Measure, or fit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--kept", type=Path, default=KEPT)
    options = parser.parse_args()
    encoder = load_encoder()
    assert encoder is not None
    store = Store(encoder, options.kept)
    items, seen = tables()
    pairs = compared(items, seen, store)
    if options.fit:
        fit(pairs, bare=False)
        fit(pairs, bare=True)
        return
    result: dict[str, Any] = {"examples": seen.height, "pairs": pairs.height}
    for use in ("unseen", "seen", "unseen bare", "seen bare", "count", "fit"):
        result[use] = counted(pairs, items, use)
    for far in ("light", "medium", "far"):
        result[f"unseen, {far}"] = counted(pairs, items, "unseen", far=far)
    result["embedded examples"] = pairs["train_id"].n_unique()
    result["bound"] = bound()
    result["speed"] = speed(seen, store)
    for name, value in result.items():
        print(name, value)
    path = Path(__file__).parent / "paraphrases.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
