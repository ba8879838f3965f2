"""From exchanges to numbers: pure functions of one row, or of rows in order."""
