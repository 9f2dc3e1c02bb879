"""Stage 6: measure whether tuning helped."""

from elara.evaluate.answering import SCENARIOS, Answered, answer_scenarios, checks, side_by_side
from elara.evaluate.arms import judge_arms, obey_block_list
from elara.evaluate.figures import difference_figure, power_figure
from elara.evaluate.marking import Scored, score_answer, score_table
from elara.evaluate.repeat import confirm, measure_again
from elara.evaluate.scenario_files import Criterion, RubricError, Scenario, load_scenarios
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
    "Answered",
    "Criterion",
    "Endpoint",
    "EvaluationError",
    "Judgement",
    "RubricError",
    "Scenario",
    "Scored",
    "Verdict",
    "answer_losses",
    "answer_scenarios",
    "by_cluster",
    "checks",
    "confirm",
    "difference_figure",
    "judge",
    "judge_arms",
    "load_scenarios",
    "loss_scores",
    "measure_again",
    "obey_block_list",
    "paired",
    "power_figure",
    "score_answer",
    "score_table",
    "side_by_side",
    "topics_of",
]
