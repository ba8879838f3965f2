"""What a model's answers give away about its teachers. Passed in by commands; see README.md."""

from kdguard.detectors.fingerprint.habits import Layout, Templates
from kdguard.detectors.fingerprint.imitation import Imitation
from kdguard.detectors.fingerprint.similarity import Similarity
from kdguard.lineage.protocol import Affinity


def default_tests() -> tuple[Affinity, ...]:
    """The tests of stored answers that `kdguard lineage test` runs; the first made for a family drives its verdict."""
    return Similarity(), Imitation(), Templates(), Layout()


__all__ = ["Imitation", "Layout", "Similarity", "Templates", "default_tests"]
