"""Tests that can be run again from a bundle: numbers and revealed keys in, evidence out, the same on every computer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdguard.detectors.canary.claims import account_named, contact
from kdguard.detectors.canary.likelihood import likely
from kdguard.detectors.canary.sinusoid import sinusoid
from kdguard.detectors.canary.triggers import triggers
from kdguard.detectors.fingerprint import claims as lineage_claims
from kdguard.detectors.fingerprint.labels import claims as label_claims
from kdguard.detectors.fingerprint.logprobs import claims as number_claims
from kdguard.detectors.fingerprint.served import claims as served_claims
from kdguard.detectors.fingerprint.weights import claims as weight_claims
from kdguard.detectors.twins.claims import leaker_named, preference_for_released
from kdguard.detectors.watermark.claims import learnt_from_marked, marked_text, wealth
from kdguard.errors import InputError
from kdguard.evidence import Abstention, Evidence
from kdguard.ledger.derivation import KeyName

Outcome = tuple[Evidence | Abstention, ...]


@dataclass(frozen=True, slots=True)
class RegisteredTest:
    """A test under the name and version that bundles cite.

    Attributes:
        name: Unique; the kind of mark, a dot, and the question.
        version: Changes whenever the same numbers could give another result.
        null_hypothesis: What a small p-value speaks against, in words for a court.
        run: Function of statistics, committed parameters and the revealed keys (name -> 32 bytes). It reads no file, no
            clock and no random source. Raises InputError on statistics it cannot use.
    """

    name: str
    version: str
    null_hypothesis: str
    run: Callable[[Mapping[str, Any], Mapping[str, Any], Mapping[KeyName, bytes]], Outcome]


_CONTACT = (
    "Given how it was asked and what it answered, the suspect's answers do not depend on the committed key: it never "
    "learnt, directly or through others, from text marked with that key, and was not asked with such text. "
    "Rejecting this shows contact with marked text; it does not show who collected the text, nor why."
)

_COINS = (
    "Given what the suspect prefers, the coins that chose the released answers are independent of it: it never learnt, "
    "directly or through others, from answers that were released rather than withheld. "
    "Rejecting this shows contact with released answers; it does not show who collected them, nor why."
)

_MARKED = (
    "The committed key is independent of the text as it is. "
    "Rejecting this shows contact with text marked by that key; it does not show who took it, nor why."
)

_EXCHANGEABLE = (
    "The suspect is exchangeable with the control models: as far as the family of teachers goes, it is one of them. "
    "Rejecting this shows that it stands closer to the family than they do; how that came about, and by whom, it does "
    "not show, nor which version of the family was learnt from."
)

_DEALT = (
    "Within each stratum any of the answers might as well have been served to the account as not: the suspect never "
    "learnt from what the account was served rather than from the answers it is compared with. "
    "Rejecting this shows that the suspect learnt from answers served to the account; it does not show how they came "
    "to it."
)

_ORDER = (
    "The hidden units of the two models stand in no common order: they were started and trained independently, at "
    "least one from random weights with training that treats hidden units alike. Rejecting this shows a common start: "
    "one began from the other's weights, or both from a third model's; it does not show which."
)

TESTS: tuple[RegisteredTest, ...] = (
    RegisteredTest("canary.account", "1", _CONTACT, account_named),
    RegisteredTest("canary.contact", "1", _CONTACT, contact),
    RegisteredTest("canary.likelihood", "1", _CONTACT, likely),
    RegisteredTest("canary.triggers", "1", _CONTACT, triggers),
    RegisteredTest("canary.sinusoid", "1", _CONTACT, sinusoid),
    RegisteredTest("twins.released", "1", _COINS, preference_for_released),
    RegisteredTest("twins.leaker", "1", _COINS, leaker_named),
    RegisteredTest(
        lineage_claims.NAME, lineage_claims.VERSION, _EXCHANGEABLE, lineage_claims.lineage_from_text
    ),
    RegisteredTest(label_claims.NAME, label_claims.VERSION, _EXCHANGEABLE, label_claims.label_agreement),
    RegisteredTest(number_claims.NAME, number_claims.VERSION, _EXCHANGEABLE, number_claims.ranked_by_numbers),
    RegisteredTest(served_claims.NAME, served_claims.VERSION, _DEALT, served_claims.served_accounts),
    RegisteredTest(weight_claims.NAME, weight_claims.VERSION, _ORDER, weight_claims.initialisation),
    RegisteredTest("watermark.text", "1", _MARKED, marked_text),
    RegisteredTest("watermark.wealth", "1", _MARKED, wealth),
    RegisteredTest("watermark.radioactivity", "1", _CONTACT, learnt_from_marked),
)


def find(name: str, tests: Sequence[RegisteredTest] = TESTS) -> RegisteredTest:
    """Look a test up.

    Raises:
        InputError: There is none of that name.
    """
    for test in tests:
        if test.name == name:
            return test
    raise InputError(f"no test {name!r} is registered; there are {', '.join(test.name for test in tests)}")
