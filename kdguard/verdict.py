"""What kdguard concludes about accounts and groups, in the form that reports, commands and services share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from kdguard.evidence import Evidence

VERDICT_SCHEMA_VERSION = 1


class Decision(StrEnum):
    """What may be done about a subject.

    Attributes:
        FLAG: p_value <= alpha and selected at the false discovery rate, under an active guarantee.
        REVIEW: p_value <= alpha, or part of a selected cluster; a person should look.
        CLEAR: Not distinguishable from the benign reference. Never means "clean".
        ABSTAIN: No p-value could be computed; the reason is given.
    """

    FLAG = "flag"
    REVIEW = "review"
    CLEAR = "clear"
    ABSTAIN = "abstain"


class GuaranteeState(StrEnum):
    """Whether the false-alarm bound holds for this run.

    Attributes:
        ACTIVE: The baseline is the provider's own and no drift was found.
        SUSPENDED: Drift was found in the bulk of verified accounts; a flag becomes a review.
        UNCALIBRATED: The shipped baseline served; nothing goes beyond a review.
    """

    ACTIVE = "active"
    SUSPENDED = "suspended"
    UNCALIBRATED = "uncalibrated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """The first moment at which the running p-value was at most alpha.

    Attributes:
        request: Ordinal of the request, from 1.
        time: RFC 3339 time of that request, or None where the log has no time.
    """

    request: int
    time: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One line of `kdguard score --json`: what is concluded about one account or one cluster.

    Attributes:
        kind: "account" or "cluster".
        id: Account id or cluster id.
        members: Account ids of a cluster; empty for an account.
        decision: What may be done.
        p_value: Rank within stratum and volume bin, corrected for every look; None = abstained.
        p_pooled: Stratum-standardised score ranked against the whole calibration set; BH uses it.
        p_floor: Smallest p_value that the references can express.
        score: Fused score, in reference standard deviations above the stratum median.
        requests: Exchanges scored.
        first_alarm: When it would have been raised under continuous monitoring.
        stratum: Strata compared against, the deciding one first, joined by "|".
        calibration_size: References behind the deciding p_value.
        guarantee_state: Whether the false-alarm bound holds.
        permitted: A contract permits training on outputs: reported, never flagged.
        abstain_reason: Why there is no p_value.
        clusters: Ids of the clusters the account belongs to.
        evidence: Detectors' contributions, largest first.
        techniques: MITRE ATLAS and OWASP ids.
        baseline_digest: SHA-256 of the baseline.
    """

    kind: str
    id: str
    members: tuple[str, ...] = ()
    decision: Decision
    p_value: float | None
    p_pooled: float | None
    p_floor: float | None
    score: float | None
    requests: int
    first_alarm: Alarm | None = None
    stratum: str
    calibration_size: int
    guarantee_state: GuaranteeState
    permitted: bool = False
    abstain_reason: str | None = None
    clusters: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    techniques: tuple[str, ...] = ()
    baseline_digest: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the promised JSON form of one line."""
        return {
            "subject": {"kind": self.kind, "id": self.id, "members": list(self.members)},
            "decision": self.decision.value,
            "p_value": self.p_value,
            "p_pooled": self.p_pooled,
            "p_floor": self.p_floor,
            "score": self.score,
            "requests": self.requests,
            "first_alarm": None
            if self.first_alarm is None
            else {"request": self.first_alarm.request, "time": self.first_alarm.time},
            "stratum": self.stratum,
            "calibration_size": self.calibration_size,
            "guarantee_state": self.guarantee_state.value,
            "permitted": self.permitted,
            "abstain_reason": self.abstain_reason,
            "clusters": list(self.clusters),
            "evidence": [_evidence_json(item) for item in self.evidence],
            "techniques": list(self.techniques),
            "baseline_digest": self.baseline_digest,
        }


def _evidence_json(item: Evidence) -> dict[str, Any]:
    return {
        "detector": item.detector,
        "version": item.version,
        "guarantee": item.guarantee.value,
        "score": item.score,
        "p_value": item.p_value,
        "contribution": item.contribution,
        "n": item.n,
        "summary": item.summary,
        "exhibits": list(item.exhibits),
    }


class Verdicts(Sequence[Verdict]):
    """Verdicts that are made when they are looked at: a million of them at once would take most of a gigabyte.

    Args:
        first: Verdicts that come first, made already.
        count: Verdicts that come after them.
        make: Makes one of those by its place among them.
    """

    def __init__(self, first: Sequence[Verdict], count: int, make: Callable[[int], Verdict]) -> None:
        self._first, self._count, self._make = tuple(first), count, make

    def __len__(self) -> int:
        return len(self._first) + self._count

    @overload
    def __getitem__(self, at: int) -> Verdict: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Verdict, ...]: ...
    def __getitem__(self, at: int | slice) -> Verdict | tuple[Verdict, ...]:
        if isinstance(at, slice):
            return tuple(self[place] for place in range(len(self))[at])
        place = range(len(self))[at]
        return self._first[place] if place < len(self._first) else self._make(place - len(self._first))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Everything one scoring run concludes; reports are made from this and nothing else.

    Attributes:
        verdicts: Clusters and then accounts, most suspicious first.
        summary: The closing `{"summary": ...}` line.
        plots: Numbers behind the figures of a report, keyed by figure; see `kdguard.report`.
    """

    verdicts: Sequence[Verdict]
    summary: Mapping[str, Any]
    plots: Mapping[str, Any]


def select_owners(
    p_values: Sequence[float], owners: Sequence[str] | npt.NDArray[np.uint64], rate: float
) -> npt.NDArray[np.bool_]:
    """Benjamini-Hochberg over owners: one p-value an owner, the Bonferroni-adjusted smallest of its accounts.

    Args:
        p_values: p-values of accounts, shape (m,); NaN = abstained, never selected.
        owners: Name or hash of each account's owner, shape (m,).
        rate: False discovery rate aimed at, in (0, 1).

    Returns:
        Which accounts are selected, shape (m,): an account of a selected owner whose own adjusted p-value
        lies under the threshold that selected the owner.

    References:
        Benjamini and Hochberg (1995), JRSS B 57:289-300.
    """
    values = np.asarray(p_values, dtype=np.float64)
    selected = np.zeros(len(values), dtype=np.bool_)
    usable = ~np.isnan(values)
    if not usable.any():
        return selected
    _, code = np.unique(np.asarray(owners)[usable], return_inverse=True)
    size = np.bincount(code)
    adjusted = np.minimum(values[usable] * size[code], 1.0)
    smallest = np.ones(len(size))
    np.minimum.at(smallest, code, adjusted)
    ordered = np.sort(smallest)
    passing = ordered <= rate * np.arange(1, len(ordered) + 1) / len(ordered)
    if passing.any():
        threshold = ordered[np.flatnonzero(passing)[-1]]
        selected[usable] = adjusted <= threshold
    return selected


def fewest_selected(p_floor: float, owners: int, rate: float) -> int | None:
    """Fewest owners, all at the smallest p-value possible, that `select_owners` selects together.

    Args:
        p_floor: Smallest p-value that the references can express.
        owners: Owners that are ranked.
        rate: False discovery rate aimed at, in (0, 1).

    Returns:
        None where not even all of them together would be selected.
    """
    fewest = max(1, int(np.ceil(p_floor * owners / rate - 1e-9)))
    return fewest if fewest <= owners else None
