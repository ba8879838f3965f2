"""Centred kernel alignment of two models' hidden states on the same texts. Descriptive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def alignment(left: Floats, right: Floats) -> float:
    """Linear CKA of two sets of states, rows alike, shapes (n, d) and (n, e); 1 = the same up to rotation and scale.

    Models of one task and tokenizer are aligned without any common origin, so there is no p-value here.

    References:
        Kornblith et al. (2019), Similarity of neural network representations revisited, ICML, equation 6.
    """
    one, other = left - left.mean(axis=0), right - right.mean(axis=0)
    across = float(np.linalg.norm(one.T @ other) ** 2)
    within = float(np.linalg.norm(one.T @ one) * np.linalg.norm(other.T @ other))
    return across / within if within > 0 else 0.0


def states(folder: Path, prompts: Sequence[str]) -> list[Floats]:
    """Hidden state at the last token of each prompt, for each layer, shape (n, d).

    Raises:
        ModelError: The folder is not safe or not whole.
    """
    import torch

    from kdguard.distill.models import load_model, load_tokenizer

    model, tokenizer = load_model(folder), load_tokenizer(folder)
    found: list[list[Floats]] = []
    with torch.inference_mode():
        for prompt in prompts:
            ids = torch.tensor([tokenizer(prompt)["input_ids"]])
            told = model(input_ids=ids, output_hidden_states=True).hidden_states
            found.append([layer[0, -1].double().numpy() for layer in told])
    return [np.stack(layer) for layer in zip(*found, strict=True)]
