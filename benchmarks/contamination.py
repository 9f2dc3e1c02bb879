"""Recall of the certificate for each kind of leak, on planted items, and its false alarms.

Run: python benchmarks/contamination.py   (prints a table, writes contamination.json beside it)

Items of public evaluation sets and parallel sentences are planted, changed in a named way, among
16,000 questions and answers of MedQuAD, which stand for clean training data. For each kind 1,000
items are planted and 1,000 others are looked for that are not there. A planted item counts as
*dropped* if the certificate drops the very example that holds it, as *flagged* if it only flags
it. A false alarm is an item that was not planted and for which an example of MedQuAD is dropped
or flagged. Apart from it stand items that resemble a planted one of the same set so much that they
are found in its place: exams ask the same again with one word changed.

The 100 paraphrases were written by people who had not seen the certificate (a file of the tests
holds them, with how far each goes). They and translated sentences are reported as they are: no
check compares meanings or reads two languages.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from scipy.stats import binomtest

from elara.audit.certificate import certify
from elara.expand.evaluation_sets import read_evaluation_sets
from elara.records import Example, schema

PROJECT = Path(__file__).resolve().parents[1]
DATA = PROJECT.parent / "shared" / "data"
PARAPHRASES = PROJECT / "tests" / "audit" / "paraphrases.json"
SETS = ("afrimedqa", "frenchmedmcqa", "healthsearchqa", "mmlu_dev", "pubmedqa")
COUNT, CARRIERS = 1000, 16_000
Item = dict[str, Any]
EMPTY: Item = {"question": "", "options": [], "answer": "", "rationale": "", "pmid": ""}


def evaluation_items() -> list[Item]:
    """The items of the evaluation sets, each question once."""
    items = []
    for name in SETS:
        for file, table in read_evaluation_sets(DATA / "qa" / name).items():
            of = f"mmlu_dev:{file}" if name == "mmlu_dev" else name
            items += [row | {"id": f"{of}:{row['id']}"} for row in table.to_dicts()]
    return list({item["question"]: item for item in items}.values())


def carriers() -> list[tuple[str, str]]:
    """Questions and answers of MedQuAD."""
    with gzip.open(DATA / "qa" / "medquad" / "medquad.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = map(json.loads, file)
        return [(row["question"], row["answer"]) for row in rows if row["answer"]][:CARRIERS]


def translated(language: str) -> tuple[list[Item], list[tuple[str, str]]]:
    """Sentences as items, and the same in another language (TICO-19)."""
    path = DATA / "multilingual" / "tico19" / f"en-{language}.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [row for row in map(json.loads, file) if len(row["en"].split()) >= 8][:COUNT]
    items = [EMPTY | {"id": f"tico:{n}", "question": row["en"]} for n, row in enumerate(rows)]
    return items, [(row["text"], "") for row in rows]


def paraphrased(items: list[Item]) -> tuple[list[Item], list[tuple[str, str]]]:
    """Items of MMLU and PubMedQA, and the same in other words."""
    known = {f"{i['id'].removeprefix('mmlu_dev:')}": i for i in items}
    told = {p["id"]: p for p in json.loads(PARAPHRASES.read_text(encoding="utf-8"))}
    both = [
        (known[name], (p["question"], p["answer"])) for name, p in told.items() if name in known
    ]
    return [item for item, _ in both], [text for _, text in both]


def written(item: Item, options: list[str] | None = None) -> str:
    """An item as a training text has it."""
    return "\n".join(filter(None, [item["question"], *(options or item["options"])]))


def another(number: re.Match[str]) -> str:
    """A number with every digit exchanged."""
    return "".join(str((int(digit) + 3) % 10) for digit in number[0])


def shuffled(item: Item, chance: random.Random) -> str:
    """An item with its options in another order."""
    return written(item, chance.sample(item["options"], len(item["options"])))


Plant = Callable[[Item, tuple[str, str], random.Random], tuple[str, str]]


def inside(text: str, carrier: tuple[str, str], repeat: int) -> tuple[str, str]:
    """A text in the middle of a long one."""
    half = len(carrier[1]) // 2
    before, after = carrier[1][:half], carrier[1][half:]
    return carrier[0], f"{before * repeat} {text} {after * repeat}"


def _long(item: Item) -> bool:
    return len(item["question"].split()) >= 8


def kinds() -> dict[str, tuple[Callable[[Item], bool], Plant]]:
    """Each kind of leak: which items it suits, and question and answer that hold the item."""
    return {
        "exact": (_long, lambda i, c, r: (written(i), i["answer"] or c[1])),
        "7-word question": (
            lambda i: len(re.findall(r"\w+", i["question"])) == 7,
            lambda i, c, r: inside(i["question"], c, 1),
        ),
        "in 8-word lines": (
            _long,
            lambda i, c, r: (_in_lines(written(i)), c[1]),
        ),
        "in a long article": (_long, lambda i, c, r: inside(i["question"], c, 20)),
        "options shuffled": (
            lambda i: len(i["options"]) > 2,
            lambda i, c, r: (shuffled(i, r), c[1]),
        ),
        "numbers changed": (
            lambda i: _long(i) and bool(re.search(r"\d", i["question"])),
            lambda i, c, r: (re.sub(r"\d+", another, written(i)), c[1]),
        ),
        "hyphens, capitals": (
            lambda i: bool(re.search(r"[a-z]-[a-z]", i["question"])) and _long(i),
            lambda i, c, r: (written(i).replace("-", r.choice(["", "‐", "-\n"])).upper(), c[1]),
        ),
    }


def _in_lines(text: str) -> str:
    words = text.split()
    return "\n".join(" ".join(words[at : at + 8]) for at in range(0, len(words), 8))


def examples(texts: list[tuple[str, str]], name: str) -> pl.DataFrame:
    """Training examples of questions and answers, in the columns that the certificate reads."""
    rows = [
        {
            "id": f"{name}/{number}",
            "messages": [
                {"role": "user", "content": question},
                {"role": "assistant", "content": answer},
            ],
            "article_ids": [],
        }
        for number, (question, answer) in enumerate(texts)
    ]
    wanted = schema(Example)
    return pl.DataFrame(rows, {name: wanted[name] for name in ("id", "messages", "article_ids")})


def share(count: int, of: int) -> dict[str, float | list[float]]:
    """A share with its 95 % interval (Wilson)."""
    low, high = binomtest(count, of).proportion_ci(method="wilson")
    return {
        "share": round(count / of, 4),
        "interval": [round(float(end), 4) for end in (low, high)],
    }


def measure(
    planted: list[Item],
    texts: list[tuple[str, str]],
    clean: list[Item],
    carrier: pl.DataFrame,
    items: list[Item],
) -> dict[str, Any]:
    """Look for the planted items, and for others, in a set that holds them all."""
    table = pl.DataFrame(items, infer_schema_length=None)
    found = certify(pl.concat([examples(texts, "planted"), carrier]), {"set": table}).findings
    right = {(item["id"], f"planted/{n}") for n, item in enumerate(planted)}
    rows = list(found.select("item", "train_id", "action").iter_rows())
    dropped = {item for item, at, action in rows if (item, at) in right and action == "drop"}
    flagged = {item for item, at, action in rows if (item, at) in right} - dropped
    others = {item["id"] for item in clean}
    alarms = {(i, a) for i, at, a in rows if i in others and not at.startswith("planted/")}
    resembling = {i for i, at, _ in rows if i in others and at.startswith("planted/")}
    return {
        "items": len(planted),
        "dropped": share(len(dropped), len(planted)),
        "flagged": share(len(flagged), len(planted)),
        "found": share(len(dropped | flagged), len(planted)),
        "false alarms": share(len({i for i, _ in alarms}), max(len(clean), 1)),
        "resemble a planted item": share(len(resembling), max(len(clean), 1)),
    }


def main() -> None:
    """Plant each kind, and write what was found."""
    chance = random.Random(0)
    items, texts = evaluation_items(), carriers()
    carrier = examples(texts, "medquad")
    result: dict[str, Any] = {"carriers": len(texts), "items": len(items), "kinds": {}}
    for name, (suits, plant) in kinds().items():
        fitting = [item for item in items if suits(item)]
        planted = chance.sample(fitting, min(COUNT, len(fitting)))
        ids = {item["id"] for item in planted}
        clean = chance.sample([i for i in items if i["id"] not in ids], COUNT)
        leaks = [plant(item, chance.choice(texts), chance) for item in planted]
        result["kinds"][name] = measure(planted, leaks, clean, carrier, items)
        print(name, result["kinds"][name], flush=True)
    planted, leaks = paraphrased(items)
    result["kinds"]["paraphrase"] = measure(planted, leaks, [], carrier, items)
    print("paraphrase", result["kinds"]["paraphrase"], flush=True)
    for language, name in (("es-LA", "Spanish translation"), ("fr", "French translation")):
        planted, leaks = translated(language)
        result["kinds"][name] = measure(planted, leaks, [], carrier, planted)
        print(name, result["kinds"][name], flush=True)
    (Path(__file__).parent / "contamination.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
