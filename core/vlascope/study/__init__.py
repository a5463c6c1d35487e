"""Studies: paired sets of rollouts that differ in one thing, and the questions they answer."""

from vlascope.study.design import Design, design
from vlascope.study.execution import Outcome, run_study
from vlascope.study.executors import Executor, LocalExecutor
from vlascope.study.groups import WorkGroup
from vlascope.study.loading import load_study
from vlascope.study.metrics import METRICS
from vlascope.study.run_directory import read_run
from vlascope.study.schema import Arm, Finding, Study

__all__ = [
    "METRICS",
    "Arm",
    "Design",
    "Executor",
    "Finding",
    "LocalExecutor",
    "Outcome",
    "Study",
    "WorkGroup",
    "design",
    "load_study",
    "read_run",
    "run_study",
]
