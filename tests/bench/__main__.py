"""`python -m tests.bench`."""

from tests.bench.scoring import main

if __name__ == "__main__":
    main()
