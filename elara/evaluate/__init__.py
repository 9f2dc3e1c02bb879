"""Stage 6: measure whether tuning helped."""

from elara.evaluate.scenarios import SCENARIOS, Answered, answer_scenarios, checks, side_by_side
from elara.evaluate.verdict import EvaluationError, Verdict, compare, difference_figure, per_source
from elara.model.losses import answer_losses

__all__ = [
    "SCENARIOS",
    "Answered",
    "EvaluationError",
    "Verdict",
    "answer_losses",
    "answer_scenarios",
    "checks",
    "compare",
    "difference_figure",
    "per_source",
    "side_by_side",
]
