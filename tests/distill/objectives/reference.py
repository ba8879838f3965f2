"""Objectives again, in plain float64 NumPy: loops and probabilities, nothing shared with the code under test."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def softmax(row: Array, temperature: float = 1.0) -> Array:
    powers = np.exp((row - row.max()) / temperature)
    return powers / powers.sum()


def divergence(p: Array, q: Array) -> float:
    return sum(float(a) * float(np.log(a / b)) for a, b in zip(p, q, strict=True) if a > 0)


def rows(one: Callable[..., float]) -> Callable[..., Array]:
    """A function of one position, applied to all; arrays are cut along their first axis, options passed on."""

    def all_rows(*columns: Array, **options: Any) -> Array:
        return np.array([one(*parts, **options) for parts in zip(*columns, strict=True)], dtype=np.float64)

    return all_rows


def cross_entropy(z: Array, target: int) -> float:
    return -float(np.log(softmax(z)[target]))


def forward_kl(z: Array, teacher: Array, temperature: float = 1.0) -> float:
    return temperature**2 * divergence(softmax(teacher, temperature), softmax(z, temperature))


def reverse_kl(z: Array, teacher: Array, temperature: float = 1.0) -> float:
    return forward_kl(teacher, z, temperature)


def jensen_shannon(z: Array, teacher: Array, beta: float = 0.5, temperature: float = 1.0) -> float:
    p, q = softmax(teacher, temperature), softmax(z, temperature)
    m = beta * p + (1 - beta) * q
    return temperature**2 * (beta * divergence(p, m) + (1 - beta) * divergence(q, m))


def skewed_kl(z: Array, teacher: Array, alpha: float, temperature: float = 1.0) -> float:
    p, q = softmax(teacher, temperature), softmax(z, temperature)
    return temperature**2 * divergence(p, alpha * p + (1 - alpha) * q)


def skewed_reverse_kl(z: Array, teacher: Array, alpha: float, temperature: float = 1.0) -> float:
    p, q = softmax(teacher, temperature), softmax(z, temperature)
    return temperature**2 * divergence(q, (1 - alpha) * p + alpha * q)


def adaptive_share(z: Array, teacher: Array, head: float = 0.5) -> float:
    p, q = softmax(teacher), softmax(z)
    order = sorted(range(len(p)), key=lambda i: -p[i])
    cumulated, at_head = 0.0, 0.0
    for place, i in enumerate(order):
        cumulated += p[i]
        if place == 0 or cumulated <= head:
            at_head += abs(p[i] - q[i])
    return float(at_head / np.abs(p - q).sum())


def adaptive_kl(z: Array, teacher: Array, head: float = 0.5) -> float:
    share = adaptive_share(z, teacher, head)
    return share * forward_kl(z, teacher) + (1 - share) * reverse_kl(z, teacher)


def total_variation(z: Array, teacher: Array, temperature: float = 1.0) -> float:
    return float(np.maximum(softmax(teacher, temperature) - softmax(z, temperature), 0).sum())


def hinton(z: Array, teacher: Array, target: int, temperature: float, weight: float) -> float:
    return weight * forward_kl(z, teacher, temperature) + (1 - weight) * cross_entropy(z, target)


def _listed(ids: Array, logprobs: Array) -> dict[int, float]:
    return {int(i): float(np.exp(lp)) for i, lp in zip(ids, logprobs, strict=True) if i >= 0 and lp > -np.inf}


def topk_tail_kl(z: Array, ids: Array, logprobs: Array, tail: float, temperature: float = 1.0) -> float:
    listed, q = _listed(ids, logprobs), softmax(z)
    p_buckets = np.array([*listed.values(), tail if len(listed) < len(z) else 0.0])
    q_buckets = np.array([*(q[i] for i in listed), sum(q[i] for i in range(len(z)) if i not in listed)])
    p_buckets, q_buckets = p_buckets ** (1 / temperature), q_buckets ** (1 / temperature)
    return temperature**2 * divergence(p_buckets / p_buckets.sum(), q_buckets / q_buckets.sum())


def topk_uniform_kl(z: Array, ids: Array, logprobs: Array, tail: float) -> float:
    listed = _listed(ids, logprobs)
    others = len(z) - len(listed)
    p = np.array([listed.get(i, tail / others if others else 0.0) for i in range(len(z))])
    return divergence(p / p.sum(), softmax(z))


def topk_renormalised_kl(z: Array, ids: Array, logprobs: Array, temperature: float = 1.0) -> float:
    listed = _listed(ids, logprobs)
    p = np.array(list(listed.values())) ** (1 / temperature)
    return temperature**2 * divergence(p / p.sum(), softmax(z[list(listed)], temperature))


def sampled_kl(z: Array, ids: Array, counts: Array, temperature: float = 1.0) -> float:
    p = np.zeros(len(z))
    for i, count in zip(ids, counts, strict=True):
        if i >= 0:
            p[i] += count
    return temperature**2 * divergence(p / p.sum(), softmax(z, temperature))


def _ordered_pairs(z: Array, ids: Array, logprobs: Array) -> list[tuple[float, float]]:
    listed = _listed(ids, logprobs)
    return [(z[i], z[j]) for i, j in itertools.permutations(listed, 2) if listed[i] > listed[j]]


def ranking_hinge(z: Array, ids: Array, logprobs: Array, margin: float = 1.0) -> float:
    pairs = _ordered_pairs(z, ids, logprobs)
    return float(np.mean([max(0.0, margin - (a - b)) for a, b in pairs])) if pairs else 0.0


def ranking_logistic(z: Array, ids: Array, logprobs: Array) -> float:
    pairs = _ordered_pairs(z, ids, logprobs)
    return float(np.mean([np.log1p(np.exp(-(a - b))) for a, b in pairs])) if pairs else 0.0


def ranking_listwise(z: Array, ids: Array, logprobs: Array) -> float:
    listed = _listed(ids, logprobs)
    order = sorted(listed, key=lambda i: -listed[i])
    steps = [
        -np.log(np.exp(z[i]) / sum(np.exp(z[j]) for j in order[place:])) for place, i in enumerate(order)
    ]
    return float(np.mean(steps)) if steps else 0.0


def soft_label(z: Array, probs: Array, temperature: float = 1.0) -> float:
    p = probs ** (1 / temperature)
    return temperature**2 * divergence(p / p.sum(), softmax(z, temperature)) if p.sum() else 0.0


def step_by_step(z: Array, target: int, is_rationale: bool, rationale_weight: float) -> float:
    return cross_entropy(z, target) * (rationale_weight if is_rationale else 1.0)


def uld(z: Array, teacher: Array, temperature: float = 1.0) -> float:
    q, p = sorted(softmax(z, temperature), reverse=True), sorted(softmax(teacher, temperature), reverse=True)
    return float(sum(abs(a - b) for a, b in itertools.zip_longest(p, q, fillvalue=0.0)))


def uld_topk(z: Array, logprobs: Array) -> float:
    q, p = sorted(softmax(z), reverse=True), sorted(np.exp(logprobs), reverse=True)
    head = sum(abs(a - b) for a, b in itertools.zip_longest(p, q[: len(p)], fillvalue=0.0))
    return float(head + abs(sum(q[len(p) :]) - max(1 - sum(p), 0)))
