"""Which claims the smallest possible p rules out, before anyone hopes for them."""

from __future__ import annotations

import numpy as np
import pytest

from kdguard.scoring.claims import Claim, claims, if_learnt_from, of_panel
from kdguard.scoring.ranking import Panel, VolumeBins
from kdguard.verdict import fewest_selected


def verdicts(found: tuple[Claim, ...]) -> dict[str, bool]:
    return {claim.claim: claim.possible for claim in found}


def test_a_large_baseline_allows_everything() -> None:
    found = claims(references=20_000, owners=500, share=0.8)
    assert all(verdicts(found).values())


def test_rare_attackers_are_ruled_out_in_a_large_log() -> None:
    found = claims(references=999, owners=5_000, share=1.0)
    review, alone = found
    assert review.possible
    assert not alone.possible
    assert "BH over owners, 5,000 here, cannot flag rare attackers with 999 references" in alone.why
    assert f"at least {fewest_selected(0.001, 5_000, 0.1)} must stand out together" in alone.why
    assert "one alone needs 49,999" in alone.why


@pytest.mark.parametrize("owners", [10, 5_000])
def test_a_tiny_baseline_cannot_even_review(owners: int) -> None:
    review, alone = claims(references=50, owners=owners, share=0.8)
    assert not review.possible
    assert "needs 124 references" in review.why
    assert not alone.possible


def test_with_a_floor_above_the_rate_no_number_is_enough() -> None:
    _, alone = claims(references=4, owners=3, share=1.0)
    assert "not even all of them together" in alone.why


def test_nobody_to_rank_is_said_plainly() -> None:
    review, alone = claims(references=if_learnt_from(0), owners=0, share=0.8)
    assert (review.possible, alone.possible) == (False, False)
    assert review.why == "smallest p 1 with 0 references; needs 124 references"
    assert alone.why == "nobody has enough requests to be ranked"


def test_a_log_as_a_baseline_keeps_two_thirds_to_rank_among() -> None:
    assert if_learnt_from(3_000) == 2_000


def test_a_panel_speaks_through_its_finest_bin() -> None:
    best = np.full((1_000, 2), np.nan)
    best[:, 0], best[:200, 1] = 0.0, 0.0
    panel = Panel(
        VolumeBins((0, 5), (0.8, 0.2)), best, np.full(1_000, np.nan), np.arange(1_000, dtype=np.uint64)
    )
    references, share = of_panel(panel)
    assert (references, share) == (1_000, 0.8)
    assert min(1 / (references + 1) / share, 1.0) == pytest.approx(float(panel.floor(np.array([2]))[0]))
