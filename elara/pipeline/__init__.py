"""Run the numbered notebooks in order, and know which of them need to run again."""

from elara.pipeline.plan import Plan, check_values, make_plan, select
from elara.pipeline.running import NotebookError, run
from elara.pipeline.state import State, fingerprint, read_record, states
