"""Students: shapes, tokenizers, packed data, and the engine that trains one or many of a shape at once.

`fleet.train_fleet` trains, `plan` says what it is told, `packing.pack` and `documents` make its data. Importing this
package loads nothing.
"""
