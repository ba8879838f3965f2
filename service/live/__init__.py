"""Scoring kept up to date: the same folds as `kdguard score`, on top of what was folded before.

- `parts`: signals on disk, one file a journal segment; `encoding`: segment to part
- `standing`: a fold of accounts; `running`: such folds kept up as rows come; `identities`: which requests were taken in
- `tenant_state`: all of that for a tenant, with the rows that may still be overtaken; `kept`: it on disk
- `assessment`: from there to findings; `clusters`: names of clusters
- `scoring`: one tenant's work, step by step; `worker`: the loop that does it; `errands`: jobs beside it

Why it equals the batch. Exchanges that come later than the bound are left out (`kdguard.features.lateness`), so a row
further back than the bound behind its account's latest can never be overtaken: it is settled. The rows after it are
kept, and folded as they come; where one comes before another that is folded already, the account is folded again from
an earlier fold that ends before both. What is ranked is thus the fold of all rows in canonical order, which is what
`kdguard score --lateness 1` computes of the same log. Only what is settled is kept on disk, with the rows after it.
"""
