"""Run regression cases against the package: `python tests/cases/check.py [CASE …]`.

A case is a folder with an input and an `expected.json`. That names the part of Elara that reads
the input (`runner`), and what has to come of it. A case with a `repro.py` instead is a program of
its own. Those that hold a command, or need a server, are listed to be run by hand.

`--cases FOLDER` says where they are. Without it, the cases in `../shared/cases`, beside the
checkout, are run, or those in this folder where there are none. The exit status is 1 if any case
fails.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from elara.collect import read_file
from elara.records import Article, frame

PROJECT = Path(__file__).resolve().parents[2]
SHARED = PROJECT.parent / "shared" / "cases"
# What a program among the cases prints when it is not content.
_DISCONTENT = re.compile(r"^(?:FAIL|LOST|WRONG)\b|\bFAILED\b", re.MULTILINE)

Expected = dict[str, Any]
# Whether a case passed (None: not decided here), and what was found.
Outcome = tuple[bool | None, Any]


def articles(path: Path) -> list[Article]:
    """The articles in a file."""
    return [r.article for r in read_file(path, path.name, "2026-01-01T00:00:00Z") if r.article]


def collect(path: Path, expected: Expected) -> Outcome:
    """The abstract or body that collect reads."""
    found = list(read_file(path, path.name, "2026-01-01T00:00:00Z"))
    article = next((r.article for r in found if r.article), None)
    if article is None:
        return matches(f"SKIPPED: {'; '.join(r.reason for r in found)}", expected)
    if expected["field"] == "abstract":
        return matches(article.abstract, expected)
    return matches("\n\n".join(f"{s.heading}\n\n{s.text}" for s in article.body), expected)


def clean(path: Path, expected: Expected) -> Outcome:
    """A text after all rules."""
    from elara.clean import RULES
    from elara.clean.rules import MOST_ROUNDS

    text = path.read_text(encoding="utf-8")
    for _ in range(MOST_ROUNDS):
        for rule in RULES:
            text = rule.apply(text)
    return matches(text, expected)


def shorten(path: Path, expected: Expected) -> Outcome:
    """An answer cut to a number of words."""
    from elara.text.sentences import shorten

    return matches(shorten(path.read_text(encoding="utf-8"), expected["words"]), expected)


def phi(path: Path, expected: Expected) -> Outcome:
    """What is found as personal data, and whether it points to a patient."""
    from elara.clean import PHI, find_phi

    text = path.read_text(encoding="utf-8")
    table = find_phi(pl.DataFrame({"id": ["1"], "field": ["a"], "text": [text]}))
    found = [(k, text[b:e]) for k, b, e in table.select("kind", "start", "end").iter_rows()]
    patient = {kind.kind for kind in PHI if kind.patient} | {"repeated_name"}
    passed = True
    if "phi_patient" in expected:
        passed = any(kind in patient for kind, _ in found) == expected["phi_patient"]
    if "phi_none" in expected:
        passed &= not any(kind in expected["phi_none"] for kind, _ in found)
    if "phi_span" in expected:
        passed &= any(expected["phi_span"] in span for _, span in found)
    return passed, found


def dedup(path: Path, expected: Expected) -> Outcome:
    """How many of a list of abstracts are removed as near-duplicates."""
    from elara import inspection

    rows = [
        Article(id=f"x:{i}", source="nih", title="", abstract=text, language="en")
        for i, text in enumerate(json.loads(path.read_text(encoding="utf-8")))
    ]
    removed = inspection.near_duplicates(inspection.score(frame(rows, Article))).removed
    return len(removed) == expected["removed"], removed.select("id", "reason").rows()


def select(path: Path, expected: Expected) -> Outcome:
    """How many of a file's articles are kept."""
    from elara import inspection

    scored = inspection.score(frame(articles(path), Article))
    chosen = inspection.select(scored, inspection.near_duplicates(scored))
    return len(chosen.kept) == expected["kept"], chosen.removed["reason"].to_list()


def expand(path: Path, expected: Expected) -> Outcome:
    """How many training examples the articles of a file give."""
    from elara.expand import grounded_examples

    made = grounded_examples(frame(articles(path), Article), "S").examples
    return len(made) == expected["examples"], made["id"].to_list()


