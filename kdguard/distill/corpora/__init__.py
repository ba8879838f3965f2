"""Programmatic corpora with exact ground truth: unlimited, repeatable by seed, different for every teacher world.

`corpus.examples` makes them, `example.verify` judges an answer, `worlds.WORLDS` are the teachers one can be.
"""
