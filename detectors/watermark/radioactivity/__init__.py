"""Has a model learnt from marked text? Tests on what it writes, and on what it would write."""
