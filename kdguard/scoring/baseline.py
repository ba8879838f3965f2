"""What honest traffic looks like to one provider: learnt once, ranked against ever after."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kdguard.errors import BaselineError
from kdguard.features.session import Rows
from kdguard.features.text import Codes, mix
from kdguard.scan import CHECKPOINTS, Trajectories, e_value_columns, resolutions
from kdguard.scoring.facts import UNVERIFIED, Facts
from kdguard.scoring.groups.learn import learn_groups
from kdguard.scoring.groups.reference import GroupReference
from kdguard.scoring.passes import accounts_seen, sample_prompts
from kdguard.scoring.pipeline import Profiles, fold, in_order
from kdguard.scoring.ranking import DESIGN_ALPHA, Panel, first_looks, suprema, volume_bins
from kdguard.scoring.spill import Spill
from kdguard.scoring.standardise import FEWEST_REFERENCES, Scale, contributions, fit_scale, fuse
from kdguard.scoring.suite import Suite
from kdguard.stats.conformal import references_needed

MOST_REFERENCE_OWNERS = 4_000
MOST_CALIBRATION_OWNERS = 20_000
FIT_ROWS_PER_ACCOUNT = 300
SMALLEST_STRATUM = 199
POOLED = "pooled"
TYPICAL = 0.9


@dataclass(frozen=True)
class Kind:
    """Reference accounts of one kind: a stratum, or several small strata together.

    Attributes:
        name: Name shown to people.
        scale: Standardisation of detector outputs.
        typical: 90th percentile of teaching accounts' largest fused scores: puts kinds on one scale.
        panel: Calibration accounts to rank among.
    """

    name: str
    scale: Scale
    typical: float
    panel: Panel


@dataclass(frozen=True)
class Baseline:
    """Everything `score` needs to know about honest traffic.

    Attributes:
        suite: Detectors with learnt parameters.
        kinds: Reference kinds by name; `POOLED` holds everybody.
        kind_of: Kind of each stratum; a stratum not listed belongs to `UNVERIFIED`'s.
        owners: Owners used, reference and calibration together.
        shipped: It came with kdguard and not from the provider's own traffic.
        contributions: Quantiles of the reference's contributions, for reports, shape (7, k).
        digest: SHA-256 of the saved files; empty before it is saved.
        groups: Groups that form among honest owners; None = groups cannot be tested.
    """

    suite: Suite
    kinds: Mapping[str, Kind]
    kind_of: Mapping[str, str]
    owners: int
    shipped: bool = False
    contributions: npt.NDArray[np.float64] | None = None
    digest: str = ""
    groups: GroupReference | None = None

    def candidates(self, stratum: str) -> tuple[str, ...]:
        """Kinds an account may belong to: its own where verified, otherwise any."""
        if stratum in self.kind_of and stratum != UNVERIFIED:
            return (self.kind_of[stratum],)
        return tuple(dict.fromkeys(self.kind_of.values()))

    def own_kind(self, stratum: str) -> str:
        """Kind of a stratum."""
        return self.kind_of.get(stratum, self.kind_of[UNVERIFIED])


HIDDEN_KIND = 3.0
"""An unverified account is ranked among unverified accounts; whatever kind of customer it really is, its chance of a
false alarm stays below three times alpha."""
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def learn_baseline(
    exchanges: Iterable[pa.RecordBatch],
    suite: Suite,
    *,
    accounts: pa.Table | None = None,
    exclude: Collection[str] = (),
    teachers: Collection[str] | None = None,
    seed: int = 0,
    workers: int = 1,
) -> Baseline:
    """Learn what honest traffic looks like.

    Owners are split once, by keyed hash: a sixth teaches the classifier its prompts, a sixth the detectors
    and scales (on prompts the classifier has not seen), and the rest calibrates with one account an owner. The log
    is read three times, so it must be re-readable.

    Args:
        exchanges: The provider's own traffic, believed mostly honest; iterated over three times.
        suite: Detectors to teach.
        accounts: Accounts table in the schema `kdguard.exchanges.schema.ACCOUNTS`.
        exclude: Account ids known to be thieves.
        teachers: Account ids that teach; by default those of a third of the owners.
        seed: Key of the split.
        workers: Processes.

    Raises:
        BaselineError: There are too few owners for any claim.
    """
    facts = accounts_seen(exchanges, accounts, exclude)
    split = _Split.of(facts, seed, teachers)
    prompts = sample_prompts(exchanges, facts.account_id[split.prompting], seed)
    if not prompts:
        raise BaselineError(
            "a baseline needs prompts of honest accounts, and this log has none that can be used; "
            "run `kdguard inspect` on it"
        )
    suite = suite.fit_prompts(prompts, seed=seed)
    with Spill() as taught, Spill() as ranked, Spill() as colleagues:
        _encode(exchanges, suite, facts, split, taught, ranked, colleagues)
        suite = suite.fit_rows(_teaching_rows(taught, facts.subject[split.teaching & ~split.prompting]))
        reference = _without(fold(taught, suite.detectors, workers), facts.subject[split.prompting])
        references = fold(ranked, suite.detectors, workers)
        baseline = calibrate(suite, facts, reference, references)
        if not suite.ties:
            return baseline
        colleagues.seal()
        groups = learn_groups(
            suite,
            baseline.kinds[POOLED],
            facts,
            split.teaching,
            split.ranked_owners,
            [taught.folder],
            [ranked.folder, colleagues.folder],
            prompted=split.prompting,
            seed=seed,
        )
    return replace(baseline, groups=groups)


@dataclass(frozen=True, slots=True)
class _Split:
    """What each account is for, masks over accounts, shape (m,).

    Attributes:
        teaching: It teaches; no owner teaches and calibrates.
        prompting: Of those, half of the owners, whose prompts teach the request classifier.
        calibration: Others are ranked among it; one account an owner.
        ranked_owners: All accounts of those owners.
    """

    teaching: npt.NDArray[np.bool_]
    prompting: npt.NDArray[np.bool_]
    calibration: npt.NDArray[np.bool_]
    ranked_owners: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, facts: Facts, seed: int, teachers: Collection[str] | None) -> _Split:
        """Split owners once, by keyed hash."""
        teaching, calibration = split_owners(facts, seed, teachers)
        prompting = teaching & (mix(facts.owner ^ np.uint64(seed)) % np.uint64(2) != 0)
        return cls(teaching, prompting, calibration, np.isin(facts.owner, facts.owner[calibration]))


def _encode(
    exchanges: Iterable[pa.RecordBatch],
    suite: Suite,
    facts: Facts,
    split: _Split,
    taught: Spill,
    ranked: Spill,
    colleagues: Spill,
) -> None:
    """Write signals of teaching accounts, of calibration accounts, and of the latter's owners' other accounts."""
    wanted = pa.array(facts.account_id[split.teaching | split.ranked_owners], pa.string())
    for batch in exchanges:
        signals = suite.encoder.encode(batch.filter(pc.is_in(batch.column("account_id"), wanted)))
        subject = signals.column("subject").to_numpy()
        teaches = np.isin(subject, facts.subject[split.teaching])
        ranks = np.isin(subject, facts.subject[split.calibration])
        taught.write(signals.filter(pa.array(teaches)))
        ranked.write(signals.filter(pa.array(ranks)))
        colleagues.write(signals.filter(pa.array(~teaches & ~ranks)))


def split_owners(
    facts: Facts, seed: int, teachers: Collection[str] | None = None
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Choose teaching accounts and one calibration account of every other owner.

    Returns:
        Two masks over accounts, shape (m,) each; no owner is in both.
    """
    key = np.uint64(mix(np.array([seed + 1], np.uint64))[0])
    owner_draw = mix(facts.owner ^ key)
    account_draw = mix(facts.subject ^ key)
    teach = owner_draw % np.uint64(3) == 0
    if teachers is not None:
        teach = np.isin(
            facts.owner, facts.owner[np.isin(facts.account_id, np.array(list(teachers), dtype=object))]
        )
    order = np.lexsort((account_draw, owner_draw))
    first = np.ones(len(order), np.bool_)
    first[1:] = facts.owner[order][1:] != facts.owner[order][:-1]
    one_each = np.zeros(len(order), np.bool_)
    one_each[order[first]] = True
    calibration = ~teach & one_each
    teaching = teach & _among_first(owner_draw, teach, MOST_REFERENCE_OWNERS)
    calibration &= _among_first(owner_draw, calibration, MOST_CALIBRATION_OWNERS)
    return teaching, calibration