def encode(path: Path, expected: Expected) -> Outcome:
    """The tokens of a chat, with the tokenizer of the packaged model or another template."""
    from transformers import AutoTokenizer

    from elara.model import ModelError, encode, packaged_folder
    from elara.model.chat import give_template

    asked = json.loads(path.read_text(encoding="utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(str(packaged_folder()))
    if "template" in asked:
        tokenizer.chat_template = asked["template"]
    give_template(tokenizer)
    try:
        encoded = encode(tokenizer, asked["messages"])
    except ModelError as error:  # a refusal is as good
        return "turns" in expected or "stops" in expected, f"ModelError: {error}"
    text = tokenizer.decode(encoded.input_ids)
    if "turns" in expected:
        marks = encoded.input_ids.count(tokenizer.convert_tokens_to_ids("<|im_start|>"))
        return marks - text.startswith("<|im_start|>system") <= expected["turns"], f"{marks} marks"
    if "stops" in expected:
        stops = sum(label == tokenizer.eos_token_id for label in encoded.labels)
        return stops == expected["stops"], f"{stops} stop tokens trained"
    if expected.get("same_on_two_days"):
        with_another_day = _another_day(lambda: encode(tokenizer, asked["messages"]).input_ids)
        return with_another_day == encoded.input_ids, "tokens on another day"
    return matches(text, expected)


def _another_day(work: Callable[[], list[int]]) -> list[int]:
    """Do something on the first of January 2027, as templates see it."""
    import transformers.utils.chat_template_utils as utils

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Later:
            return cls(2027, 1, 1, tzinfo=tz)

    kept = utils.datetime
    is_class = not hasattr(kept, "datetime")
    utils.datetime = Later if is_class else type("module", (), {"datetime": Later})
    getattr(utils._compile_jinja_template, "cache_clear", lambda: None)()
    try:
        return work()
    finally:
        utils.datetime = kept


RUNNERS: dict[str, Callable[[Path, Expected], Outcome]] = {
    "collect": collect, "clean": clean, "shorten": shorten, "phi": phi, "dedup": dedup,
    "select": select, "expand-se": expand, "encode": encode,
}  # fmt: skip


def matches(text: str, expected: Expected) -> Outcome:
    """Compare a text with what it has to hold, must not hold, and has to hold once."""

    def held(wanted: str) -> bool:
        return bool(re.search(wanted, text, re.M)) if expected.get("regex") else wanted in text

    faults = [f"lacks {wanted!r}" for wanted in expected["must_contain"] if not held(wanted)]
    faults += [f"has {wanted!r}" for wanted in expected["must_not_contain"] if held(wanted)]
    for wanted in expected.get("once", ()):
        if (times := text.count(wanted)) != 1:
            faults.append(f"{times} times {wanted!r}")
    return not faults, faults or text[:80]


def program(script: Path) -> Outcome:
    """Run a case that is a program: it fails by its exit status or by what it prints."""
    done = subprocess.run(
        [sys.executable, script.name],
        cwd=script.parent,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    said = done.stdout + done.stderr[-300:]
    return done.returncode == 0 and not _DISCONTENT.search(said), " ".join(said.split())


def run(case: Path) -> Outcome:
    """Run one case."""
    file = case / "expected.json"
    if not file.exists():
        alone = (case / "repro.py").exists() and not (case / "server.py").exists()
        return program(case / "repro.py") if alone else (None, "see its README")
    expected: Expected = json.loads(file.read_text(encoding="utf-8"))
    if expected["runner"] not in RUNNERS:
        return None, expected.get("command", "see its README")
    return RUNNERS[expected["runner"]](case / expected["input"], expected)


def outcomes(cases: list[Path]) -> Iterator[tuple[Path, bool | None, Any]]:
    """Run cases; one that ends in an error has failed."""
    for case in cases:
        try:
            yield case, *run(case)
        except Exception as error:
            yield case, False, f"{type(error).__name__}: {error}"


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Run regression cases.")
    default = SHARED if SHARED.is_dir() else Path(__file__).parent
    parser.add_argument("--cases", type=Path, default=default, help="folder of cases")
    parser.add_argument("names", nargs="*", metavar="CASE", help="run only these")
    given = parser.parse_args()
    names = given.names or sorted(path.name for path in given.cases.glob("[0-9]*"))
    failed = 0
    for case, passed, said in outcomes([given.cases / name for name in names]):
        status = {True: "pass", False: "FAIL", None: "hand"}[passed]
        print(status, case.name, "|", " ".join(str(said).split())[:200])
        failed += passed is False
    return int(bool(failed or not names))


if __name__ == "__main__":
    raise SystemExit(main())
