"""Honest groups as arrays and a JSON header, for the baseline file."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kdguard.errors import BaselineError
from kdguard.scoring.groups.rarity import Rarity
from kdguard.scoring.groups.reference import GroupReference

PROCEDURE = 3
"""How groups are formed and scored; groups learnt by another procedure are nothing to rank among."""

Arrays = dict[str, npt.NDArray[Any]]

_ARRAYS = ("score", "size", "across", "log_owners", "member_owner", "member_group", "draw_score", "draw_size")
_RARITY = ("wording", "likeness", "total")


def to_arrays(reference: GroupReference) -> tuple[Arrays, dict[str, Any]]:
    """Return arrays named `groups/...`, and what goes into the header."""
    rarity = reference.rarity
    arrays: Arrays = {f"groups/{name}": getattr(reference, name) for name in _ARRAYS}
    arrays["groups/across"] = reference.across.astype(np.uint8)
    arrays |= {f"groups/rarity/{name}": getattr(rarity, name) for name in _RARITY}
    for kind in rarity.codes:
        arrays[f"groups/codes/{kind}"] = rarity.codes[kind]
        arrays[f"groups/counts/{kind}"] = rarity.counts[kind]
    return arrays, {"procedure": PROCEDURE, "rarity_owners": rarity.owners, "kinds": list(rarity.codes)}


def from_arrays(arrays: Arrays, header: dict[str, Any]) -> GroupReference:
    """Undo `to_arrays`.

    Raises:
        BaselineError: The groups were learnt by another procedure.
    """
    if header.get("procedure") != PROCEDURE:
        raise BaselineError(
            f"honest groups of a baseline must be learnt by procedure {PROCEDURE}, these were by "
            f"{header.get('procedure', 1)}; make the baseline again with `kdguard baseline`"
        )
    own = {name: arrays[f"groups/{name}"] for name in _ARRAYS}
    own["across"] = own["across"].astype(np.bool_)
    rarity = Rarity(
        owners=header["rarity_owners"],
        codes={kind: arrays[f"groups/codes/{kind}"] for kind in header["kinds"]},
        counts={kind: arrays[f"groups/counts/{kind}"] for kind in header["kinds"]},
        **{name: arrays[f"groups/rarity/{name}"] for name in _RARITY},
    )
    return GroupReference(rarity=rarity, **own)
