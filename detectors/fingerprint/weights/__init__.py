"""Do two models share an initialisation? An exact test over neuron permutations, and descriptive likeness beside it."""

from kdguard.detectors.fingerprint.weights.initialisation import Settings, same_initialisation
from kdguard.detectors.fingerprint.weights.run import compare
from kdguard.detectors.fingerprint.weights.tensors import Tensors, open_tensors
from kdguard.detectors.fingerprint.weights.units import Hidden, hidden_layers

__all__ = [
    "Hidden",
    "Settings",
    "Tensors",
    "compare",
    "hidden_layers",
    "open_tensors",
    "same_initialisation",
]
