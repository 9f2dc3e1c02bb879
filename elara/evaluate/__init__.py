"""Stage 6: measure whether tuning helped."""

from elara.evaluate.accuracy import accuracy_scores, accuracy_table, letter_table, letters_told
from elara.evaluate.answer_sets import read_question_answers
from elara.evaluate.answering import (
    SCENARIOS,
    Answered,
    answer_scenarios,
    few_scenarios,
    side_by_side,
)
from elara.evaluate.arms import judge_arms, obey_block_list
from elara.evaluate.calibration import (
    brier,
    calibration_figure,
    confidences,
    expected_calibration_error,
    risk_coverage,
)
from elara.evaluate.choices import Choice, own_choices, sound
from elara.evaluate.figures import difference_figure, power_figure
from elara.evaluate.forest import arms_figure, forest_figure, versions_figure
from elara.evaluate.generated import score_generated, unparsed
from elara.evaluate.history import record_evaluation
from elara.evaluate.languages import judge_languages
from elara.evaluate.letters import score_letters, score_words
from elara.evaluate.marking import (
    Scored,
    mention_scores,
    mention_table,
    score_answer,
    score_table,
)
from elara.evaluate.measures import Measures, measure_answer, measures_figure, measures_table
from elara.evaluate.memory import Memory
from elara.evaluate.pairs import measure_pairs, read_pairs
from elara.evaluate.public_sets import known_sets, read_public_sets
from elara.evaluate.reliability import (
    coverage_and_reliability,
    reliability_figure,
    reliability_told,
)
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
from elara.evaluate.sourced import (
    Sources,
    answer_with_sources,
    compare_arms,
    find_sources,
    of_held_out_topics,
    questions_of,
    sourced_losses,
    support_summary,
    support_table,
)
from elara.evaluate.specialties import SPECIALTIES
from elara.evaluate.verdict import Judgement, Verdict, judge
from elara.model.losses import answer_losses

__all__ = [
    "ENDPOINTS",
    "SCENARIOS",
    "SPECIALTIES",
    "Answered",
    "Choice",
    "Criterion",
    "Endpoint",
    "EvaluationError",
    "Judgement",
    "Measures",
    "Memory",
    "RubricError",
    "Scenario",
    "Scored",
    "Sources",
    "Verdict",
    "accuracy_scores",
    "accuracy_table",
    "answer_losses",
    "answer_scenarios",
    "answer_with_sources",
    "arms_figure",
    "brier",
    "by_cluster",
    "calibration_figure",
    "compare_arms",
    "confidences",
    "confirm",
    "coverage_and_reliability",
    "difference_figure",
    "expected_calibration_error",
    "few_scenarios",
    "find_sources",
    "forest_figure",
    "judge",
    "judge_arms",
    "judge_languages",
    "known_sets",
    "letter_table",
    "letters_told",
    "load_scenarios",
    "loss_scores",
    "measure_again",
    "measure_answer",
    "measure_pairs",
    "measures_figure",
    "measures_table",
    "mention_scores",
    "mention_table",
    "obey_block_list",
    "of_held_out_topics",
    "own_choices",
    "paired",
    "power_figure",
    "questions_of",
    "read_pairs",
    "read_public_sets",
    "read_question_answers",
    "record_evaluation",
    "reliability_figure",
    "reliability_told",
    "risk_coverage",
    "score_answer",
    "score_generated",
    "score_letters",
    "score_table",
    "score_words",
    "side_by_side",
    "sound",
    "sourced_losses",
    "support_summary",
    "support_table",
    "topics_of",
    "unparsed",
    "versions_figure",
]
