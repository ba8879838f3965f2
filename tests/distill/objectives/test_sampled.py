"""Sampled soft labels: the mean gradient over draws is the dense gradient."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import Tensor

from kdguard.distill.objectives import draw_soft_labels, forward_kl, sampled_kl, topk_of, topk_renormalised_kl
from kdguard.errors import InputError
from tests.distill.objectives.columns import batch

FALSE_FAIL = 1e-6


def slope(losses: Tensor, leaf: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(losses.sum(), leaf)
    return found


def misfit_p(mean: Tensor, dense: Tensor, probabilities: Tensor, draws: int) -> float:
    """Smallest p-value over positions that `draws` independent draws explain the gap between two gradients.

    The gradient of one draw is q - onehot, so the gap times the draws is a multinomial deviation: chi-squared with
    v - 1 degrees of freedom. Systematic draws stray less, so p is larger than that.
    """
    statistic = draws * ((mean - dense).square() / probabilities).sum(dim=-1)
    return float(stats.chi2.sf(statistic.numpy(), df=probabilities.shape[-1] - 1).min())


@pytest.mark.parametrize(("draws", "temperature"), [(1, 1.0), (12, 1.0), (12, 2.0)])
def test_mean_over_draws_is_the_dense_gradient(draws: int, temperature: float) -> None:
    """Fails a right implementation with chance 4e-6 at most (1e-6 a position); a biased one is caught below."""
    n, v, repeats = 4, 8, 3_000
    logits, columns = batch(n, v, 4, seed=0)
    leaf, teacher = logits.requires_grad_(), columns["teacher_logits"] / 2
    dense = slope(forward_kl(leaf, teacher, temperature), leaf) / temperature
    ids, counts = draw_soft_labels(
        teacher.repeat(repeats, 1), draws, torch.Generator().manual_seed(1), temperature
    )
    sampled = (
        slope(sampled_kl(leaf.repeat(repeats, 1), ids, counts, temperature), leaf) / repeats / temperature
    )
    probabilities = torch.softmax(teacher / temperature, dim=-1)
    assert misfit_p(sampled, dense, probabilities, draws * repeats) > FALSE_FAIL
    ids, logprobs, _ = topk_of(teacher, 6)
    cut = slope(topk_renormalised_kl(leaf, ids, logprobs, temperature), leaf) / temperature
    assert misfit_p(cut, dense, probabilities, draws * repeats) < FALSE_FAIL


def test_gradient_of_one_draw_is_q_minus_its_shares() -> None:
    logits, _ = batch(1, 5, 1, seed=2)
    leaf = logits.requires_grad_()
    ids, counts = torch.tensor([[3, 0, -1]]), torch.tensor([[3, 1, 0]], dtype=torch.int32)
    shares = torch.tensor([[0.25, 0, 0, 0.75, 0]], dtype=torch.float64)
    torch.testing.assert_close(
        slope(sampled_kl(leaf, ids, counts), leaf), torch.softmax(logits, dim=-1).detach() - shares
    )


def test_weights_may_be_fractions_and_their_scale_does_not_matter() -> None:
    logits, columns = batch(3, 6, 2, seed=3)
    ids, counts = columns["sampled_ids"], columns["counts"]
    torch.testing.assert_close(sampled_kl(logits, ids, counts), sampled_kl(logits, ids, counts * 0.125))


def test_counts_behind_an_unknown_id_are_ignored() -> None:
    logits, columns = batch(3, 6, 2, seed=5)
    ids, counts = columns["sampled_ids"], columns["counts"]
    padded = torch.nn.functional.pad(ids, (0, 1), value=-1), torch.nn.functional.pad(counts, (0, 1), value=9)
    torch.testing.assert_close(sampled_kl(logits, *padded), sampled_kl(logits, ids, counts))


def test_positions_without_draws_teach_nothing() -> None:
    leaf = torch.randn(2, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    ids, counts = torch.full((2, 3), -1), torch.zeros(2, 3)
    losses = sampled_kl(leaf, ids, counts)
    assert torch.equal(losses, torch.zeros(2))
    assert torch.equal(slope(losses, leaf), torch.zeros(2, 4))


def test_draws_are_counted_sorted_padded_and_repeatable() -> None:
    _, columns = batch(50, 9, 1, seed=4)
    teacher = columns["teacher_logits"]
    ids, counts = draw_soft_labels(teacher, 20, torch.Generator().manual_seed(5))
    assert ids.shape == counts.shape == (50, 9)
    assert ids.dtype == counts.dtype == torch.int32
    assert torch.equal(counts.sum(dim=-1), torch.full((50,), 20))
    assert torch.equal(ids == -1, counts == 0)
    for row in ids:
        listed = row[row >= 0]
        assert torch.equal(listed, listed.unique())
        assert (row[len(listed) :] == -1).all()
    again = draw_soft_labels(teacher, 20, torch.Generator().manual_seed(5))
    assert torch.equal(ids, again[0])
    assert torch.equal(counts, again[1])


def test_counts_are_within_one_of_their_mean() -> None:
    _, columns = batch(200, 9, 1, seed=4)
    teacher = columns["teacher_logits"].repeat(200, 1)
    ids, counts = draw_soft_labels(teacher, 20, torch.Generator().manual_seed(7))
    dense = torch.zeros(len(ids), 10, dtype=torch.double)
    dense.scatter_(1, torch.where(ids < 0, 9, ids).long(), counts.double())
    mean = 20 * torch.softmax(teacher.double(), dim=-1)
    assert (dense[:, :9] - mean).abs().max() < 1


def test_an_impossible_token_is_never_drawn() -> None:
    teacher = torch.full((500, 6), -torch.inf)
    teacher[:, [1, 3]] = torch.tensor([0.0, -20.0])
    ids, _ = draw_soft_labels(teacher, 50, torch.Generator().manual_seed(8))
    assert set(ids.flatten().tolist()) <= {-1, 1, 3}


def test_impossible_draws_are_refused() -> None:
    with pytest.raises(InputError, match="'draws' must be at least 1, got 0"):
        draw_soft_labels(torch.zeros(1, 3), 0, torch.Generator())
    with pytest.raises(InputError, match="one shape"):
        sampled_kl(torch.zeros(1, 3), torch.zeros(1, 2, dtype=torch.long), torch.zeros(1, 1))
