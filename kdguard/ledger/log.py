"""The ledger on disk: entries that are only ever appended, and signed heads that say what stood there when.

A ledger is a public directory: `entries.jsonl` holds one canonical entry a line, `heads.jsonl` one signed tree head a
line with the proof that it only appended to the one before. Whoever kept an old head can see whether it was rewritten.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from kdguard.errors import LedgerError, RefusedError
from kdguard.ledger import merkle
from kdguard.ledger.canonical import canonical, parse
from kdguard.ledger.entries import rotation, utc
from kdguard.ledger.envelope import open_sealed, seal
from kdguard.ledger.keys import Generation

HEAD_TYPE = "application/vnd.kdguard.tree-head+json"
_ENTRIES, _HEADS, _LOCK = "entries.jsonl", "heads.jsonl", "lock"


@dataclass(frozen=True, slots=True)
class Head:
    """A signed statement: at this time, the log had this many entries and this root.

    Attributes:
        size: Number of entries.
        root: Merkle root over them.
        time: RFC 3339; the signer's own clock, so publish heads where others timestamp them.
        proof: Consistency proof from the head before.
        public: The signing key, 32 bytes.
        envelope: What was signed.
    """

    size: int
    root: bytes
    time: str
    proof: tuple[bytes, ...]
    public: bytes
    envelope: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The form in which a head is published."""
        return {"public": self.public.hex(), "envelope": dict(self.envelope)}


def read_head(published: Any) -> Head:
    """Verify a published head against the key it names.

    Raises:
        RefusedError: Damaged or not signed by that key.
    """
    try:
        public = bytes.fromhex(published["public"])
        told = open_sealed(published["envelope"], HEAD_TYPE, public)
        proof = tuple(bytes.fromhex(node) for node in told["consistency"])
        root = bytes.fromhex(told["root"])
        return Head(told["size"], root, told["time"], proof, public, published["envelope"])
    except (KeyError, TypeError, ValueError) as error:
        raise RefusedError(f"the tree head is damaged ({type(error).__name__})") from error


@dataclass(frozen=True, slots=True)
class Ledger:
    """A ledger as read.

    Attributes:
        directory: Where it is.
        lines: Canonical entries, oldest first; those beyond the last head are not signed yet.
        heads: Signed heads, oldest first.
        leaves: Leaf hash of each line.
    """

    directory: Path
    lines: tuple[bytes, ...]
    heads: tuple[Head, ...]
    leaves: tuple[bytes, ...]

    def entry(self, index: int) -> dict[str, Any]:
        """Parse one entry."""
        return parse(self.lines[index])

    def find(self, field: str, value: str) -> int:
        """Index of the first signed entry with `"field":"value"`.

        Raises:
            LedgerError: There is none.
        """
        sought = b"%b:%b" % (canonical(field), canonical(value))
        for index in range(self.heads[-1].size if self.heads else 0):
            if sought in self.lines[index] and self.entry(index).get(field) == value:
                return index
        raise LedgerError(
            f"{self.directory}: no signed entry has {field} {value[:16]}; a key must be committed before it is used"
        )

    def commitments(self) -> Iterator[dict[str, Any]]:
        """Signed commitments to keys, oldest first."""
        for index in range(self.heads[-1].size if self.heads else 0):
            if b'"commitment"' in self.lines[index] and self.entry(index).get("kind") == "commitment":
                yield self.entry(index)

    def first_head(self, index: int) -> Head:
        """The earliest head that covers an entry: what was published first says most."""
        return next(head for head in self.heads if head.size > index)

    def inclusion(self, index: int, head: Head) -> tuple[bytes, ...]:
        """Inclusion proof of an entry under a head."""
        return merkle.inclusion_proof(self.leaves[: head.size], index)

    def signers(self, size: int) -> frozenset[bytes]:
        """Public keys that the first `size` entries announce."""
        entries = (self.entry(index) for index in range(size) if b'"rotation"' in self.lines[index])
        return frozenset(bytes.fromhex(entry["public"]) for entry in entries if entry["kind"] == "rotation")

    def revoked(self) -> dict[str, str]:
        """Ids that are revoked, each with the reason."""
        entries = (self.entry(index) for index, line in enumerate(self.lines) if b'"revocation"' in line)
        return {
            entry["revoked_id"]: entry["reason"] for entry in entries if entry.get("kind") == "revocation"
        }


def open_ledger(directory: Path) -> Ledger:
    """Read a ledger and verify every head, and that each only appended to the one before.

    Raises:
        LedgerError: Missing, or entries were changed, removed or reordered.
    """
    if not (directory / _ENTRIES).is_file():
        raise LedgerError(f"{directory}: no ledger is there; 'kdguard audit commit' starts one")
    # A last line without its newline is a write that was interrupted; no head can cover it.
    lines = tuple((directory / _ENTRIES).read_bytes().split(b"\n")[:-1])
    leaves = tuple(merkle.leaf_hash(line) for line in lines)
    ledger = Ledger(directory, lines, _read_heads(directory / _HEADS), leaves)
    _check_heads(ledger)
    return ledger


