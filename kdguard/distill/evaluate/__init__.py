"""How good a student is, and how like its teacher: plain numbers with intervals, on prompts with exact ground truth.

`evaluate.evaluate` measures everything; pages are drawn elsewhere. Importing this package loads nothing.
"""
