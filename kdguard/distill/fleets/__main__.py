"""`python -m kdguard.distill.fleets RECIPE --work DIR --models DIR --lineage DIR`: make, read and ship families."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from kdguard.distill.fleets.build import build
from kdguard.distill.fleets.recipe import load_recipe
from kdguard.distill.fleets.ship import ship
from kdguard.errors import KdguardError


def main() -> int:
    """Run the command; 0 when all is shipped, 2 when something given cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m kdguard.distill.fleets", description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="kept between calls: a killed build goes on")
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--lineage", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--device", default="cpu")
    told = parser.parse_args()
    try:
        workshop = build(
            load_recipe(told.recipe), told.work, workers=told.workers, device=told.device, say=_say
        )
        manifest = ship(workshop, told.models, told.lineage)
    except KdguardError as error:
        _say(str(error))
        return 2
    size = sum(file["bytes"] for file in manifest["files"].values())
    _say(f"{len(manifest['models'])} models, {len(manifest['files'])} files, {size / 1e6:.1f} MB")
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
