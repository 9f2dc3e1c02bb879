"""Stage 6: measure whether tuning helped."""

from elara.evaluate.arms import judge_arms, obey_block_list
from elara.evaluate.figures import difference_figure, power_figure
from elara.evaluate.forest import forest_figure, versions_figure
from elara.evaluate.languages import judge_languages
from elara.evaluate.reliability import (
    SPECIALTIES,
    coverage_and_reliability,
    reliability_figure,
    reliability_told,
)
from elara.evaluate.repeat import confirm, measure_again
from elara.evaluate.scenarios import SCENARIOS, Answered, answer_scenarios, checks, side_by_side
from elara.evaluate.scores import (
    ENDPOINTS,
    Endpoint,
    EvaluationError,
    by_cluster,
    loss_scores,
    paired,
    topics_of,
)
from elara.evaluate.verdict import Judgement, Verdict, judge
from elara.model.losses import answer_losses

__all__ = [
    "ENDPOINTS",
    "SCENARIOS",
    "SPECIALTIES",
    "Answered",
    "Endpoint",
    "EvaluationError",
    "Judgement",
    "Verdict",
    "answer_losses",
    "answer_scenarios",
    "by_cluster",
    "checks",
    "confirm",
    "coverage_and_reliability",
    "difference_figure",
    "forest_figure",
    "judge",
    "judge_arms",
    "judge_languages",
    "loss_scores",
    "measure_again",
    "obey_block_list",
    "paired",
    "power_figure",
    "reliability_figure",
    "reliability_told",
    "side_by_side",
    "topics_of",
    "versions_figure",
]
