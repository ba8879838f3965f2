"""Recipes: TOML files that say what a student learns, from whom, and how; and the run that makes it so.

`recipe.load_recipe` reads one, `run.train_recipe` follows it. Importing this package loads nothing.
"""
