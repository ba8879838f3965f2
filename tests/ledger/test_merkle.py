"""The tree against the vectors of the Certificate Transparency project, and against its own definition."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdguard.ledger import merkle

# Inputs, roots and proofs of transparency-dev/merkle testonly/constants.go (first made for RFC 6962's reference code).
INPUTS = (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)  # fmt: skip
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
INCLUSION = {
    (0, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (5, 8): (
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
}
CONSISTENCY = {
    (1, 1): (),
    (1, 8): INCLUSION[0, 8],
    (6, 8): (
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 5): (
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
}


def _leaves(count: int) -> list[bytes]:
    return [merkle.leaf_hash(bytes.fromhex(text)) for text in INPUTS[:count]]


def _defined_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word for word."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    return merkle.node_hash(_defined_root(leaves[:split]), _defined_root(leaves[split:]))


@pytest.mark.parametrize("size", range(9))
def test_roots(size: int) -> None:
    assert merkle.root(_leaves(size)).hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_inclusion_vectors(index: int, size: int) -> None:
    proof = merkle.inclusion_proof(_leaves(size), index)
    assert tuple(node.hex() for node in proof) == INCLUSION[index, size]


@pytest.mark.parametrize(("old", "new"), CONSISTENCY)
def test_consistency_vectors(old: int, new: int) -> None:
    proof = merkle.consistency_proof(_leaves(new), old)
    assert tuple(node.hex() for node in proof) == CONSISTENCY[old, new]


@given(st.integers(1, 70), st.data())
@settings(deadline=None, max_examples=120)
def test_every_proof_verifies_and_no_altered_one_does(size: int, data: st.DataObject) -> None:
    leaves = [merkle.leaf_hash(b"%d" % number) for number in range(size)]
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    root, old_root = merkle.root(leaves), merkle.root(leaves[:old])
    assert root == _defined_root(leaves)
    inclusion, consistency = merkle.inclusion_proof(leaves, index), merkle.consistency_proof(leaves, old)
    assert merkle.verify_inclusion(leaves[index], index, size, inclusion, root)
    assert merkle.verify_consistency(old, old_root, size, root, consistency)

    wrong = bytes(32)
    assert not merkle.verify_inclusion(wrong, index, size, inclusion, root)
    assert not merkle.verify_inclusion(leaves[index], index, size, (*inclusion, wrong), root)
    assert not merkle.verify_inclusion(leaves[index], size, size, inclusion, root)
    assert not merkle.verify_consistency(old, old_root, size, root, (*consistency, wrong))
    if 0 < old < size:
        assert not merkle.verify_consistency(old, wrong, size, root, consistency)
        assert not merkle.verify_consistency(old, old_root, size, wrong, consistency)
    for place in range(len(inclusion)):
        altered = (*inclusion[:place], wrong, *inclusion[place + 1 :])
        assert not merkle.verify_inclusion(leaves[index], index, size, altered, root)
        assert not merkle.verify_inclusion(leaves[index], index, size, inclusion[:place], root)
    for place in range(len(consistency)):
        altered = (*consistency[:place], wrong, *consistency[place + 1 :])
        assert not merkle.verify_consistency(old, old_root, size, root, altered)
        assert not merkle.verify_consistency(old, old_root, size, root, consistency[:place])


def test_a_leaf_elsewhere_is_refused() -> None:
    leaves = _leaves(8)
    proof = merkle.inclusion_proof(leaves, 2)
    assert [
        index
        for index in range(8)
        if merkle.verify_inclusion(leaves[2], index, 8, proof, merkle.root(leaves))
    ] == [2]


def test_places_that_do_not_exist() -> None:
    with pytest.raises(IndexError, match=r"\[0, 3\)"):
        merkle.inclusion_proof(_leaves(3), 3)
    with pytest.raises(IndexError, match=r"\[0, 3\]"):
        merkle.consistency_proof(_leaves(3), 4)
