"""Verifying: believe nothing of a bundle but what follows from its signature, its commitments and the test itself."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdguard.audit.bundle import BUNDLE_TYPE
from kdguard.audit.case import SCHEMA_VERSION, Case, case_from_json, run
from kdguard.detectors.registered import TESTS, RegisteredTest
from kdguard.errors import InputError, RefusedError
from kdguard.ledger import merkle
from kdguard.ledger.canonical import canonical, parse
from kdguard.ledger.derivation import KeyName
from kdguard.ledger.entries import reveal_fits
from kdguard.ledger.envelope import open_sealed, signer_id
from kdguard.ledger.log import Head, Ledger, read_head

TOLERANCE = 1e-9
"""Relative difference allowed between a number in a bundle and the same number computed on another computer."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What a bundle proves.

    Attributes:
        signer: Id of the signing key; who holds it is for the reader to know.
        trusted: The reader named this signer beforehand.
        created: When it says it was made.
        committed: Per key, (account, valid_from, time of the head, root of the head).
        test: Name of the test that was run again.
        null_hypothesis: What a small p-value speaks against.
        inputs: Names of the files whose digests were compared.
        result: Evidence as JSON, as run again here.
    """

    signer: str
    trusted: bool
    created: str
    committed: tuple[tuple[str, str, str, str], ...]
    test: str
    null_hypothesis: str
    inputs: tuple[str, ...]
    result: tuple[Mapping[str, Any], ...]


def verify_bundle(
    bundle: bytes,
    *,
    trust: Collection[str] = (),
    ledger: Ledger | None = None,
    published: Sequence[Head] = (),
    inputs: Sequence[Path] = (),
    tests: Sequence[RegisteredTest] = TESTS,
) -> Verified:
    """Verify a bundle and run its test again.

    Args:
        bundle: The file's bytes.
        trust: Ids of signing keys; if given, all signatures must be by these.
        ledger: The public ledger, if at hand: heads must stand in it, and nothing may be revoked.
        published: Heads as published, if at hand: every commitment must stand under one of them.
        inputs: Files that the numbers were read from, if at hand.
        tests: Known tests.

    Raises:
        RefusedError: Anything does not hold.
    """
    try:
        public, statement = _open(bundle)
        case = case_from_json(statement["case"])
        heads, keys = _open_reveals(statement["reveals"], case)
        _check_signers([public, *(head.public for head in heads)], trust, ledger)
        _check_heads(heads, ledger, published)
        # A revoked key may have signed a head before it was lost: the ledger vouches for that head now.
        _check_revoked(
            [signer_id(public), *(reveal["entry"]["key_id"] for reveal in statement["reveals"])], ledger
        )
        compared = tuple(_check_input(path, case) for path in inputs)
        result = run(case, keys, tests)
        _must_agree(statement["result"], result, "result")
    except (KeyError, TypeError, IndexError, AttributeError, InputError) as error:
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        raise RefusedError(f"the bundle cannot be verified: {kind}{error}") from error
    return Verified(
        signer=signer_id(public),
        trusted=bool(trust),
        created=statement["created"],
        committed=tuple(_committed(statement["reveals"], case, heads)),
        test=case.test,
        null_hypothesis=statement["null_hypothesis"],
        inputs=compared,
        result=tuple(result),
    )


def case_of(bundle: bytes) -> Case:
    """The case that a bundle is about; its signature holds, nothing else of it was verified.

    Raises:
        RefusedError: The bundle is damaged or not signed by the key it names.
    """
    try:
        return case_from_json(_open(bundle)[1]["case"])
    except (KeyError, TypeError, InputError) as error:
        raise RefusedError(f"the bundle has no case that can be read: {error}") from error


def _open(bundle: bytes) -> tuple[bytes, Any]:
    sealed = parse(bundle)
    if set(sealed) != {"envelope", "public"}:
        raise RefusedError("a bundle must hold a public key and an envelope, and nothing else")
    public = _unhex(sealed["public"])
    statement = open_sealed(sealed["envelope"], BUNDLE_TYPE, public)
    if (statement["kind"], statement["schema_version"]) != ("kdguard.bundle", SCHEMA_VERSION):
        raise RefusedError(f"the bundle must have schema version {SCHEMA_VERSION}; use the version it names")
    return public, statement


def _open_reveals(reveals: Sequence[Any], case: Case) -> tuple[list[Head], dict[KeyName, bytes]]:
    if len(reveals) != len(case.keys):
        raise RefusedError(f"the case uses {len(case.keys)} keys, the bundle reveals {len(reveals)}")
    heads, keys = [], {}
    for reveal, (name, _) in zip(reveals, case.keys, strict=True):
        key, salt, head = _unhex(reveal["key"]), _unhex(reveal["salt"]), read_head(reveal["head"])
        if not reveal_fits(reveal["entry"], name, key, salt, case.parameters):
            raise RefusedError(f"the key of {name.account!r} is not the one that was committed to for it")
        leaf = merkle.leaf_hash(canonical(reveal["entry"]))
        proof = [_unhex(node) for node in reveal["inclusion"]]
        if not merkle.verify_inclusion(leaf, reveal["index"], head.size, proof, head.root):
            raise RefusedError(f"the commitment for {name.account!r} does not stand under the signed head")
        heads.append(head)
        keys[name] = key
    return heads, keys


def _check_signers(publics: Sequence[bytes], trust: Collection[str], ledger: Ledger | None) -> None:
    signers = {signer_id(public): public for public in publics}
    unknown = sorted(set(signers) - set(trust)) if trust else []
    if unknown:
        raise RefusedError(f"signed by key {unknown[0]}, which is not among those to be trusted")
    if ledger is not None:
        announced = ledger.signers(ledger.heads[-1].size if ledger.heads else 0)
        strangers = [name for name, public in signers.items() if public not in announced]
        if strangers:
            raise RefusedError(f"signed by key {strangers[0]}, which the ledger does not know")


def _check_heads(heads: Sequence[Head], ledger: Ledger | None, published: Sequence[Head]) -> None:
    for known, where in ((ledger.heads if ledger else (), "in the ledger"), (published, "published")):
        if known and not {head.root for head in heads} <= {head.root for head in known}:
            raise RefusedError(f"the commitments stand under a head that is not {where}")


def _check_revoked(ids: Sequence[str], ledger: Ledger | None) -> None:
    for revoked, reason in (ledger.revoked() if ledger else {}).items():
        if revoked in ids:
            raise RefusedError(f"key {revoked} was revoked: {reason}")


def _check_input(path: Path, case: Case) -> str:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    for told in case.inputs:
        if told["sha256"] == digest and told["bytes"] == len(content):
            return path.name
    raise RefusedError(f"{path.name} is not one of the files that the numbers were read from")


def _must_agree(told: Any, found: Any, place: str) -> None:
    """Compare two JSON values; numbers may differ by rounding, nothing else may."""
    if isinstance(told, Mapping) and isinstance(found, Mapping) and told.keys() == found.keys():
        for name in told:
            _must_agree(told[name], found[name], f"{place}.{name}")
    elif isinstance(told, list) and isinstance(found, list) and len(told) == len(found):
        for number, (left, right) in enumerate(zip(told, found, strict=True)):
            _must_agree(left, right, f"{place}[{number}]")
    elif not _same(told, found):
        raise RefusedError(
            f"running the test again gives another {place}: {found!r}, the bundle says {told!r}"
        )


def _same(told: Any, found: Any) -> bool:
    if {type(told), type(found)} <= {int, float}:
        return math.isclose(told, found, rel_tol=TOLERANCE)
    return type(told) is type(found) and told == found


def _committed(
    reveals: Sequence[Any], case: Case, heads: Sequence[Head]
) -> Iterator[tuple[str, str, str, str]]:
    for reveal, (name, _), head in zip(reveals, case.keys, heads, strict=True):
        yield name.account, reveal["entry"]["valid_from"], head.time, head.root.hex()


def _unhex(digits: str) -> bytes:
    try:
        decoded = bytes.fromhex(digits)
    except ValueError as error:
        raise RefusedError("a key or hash is not written in hexadecimal digits") from error
    if decoded.hex() != digits:
        raise RefusedError("a key or hash is not written in lower-case hexadecimal digits")
    return decoded
