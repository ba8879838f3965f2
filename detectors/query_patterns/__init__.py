"""Detectors of extraction in query patterns: accounts here, groups of accounts in `coordination`."""
