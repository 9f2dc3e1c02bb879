"""Compare two adapters on people who consent to it: assign, count, test, stop, roll back."""

from elara.serve.experiments.assign import CANDIDATE, STANDING, Choice, ExperimentError, Plan
from elara.serve.experiments.report import Report
from elara.serve.experiments.store import Experiments
