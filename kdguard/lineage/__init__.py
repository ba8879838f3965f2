"""Does a suspect model descend from a teacher? Tests over suspect, teachers and control models; see README.md."""

from kdguard.lineage.controls import Controls, derived_controls, listed_controls, read_controls
from kdguard.lineage.families import Families, Family, place_families, read_families
from kdguard.lineage.protocol import Affinity
from kdguard.lineage.responses import Responses, read_responses, responses_of
from kdguard.lineage.run import Claim, run_tests
from kdguard.lineage.verdict import Lineage, LineageVerdict

test = run_tests

__all__ = [
    "Affinity",
    "Claim",
    "Controls",
    "Families",
    "Family",
    "Lineage",
    "LineageVerdict",
    "Responses",
    "derived_controls",
    "listed_controls",
    "place_families",
    "read_controls",
    "read_families",
    "read_responses",
    "responses_of",
    "test",
]
