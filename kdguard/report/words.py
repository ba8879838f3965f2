"""Plain words for verdicts: the sentences that the page, the terminal and the findings share."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from kdguard.verdict import Decision, Findings, GuaranteeState, Verdict

NOTHING = "\u2013"  # an en dash, where there is no number

DECISION_WORDS: Mapping[Decision, str] = {
    Decision.FLAG: "Flag",
    Decision.REVIEW: "Review",
    Decision.CLEAR: "Not distinguishable",
    Decision.ABSTAIN: "Abstained",
}

_GUARANTEE_WORDS: Mapping[GuaranteeState, tuple[str, str]] = {
    GuaranteeState.ACTIVE: (
        "The false-alarm guarantee holds",
        "The baseline is your own, and verified accounts still behave as they did when it was learnt. An "
        "innocent account is sent to review with probability at most alpha, within its stratum and volume "
        "bin, however often it was looked at.",
    ),
    GuaranteeState.SUSPENDED: (
        "The false-alarm guarantee is suspended",
        "Verified accounts no longer behave as they did when the baseline was learnt, so the stated "
        "false-alarm rate may not hold. Nothing is hidden: what would have been a flag is reported as a "
        "review. Learn a new baseline, and ask what changed; the change may itself be an attack.",
    ),
    GuaranteeState.UNCALIBRATED: (
        "No false-alarm guarantee: the shipped baseline was used",
        "The references are simulated accounts, not yours. The ranking helps you decide where to look first, "
        "but no rate is promised and nothing goes beyond a review. Run `kdguard baseline` on a month of "
        "your own log.",
    ),
}


def visible(text: str, limit: int = 120) -> str:
    r"""Make an id safe to show: control, bidirectional and other invisible characters are spelt out.

    Ids come from hostile logs; one must not be able to repaint a terminal or pose as another id.

    >>> visible("acct\u202e7")
    'acct\\u202e7'
    """
    shown = "".join(
        character
        if unicodedata.category(character)[0] != "C" and character not in "\u2028\u2029"
        else f"\\u{ord(character):04x}"
        for character in text[: limit + 1]
    )
    return shown if len(text) <= limit else shown[: limit - 1] + "…"


def count(number: float, one: str, many: str | None = None) -> str:
    """Say how many: `count(1, "account")` is "1 account", `count(2_000, "account")` "2,000 accounts"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def p_words(value: float | None) -> str:
    """Write a probability with two significant digits, or a dash for None."""
    if value is None:
        return NOTHING
    return f"{value:.2g}" if value >= 0.0001 else f"{value:.1e}"


def number_words(value: float | None, digits: int = 2) -> str:
    """Write a score with a fixed number of decimals and a true minus sign, or a dash for None."""
    return NOTHING if value is None else f"{value:,.{digits}f}".replace("-", "\u2212")


def time_words(moment: str | None) -> str:
    """Shorten an RFC 3339 time to the minute: "2026-11-02 09:14 UTC"; other text is kept as it is."""
    if not moment:
        return "time unknown"
    day, separator, rest = moment.partition("T")
    if not separator or len(rest) < 5:
        return visible(moment, 40)
    zone = "UTC" if rest.endswith(("Z", "+00:00")) else rest[8:].lstrip(".0123456789")
    return visible(f"{day} {rest[:5]} {zone}".strip(), 40)


def stratum_words(stratum: str) -> str:
    """Write the strata of a verdict, its own and the deciding one joined by "|", small ones joined by "+".

    >>> stratum_words("batch|agent+batch+chat")
    'batch, with agent and chat'
    """
    own, _, deciding = stratum.partition("|")
    kinds = (deciding or own).split("+")
    others = [visible(kind, 60) for kind in kinds if kind != own or len(kinds) == 1]
    together = " and ".join(filter(None, (", ".join(others[:-1]), others[-1])))
    if own == "unverified" and deciding and own not in kinds:
        return f"{together}, for want of a verified kind"
    if own in kinds and len(kinds) > 1:
        return f"{visible(own, 60)}, with {together}"
    return together or NOTHING


def guarantee_state(findings: Findings) -> GuaranteeState:
    """Return the state of the run: the summary's, else the weakest that any verdict carries."""
    given = findings.summary.get("guarantee_state")
    if given is not None:
        return GuaranteeState(given)
    states = {verdict.guarantee_state for verdict in findings.verdicts}
    for state in (GuaranteeState.UNCALIBRATED, GuaranteeState.SUSPENDED, GuaranteeState.ACTIVE):
        if state in states:
            return state
    return GuaranteeState.UNCALIBRATED


def guarantee_words(state: GuaranteeState) -> tuple[str, str]:
    """Return a headline for the state of the guarantee, and what it means."""
    return _GUARANTEE_WORDS[state]


def reason(verdict: Verdict, summary: Mapping[str, Any]) -> str:
    """Say in one or two sentences why a subject got its decision."""
    rank = _capital(_rank(verdict))
    if verdict.decision is Decision.ABSTAIN:
        return why(verdict, summary)
    if verdict.decision is Decision.CLEAR:
        return f"{rank}: not distinguishable from benign. Absence of evidence, not proof."
    if verdict.decision is Decision.FLAG:
        return f"{rank}, and {why(verdict, summary)}"
    return f"{rank}. {_capital(why(verdict, summary))}"


