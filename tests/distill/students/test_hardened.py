from __future__ import annotations

import numpy as np

from kdguard.distill.fleets.material import hardened
from kdguard.distill.students.data import Document, from_topk

TOKENS = np.array([5, 6, 7, 8, 2], np.int32)
WEIGHTS = np.array([0, 0, 1, 1, 1], np.float32)


def test_text_becomes_its_own_soft_target() -> None:
    found = hardened(Document(TOKENS, WEIGHTS))
    assert found.soft is not None
    assert found.soft_at is not None
    assert found.soft_at.tolist() == [2, 3, 4]
    assert found.soft.ids[:, 0].tolist() == [7, 8, 2]
    assert not found.soft.logprobs.any()
    assert not found.soft.tail.any()


def test_the_end_of_an_answer_is_learnt_beside_its_soft_targets() -> None:
    """An API tells no alternatives for the token that ended a text; without a target students never stop."""
    told = from_topk(
        np.array([[7, 9], [1, 8]], np.int32), np.log(np.array([[0.7, 0.2], [0.6, 0.3]], np.float32))
    )
    found = hardened(Document(TOKENS, WEIGHTS, "teacher", told, np.array([2, 3], np.int32)))
    assert found.soft is not None
    assert found.soft_at is not None
    assert found.soft_at.tolist() == [2, 3, 4]
    np.testing.assert_array_equal(found.soft.ids[:2], told.ids)
    np.testing.assert_array_equal(found.soft.logprobs[:2], told.logprobs)
    assert found.soft.ids[2].tolist() == [2, -1]
    assert found.soft.logprobs[2].tolist() == [0.0, -np.inf]
    np.testing.assert_allclose(found.soft.tail, [0.1, 0.1, 0.0], atol=1e-6)


def test_what_has_all_its_targets_stays() -> None:
    once = hardened(Document(TOKENS, WEIGHTS))
    twice = hardened(once)
    assert once.soft is not None
    assert twice.soft is not None
    np.testing.assert_array_equal(once.soft.ids, twice.soft.ids)
