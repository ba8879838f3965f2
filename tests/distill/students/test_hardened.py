from __future__ import annotations

import numpy as np

from kdguard.distill.students.data import Document, from_topk
from kdguard.distill.students.packing import hardened, pack_for
from kdguard.distill.students.plan import Mix

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


def test_soft_targets_alone_leave_no_taught_token_without_one() -> None:
    told = from_topk(np.array([[7, 9]], np.int32), np.log(np.array([[0.7, 0.2]], np.float32)))
    document = Document(TOKENS, WEIGHTS, "teacher", told, np.array([2], np.int32))
    alone = pack_for(Mix(text=0.0, soft=1.0), [document], 8)
    beside = pack_for(Mix(text=0.3, soft=0.7), [document], 8)
    for data, described in ((alone, 3), (beside, 1)):
        assert data.soft_rows is not None
        assert int((data.soft_rows[data.weights > 0] >= 0).sum()) == described
