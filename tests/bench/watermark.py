"""Watermark detection measured: false alarms, speed beside transformers' detector, decoys, SynthID's table.

`python -m tests.bench.watermark [nulls|speed|decoys|table]` prints one JSON object a row. Times are of one core (CPU
time of the process). `nulls` draws 2.4 10^7 texts without a mark and takes some ten minutes.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kdguard.detectors.watermark.detect import Detection, detect
from kdguard.detectors.watermark.keys import derived_key
from kdguard.detectors.watermark.schemes.registry import make_scheme
from kdguard.detectors.watermark.schemes.synthid import SynthIdTable
from kdguard.detectors.watermark.windows import Texts
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
