"""Relations between examples, against loops in NumPy, and what they are blind to."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from kdguard.distill.whitebox.relations import flow_gram, gram_similarity, rkd_angle, rkd_distance
from kdguard.errors import InputError
from tests.distill.whitebox.owner import OWNER

Array = np.ndarray


def sides(seed: int, n: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((n, 3), (n, 6))
    student, teacher = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return student, teacher


def huber(gap: float) -> float:
    return gap * gap / 2 if abs(gap) <= 1 else abs(gap) - 0.5


def relative_distances(x: Array) -> list[float]:
    found = [float(np.linalg.norm(a - b)) for a, b in itertools.combinations(x, 2)]
    return [distance / float(np.mean(found)) for distance in found]


def distance_reference(x: Array, y: Array) -> float:
    pairs = zip(relative_distances(x), relative_distances(y), strict=True)
    return float(np.mean([huber(a - b) for a, b in pairs]))


def cosine(a: Array, corner: Array, b: Array) -> float:
    first, second = a - corner, b - corner
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


def angle_reference(x: Array, y: Array) -> float:
    triples = itertools.permutations(range(len(x)), 3)
    return float(np.mean([huber(cosine(x[i], x[j], x[k]) - cosine(y[i], y[j], y[k])) for i, j, k in triples]))


def gram_reference(x: Array, y: Array) -> float:
    grams = [side @ side.T for side in (x, y)]
    rows = [gram / np.linalg.norm(gram, axis=1, keepdims=True) for gram in grams]
    return float(np.mean((rows[0] - rows[1]) ** 2))


RELATIONS = [
    (rkd_distance, distance_reference),
    (rkd_angle, angle_reference),
    (gram_similarity, gram_reference),
]
each_relation = pytest.mark.parametrize(
    ("loss", "expected"), RELATIONS, ids=["rkd_distance", "rkd_angle", "gram_similarity"]
)


@each_relation
def test_values_and_gradients(loss: Callable[..., Tensor], expected: Callable[[Array, Array], float]) -> None:
    for seed, n in enumerate((3, 5, 7)):
        student, teacher = sides(seed, n)
        found = loss(student, teacher, owner_consent=OWNER)
        assert found.item() == pytest.approx(expected(student.numpy(), teacher.numpy()), rel=1e-9)
        leaf = student.requires_grad_()
        assert torch.autograd.gradcheck(lambda x, y=teacher: loss(x, y, owner_consent=OWNER), leaf)


@each_relation
def test_blind_to_order_scale_and_turns(loss: Callable[..., Tensor], expected: object) -> None:
    student, teacher = sides(4)
    found = loss(student, teacher, owner_consent=OWNER)
    turn = torch.linalg.qr(
        torch.randn((6, 6), generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    ).Q
    order = torch.tensor([4, 0, 3, 1, 2])
    torch.testing.assert_close(loss(student * 7, teacher @ turn / 3, owner_consent=OWNER), found)
    torch.testing.assert_close(loss(student[order], teacher[order], owner_consent=OWNER), found)
    if loss is not gram_similarity:
        torch.testing.assert_close(loss(student + 5, teacher - 2, owner_consent=OWNER), found)
    same = loss(teacher @ turn * 2, teacher, owner_consent=OWNER)
    assert same.item() == pytest.approx(0, abs=1e-12)


@each_relation
@pytest.mark.parametrize("n", [0, 1, 2, 4])
def test_few_or_coinciding_examples_are_safe(loss: Callable[..., Tensor], expected: object, n: int) -> None:
    leaf = torch.ones(n, 3, requires_grad=True)
    found = loss(leaf, torch.ones(n, 4), owner_consent=OWNER)
    torch.autograd.backward(found)
    assert found.item() == pytest.approx(0, abs=1e-6)
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()


@each_relation
def test_extremes_and_half_precision(loss: Callable[..., Tensor], expected: object) -> None:
    student, teacher = sides(6)
    leaf = (student * 1e4).float().requires_grad_()
    found = loss(leaf, (teacher * 1e-4).float(), owner_consent=OWNER)
    torch.autograd.backward(found)
    assert found.isfinite()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    assert loss(student.bfloat16(), teacher.bfloat16(), owner_consent=OWNER).dtype == torch.float32


@each_relation
def test_other_examples_are_refused(loss: Callable[..., Tensor], expected: object) -> None:
    student, teacher = sides(7)
    with pytest.raises(InputError, match=r"same n examples.*\(5, 3\) and \(4, 6\)"):
        loss(student, teacher[:4], owner_consent=OWNER)


def test_flow_between_two_layers() -> None:
    generator = torch.Generator().manual_seed(8)
    lower, teacher_lower = torch.randn((2, 5, 3), generator=generator, dtype=torch.float64)
    upper, teacher_upper = torch.randn((2, 5, 4), generator=generator, dtype=torch.float64)
    mine = sum(np.outer(a, b) for a, b in zip(lower.numpy(), upper.numpy(), strict=True)) / 5
    theirs = (
        sum(np.outer(a, b) for a, b in zip(teacher_lower.numpy(), teacher_upper.numpy(), strict=True)) / 5
    )
    found = flow_gram(lower, upper, teacher_lower, teacher_upper, owner_consent=OWNER)
    assert found.item() == pytest.approx(float(np.mean((mine - theirs) ** 2)))

    def flow(a: Tensor, b: Tensor) -> Tensor:
        return flow_gram(a, b, teacher_lower, teacher_upper, owner_consent=OWNER)

    assert torch.autograd.gradcheck(flow, (lower.requires_grad_(), upper.requires_grad_()))
    empty = flow_gram(lower[:0], upper[:0], teacher_lower[:0], teacher_upper[:0], owner_consent=OWNER)
    assert empty.item() == 0
    with pytest.raises(InputError, match="same widths"):
        flow_gram(lower, upper, teacher_lower, teacher_upper[:, :3], owner_consent=OWNER)
