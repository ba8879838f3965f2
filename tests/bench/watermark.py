"""Watermark detection measured: false alarms, speed beside transformers' detector, decoys, SynthID's table.

`python -m tests.bench.watermark [nulls|gumbel|speed|decoys|table]` prints one JSON object a row. Times are of one
core (CPU time of the process). `nulls` and `gumbel` take some ten minutes each.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import special

from kdguard.detectors.watermark.detect import Detection, detect
from kdguard.detectors.watermark.keys import derived_key
from kdguard.detectors.watermark.prf.philox import uniform_float32
from kdguard.detectors.watermark.schemes.gumbel import GumbelPhilox
from kdguard.detectors.watermark.schemes.registry import make_scheme
from kdguard.detectors.watermark.schemes.synthid import SynthIdTable
from kdguard.detectors.watermark.windows import Texts, Windows
from kdguard.stats.intervals import clopper_pearson
from tests.detectors.watermark.nulls import KINDS, log10_p_of_nulls

_SEED = 20261128
_SECRET = b"thirty-two bytes for the bench.."
_LEVELS = (1e-2, 1e-3, 1e-6)
_NULLS = {"gumbel-philox": 2_500_000, "green-siphash": 2_500_000, "synthid-philox": 1_000_000}


def nulls(*only: str) -> Iterator[dict[str, Any]]:
    """How often p falls below a level on texts of 48 tokens without a mark, a fresh key each.

    Args:
        only: A mark and a kind of text; else all of them.
    """
    cells = [tuple(only)] if only else [(name, kind) for name in _NULLS for kind in KINDS]
    for name, kind in cells:
        rng = np.random.default_rng([_SEED, list(_NULLS).index(name), list(KINDS).index(kind)])
        hits, count = _hits(name, kind, rng, _NULLS[name])
        yield _rates(name, kind, hits, count)


def _hits(name: str, kind: str, rng: np.random.Generator, wanted: int) -> tuple[Any, int]:
    """Texts below each level; the pool of 2,000 texts is drawn again every 50 keys."""
    hits, count = np.zeros(len(_LEVELS), np.int64), 0
    while count < wanted:
        told = log10_p_of_nulls(make_scheme(name), rng, kind, texts=2_000, keys=50, length=48)
        hits += np.array([(told <= np.log10(level)).sum() for level in _LEVELS])
        count += len(told)
    return hits, count


def _rates(name: str, kind: str, hits: Any, count: int) -> dict[str, Any]:
    row: dict[str, Any] = {"bench": "nulls", "scheme": name, "text": kind, "nulls": count}
    for level, found in zip(_LEVELS, hits.tolist(), strict=True):
        # a two-sided interval at 0.9 leaves 0.05 above its upper end
        row[f"{level:g}"] = {
            "hits": found,
            "rate": found / count,
            "upper_95": clopper_pearson(found, count, 0.9)[1],
        }
    return row


def gumbel(texts: int = 100_000_000, length: int = 12) -> Iterator[dict[str, Any]]:
    """False alarms of the Gumbel mark alone: short texts of fresh tokens, a key each; and the law of its score exactly.

    `law` is what the chance of p <= 1e-6 is for ideal words: U has 24 bits, so a score ends at 16.6 where an
    exponential does not. It is computed by convolving the score's law on a grid.
    """
    scheme = GumbelPhilox()
    rng = np.random.default_rng([_SEED, 7])
    hits, done, batch = np.zeros(len(_LEVELS), np.int64), 0, 20_000
    owner = np.repeat(np.arange(batch), length)
    while done < texts:
        tokens = rng.integers(0, 32_000, (batch * length, 5))
        keys = rng.integers(0, 1 << 64, (batch, 1), np.uint64)[owner]
        scores = np.concatenate([
            scheme.scores(keys[begin : begin + 8_192], _windows(tokens[begin : begin + 8_192]))
            for begin in range(0, len(tokens), 8_192)
        ])  # fmt: skip
        sums = np.bincount(owner, scores).astype(np.float64)
        told = scheme.log10_tail(sums, np.full(batch, length))
        hits += np.array([(told <= np.log10(level)).sum() for level in _LEVELS])
        done += batch
    yield _rates("gumbel-philox", f"{length} fresh tokens", hits, done) | {
        "law_at_1e-06": _gumbel_law(length)
    }


def _windows(tokens: Any) -> Windows:
    return Windows(np.asfortranarray(tokens[:, :4]), tokens[:, 4].copy(), np.zeros(len(tokens), np.int64))


def _gumbel_law(length: int, level: float = 1e-6, step: float = 1e-3) -> float:
    """Chance that `length` scores of 24 bits sum to what Gamma(length) exceeds at `level`."""
    uniforms = uniform_float32((np.arange(1 << 24, dtype=np.uint64) << 8).astype(np.uint32))
    cells = np.bincount(np.rint(-np.log1p(-uniforms.astype(np.float64)) / step).astype(np.int64)) / 2.0**24
    size = 1 << (length * len(cells)).bit_length()
    law = np.fft.irfft(np.fft.rfft(cells, size) ** length, size)
    return float(law[int(np.ceil(special.gammainccinv(length, level) / step)) :].sum())


def speed(tokens: int = 1_000_000) -> Iterator[dict[str, Any]]:
    """Tokens a second, repeats left out and exact p, beside transformers' detector on the same texts."""
    rng = np.random.default_rng(_SEED)
    texts = (1 + np.minimum(rng.zipf(1.2, (tokens // 1_000, 1_000)), 31_998)).astype(np.int64)
    joined = Texts.of(list(texts))
    rival = _rival_speed(texts[:2])
    yield {
        "bench": "speed",
        "detector": "transformers WatermarkDetector, lefthash",
        "tokens_per_s": round(rival),
    }
    for name in ("green-siphash", "gumbel-philox", "synthid-philox", "synthid-table", "kgw-left"):
        scheme = make_scheme(name, {"vocab": 32_000} if name == "kgw-left" else {})
        key = derived_key(_SECRET, scheme.key_words, scheme.key_bits)
        began = time.process_time()
        (found,) = detect(scheme, key, joined, decoys=0)
        spent_s = time.process_time() - began
        assert isinstance(found, Detection)
        yield {
            "bench": "speed",
            "detector": name,
            "tokens_per_s": round(found.tokens / spent_s),
            "times_transformers": round(found.tokens / spent_s / rival),
            "scored": found.scored,
        }


def _rival_speed(texts: Any) -> float:
    import torch
    import transformers

    config = transformers.LlamaConfig(vocab_size=32_000, bos_token_id=32_000)
    rival = transformers.WatermarkDetector(
        config, "cpu", transformers.WatermarkingConfig(), ignore_repeated_ngrams=True
    )
    began = time.process_time()
    rival(torch.LongTensor(texts), return_dict=True)
    return float(texts.size / (time.process_time() - began))


def decoys(count: int = 10_000, pairs: int = 50_000) -> Iterator[dict[str, Any]]:
    """Seconds that decoy keys take over tokens that all count."""
    rng = np.random.default_rng(_SEED)
    text = Texts.of([rng.integers(1, 32_000, pairs)])
    for name in ("green-siphash", "gumbel-philox", "synthid-table"):
        scheme = make_scheme(name)
        key = derived_key(_SECRET, scheme.key_words, scheme.key_bits)
        began = time.process_time()
        (found,) = detect(scheme, key, text, decoys=count)
        assert isinstance(found, Detection)
        assert found.decoys is not None
        yield {
            "bench": "decoys",
            "scheme": name,
            "decoys": count,
            "scored": found.scored,
            "cpu_s": round(time.process_time() - began, 1),
            "z_mean": round(found.decoys.z_mean, 4),
            "z_sd": round(found.decoys.z_sd, 4),
        }


def table(tokens: int = 1_000_000, seeds: int = 20) -> Iterator[dict[str, Any]]:
    """SynthID's table on a million unmarked tokens: z for fair coins, and for random keys of this table."""
    rng = np.random.default_rng(_SEED)
    text = Texts.of([rng.integers(0, 32_000, tokens)])
    for seed in range(seeds):
        scheme = SynthIdTable(table_seed=seed)
        key = derived_key(_SECRET, scheme.key_words)
        (found,) = detect(scheme, key, text)
        assert isinstance(found, Detection)
        assert found.decoys is not None
        yield {
            "bench": "table",
            "table_seed": seed,
            "z_fair_coins": round(_fair_coins(scheme, text), 1),
            "z": round(found.z, 2),
            "log10_p": None if found.log10_p is None else round(found.log10_p, 2),
            "decoy_z_sd": round(found.decoys.z_sd, 3),
        }


def _fair_coins(scheme: SynthIdTable, text: Texts) -> float:
    from kdguard.detectors.watermark.windows import windows_of

    windows = windows_of(text, scheme.width, padded=False)
    key = derived_key(_SECRET, scheme.key_words)
    total = scheme.null(windows, 1).totals(key.words[None]).score[0, 0]
    return float((total - scheme.mean * len(windows)) / np.sqrt(scheme.variance * len(windows)))


_STUDIES: dict[str, Callable[..., Iterator[dict[str, Any]]]] = {
    "nulls": nulls,
    "gumbel": gumbel,
    "speed": speed,
    "decoys": decoys,
    "table": table,
}

if __name__ == "__main__":
    chosen, *only = sys.argv[1:] or ["all"]
    for name, study in _STUDIES.items():
        if chosen in (name, "all"):
            for row in study(*only):
                print(json.dumps(row), flush=True)
