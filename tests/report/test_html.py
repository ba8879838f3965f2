"""The page holds together, stays inert whatever the log holds, and says so when something is missing."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import pytest

from kdguard.evidence import Evidence, Guarantee
from kdguard.report.html import TABLE_ROWS, render
from kdguard.report.plots import ClusterGraph, Plots
from kdguard.verdict import Decision, Findings, GuaranteeState, Verdict
from tests.report.made_findings import HOSTILE, make_findings, without

SECTIONS = (
    "headline",
    "attention",
    "timeline",
    "groups",
    "scores",
    "calibration",
    "accounts",
    "meaning",
    "inputs",
)
VOID = {"meta", "input", "br", "hr", "img", "link"}


class Page(HTMLParser):
    """Checks that tags nest, and gathers attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> without a start"
        assert self.open.pop() == tag, f"</{tag}> closes another element at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.words.append(data)

    def ids(self) -> list[str]:
        return [attributes["id"] or "" for _, attributes in self.tags if "id" in attributes]

    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def findings() -> Findings:
    return make_findings()


@pytest.fixture(scope="module")
def markup(findings: Findings) -> str:
    return render(findings)


@pytest.fixture(scope="module")
def page(markup: str) -> Page:
    return Page(markup)


def test_every_section_is_there_and_tags_nest(page: Page) -> None:
    assert not page.open
    ids = page.ids()
    assert [name for name in ids if name in SECTIONS] == list(SECTIONS)
    assert len(ids) == len(set(ids))


def test_links_lead_somewhere_on_the_page_and_nowhere_else(page: Page) -> None:
    ids = set(page.ids())
    for tag, attributes in page.tags:
        assert "src" not in attributes
        assert tag not in ("iframe", "object", "embed", "link", "form", "base")
        href = attributes.get("href")
        if href is not None:
            assert href.startswith("#")
            assert href[1:] in ids


def test_policy_forbids_the_network(markup: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', markup)
    assert policy is not None
    assert policy[1].startswith(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    )
    assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttpRequest", markup)


def test_a_hostile_id_is_text_everywhere(markup: str, page: Page) -> None:
    assert HOSTILE not in markup
    assert HOSTILE in page.text()
    assert sum(tag == "script" for tag, _ in page.tags) == 1


BAD = '"><img src=x onerror=alert(1)>\u202e\x00\ud800'


def spoilt(verdict: Verdict) -> Verdict:
    """Hostile text wherever a log, an accounts table or a detector could put some."""
    evidence = tuple(
        dataclasses.replace(e, detector=BAD, version=BAD, summary=BAD, exhibits=(BAD,))
        for e in verdict.evidence
    )
    return dataclasses.replace(
        verdict,
        id=BAD + verdict.id,
        stratum=BAD,
        members=(BAD,) if verdict.members else (),
        clusters=(BAD,),
        techniques=(BAD, *verdict.techniques),
        abstain_reason=BAD if verdict.abstain_reason else None,
        evidence=evidence,
    )


SPOILT_GRAPH: ClusterGraph = {
    "id": BAD,
    "nodes": [{"id": BAD, "decision": BAD}, {"id": BAD}],
    "attributes": [{"kind": BAD, "hash": BAD, "weight": 1.0, "members": [0, 1]}],
    "edges": [{"source": 0, "target": 1, "kind": BAD, "weight": 1.0}],
}
SPOILT: Plots = {
    "score_distribution": {
        "strata": [{"stratum": BAD, "volume": BAD, "edges": [0.0, 1.0], "counts": [3]}],
        "accounts": [{"id": BAD, "score": 0.5, "stratum": BAD, "decision": BAD}],
    },
    "calibration": {
        "strata": [{"stratum": BAD, "p": [0.5], "cdf": [1.0], "accounts": 1, "drift": "too_few"}]
    },
    "contributions": {
        "detectors": [{"detector": BAD, "title": BAD, "quantiles": [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]}]
    },
    "timeline": {
        "unit": "hour",
        "start": "2026-10-01T00:00:00Z",
        "accounts": [{"account": BAD, "requests": [1, 2]}],
        "events": [{"time": "2026-10-01T01:00:00Z", "label": BAD}],
    },
    "cluster_graph": [SPOILT_GRAPH],
    "inputs": {
        "files": [{"name": BAD, "sha256": BAD, "bytes": 1, "format": BAD}],
        "parameters": {BAD: BAD},
        "versions": {BAD: BAD},
        "baseline_digest": BAD,
        "created": BAD,
        "command": BAD,
        "period": [BAD, BAD],
    },
    "missing": {"timeline": BAD},
}


def test_every_text_from_the_log_is_escaped() -> None:
    verdicts = tuple(map(spoilt, make_findings(benign=5).verdicts))
    summary = {"accounts": 5, "guarantee_state": "suspended", "guarantee_reason": BAD, "alpha": 0.01}
    text = render(Findings(verdicts=verdicts, summary=summary, plots=dict(SPOILT)), title="<b>")
    assert not any(tag == "img" for tag, _ in Page(text).tags)
    shown = " ".join(Page(text).words)
    assert "\u202e" not in shown
    assert r"\u202e\u0000" in shown
    text.encode("utf-8")


@pytest.mark.parametrize(
    ("figure", "sentence"),
    [
        ("score_distribution", "no reference scores to draw"),
        ("calibration", "compare with a uniform spread"),
        ("contributions", "evidence is shown without its range"),
        ("timeline", "no usable times"),
        ("cluster_graph", "No group of accounts was tested"),
        ("inputs", "no account of the inputs"),
    ],
)
def test_a_missing_figure_is_explained(findings: Findings, figure: str, sentence: str) -> None:
    assert sentence not in Page(render(findings)).text()
    page = Page(render(without(findings, figure)))
    assert not page.open
    assert sentence in page.text()


def test_the_caller_may_give_its_own_reason() -> None:
    bare = Findings(
        verdicts=(), summary={}, plots={"missing": {"timeline": "Times were dropped by the gateway."}}
    )
    page = Page(render(bare))
    assert "Times were dropped by the gateway." in page.text()
    assert "absence of evidence" in page.text()


def test_no_page_says_that_an_account_is_clean(page: Page) -> None:
    assert not re.search(r"\bclean\b|\binnocent of\b|\bcleared\b", page.text(), re.IGNORECASE)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (GuaranteeState.ACTIVE, "The false-alarm guarantee holds"),
        (GuaranteeState.SUSPENDED, "would have been a flag is reported as a review"),
        (GuaranteeState.UNCALIBRATED, "the shipped baseline was used"),
    ],
)
def test_the_guarantee_is_put_in_words(findings: Findings, state: GuaranteeState, words: str) -> None:
    summary = dict(findings.summary) | {"guarantee_state": state.value}
    assert words in Page(render(dataclasses.replace(findings, summary=summary))).text()


