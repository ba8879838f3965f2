"""Decisions at the gateway: a policy file over verdicts and request techniques, explained and recorded."""
