"""Tests that can be run again from a bundle: numbers and revealed keys in, evidence out, the same on every computer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdguard.detectors.canary.claims import account_named, contact
from kdguard.detectors.canary.likelihood import likely
from kdguard.detectors.canary.sinusoid import sinusoid
from kdguard.detectors.canary.triggers import triggers
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

TESTS: tuple[RegisteredTest, ...] = (
    RegisteredTest("canary.account", "1", _CONTACT, account_named),
    RegisteredTest("canary.contact", "1", _CONTACT, contact),
    RegisteredTest("canary.likelihood", "1", _CONTACT, likely),
    RegisteredTest("canary.triggers", "1", _CONTACT, triggers),
    RegisteredTest("canary.sinusoid", "1", _CONTACT, sinusoid),
    RegisteredTest("twins.released", "1", _COINS, preference_for_released),
    RegisteredTest("twins.leaker", "1", _COINS, leaker_named),
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
