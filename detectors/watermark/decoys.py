"""Decoy keys: how keys that marked nothing score on the same tokens, and whether the exact tail can be believed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from kdguard.detectors.watermark.schemes.scheme import Floats

FEWEST_BACKING: Final = 199
_SPREAD: Final = 0.1
_SHIFT: Final = 0.2
_ERRORS: Final = 3.0  # standard errors that few decoys are given on top


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoys:
    """How keys that marked nothing score on the same tokens.

    Attributes:
        count: Decoy keys, M.
        p_value: (1 + decoys that score at least as high) / (M + 1); holds whatever the text looks like.
        z_mean: Mean of the decoys' z; 0 where the tail is right.
        z_sd: Their standard deviation; 1 where the tail is right.
    """

    count: int
    p_value: float
    z_mean: float
    z_sd: float

    @property
    def p_floor(self) -> float:
        """Least p that so many decoys can tell."""
        return 1 / (self.count + 1)

    @property
    def distrust(self) -> str | None:
        """Why the exact tail cannot be relied on, or None."""
        if self.count < FEWEST_BACKING:
            return f"{self.count} decoy keys are too few to back it, at least {FEWEST_BACKING} are needed"
        spread = max(_SPREAD, _ERRORS / (2 * self.count) ** 0.5)
        shift = max(_SHIFT, _ERRORS / self.count**0.5)
        if abs(self.z_sd - 1) > spread or abs(self.z_mean) > shift:
            return f"decoy keys score with mean {self.z_mean:+.2f} and spread {self.z_sd:.2f} in place of 0 and 1"
        return None

    @classmethod
    def of(cls, others: Floats, own: float) -> Self:
        """From the decoys' z, shape (M,), and the key's own; ties count against us."""
        # equal totals may differ in the last digit
        hits = int((others >= own - 1e-9 * (1 + abs(own))).sum())
        return cls(
            count=len(others),
            p_value=(1 + hits) / (len(others) + 1),
            z_mean=float(others.mean()),
            z_sd=float(others.std()),
        )

    def to_json(self) -> dict[str, Any]:
        """As part of a line of `--json`."""
        return asdict(self) | {"distrust": self.distrust}
