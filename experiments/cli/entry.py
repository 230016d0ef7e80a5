"""Where the `trunkproof` command begins: it imports the rest so that Ctrl-C is quiet from the first moment."""

from __future__ import annotations

import sys

INTERRUPTED = 130
"""As `experiments.common.exit_codes`, which takes longer to import than a hand to press Ctrl-C."""


def main() -> None:
    """Run the command and leave with its exit code."""
    try:
        from trunkproof.experiments.cli.root import run  # noqa: PLC0415  # Ctrl-C while it is imported is quiet, too

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
