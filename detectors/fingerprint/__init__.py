"""What a model's answers give away about its teachers. Passed in by commands; see README.md."""

from kdguard.detectors.fingerprint.imitation import Imitation
from kdguard.detectors.fingerprint.similarity import Similarity
from kdguard.lineage.protocol import Affinity


def default_tests() -> tuple[Affinity, ...]:
    """The tests of stored answers that `kdguard lineage test` runs."""
    return Similarity(), Imitation()


__all__ = ["Imitation", "Similarity", "default_tests"]
