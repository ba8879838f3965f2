"""Bundles: a verdict that a stranger can check, offline, by running the named test again; see README.md."""
