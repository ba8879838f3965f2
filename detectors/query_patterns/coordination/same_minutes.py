"""X2: owners who send in the same minutes more often than the hours they keep explain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import pdtrc

from kdguard.scoring.groups.ties import Pairs, Scene

Floats = npt.NDArray[np.float64]

_PARTNERS = 16
_MINUTES = 64
_FEWEST = 2
_MOST_WEIGHT = 6.0
_DAY_MINUTES = 1_440
_APART = 10
"""Minutes of silence before a beginning: two jobs that overlap once have met once, however long they run."""

_MINE = f"""
    WITH active AS (
        SELECT DISTINCT node, time_us // 60000000 AS minute FROM signals JOIN nodes USING (subject)
        WHERE NOT half AND time_us > 0
    ), minutes AS MATERIALIZED (
        SELECT node, minute FROM (
            SELECT *, minute - lag(minute, 1, -{_APART}) OVER (PARTITION BY node ORDER BY minute) AS pause FROM active
        ) WHERE pause >= {_APART}
        QUALIFY row_number() OVER (PARTITION BY node ORDER BY minute * 2654435761 % 4294967296) <= {_MINUTES}
    )
"""


@dataclass(frozen=True)
class SameMinutes:
    """Minutes in common on half 0, against those that moving one owner by whole days would give.

    Shifts by whole days keep the hours of the day and break common bursts, as in the analysis of spike trains
    (Grün 2009, J. Neurophysiol. 101:1126-1140); their mean has a closed form, so none is drawn. Jobs that run at nine
    every day have as many minutes in common after the shift. Of each owner 64 minutes count, the least by a hash that
    is the same for all (a bottom-k sketch, Cohen and Kaplan 2007, PODC), so that heavy owners cost no more than others.
    """

    name: str = "same_minutes"
    words: str = "requests in the same minutes"

    def propose(self, scene: Scene) -> Pairs:
        """Pairs with two minutes in common, each minute's owners paired with the next 16."""
        found = scene.traces.ask(
            f"""
            {_MINE}, placed AS (
                SELECT *, row_number() OVER (PARTITION BY minute ORDER BY node) AS place,
                       count(*) OVER (PARTITION BY minute) AS holders FROM minutes
            ), offers AS (
                SELECT *, unnest(range(1, least({_PARTNERS}, holders - place) + 1)) AS ahead FROM placed
                WHERE holders > 1
            )
            SELECT a.node AS source, b.node AS target
            FROM offers a JOIN placed b ON a.minute = b.minute AND b.place = a.place + a.ahead
            GROUP BY ALL HAVING count(*) >= {_FEWEST}
            """,
            nodes=_nodes(scene),
        )
        return Pairs.of(
            found.column("source").to_numpy(), found.column("target").to_numpy(), len(scene.habits)
        )

    def weigh(self, scene: Scene, pairs: Pairs) -> Floats:
        """-log10 of the chance of so many common minutes, a Poisson tail about the mean over shifts."""
        weight = np.zeros(len(pairs))
        found = scene.traces.ask(
            f"""
            {_MINE}, met AS MATERIALIZED (
                SELECT pair, source, target, count(*) AS together
                FROM pairs JOIN minutes a ON a.node = source JOIN minutes b ON b.node = target AND b.minute = a.minute
                GROUP BY ALL HAVING count(*) >= {_FEWEST}
            ), clock AS MATERIALIZED (
                SELECT node, minute % {_DAY_MINUTES} AS minute, count(*) AS n FROM minutes
                WHERE node IN (SELECT source FROM met UNION SELECT target FROM met) GROUP BY ALL
            ), size AS MATERIALIZED (
                SELECT node, sum(n) AS n FROM clock GROUP BY node
            ), days AS (
                SELECT max(minute) // {_DAY_MINUTES} - min(minute) // {_DAY_MINUTES} + 1 AS days FROM minutes
            ), moved AS (
                SELECT pair, sum(a.n * b.n) AS meetings
                FROM met JOIN clock a ON a.node = source JOIN clock b ON b.node = target AND b.minute = a.minute
                GROUP BY pair
            )
            SELECT pair, together, meetings / days AS moved, a.n * b.n / (days * {_DAY_MINUTES}) AS uniform
            FROM met JOIN moved USING (pair) JOIN size a ON a.node = source JOIN size b ON b.node = target, days
            """,
            pairs={"pair": np.arange(len(pairs)), "source": pairs.source, "target": pairs.target},
            nodes=_nodes(scene),
        )
        mean = np.maximum(
            *(found.column(name).to_numpy().astype(np.float64) for name in ("moved", "uniform"))
        )
        together = found.column("together").to_numpy()
        with np.errstate(divide="ignore"):
            tail = -np.log(pdtrc(together - 1, mean)) / np.log(10.0)
        weight[found.column("pair").to_numpy()] = np.clip(tail, 0.0, _MOST_WEIGHT)
        return weight


def _nodes(scene: Scene) -> dict[str, npt.NDArray[np.generic]]:
    return {"subject": scene.habits.subject, "node": scene.habits.node}
