"""Objectives trace into one graph: nothing in them looks at values or waits for a device."""

from __future__ import annotations

import pytest
import torch

from tests.distill.objectives.columns import CASES, Case, batch


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_graph_for_forward_and_backward(case: Case) -> None:
    torch.compiler.reset()  # all cases share one wrapper, whose traces would reach the limit
    logits, columns = batch(4, 6, 3, seed=0, dtype=torch.float32)
    traced = torch.compile(case.ours, backend="aot_eager", fullgraph=True)
    leaf, other = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    losses, expected = traced(leaf, columns), case.ours(other, columns)
    torch.autograd.backward(losses.sum() + expected.sum())
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(leaf.grad, other.grad)