def append(
    directory: Path, entries: Sequence[Mapping[str, Any]], generation: Generation, moment: datetime
) -> Ledger:
    """Append entries and sign the new head; starts the ledger if there is none.

    The first entry of a ledger announces the signing key; a newer key must have been announced by the one before it.

    Raises:
        LedgerError: The ledger is damaged, does not know the signing key, holds one of the keys already, or another
            process is writing to it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with _only_writer(directory):
        if not (directory / _ENTRIES).exists():
            (directory / _ENTRIES).touch()
        ledger = open_ledger(directory)
        _must_be_new(ledger, entries)
        added = [canonical(dict(entry)) for entry in (*_announced(ledger, generation, moment), *entries)]
        lines = (*ledger.lines, *added)
        leaves = (*ledger.leaves, *(merkle.leaf_hash(line) for line in added))
        _write(directory / _ENTRIES, b"".join(line + b"\n" for line in lines[len(ledger.lines) :]), ledger)
        head = _sign_head(leaves, ledger.heads[-1].size if ledger.heads else 0, generation, moment)
        _write(directory / _HEADS, orjson.dumps(head.as_json()) + b"\n", None)
    return Ledger(directory, lines, (*ledger.heads, head), leaves)


def _must_be_new(ledger: Ledger, entries: Sequence[Mapping[str, Any]]) -> None:
    """A key has one commitment: two would let its parameters be chosen after looking."""
    marker = b'"key_digest":"'
    known = {line.split(marker)[1][:64].decode() for line in ledger.lines if marker in line}
    for entry in entries:
        if entry.get("key_digest") in known:
            raise LedgerError(
                f"{ledger.directory}: a key of scheme {entry['scheme']!r} is committed already; use another epoch"
            )


def _announced(ledger: Ledger, generation: Generation, moment: datetime) -> list[dict[str, Any]]:
    """The entry that makes a signing key known, if this ledger starts now."""
    if not ledger.heads:
        return [rotation(generation.signer_id, generation.public, generation.number, moment)]
    if generation.public not in ledger.signers(ledger.heads[-1].size):
        raise LedgerError(
            f"{ledger.directory}: does not know signing key {generation.signer_id[:16]} (generation "
            f"{generation.number}); announce it with 'kdguard audit keys rotate --ledger', or start another ledger"
        )
    return []


def _sign_head(leaves: Sequence[bytes], old_size: int, generation: Generation, moment: datetime) -> Head:
    proof = merkle.consistency_proof(leaves, old_size)
    root = merkle.root(leaves)
    told = {
        "kind": "tree_head",
        "size": len(leaves),
        "root": root.hex(),
        "time": utc(moment),
        "consistency": [node.hex() for node in proof],
    }
    envelope = seal(told, HEAD_TYPE, generation.private)
    return Head(len(leaves), root, utc(moment), proof, generation.public, envelope)


def _read_heads(path: Path) -> tuple[Head, ...]:
    if not path.is_file():
        return ()
    lines = path.read_bytes().split(b"\n")[:-1]
    try:
        return tuple(read_head(orjson.loads(line)) for line in lines)
    except (orjson.JSONDecodeError, RefusedError) as error:
        raise LedgerError(f"{path}: a signed head cannot be trusted: {error}") from error


def _check_heads(ledger: Ledger) -> None:
    newest = ledger.heads[-1] if ledger.heads else None
    if newest and (
        newest.size > len(ledger.lines) or merkle.root(ledger.leaves[: newest.size]) != newest.root
    ):
        raise LedgerError(
            f"{ledger.directory}: entries were changed or removed since the head of {newest.time}; "
            "restore the ledger from a copy"
        )
    size, root = 0, merkle.EMPTY_ROOT
    for head in ledger.heads:
        if not merkle.verify_consistency(size, root, head.size, head.root, head.proof):
            raise LedgerError(
                f"{ledger.directory}: the head of {head.time} does not append to the one before it"
            )
        # A key is trusted because one before it announced it; the first one vouches for itself.
        if head.public not in ledger.signers(size or head.size):
            raise LedgerError(
                f"{ledger.directory}: the head of {head.time} is signed by a key nobody announced"
            )
        size, root = head.size, head.root


def _write(path: Path, added: bytes, known: Ledger | None) -> None:
    """Append durably; an interrupted last line of entries is cut off first."""
    with path.open("ab") as file:
        if known is not None:
            file.truncate(sum(len(line) + 1 for line in known.lines))
        file.write(added)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _only_writer(directory: Path) -> Iterator[None]:
    with (directory / _LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LedgerError(f"{directory}: another process is writing to the ledger; try again") from error
        yield
