"""The `trunkproof` command: reads the words, calls the code, prints the result, chooses the exit code.

Nothing is computed here. Exit codes: `experiments/common/exit_codes.py`.
"""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version

from trunkproof.experiments.cli import calling, finding, histories, predicting, proving, reviewing
from trunkproof.experiments.cli.app import Json, app, err, out, print_result, show_warnings
from trunkproof.experiments.common.exit_codes import ExitCode, exit_code_of
from trunkproof.loadgen.media.pump import asked_for
from trunkproof.models.errors import TrunkproofError

__all__ = ["app", "calling", "finding", "histories", "main", "predicting", "proving", "reviewing"]


@app.command()
def version(*, as_json: Json = False) -> None:
    """Say which version this is."""
    number = installed_version("trunkproof")
    print_result({"trunkproof": number}, lambda: out.print(f"trunkproof {number}"), as_json=as_json)


def main() -> None:
    """Run the command; errors of the user's or the peer's end in a message, not in a traceback."""
    show_warnings()
    try:
        asked_for()  # What the environment says wrong is told before anything is started.
        app()
    except TrunkproofError as error:
        err.print(str(error), markup=False)
        sys.exit(exit_code_of(error))
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(ExitCode.OK)