def _among_first(draw: Codes, allowed: npt.NDArray[np.bool_], most: int) -> npt.NDArray[np.bool_]:
    owners = np.unique(draw[allowed])
    return np.ones(len(draw), np.bool_) if len(owners) <= most else draw <= owners[most - 1]


def calibrate(suite: Suite, facts: Facts, reference: Profiles, references: Profiles) -> Baseline:
    """Turn folded reference and calibration accounts into scales and panels.

    Args:
        suite: Detectors with learnt parameters.
        facts: Facts of all accounts.
        reference: Teaching accounts; they set the scales.
        references: Calibration accounts, one an owner; others are ranked among them.

    Raises:
        BaselineError: Fewer owners than the floor of one percent needs.
    """
    usable = len(np.unique(references.trajectories.subject))
    taught = len(np.unique(reference.trajectories.subject))
    if usable < references_needed(DESIGN_ALPHA) or taught < FEWEST_REFERENCES:
        raise BaselineError(
            f"a baseline needs at least {references_needed(DESIGN_ALPHA)} calibration owners and "
            f"{FEWEST_REFERENCES} teaching accounts with {CHECKPOINTS[0]} requests, got {usable} and {taught}; "
            "add more days of traffic"
        )
    stratum = facts.stratum[np.searchsorted(facts.subject, references.subject)]
    owner = facts.owner[np.searchsorted(facts.subject, references.subject)]
    teaching_stratum = facts.stratum[np.searchsorted(facts.subject, reference.subject)]
    reached = np.isin(references.subject, references.trajectories.subject)
    kind_of = _kinds(stratum[reached])
    weights = suite.weight_vector
    resolution = resolutions(suite.detectors)
    direct = e_value_columns(suite.detectors)
    pooled_scale = fit_scale(reference.trajectories, resolution=resolution, direct=direct)
    kinds: dict[str, Kind] = {}
    for name in (POOLED, *dict.fromkeys(kind_of.values())):
        strata = [key for key, value in kind_of.items() if value == name]
        teach = reference.trajectories
        rank_rows = references.trajectories
        if name != POOLED:
            teach = _only(teach, reference.subject[np.isin(teaching_stratum, strata)])
            rank_rows = _only(rank_rows, references.subject[np.isin(stratum, strata)])
        scale = pooled_scale
        if name != POOLED:
            scale = fit_scale(teach, pooled_scale, resolution=resolution, direct=direct)
        values = fuse(scale.rarity(rank_rows), weights)
        panel = _panel_of(values, rank_rows, references.subject, owner)
        usual = _typical(fuse(scale.rarity(teach), weights), teach.subject)
        if name != POOLED and len(np.unique(teach.subject)) < FEWEST_REFERENCES:
            usual = kinds[POOLED].typical
        kinds[name] = Kind(name, scale, usual, panel)
    shares = contributions(pooled_scale.rarity(reference.trajectories), weights)
    return Baseline(
        suite=suite,
        kinds=_with_pooled_panel(kinds, kind_of, references, stratum, owner, weights),
        kind_of=kind_of,
        owners=len(np.unique(owner)) + len(np.unique(facts.owner[np.isin(facts.subject, reference.subject)])),
        contributions=np.quantile(shares, QUANTILES, axis=0),
    )


