"""`python -m tests.bench.radioactivity [SCALE [STUDY]]`: print the rows of a study."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

from tests.bench.radioactivity.doses import rows
from tests.bench.radioactivity.small import small_doses
from tests.bench.radioactivity.world import Study

STUDIES = {
    "usual": (rows, Study()),
    "strong": (rows, Study(gamma=0.1, delta=4.0, keys=(7,))),
    "small": (small_doses, Study(keys=(21, 22, 23, 24), doses=(0.01, 0.05))),
    "small_strong": (small_doses, Study(gamma=0.1, delta=4.0, keys=(25, 26, 27, 28), doses=(0.01, 0.05))),
}

if __name__ == "__main__":
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    run, full = STUDIES[sys.argv[2] if len(sys.argv) > 2 else "usual"]
    sized = replace(
        full,
        documents=max(64, int(full.documents * scale)),
        steps=max(2, int(full.steps * scale)),
        answers=max(16, int(full.answers * scale)),
        keys=full.keys if scale >= 0.5 else full.keys[:1],
    )
    for row in run(sized):
        print(json.dumps(row), flush=True)
