"""Measure how much faster eight chats are answered together than one after another.

    python benchmarks/serve_batch.py [--tokens 48]

The packaged model answers eight questions through `elara.serve.engine`: in turn, each alone, and
all in one batch. Both are done twice, alternating, after one answer that is not counted. Noted are
the tokens per second of wall time and, because it says more on a busy machine, of processor time;
`speedup` is the ratio of the former. The result is written to benchmarks/serve_batch.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import time
from pathlib import Path

from elara.machine.cores import usable_cores
from elara.model import load_base
from elara.serve.backends import Ask, whole
from elara.serve.decoding import Decoder
from elara.serve.engine import Engine

HERE = Path(__file__).resolve().parent
ROUNDS = 2
HOUR = 3600.0
QUESTIONS = [
    "What are the symptoms of iron deficiency anemia?",
    "How is asthma treated?",
    "What causes gout?",
    "Why does the thyroid matter?",
    "What is a stroke?",
    "How is type 2 diabetes diagnosed?",
    "What does the pancreas do, and what happens when it is inflamed?",
    "When is a fever in a child an emergency?",
]


def main() -> None:
    """Measure, print and note it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=48, help="most tokens of an answer")
    tokens = parser.parse_args().tokens
    turns = [[{"role": "user", "content": question}] for question in QUESTIONS]
    asks = [Ask(messages, tokens, 0.0, 0, time.monotonic() + HOUR) for messages in turns]
    found = asyncio.run(_measure(asks))
    record = {
        "command": f"python benchmarks/serve_batch.py --tokens {tokens}",
        "cores": usable_cores(),
        "python": platform.python_version(),
        "chats": len(asks),
        **found,
        "speedup": round(found["together"]["per_second"] / found["alone"]["per_second"], 2),
    }
    text = json.dumps(record, indent=2) + "\n"
    (HERE / "serve_batch.json").write_text(text, encoding="utf-8")
    print(text)


async def _measure(asks: list[Ask]) -> dict[str, dict[str, float]]:
    engine = Engine(Decoder(load_base()), batch_size=len(asks))
    await whole(engine.answer(asks[0]))
    alone, together = [], []
    for _ in range(ROUNDS):
        alone.append(await _timed(engine, [[ask] for ask in asks]))
        together.append(await _timed(engine, [asks]))
    engine.close()
    return {"alone": _sum(alone), "together": _sum(together)}


async def _timed(engine: Engine, groups: list[list[Ask]]) -> tuple[int, float, float]:
    """Tokens, wall seconds and processor seconds of groups, one after another."""
    started, processor, tokens = time.perf_counter(), time.process_time(), 0
    for group in groups:
        answers = await asyncio.gather(*(whole(engine.answer(ask)) for ask in group))
        tokens += sum(end.new_tokens for _, end in answers)
    return tokens, time.perf_counter() - started, time.process_time() - processor


def _sum(rounds: list[tuple[int, float, float]]) -> dict[str, float]:
    tokens, wall, processor = (sum(column) for column in zip(*rounds, strict=True))
    return {
        "tokens": tokens,
        "per_second": round(tokens / wall, 1),
        "per_processor_second": round(tokens / processor, 1),
    }


if __name__ == "__main__":
    main()
