"""Run the command as `python -m trunkproof.experiments.cli` where it is not installed."""

from __future__ import annotations

from trunkproof.experiments.cli.entry import main

if __name__ == "__main__":
    main()
