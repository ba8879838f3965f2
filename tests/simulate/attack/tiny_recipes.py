"""Recipes small enough for a test, and what is needed to run them."""

from __future__ import annotations

TEXT = """
name = "tiny"
seed = 3
[teacher]
kind = "toy"
examples = 40
steps = 12
vocabulary = 384
tasks = ["intents"]
[budget]
requests = 40
[ask]
max_tokens = 12
top_logprobs = 5
[campaign]
days = 1.0
turns = 2.0
[[tactics]]
tactic = "T1"
strength = 1.0
accounts = 4
[[tactics]]
tactic = "T3"
strength = 0.25
[[tactics]]
tactic = "T12"
strength = 0.5
[student]
steps = 6
rows = 4
tokenizer = "teacher"
objective = "topk_tail_kl"
own_examples = 6
"""

CLASSIFIER = """
name = "tiny-classifier"
[teacher]
kind = "classifier"
victim = "linear"
tell = "top"
[budget]
requests = 60
[[tactics]]
tactic = "T1"
strength = 1.0
accounts = 3
[classifier]
attack = "jacobian"
epochs = 30
"""


def changed(text: str, **lines: str) -> str:
    """A recipe with other lines: key = what stands before, value = what stands instead."""
    for old, new in lines.items():
        key = f"{old} ="
        kept = [line for line in text.splitlines() if not line.startswith(key)]
        if len(kept) == len(text.splitlines()):
            raise KeyError(old)
        text = "\n".join(new if line.startswith(key) else line for line in text.splitlines())
    return text
