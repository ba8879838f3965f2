"""X1: cards, addresses, client programs and keys that unrelated owners do not share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.detectors.query_patterns.coordination import shared_values
from kdguard.scoring.groups.ties import Pairs, Scene

_KINDS = ("payment", "key", "email_domain", "user_agent", "tls")
_NETWORK = ("network",)


@dataclass(frozen=True)
class Metadata:
    """Shared payment instruments, keys, /24 networks, mail domains, user agents and TLS fingerprints.

    A coincidence weighs what it is worth among honest owners, after record linkage (Fellegi and Sunter 1969,
    JASA 64:1183-1210): a common value next to nothing, so gateways, cloud exits and popular clients tie nobody.
    Client programs and TLS fingerprints say nearly the same thing and count once.
    """

    name: str = "metadata"
    words: str = ""

    def propose(self, scene: Scene) -> Pairs:
        """Owners of one rare value."""
        return shared_values.propose(scene, (*_KINDS, *_NETWORK))

    def weigh(self, scene: Scene, pairs: Pairs) -> npt.NDArray[np.float64]:
        """Sum over kinds of the rarest value shared, and of all networks shared: pools are used over and over."""
        by_kind = shared_values.weigh(scene, pairs, _KINDS)
        networks = shared_values.weigh(scene, pairs, _NETWORK, add=True)[:, 0]
        client = np.maximum(by_kind[:, 3], by_kind[:, 4])
        return by_kind[:, :3].sum(axis=1) + client + networks
