"""What two models expect of the next token while they read the same texts: the forward passes of the open test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from kdguard.detectors.watermark.radioactivity.weights import Reading
from kdguard.detectors.watermark.windows import Texts
from kdguard.errors import WatermarkError

_TOKENS = 4_096  # places whose probabilities are held at once


def readings(
    suspect: Any, clean: Sequence[Any], texts: Texts, *, context: int | None = None
) -> Iterator[Reading]:
    """Let a suspect and clean models read texts.

    Args:
        suspect: A causal language model of transformers, in evaluation mode.
        clean: Models that saw no mark, of the same tokenizer; their expectations are averaged.
        texts: What is read.
        context: Longest piece that is read at once; by default what all the models can.

    Yields:
        Batches for `open_contrast`.

    Raises:
        WatermarkError: No clean model, or vocabularies that differ.
    """
    models = (suspect, *clean)
    sizes = sorted({int(model.config.vocab_size) for model in models})
    if not clean or len(sizes) > 1:
        raise WatermarkError(
            f"the open test needs clean models with the suspect's tokenizer, got {len(clean)} of them and "
            f"vocabularies of {sizes}"
        )
    longest = context or min(int(model.config.max_position_embeddings) for model in models)
    for batch in _batches(_pieces(texts, longest)):
        yield Reading(
            Texts.of(batch),
            _expected(suspect, batch),
            np.mean([_expected(model, batch) for model in clean], axis=0),
        )


@torch.inference_mode()
def _expected(model: Any, pieces: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.float32]:
    """Probabilities of every next token, (t, vocab); a piece's first token is expected from nothing."""
    device = next(model.parameters()).device
    longest = max(map(len, pieces))
    ids = torch.zeros(len(pieces), longest, dtype=torch.int64)
    seen = torch.zeros_like(ids)
    for row, piece in enumerate(pieces):
        ids[row, : len(piece)] = torch.from_numpy(piece)
        seen[row, : len(piece)] = 1
    logits = model(input_ids=ids.to(device), attention_mask=seen.to(device)).logits
    likely = logits.float().softmax(-1)
    first = torch.full_like(likely[:, :1], 1 / likely.shape[-1])
    rows = torch.cat((first, likely[:, :-1]), 1).cpu()
    return torch.cat([rows[row, : len(piece)] for row, piece in enumerate(pieces)]).numpy()


def _pieces(texts: Texts, longest: int) -> Iterator[npt.NDArray[np.int64]]:
    for begin, end in zip(texts.starts[:-1].tolist(), texts.starts[1:].tolist(), strict=True):
        for at in range(begin, end, longest):
            yield texts.token_ids[at : min(at + longest, end)]


def _batches(pieces: Iterator[npt.NDArray[np.int64]]) -> Iterator[list[npt.NDArray[np.int64]]]:
    batch: list[npt.NDArray[np.int64]] = []
    for piece in pieces:
        if batch and (len(batch) + 1) * max(len(piece), *map(len, batch)) > _TOKENS:
            yield batch
            batch = []
        batch.append(piece)
    if batch:
        yield batch
