"""A plain rate limit: the most requests that an account sent within one hour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kdguard.simulate.evaluation.rivalry import Conversations

Floats = npt.NDArray[np.float64]

HOUR_US = 3_600_000_000
LIMIT = 100


@dataclass(frozen=True)
class RateLimit:
    """Requests in the busiest hour; the alarm is at 100, the count of a published SIEM rule.

    References:
        Elastic prebuilt rule "Potential Azure OpenAI Model Theft" (count >= 100); OWASP LLM10:2025.
    """

    name: str = "rate limit"
    source: str = "Elastic prebuilt rule, count >= 100; here requests in the busiest hour"

    @property
    def thresholds(self) -> Mapping[str, float]:
        """A hundred an hour."""
        return {"published, 100 an hour": float(LIMIT)}

    def fit(self, benign: Conversations, requests: int, seed: int) -> RateLimit:
        """Nothing to learn."""
        del benign, requests, seed
        return self

    def score(self, accounts: Conversations) -> Floats:
        """Requests in the busiest hour, shape (m,); NaN without times."""
        return np.array([busiest_hour(times) for times in account_times(accounts)])


def busiest_hour(time_us: npt.NDArray[np.float64]) -> float:
    """Most requests within any hour; NaN without times."""
    known = np.sort(time_us[~np.isnan(time_us)])
    if not len(known):
        return np.nan
    return float(np.max(np.searchsorted(known, known + HOUR_US, side="left") - np.arange(len(known))))


def account_times(accounts: Conversations) -> list[npt.NDArray[np.float64]]:
    """Microseconds of each account's requests; NaN = not known."""
    column = accounts.table.column("time").cast(pa.int64()).to_numpy(zero_copy_only=False).astype(np.float64)
    return np.split(column, accounts.indptr[1:-1])
