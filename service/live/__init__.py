"""Scoring kept up to date: the same folds as `kdguard score`, on top of what was folded before.

- `parts`: signals on disk, one file a journal segment; `encoding`: segment to part
- `standing`: what is folded for good; `partition`: that, and what may still be overtaken, for a share of the accounts
- `assessment`: all of a tenant's partitions to findings; `kept`: partitions on disk; `clusters`: names of clusters
- `scoring`: one tenant's work, step by step; `worker`: the loop that does it; `errands`: jobs beside it

Why it equals the batch. Exchanges that come later than the bound are left out (`kdguard.features.lateness`), so a row
further back than the bound behind its account's latest can never be overtaken: it is folded into the standing state,
once. The rows after it are kept as they are and folded on top of that state anew at each look. What is ranked is thus
the fold of all rows in canonical order, which is what `kdguard score --lateness 1` computes of the same log.
"""
