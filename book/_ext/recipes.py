"""Sphinx extension: what training on GPUs is predicted to need, computed as a page is built.

    ```{recipes}
    ```

becomes a table with a row for each profile. Its figures are those of `elara.train.devices.gpu`, by
which a run is planned, for a model of Mistral 7B's shape; none of them is typed by hand. `{links}`
becomes a table of what several GPUs gain, by the link between them.
"""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

PROJECT = Path(__file__).resolve().parents[2]
# Profile: memory of the card as it is sold, in GB, and a card with so much.
CARDS = {
    "gpu-8gib": (8, "NVIDIA GeForce RTX 3070"),
    "gpu-12gib": (12, "NVIDIA GeForce RTX 3060"),
    "gpu": (16, "NVIDIA GeForce RTX 4080"),
    "gpu-24gib": (24, "NVIDIA GeForce RTX 4090"),
    "gpu-80gib": (80, "NVIDIA H100 80GB HBM3"),
}
REPORTED = 0.95  # of that memory a driver offers, at the least; 16 GB cards report 15.6 GiB
TOKENS = 5_000_000  # three epochs of some 7,000 examples
HEADS = ("Profile", "Card", "Base model", "Forward pass", "Recomputed layers", "Predicted peak")
HEADS += (f"Predicted minutes for {TOKENS // 10**6} million tokens",)

# Bytes per second in each direction, as the vendors state them. NVLink and PCIe 5.0:
# https://www.nvidia.com/en-us/data-center/h100/ (both directions together there).
LINKS = {
    "NVLink of an H100": 450e9,
    "PCIe 5.0, 16 lanes": 64e9,
    "PCIe 4.0, 16 lanes": 32e9,
    "network, 100 Gbit/s": 12.5e9,
    "network, 10 Gbit/s": 1.25e9,
}
SHARED = "gpu-80gib"  # the recipe whose steps are shared out
ROWS = 32  # sequences for each step, over all GPUs
PROCESSES = (2, 8)


def settings(profile: str) -> Any:
    """What notebook 5 is set to by a profile, as far as a plan depends on it."""
    from elara.train import TrainingConfig

    path = PROJECT / "notebooks" / "profiles" / f"{profile}.yaml"
    given = yaml.safe_load(path.read_text(encoding="utf-8"))["05-train"]
    kinds = {name: type(value) for name, value in vars(TrainingConfig()).items()}
    # YAML reads 2e-4 as text.
    return TrainingConfig(**{n: kinds[n](value) for n, value in given.items() if n in kinds})


def shape() -> Any:
    """The configuration of a model of Mistral 7B's shape."""
    import transformers

    shapes = runpy.run_path(str(PROJECT / "benchmarks" / "gpu_model.py"))["SHAPES"]
    return transformers.MistralConfig(**shapes["mistral-7b"], tie_word_embeddings=False)


def predicted(profile: str) -> tuple[Any, int]:
    """The plan of a profile's run on its card, and the memory that it was made for, in bytes."""
    from elara.train.devices import gpu

    gigabytes, card = CARDS[profile]
    memory, config = int(REPORTED * gigabytes * 2**30), settings(profile)
    told = {"memory": memory, "card": card, "quantised": config.quantisation == "nf4"}
    return gpu.predict(shape(), config, **told, tokens=TOKENS), memory


def row(profile: str) -> tuple[str, ...]:
    """The cells of a profile's row."""
    gigabytes, card = CARDS[profile]
    plan, _ = predicted(profile)
    config = settings(profile)
    minutes = f"{plan.seconds / 60:,.0f}" if plan.seconds else "not predicted"
    return (
        profile,
        f"{gigabytes} GB, such as {card.removeprefix('NVIDIA ')}",
        "4 bits" if config.quantisation == "nf4" else "16 bits",
        f"{plan.batch} × {config.max_length:,} tokens, {plan.accumulation} in turn"
        + (", compiled" if plan.compiled else ""),
        f"{plan.checkpointed_layers} of 32",
        f"{plan.bytes / 2**30:.1f} GiB",
        minutes,
    )


def gradient_bytes() -> int:
    """Bytes of the adapter's gradients, which the GPUs exchange once a step."""
    import accelerate
    import transformers

    from elara.train import summary

    with accelerate.init_empty_weights():
        model = transformers.AutoModelForCausalLM.from_config(shape())
    return summary(model, settings(SHARED)).adapter_bytes


def speed_up(processes: int, step: float, exchange: float) -> float:
    """How many times as fast several GPUs are, if none computes while they exchange.

    Args:
        processes: GPUs.
        step: seconds that one GPU alone computes for a step.
        exchange: seconds that all take to add up their gradients.
    """
    return step / (step / processes + exchange)


def link_row(link: str, size: int, step: float) -> tuple[str, ...]:
    """The cells of a link's row: for each number of GPUs, the exchange and the speed-up.

    Source: a ring sends 2 (n - 1) / n of the gradients over each link,
        https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/usage/collectives.html
    """
    cells = [link]
    for n in PROCESSES:
        exchange = 2 * (n - 1) / n * size / LINKS[link]
        cells += [f"{1000 * exchange:.1f} ms", f"{speed_up(n, step, exchange):.2f} times"]
    return tuple(cells)


class Recipes(SphinxDirective):
    """The table of all profiles."""

    def run(self) -> list[nodes.Node]:
        """Predict, and build the table."""
        self.env.note_reread()  # the figures are those of a package, of which Sphinx knows nothing
        return [_table(HEADS, [row(profile) for profile in CARDS])]


class Links(SphinxDirective):
    """The table of what several GPUs gain."""

    def run(self) -> list[nodes.Node]:
        """Compute, and build the table."""
        self.env.note_reread()
        plan, _ = predicted(SHARED)
        if not plan.seconds:
            raise self.error(f"No speed is known of {CARDS[SHARED][1]}: name another card.")
        step = (plan.seconds - plan.compile_seconds) / TOKENS * ROWS * settings(SHARED).max_length
        size = gradient_bytes()
        heads = [
            "Link",
            *(f"{n} GPUs: {what}" for n in PROCESSES for what in ("exchange", "speed")),
        ]
        return [_table(heads, [link_row(link, size, step) for link in LINKS])]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> nodes.table:
    group = nodes.tgroup(cols=len(heads))
    group += [nodes.colspec(colwidth=1) for _ in heads]
    group += nodes.thead("", _row(heads))
    group += nodes.tbody("", *map(_row, rows))
    return nodes.table("", group)


def _row(cells: Sequence[str]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph(text=cell)) for cell in cells))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("recipes", Recipes)
    app.add_directive("links", Links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
