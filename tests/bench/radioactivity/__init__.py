"""Radioactivity of real students: a teacher marks its text, transformers learn from mixtures, tests look for the mark.

`python -m tests.bench.radioactivity [SCALE [usual|strong|small|small_strong]]` trains a teacher and some fifteen
students of 30,000 parameters on a corpus made here, and prints one JSON object a row: by dose and key, p of the plain
test and of the contrasts, held-out loss beside a clean twin's, what removal costs. About ten minutes of one core at
scale 1.
"""
