"""What may be claimed from answers, run again anywhere from a case: mean contrasts of suspect and controls, in numbers.

A case holds no prompt and no answer. That its numbers came from the answers is shown by the answers themselves, from
which `kdguard lineage verify` makes the same numbers again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kdguard.errors import LineageError
from kdguard.evidence import Abstention, Evidence, Guarantee
from kdguard.ledger.derivation import KeyName
from kdguard.lineage.compared import Against, Found
from kdguard.lineage.order import order_digest
from kdguard.lineage.ranked import Ranked, rank_again
from kdguard.lineage.verdict import LineageVerdict, adjusted, conclude

NAME = "lineage.text"
VERSION = "1"
Told = Mapping[str, Any]


def lineage_from_text(
    statistics: Told, parameters: Told, keys: Mapping[KeyName, bytes]
) -> tuple[Evidence | Abstention, ...]:
    """Rank a suspect among control models, family by family, and conclude.

    Args:
        statistics: As `statistics_of` makes them.
        parameters: What was committed to before asking, as `kdguard lineage probes` prints it; empty = nothing was.
        keys: Of the commitment; its date counts, the key is not used.

    Raises:
        LineageError: The test was another one than was committed to.
    """
    del keys
    _must_fit(statistics, parameters)
    suspect = str(statistics["suspect"])
    if statistics["withheld"] is not None:
        return (Abstention(detector=NAME, subject=suspect, reason=str(statistics["withheld"])),)
    looks, last = [int(one) for one in statistics["looks"]], int(statistics["last"])
    standings = [rank_again(_readings(one), looks) for one in statistics["families"]]
    p_values = [float(one.p_at_look[last, 0]) for one in standings]
    names = [str(one["family"]) for one in statistics["families"]]
    corrected = adjusted(p_values, names, adjust=bool(statistics["corrected"]))
    paid_for = len(names) if statistics["corrected"] else 1
    found = []
    for told, standing, p_adjusted in zip(statistics["families"], standings, corrected, strict=True):
        controls = int(standing.controls[0])
        verdict, reason = conclude(
            p_adjusted, controls, paid_for, float(statistics["alpha"]), told_apart=bool(told["told_apart"])
        )
        found.append(
            Evidence(
                detector=NAME,
                version=VERSION,
                subject=suspect,
                guarantee=Guarantee.CONFORMAL,
                score=float(standing.score[0]),
                p_value=p_adjusted,
                p_floor=1.0 / (controls + 1.0),
                n=looks[last],
                summary=(
                    f"{told['family']}: {verdict.value.replace('_', ' ')}, p = {p_adjusted:.3g} at level "
                    f"{float(statistics['alpha']):g} after {looks[last]} prompts, among {controls} controls, by "
                    f"{told['test']} {told['test_version']}; {reason}"
                ),
            )
        )
    return tuple(found)


def statistics_of_found(found: Found, compared: Against) -> dict[str, Any]:
    """The numbers of a case about the one suspect that was found something of; see `statistics_of`."""
    suspect = found.verdicts[0].suspect if found.verdicts else ""
    changed = found.drift.reason if found.drift is not None and found.drift.changed else None
    return statistics_of(
        found.verdicts,
        found.told_apart,
        found.responses.prompts,
        seed=compared.seed,
        alpha=compared.claim.alpha,
        corrected=compared.claim.adjust and not compared.claim.named,
        named=compared.claim.named,
        kinds=compared.kinds if compared.controls is not None else (),
        withheld=changed or found.doubts.get(suspect),
    )


def statistics_of(
    verdicts: Sequence[LineageVerdict],
    told_apart: Mapping[str, bool],
    prompts: Sequence[str],
    *,
    seed: int,
    alpha: float,
    corrected: bool,
    named: Sequence[str],
    kinds: Sequence[str],
    withheld: str | None = None,
) -> dict[str, Any]:
    """The numbers of a case about one suspect.

    Args:
        verdicts: All of the suspect's, as `run_tests` gave them.
        told_apart: By family, whether its controls are documented to have no link to it.
        prompts: Prompt ids in the order in which they were looked at.
        seed: Of the order.
        alpha: Level of a claim.
        corrected: The families were not named beforehand and are paid for.
        named: Families named beforehand.
        kinds: Kinds of controls.
        withheld: Why nothing is claimed whatever the ranks; None = nothing speaks against it.

    Raises:
        LineageError: There is no suspect, several, or no rank.
    """
    suspects = {one.suspect for one in verdicts}
    ranked = [(one, one.ranked) for one in verdicts if one.ranked is not None]
    if len(suspects) != 1 or not ranked:
        why = "no rank: " + verdicts[0].reason if len(suspects) == 1 else f"{len(suspects)} suspects"
        raise LineageError(f"a case is about one suspect that could be ranked, got {why}")
    return {
        "suspect": suspects.pop(),
        "seed": seed,
        "prompts": list(prompts),
        "alpha": alpha,
        "corrected": corrected,
        "named": sorted(named),
        "control_kinds": sorted(kinds),
        "looks": list(ranked[0][1].looks),
        "last": ranked[0][1].last,
        "asked": ranked[0][1].asked,
        "withheld": withheld,
        "families": [
            {
                "family": one.teacher_family,
                "test": one.evidence[0].detector,
                "test_version": one.evidence[0].version,
                "told_apart": told_apart[one.teacher_family],
                "controls": list(numbers.controls),
                "readings": _numbers(numbers),
            }
            for one, numbers in ranked
        ],
    }


def _numbers(ranked: Ranked) -> list[dict[str, Any]]:
    return [
        {
            "means": [[None if np.isnan(one) else float(one) for one in row] for row in means],
            "ranks": [bool(one) for one in ranks],
        }
        for means, ranks in ranked.readings
    ]


def _readings(told: Told) -> list[tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]]:
    return [
        (np.array(one["means"], np.float64), np.array(one["ranks"], np.bool_)) for one in told["readings"]
    ]


def _must_fit(statistics: Told, parameters: Told) -> None:
    """Whatever was committed to must be what was done."""
    done = {
        "seed": statistics["seed"],
        "queries": len(statistics["prompts"]),
        "order_digest": order_digest(statistics["prompts"]),
        "alpha": statistics["alpha"],
        "families": statistics["named"],
    }
    for name, value in done.items():
        if name in parameters and parameters[name] != value:
            raise LineageError(
                f"the test must be the one committed to: {name} was {parameters[name]!r}, the case has {value!r}"
            )
