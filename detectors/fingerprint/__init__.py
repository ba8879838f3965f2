"""What a model's answers give away about its teachers. Passed in by commands; see README.md."""

from pathlib import Path

from kdguard.detectors.fingerprint.habits import Layout, Templates
from kdguard.detectors.fingerprint.imitation import Imitation
from kdguard.detectors.fingerprint.meaning import Meaning
from kdguard.detectors.fingerprint.similarity import Similarity
from kdguard.lineage.protocol import Affinity


def default_tests(encoder: Path | None = None) -> tuple[Affinity, ...]:
    """The tests of stored answers that `kdguard lineage test` runs; the first made for a family drives its verdict.

    Args:
        encoder: Folder of an encoder of texts, for one more test beside them.

    Raises:
        ModelError: The folder is not safe or not whole.
    """
    tests = Similarity(), Imitation(), Templates(), Layout()
    return tests if encoder is None else (*tests, Meaning.of(encoder))


__all__ = ["Imitation", "Layout", "Meaning", "Similarity", "Templates", "default_tests"]
