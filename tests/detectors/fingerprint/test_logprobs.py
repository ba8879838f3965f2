"""Numbers read from models: students of the shipped fixtures are found, models of other families keep to the rate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from kdguard.detectors.fingerprint.logprobs import Readings, from_labels, from_likelihoods, from_tokens
from kdguard.detectors.fingerprint.logprobs.likelihoods import likelihoods_of
from kdguard.detectors.fingerprint.logprobs.topk import TOP_K, divergence, divergences_of, read_traces
from kdguard.errors import LineageError
from kdguard.exchanges.tokens import TokenTrace
from kdguard.lineage import (
    Claim,
    Family,
    Lineage,
    listed_controls,
    place_families,
    read_controls,
    read_families,
)
from kdguard.lineage.kinship import kinship, where_controls_fit, where_it_stands_far
from kdguard.lineage.matched import LEAN_APART, LEAN_OF_BOTH, Affinities, Score, lean
from kdguard.lineage.numbers import examine_numbers, named
from kdguard.lineage.scored import Place, place_of, verdict_of

SHIPPED = Path(__file__).parents[3] / "fixtures"
FAMILIES = read_families(SHIPPED / "lineage" / "families.toml")
POOL = ("student_pool",)


@pytest.fixture(scope="module")
def members() -> dict[str, dict[str, Any]]:
    told = json.loads((SHIPPED / "models" / "manifest.json").read_text())
    return {one["name"]: one for one in told["models"]}


@pytest.fixture(scope="module")
def readings() -> Readings:
    folder = SHIPPED / "lineage"
    return from_likelihoods(folder / "texts.parquet", folder / "likelihoods.parquet", FAMILIES, budget=200)


def controls() -> Path:
    return SHIPPED / "lineage" / "controls.csv"


def test_every_parent_is_found_at_full_and_half_dose_with_200_texts(
    readings: Readings, members: dict[str, dict[str, Any]]
) -> None:
    students = [
        one
        for one in members.values()
        if one["role"] == "student" and one["dose"] >= 0.5 and len(one["families"]) == 1
    ]
    found = readings.examine(controls(), POOL, [one["name"] for one in students], Claim(adjust=False))
    own = [one for one in found if one.teacher_family in members[one.suspect]["families"]]
    assert len(own) == 36
    assert all(one.p_value == one.p_floor == pytest.approx(1 / 127) for one in own)
    assert all(one.verdict is Lineage.SUPPORTED and one.queries == 198 for one in own)


def test_models_of_other_families_keep_to_the_stated_rate(
    readings: Readings, members: dict[str, dict[str, Any]]
) -> None:
    """267 pairs, nominal .01 and .05; more than 8 or 23 have chance .2 % and .4 % if pairs are independent."""
    roles = {"student", "grandstudent", "derived", "treated", "tainted"}
    suspects = [name for name, one in members.items() if one["role"] in roles]
    found = readings.examine(controls(), POOL, suspects, Claim(adjust=False))
    p_values = np.array(
        [one.p_value for one in found if one.teacher_family not in members[one.suspect]["families"]]
    )
    assert len(p_values) == 267
    assert (p_values <= 0.01).sum() <= 8
    assert (p_values <= 0.05).sum() <= 23


def test_controls_rank_one_a_place_among_themselves(
    readings: Readings, members: dict[str, dict[str, Any]]
) -> None:
    pool = [name for name, one in members.items() if one["role"] == "control"]
    found = readings.examine(controls(), POOL, pool, Claim(named=("cobalt",)))
    p_values = np.array([one.p_value for one in found])
    assert np.mean(p_values <= 0.05) <= 0.05
    assert np.mean(p_values <= 0.5) == pytest.approx(0.5, abs=0.04)


def test_few_controls_few_texts_and_strangers(readings: Readings, tmp_path: Path) -> None:
    table = pd.read_csv(controls())
    few = tmp_path / "few.csv"
    table[(table["kind"] == "student_pool") & (table["control"] < "control-019")].to_csv(few, index=False)
    one = readings.examine(few, POOL, ["basalt-text-100"], Claim(named=("basalt",)))[0]
    assert one.verdict is Lineage.INCONCLUSIVE
    assert one.controls == 18
    folder = SHIPPED / "lineage"
    short = from_likelihoods(
        folder / "texts.parquet", folder / "likelihoods.parquet", FAMILIES, budget=30
    ).examine(controls(), POOL, ["basalt-text-100"], Claim(named=("basalt",)))[0]
    assert short.verdict is Lineage.INCONCLUSIVE
    assert "10 items" in short.reason
    with pytest.raises(LineageError, match="nothing was read of 'nobody'"):
        readings.examine(controls(), POOL, ["nobody"], Claim())
    with pytest.raises(LineageError, match="nothing was read of 'nobody'"):
        readings.examine(controls(), POOL, ["basalt-text-100"], Claim(named=("nobody",)))


def test_decisions_and_likeliest_tokens_find_the_teachers_own_weights(tmp_path: Path) -> None:
    folder = SHIPPED / "lineage"
    decided = from_labels(folder / "labels.parquet", FAMILIES)
    claim = Claim(named=("aurora",))
    told = decided.examine(controls(), POOL, ["aurora-int8", "control-001"], claim)
    assert [one.verdict for one in told] == [Lineage.SUPPORTED, Lineage.NOT_SUPPORTED]
    with pytest.raises(LineageError, match="packed token table"):
        from_tokens(folder / "labels.parquet", FAMILIES)


def test_divergence_stops_where_the_texts_part() -> None:
    def trace(words: list[bytes], first: list[float]) -> TokenTrace:
        shown = np.log(np.array([first, [0.5, 0.5]], np.float32))
        return TokenTrace(
            token_bytes=tuple(words),
            logprob=shown[:, 0],
            top_bytes=((b"a", b"b"), (b"c", b"d")),
            top_logprobs=shown,
        )

    one, other = trace([b"a", b"c"], [0.8, 0.2]), trace([b"b", b"c"], [0.2, 0.8])
    wanted = 0.8 * np.log(4) - 0.2 * np.log(4)  # alike in either direction
    assert divergence(one, other) == pytest.approx(wanted, abs=1e-4)
    same = trace([b"a", b"d"], [0.2, 0.8])
    assert divergence(one, same) == pytest.approx(wanted / 2, abs=1e-4)


def test_probabilities_instead_of_logs_are_refused() -> None:
    texts = pd.DataFrame({"text_id": [0], "family": ["a"], "prompt_id": [0], "tokens": [3]})
    read = pd.DataFrame({"model": ["m"], "text_id": [0], "logprob": [0.4]})
    with pytest.raises(LineageError, match="at most 0, in nats"):
        likelihoods_of(texts, read, [Family("a", ("m",))])
    with pytest.raises(LineageError, match="no text of family 'b'"):
        likelihoods_of(texts, read, [Family("a", ("m",)), Family("b", ("n",))])


@pytest.mark.parametrize("score", [LEAN_OF_BOTH, LEAN_APART])
def test_ranks_by_lean_are_exact_for_exchangeable_models(score: Score) -> None:
    """Correlated models, 400 draws of 20: the last is first at most 1 in 20 times; 34 or more have chance .2 %."""
    rng = np.random.default_rng(0)
    first = 0
    for _ in range(400):
        mixed = rng.normal(size=(30, 3)) @ rng.normal(size=(3, 20)) + 0.3 * rng.normal(size=(30, 20))
        teacher = rng.normal(size=30)
        foils = rng.normal(size=(30, 2))
        sides = Affinities(mixed, teacher, foils), Affinities(mixed**2, teacher, foils)
        first += place_of(score.of(*sides)).above == 0
    assert 8 <= first < 34


def test_lean_sees_past_what_controls_do_anyway() -> None:
    """A small step to the teacher, hidden by a direction in which controls differ a hundred times as much."""
    rng = np.random.default_rng(1)
    loud, teacher = rng.normal(size=80), rng.normal(size=80)
    models = np.outer(loud, 10 * rng.normal(size=60)) + 0.3 * rng.normal(size=(80, 60))
    models[:, -1] += 0.2 * teacher
    target = models[:, :-1].mean(axis=1) + teacher + 3 * loud
    assert place_of(lean(models, target)).above == 0
    assert place_of((models * (target - models.mean(axis=1))[:, None]).sum(axis=0)).above > 0
    assert np.array_equal(lean(np.ones((5, 4)), np.ones(5)), np.zeros(4))
    assert np.array_equal(lean(np.ones((0, 4)), np.ones(0)), np.zeros(4))


def test_weights_of_one_teacher_are_not_taken_for_anothers_student(tmp_path: Path) -> None:
    """They were trained forty times as long as any control, which alone brought them nearer to every teacher."""
    folder, suspects = SHIPPED / "lineage", ["aurora-pruned60", "basalt-pruned60", "cobalt-int8"]
    wanted = {*suspects, "aurora", "basalt", "cobalt", *(f"control-{number:03d}" for number in range(1, 127))}
    table = pq.read_table(folder / "tokens.parquet")
    ids = [str(name).rsplit("/", 1) for name in table["request_id"].to_pylist()]
    kept = [model in wanted and int(prompt) % 2 == 0 for model, prompt in ids]
    pq.write_table(table.filter(kept), tmp_path / "tokens.parquet")
    traces = read_traces(tmp_path / "tokens.parquet")
    models = tuple(sorted({model for model, _ in traces}))
    placed = place_families(FAMILIES, named(models))
    listed = listed_controls(read_controls(controls()), POOL, placed, named(models))
    numbers = divergences_of(traces, models, placed)
    found = examine_numbers(
        numbers, placed, listed, suspects, TOP_K, Claim(alpha=0.05, adjust=False), LEAN_APART
    )
    own = {one.suspect: one for one in found if one.suspect.startswith(one.teacher_family)}
    assert own["cobalt-int8"].verdict is Lineage.SUPPORTED
    others = [one for one in found if one not in own.values()]
    assert len(others) == 6
    assert all(one.p_value is not None and one.p_value > 0.05 for one in others)


def test_a_suspect_unlike_its_controls_is_not_claimed_by_a_narrow_lead() -> None:
    """A model far from all in what concerns no family: its rank says little, unless it stands far above all."""
    rng = np.random.default_rng(2)
    elsewhere = rng.normal(size=(50, 121))
    assert kinship(elsewhere).p_value > 0.01
    elsewhere[:, -1] *= 3
    place = kinship(elsewhere)
    assert place.p_value == pytest.approx(1 / 121)
    narrow, far = (
        verdict_of("s", "t", Place(score, 0, 120), (), queries=60, alpha=0.01) for score in (3.0, 6.0)
    )
    assert narrow.verdict is far.verdict is Lineage.SUPPORTED
    held = where_controls_fit(narrow, place, 0.01)
    assert held.verdict is Lineage.INCONCLUSIVE
    assert "no control is so unlike the others" in held.reason
    assert held.p_value == narrow.p_value
    assert where_controls_fit(far, place, 0.01) is far
    assert where_controls_fit(narrow, place, 0.001) is narrow


def test_likeliest_tokens_claim_only_what_stands_far() -> None:
    """Students of another teacher were first among the controls too often, at scores up to 3.8."""
    narrow, far = (
        verdict_of("s", "t", Place(score, 0, 120), (), queries=60, alpha=0.01) for score in (3.8, 4.1)
    )
    assert where_it_stands_far(far) is far
    held = where_it_stands_far(narrow)
    assert held.verdict is Lineage.INCONCLUSIVE
    assert held.reason.startswith("the suspect stands 3.8 above the controls, and this reading claims from 4")
    assert held.p_value == narrow.p_value
    assert LEAN_APART.claims_far_alone
    assert not LEAN_OF_BOTH.claims_far_alone
