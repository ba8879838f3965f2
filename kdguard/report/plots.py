"""What `Findings.plots` may hold: the numbers behind each figure of a report, as plain JSON values.

Every key is optional; a report without one says in a sentence why the figure is missing. Whoever fills them
may give lists, tuples or numpy arrays, and plain dictionaries: the types below are for readers and checkers.
Attribute values (cards, addresses) never appear, only what kind they are and a salted hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict, cast

QUANTILE_LEVELS = (0.01, 0.05, 0.25, 0.50, 0.75, 0.95, 0.99)
MAX_POINTS = 1_000  # scored accounts drawn in the score distribution
MAX_CURVE = 200  # points of one calibration curve
MAX_TIMELINES = 50  # accounts drawn in the activity timeline
MAX_NODES = 150  # accounts drawn in one cluster graph


class StratumScores(TypedDict):
    """Benign references of one stratum, as a histogram of their running-supremum scores.

    `edges` are k+1 increasing scores and `counts` k counts. `threshold` is the score at which p reaches
    alpha, None where the references are too few. `volume` words the volume bin ("20 to 79 requests").
    """

    stratum: str
    volume: NotRequired[str]
    edges: Sequence[float]
    counts: Sequence[int]
    threshold: NotRequired[float | None]


class AccountScore(TypedDict):
    """One scored account; `stratum` is the one it was ranked in, spelt as in `StratumScores`."""

    id: str
    score: float
    stratum: str
    decision: str


class ScoreDistribution(TypedDict):
    """`plots["score_distribution"]`: strata by size, accounts by score, both descending.

    At most `MAX_POINTS` accounts; `left_out` counts the others.
    """

    strata: Sequence[StratumScores]
    accounts: Sequence[AccountScore]
    left_out: NotRequired[int]


class CalibrationCurve(TypedDict):
    """Empirical distribution of the scored accounts' p-values in one stratum.

    `p` ascending and `cdf` (share of accounts with a p-value this small or smaller), at most `MAX_CURVE`
    points thinned from `accounts`. `drift` is the monitor's finding on the bulk (p > .1) of verified
    accounts, with its `drift_p` if one was computed.
    """

    stratum: str
    p: Sequence[float]
    cdf: Sequence[float]
    accounts: int
    drift: Literal["stable", "drifting", "too_few"]
    drift_p: NotRequired[float | None]


class Calibration(TypedDict):
    """`plots["calibration"]`: strata by size, descending."""

    strata: Sequence[CalibrationCurve]


class DetectorReference(TypedDict):
    """Contributions of one detector among benign references, at `QUANTILE_LEVELS`, ascending.

    `stratum` None or absent stands for all strata together; where both exist, the account's own is shown.
    `title` names the detector in words ("Share of requests that elicit reasoning").
    """

    detector: str
    quantiles: Sequence[float]
    stratum: NotRequired[str | None]
    title: NotRequired[str]


class Contributions(TypedDict):
    """`plots["contributions"]`."""

    detectors: Sequence[DetectorReference]


class TimelineRow(TypedDict):
    """Requests of one account per bin; `suspicious` counts those the technique model thinks suspicious.

    `suspicious` is None where the model did not run; `first_alarm` is an RFC 3339 time.
    """

    account: str
    requests: Sequence[int]
    suspicious: NotRequired[Sequence[int] | None]
    first_alarm: NotRequired[str | None]


class TimelineEvent(TypedDict):
    """Something that happened to everybody: a model release, an outage, a change of terms."""

    time: str
    label: str


class Timeline(TypedDict):
    """`plots["timeline"]`: at most `MAX_TIMELINES` accounts, all on the same bins.

    `start` is the RFC 3339 time (UTC) at which the first bin begins; bins are a day or an hour wide.
    """

    unit: Literal["day", "hour"]
    start: str
    accounts: Sequence[TimelineRow]
    events: NotRequired[Sequence[TimelineEvent]]


class ClusterNode(TypedDict):
    """An account of a cluster."""

    id: str
    requests: NotRequired[int]
    decision: NotRequired[str]


class SharedAttribute(TypedDict):
    """One value shared by several accounts: a hyperedge, so that 300 accounts on a card cost 300 numbers.

    `kind` in words ("payment instrument", "TLS fingerprint"), `hash` the salted hash of the value (its first
    characters are shown), `weight` the rarity in bits among benign owners, `members` indices into `nodes`.
    """

    kind: str
    hash: str
    weight: float
    members: Sequence[int]


class ClusterEdge(TypedDict):
    """A tie between two accounts that is no shared value: synchrony, complementary shards, succession."""

    source: int
    target: int
    kind: str
    weight: float


class ClusterGraph(TypedDict):
    """One cluster; `id` as in its verdict. Heaviest `attributes` and `edges` first."""

    id: str
    nodes: Sequence[ClusterNode]
    attributes: NotRequired[Sequence[SharedAttribute]]
    edges: NotRequired[Sequence[ClusterEdge]]


class InputFile(TypedDict):
    """A file the verdicts rest on; `name` without its folder."""

    name: str
    sha256: str
    bytes: int
    format: str


class Inputs(TypedDict, total=False):
    """`plots["inputs"]`: what another machine needs to reach the same bytes.

    `created` is an RFC 3339 time given by the caller (a report has no clock); `command` the command line
    that made this report; `period` the first and last time in the log; `parameters` and `versions` are flat.
    """

    files: Sequence[InputFile]
    parameters: Mapping[str, Any]
    versions: Mapping[str, str]
    baseline_digest: str
    created: str
    command: str
    period: Sequence[str]


class Plots(TypedDict, total=False):
    """The whole of `Findings.plots`. `missing` says why a figure is absent, keyed by figure."""

    score_distribution: ScoreDistribution
    calibration: Calibration
    contributions: Contributions
    timeline: Timeline
    cluster_graph: Sequence[ClusterGraph]
    inputs: Inputs
    missing: Mapping[str, str]


_WHY_MISSING = {
    "score_distribution": "The baseline carries no reference scores to draw, so no distribution is shown.",
    "calibration": "No stratum holds enough scored accounts with a p-value to compare with a uniform spread.",
    "contributions": "The baseline carries no benign contributions, so evidence is shown without its range.",
    "timeline": "The log has no usable times, so activity cannot be laid out in time.",
    "cluster_graph": "No group of accounts was tested, so there are no shared attributes to draw.",
    "inputs": "The caller gave no account of the inputs; this report cannot be re-made from what it says.",
}


def as_plots(values: Mapping[str, Any]) -> Plots:
    """View `Findings.plots` through its documented type."""
    return cast(Plots, values)


def why_missing(plots: Plots, figure: str) -> str:
    """Return the sentence shown in place of a figure: the caller's own reason, else the usual one."""
    given = plots.get("missing", {}).get(figure)
    return given or _WHY_MISSING[figure]
