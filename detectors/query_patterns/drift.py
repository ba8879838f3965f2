"""D6: traffic unlike any honest account, or unlike the account's own past."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kdguard.features.embedding import SIGNS, unpack
from kdguard.features.session import Rows
from kdguard.scan import Column, Detector, Floats, State

_EARLY = 20
_PROTOTYPES = 48
_FEWEST = 5


@dataclass(frozen=True)
class Drift(Detector):
    """Distance of an account's mean embedding from the nearest prototype, and from its own first requests.

    Prototypes are k-means centres of reference accounts' means, so an honest narrow customer has a home (reference,
    D6). Distances are squared maximum mean discrepancies under the angular kernel, less their bias
    (Gretton et al. 2012, JMLR 13:723-773, eq. 3).

    Attributes:
        prototypes: Mean sign vectors, shape (k, 128), float64.
    """

    prototypes: npt.NDArray[np.float64] | None = None
    name: ClassVar[str] = "drift"
    outputs: ClassVar[tuple[str, ...]] = ("from_others", "from_own_past")
    resolution: ClassVar[tuple[float, ...]] = (0.01, 0.01)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Sign sums of the first requests and of the rest, which light accounts do not have."""
        return (
            Column("n", "int32"),
            Column("early_n", "int32"),
            Column("early", "int32", SIGNS),
            Column("late", "int32", SIGNS),
        )

    def observe(self, rows: Rows) -> dict[str, npt.NDArray[Any]]:
        """Unpack each row's signs."""
        signs = unpack(rows.signs) * rows.has_text[:, None]
        early = rows.ordinal < _EARLY
        return {
            "n": rows.has_text.astype(np.int32),
            "early_n": (rows.has_text & early).astype(np.int32),
            "early": signs * early[:, None],
            "late": signs * ~early[:, None],
        }

    def fit(self, rows: Rows) -> Drift:
        """Place prototypes at the reference accounts' means."""
        state = self.update(self.create(), rows)
        count = state.columns["n"][:, 0]
        sums = state.columns["early"] + state.columns["late"]
        means = sums[count >= 10] / count[count >= 10, None]
        if len(means) < 2:
            return self
        from sklearn.cluster import KMeans  # a second and 70 MiB that only learning needs

        clusters = KMeans(min(_PROTOTYPES, len(means)), n_init=2, random_state=0).fit(means)
        return Drift(np.asarray(clusters.cluster_centers_, np.float64))

    def scores(self, state: State) -> Floats:
        """Return the two discrepancies; NaN where there are too few requests."""
        count = state.columns["n"][:, 0].astype(np.float64)
        sums = (state.columns["early"] + state.columns["late"]).astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = sums / count[:, None]
            noise = (SIGNS - np.square(mean).sum(axis=1)) / (count - 1) / SIGNS
            if self.prototypes is None:
                others = np.full(len(state), np.nan)
            else:
                # Row-wise sums, not a matrix product: BLAS rounds differently for different numbers of subjects.
                gaps = np.min([np.square(mean - one).sum(axis=1) for one in self.prototypes], axis=0)
                others = gaps / SIGNS - noise
            early_n = state.columns["early_n"][:, 0].astype(np.float64)
            late_n = count - early_n
            early = state.columns["early"] / early_n[:, None]
            late = state.columns["late"] / late_n[:, None]
            bias = (SIGNS - np.square(early).sum(axis=1)) / (early_n - 1) + (
                SIGNS - np.square(late).sum(axis=1)
            ) / (late_n - 1)
            own = (np.square(early - late).sum(axis=1) - bias) / SIGNS
        others = np.where(count >= _FEWEST, others, np.nan)
        own = np.where((early_n >= _FEWEST) & (late_n >= _FEWEST), own, np.nan)
        return np.stack([others, own], axis=1)

    def explain(self, output: str, score: float) -> str:
        """Say it in words."""
        if output == "from_others":
            return f"subjects lie far from every known kind of honest account (discrepancy {score:.3f})"
        return f"subjects changed since the account's first requests (discrepancy {score:.3f})"
