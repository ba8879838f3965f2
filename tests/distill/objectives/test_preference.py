"""DPO and IPO against formulas in plain floats, and their fixed points."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from kdguard.distill.objectives import cross_entropy, dpo, ipo, preference_margin, sequence_logprob
from kdguard.errors import InputError


def logprobs(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    drawn = -torch.rand((4, 5), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 40
    return drawn[0].requires_grad_(), drawn[1].clone().requires_grad_(), drawn[2], drawn[3]


def test_values() -> None:
    chosen, rejected, first, second = (column.detach().numpy() for column in logprobs())
    margin = (chosen - first) - (rejected - second)
    expected = [-math.log(1 / (1 + math.exp(-0.3 * each))) for each in margin]
    np.testing.assert_allclose(dpo(*logprobs(), beta=0.3).detach().numpy(), expected)
    np.testing.assert_allclose(ipo(*logprobs(), tau=0.3).detach().numpy(), (margin - 1 / 0.6) ** 2)
    np.testing.assert_allclose(preference_margin(*logprobs()).detach().numpy(), margin)


@pytest.mark.parametrize("loss", [dpo, ipo])
def test_gradients(loss: object) -> None:
    chosen, rejected, first, second = logprobs(1)
    assert callable(loss)
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, first, second), (chosen, rejected))


def test_at_the_reference_and_far_away() -> None:
    same = torch.tensor([-3.0])
    assert dpo(same, same, same, same).item() == pytest.approx(math.log(2))
    assert ipo(same, same, same, same, tau=0.1).item() == pytest.approx(25)
    assert ipo(same + 5, same, same, same, tau=0.1).item() == pytest.approx(0)
    zero = torch.zeros(1)
    far = torch.tensor([-1e4], requires_grad=True)
    loss = dpo(far, zero, zero, zero, beta=1.0)
    torch.autograd.backward(loss.sum())
    assert loss.item() == pytest.approx(1e4)
    assert far.grad is not None
    assert far.grad.item() == pytest.approx(-1)


def test_sequence_logprob_sums_supervised_positions_alone() -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn((3, 4, 6), generator=generator, dtype=torch.float64)
    targets = torch.randint(6, (3, 4), generator=generator)
    mask = torch.tensor([[True, False, True, True], [False] * 4, [True] * 4])
    found = sequence_logprob(logits, targets, mask)
    torch.testing.assert_close(found[0], -cross_entropy(logits[0], targets[0])[mask[0]].sum())
    assert found[1].item() == 0
    padded = torch.cat([logits, torch.full((3, 2, 6), 1e4, dtype=torch.float64)], dim=1)
    padded[:, 4:, 0] = -torch.inf  # what padding holds must not reach the sum, were it infinite
    wider = sequence_logprob(
        padded, torch.nn.functional.pad(targets, (0, 2)), torch.nn.functional.pad(mask, (0, 2))
    )
    torch.testing.assert_close(wider, found)


def test_rows_all_masked_have_no_gradient_and_no_nan() -> None:
    logits = torch.full((2, 3, 4), 1e4, requires_grad=True)
    targets, nothing = torch.zeros(2, 3, dtype=torch.long), torch.zeros(2, 3, dtype=torch.bool)
    torch.autograd.backward(sequence_logprob(logits, targets, nothing).sum())
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_half_precision_is_summed_in_float32() -> None:
    logits = torch.zeros(1, 1000, 8, dtype=torch.bfloat16)
    found = sequence_logprob(
        logits, torch.zeros(1, 1000, dtype=torch.long), torch.ones(1, 1000, dtype=torch.bool)
    )
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(-1000 * math.log(8), rel=1e-5)


def test_bad_options_are_refused() -> None:
    one, two = torch.zeros(1), torch.zeros(2)
    with pytest.raises(InputError, match="'beta' must be above 0"):
        dpo(one, one, one, one, beta=0)
    with pytest.raises(InputError, match="'tau' must be above 0"):
        ipo(one, one, one, one, tau=-1)
    with pytest.raises(InputError, match="one shape"):
        dpo(one, two, one, one)
