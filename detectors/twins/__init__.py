"""Twins: two honest answers to one request, a committed coin that releases one, a suspect that prefers it."""
