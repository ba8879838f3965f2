"""Ties between accounts, and what only a group can show (log-scoring reference, X1 to X5)."""
