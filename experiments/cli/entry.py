"""The entry point of the `trunkproof` command. It imports the rest late, so that Ctrl-C is quiet from the start."""

from __future__ import annotations

import io
import sys

INTERRUPTED = 130
"""The same code as in `experiments.common.exit_codes`, which takes too long to import before the first Ctrl-C."""


def main() -> None:
    """Run the command and leave with its exit code."""
    try:
        for stream in (sys.stdout, sys.stderr):
            # A locale may not know every letter of a study's names. A word with a `?` in it is better than no word.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        from trunkproof.experiments.cli.root import run  # noqa: PLC0415  # Ctrl-C during this import is quiet too

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
