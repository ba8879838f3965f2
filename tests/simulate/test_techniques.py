from __future__ import annotations

import numpy as np
import pytest

from kdguard.errors import WorldError
from kdguard.simulate import LANGUAGES, TECHNIQUES, Pools, benign_lookalikes, elicit
from kdguard.simulate.grammar import Grammar, grammar
from kdguard.simulate.pools import KINDS, SPLITS, split_of
from kdguard.simulate.techniques import PAYLOAD_KINDS, WRAPPED, languages_of, script


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_every_technique_in_every_language_fills_its_slots(technique: str) -> None:
    rng = np.random.default_rng(0)
    for language in LANGUAGES:
        for half in ("fit", "test", "both"):
            payloads = [f"payload {i}" for i in range(60)]
            prompts = elicit(payloads, technique, rng, split=half, language=language)
            assert len(prompts) == 60
            assert not any(
                slot in text for text in prompts for slot in ("{PAYLOAD}", "{ANSWER}", "{OTHER}", "{INNER}")
            )


@pytest.mark.parametrize("technique", WRAPPED)
def test_halves_share_no_wording(technique: str) -> None:
    for language in languages_of(technique):
        fit, test = grammar(technique, language, "fit"), grammar(technique, language, "test")
        for symbol, options in fit.rules.items():
            if len(options) > 1:
                assert not set(options) & set(test.rules[symbol])


def test_wordings_are_many() -> None:
    rng = np.random.default_rng(0)
    for technique in WRAPPED:
        prompts = elicit(["x"] * 2_000, technique, rng, language="en")
        assert len(set(prompts)) > 1_500


def test_unknown_names_are_explained() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(WorldError, match="known are: cot_elicit"):
        elicit(["x"], "magic", rng)
    with pytest.raises(WorldError, match="not written in 'xx'"):
        elicit(["x"], "cot_elicit", rng, language="xx")
    with pytest.raises(WorldError, match="no pool of kind"):
        Pools().pool("poem")


def test_lookalikes_are_one_a_payload() -> None:
    rng = np.random.default_rng(0)
    payloads = [f"p{i}" for i in range(500)]
    prompts = benign_lookalikes(payloads, rng, "fit")
    assert len(prompts) == 500
    assert 20 < sum(text in payloads for text in prompts) < 250
    assert sum("step" in text.lower() for text in prompts) > 10
    assert not any("{PAYLOAD}" in text for text in prompts)


def test_a_script_keeps_its_templates_and_paraphrase_leaves_them() -> None:
    rng = np.random.default_rng(1)
    own = script("rubric_grade", rng, split="test", language="en", templates=2)
    fixed = own.write(["P"] * 300, ["A", "B"], rng)
    free = own.write(["P"] * 300, ["A", "B"], rng, paraphrase=1.0)
    assert len(set(fixed)) <= 4
    assert len(set(free)) > 200


@pytest.mark.parametrize("kind", KINDS)
def test_pools_are_disjoint_by_split(kind: str) -> None:
    texts = {split: set(Pools(split).pool(kind).texts) for split in SPLITS}
    assert all(len(found) > 300 for found in texts.values())
    assert all(split_of(text) == split for split, found in texts.items() for text in found)


def test_payload_kinds_exist() -> None:
    assert set(PAYLOAD_KINDS) == set(TECHNIQUES)
    assert all(kind in KINDS for kinds in PAYLOAD_KINDS.values() for kind in kinds)


def test_a_grammar_names_its_missing_symbols() -> None:
    rules = Grammar({"a": ("{#1-3} {b}",), "b": ("x", "y", "z", "w")})
    rng = np.random.default_rng(0)
    assert all(text[0] in "123" and text[2] in "wxyz" for text in rules.expand("a", 50, rng))
    with pytest.raises(WorldError, match="no symbol 'c'"):
        rules.expand("c", 1, rng)
    assert len(rules.narrowed(rng, 0.5).rules["b"]) == 2
