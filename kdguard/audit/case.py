"""A case: what a test is run on, before anything is signed. `canary verify` and `twins verify` write it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdguard.detectors.registered import TESTS, RegisteredTest, find
from kdguard.errors import InputError
from kdguard.ledger.canonical import canonical, parse
from kdguard.ledger.derivation import KeyName

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A test, whose keys it uses, and the numbers it looks at.

    Attributes:
        test: Registered name.
        version: Version of the test that was run.
        keys: What the keys are for, each with the number of its generation.
        parameters: Exactly what was committed to with each of the keys.
        statistics: Numbers that the test needs; no prompt and no answer.
        inputs: Name, SHA-256 and size in bytes of each file that the numbers were read from.
    """

    test: str
    version: str
    keys: tuple[tuple[KeyName, int], ...]
    parameters: Mapping[str, Any]
    statistics: Mapping[str, Any]
    inputs: tuple[Mapping[str, Any], ...] = ()


def run(
    case: Case, keys: Mapping[KeyName, bytes], tests: Sequence[RegisteredTest] = TESTS
) -> list[dict[str, Any]]:
    """Run a case's test.

    Returns:
        Evidence and abstentions as JSON.

    Raises:
        InputError: The test is not known in that version, or cannot use the numbers.
    """
    test = find(case.test, tests)
    if test.version != case.version:
        raise InputError(
            f"test {case.test} must be version {case.version}, this kdguard has {test.version}; "
            "use the kdguard version that the bundle names"
        )
    try:
        outcomes = test.run(case.statistics, case.parameters, keys)
        return parse(canonical([dataclasses.asdict(outcome) for outcome in outcomes]))
    except (KeyError, TypeError, IndexError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"test {case.test} cannot use the numbers of the case ({type(error).__name__}: {error})"
        ) from error


def write_case(case: Case, path: Path) -> None:
    """Write a case as canonical JSON."""
    path.write_bytes(canonical(case_as_json(case)))


def read_case(path: Path) -> Case:
    """Read a case.

    Raises:
        InputError: It is no case of this version.
    """
    try:
        return case_from_json(parse(path.read_bytes()))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def case_as_json(case: Case) -> dict[str, Any]:
    """The JSON form of a case."""
    return {
        "kind": "kdguard.case",
        "schema_version": SCHEMA_VERSION,
        "test": case.test,
        "version": case.version,
        "keys": [[name.scheme, name.account, name.epoch, generation] for name, generation in case.keys],
        "parameters": dict(case.parameters),
        "statistics": dict(case.statistics),
        "inputs": [dict(each) for each in case.inputs],
    }


def case_from_json(told: Any) -> Case:
    """The case of a JSON form.

    Raises:
        InputError: It is no case of this version.
    """
    try:
        if (told["kind"], told["schema_version"]) != ("kdguard.case", SCHEMA_VERSION):
            raise InputError(f"must be a kdguard.case of schema version {SCHEMA_VERSION}")
        keys = tuple((KeyName(*row[:3]), int(row[3])) for row in told["keys"])
        return Case(
            test=told["test"],
            version=told["version"],
            keys=keys,
            parameters=dict(told["parameters"]),
            statistics=dict(told["statistics"]),
            inputs=tuple(told["inputs"]),
        )
    except (KeyError, TypeError, IndexError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"a case is damaged ({type(error).__name__}: {error})") from error
