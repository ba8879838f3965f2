"""Sentences about decisions say what really settled them, for accounts and for groups."""

from __future__ import annotations

import dataclasses

import pytest

from kdguard.report.words import floor_words, reason, stratum_words, why
from kdguard.verdict import Decision, GuaranteeState, Verdict
from tests.report.made_findings import make_findings

SUMMARY = {"alpha": 0.01, "fdr": 0.1, "guarantee_state": "active", "group_references_needed": 99}
GROUP = next(v for v in make_findings(benign=5).verdicts if v.id == "c-2")
MEMBER = next(v for v in make_findings(benign=5).verdicts if v.kind == "account" and v.clusters)


def review(verdict: Verdict, p_value: float | None, **more: object) -> Verdict:
    changes = {"decision": Decision.REVIEW, "p_value": p_value, **more}
    return dataclasses.replace(verdict, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("group", "said"),
    [
        (review(GROUP, 0.05, calibration_size=14), "only 14 benign groups to rank among and a flag needs 99"),
        (review(GROUP, 0.02, calibration_size=399), "p among groups is above alpha = 0.01"),
        (review(GROUP, 0.008, calibration_size=399), "not selected at a false discovery rate of 10"),
        (review(GROUP, 0.008, guarantee_state=GuaranteeState.SUSPENDED), "guarantee is suspended"),
        (review(GROUP, 0.008, guarantee_state=GuaranteeState.UNCALIBRATED), "shipped baseline"),
        (review(GROUP, 0.008, permitted=True), "permits training"),
    ],
)
def test_a_group_is_not_listed_because_of_the_group_it_belongs_to(group: Verdict, said: str) -> None:
    assert said in why(group, SUMMARY)
    assert "group it belongs to" not in reason(group, SUMMARY)


def test_a_flagged_group_was_selected_among_groups() -> None:
    flagged = dataclasses.replace(GROUP, decision=Decision.FLAG)
    assert (
        why(flagged, SUMMARY) == "selected at a false discovery rate of 10\u00a0% among all groups looked at."
    )


def test_members_without_evidence_of_their_own_are_listed_because_of_their_group() -> None:
    assert "listed because of the group it belongs to" in why(review(MEMBER, 0.2), SUMMARY)
    few = reason(review(MEMBER, None), SUMMARY)
    assert (
        few
        == "Has no p-value. Too few requests of its own to rank; listed because of the group it belongs to."
    )


@pytest.mark.parametrize(
    ("smallest", "said"), [(3, "at least 3 owners must stand out together"), (1, ""), (None, "")]
)
def test_what_the_floor_rules_out(smallest: int | None, said: str) -> None:
    words = floor_words(SUMMARY | {"smallest_group_bh_can_flag": smallest})
    assert said in words
    assert bool(words) == bool(said)


def test_without_a_guarantee_nothing_is_said_about_flags() -> None:
    assert not floor_words(SUMMARY | {"smallest_group_bh_can_flag": 3, "guarantee_state": "uncalibrated"})


@pytest.mark.parametrize(
    ("stratum", "said"),
    [
        ("product", "product"),
        ("product|product", "product"),
        ("batch|agent+batch+chat", "batch, with agent and chat"),
        ("unverified|product", "product, for want of a verified kind"),
        ("unverified|agent+chat", "agent and chat, for want of a verified kind"),
        ("unverified|unverified", "unverified"),
        ("agent+chat", "agent and chat"),
        ("groups across owners", "groups across owners"),
        ("", "\u2013"),
    ],
)
def test_strata_are_words_that_wrap(stratum: str, said: str) -> None:
    assert stratum_words(stratum) == said


def test_a_group_is_listed_because_it_stands_out_from_groups_of_all_sizes() -> None:
    said = reason(review(GROUP, 0.05, calibration_size=14), SUMMARY)
    assert "Listed because it stands out from groups of all sizes" in said
