"""Marks written while text is generated: by the simulator's teacher, by `generate` of transformers, and by vLLM.

A processor is called like those of transformers, `processor(input_ids, scores)`, and like the teacher's marks. It keeps
no state of a text: what was produced so far is in `input_ids`. What a window decides is computed once and kept, since
short windows come again and again.

`KgwLeft` and `KgwSelf` do what transformers' `WatermarkLogitsProcessor` does, to the bit, so that either's detector
reads it; `KgwSelf` looks at the 40 likeliest tokens only, as that does, since each has a list of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from kdguard.detectors.watermark.keys import MarkKey
from kdguard.detectors.watermark.prf.philox import philox_words, uniform_float32
from kdguard.detectors.watermark.schemes.green import GreenSiphash
from kdguard.detectors.watermark.schemes.gumbel import GumbelPhilox
from kdguard.detectors.watermark.schemes.kgw import KgwLeft, KgwSelf
from kdguard.detectors.watermark.schemes.scheme import Scheme
from kdguard.detectors.watermark.schemes.synthid import SynthIdPhilox, SynthIdTable
from kdguard.detectors.watermark.windows import PAD, Windows
from kdguard.errors import WatermarkError

KEPT_BYTES = 256 << 20
_CANDIDATES = 40

Decided = Callable[[tuple[int, ...]], Tensor]
Changed = Callable[[Tensor, Tensor], Tensor]


class MarkProcessor:
    """Writes one mark with one key.

    Args:
        scheme: The mark.
        key: The key.
        vocab: Logits of the model.
        delta: What is added to green tokens' log-odds; marks without green lists have no use for it.
        prompt: Tokens of `input_ids` that are the prompt and not looked at. For `generate` the prompts' padded
            length; 0 for the teacher, which tells what it produced alone.
        skip_repeated: Do not mark after a window that the same text had before. None = as the software does whose mark
            it is: Gumbel and SynthID skip, since the same window gives the same noise and texts would run in circles.
        kept_bytes: Room for what windows decide.

    Raises:
        WatermarkError: A key of the wrong length.
    """

    def __init__(
        self,
        scheme: Scheme,
        key: MarkKey,
        *,
        vocab: int,
        delta: float = 2.0,
        prompt: int = 0,
        skip_repeated: bool | None = None,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        if len(key.words) != scheme.key_words:
            raise WatermarkError(
                f"a key of '{scheme.name}' has {scheme.key_words} numbers, this one has {len(key.words)}"
            )
        self.scheme, self.prompt = scheme, prompt
        self.skip_repeated = scheme.repeats == "window" if skip_repeated is None else skip_repeated
        decided, self._changed = _writer(scheme, key, vocab, delta)
        width = decided((1,) * scheme.width)
        self._decided = lru_cache(max(1, kept_bytes // max(1, width.element_size() * width.numel())))(decided)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Change scores so that what is drawn from their softmax bears the mark.

        Args:
            input_ids: What stands before each next token, (m, t) int64; -1 and the prompt do not count.
            scores: Log-probabilities or logits, after temperature and filters, (m, vocab).
        """
        produced = input_ids[:, self.prompt :]
        before, marked = self._windows(produced)
        if not marked.any():
            return scores
        windows = before[marked].tolist()
        decided = torch.stack([self._decided(tuple(window)) for window in windows]).to(scores.device)
        changed = scores.clone()
        changed[marked] = self._changed(scores[marked], decided)
        return changed

    def of_request(self, output_ids: Sequence[int], logits: Tensor) -> Tensor:
        """As a request's logits processor of vLLM: ids produced so far and logits (vocab,)."""
        return self(torch.tensor([list(output_ids)], dtype=torch.int64).reshape(1, -1), logits[None])[0]

    def _windows(self, produced: Tensor) -> tuple[Tensor, Tensor]:
        """The last w ids of each row, and which rows are to be marked."""
        width, length = self.scheme.width, produced.shape[1]
        padded = torch.cat((produced.new_full((len(produced), width), PAD), produced), 1)
        last = padded[:, length:]
        whole = (last != PAD).all(1) | self.scheme.padded
        if not self.skip_repeated or length == 0:
            return last, whole
        earlier = padded.unfold(1, width, 1)[:, :-1]
        # windows in front of the text's first token are not windows of the text
        real = torch.cat((produced, produced.new_zeros(len(produced), 1)), 1)[:, :length] != PAD
        return last, whole & ~((earlier == last[:, None]).all(2) & real).any(1)


