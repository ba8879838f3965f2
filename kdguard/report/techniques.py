"""MITRE ATLAS and OWASP ids that findings carry, with the version of the catalogue each was read from.

References:
    MITRE ATLAS data 5.6.0 (May 2026); case study AML.CS0056 is the 2026 distillation campaigns.
    OWASP Top 10 for LLM Applications 2025, LLM10 items 5 and 6.
    OWASP AISVS 1.0, chapter C11.3 (numbered C11.5 in older drafts).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A published list of techniques or controls, at one version."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Technique:
    """One entry of a catalogue; `tactic_id` and `tactic` are empty outside ATLAS."""

    id: str
    name: str
    catalogue: Catalogue
    tactic_id: str = ""
    tactic: str = ""


ATLAS = Catalogue("MITRE ATLAS", "5.6.0")
OWASP_LLM = Catalogue("OWASP LLM Top 10", "2025")
AISVS = Catalogue("OWASP AISVS", "1.0")

_TACTICS = {
    "AML.TA0000": "AI Model Access",
    "AML.TA0001": "AI Attack Staging",
    "AML.TA0003": "Resource Development",
    "AML.TA0005": "Execution",
    "AML.TA0008": "Discovery",
    "AML.TA0010": "Exfiltration",
    "AML.TA0011": "Impact",
    "AML.TA0012": "Privilege Escalation",
}

_ATLAS_ROWS = (
    ("AML.T0005", "Create Proxy AI Model", "AML.TA0001"),
    ("AML.T0005.001", "Train Proxy via Replication", "AML.TA0001"),
    ("AML.T0008.005", "AI Service Proxies", "AML.TA0003"),
    ("AML.T0021", "Establish Accounts", "AML.TA0003"),
    ("AML.T0024", "Exfiltration via AI Inference API", "AML.TA0010"),
    ("AML.T0024.000", "Infer Training Data Membership", "AML.TA0010"),
    ("AML.T0024.001", "Invert AI Model", "AML.TA0010"),
    ("AML.T0024.002", "Extract AI Model", "AML.TA0010"),
    ("AML.T0034", "Cost Harvesting", "AML.TA0011"),
    ("AML.T0034.000", "Excessive Queries", "AML.TA0011"),
    ("AML.T0034.001", "Resource-Intensive Queries", "AML.TA0011"),
    ("AML.T0034.002", "Agentic Resource Consumption", "AML.TA0011"),
    ("AML.T0040", "AI Model Inference API Access", "AML.TA0000"),
    ("AML.T0048.004", "AI Intellectual Property Theft", "AML.TA0011"),
    ("AML.T0051", "LLM Prompt Injection", "AML.TA0005"),
    ("AML.T0054", "LLM Jailbreak", "AML.TA0012"),
    ("AML.T0063", "Discover AI Model Outputs", "AML.TA0008"),
    ("AML.T0065", "LLM Prompt Crafting", "AML.TA0003"),
)

_OWASP_ROWS = (
    ("LLM10:2025", "Unbounded Consumption (model extraction, replication)", OWASP_LLM),
    ("AISVS-11.2.2", "Rate limits per principal and globally, sized to the threat model", AISVS),
    ("AISVS-11.3.1", "Query-pattern analysis feeds an extraction detector", AISVS),
    ("AISVS-11.3.4", "A detection of extraction triggers a response", AISVS),
)

TECHNIQUES: dict[str, Technique] = {
    **{row[0]: Technique(row[0], row[1], ATLAS, row[2], _TACTICS[row[2]]) for row in _ATLAS_ROWS},
    **{row[0]: Technique(*row) for row in _OWASP_ROWS},
}


def lookup(technique_id: str) -> Technique | None:
    """Return the entry of an id, or None for one this table does not know; "LLM10" alone means 2025."""
    return TECHNIQUES.get(technique_id) or TECHNIQUES.get(f"{technique_id}:2025")


def name_of(technique_id: str) -> str:
    """Return the published name of an id, or the id itself where the table does not know it.

    >>> name_of("AML.T0024.002")
    'Extract AI Model'
    """
    found = lookup(technique_id)
    return technique_id if found is None else found.name
