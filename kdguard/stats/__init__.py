"""Statistics of evidence. Knows nothing of logs or models.

Letters used throughout: n records, m subjects, r references, d dimensions, k outputs.
"""
