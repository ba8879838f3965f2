"""Does a classifier repeat what is peculiar to a teacher? Labels and probabilities, against controls trained here."""

from kdguard.detectors.fingerprint.labels.classifiers import Answered, Classifier, open_classifier
from kdguard.detectors.fingerprint.labels.data import Labelled, labelled, read_labelled
from kdguard.detectors.fingerprint.labels.plan import Plan, Prepared, Settings, make_plan, prepare
from kdguard.detectors.fingerprint.labels.run import examine, examine_many

__all__ = [
    "Answered",
    "Classifier",
    "Labelled",
    "Plan",
    "Prepared",
    "Settings",
    "examine",
    "examine_many",
    "labelled",
    "make_plan",
    "open_classifier",
    "prepare",
    "read_labelled",
]
