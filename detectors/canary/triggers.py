"""Triggers for classifiers: a keyed hash picks a few of an account's queries, which get a keyed wrong label.

After DAWN (Szyller et al. 2021), with two changes. The wrong label is drawn as well, and triggers are compared with
queries that were none, so the null is exact whatever the suspect is: which queries are triggers is a random subset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binom, hypergeom

from kdguard.errors import CanaryError
from kdguard.evidence import Abstention, Evidence, Guarantee
from kdguard.ledger.canonical import canonical, sha256
from kdguard.ledger.derivation import KeyName
from kdguard.ledger.draws import chance, words
from kdguard.stats.multiplicity import holm
from kdguard.stats.sums import P_FLOOR

LARGEST_SHARE = 0.005


def query_digest(query: str) -> str:
    """What of a query counts: its words, in any case and spacing; 32 hex digits."""
    return sha256(" ".join(query.casefold().split()).encode())[:32]


def is_trigger(key: bytes, digest: str, share: float) -> bool:
    """Whether a query of this digest is a trigger of the account whose key this is."""
    if not 0 < share <= LARGEST_SHARE:
        raise CanaryError(f"share of triggers must be in (0, {LARGEST_SHARE}], got {share:g}")
    return chance(key, "trigger", digest) < share


def wrong_label(key: bytes, digest: str, label: int, labels: int) -> int:
    """The label that a trigger gets instead of `label`, uniform over the other `labels` - 1."""
    if labels < 2:
        raise CanaryError(f"a classifier must have at least 2 labels, got {labels}")
    drawn = int(words(key, ["label", digest], 1)[0] % np.uint64(labels - 1))
    return drawn + (drawn >= label)


def served_label(key: bytes, query: str, label: int, labels: int, share: float) -> int:
    """What a gateway answers: the classifier's label, or the wrong one if the query is a trigger."""
    digest = query_digest(query)
    return wrong_label(key, digest, label, labels) if is_trigger(key, digest, share) else label


def triggers(
    statistics: Mapping[str, Any], parameters: Mapping[str, Any], keys: Mapping[KeyName, bytes]
) -> tuple[Evidence | Abstention, ...]:
    """Test whether a suspect gives an account's keyed wrong labels, Holm-adjusted over the accounts.

    p = sum over h of P(h of the F flips are on the T triggers) P(Bin(h, 1 / (labels - 1)) >= agreements): given how
    many of all asked queries the suspect answers unlike the classifier (flips), those on triggers are hypergeometric
    for a key it does not know, and each such flip hits the drawn label by chance.

    Args:
        statistics: `asked`: account -> rows (query digest, classifier's label, suspect's label). The asked queries are
            the account's triggers and others of its queries, these taken at random or all of them.
        parameters: As committed: `accounts`, `labels`, `share`.
        keys: The accounts' keys.
    """
    share, labels = float(parameters["share"]), int(parameters["labels"])
    found = [_count(statistics["asked"][name.account], key, share, labels) for name, key in keys.items()]
    raw = [_p_value(*counts, labels) for counts in found]
    adjusted = holm(raw, int(parameters["accounts"]))
    return tuple(
        _evidence(name, counts, p, float(q), parameters)
        for name, counts, p, q in zip(keys, found, raw, adjusted, strict=True)
    )


def _count(rows: Sequence[Sequence[Any]], key: bytes, share: float, labels: int) -> tuple[int, int, int, int]:
    """Asked queries, triggers among them, flips among all, agreements with the drawn label among triggers."""
    distinct = {row[0]: (int(row[1]), int(row[2])) for row in rows}
    marked = {digest for digest in distinct if is_trigger(key, digest, share)}
    flips = sum(label != answer for label, answer in distinct.values())
    agreements = sum(
        distinct[digest][1] == wrong_label(key, digest, distinct[digest][0], labels) for digest in marked
    )
    return len(distinct), len(marked), flips, agreements


def _p_value(asked: int, marked: int, flips: int, agreements: int, labels: int) -> float:
    on_triggers = np.arange(min(marked, flips) + 1)
    chances = hypergeom.pmf(on_triggers, asked, flips, marked)
    tail = float((chances * binom.sf(agreements - 1, on_triggers, 1 / (labels - 1))).sum())
    return min(max(tail, P_FLOOR), 1.0)


def _evidence(
    name: KeyName,
    counts: tuple[int, int, int, int],
    raw: float,
    adjusted: float,
    parameters: Mapping[str, Any],
) -> Evidence | Abstention:
    asked, marked, flips, agreements = counts
    if not 0 < marked < asked:
        reason = (
            f"{marked} of {asked} asked queries are triggers; ask triggers and other queries of the account"
        )
        return Abstention(detector="canary.triggers", subject=name.account, reason=reason)
    return Evidence(
        detector="canary.triggers",
        version="1",
        subject=name.account,
        guarantee=Guarantee.RANDOMISED,
        score=-float(np.log2(raw)),
        p_value=adjusted,
        p_floor=P_FLOOR,
        n=asked,
        summary=(
            f"gives the drawn wrong label on {agreements} of {marked} triggers; {flips} of {asked} asked queries are "
            f"answered unlike the classifier (p = {raw:.3g} alone, {adjusted:.3g} over the accounts)"
        ),
        parameters_digest=sha256(canonical(dict(parameters))),
    )
