"""Families of labelled models: one recipe names teachers, students, descendants and controls, and makes them all.

`recipe` says what is wanted, `roster` who that makes, `build` makes it, `ship` writes what tests of lineage read.
Importing this package loads nothing.
"""
