"""Black-box attacks end to end: which prompts, through which accounts, to which student.

Nothing is imported here, so that the parts without a model load neither torch nor transformers.
"""