def _kinds(stratum: npt.NDArray[np.object_]) -> dict[str, str]:
    """Give each stratum with enough references a kind of its own, and the small ones one together."""
    names, counts = np.unique(stratum.astype(str), return_counts=True)
    large = [str(name) for name, count in zip(names, counts, strict=True) if count >= SMALLEST_STRATUM]
    small = [str(name) for name in names if str(name) not in large]
    together = sum(int(count) for name, count in zip(names, counts, strict=True) if str(name) in small)
    kind_of = {name: name for name in large}
    if small:
        home = "+".join(small) if together >= references_needed(DESIGN_ALPHA) or not large else large[-1]
        kind_of |= dict.fromkeys(small, home)
    if UNVERIFIED not in kind_of:
        kind_of[UNVERIFIED] = next(iter(kind_of.values()))
    return kind_of


def _typical(values: npt.NDArray[np.float64], subject: Codes) -> float:
    """90th percentile of accounts' largest values."""
    present, account = np.unique(subject, return_inverse=True)
    largest = np.full(len(present), -np.inf)
    np.maximum.at(largest, account, values)
    return float(np.quantile(largest, TYPICAL)) if len(present) else 0.0


def fused_values(
    kind: Kind, trajectories: Trajectories, weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Log10 of the mean of bets against a kind's teaching accounts, shape (t,).

    A mean of bets is on one scale at every number of requests, so that no checkpoint rules the supremum.
    """
    return fuse(kind.scale.rarity(trajectories), weights)


def _panel_of(
    values: npt.NDArray[np.float64], trajectories: Trajectories, subject: Codes, owner: Codes
) -> Panel:
    present, account = np.unique(trajectories.subject, return_inverse=True)
    last = np.zeros(len(present), np.int64)
    np.maximum.at(last, account, trajectories.checkpoint)
    bins = volume_bins(last)
    best = suprema(values, account, trajectories.checkpoint, len(present), bins)
    early = first_looks(values, account, trajectories.checkpoint, len(present))
    return Panel(bins, best, early, owner[np.searchsorted(subject, present)])


def _with_pooled_panel(
    kinds: dict[str, Kind],
    kind_of: Mapping[str, str],
    references: Profiles,
    stratum: npt.NDArray[np.object_],
    owner: Codes,
    weights: npt.NDArray[np.float64],
) -> dict[str, Kind]:
    """Rank pooled p-values on scores standardised by each account's own kind."""
    rows = references.trajectories
    values = np.empty(len(rows.subject))
    kind = np.array([kind_of[str(name)] for name in stratum], dtype=object)
    row_kind = kind[np.searchsorted(references.subject, rows.subject)]
    for name in set(kind_of.values()):
        mine = row_kind == name
        if mine.any():
            values[mine] = fused_values(kinds[name], rows.take(mine), weights) - kinds[name].typical
    panel = _panel_of(values, rows, references.subject, owner)
    return kinds | {POOLED: replace(kinds[POOLED], panel=panel)}


def _only(trajectories: Trajectories, subjects: Codes) -> Trajectories:
    return trajectories.take(np.isin(trajectories.subject, subjects))


def _without(profiles: Profiles, subjects: Codes) -> Profiles:
    """Leave out accounts whose own prompts taught the classifier: it flatters them."""
    keep = ~np.isin(profiles.subject, subjects)
    rest = {field.name: getattr(profiles, field.name)[keep] for field in fields(Profiles)[:-1]}
    rows = profiles.trajectories
    return Profiles(**rest, trajectories=rows.take(~np.isin(rows.subject, subjects)))


def _teaching_rows(spill: Spill, subjects: Codes) -> Rows:
    parts = [
        rows.take((rows.ordinal < FIT_ROWS_PER_ACCOUNT) & np.isin(rows.subject, subjects))
        for rows in in_order(spill)
    ]
    if not parts:
        raise BaselineError("a baseline needs traffic of at least one teaching account, got none")
    names = Rows.__dataclass_fields__
    return Rows(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
