"""Scoring a log: baselines, ranking, verdicts.

- `facts`: what is known of accounts besides their requests
- `spill`: signals on disk, sorted outside memory
- `pipeline`: exchanges to signals to profiles, on any number of workers
- `standardise`: how rare a score is among honest accounts
- `ranking`: running suprema, volume bins, p-values
- `baseline`: learn what honest traffic looks like; `store` keeps it
- `score`: rank a log's accounts; `groups`: rank groups of accounts
- `findings`: verdicts in words; `plots`: the numbers behind a report
- `run`: all of it, from exchanges to findings
"""
