"""Keyed pseudo-random functions of (window, token), each as the software that writes the mark computes it."""