def why(verdict: Verdict, summary: Mapping[str, Any]) -> str:
    """Say what settled the decision, leaving out the numbers; subjects often share it."""
    rate = summary.get("fdr")
    at = f" at a false discovery rate of {100 * rate:g}\u00a0%" if isinstance(rate, float) else ""
    if verdict.decision is Decision.ABSTAIN:
        return f"no p-value: {visible(verdict.abstain_reason or 'no reason was recorded', 300).rstrip('.')}."
    if verdict.decision is Decision.CLEAR:
        return "not distinguishable from benign."
    if verdict.decision is Decision.FLAG:
        among = "all groups looked at" if verdict.kind == "cluster" else "everything scored"
        return f"selected{at} among {among}."
    if verdict.permitted:
        return "a contract permits training on outputs, so it is reported and never flagged."
    if verdict.guarantee_state is GuaranteeState.UNCALIBRATED:
        return "no flag, because the shipped baseline cannot support one."
    if verdict.guarantee_state is GuaranteeState.SUSPENDED:
        return "no flag, because the false-alarm guarantee is suspended."
    return _weak(verdict, summary) or f"no flag, because it was not selected{at}."


def _weak(verdict: Verdict, summary: Mapping[str, Any]) -> str:
    """Why a review could not have been a flag, whatever else was scored; empty if it could."""
    alpha, needed = summary.get("alpha"), summary.get("group_references_needed")
    above = verdict.p_value is not None and isinstance(alpha, float) and verdict.p_value > alpha
    if verdict.kind == "cluster":
        if isinstance(needed, int) and verdict.calibration_size < needed:
            groups = count(verdict.calibration_size, "benign group")
            return (
                f"{_LISTED} no flag, because there are only {groups} to rank among and a flag needs {needed}."
            )
        return f"{_LISTED} no flag, because p among groups is above alpha = {alpha:g}." if above else ""
    if verdict.p_value is None:
        return "too few requests of its own to rank; listed because of the group it belongs to."
    return "weak evidence of its own; listed because of the group it belongs to." if above else ""


_LISTED = "listed because it stands out from groups of all sizes;"


def _rank(verdict: Verdict) -> str:
    size = verdict.calibration_size
    p, floor = verdict.p_value, verdict.p_floor
    things = "benign groups" if verdict.kind == "cluster" else "references"
    if p is None:
        return "has no p-value"
    if floor is not None and p <= floor * 1.000001:
        return f"scores above all {size:,} {things} (p = {p_words(p)}, the smallest this baseline can give)"
    return f"ranks at p = {p_words(p)} against {size:,} {things}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def expected_words(findings: Findings) -> str:
    """Compare the accounts sent to review or flagged with how many chance alone would send there.

    `summary["expected_innocent_reviews"]` is used where given, else alpha times the accounts that have a p.
    """
    alpha, innocent = findings.summary.get("alpha"), findings.summary.get("expected_innocent_reviews")
    ranked = seen = 0
    for verdict in findings.verdicts:
        if verdict.kind == "account":
            ranked += verdict.p_value is not None
            seen += verdict.decision in (Decision.FLAG, Decision.REVIEW)
    if innocent is None and alpha is None:
        return "The run did not record its alpha, so the number of innocent reviews cannot be stated."
    expected = innocent if innocent is not None else (alpha or 0.0) * ranked
    at = "" if alpha is None else f" at alpha = {alpha:g}"
    sent = f"{seen:,} {'was' if seen == 1 else 'were'} sent."
    if guarantee_state(findings) is not GuaranteeState.ACTIVE:
        return (
            f"Were the guarantee in force, chance alone would send about {expected:,.1f} of {ranked:,} "
            f"innocent accounts to review{at}; without it the number may be larger. {sent}"
        )
    noun = "account" if expected == 1 else "accounts"
    return (
        f"Expect about {expected:,.1f} innocent {noun} among the reviews{at}: that is what chance alone "
        f"sends there when all {ranked:,} ranked accounts are innocent. {sent}"
    )


def floor_words(summary: Mapping[str, Any]) -> str:
    """Say which flags the smallest possible p rules out; empty where it rules out none, or no flag is possible."""
    fewest, state = summary.get("smallest_group_bh_can_flag"), summary.get("guarantee_state")
    if not isinstance(fewest, int) or fewest < 2 or state not in (None, GuaranteeState.ACTIVE.value):
        return ""
    return (
        "With so many accounts this baseline cannot flag a single owner alone: its smallest p is not small enough, "
        f"and at least {fewest:,} owners must stand out together. A lone attacker stays a review."
    )


def headline(accounts: int, clusters: int, reviews: int) -> str:
    """Sum the run up in one sentence; `accounts` and `clusters` flagged, `reviews` anything under review."""
    if accounts or clusters:
        parts = [count(accounts, "account")] if accounts else []
        parts += [count(clusters, "group")] if clusters else []
        one = (accounts + clusters) == 1
        tail = f", and {reviews:,} more {'is' if reviews == 1 else 'are'} worth a look" if reviews else ""
        return f"{' and '.join(parts)} {'needs' if one else 'need'} a person\u2019s decision{tail}."
    if reviews:
        subjects = "subject is" if reviews == 1 else "subjects are"
        return f"Nothing was flagged; {reviews:,} {subjects} worth a look."
    return "Nothing stood out from the benign reference. That is an absence of evidence, not a proof."
