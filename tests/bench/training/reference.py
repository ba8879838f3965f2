"""What every loop must agree with: loss and gradient norm of the first batch in float64, written out in full."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tests.bench.training.batches import SOFT, TEXT, Batch, Batches, inputs_of
from tests.bench.training.plain import load


class Truth(NamedTuple):
    """Loss and gradient norm of the first batch."""

    loss: float
    norm: float


def truth(folder: Path, *, online: bool) -> Truth:
    """The reference: a float64 model over padded documents, so that packing is put to the test as well."""
    batch = Batches(folder, packed=False)[0]
    model = load(folder / "student", torch.device("cpu")).double()
    teacher = load(folder / "teacher", torch.device("cpu")).double() if online else None
    own = _distributions(model, batch)
    if teacher is None:
        loss = TEXT * functional.nll_loss(own, batch["targets"]) + SOFT * _bucket_kl(own, batch)
    else:
        with torch.no_grad():
            theirs = _distributions(teacher, batch)
        loss = (theirs.exp() * (theirs - own)).sum(-1).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    squares = sum(float(weight.grad.square().sum()) for weight in model.parameters())
    return Truth(loss.item(), squares**0.5)


def _distributions(model: Any, batch: Batch) -> Tensor:
    """Log-probabilities (n, v) of what follows the place before each taught token."""
    logits = model(**inputs_of(batch), use_cache=False).logits
    return logits.flatten(0, 1)[batch["places"] - 1].log_softmax(-1)


def _bucket_kl(own: Tensor, batch: Batch) -> Tensor:
    """Mean forward KL over k + 1 outcomes: the listed tokens and the sum of all others."""
    listed = torch.zeros_like(own, dtype=torch.bool).scatter(-1, batch["top_ids"], True)
    rest = own.masked_fill(listed, -torch.inf).logsumexp(-1, keepdim=True)
    outcomes = torch.cat([own.gather(-1, batch["top_ids"]), rest], dim=-1)
    shares = torch.cat([batch["top_logprobs"].double().exp(), batch["tail"].double()[:, None]], dim=-1)
    return functional.kl_div(outcomes, shares, reduction="batchmean")
