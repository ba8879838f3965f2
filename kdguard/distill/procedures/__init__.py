"""Training beside a teacher, by generation or among peers: what recorded answers alone cannot serve.

One plain loop (`loop.run_loop`) and one file a family. Importing this package loads nothing.
"""
