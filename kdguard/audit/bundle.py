"""Sealing: run a case's test, join what a stranger needs to run it again, and sign all of it."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import scipy

import kdguard
from kdguard.audit.case import SCHEMA_VERSION, Case, case_as_json, run
from kdguard.detectors.registered import TESTS, RegisteredTest, find
from kdguard.errors import LedgerError
from kdguard.ledger.canonical import canonical
from kdguard.ledger.derivation import DerivedKey
from kdguard.ledger.entries import reveal_fits, utc
from kdguard.ledger.envelope import seal
from kdguard.ledger.keys import KeyStore
from kdguard.ledger.log import Ledger

BUNDLE_TYPE = "application/vnd.kdguard.bundle+json"


def sign_case(
    case: Case,
    keys: KeyStore,
    ledger: Ledger,
    moment: datetime,
    tests: Sequence[RegisteredTest] = TESTS,
) -> bytes:
    """Run a case and make its bundle.

    Only the keys that the case names are revealed; revealing them ends their use, see the ledger's README.

    Args:
        case: What to run.
        keys: Where its keys come from.
        ledger: Where they were committed.
        moment: Now.
        tests: Known tests.

    Raises:
        LedgerError: A key was never committed, committed with other parameters, or revoked.
        InputError: The test cannot be run.
    """
    derived = [keys.generation(number).derive(name) for name, number in case.keys]
    reveals = [_reveal(key, case, ledger) for key in derived]
    result = run(case, {key.name: key.key.reveal() for key in derived}, tests)
    statement = {
        "kind": "kdguard.bundle",
        "schema_version": SCHEMA_VERSION,
        "created": utc(moment),
        "versions": {
            "kdguard": kdguard.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "scipy": scipy.__version__,
        },
        "null_hypothesis": find(case.test, tests).null_hypothesis,
        "case": case_as_json(case),
        "reveals": reveals,
        "result": result,
    }
    signer = keys.current
    envelope = seal(statement, BUNDLE_TYPE, signer.private)
    return canonical({"public": signer.public.hex(), "envelope": envelope})


def _reveal(derived: DerivedKey, case: Case, ledger: Ledger) -> dict[str, Any]:
    revoked = ledger.revoked().get(derived.key_id)
    if revoked is not None:
        raise LedgerError(f"the key of account {derived.name.account!r} was revoked: {revoked}")
    index = ledger.find("key_digest", derived.key_digest)
    entry, head = ledger.entry(index), ledger.first_head(index)
    key, salt = derived.key.reveal(), derived.salt.reveal()
    if not reveal_fits(entry, derived.name, key, salt, case.parameters):
        raise LedgerError(
            f"the key of account {derived.name.account!r} was committed with other parameters than the case's; "
            "use the plan it was committed with"
        )
    return {
        "key": key.hex(),
        "salt": salt.hex(),
        "entry": entry,
        "index": index,
        "inclusion": [node.hex() for node in ledger.inclusion(index, head)],
        "head": head.as_json(),
    }
