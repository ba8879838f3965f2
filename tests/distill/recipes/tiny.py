"""Recipes of seconds: one teacher made by the house, and a line or two for every objective."""

from __future__ import annotations

from pathlib import Path

from kdguard.distill.recipes.recipe import Recipe, recipe_from

TEACHER = """
name = "tiny-teacher"
[[data]]
kind = "corpus"
examples = 120
tasks = ["intents", "refusals"]
route = "reasoning"
[tokenizer]
vocabulary = 400
[student]
shape = "micro"
length = 96
[plan]
steps = 30
rows = 8
learning_rate = 1e-2
"""

CORPUS = """
[[data]]
kind = "corpus"
examples = 24
tasks = ["intents", "refusals"]
"""

ASKED = """
[[data]]
kind = "asked"
examples = 16
tasks = ["intents", "refusals"]
max_tokens = 16
top_logprobs = 8
"""

STUDENT = """
[tokenizer]
kind = "teacher"
[student]
shape = "micro"
length = 96
[plan]
steps = 4
rows = 4
learning_rate = 5e-3
report_every = 2
checkpoint_every = 2
[[teachers]]
path = "teacher/student"
name = "teacher"
"""

OWNED = """
[ownership]
teacher = "teacher"
owner = "the test"
owned = true
"""


def objective(name: str, more: str = "") -> str:
    """The table of an objective."""
    return f'[objective]\nname = "{name}"\n{more}\n'


def tiny(name: str, more: str = "", *, data: str = CORPUS, rest: str = STUDENT) -> str:
    """A whole recipe for an objective."""
    return f'name = "{name}"\n{data}{rest}{objective(name, more)}'


def read(text: str, base: Path) -> Recipe:
    """A recipe whose paths begin at `base`."""
    return recipe_from(text, base=base)
