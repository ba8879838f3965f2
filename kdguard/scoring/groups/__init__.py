"""Groups of accounts acting as one: formed on one half of each account's sessions, tested on the other."""
