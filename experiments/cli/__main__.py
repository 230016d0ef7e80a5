"""`python -m experiments.cli`: the command, where it is not installed."""

from __future__ import annotations

from experiments.cli import main

if __name__ == "__main__":
    main()
