"""`python -m trunkproof.experiments.verification --out DIR [--quick]`: run the statistical suite.

The exit code is 3 if any check is incorrect.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from trunkproof.experiments.cli.app import Out, err, folder_at, leave_with, out
from trunkproof.experiments.common.exit_codes import ExitCode, exit_code_of
from trunkproof.experiments.verification.check import Check
from trunkproof.experiments.verification.run import PAGE, verify, write_verification
from trunkproof.experiments.verification.size import FULL, QUICK
from trunkproof.models.errors import TrunkproofError
from trunkproof.simulator.replicate import processes

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def verification(
    *,
    out_dir: Out,
    quick: Annotated[bool, typer.Option("--quick", help="Use few calls: shows only that the suite works.")] = False,
    workers: Annotated[int | None, typer.Option(help="Processes; by default one per core.", min=1)] = None,
) -> None:
    """Check the simulator against exact theory, in long runs."""
    folder = folder_at(out_dir).path
    command = f"python -m trunkproof.experiments.verification --out {out_dir}" + (" --quick" if quick else "")
    with processes(workers or os.cpu_count()) as executor:
        found = verify(QUICK if quick else FULL, executor=executor, said=_say, command=command)
    write_verification(found, folder)
    out.print(found.sentence)
    out.print(f"Page: {folder / PAGE}")
    leave_with(ExitCode.OK if found.is_correct else ExitCode.DISAGREE)


def _say(check: Check) -> None:
    err.print(f"{check.verdict.upper()}  {check.panel.title}: {check.line}", markup=False)


def main() -> None:
    """Run the command. A user's mistake ends in a message, not in a traceback."""
    try:
        app()
    except TrunkproofError as error:
        err.print(str(error), markup=False)
        sys.exit(exit_code_of(error))


if __name__ == "__main__":
    main()
