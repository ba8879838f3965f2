"""Batches and losses of the loops over transformers; needs numpy and torch alone, so that any environment has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

TEXT, SOFT = 0.5, 0.5  # weights of the two losses of the offline objective
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.1
BETAS = (0.9, 0.95)
CLIP = 1.0
IGNORED = -100
Batch = dict[str, Tensor]


class Batches(torch.utils.data.Dataset[Batch]):
    """The batch of every optimiser step, made on the host: for a data loader with `batch_size=None`.

    Args:
        folder: Holds `rows.npz`.
        packed: Rows of several documents with a mask that keeps them apart; otherwise a padded row a document.
    """

    def __init__(self, folder: Path, *, packed: bool) -> None:
        with np.load(folder / "rows.npz") as file:
            self.held = {name: file[name] for name in file.files}
        self.make = self.packed if packed else self.padded

    def __len__(self) -> int:
        return len(self.held["order"])

    def __getitem__(self, step: int) -> Batch:
        return self.make(self.held["order"][step])

    def packed(self, rows: Any) -> Batch:
        """Rows (b, t) as they are, with positions and a mask (b, 1, t, t); true = may look."""
        documents = torch.from_numpy(self.held["documents"][rows])
        same = documents[:, None, :, None] == documents[:, None, None, :]
        return self._taught(self.held["tokens"][rows], self.held["soft_rows"][rows]) | {
            "attention_mask": same & torch.ones(same.shape[-2:], dtype=torch.bool).tril(),
            "position_ids": torch.from_numpy(self.held["positions"][rows]).long(),
        }

    def padded(self, rows: Any) -> Batch:
        """A row a document (c, longest), padded at its end."""
        found = []
        for row in rows:
            numbers = self.held["documents"][row]
            found += [(row, np.flatnonzero(numbers == number)) for number in range(numbers.max() + 1)]
        longest = max(len(places) for _, places in found)
        tokens = np.zeros((len(found), longest), np.int32)
        pointers = np.full((len(found), longest), -1, np.int32)
        mask = torch.zeros(len(found), longest, dtype=torch.long)
        for at, (row, places) in enumerate(found):
            tokens[at, : len(places)] = self.held["tokens"][row, places]
            pointers[at, : len(places)] = self.held["soft_rows"][row, places]
            mask[at, : len(places)] = 1
        return self._taught(tokens, pointers) | {"attention_mask": mask}

    def _taught(self, tokens: Any, pointers: Any) -> Batch:
        """Tokens, labels, and the soft targets of the taught places in the order of the flattened rows."""
        ids = torch.from_numpy(tokens).long()
        places = torch.from_numpy(np.flatnonzero(pointers >= 0))
        rows = pointers[pointers >= 0]
        return {
            "input_ids": ids,
            "labels": torch.where(torch.from_numpy(pointers) >= 0, ids, IGNORED),
            "places": places,
            "targets": ids.flatten()[places],
            "top_ids": torch.from_numpy(self.held["ids"][rows]).long(),
            "top_logprobs": torch.from_numpy(self.held["logprobs"][rows]),
            "tail": torch.from_numpy(self.held["tail"][rows]),
        }


def inputs_of(batch: Batch) -> Batch:
    """What a model's forward pass takes."""
    return {name: batch[name] for name in ("input_ids", "attention_mask", "position_ids") if name in batch}


def taught_logits(model: Any, batch: Batch, *, all_positions: bool) -> Tensor:
    """Logits (n, v) that predict the taught tokens.

    Args:
        model: A LlamaForCausalLM.
        batch: From `Batches`.
        all_positions: Call the model as it is documented, and choose from the logits of every position; otherwise
            choose hidden states first and project only those.
    """
    before = batch["places"] - 1
    if all_positions:
        return model(**inputs_of(batch), use_cache=False).logits.flatten(0, 1)[before]
    hidden = model.model(**inputs_of(batch), use_cache=False).last_hidden_state
    return model.lm_head(hidden.flatten(0, 1)[before])


def offline_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy and forward KL over the listed tokens and one bucket for all others, mean over taught tokens."""
    wide = logits if logits.dtype == torch.float64 else logits.float()
    total = wide.logsumexp(-1, keepdim=True)
    text = total.squeeze(-1) - wide.gather(-1, batch["targets"][:, None]).squeeze(-1)
    own = wide.gather(-1, batch["top_ids"]) - total
    rest = torch.log1p(-own.exp().sum(-1).clamp_max(1 - 1e-6))
    theirs, tail = batch["top_logprobs"].to(wide.dtype), batch["tail"].to(wide.dtype)
    soft = (theirs.exp() * (theirs - own)).sum(-1) + tail * (tail.log() - rest)
    return (TEXT * text + SOFT * soft).mean()


def online_loss(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Forward KL over the whole vocabulary, mean over taught tokens."""
    wide = logits if logits.dtype == torch.float64 else logits.float()
    theirs = functional.log_softmax(teacher_logits.to(wide.dtype), dim=-1)
    return functional.kl_div(wide.log_softmax(-1), theirs, reduction="batchmean", log_target=True)
