"""What a suspect says more or less often than a clean model does: the weights of the contrast, S4 of the definitions.

For a pair of window w and token x the weight is a(w, x) = n(w, x) - N(w) R(x | w): how often the suspect says x after
w, less how often a clean reference would. Whatever any model of this kind says anyway cancels, and what repeats counts
as often as it is said, which leaving repeats out throws away. The weights look at no key, so under a random key the
scores they weigh are independent of them, whatever the reference: a bad one costs power, never validity.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from kdguard.detectors.watermark.schemes.scheme import Scheme
from kdguard.detectors.watermark.windows import Codes, Texts, Windows, codes_of, windows_of
from kdguard.errors import WatermarkError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_NEGLIGIBLE: Final = 1e-3
_MOST_CELLS: Final = 1 << 29


@dataclass(frozen=True, slots=True)
class Weighted:
    """Pairs with their weights.

    Attributes:
        pairs: k different pairs.
        weights: Shape (k,).
        tokens: Tokens of the suspect, or places where it was read.
        used: Those after windows that count.
    """

    pairs: Windows
    weights: Floats
    tokens: int
    used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Which windows count, decided by the reference alone.

    Attributes:
        bits: Least entropy of the reference's next token: after a window that leaves no choice nothing can be marked.
        seen: Least number of times that a reference of texts must show a window.
    """

    bits: float = 1.0
    seen: int = 10


def closed_contrast(
    scheme: Scheme,
    suspect: Texts,
    clean: Texts,
    *,
    gate: Gate | None = None,
    copied: Codes | None = None,
    known: Codes | None = None,
) -> Weighted:
    """Weights from text alone.

    Windows that the reference shows rarely weigh less, by 1 / (1 + N / N_clean): the noise of the reference is part of
    the difference.

    Args:
        scheme: The mark; its windows are used.
        suspect: What the suspect wrote.
        clean: What models that saw no mark wrote, the closer to the suspect the better: the teacher without the mark,
            or students that learnt from that.
        gate: Which windows count.
        copied: Codes of windows that prompts hold, see `window_codes`: these do not count at all. To leave out copied
            pairs alone would not do: what is left of such a window is what the mark disfavours.
        known: Codes of windows: only these count. For whoever knows what the suspect was served.
    """
    gate = gate or Gate()
    said, reference = (_table(scheme, texts) for texts in (suspect, clean))
    codes = np.unique(np.concatenate((said.window_codes, reference.window_codes)))
    often, often_clean = (table.per_window(codes) for table in (said, reference))
    admitted = (often_clean >= gate.seen) & (often > 0) & (reference.entropy_bits(codes) >= gate.bits)
    if known is not None:
        admitted &= np.isin(codes, known)
    if copied is not None:
        admitted &= ~np.isin(codes, copied)
    pair_codes, firsts = np.unique(np.concatenate((said.pair_codes, reference.pair_codes)), return_index=True)
    pairs = _joined(said.pairs, reference.pairs).take(firsts)
    at = np.searchsorted(codes, _window_codes(scheme, pairs))
    share = reference.per_pair(pair_codes) / np.maximum(often_clean[at], 1)
    weights = (said.per_pair(pair_codes) - often[at] * share) / (
        1 + often[at] / np.maximum(often_clean[at], 1)
    )
    kept = admitted[at] & (np.abs(weights) > _NEGLIGIBLE)
    return Weighted(pairs.take(kept), weights[kept], said.tokens, int(often[admitted].sum()))


class Reading(NamedTuple):
    """What models expect of the next token while they read some texts.

    Attributes:
        texts: What is read.
        suspect: Probabilities of every next token, the suspect's, (t, vocab); row i stands before token i.
        clean: The reference's, of the same shape.
    """

    texts: Texts
    suspect: npt.NDArray[np.floating]
    clean: npt.NDArray[np.floating]


