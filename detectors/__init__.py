"""Every detector kdguard ships. Core never imports this package: commands and services pass it in."""

from __future__ import annotations

import json
from importlib import resources

from kdguard.detectors.query_patterns.coordination import STATISTICS, TIES
from kdguard.detectors.query_patterns.coverage import Coverage
from kdguard.detectors.query_patterns.drift import Drift
from kdguard.detectors.query_patterns.events import Events
from kdguard.detectors.query_patterns.harvest import Harvest
from kdguard.detectors.query_patterns.mixture_tail import MixtureTail
from kdguard.detectors.query_patterns.novelty import Novelty
from kdguard.detectors.query_patterns.technique import TechniqueClassifier
from kdguard.detectors.query_patterns.technique_rate import TechniqueRate
from kdguard.detectors.query_patterns.template import TemplateConcentration
from kdguard.detectors.query_patterns.tempo import Tempo
from kdguard.scan import Detector
from kdguard.scoring.suite import Suite

ALL: tuple[type[Detector], ...] = (
    TechniqueRate,
    MixtureTail,
    TemplateConcentration,
    Coverage,
    Drift,
    Novelty,
    Tempo,
    Harvest,
    Events,
)


def default_suite() -> Suite:
    """Return the detectors and fusion weights that `kdguard score` uses, before any baseline has taught them."""
    shipped = resources.files("kdguard.detectors.query_patterns").joinpath("fusion.json").read_text()
    return Suite(
        technique=TechniqueClassifier.untrained(),
        detectors=tuple(detector() for detector in ALL),
        weights=json.loads(shipped)["weights"],
        ties=TIES,
        statistics=STATISTICS,
    )
