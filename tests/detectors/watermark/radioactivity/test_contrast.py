"""The contrast finds what leaving repeats out loses, and keeps innocent suspects innocent."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from kdguard.detectors.watermark.detect import Detection, detect
from kdguard.detectors.watermark.keys import MarkKey, derived_key
from kdguard.detectors.watermark.radioactivity.contrast import Radioactivity, radioactivity
from kdguard.detectors.watermark.radioactivity.weights import (
    Gate,
    Reading,
    Weighted,
    closed_contrast,
    open_contrast,
    window_codes,
)
from kdguard.detectors.watermark.schemes.gumbel import GumbelPhilox
from kdguard.detectors.watermark.windows import Texts
from kdguard.errors import WatermarkError
from kdguard.evidence import Abstention, Guarantee
from tests.detectors.watermark.radioactivity.bigrams import (
    KEY,
    SCHEME,
    VOCAB,
    Floats,
    clean,
    marked,
    student,
    taught,
    teacher,
    write,
)


def _found(
    weighted: Weighted, key: MarkKey = KEY, decoys: int = 0, *, committed: bool = False
) -> Radioactivity:
    told = radioactivity(
        SCHEME, key, weighted, subject="s", mode="closed", decoys=decoys, committed=committed
    )
    assert isinstance(told, Radioactivity)
    return told


def _keys(count: int) -> list[MarkKey]:
    return [derived_key(number.to_bytes(16, "big"), 2) for number in range(count)]


def test_contrast_finds_a_dose_that_the_plain_test_cannot(rng: np.random.Generator) -> None:
    said = Texts.of(write(taught(0.1, rng), rng, 500))
    found = _found(closed_contrast(SCHEME, said, clean(rng)), decoys=199, committed=True)
    (plain,) = detect(SCHEME, KEY, said, decoys=0)
    assert isinstance(plain, Detection)
    assert plain.log10_p is not None
    assert found.log10_p is not None
    assert found.log10_p < -6 < -3 < plain.log10_p
    assert found.tail.log10_bound < -5
    assert found.evidence().guarantee is Guarantee.RANDOMISED
    assert "not who took it or why" in found.summary


def test_an_innocent_student_is_uniform_over_keys(rng: np.random.Generator) -> None:
    """200 keys; KS at 1e-6 is the stated rate of false failures."""
    weighted = closed_contrast(SCHEME, Texts.of(write(taught(0.0, rng), rng, 300)), clean(rng))
    told = [_found(weighted, key).p_value for key in _keys(200)]
    assert kstest(told, "uniform").pvalue > 1e-6


def test_a_poor_reference_costs_power_and_never_validity(rng: np.random.Generator) -> None:
    """The reference is of another teacher altogether."""
    said = Texts.of(write(taught(0.0, rng), rng, 300))
    stranger = Texts.of(write(teacher(5), rng, 500))
    weighted = closed_contrast(SCHEME, said, stranger)
    told = [_found(weighted, key).p_value for key in _keys(200)]
    assert kstest(told, "uniform").pvalue > 1e-6


def test_a_student_that_copies_prompts_is_innocent(rng: np.random.Generator) -> None:
    """The prompts' windows do not count; of the others enough are left to find a mark that was learnt."""
    half = teacher() * (np.arange(VOCAB) < VOCAB // 2)
    prompts = [text[1:] for text in write(marked(half / half.sum(1, keepdims=True)), rng, 100)]
    reference, held = clean(rng), window_codes(SCHEME, Texts.of(prompts))

    def echo(model: Floats) -> Texts:
        return Texts.of([np.concatenate(both) for both in zip(prompts, write(model, rng, 100), strict=True)])

    innocent, guilty = echo(taught(0.0, rng)), echo(taught(1.0, rng))
    assert _found(closed_contrast(SCHEME, innocent, reference)).tail.log10_p < -20
    assert _found(closed_contrast(SCHEME, innocent, reference, copied=held)).tail.log10_p > -6
    assert _found(closed_contrast(SCHEME, guilty, reference, copied=held)).tail.log10_p < -6


def test_whoever_knows_what_was_served_looks_only_there(rng: np.random.Generator) -> None:
    said, reference = Texts.of(write(taught(0.1, rng), rng, 200)), clean(rng)
    some = window_codes(SCHEME, Texts.of([np.arange(10).repeat(2)]))
    narrow = closed_contrast(SCHEME, said, reference, known=some)
    assert set(np.unique(narrow.pairs.before)) <= set(range(10))
    assert 0 < narrow.used < closed_contrast(SCHEME, said, reference).used


def test_windows_without_a_choice_do_not_count() -> None:
    certain = Texts.of([np.tile([1, 2, 3], 200)])
    weighted = closed_contrast(SCHEME, certain, certain)
    assert weighted.used == 0
    told = radioactivity(SCHEME, KEY, weighted, subject="s", mode="closed")
    assert isinstance(told, Abstention)
    assert "lower the gate" in told.reason


def _reading(chances: Floats, reference: Floats, texts: list[np.ndarray]) -> Reading:
    """Expectations of bigram models at every place; before the first token anything may come."""
    rows = [
        np.concatenate([np.vstack((np.full(VOCAB, 1 / VOCAB), model[text[:-1]])) for text in texts])
        for model in (chances, reference)
    ]
    return Reading(Texts.of(texts), *rows)


def test_an_open_model_betrays_a_small_dose(rng: np.random.Generator) -> None:
    texts = write(teacher(), rng, 100)
    suspect, reference = taught(0.05, rng), taught(0.0, rng)
    halves = [_reading(suspect, reference, part) for part in (texts[:50], texts[50:])]
    weighted = open_contrast(SCHEME, halves, fresh=False)
    whole = open_contrast(SCHEME, [_reading(suspect, reference, texts)], fresh=False)
    assert weighted.weights.sum() == pytest.approx(whole.weights.sum(), abs=1e-6)
    assert len(weighted.weights) == len(whole.weights)
    assert _found(weighted).tail.log10_p < -4
    told = [_found(weighted, key).p_value for key in _keys(200)]
    assert kstest(told, "uniform").pvalue > 1e-6


def test_what_the_text_itself_shows_again_does_not_count(rng: np.random.Generator) -> None:
    """An innocent reader of marked text that expects again what it just read."""
    texts = write(marked(teacher()), rng, 60)
    rows, reference = [], taught(0.0, rng)
    for text in texts:
        seen = student([text])
        expected = np.vstack((np.full(VOCAB, 1 / VOCAB), 0.5 * seen[text[:-1]] + 0.5 * reference[text[:-1]]))
        first = np.unique(text[:-1], return_index=True)[1] + 1
        expected[first] = reference[text[first - 1]]
        rows.append(expected)
    told = _reading(reference, reference, texts)
    reading = Reading(told.texts, np.concatenate(rows), told.clean)
    assert _found(open_contrast(SCHEME, [reading], fresh=False)).tail.log10_p < -6
    with pytest.raises(WatermarkError, match="no place"):
        open_contrast(SCHEME, [Reading(Texts.of([]), told.suspect[:0], told.clean[:0])])
    careful = open_contrast(SCHEME, [reading], gate=Gate(bits=0.5))
    assert not len(careful.weights)


def test_a_key_must_fit_its_mark(rng: np.random.Generator) -> None:
    weighted = closed_contrast(SCHEME, clean(rng, 20), clean(rng, 20), gate=Gate(seen=1))
    with pytest.raises(WatermarkError, match="1 numbers"):
        radioactivity(GumbelPhilox(1), KEY, weighted, subject="s", mode="closed")
