"""Merkle trees of RFC 6962, section 2.1: roots, inclusion and consistency proofs, and their verification.

Hashes are 32 bytes. A leaf is hashed behind a 0x00, an inner node behind a 0x01, so neither can pose as the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Hash one entry of the log."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """Root of a tree over n leaf hashes.

    Unbalanced trees split at the largest power of two below n; pairing level by level and carrying a last odd node up
    gives the same tree in n - 1 hashes.
    """
    if not leaves:
        return EMPTY_ROOT
    level = list(leaves)
    while len(level) > 1:
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = paired + level[2 * len(paired) :]
    return level[0]


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Siblings from a leaf up to the root: PATH(m, D[n]) of RFC 6962.

    Raises:
        IndexError: The tree has no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"leaf must be in [0, {len(leaves)}), got {index}")
    if len(leaves) == 1:
        return ()
    split = _split(len(leaves))
    if index < split:
        return (*inclusion_proof(leaves[:split], index), root(leaves[split:]))
    return (*inclusion_proof(leaves[split:], index - split), root(leaves[:split]))


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> tuple[bytes, ...]:
    """Nodes that prove a tree of `old_size` leaves to be a prefix of this one: PROOF(m, D[n]) of RFC 6962.

    Raises:
        IndexError: `old_size` is not in [0, n].
    """
    if not 0 <= old_size <= len(leaves):
        raise IndexError(f"old size must be in [0, {len(leaves)}], got {old_size}")
    return _subproof(leaves, old_size, whole=True) if old_size else ()


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected_root: bytes
) -> bool:
    """Say whether a leaf hash stands at `index` of the tree of `size` leaves with this root."""
    if not 0 <= index < size:
        return False
    node, last, siblings = leaf, size - 1, iter(proof)
    while last:
        if index % 2 or index < last:
            sibling = next(siblings, None)
            if sibling is None:
                return False
            node = node_hash(sibling, node) if index % 2 else node_hash(node, sibling)
        index, last = index // 2, last // 2
    return next(siblings, None) is None and node == expected_root


def verify_consistency(
    old_size: int, old_root: bytes, size: int, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Say whether the tree of `size` leaves only appended to that of `old_size`."""
    if not 0 <= old_size <= size:
        return False
    if old_size == 0:
        return not proof and old_root == EMPTY_ROOT
    if old_size == size:
        return not proof and old_root == new_root
    nodes = iter(proof)
    index, last = old_size - 1, size - 1
    while index % 2:
        index, last = index // 2, last // 2
    start = next(nodes, None) if index else old_root
    if start is None:
        return False
    roots = _climb(index, last, start, nodes)
    return roots == (old_root, new_root) and next(nodes, None) is None


def _climb(index: int, last: int, start: bytes, nodes: Iterator[bytes]) -> tuple[bytes, bytes] | None:
    """Both roots that a consistency proof leads to, or None if it is too short."""
    old = new = start
    while last:
        if index % 2 or index < last:
            sibling = next(nodes, None)
            if sibling is None:
                return None
            if index % 2:
                old, new = node_hash(sibling, old), node_hash(sibling, new)
            else:
                new = node_hash(new, sibling)
        index, last = index // 2, last // 2
    return old, new


def _subproof(leaves: Sequence[bytes], old_size: int, *, whole: bool) -> tuple[bytes, ...]:
    if old_size == len(leaves):
        return () if whole else (root(leaves),)
    split = _split(len(leaves))
    if old_size <= split:
        return (*_subproof(leaves[:split], old_size, whole=whole), root(leaves[split:]))
    return (*_subproof(leaves[split:], old_size - split, whole=False), root(leaves[:split]))


def _split(size: int) -> int:
    """Largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1
