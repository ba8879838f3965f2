"""How wide a teacher is inside: the rank of its logits, read through log-probabilities and logit bias.

The logits of a transformer are its last hidden state times one matrix, so over many prompts they span no more
dimensions than the hidden state has. A logit bias lifts chosen tokens into the answer, so that any logit can be read.

References:
    Carlini et al. (2024), Stealing part of a production language model, arXiv 2403.06634, sections 4 and 5;
    Finlayson, Ren and Swayamdipta (2024), arXiv 2403.09539.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kdguard.distill.teachers.protocol import Teacher
from kdguard.errors import AttackError
from kdguard.simulate.attack.logit_readings import Channel, Floats, read_logits


@dataclass(frozen=True, eq=False)
class HiddenSize:
    """What the singular values say.

    Attributes:
        size: The hidden dimension; None where no clear gap shows, as with too few prompts or tokens or much noise.
        gap: Ratio of the singular values on both sides of the size.
        singular_values: All of them, falling.
        basis: Orthonormal rows that span the readings, shape (size or 0, tokens - 1): the output matrix up to a
            linear map of the hidden state.
        queries: Requests this took.
        channel: How the logits were read.
    """

    size: int | None
    gap: float
    singular_values: Floats
    basis: Floats
    queries: int
    channel: Channel


def recover_hidden_size(
    teacher: Teacher,
    prompts: Sequence[str],
    token_ids: Sequence[int],
    *,
    top_logprobs: int = 20,
    bias: float = 40.0,
    least_gap: float = 4.0,
    token_bytes: Mapping[bytes, int] | None = None,
) -> HiddenSize:
    """Read a matrix of logits and find its rank.

    Args:
        teacher: Any teacher with log-probabilities and logit bias.
        prompts: Different prompts; at least two more of them than the hidden dimension that is to be found.
        token_ids: Different tokens, none of which ends an answer; half as many again as prompts, so that nothing
            looks like a gap by chance.
        top_logprobs: Alternatives a query tells; over HTTP at most 20.
        bias: Added to the tokens to be read, above the spread of the logits and at most 100. Float32 teachers lose
            digits to a large one.
        least_gap: Smallest ratio that counts as a gap.
        token_bytes: Ids of tokens by their bytes, where the API names tokens by bytes only.

    Raises:
        AttackError: Too few prompts or tokens, or a teacher that does not answer or shows no log-probabilities.
    """
    readings = read_logits(
        teacher, prompts, token_ids, top_logprobs=top_logprobs, bias=bias, token_bytes=token_bytes
    )
    # What all prompts have in common may outweigh the rest a hundredfold, which would look like a gap after 1.
    apart = readings.differences[1:] - readings.differences[0]
    size, gap, values, rows = numerical_rank(apart, least_gap)
    return HiddenSize(size, gap, values, rows[: size or 0], readings.queries, readings.channel)


def numerical_rank(matrix: Floats, least_gap: float = 4.0) -> tuple[int | None, float, Floats, Floats]:
    """Rank at the largest gap between neighbouring singular values, if that is clear.

    Returns:
        The rank or None, the ratio at the gap, all singular values, and the right singular vectors as rows.

    References:
        Carlini et al. (2024), section 4.2: the size is where log s_i - log s_(i+1) is largest.
    """
    if min(matrix.shape) < 3:
        raise AttackError(f"a rank needs at least 3 prompts and 4 tokens, got {matrix.shape[0]} prompts")
    _, values, rows = np.linalg.svd(matrix, full_matrices=False)
    # Float rounding makes an exact zero 1e-17 or 1e-19 by chance; a floor keeps that from being a gap.
    floored = np.maximum(values, max(values[0], 1e-300) * 1e-12)
    ratios = floored[:-1] / floored[1:]
    place = int(np.argmax(ratios))
    return (place + 1 if ratios[place] >= least_gap else None), float(ratios[place]), values, rows
