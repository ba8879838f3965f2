"""A rank can be taken again from the numbers that a verdict carries."""

from __future__ import annotations

import numpy as np
import pytest

from kdguard import lineage
from kdguard.detectors.fingerprint import default_tests
from kdguard.lineage import Claim
from kdguard.lineage.ranked import rank_again
from tests.lineage.made import placed, table


@pytest.mark.parametrize("asked", [None, 10])
def test_the_numbers_of_a_verdict_give_its_rank_again(asked: int | None) -> None:
    responses, found, controls = placed(table(prompts=25, controls=30))
    claim = Claim(alpha=0.05, asked=asked)
    for verdict in lineage.test(responses, found, controls, ["student", "innocent"], default_tests(), claim):
        ranked = verdict.ranked
        assert ranked is not None
        assert ranked.looks == (10, 20, 25)
        assert len(ranked.controls) == verdict.controls == 30
        again = rank_again(ranked.readings, ranked.looks)
        assert again.p_at_look[ranked.last, 0] == verdict.p_value == ranked.p_at_look[-1]
        assert again.score[0] == pytest.approx(verdict.score, abs=1e-6)
        assert np.sort(again.peers[0, 1:]) == pytest.approx(np.sort(ranked.scores))
        assert len(ranked.log10_e_at_look) == ranked.last + 1


def test_a_bet_over_all_prompts_ends_where_its_course_ends() -> None:
    responses, found, controls = placed(table(prompts=25, controls=120))
    (verdict,) = lineage.test(
        responses, found, controls, ["student"], default_tests()[:1], Claim(named=("a",))
    )
    assert verdict.ranked is not None
    assert verdict.ranked.log10_e_at_look[-1] == pytest.approx(verdict.log10_e, abs=1e-6)
    assert (np.diff(verdict.ranked.log10_e_at_look) >= 0).all()
