"""What a model's log-probabilities give away: how likely it finds a teacher's answers, and its likeliest tokens."""

from kdguard.detectors.fingerprint.logprobs.readings import (
    Readings,
    from_labels,
    from_likelihoods,
    from_tokens,
)

__all__ = ["Readings", "from_labels", "from_likelihoods", "from_tokens"]
