"""Values that two owners share, and how rare that is: what `metadata` and `frames` have in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kdguard.scoring.groups.ties import Pairs, Scene

Floats = npt.NDArray[np.float64]

PARTNERS = 48
_LEAST_PROPOSED = 2.0
_SOFTWARE = ("user_agent", "tls", "email_domain")
"""Kinds that a release, not a person, makes common: a value new to the reference is judged by the log itself."""
_CALLER = ("payment", "key", "network")
"""Kinds that say who pays or calls: many owners on one that the reference's owners hardly used weigh as much as a
Poisson count so far above its expectation is rare (Chernoff's bound), up to 8."""

_MINE = """
    WITH distinct_held AS (
        SELECT DISTINCT kind, code, node FROM held JOIN nodes USING (subject) SEMI JOIN kinds USING (kind)
    ), counted AS (
        SELECT kind, code, node, count(*) OVER (PARTITION BY kind, code) AS holders,
               row_number() OVER (PARTITION BY kind, code ORDER BY node) AS place,
               count(*) OVER (PARTITION BY kind, node) AS held
        FROM distinct_held
    ), mine AS (
        SELECT kind, code, node, holders, place, held,
               CASE WHEN software THEN least(known, greatest(-2 * log10(holders / owners), 0))
                    WHEN caller AND holders > expected
                    THEN greatest(known, least((holders * ln(holders / expected) - holders + expected) / ln(10), 8))
                    ELSE known END AS weight
        FROM (
            SELECT c.*, k.software, k.caller, k.owners, coalesce(w.weight, k.missing) AS known,
                   k.owners * (coalesce(w.count, 0) + 1) / (k.reference + 1) AS expected
            FROM counted c LEFT JOIN weights w USING (kind, code) JOIN kinds k USING (kind)
        )
    )
"""


def propose(scene: Scene, kinds: Sequence[str]) -> Pairs:
    """Pair each holder of a rare value with the next 48 holders, in the order of their hashes."""
    found = scene.traces.ask(
        f"""
        {_MINE}, offers AS (
            SELECT *, unnest(range(1, least({PARTNERS}, holders - place) + 1)) AS ahead FROM mine
            WHERE holders > 1 AND weight >= {_LEAST_PROPOSED}
        )
        SELECT DISTINCT a.node AS source, b.node AS target
        FROM offers a JOIN mine b ON a.kind = b.kind AND a.code = b.code AND b.place = a.place + a.ahead
        """,
        **_tables(scene, kinds),
    )
    return Pairs.of(found.column("source").to_numpy(), found.column("target").to_numpy(), len(scene.habits))


def weigh(scene: Scene, pairs: Pairs, kinds: Sequence[str], *, add: bool = False) -> Floats:
    """Weight of what a pair shares of each kind, shape (p, k).

    Args:
        scene: Half 0.
        pairs: Pairs to weigh.
        kinds: Kinds of values.
        add: Add up all values shared, less log10 of the pairs of values that could have met; otherwise the rarest.
    """
    weight = np.zeros((len(pairs), len(kinds)))
    # Pairs are joined first and on their own: joining holders of a common value first would be quadratic in them.
    rule = (
        "greatest(sum(a.weight) - log10(any_value(a.held) * any_value(b.held)), 0)"
        if add
        else "max(a.weight)"
    )
    found = scene.traces.ask(
        f"""
        {_MINE}, near AS MATERIALIZED (
            SELECT p.pair, p.target, m.kind, m.code, m.held, m.weight FROM pairs p JOIN mine m ON m.node = p.source
        )
        SELECT a.pair, k.at, {rule} AS weight
        FROM near a JOIN mine b ON b.node = a.target AND a.kind = b.kind AND a.code = b.code
        JOIN kinds k ON k.kind = a.kind
        GROUP BY ALL
        """,
        pairs={"pair": np.arange(len(pairs)), "source": pairs.source, "target": pairs.target},
        **_tables(scene, kinds),
    )
    pair, at, value = (found.column(name).to_numpy() for name in ("pair", "at", "weight"))
    weight[pair, at] = value
    return weight


def _tables(scene: Scene, kinds: Sequence[str]) -> dict[str, dict[str, npt.NDArray[np.generic]]]:
    habits, rarity = scene.habits, scene.rarity
    weights = [rarity.weights(kind) for kind in kinds]
    codes = [rarity.codes[kind] for kind in kinds]
    return {
        "nodes": {"subject": habits.subject, "node": habits.node},
        "kinds": {
            "kind": np.array(kinds, dtype=object),
            "at": np.arange(len(kinds)),
            "software": np.array([kind in _SOFTWARE for kind in kinds]),
            "caller": np.array([kind in _CALLER for kind in kinds]),
            "reference": np.full(len(kinds), float(rarity.owners)),
            "missing": np.array([missing for _, missing in weights]),
            "owners": np.full(len(kinds), float(max(len(habits), 1))),
        },
        "weights": {
            "kind": np.repeat(np.array(kinds, dtype=object), [len(part) for part in codes]),
            "code": np.concatenate(codes),
            "count": np.concatenate([rarity.counts[kind] for kind in kinds]),
            "weight": np.concatenate([known for known, _ in weights]),
        },
    }
