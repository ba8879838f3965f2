"""The last step of every attack: the log, the truth about it, and the manifest that ties the folder together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from kdguard.simulate.attack.log import attack_log, benign_background
from kdguard.simulate.attack.manifest import manifest_of, write_manifest
from kdguard.simulate.attack.plan import Plan
from kdguard.simulate.attack.recipe import Recipe
from kdguard.simulate.attack.tactics.transform import TrafficTransform, describe
from kdguard.simulate.setting import DAY
from kdguard.simulate.write import write_log


def about(recipe: Recipe) -> dict[str, Any]:
    """What the transcripts say that they are of; another recipe cannot go on in the same folder."""
    return {"recipe": recipe.name, "recipe_digest": recipe.digest, "seed": recipe.seed}


def finish(
    recipe: Recipe,
    out: Path,
    plan: Plan,
    exchanges: pa.Table,
    *,
    tactics: Sequence[TrafficTransform],
    teachers: Sequence[Mapping[str, Any]],
    stopped_by: str | None,
    found: Mapping[str, Any],
) -> dict[str, Any]:
    """Write log, labels and manifest.

    Args:
        recipe: As run.
        out: Folder of the run; its transcripts are sealed.
        plan: With all prompts that were sent.
        exchanges: What was asked and answered.
        tactics: In use.
        teachers: What is known about them.
        stopped_by: Limit that kept requests from being sent.
        found: What the attack brought home: `student`, `hidden_size`.

    Returns:
        The manifest.
    """
    background = None
    if recipe.background is not None:
        days = max(1, round(int(np.ptp(plan.calls.time)) / DAY))
        background = benign_background(recipe.background, plan.setting, days, recipe.seed)
    name, text = f"{recipe.seed}/{recipe.name}", describe(tactics)
    simulated = attack_log(exchanges, plan, tactics=text, name=name, seed=recipe.seed, background=background)
    manifest = manifest_of(
        recipe,
        plan,
        simulated,
        out=out,
        teachers=teachers,
        tactics=text,
        stopped_by=stopped_by,
        found=found,
        files=write_log(simulated, out),
    )
    return write_manifest(manifest, out)
