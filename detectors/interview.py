"""Asking a suspect: what it says to prompts, and how likely it finds texts, where its weights are at hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kdguard.errors import InputError

if TYPE_CHECKING:
    from kdguard.distill.teachers.protocol import Teacher

Floats = npt.NDArray[np.float64]

_TOKENS_AT_ONCE = 16_384


class Said(NamedTuple):
    """One answer.

    Attributes:
        name: Of the prompt.
        prompt: What was asked.
        response: What was said.
    """

    name: str
    prompt: str
    response: str


class Continuation(NamedTuple):
    """A text whose likelihood is asked.

    Attributes:
        prompt: The user's turn; None for a bare text.
        before: How the answer begins; given, not scored.
        text: What is scored behind it.
    """

    prompt: str | None
    before: str
    text: str


def answers(
    suspect: Teacher,
    prompts: Sequence[tuple[str, str]],
    *,
    times: int = 1,
    max_tokens: int = 128,
    temperature: float = 1.0,
) -> Iterator[Said]:
    """Ask every prompt some times.

    Args:
        suspect: Who is asked.
        prompts: Name and text of each.
        times: Answers to each.
        max_tokens: Longest answer.
        temperature: Of sampling.

    Raises:
        InputError: Nothing was answered.
    """
    from kdguard.distill.teachers.protocol import Ask

    asks = [
        Ask(request_id=f"{place}", prompt=text, n=times, max_tokens=max_tokens, temperature=temperature)
        for place, (_, text) in enumerate(prompts)
    ]
    answered, wrong = 0, ""
    for answer in suspect.answer(asks):
        if answer.response is None:
            wrong = wrong or f"{answer.status}: {answer.error}"
            continue
        answered += 1
        name, prompt = prompts[int(answer.request_id)]
        yield Said(name, prompt, answer.response)
    if asks and not answered:
        raise InputError(f"{suspect.name} answered none of {len(asks)} prompts ({wrong or 'no text'})")


def log_likelihoods(model: Any, tokenizer: Any, rows: Sequence[Continuation]) -> Floats:
    """Log-likelihood of each text in nats, shape (n,).

    Args:
        model: A causal language model of transformers, in evaluation mode.
        tokenizer: Its tokenizer.
        rows: What is scored.

    Raises:
        InputError: A text has no token, or does not fit the model.
    """
    from kdguard.distill.students.tokenizer import conversation_ids, text_ids

    talks = [[{"role": "user", "content": row.prompt}] if row.prompt is not None else [] for row in rows]
    asked = iter(conversation_ids(tokenizer, [talk for talk in talks if talk]))
    heads = [
        [*(next(asked) if talk else []), *begun]
        for talk, begun in zip(talks, text_ids(tokenizer, [row.before for row in rows]), strict=True)
    ]
    tails = text_ids(tokenizer, [row.text for row in rows])
    longest = int(model.config.max_position_embeddings)
    for row, head, tail in zip(rows, heads, tails, strict=True):
        if not head or not tail or len(head) + len(tail) > longest:
            raise InputError(
                f"a text and what stands before it need 1 to {longest} tokens together, each some; "
                f"got {len(head)} and {len(tail)} for {row.text[:40]!r}"
            )
    found = np.zeros(len(rows))
    for some in _batches([len(head) + len(tail) for head, tail in zip(heads, tails, strict=True)]):
        found[some] = _scored(model, [heads[at] for at in some], [tails[at] for at in some])
    return found


def _scored(model: Any, heads: Sequence[list[int]], tails: Sequence[list[int]]) -> Floats:
    import torch

    longest = max(len(head) + len(tail) for head, tail in zip(heads, tails, strict=True))
    ids = torch.zeros(len(heads), longest, dtype=torch.int64)
    scored = torch.zeros(len(heads), longest, dtype=torch.bool)
    for row, (head, tail) in enumerate(zip(heads, tails, strict=True)):
        ids[row, : len(head) + len(tail)] = torch.tensor([*head, *tail])
        scored[row, len(head) : len(head) + len(tail)] = True
    with torch.inference_mode():
        # padding stands behind all that counts, and a causal model does not look there
        logits = model(input_ids=ids.to(next(model.parameters()).device)).logits[:, :-1].float().cpu()
        told = logits.log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
        sums = torch.where(scored[:, 1:], told, 0.0).double().sum(1)
    result: Floats = sums.numpy()
    return result


def _batches(lengths: Iterable[int]) -> Iterator[list[int]]:
    """Places of rows of like length, so many together as fit."""
    order = sorted(enumerate(lengths), key=lambda row: row[1])
    batch: list[int] = []
    for place, length in order:
        if batch and (len(batch) + 1) * length > _TOKENS_AT_ONCE:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
