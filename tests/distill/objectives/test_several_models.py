"""Several teachers, peers, and one's own earlier self."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from kdguard.distill.objectives import (
    born_again,
    cross_entropy,
    domain_weights,
    ema_update,
    forward_kl,
    gated_weights,
    jensen_shannon,
    mean_weights,
    mixed_teacher,
    multi_teacher_kl,
    mutual,
    prompt_distillation,
    prompt_pair,
)
from kdguard.errors import InputError
from tests.distill.objectives import reference


def models(seed: int, m: int = 3, n: int = 4, v: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn((m + 1, n, v), generator=generator, dtype=torch.float64) * 2
    return drawn[0], drawn[1:]


def mixture_reference(teachers: Tensor, weights: Tensor, temperature: float) -> np.ndarray:
    m, n, _ = teachers.shape
    return np.stack(
        [
            sum(
                weights[i, j].item() * reference.softmax(teachers[j, i].numpy(), temperature)
                for j in range(m)
            )
            for i in range(n)
        ]
    )


def test_mixtures_and_their_divergence() -> None:
    student, teachers = models(0)
    weights = gated_weights(
        torch.randn((4, 3), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    )
    mixture = mixture_reference(teachers, weights, 2.0)
    np.testing.assert_allclose(mixed_teacher(teachers, weights, 2.0).exp(), mixture)
    expected = [
        4 * reference.divergence(p, reference.softmax(z, 2.0))
        for p, z in zip(mixture, student.numpy(), strict=True)
    ]
    np.testing.assert_allclose(multi_teacher_kl(student, teachers, weights, 2.0), expected)
    assert torch.autograd.gradcheck(
        lambda z: multi_teacher_kl(z, teachers, weights, 2.0), student.requires_grad_()
    )


def test_a_gate_learns_and_the_student_cannot_tell_a_mixture_from_a_mean_of_losses() -> None:
    student, teachers = models(2)
    leaf, gate = student.requires_grad_(), torch.zeros((4, 3), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda g: multi_teacher_kl(student, teachers, gated_weights(g)), gate)
    (together,) = torch.autograd.grad(multi_teacher_kl(leaf, teachers, mean_weights(teachers)).sum(), leaf)
    single = torch.stack([forward_kl(leaf, teacher) for teacher in teachers]).mean(dim=0)
    (apart,) = torch.autograd.grad(single.sum(), leaf)
    torch.testing.assert_close(together, apart)
    assert (multi_teacher_kl(leaf, teachers, mean_weights(teachers)) <= single + 1e-12).all()


def test_one_expert_for_each_domain() -> None:
    student, teachers = models(3)
    weights = domain_weights(torch.tensor([2, 0, 1, 1]), torch.eye(3, dtype=torch.float64))
    expected = torch.stack([forward_kl(student[i], teachers[j, i]) for i, j in enumerate([2, 0, 1, 1])])
    torch.testing.assert_close(multi_teacher_kl(student, teachers, weights), expected)


def test_shares_are_renormalised_and_a_share_of_zero_has_a_finite_gradient() -> None:
    student, teachers = models(11)
    weights = torch.tensor([[0.0, 1.0, 3.0]] * 4, dtype=torch.float64, requires_grad=True)
    losses = multi_teacher_kl(student, teachers, weights)
    torch.testing.assert_close(losses, multi_teacher_kl(student, teachers, weights.detach() / 4))
    torch.autograd.backward(losses.sum())
    assert weights.grad is not None
    assert weights.grad.isfinite().all()


def test_a_mixture_serves_any_divergence_and_one_teacher_is_no_mixture() -> None:
    student, teachers = models(4)
    alone = mixed_teacher(teachers[:1], torch.ones(4, 1, dtype=torch.float64))
    torch.testing.assert_close(jensen_shannon(student, alone, 0.3), jensen_shannon(student, teachers[0], 0.3))


def test_teachers_that_exclude_entries_keep_the_gate_finite() -> None:
    student, teachers = models(5)
    teachers[:, :, 0] = -torch.inf
    gate = torch.zeros((4, 3), dtype=torch.float64, requires_grad=True)
    loss = multi_teacher_kl(student, teachers, gated_weights(gate))
    torch.autograd.backward(loss.sum())
    assert loss.isfinite().all()
    assert gate.grad is not None
    assert gate.grad.isfinite().all()
    torch.testing.assert_close(gate.grad, gate_slope(student[:, 1:], teachers[:, :, 1:], student))


def gate_slope(student: Tensor, teachers: Tensor, whole: Tensor) -> Tensor:
    """The same gate gradient with the excluded entry cut off, the student keeping its own normalisation."""
    gate = torch.zeros((4, 3), dtype=torch.float64, requires_grad=True)
    log_p = mixed_teacher(teachers, gated_weights(gate))
    log_q = student - whole.logsumexp(dim=-1, keepdim=True)
    torch.autograd.backward((log_p.exp() * (log_p - log_q)).sum())
    assert gate.grad is not None
    return gate.grad


def test_weights_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(n, m\), got \(3, 4\)"):
        mixed_teacher(models(6)[1], torch.ones(3, 4))


@pytest.mark.parametrize("m", [2, 4])
def test_mutual_learning_of_m_peers(m: int) -> None:
    _, peers = models(7, m=m)
    targets = torch.tensor([0, 4, 2, 2])
    z = peers.numpy()
    expected = [
        [
            reference.cross_entropy(z[i, n], int(targets[n]))
            + 0.5 * np.mean([reference.forward_kl(z[i, n], z[j, n], 2.0) for j in range(m) if j != i])
            for n in range(4)
        ]
        for i in range(m)
    ]
    np.testing.assert_allclose(mutual(peers, targets, 2.0, 0.5), expected)


def test_peers_are_targets_and_not_paths_of_gradient() -> None:
    _, peers = models(8)
    targets = torch.tensor([0, 1, 2, 3])
    leaf = peers.clone().requires_grad_()
    torch.autograd.backward(mutual(leaf, targets).sum())
    assert leaf.grad is not None
    for i in range(3):
        alone = peers[i].clone().requires_grad_()
        pulls = [forward_kl(alone, peers[j]) for j in range(3) if j != i]
        torch.autograd.backward((cross_entropy(alone, targets) + (pulls[0] + pulls[1]) / 2).sum())
        torch.testing.assert_close(leaf.grad[i], alone.grad)
    torch.testing.assert_close(mutual(peers, targets, weight=0.0)[0], cross_entropy(peers[0], targets))
    with pytest.raises(InputError, match="at least 2 peers, got 1"):
        mutual(peers[:1], targets)


def test_born_again_without_labels_is_forward_kl() -> None:
    student, teachers = models(9)
    torch.testing.assert_close(
        born_again(student, teachers[0], torch.zeros(4, dtype=torch.long), weight=1.0),
        forward_kl(student, teachers[0]),
    )


def test_moving_average_of_weights() -> None:
    teacher = {"w": torch.tensor([1.0, 2.0]), "steps": torch.tensor(3)}
    student = {"w": torch.tensor([3.0, 2.0], requires_grad=True), "steps": torch.tensor(9)}
    moved = ema_update(teacher, student, 0.75)
    torch.testing.assert_close(moved["w"], torch.tensor([1.5, 2.0]))
    assert moved["steps"].item() == 9
    assert not moved["w"].requires_grad
    assert torch.equal(teacher["w"], torch.tensor([1.0, 2.0]))
    assert torch.equal(ema_update(teacher, student, 1.0)["w"], teacher["w"])
    assert torch.equal(ema_update(teacher, student, 0.0)["w"], student["w"].detach())
    with pytest.raises(InputError, match="only one side has: steps"):
        ema_update(teacher, {"w": student["w"]}, 0.5)


def test_small_steps_are_not_rounded_away_in_half_precision() -> None:
    state = {"w": torch.ones(1, dtype=torch.bfloat16)}
    target = {"w": torch.full((1,), 2.0, dtype=torch.bfloat16)}
    for _ in range(1000):
        state = ema_update(state, target, 0.999)
    assert state["w"].dtype == torch.float32
    assert state["w"].item() == pytest.approx(2 - 0.999**1000, rel=1e-4)


def test_prompt_pairs_line_up_on_the_answer() -> None:
    pair = prompt_pair([1, 2, 3], [4, 5], [6, 7, 8])
    assert pair.teacher_ids == (1, 2, 3, 4, 5, 6, 7, 8)
    assert pair.student_ids == (4, 5, 6, 7, 8)
    for ids, places in [
        (pair.teacher_ids, pair.teacher_positions),
        (pair.student_ids, pair.student_positions),
    ]:
        assert tuple(ids[place + 1] for place in places) == pair.target_ids == (6, 7, 8)
    bare = prompt_pair([], [4], [6])
    assert (bare.teacher_ids, bare.teacher_positions) == (bare.student_ids, bare.student_positions)
    for question, answer in [([], [1]), ([1], [])]:
        with pytest.raises(InputError, match="at least one token each"):
            prompt_pair([1], question, answer)


def test_prompt_distillation_holds_the_teacher_fixed() -> None:
    student, teachers = models(10)
    both = teachers[0].requires_grad_()
    torch.autograd.backward(prompt_distillation(student.requires_grad_(), both).sum())
    assert both.grad is None
    torch.testing.assert_close(prompt_distillation(both, both), torch.zeros(4, dtype=torch.float64))
