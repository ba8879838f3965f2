"""Which account's answers did a suspect learn from? Answers served against exchangeable ones that were not."""

from kdguard.detectors.fingerprint.served.accounts import AccountFound, Settings, rank_accounts
from kdguard.detectors.fingerprint.served.table import Served, read_served, served_of
from kdguard.detectors.fingerprint.served.wording import served_by_wording

__all__ = [
    "AccountFound",
    "Served",
    "Settings",
    "rank_accounts",
    "read_served",
    "served_by_wording",
    "served_of",
]
