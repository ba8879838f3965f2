"""The reference distillation engine: teachers, transcripts, objectives and students.

It plays the attacker, so that every detector can be judged on models whose parentage is known. Needs the `distill`
extra; importing this package loads nothing heavy.
"""
