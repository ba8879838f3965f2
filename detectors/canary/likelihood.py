"""Canaries read from likelihoods: does a suspect find an account's replies likelier than replies nobody was given?

A small student seldom says a canary, yet finds it far likelier than any other. At every site the account's reply is
ranked among decoy replies that are fixed in public by what was committed to. For a key that the suspect never saw,
every rank is as likely as any other (ties count against us), and sites are independent: the null of their sum is exact.
Exposure of a secret as in Carlini et al. (2019), "The Secret Sharer", with a null in place of a threshold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdguard.detectors.canary.claims import committed_sites, exposure, marked_sites
from kdguard.detectors.canary.decoys import decoy_keys
from kdguard.detectors.canary.forms import REWRITTEN
from kdguard.detectors.canary.scoring import GRID, draw
from kdguard.errors import CanaryError
from kdguard.evidence import Evidence, Guarantee
from kdguard.ledger.canonical import canonical, sha256
from kdguard.ledger.derivation import KeyName
from kdguard.stats.multiplicity import holm
from kdguard.stats.sums import P_FLOOR, SumNull, Term, sum_null

DECOY_REPLIES = 199
"""Replies at each site that nobody was given."""

Reply = tuple[int, ...]
Likelihoods = Mapping[str, Sequence[Sequence[Any]]]
"""Site id -> rows (values of the fields, log-likelihood in nats, less that of a clean model where there is one)."""


def decoy_replies(
    epoch: str, parameters: Mapping[str, Any], sizes: Sequence[Sequence[int]]
) -> list[list[Reply]]:
    """Decoy replies of every site; the same for all accounts of an epoch.

    Args:
        epoch: Of the canaries.
        parameters: As committed.
        sizes: Sizes of the fields of each site.
    """
    flat = np.array([size for site in sizes for size in site], np.int64)
    keys = decoy_keys(KeyName("canary", "", epoch), parameters)[:DECOY_REPLIES]
    drawn = [_by_site(draw(key, flat), sizes) for key in keys]
    return [[replies[site] for replies in drawn] for site in range(len(sizes))]


def account_replies(key: bytes, sizes: Sequence[Sequence[int]]) -> list[Reply]:
    """What an account's key draws at every site."""
    return _by_site(draw(key, np.array([size for site in sizes for size in site], np.int64)), sizes)


def likely(
    statistics: Mapping[str, Any], parameters: Mapping[str, Any], keys: Mapping[KeyName, bytes]
) -> tuple[Evidence, ...]:
    """Name accounts by how likely a suspect finds their replies, Holm-adjusted over all that were marked.

    Args:
        statistics: `sites` (see `site_row`), `marked` (account -> number of its sites), `likelihoods` (see
            `Likelihoods`): all insertions of an account must be there, none may be left out.
        parameters: As committed: `accounts`, `sites_digest`, `epoch`.
        keys: The accounts' keys.
    """
    ranks = ranks_of(statistics, parameters, keys)
    raw = [p_of_ranks(own) for own in ranks]
    adjusted = holm(raw, int(parameters["accounts"]))
    return tuple(
        _evidence(name.account, own, p, float(q), parameters)
        for name, own, p, q in zip(keys, ranks, raw, adjusted, strict=True)
    )


def ranks_of(
    statistics: Mapping[str, Any], parameters: Mapping[str, Any], keys: Mapping[KeyName, bytes]
) -> list[list[int]]:
    """Ranks of each account's replies among the decoys, site by site. Arguments as for `likely`.

    Raises:
        CanaryError: The sites are not those that were committed to, or likelihoods are missing.
    """
    rows = [row.split(" ") for row in committed_sites(statistics, parameters)]
    sizes = [[int(size) for size in row[2:]] for row in rows]
    decoys = decoy_replies(str(parameters["epoch"]), parameters, sizes)
    known = {
        site: {tuple(values): float(likelihood) for values, likelihood in told}
        for site, told in statistics["likelihoods"].items()
    }
    found = []
    for key, count in marked_sites(statistics, keys):
        own = account_replies(key, sizes)
        places = [place for place in range(count) if rows[place][1] not in REWRITTEN]
        found.append([_rank(known, rows[place][0], own[place], decoys[place]) for place in places])
    return found


def needed_by(
    statistics: Mapping[str, Any], parameters: Mapping[str, Any], keys: Mapping[KeyName, bytes]
) -> dict[str, Any]:
    """The statistics with nothing in them that is another account's: decoys, and the replies of these keys."""
    rows = [row.split(" ") for row in committed_sites(statistics, parameters)]
    sizes = [[int(size) for size in row[2:]] for row in rows]
    decoys = decoy_replies(str(parameters["epoch"]), parameters, sizes)
    own = [account_replies(key, sizes) for key in keys.values()]
    wanted = {
        row[0]: {*decoys[place], *(replies[place] for replies in own)} for place, row in enumerate(rows)
    }
    told = {
        site: [row for row in likelihoods if tuple(row[0]) in wanted[site]]
        for site, likelihoods in statistics["likelihoods"].items()
    }
    marked = {name.account: statistics["marked"][name.account] for name in keys}
    return {**statistics, "likelihoods": told, "marked": marked}


def p_of_ranks(ranks: Sequence[int]) -> float:
    """Chance that ranks drawn at random, from 1 to `DECOY_REPLIES` + 1, are as high; 1 without any."""
    score = sum(_SCORES[rank - 1] for rank in ranks)
    return float(_null(len(ranks)).p_values([score])[0]) if ranks else 1.0


_SCORES = tuple(round(GRID * math.log((DECOY_REPLIES + 1) / rank)) for rank in range(1, DECOY_REPLIES + 2))
"""Score of each rank: quarters of a nat, so that a few sites that are known by heart count."""


def _null(sites: int) -> SumNull:
    values = sorted(set(_SCORES))
    chances = tuple(_SCORES.count(value) / len(_SCORES) for value in values)
    return sum_null([Term(tuple(values), chances)] * sites)


def _rank(known: Mapping[str, Mapping[Reply, float]], site: str, own: Reply, decoys: Sequence[Reply]) -> int:
    told = known.get(site, {})
    lacking = [reply for reply in (own, *decoys) if reply not in told]
    if lacking:
        raise CanaryError(
            f"likelihoods of site {site} must hold the account's reply and all {DECOY_REPLIES} decoys, "
            f"{len(lacking)} are missing; ask with 'kdguard canary ask' and this canaries file"
        )
    return 1 + sum(told[reply] >= told[own] for reply in decoys)


def _by_site(drawn: Any, sizes: Sequence[Sequence[int]]) -> list[Reply]:
    cuts = np.cumsum([len(site) for site in sizes])[:-1]
    return [tuple(part.tolist()) for part in np.split(drawn, cuts)]


def _evidence(
    account: str, ranks: Sequence[int], raw: float, adjusted: float, parameters: Mapping[str, Any]
) -> Evidence:
    first = sum(rank == 1 for rank in ranks)
    return Evidence(
        detector="canary.likelihood",
        version="1",
        subject=account,
        guarantee=Guarantee.RANDOMISED,
        score=exposure(raw),
        p_value=adjusted,
        p_floor=P_FLOOR,
        n=len(ranks),
        summary=(
            f"at {first} of {len(ranks)} canary sites the account's reply is likelier than all {DECOY_REPLIES} decoys: "
            f"exposure {exposure(raw):.1f} bits (p = {raw:.3g} alone, {adjusted:.3g} as claimed)"
        ),
        parameters_digest=sha256(canonical(dict(parameters))),
    )
