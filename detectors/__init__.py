"""Every detector kdguard ships. Core never imports this package: commands and services pass it in."""

from __future__ import annotations

import json
from importlib import resources

from kdguard.detectors import plugins
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
from kdguard.scan import Detector, output_names
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


def default_suite(*, third_party: bool = True) -> Suite:
    """Return the detectors and fusion weights that `kdguard score` uses, before any baseline has taught them.

    Args:
        third_party: Add the detectors that other distributions bring. Each of their outputs gets the least weight of
            any, like every output of which simulated attackers have taught nothing.

    Raises:
        PluginError: A third-party detector cannot be used.
    """
    shipped = resources.files("kdguard.detectors.query_patterns").joinpath("fusion.json").read_text()
    weights: dict[str, float] = json.loads(shipped)["weights"]
    added = plugins.detectors({detector.name: "kdguard" for detector in ALL}) if third_party else ()
    return Suite(
        technique=TechniqueClassifier.untrained(),
        detectors=(*(detector() for detector in ALL), *added),
        weights=weights | dict.fromkeys(output_names(added), min(weights.values())),
        ties=TIES,
        statistics=STATISTICS,
    )