def _writer(scheme: Scheme, key: MarkKey, vocab: int, delta: float) -> tuple[Decided, Changed]:
    """What a window decides of every token, and how that changes scores."""
    tokens = np.arange(vocab, dtype=np.int64)

    def windows(window: tuple[int, ...]) -> Windows:
        before = np.broadcast_to(np.array(window, np.int64), (vocab, len(window)))
        return Windows(before, tokens, np.zeros(vocab, np.int64))

    match scheme:
        case GreenSiphash():
            return (
                lambda window: torch.from_numpy(scheme.scores(key.words, windows(window)) > 0),
                lambda scores, green: scores + delta * green,
            )
        case KgwLeft():
            return (
                lambda window: _green_of_kgw(scheme, int(key.words[0]), window[-1]),
                lambda scores, green: scores + delta * green,
            )
        case KgwSelf():
            return (
                lambda window: torch.tensor(window, dtype=torch.int64),
                lambda scores, windows: scores + delta * _green_of_self(scheme, key, scores, windows),
            )
        case GumbelPhilox():
            return (lambda window: _noise(key, windows(window)), _largest)
        case SynthIdPhilox():
            return (lambda window: _coins_of_philox(scheme, key, windows(window)), _tournament)
        case SynthIdTable():
            return (lambda window: torch.from_numpy(scheme.g_values(key.words, windows(window))), _tournament)
    raise WatermarkError(f"'{scheme.name}' cannot be written")


def _green_of_kgw(scheme: KgwLeft, hash_key: int, last: int) -> Tensor:
    seed = hash_key * last % ((1 << 64) - 1)
    shuffled = torch.randperm(scheme.vocab, generator=torch.Generator().manual_seed(seed))
    green = torch.zeros(scheme.vocab, dtype=torch.bool)
    green[shuffled[: scheme.greens]] = True
    return green


def _green_of_self(scheme: KgwSelf, key: MarkKey, scores: Tensor, windows: Tensor) -> Tensor:
    """Green ones among each row's likeliest tokens; scores (m, vocab), windows (m, w)."""
    likeliest = scores.sort(-1, descending=True).indices[:, :_CANDIDATES].cpu()
    rows, count = likeliest.shape
    before = np.repeat(windows.cpu().numpy(), count, axis=0)
    told = Windows(before, likeliest.flatten().numpy(), np.repeat(np.arange(rows), count))
    green = torch.zeros(scores.shape, dtype=torch.bool)
    green.scatter_(1, likeliest, torch.from_numpy(scheme.scores(key.words, told) > 0).reshape(rows, count))
    return green.to(scores.device)


def _noise(key: MarkKey, windows: Windows) -> Tensor:
    """Gumbel noise from the key's uniforms, (vocab,) float32."""
    uniforms = torch.from_numpy(uniform_float32(philox_words(key.words[0], windows.before, windows.tokens)))
    return -torch.log(-torch.log(uniforms.clamp_min(torch.finfo(torch.float32).tiny)))


def _largest(scores: Tensor, noise: Tensor) -> Tensor:
    """All the mass on the token with the largest sum of score and noise."""
    chosen = (scores + noise).argmax(-1, keepdim=True)
    return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)


def _coins_of_philox(scheme: SynthIdPhilox, key: MarkKey, windows: Windows) -> Tensor:
    words = philox_words(key.words[0], windows.before, windows.tokens)
    layers = np.arange(scheme.depth, dtype=np.uint32)
    return torch.from_numpy(((words[:, None] >> layers) & np.uint32(1)).astype(np.uint8))


def _tournament(scores: Tensor, coins: Tensor) -> Tensor:
    """Every layer moves mass from tokens whose coin is 0 to those whose coin is 1 (Dathathri et al. 2024)."""
    likely = scores.softmax(-1)
    for layer in coins.to(likely.dtype).unbind(-1):
        likely = likely * (1 + layer - (layer * likely).sum(-1, keepdim=True))
    return likely.log()
