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

_MINE = """
    WITH distinct_held AS (
        SELECT DISTINCT kind, code, node FROM held JOIN nodes USING (subject) SEMI JOIN kinds USING (kind)
    ), counted AS (
        SELECT kind, code, node, count(*) OVER (PARTITION BY kind, code) AS holders,
               row_number() OVER (PARTITION BY kind, code ORDER BY node) AS place
        FROM distinct_held
    ), mine AS (
        SELECT c.*, least(coalesce(w.weight, k.missing), CASE WHEN k.software
               THEN greatest(-2 * log10(c.holders / k.owners), 0) ELSE k.missing END) AS weight
        FROM counted c LEFT JOIN weights w USING (kind, code) JOIN kinds k USING (kind)
    )
"""


def propose(scene: Scene, kinds: Sequence[str]) -> Pairs:
    """Pair each holder of a rare value with the next 48 holders, in the order of their hashes."""
    found = scene.traces.ask(
        f"""
        {_MINE}, offers AS (
            SELECT *, unnest(range(1, {PARTNERS + 1})) AS ahead FROM mine
            WHERE holders > 1 AND weight >= {_LEAST_PROPOSED}
        )
        SELECT DISTINCT a.node AS source, b.node AS target
        FROM offers a JOIN mine b ON a.kind = b.kind AND a.code = b.code AND b.place = a.place + a.ahead
        """,
        **_tables(scene, kinds),
    )
    return Pairs.of(found.column("source").to_numpy(), found.column("target").to_numpy(), len(scene.habits))


def weigh(scene: Scene, pairs: Pairs, kinds: Sequence[str]) -> Floats:
    """Weight of the rarest value of each kind that a pair shares, shape (p, k)."""
    weight = np.zeros((len(pairs), len(kinds)))
    found = scene.traces.ask(
        f"""
        {_MINE}
        SELECT p.pair, a.kind, max(a.weight) AS weight
        FROM pairs p JOIN mine a ON a.node = p.source
        JOIN mine b ON b.node = p.target AND a.kind = b.kind AND a.code = b.code
        GROUP BY ALL
        """,
        pairs={"pair": np.arange(len(pairs)), "source": pairs.source, "target": pairs.target},
        **_tables(scene, kinds),
    ).to_pandas()
    column = {kind: at for at, kind in enumerate(kinds)}
    weight[found["pair"].to_numpy(), found["kind"].map(column).to_numpy(np.int64)] = found["weight"].to_numpy()
    return weight


def _tables(scene: Scene, kinds: Sequence[str]) -> dict[str, dict[str, npt.NDArray[np.generic]]]:
    habits, rarity = scene.habits, scene.rarity
    weights = [rarity.weights(kind) for kind in kinds]
    codes = [rarity.codes[kind] for kind in kinds]
    return {
        "nodes": {"subject": habits.subject, "node": habits.node},
        "kinds": {
            "kind": np.array(kinds, dtype=object),
            "software": np.array([kind in _SOFTWARE for kind in kinds]),
            "missing": np.array([missing for _, missing in weights]),
            "owners": np.full(len(kinds), float(max(len(habits), 1))),
        },
        "weights": {
            "kind": np.repeat(np.array(kinds, dtype=object), [len(part) for part in codes]),
            "code": np.concatenate(codes),
            "weight": np.concatenate([known for known, _ in weights]),
        },
    }
