"""The evaluation: independent worlds with baselines of their own, honest test accounts, campaigns, rivals."""

from __future__ import annotations

from kdguard.simulate.evaluation.markdown import to_markdown
from kdguard.simulate.evaluation.one_world import Contestants, GroupStudy, MakeSuite, run_world
from kdguard.simulate.evaluation.own_log import OwnLog
from kdguard.simulate.evaluation.plan import Plan, full_plan
from kdguard.simulate.evaluation.report import Report
from kdguard.simulate.evaluation.rivalry import Conversations, Rival
from kdguard.simulate.evaluation.sources import SimulatedSource, Source
from kdguard.simulate.evaluation.study import StudyError, run_study

__all__ = [
    "Contestants",
    "Conversations",
    "GroupStudy",
    "MakeSuite",
    "OwnLog",
    "Plan",
    "Report",
    "Rival",
    "SimulatedSource",
    "Source",
    "StudyError",
    "full_plan",
    "run_study",
    "run_world",
    "to_markdown",
]
