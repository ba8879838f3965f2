"""Servers of kdguard: the OpenAI-compatible teacher used in simulated attacks."""
