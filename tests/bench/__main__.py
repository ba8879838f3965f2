"""`python -m tests.bench [BENCH] [OPTIONS]`: one JSON line a result; without a name, `scoring`."""

import sys
from importlib import import_module

BENCHES = {
    "scoring": "tests.bench.scoring",
    "extremes": "tests.bench.extremes",
    "training": "tests.bench.training.__main__",
    "fleets": "tests.bench.fleets",
    "storage": "tests.bench.storage",
    "distillation": "tests.bench.distillation.__main__",
    "lineage": "tests.bench.lineage",
    "lineage-live": "tests.bench.lineage_live",
}

if __name__ == "__main__":
    named = sys.argv[1:2] and sys.argv[1] in BENCHES
    import_module(BENCHES[sys.argv.pop(1) if named else "scoring"]).main()
