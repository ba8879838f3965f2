"""What counts, what is left out, and what is believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from scipy.stats import kstest

from kdguard.detectors.watermark.detect import Detection, detect
from kdguard.detectors.watermark.keys import MarkKey, derived_key, foreign_key
from kdguard.detectors.watermark.schemes.green import GreenSiphash
from kdguard.detectors.watermark.schemes.gumbel import GumbelPhilox
from kdguard.detectors.watermark.schemes.registry import make_scheme
from kdguard.detectors.watermark.schemes.scheme import Floats, Scheme, Words
from kdguard.detectors.watermark.schemes.synthid import SynthIdTable
from kdguard.detectors.watermark.windows import Ints, Texts, Windows
from kdguard.errors import WatermarkError
from kdguard.evidence import Abstention, Guarantee

VOCAB = 500
SECRET = bytes(range(32))


def _key(scheme: Scheme, secret: bytes = SECRET) -> MarkKey:
    return derived_key(secret, scheme.key_words, scheme.key_bits)


def _marked(scheme: Scheme, key: MarkKey, rng: np.random.Generator, count: int, choices: int = 3) -> Ints:
    """A text whose writer each time takes the best by its key of a few random tokens."""
    text = [-1] * scheme.width
    for _ in range(count):
        options = rng.integers(1, VOCAB, choices)
        before = np.tile(text[len(text) - scheme.width :], (choices, 1))
        told = scheme.scores(key.words, Windows(before, options, np.zeros(choices, np.int64)))
        text.append(int(options[np.nan_to_num(told).argmax()]))
    return np.array(text[scheme.width :])


def _one(found: tuple[Detection | Abstention, ...]) -> Detection:
    (detection,) = found
    assert isinstance(detection, Detection)
    return detection


@pytest.mark.parametrize("name", ["green-siphash", "gumbel-philox", "synthid-philox", "synthid-table"])
def test_a_mark_is_found_by_its_key_alone(name: str, rng: np.random.Generator) -> None:
    scheme = make_scheme(name)
    texts = Texts.of([_marked(scheme, _key(scheme), rng, 400)])
    own = _one(detect(scheme, _key(scheme), texts, committed=True))
    other = _one(detect(scheme, _key(scheme, b"another secret of 32 bytes here!"), texts))
    assert own.log10_p is not None
    assert own.log10_p < -20
    assert own.detected(1e-6)
    assert own.guarantee is Guarantee.RANDOMISED
    assert own.evidence().guarantee is Guarantee.RANDOMISED
    assert not other.detected(1e-6)
    assert "not who took it or why" in own.summary


def test_saying_it_again_adds_nothing(rng: np.random.Generator) -> None:
    scheme = GreenSiphash()
    text = _marked(scheme, _key(scheme), rng, 100)
    once = _one(detect(scheme, _key(scheme), Texts.of([text]), decoys=0))
    often = _one(detect(scheme, _key(scheme), Texts.of([text] * 50), decoys=0))
    assert (often.scored, often.log10_p) == (once.scored, once.log10_p)
    assert often.repeated == often.tokens - 50 - often.scored


def test_what_prompts_hold_does_not_count(rng: np.random.Generator) -> None:
    """An innocent model that copies marked prompts."""
    scheme = GreenSiphash()
    marked = [_marked(scheme, _key(scheme), rng, 200) for _ in range(5)]
    own_words = [rng.integers(1, VOCAB, 200) for _ in range(5)]
    copies = Texts.of([np.concatenate((head[50:], own)) for head, own in zip(marked, own_words, strict=True)])
    fooled = _one(detect(scheme, _key(scheme), copies))
    careful = _one(detect(scheme, _key(scheme), copies, prompts=Texts.of(marked)))
    assert fooled.detected(1e-6)
    assert not careful.detected(1e-3)
    assert careful.copied >= 5 * 149


def test_subjects_are_told_apart(rng: np.random.Generator) -> None:
    scheme = GumbelPhilox()
    texts: list[Ints] = [
        rng.integers(1, VOCAB, 60),
        _marked(scheme, _key(scheme), rng, 60),
        rng.integers(1, VOCAB, 60),
        np.empty(0, np.int64),
    ]
    found = detect(
        scheme,
        _key(scheme),
        Texts.of(texts),
        names=["a", "b", "c"],
        subjects=np.array([0, 1, 0, 2]),
        decoys=199,
    )
    plain, marked, empty = found
    assert isinstance(plain, Detection)
    assert isinstance(marked, Detection)
    assert (plain.tokens, marked.tokens) == (120, 60)
    assert marked.detected(1e-6)
    assert not plain.detected(1e-6)
    assert isinstance(empty, Abstention)
    assert "0 tokens" in empty.reason
    alone = _one(detect(scheme, _key(scheme), Texts.of(texts[1:2]), decoys=199))
    assert alone.decoys is not None
    assert marked.decoys is not None
    assert (alone.z, alone.log10_p) == pytest.approx((marked.z, marked.log10_p))
    assert alone.decoys.z_sd == pytest.approx(marked.decoys.z_sd)


@dataclass(frozen=True)
class _Lopsided(Scheme):
    """A function that favours the same tokens under most keys: what a bad table or hash does."""

    name: ClassVar[str] = "lopsided"
    width: int = 1
    mean: float = 0.5
    variance: float = 0.25

    def scores(self, key: Words, windows: Windows) -> Floats:
        fair = make_scheme("green-siphash", {"gamma": 0.5}).scores(np.array([key[0], 1], np.uint64), windows)
        return np.where(windows.tokens % 3 == 0, 1.0, fair)

    def log10_tail(self, score: Floats, scored: Ints) -> Floats:
        return GreenSiphash(gamma=0.5).log10_tail(score, scored)


def test_a_tail_that_decoys_contradict_is_withheld(rng: np.random.Generator) -> None:
    scheme = _Lopsided()
    found = _one(detect(scheme, _key(scheme), Texts.of([rng.integers(1, VOCAB, 3_000)]), committed=True))
    assert found.log10_p is None
    assert found.p_value > 1e-3
    assert found.p_floor == 1 / 1_000
    assert found.guarantee is Guarantee.RANDOMISED
    assert "withheld" in found.summary
    unbacked = _one(detect(scheme, _key(scheme), Texts.of([rng.integers(1, VOCAB, 3_000)]), decoys=0))
    assert unbacked.log10_p is not None
    assert unbacked.guarantee is Guarantee.DESCRIPTIVE


def test_too_few_decoys_back_nothing(rng: np.random.Generator) -> None:
    scheme = GreenSiphash()
    found = _one(detect(scheme, _key(scheme), Texts.of([rng.integers(1, VOCAB, 300)]), decoys=99))
    assert found.log10_p is None
    assert found.decoys is not None
    assert found.p_value == found.decoys.p_value


def test_a_key_nobody_committed_to_is_descriptive(rng: np.random.Generator) -> None:
    found = _one(detect(GreenSiphash(), _key(GreenSiphash()), Texts.of([rng.integers(1, VOCAB, 300)])))
    assert found.guarantee is Guarantee.DESCRIPTIVE


@pytest.mark.parametrize("table_seed", [0, 2, 3])
def test_a_million_unmarked_tokens_do_not_alarm_through_synthids_table(table_seed: int) -> None:
    """Fair coins would put table seeds 2 and 3 beyond 20 standard deviations (the usual tail of this mark)."""
    scheme = SynthIdTable(table_seed=table_seed)
    text = Texts.of([np.random.default_rng(1).integers(0, 32_000, 1_000_000)])
    found = _one(detect(scheme, _key(scheme), text))
    assert found.log10_p is not None
    assert abs(found.z) < 4
    assert found.decoys is not None
    assert found.decoys.distrust is None


def test_p_is_uniform_over_keys_on_looping_text(rng: np.random.Generator) -> None:
    """KS at 1e-6: the stated rate of false failures."""
    scheme, phrase = GumbelPhilox(), rng.integers(1, VOCAB, 40)
    text = Texts.of([np.concatenate([phrase] * 20)])
    told = [
        _one(detect(scheme, foreign_key([key]), text, decoys=0)).p_value
        for key in rng.integers(0, 2**63, 400).tolist()
    ]
    assert kstest(told, "uniform").pvalue > 1e-6


def test_keys_and_names_must_fit(rng: np.random.Generator) -> None:
    text = Texts.of([[1, 2, 3]])
    with pytest.raises(WatermarkError, match="2 numbers"):
        detect(GreenSiphash(), foreign_key([42]), text)
    with pytest.raises(WatermarkError, match="needs a name"):
        detect(GumbelPhilox(), foreign_key([42]), text, subjects=np.array([1]))
    with pytest.raises(WatermarkError, match="whole numbers"):
        foreign_key([2**64])
    with pytest.raises(WatermarkError, match="16 bytes"):
        derived_key(b"short", 1)
    with pytest.raises(WatermarkError, match="leave padding out"):
        Texts.of([[1, -100]])


def test_a_key_does_not_show_itself() -> None:
    key = derived_key(SECRET, 2)
    assert repr(key) == "MarkKey()"


def test_decoys_follow_from_the_key() -> None:
    key = derived_key(SECRET, 2)
    assert np.array_equal(key.decoys(10), derived_key(SECRET, 2).decoys(20)[:10])
    assert not np.isin(key.words, key.decoys(1_000)).any()
    assert key.decoys(100, bits=31).max() < 2**31
