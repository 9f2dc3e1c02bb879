"""How often an A/B test shows a difference where there is none: simulated, without a model.

Run: python benchmarks/serve_ab.py   (prints a table, writes serve_ab.json beside it)

Each run has 10,000 answers of about 2,000 people, who join over time and come back. How satisfied a
person is varies (the answers of one person are correlated 0.3), a rating is thumbs up with that
person's probability, and not every answer is rated. Both arms have the *same* model, so every
difference that is shown is an error. It is looked for after every answer by the code of the server
(`elara.serve.experiments`): a person counts when the window is over, people are paired, and the
betting test bets. The designs:

- `plain`: as above;
- `correlated`: the answers of one person are correlated 0.7;
- `drift`: from 85 % thumbs up to 55 %, with a fall of the half of it in the middle of the run;
- `unequal response`: the candidate's answers are rated half as often as the standing adapter's;
- `all`: correlation 0.5, the drift and the unequal response together. The bar is for this one, and
  holds for the others too: the upper end of the 95 % interval (Clopper-Pearson) of the error over
  2,000 runs is at most 6.5 %.
- `beyond`: as `all`, and the unhappy rate twice as often as the happy. Who is heard then differs
  between the arms, no test of the ratings alone can see it, and the table says what happens. The
  report warns of unequal response; `warned` is how often.

`naive` is what would happen if every rating counted as one person and one looked after every rating
with a z test at 5 %. `power` is how often the candidate is found to be better in design `all` where
people are more satisfied with it, by the difference that `true difference` states.

It takes minutes on one core. A run that was broken off continues where it was.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from elara.serve.experiments.sequence import pair, refuted

RUNS, ANSWERS, CHUNK = 2_000, 10_000, 250
ALPHA, BAR = 0.05, 0.065
WINDOW, GAP = 1_000, 150  # in answers of the whole server: until a person counts, between visits
ENOUGH = 100  # ratings before the naive test looks for the first time
Array = Any


@dataclass(frozen=True)
class Design:
    """What differs between the designs.

    Args:
        correlation: of two ratings by one person.
        drift: how far the log odds of thumbs up fall over the run.
        response: shares of the answers that are rated, standing and candidate.
        unhappy: how many times as often a bad answer is rated.
        effect: log odds of thumbs up that the candidate adds.
    """

    correlation: float = 0.3
    drift: float = 0.0
    response: tuple[float, float] = (0.3, 0.3)
    unhappy: float = 1.0
    effect: float = 0.0


_ALL: dict[str, Any] = {"correlation": 0.5, "drift": 1.5, "response": (0.4, 0.2)}
DESIGNS = {
    "plain": Design(),
    "correlated": Design(correlation=0.7),
    "drift": Design(drift=1.5),
    "unequal response": Design(response=(0.4, 0.2)),
    "all": Design(**_ALL),
    "beyond": Design(**_ALL, unhappy=2.0),
    "power": Design(**_ALL, effect=1.7),
}


def one_run(design: Design, random: np.random.Generator) -> dict[str, Array]:
    """Draw one run: for each person arm and mean rating, and the ratings in time."""
    sizes = np.maximum(1, np.rint(random.lognormal(1.3, 0.8, ANSWERS))).astype(int)
    people = int(np.searchsorted(sizes.cumsum(), ANSWERS)) + 1
    sizes = sizes[:people]
    joined = np.sort(random.uniform(0, ANSWERS, people))
    candidate = random.random(people) < 0.5
    who = np.repeat(np.arange(people), sizes)[:ANSWERS]
    visit = random.exponential(GAP, len(who)).cumsum()
    first = np.r_[True, who[1:] != who[:-1]]
    at = joined[who] + visit - visit[first][who]
    moved = design.drift * (0.5 * at / ANSWERS + 0.5 * (at > ANSWERS / 2))
    spread = 1 / design.correlation - 1
    satisfied = random.beta(0.85 * spread, 0.15 * spread, people).clip(1e-9, 1 - 1e-9)
    odds = np.log(satisfied / (1 - satisfied))[who] - moved
    without = 1 / (1 + np.exp(-odds))
    likely = 1 / (1 + np.exp(-odds - design.effect * candidate[who]))
    up = random.random(len(who)) < likely
    rated = np.where(candidate, design.response[1], design.response[0])[who]
    rated = rated * np.where(up, 1, design.unhappy) / design.unhappy
    heard = (random.random(len(who)) < rated) & (at < joined[who] + WINDOW)
    ratings = np.bincount(who[heard], minlength=people)
    ups = np.bincount(who[heard], up[heard], minlength=people)
    order = np.argsort(at[heard], kind="stable")
    return {
        "candidate": candidate,
        "ratings": ratings,
        "means": ups / np.maximum(ratings, 1),
        "up": up[heard][order],
        "up_arm": candidate[who[heard]][order],
        "true": (
            np.exp(design.effect) * without / (1 - without + np.exp(design.effect) * without)
            - without
        ).mean(),
    }


def naive_error(up: Array, arm: Array) -> bool:
    """Whether a z test of ratings, looked at after each, ever shows a difference."""
    n = np.arange(1, len(up) + 1)
    there, ups, ups_there = arm.cumsum(), up.cumsum(), (up & arm).cumsum()
    here = n - there
    with np.errstate(divide="ignore", invalid="ignore"):
        share = ups / n
        error = np.sqrt(share * (1 - share) * (1 / there + 1 / here))
        z = np.abs(ups_there / there - (ups - ups_there) / here) / error
    return bool((z[ENOUGH:] > 1.96).any())


def chunk(name: str, number: int, runs: int) -> dict[str, Any]:
    """Simulate some runs of a design; the same number gives the same runs."""
    random = np.random.default_rng([list(DESIGNS).index(name), number])
    drawn = [one_run(DESIGNS[name], random) for _ in range(runs)]
    told = [pair(r["candidate"][r["ratings"] > 0], r["means"][r["ratings"] > 0]) for r in drawn]
    gave = [pair(r["candidate"], (r["ratings"] > 0).astype(float)) for r in drawn]
    shown = refuted(_square(told), 0.5, ALPHA)[:, -1]
    means = np.array([differences.mean() for differences in told])
    return {
        "runs": runs,
        "shown": int(shown.sum()),
        "better": int((shown & (means > 0)).sum()),
        "warned": int(refuted(_square(gave), 0.5, ALPHA)[:, -1].sum()),
        "naive": sum(naive_error(r["up"], r["up_arm"]) for r in drawn),
        "people": sum(len(r["candidate"]) for r in drawn),
        "heard": sum(int((r["ratings"] > 0).sum()) for r in drawn),
        "pairs": sum(map(len, told)),
        "difference": float(means.sum()),
        "true": float(sum(r["true"] for r in drawn)),
    }


def _square(rows: list[Array]) -> Array:
    """Differences of several runs as values in [0, 1], NaN after the last one."""
    found = np.full((len(rows), max(map(len, rows))), np.nan)
    for row, values in zip(found, rows, strict=True):
        row[: len(values)] = (1 + values) / 2
    return found


def summary(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """Add chunks up to the figures of a design."""
    total = {key: sum(c[key] for c in chunks) for key in chunks[0]}
    runs = total["runs"]
    exact = stats.binomtest(total["shown"], runs).proportion_ci(0.95, "exact")
    return {
        "runs": runs,
        "people": round(total["people"] / runs),
        "heard": round(total["heard"] / runs),
        "pairs": round(total["pairs"] / runs),
        "shown": total["shown"] / runs,
        "low": round(float(exact.low), 4),
        "high": round(float(exact.high), 4),
        "better": total["better"] / runs,
        "warned": total["warned"] / runs,
        "naive": total["naive"] / runs,
        "mean difference": round(total["difference"] / runs, 4),
        "true difference": round(total["true"] / runs, 4),
    }


def main() -> None:
    """Simulate what is missing, print the table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=RUNS, help="runs of each design")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    asked = parser.parse_args()
    partial = Path(tempfile.gettempdir()) / "elara-serve-ab.jsonl"
    code = Path(__file__).read_bytes() + Path(pair.__code__.co_filename).read_bytes()
    key = f"{asked.runs} {hash_of(code)}"
    done: dict[str, list[dict[str, Any]]] = {name: [] for name in DESIGNS}
    if partial.exists():
        for line in map(json.loads, partial.read_text(encoding="utf-8").splitlines()):
            if line["key"] == key:
                done[line["design"]].append(line["chunk"])
    started = time.perf_counter()
    for name, chunks in done.items():
        while (left := asked.runs - sum(c["runs"] for c in chunks)) > 0:
            chunks.append(chunk(name, len(chunks), min(CHUNK, left)))
            with partial.open("a", encoding="utf-8") as file:
                line = {"key": key, "design": name, "chunk": chunks[-1]}
                file.write(json.dumps(line) + "\n")
        print(f"{name:17}", summary(chunks), flush=True)
    designs = {
        name: {"design": asdict(DESIGNS[name])} | summary(chunks) for name, chunks in done.items()
    }
    found = {"answers": ANSWERS, "alpha": ALPHA, "bar": BAR, "designs": designs}
    asked.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    partial.unlink(missing_ok=True)
    print(f"{time.perf_counter() - started:.0f} s")
    judged = [name for name in DESIGNS if name not in ("beyond", "power")]
    missed = [name for name in judged if designs[name]["high"] > BAR]
    print(f"bar missed: {', '.join(missed)}" if missed else f"error at most {BAR:.1%}: held")


def hash_of(content: bytes) -> str:
    """A short name of what computed the figures."""
    import hashlib

    return hashlib.sha256(content).hexdigest()[:16]


if __name__ == "__main__":
    main()
