"""`python -m trunkproof.experiments.verification.identify [--part known|generous|difficult|real]`: print the table.

The exit code is 3 if identify was ever sure and wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated

import typer

from trunkproof.experiments.cli.app import leave_with, out
from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.verification.identify.grid import (
    Outcome,
    Trial,
    difficult_trials,
    generous_trials,
    known_trials,
)
from trunkproof.experiments.verification.identify.real import real_trials

PARTS: dict[str, Callable[[], Iterator[Trial]]] = {
    "known": known_trials,
    "generous": generous_trials,
    "difficult": difficult_trials,
    "real": real_trials,
}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def verification(
    *,
    part: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join(PARTS)}; by default all but real, which takes long.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 1,
) -> None:
    """Try identify on trunks of known throttle: simulated ones, and with `--part real` hand-written ones."""
    wrong = 0
    out.print("| trunk | phase | left | sure | description | values right | calls | seconds |")
    out.print("|---|---|---|---|---|---|---|---|")
    for name in part or [name for name in PARTS if name != "real"]:
        outcomes = []
        for trial in PARTS[name]():
            outcomes.append(trial.run(seed))
            out.print(_line(outcomes[-1]), markup=False)
        wrong += sum(outcome.is_sure_and_wrong for outcome in outcomes)
        out.print(_sum(name, outcomes), markup=False)
    leave_with(ExitCode.DISAGREE if wrong else ExitCode.OK)


def _line(outcome: Outcome) -> str:
    found, trial = outcome.found, outcome.trial
    told = found.settings.describe() if found.settings is not None else ""
    sure = "WRONG" if outcome.is_sure_and_wrong else "yes" if found.is_sure else "no"
    right = "yes" if outcome.values_are_right else "no"
    left = ", ".join(outcome.left) or f"none; best explains {found.explained:.0%}"
    calls = len(found.attempts)
    return f"| {trial.name} | {trial.phase} | {left} | {sure} | {told} | {right} | {calls} | {outcome.seconds:.0f} |"


def _sum(name: str, outcomes: list[Outcome]) -> str:
    right = sum(outcome.family_is_right for outcome in outcomes if outcome.trial.is_known)
    known = sum(outcome.trial.is_known for outcome in outcomes)
    exact = sum(outcome.values_are_right for outcome in outcomes if outcome.trial.is_known)
    sure = sum(outcome.found.is_sure for outcome in outcomes)
    wrong = sum(outcome.is_sure_and_wrong for outcome in outcomes)
    return f"{name}: family right {right}/{known}, values right {exact}/{known}, sure {sure}, sure and wrong {wrong}"


def main() -> None:
    """Run the command."""
    app()


if __name__ == "__main__":
    main()
