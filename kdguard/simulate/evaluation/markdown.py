"""A report as Markdown tables: short enough to read, with the interval beside every rate that matters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from kdguard.simulate.evaluation.comparison import OURS
from kdguard.simulate.evaluation.contamination import told
from kdguard.simulate.evaluation.power import ALL
from kdguard.simulate.evaluation.rates import Cell, Rate
from kdguard.simulate.evaluation.report import Report

Naming = Callable[[Cell], str]


def to_markdown(report: Report) -> str:
    """Write every section that has results."""
    sections = (
        _head,
        _honest,
        _corners,
        _conditions,
        _flags,
        _power,
        _first,
        _held_out,
        _contaminated,
        _adaptive,
    )
    return "\n".join(text for section in (*sections, _rivals, _groups) if (text := section(report)))


def percent(rate: Rate) -> str:
    """`1.0 % (0.6-1.5)`."""
    return _interval(rate.rate, rate.low, rate.high) if rate.trials else "-"


def _interval(value: float, low: float, high: float) -> str:
    return f"{100 * value:.1f} % ({100 * low:.1f}-{100 * high:.1f})"


def _upper(rate: Rate) -> str:
    return f"{100 * rate.upper:.2f} %"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows), ""])


def _head(report: Report) -> str:
    plan = report.plan
    accounts = sum(cell.rate.trials + cell.rate.abstained for cell in report.honest[:1])
    texts = "real prompts" if plan.data is not None else "generated prompts"
    sizes = (
        f"{plan.teaching_owners:,} teaching and {plan.calibration_owners:,} calibration owners each, {texts}"
    )
    if report.traffic != "simulated worlds":
        sizes = f"repeated splits of {report.traffic}, not independent of each other"
    return (
        f"# Evaluation\n\n{plan.worlds} worlds with baselines of their own ({sizes}), {accounts:,} honest "
        f"test accounts, seed {plan.seed}, alarm at p <= {plan.alpha:g}. Intervals are 95 %, resampling owners "
        "or campaigns, and whole worlds where there are eight or more. Simulated attacks show mechanisms, not "
        "field rates.\n"
    )


def _honest(report: Report) -> str:
    rows = [
        (cell.key["group"], cell.key["name"], cell.key["statistic"], percent(cell.rate),
         _upper(cell.rate), cell.rate.trials, cell.rate.abstained)
        for cell in report.honest
        if cell.key["group"] not in ("stratum and volume", "world")
    ]  # fmt: skip
    columns = ("by", "", "statistic", "false alarms", "upper 95 %", "accounts", "abstained")
    return "## False alarms of honest accounts\n\n" + table(columns, rows)


def _corners(report: Report) -> str:
    cells = [cell for cell in report.honest if cell.exact_p is not None]
    refuted = sum((cell.exact_p or 0) < 0.05 for cell in cells)
    strict = sum((cell.exact_p or 0) < 0.05 / max(len(cells), 1) for cell in cells)
    rows = [(cell.key["name"], percent(cell.rate), cell.rate.trials, f"{cell.exact_p:.3f}") for cell in cells]
    return (
        f"Exact test of at most 2 %, one account an owner: {refuted} of {len(cells)} cells below .05, "
        f"{strict} after correction for {len(cells)} tests.\n\n"
    ) + table(("stratum, requests", "false alarms", "accounts", "exact p"), rows)


def _conditions(report: Report) -> str:
    rows = [(c.key["name"], percent(c.rate), _upper(c.rate), c.rate.trials) for c in report.conditions]
    suspended = sum(bool(world.get("suspended")) for world in report.worlds)
    moved = [bool(world["shifted_suspended"]) for world in report.worlds if "shifted_suspended" in world]
    return (
        f"## Shift, suspension, contamination\n\nGuarantee suspended in {suspended} of {len(report.worlds)} "
        f"unshifted worlds and {sum(moved)} of {len(moved)} shifted ones.\n\n"
    ) + table(("condition", "false alarms", "upper 95 %", "accounts"), rows)


def _flags(report: Report) -> str:
    rows = [
        (f"{one['attacker_share']:.0%}", one["attackers"], one["flagged_attackers"], one["flagged_honest"],
         _interval(one["fdr"], one["fdr_low"], one["fdr_high"]))
        for one in report.discoveries
    ]  # fmt: skip
    columns = (
        "attackers among accounts",
        "attackers",
        "flagged",
        "honest accounts flagged",
        "mean FDP over worlds",
    )
    return f"## Flags (false discovery rate aimed at: {report.plan.fdr:.0%})\n\n" + table(columns, rows)


def _power(report: Report) -> str:
    floors = {str(cell.key["accounts"]): percent(cell.rate) for cell in report.floors}
    parts = [
        "## Power (abstentions are misses)\n",
        f"Accounts that could not alarm, whatever they did, because their references are too few for p <= "
        f"{report.plan.alpha:g}: honest {floors['honest']}, attack {floors['attack']}.\n",
    ]
    every = [cell for cell in report.power if cell.key["technique"] == ALL]
    parts.append(pivot(every, "mix", _key("mix"), _key("requests")))
    for look in (50, 100, 500):
        parts.append(f"After {look} requests, by technique and mix:\n")
        some = [cell for cell in report.power if cell.key["requests"] == look]
        parts.append(pivot(some, "technique", _key("technique"), _key("mix")))
    return "\n".join(parts)


def _first(report: Report) -> str:
    rows = [
        (
            one.technique,
            one.accounts,
            _count(one.median),
            _count(one.median_high),
            _count(one.p90),
            f"{one.never:.1%}",
        )
        for one in report.first_alarms
    ]
    columns = ("technique", "accounts", "median", "median, upper 97.5 %", "90th percentile", "never")
    return "## Requests to the first alarm, pure campaigns\n\n" + table(columns, rows)


def _held_out(report: Report) -> str:
    cells = [cell for cell in report.held_out if cell.key["requests"] == 100]
    return _section("Power at 100 requests on what learning never saw", cells, "case", _case, _key("learnt"))


def _contaminated(report: Report) -> str:
    def share(cell: Cell) -> str:
        return told(str(cell.key["setting"]))

    title = "Power with attackers in the baseline"
    return _section(title, report.contaminated, "case", _mix_and_requests, share)


def _adaptive(report: Report) -> str:
    title = "Power under evasive tactics"
    return _section(title, report.adaptive, "tactics", _key("tactics"), _mix_and_requests)


def _rivals(report: Report) -> str:
    if not report.comparison:
        return ""
    parts = ["## Beside published methods, on the same accounts\n"]
    for look in sorted({int(cell.key["requests"]) for cell in report.comparison}):
        some = [c for c in report.comparison if c.key["requests"] == look and c.key["technique"] in ("", ALL)]
        some.sort(key=lambda cell: cell.key["rival"] != OURS)
        parts += [f"First {look} requests:\n", pivot(some, "method", _method, _on)]
    parts += [f"- {name}: {source}" for name, source in report.sources.items()]
    return "\n".join([*parts, ""])


def _groups(report: Report) -> str:
    if not report.groups:
        return ""
    columns = tuple(dict.fromkeys(name for row in report.groups for name in row))
    return "## Groups\n\n" + table(
        columns, [[row.get(name, "") for name in columns] for row in report.groups]
    )


def pivot(cells: Sequence[Cell], corner: str, down: Naming, across: Naming) -> str:
    """A table of rates, rows and columns named by functions of a cell; an empty place is a dash."""
    known = {(down(cell), across(cell)): percent(cell.rate) for cell in cells}
    rows = dict.fromkeys(row for row, _ in known)
    columns = dict.fromkeys(column for _, column in known)
    return table(
        (corner, *columns), [(row, *(known.get((row, name), "-") for name in columns)) for row in rows]
    )


def _section(title: str, cells: Sequence[Cell], corner: str, down: Naming, across: Naming) -> str:
    return f"## {title}\n\n" + pivot(cells, corner, down, across) if cells else ""


def _key(name: str) -> Naming:
    return lambda cell: f"{cell.key[name]:g}" if isinstance(cell.key[name], float) else str(cell.key[name])


def _mix_and_requests(cell: Cell) -> str:
    return f"mix {cell.key['mix']:g}, {cell.key['requests']} requests"


def _case(cell: Cell) -> str:
    return f"{cell.key['held_out']} {cell.key['setting']}, mix {float(cell.key['mix']):g}"


def _method(cell: Cell) -> str:
    return f"{cell.key['rival']}, {cell.key['rule']}"


def _on(cell: Cell) -> str:
    on = cell.key["on"]
    return "false alarms" if on == "honest" else f"power, mix {float(on):g}"


def _count(value: float) -> str:
    return "never" if np.isinf(value) else f"{value:g}"
