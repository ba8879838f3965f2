"""Findings made readable: an HTML page, a terminal table, OCSF events, and JSON that opens again later.

Who may import it: the command line and the service. It reads `kdguard.verdict.Findings` and nothing else,
has no clock, no network and no files of its own; `plots` says what the figures need.

    html       render(findings) -> one self-contained page
    terminal   render_table(findings, console)
    ocsf       findings_to_ocsf(findings, time_ms=...) -> Detection Findings, class 2004
    saved      dump(findings) and load(bytes), versioned
    plots      the contents of `Findings.plots`
    techniques MITRE ATLAS and OWASP ids with their names
"""
