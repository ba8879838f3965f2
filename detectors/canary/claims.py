"""What may be claimed from canaries: contact with an account's marked text, and which account it was."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdguard.detectors.canary.decoys import DECOYS, decoy_keys, rank_p
from kdguard.detectors.canary.scoring import Choices, draw, weigh
from kdguard.errors import CanaryError
from kdguard.evidence import Evidence, Guarantee
from kdguard.ledger.canonical import canonical, sha256
from kdguard.ledger.derivation import KeyName
from kdguard.stats.conformal import p_floor
from kdguard.stats.multiplicity import holm
from kdguard.stats.sums import P_FLOOR


def account_named(
    statistics: Mapping[str, Any], parameters: Mapping[str, Any], keys: Mapping[KeyName, bytes]
) -> tuple[Evidence, ...]:
    """Name accounts: the exact null of each account's score over its sites, Holm-adjusted over all that were marked.

    Args:
        statistics: `sites` (see `site_row`), `seen` (choice, value, count), `marked` (account -> number of its
            sites, a prefix of `sites`), `habit` optionally; see `scoring.weigh`.
        parameters: As committed: `accounts` that were marked, `sites_digest`, `recall`.
        keys: The accounts' keys.

    Returns:
        One piece of evidence an account, in the order of `keys`; `p_value` holds over the whole family of accounts.
    """
    choices = committed_choices(statistics, parameters)
    raw = [
        float(choices.null(sites).p_values([choices.score(draw(key, choices.sizes), sites)])[0])
        for key, sites in marked_sites(statistics, keys)
    ]
    adjusted = holm(raw, int(parameters["accounts"]))
    return tuple(
        _evidence("canary.account", name.account, parameters, statistics, p, float(q), P_FLOOR)
        for name, p, q in zip(keys, raw, adjusted, strict=True)
    )


def contact(
    statistics: Mapping[str, Any], parameters: Mapping[str, Any], keys: Mapping[KeyName, bytes]
) -> tuple[Evidence, ...]:
    """Rank each key among decoy keys: shows contact with accounts named beforehand, Holm-adjusted over these.

    It needs no formula for the null, and never names one account among many. The decoys are fixed by the committed
    parameters and the account, not by us afterwards. Arguments as for `account_named`.
    """
    choices = committed_choices(statistics, parameters)
    raw = []
    for (name, key), (_, sites) in zip(keys.items(), marked_sites(statistics, keys), strict=True):
        own = choices.score(draw(key, choices.sizes), sites)
        decoys = np.stack([draw(decoy, choices.sizes) for decoy in decoy_keys(name, parameters)])
        scores = choices.score_all(decoys, sites).astype(np.float64)
        raw.append(rank_p(own, scores))
    return tuple(
        _evidence("canary.contact", name.account, parameters, statistics, p, float(q), p_floor(DECOYS))
        for name, p, q in zip(keys, raw, holm(raw), strict=True)
    )


def exposure(p_value: float) -> float:
    """Bits of surprise, for display: -log2 p (Carlini et al. 2019)."""
    return -math.log2(p_value)


def site_row(site_id: str, family: str, sizes: Sequence[int]) -> str:
    """How a site stands in a case: its id, its family and the sizes of its fields, with spaces between."""
    return " ".join([site_id, family, *map(str, sizes)])


def sites_digest(rows: Sequence[str]) -> str:
    """Digest under which the sites of an epoch are committed."""
    return sha256(canonical(list(rows)))


def committed_sites(statistics: Mapping[str, Any], parameters: Mapping[str, Any]) -> Sequence[str]:
    """Rows of the sites that were committed to.

    Raises:
        CanaryError: The sites are others.
    """
    rows: Sequence[str] = statistics["sites"]
    if sites_digest(rows) != parameters["sites_digest"]:
        raise CanaryError(
            "the sites are not those that were committed to; give the canaries file of that epoch"
        )
    return rows


def committed_choices(statistics: Mapping[str, Any], parameters: Mapping[str, Any]) -> Choices:
    """Scores of the sites that were committed to; errors as for `committed_sites`."""
    rows = committed_sites(statistics, parameters)
    sizes = [[int(size) for size in row.split(" ")[2:]] for row in rows]
    return weigh(sizes, statistics["seen"], float(parameters["recall"]), statistics.get("habit", ()))


def marked_sites(statistics: Mapping[str, Any], keys: Mapping[KeyName, bytes]) -> list[tuple[bytes, int]]:
    """Each account's key and its number of sites.

    Raises:
        CanaryError: An account was not marked.
    """
    marked = statistics["marked"]
    lacking = [name.account for name in keys if name.account not in marked]
    if lacking:
        raise CanaryError(f"account {lacking[0]!r} was not marked; name accounts of the canaries file")
    return [(key, int(marked[name.account])) for name, key in keys.items()]


def _evidence(
    detector: str,
    account: str,
    parameters: Mapping[str, Any],
    statistics: Mapping[str, Any],
    raw: float,
    adjusted: float,
    floor: float,
) -> Evidence:
    answers = int(sum(row[2] for row in statistics["seen"]))
    sites = int(statistics["marked"][account])
    return Evidence(
        detector=detector,
        version="1",
        subject=account,
        guarantee=Guarantee.RANDOMISED,
        score=exposure(raw),
        p_value=adjusted,
        p_floor=floor,
        n=answers,
        summary=(
            f"{sites} canary sites, {answers} readable choices: exposure {exposure(raw):.1f} bits "
            f"(p = {raw:.3g} alone, {adjusted:.3g} as claimed)"
        ),
        parameters_digest=sha256(canonical(dict(parameters))),
    )