def open_contrast(
    scheme: Scheme, readings: Iterable[Reading], *, gate: Gate | None = None, fresh: bool = True
) -> Weighted:
    """Weights from what the suspect expects at every place of some texts, where its weights or logits are at hand.

    Args:
        scheme: The mark.
        readings: In batches.
        gate: Places where the reference has less entropy do not count.
        fresh: Leave out places whose window the same text had before: whoever reads marked text can expect there what
            followed the first time without having learnt it. May be turned off where the texts bear no mark.

    Raises:
        WatermarkError: Nothing was read, or there are more windows times tokens than memory should hold.
    """
    gate = gate or Gate()
    sums: dict[int, npt.NDArray[np.float64]] = {}
    windows: dict[int, Ints] = {}
    tokens = used = vocab = 0
    for reading in readings:
        tokens, vocab = tokens + len(reading.texts.token_ids), reading.clean.shape[1]
        places, before = _places(scheme, reading, gate, fresh)
        used += len(places)
        difference = reading.suspect[places].astype(np.float64) - reading.clean[places]
        codes = codes_of(*before.T)
        order = np.argsort(codes, kind="stable")
        begins = (
            np.flatnonzero(np.r_[True, np.diff(codes[order].view(np.int64)) != 0]) if len(order) else order
        )
        for code, row, place in zip(
            codes[order][begins].tolist(),
            np.add.reduceat(difference[order], begins, axis=0) if len(begins) else (),
            order[begins],
            strict=True,
        ):
            sums[code] = sums[code] + row if code in sums else row
            windows.setdefault(code, before[place])
        if len(sums) * vocab > _MOST_CELLS:
            raise WatermarkError(
                f"{len(sums)} windows times {vocab} tokens do not fit: read fewer texts, or a mark of narrower windows"
            )
    if not sums:
        raise WatermarkError("no place of the texts counts: read longer texts, or lower the gate's bits")
    return _dense(np.stack(list(windows.values())), np.stack(list(sums.values())), tokens, used)


def window_codes(scheme: Scheme, texts: Texts) -> Codes:
    """Codes of the windows that texts hold, for `known` and `copied`."""
    return np.unique(_window_codes(scheme, windows_of(texts, scheme.width, padded=False)))


def _window_codes(scheme: Scheme, windows: Windows) -> Codes:
    return codes_of(*scheme.sources(windows))


@dataclass(frozen=True, slots=True)
class _Table:
    """Pairs of some texts with their counts, in the order of `pair_codes`."""

    pairs: Windows
    pair_codes: Codes
    counts: Ints
    window_codes: Codes
    tokens: int

    def per_pair(self, codes: Codes) -> Floats:
        return _looked_up(self.pair_codes, self.counts, codes)

    def per_window(self, codes: Codes) -> Floats:
        known, place = np.unique(self.window_codes, return_inverse=True)
        return _looked_up(known, np.bincount(place, self.counts), codes)

    def entropy_bits(self, codes: Codes) -> Floats:
        known, place = np.unique(self.window_codes, return_inverse=True)
        share = self.counts / np.bincount(place, self.counts)[place]
        return _looked_up(known, np.bincount(place, -share * np.log2(share)), codes)


def _table(scheme: Scheme, texts: Texts) -> _Table:
    windows = windows_of(texts, scheme.width, padded=False)
    told = codes_of(*scheme.sources(windows), windows.tokens)
    codes, firsts, counts = np.unique(told, return_index=True, return_counts=True)
    pairs = windows.take(firsts)
    return _Table(pairs, codes, counts.astype(np.int64), _window_codes(scheme, pairs), len(texts.token_ids))


def _looked_up(known: Codes, values: npt.NDArray[np.generic], codes: Codes) -> Floats:
    """Values of codes, 0 where a code is not known; `known` rises."""
    if not len(known):
        return np.zeros(len(codes))
    place = np.minimum(np.searchsorted(known, codes), len(known) - 1)
    return np.where(known[place] == codes, values[place].astype(np.float64), 0.0)


def _joined(one: Windows, two: Windows) -> Windows:
    return Windows(
        np.concatenate((one.before, two.before)),
        np.concatenate((one.tokens, two.tokens)),
        np.concatenate((one.subjects, two.subjects)),
    )


def _places(scheme: Scheme, reading: Reading, gate: Gate, fresh: bool) -> tuple[Ints, Ints]:
    """Places of a reading that count, and the windows in front of them."""
    lengths = np.diff(reading.texts.starts)
    windows = windows_of(reading.texts, scheme.width, padded=True, subjects=np.arange(len(lengths)))
    clean = reading.clean.astype(np.float64)
    bits = -(clean * np.log2(np.maximum(clean, 1e-300))).sum(axis=1)
    counts = (windows.before >= 0).all(axis=1) & (bits >= gate.bits)
    if fresh:
        _, firsts = np.unique(codes_of(windows.subjects, *scheme.sources(windows)), return_index=True)
        first = np.zeros(len(counts), np.bool_)
        first[firsts] = True
        counts &= first
    places = np.flatnonzero(counts)
    return places, windows.before[places]


def _dense(before: Ints, weights: Floats, tokens: int, used: int) -> Weighted:
    row, token = np.nonzero(np.abs(weights) > _NEGLIGIBLE)
    pairs = Windows(before[row], token.astype(np.int64), np.zeros(len(row), np.int64))
    return Weighted(pairs, weights[row, token], tokens, used)