def test_headline_counts_what_is_there(findings: Findings, page: Page) -> None:
    flagged = sum(v.kind == "account" and v.decision is Decision.FLAG for v in findings.verdicts)
    assert f"{flagged} accounts and 1 group need a person\u2019s decision" in page.text()
    assert (
        f"Expect about {findings.summary['expected_innocent_reviews']:.1f} innocent accounts" in page.text()
    )


def test_the_smallest_group_that_can_be_flagged_is_told(findings: Findings, page: Page) -> None:
    assert "must stand out together" not in page.text()
    summary = dict(findings.summary) | {"smallest_group_bh_can_flag": 7}
    told = Page(render(dataclasses.replace(findings, summary=summary))).text()
    assert "at least 7 owners must stand out together" in told


def test_a_group_card_tells_its_rank_in_words_and_its_parts_as_parts(findings: Findings) -> None:
    rank = Evidence(
        detector="coordination.rank",
        version="1",
        subject="c-1",
        guarantee=Guarantee.DESCRIPTIVE,
        score=9.0,
        p_value=0.07,
        p_floor=0.07,
        summary="31 accounts share 2 cards",
        exhibits=("req-first",),
    )
    verdicts = tuple(
        dataclasses.replace(v, evidence=(rank, *v.evidence)) if v.kind == "cluster" else v
        for v in findings.verdicts
    )
    text = render(dataclasses.replace(findings, verdicts=verdicts))
    card = text[text.index("tested as one") : text.index("</article>", text.index("tested as one"))]
    assert "31 accounts share 2 cards" in card
    assert "req-first" in card
    assert "Coordination" not in card
    assert "took no part in the decision" not in card
    assert "part of the group\u2019s score" in card


def test_detectors_without_a_title_are_named_readably_and_empty_bars_are_left_out(findings: Findings) -> None:
    account = next(v for v in findings.verdicts if v.kind == "account" and v.decision is Decision.FLAG)
    strong = dataclasses.replace(account.evidence[0], detector="mixture_tail.focus", contribution=2.0)
    nothing = dataclasses.replace(account.evidence[0], detector="novelty.mean", contribution=0.0004)
    alone = dataclasses.replace(account, evidence=(strong, nothing))
    page = Page(render(Findings(verdicts=(alone,), summary=findings.summary, plots={})))
    assert "Mixture tail: focus" in page.text()
    assert "Novelty" not in page.text()
    assert "1 weaker detector not shown" in page.text()


def test_same_findings_same_bytes(markup: str) -> None:
    assert render(make_findings()) == markup


def test_page_stays_small_with_many_accounts() -> None:
    many = make_findings(benign=4_000)
    text = render(many)
    assert len(text.encode()) < 1_500_000
    accounts = sum(v.kind == "account" for v in many.verdicts)
    assert f"{accounts - TABLE_ROWS:,} accounts with the weakest evidence are left out" in Page(text).text()
