"""Ties between owners, and what only a group can show (log-scoring reference, X1 to X5)."""

from __future__ import annotations

from kdguard.detectors.query_patterns.coordination.content import Content
from kdguard.detectors.query_patterns.coordination.frames import Frames
from kdguard.detectors.query_patterns.coordination.metadata import Metadata
from kdguard.detectors.query_patterns.coordination.one_frame import OneFrame
from kdguard.detectors.query_patterns.coordination.one_meaning import OneMeaning
from kdguard.detectors.query_patterns.coordination.one_option import OneOption
from kdguard.detectors.query_patterns.coordination.one_origin import OneOrigin
from kdguard.detectors.query_patterns.coordination.one_technique import OneTechnique
from kdguard.detectors.query_patterns.coordination.options import Options
from kdguard.detectors.query_patterns.coordination.pivot import Pivot
from kdguard.detectors.query_patterns.coordination.same_minutes import SameMinutes
from kdguard.detectors.query_patterns.coordination.succession import Succession
from kdguard.detectors.query_patterns.coordination.synchrony import Synchrony
from kdguard.scoring.groups.statistics import GroupStatistic
from kdguard.scoring.groups.ties import Tie

TIES: tuple[Tie, ...] = (Metadata(), Frames(), Content(), Options(), Pivot(), SameMinutes(), Succession())
STATISTICS: tuple[GroupStatistic, ...] = (
    OneTechnique(),
    OneFrame(),
    OneMeaning(),
    OneOption(),
    OneOrigin(),
    Synchrony(),
)
