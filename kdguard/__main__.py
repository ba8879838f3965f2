"""Run with `python -m kdguard`."""

from kdguard.cli import main

main()
