"""Marks as the software that writes them computes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kdguard.detectors.watermark.detect import detect
from kdguard.detectors.watermark.keys import derived_key, foreign_key
from kdguard.detectors.watermark.schemes.green import GreenSiphash
from kdguard.detectors.watermark.schemes.gumbel import GumbelPhilox
from kdguard.detectors.watermark.schemes.kgw import KgwLeft, KgwSelf
from kdguard.detectors.watermark.schemes.registry import SCHEMES, make_scheme
from kdguard.detectors.watermark.schemes.synthid import SynthIdPhilox, SynthIdTable
from kdguard.detectors.watermark.windows import Texts, Windows, windows_of
from kdguard.errors import WatermarkError
from kdguard.evidence import Abstention
from tests.detectors.watermark.golden import GOLDENS

VOCAB = 1_000
SYNTHID_KEYS = [654, 400, 836, 123, 340, 443, 597, 160, 57]


@pytest.mark.parametrize("name", GOLDENS)
def test_gumbel_gives_vllms_golden_detections(name: str) -> None:
    golden = GOLDENS[name]
    (found,) = detect(
        GumbelPhilox(golden.width), foreign_key([golden.key]), Texts.of([golden.tokens]), decoys=0
    )
    assert not isinstance(found, Abstention)
    assert found.scored == golden.scored
    assert found.z * found.scored**0.5 + found.scored == pytest.approx(golden.score, rel=1e-12)
    assert found.p_value == pytest.approx(golden.p_value, rel=1e-9)


def _texts(rng: np.random.Generator) -> Any:
    return np.minimum(rng.zipf(1.3, (3, 120)), VOCAB - 1)


@pytest.mark.parametrize("hash_key", [15485863, 2**40 + 1])
@pytest.mark.parametrize(("seeding", "context"), [("lefthash", 1), ("selfhash", 1), ("selfhash", 4)])
def test_green_counts_are_transformers(
    seeding: str, context: int, hash_key: int, rng: np.random.Generator
) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    texts = _texts(rng)
    settings = transformers.WatermarkingConfig(
        seeding_scheme=seeding, context_width=context, hashing_key=hash_key, greenlist_ratio=0.25
    )
    config = transformers.LlamaConfig(vocab_size=VOCAB, bos_token_id=VOCAB)
    rival = transformers.WatermarkDetector(config, "cpu", settings)
    scored, green = rival._score_ngrams_in_passage(torch.tensor(texts))
    scheme: KgwLeft | KgwSelf = KgwLeft(VOCAB) if seeding == "lefthash" else KgwSelf(VOCAB, context=context)
    windows = windows_of(Texts.of(list(texts)), scheme.width, padded=False, subjects=np.arange(len(texts)))
    ours = _every_token(scheme, hash_key, windows)
    assert np.bincount(windows.subjects).tolist() == scored.tolist()
    assert np.bincount(windows.subjects, ours).tolist() == green.tolist()


def _every_token(scheme: KgwLeft | KgwSelf, hash_key: int, windows: Windows) -> Any:
    """Green or not of all tokens, as transformers counts them: repeats and all."""
    key = np.array([hash_key], np.uint64)
    alone = [scheme.scores(key, windows.take(slice(at, at + 1)))[0] for at in range(len(windows))]
    return np.array(alone)


def test_g_values_are_transformers(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    process = pytest.importorskip("transformers.generation.logits_process")
    rival = process.SynthIDTextWatermarkLogitsProcessor(
        ngram_len=5,
        keys=SYNTHID_KEYS,
        sampling_table_size=2**16,
        sampling_table_seed=3,
        context_history_size=1024,
        device=torch.device("cpu"),
    )
    texts = _texts(rng)
    scheme = SynthIdTable(len(SYNTHID_KEYS), table_seed=3)
    windows = windows_of(Texts.of(list(texts)), scheme.width, padded=False)
    ours = scheme.g_values(np.array(SYNTHID_KEYS, np.uint64), windows)
    assert np.array_equal(ours, rival.compute_g_values(torch.tensor(texts)).numpy().reshape(ours.shape))


def test_all_keys_of_a_layer_by_one_transform(rng: np.random.Generator) -> None:
    """The correlation tells for every key of the table what scoring with that key tells."""
    scheme = SynthIdTable(2, table_bits=6)
    windows = windows_of(Texts.of([rng.integers(0, VOCAB, 500)]), scheme.width, padded=False)
    keys = np.column_stack((np.arange(64), np.arange(64)[::-1])).astype(np.uint64)
    totals = scheme.null(windows, 1).totals(keys)
    assert totals.score[:, 0].tolist() == [scheme.scores(key, windows).sum() for key in keys]


def test_synthid_by_philox_counts_the_lower_bits() -> None:
    windows = Windows(np.array([[1, 2, 3, 4]]), np.array([7]), np.array([0]))
    key = np.array([42], np.uint64)
    assert SynthIdPhilox().scores(key, windows).tolist() == [(425429266).bit_count()]
    assert SynthIdPhilox(depth=8).scores(key, windows).tolist() == [(425429266 & 0xFF).bit_count()]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("green-siphash", {}),
        ("gumbel-philox", {}),
        ("synthid-philox", {}),
        ("synthid-table", {}),
        ("kgw-left", {"vocab": VOCAB}),
        ("kgw-self", {"vocab": VOCAB, "context": 2}),
    ],
)
def test_scores_have_the_mean_and_variance_they_state(
    name: str, parameters: dict[str, Any], rng: np.random.Generator
) -> None:
    """20,000 tokens: five standard errors, a false failure in 10^6 runs a scheme."""
    scheme = make_scheme(name, parameters)
    count = 2_000 if name == "kgw-self" else 20_000
    before = rng.integers(1, VOCAB, (count, scheme.width))
    windows = Windows(before, rng.integers(1, VOCAB, count), np.arange(count))
    key = derived_key(bytes(range(32)), scheme.key_words, scheme.key_bits)
    told = scheme.scores(key.words, windows)
    told = told[~np.isnan(told)]
    assert told.mean() == pytest.approx(scheme.mean, abs=5 * (scheme.variance / len(told)) ** 0.5)
    assert told.var() == pytest.approx(scheme.variance, rel=0.15)


def test_token_0_tells_nothing_to_lefthash() -> None:
    windows = windows_of(Texts.of([[0, 5, 0, 6, 7]]), 1, padded=False)
    told = KgwLeft(VOCAB).scores(np.array([15485863], np.uint64), windows)
    assert np.isnan(told).tolist() == [True, False, True, False]


def test_a_seed_and_token_count_once_in_selfhash() -> None:
    """Windows with the same tokens in another order have one seed."""
    windows = Windows(np.array([[1, 2], [2, 1], [1, 3]]), np.array([7, 7, 7]), np.zeros(3, np.int64))
    scheme, key = KgwSelf(VOCAB, context=3), np.array([15485863], np.uint64)
    seeds = scheme.seeds(15485863, windows)
    assert seeds[0] == seeds[1]
    assert np.isnan(scheme.scores(key, windows)).sum() == 3 - len(set(seeds.tolist()))


def test_parameters_that_cannot_be_are_refused() -> None:
    impossible: list[Callable[[], object]] = [
        lambda: GreenSiphash(gamma=1.0),
        lambda: GumbelPhilox(0),
        lambda: SynthIdPhilox(depth=33),
        lambda: SynthIdTable(ngram_len=1),
        lambda: KgwLeft(3, 0.1),
        lambda: KgwSelf(VOCAB, context=0),
        lambda: make_scheme("greenish"),
        lambda: make_scheme("green-siphash", {"delta": 2}),
        lambda: make_scheme("kgw-left"),
    ]
    for make in impossible:
        with pytest.raises(WatermarkError):
            make()


def test_a_token_outside_the_vocabulary_names_the_tokenizer() -> None:
    windows = windows_of(Texts.of([[1, 2, VOCAB]]), 1, padded=False)
    with pytest.raises(WatermarkError, match="another tokenizer"):
        KgwLeft(VOCAB).scores(np.array([5], np.uint64), windows)


def test_names_and_records_go_together() -> None:
    for name, kind in SCHEMES.items():
        scheme = make_scheme(name, {"vocab": VOCAB} if name.startswith("kgw") else {})
        assert isinstance(scheme, kind)
        record = scheme.record()
        assert make_scheme(record.pop("scheme"), record) == scheme
