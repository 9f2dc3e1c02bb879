"""Free the likelihoods of option letters from what a model prefers at each letter.

Many models prefer a letter whatever stands behind it. Shown in all cyclic orders, each option meets
each letter once. The logarithms are averaged, not the probabilities: a preference that is the same
in every order then falls out exactly, however strong it is. The mean of probabilities keeps a part
of it, because a probability near 1 has no room for what the option adds; which option wins can
then depend on which others it stood next to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SAME = 1e-3  # nats; less than this is no preference, and less than what a batch can move


def shown(options: Sequence[str], by: int) -> list[str]:
    """The options in one cyclic order: at position j stands option j + `by`.

    Args:
        options: as published.
        by: how far they are turned, from 0.
    """
    return [options[(j + by) % len(options)] for j in range(len(options))]


def unturned(values: Sequence[float], by: int) -> list[float]:
    """Values of the letters, back in the order of the options as published.

    Args:
        values: one for each position of an order from `shown`.
        by: how far that order was turned.
    """
    return [values[(i - by) % len(values)] for i in range(len(values))]


def normalised(logs: Sequence[float]) -> list[float]:
    """Logarithms of probabilities that add up to 1.

    Args:
        logs: logarithms of what is in proportion to them, in nats.
    """
    import numpy as np
    from scipy.special import log_softmax

    found: list[float] = log_softmax(np.asarray(logs, dtype=float)).tolist()
    return found


def averaged(orders: Sequence[Sequence[float]]) -> list[float]:
    """One log probability for each option from those of its letters in all cyclic orders.

    Args:
        orders: for each order, by 0, 1 … turned, the log probability of each letter, in nats.

    Source: cyclic permutations of Zheng et al. 2024, https://arxiv.org/abs/2309.03882, with the
        geometric mean in the place of theirs.
    """
    import numpy as np

    back = [unturned(normalised(logs), by) for by, logs in enumerate(orders)]
    return normalised(np.mean(back, axis=0).tolist())


def letter_prior(items: Sequence[Sequence[Sequence[float]]]) -> list[float]:
    """How much a model prefers each letter, as a log probability.

    Args:
        items: for some items, all with the same number of options, their orders as for `averaged`.

    Source: PriDe, Zheng et al. 2024, https://arxiv.org/abs/2309.03882.
    """
    import numpy as np

    each = [[normalised(logs) for logs in orders] for orders in items]
    return normalised(np.mean(each, axis=(0, 1)).tolist())


def without_prior(logs: Sequence[float], prior: Sequence[float]) -> list[float]:
    """Log probabilities of the options, in one order, with the preference for letters taken off.

    Args:
        logs: of each letter, options as published, in nats.
        prior: from `letter_prior`.
    """
    return normalised([value - known for value, known in zip(logs, prior, strict=True)])


def best(logs: Sequence[float]) -> list[int]:
    """Positions of the most likely options: more than one if no difference can be told.

    Args:
        logs: of each option, in nats.
    """
    top = max(logs)
    return [i for i, value in enumerate(logs) if top - value < SAME]


def credit(logs: Sequence[float], key: int) -> float:
    """1 if the key alone is the most likely, a fair share where it ties with others, otherwise 0.

    Args:
        logs: of each option, in nats.
        key: position of the right one.
    """
    top: Any = best(logs)
    return 1 / len(top) if key in top else 0.0
