"""`python -m tests.bench [BENCH] [OPTIONS]`: one JSON line a result; without a name, `scoring`."""

import sys
from importlib import import_module

BENCHES = {
    "scoring": "tests.bench.scoring",
    "extremes": "tests.bench.extremes",
    "leaks": "tests.bench.leaks",
    "attack-recipes": "tests.bench.attack_recipes",
    "training": "tests.bench.training.__main__",
    "fleets": "tests.bench.fleets",
    "storage": "tests.bench.storage",
    "distillation": "tests.bench.distillation.__main__",
    "lineage": "tests.bench.lineage",
    "lineage-live": "tests.bench.lineage_live",
    "lineage-fixtures": "tests.bench.lineage_fixtures",
    "lineage-labels": "tests.bench.lineage_labels",
    "lineage-served": "tests.bench.lineage_served",
    "service-load": "tests.bench.service_load",
    "service-pages": "tests.bench.service_pages",
}

if __name__ == "__main__":
    named = sys.argv[1:2] and sys.argv[1] in BENCHES
    import_module(BENCHES[sys.argv.pop(1) if named else "scoring"]).main()
