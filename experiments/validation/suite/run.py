"""Run the suite: validate every profile of `studies/suite` on the given stacks, and keep the results in one table.

The first run of a cell that is not VOID counts. A VOID run is repeated once.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.common.progress import Progress, part_of, silent
from trunkproof.experiments.common.provenance import Provenance
from trunkproof.experiments.validation.compare import Comparison
from trunkproof.experiments.validation.suite.cells import (
    SUITE,
    Cell,
    State,
    Suite,
    played_cell,
    read_suite,
    write_suite,
)
from trunkproof.experiments.validation.validate import validate_async
from trunkproof.loadgen.stacks.registry import check_playable
from trunkproof.models.errors import InputError, Problem, StackError
from trunkproof.models.study import StackName, Study
from trunkproof.models.study_file import read_study

PROFILES = Path(__file__).parents[2] / "studies" / "suite"
PAUSE_S = 20.0
"""The pause before a VOID run is repeated. Other users of this machine may be done by then."""


class Pages:
    """Shows the results of a suite while it runs. This base class shows nothing."""

    def of_run(self, comparison: Comparison, folder: Path) -> None:
        """Show a run that is over. Its evidence is in `folder`. It may be a VOID run, which will be repeated."""

    def of_suite(self, suite: Suite, folder: Path) -> None:
        """Show the table after a new cell. Its `suite.json` is in `folder`."""


@dataclass(frozen=True)
class _Task:
    """One cell to run."""

    profile: str
    study: Study
    """The study on the cell's stack."""
    folder: Path
    command: str
    advance: Progress
    stop: asyncio.Event
    pages: Pages


async def run_suite(
    stacks: Sequence[StackName],
    out: Path,
    *,
    profiles: Sequence[str | Path] | None = None,
    advance: Progress = silent,
    stop: asyncio.Event | None = None,
    pages: Pages | None = None,
    command: str = "",
) -> Suite:
    """Run profiles on stacks, one after the other. Write `suite.json` and each run's evidence into `out`.

    Args:
        stacks: the stacks, in this order. Cells of other stacks in `out` are kept.
        out: the folder. A run's evidence goes into `out/STACK/PROFILE`.
        profiles: names of profiles of the suite or paths of studies; `None` is the whole suite.
        advance: is called with the share done and a few words.
        stop: once set, the run under way ends its calls, and no other is begun.
        pages: shows every run and every cell.
        command: what makes this table again.

    Raises:
        InputError: a profile is unknown or no study; before anything is run.
    """
    studies = _read_profiles(profiles)
    stop, pages = stop or asyncio.Event(), pages or Pages()
    out.mkdir(parents=True, exist_ok=True)
    # Any study will do: only date, machine and versions are taken from it here.
    suite = _begun(out, next(iter(studies.values())), command)
    asked = [(stack, profile) for stack in stacks for profile in studies]
    for done, (stack, profile) in enumerate(asked):
        if stop.is_set():
            break
        task = _Task(
            profile=profile,
            study=studies[profile].on(stack),
            folder=out / stack / profile,
            command=command,
            advance=part_of(advance, done / len(asked), (done + 1) / len(asked), f"{stack}, {profile}"),
            stop=stop,
            pages=pages,
        )
        suite = await _with_run(suite, task)
        # After every cell: what was run is kept, whatever happens next.
        write_suite(suite, out)
        pages.of_suite(suite, out)
    return suite


def suite_exit_code(suite: Suite, stacks: Sequence[StackName], *, stopped: bool = False) -> ExitCode:
    """Return the exit code of `validate --suite`, by the cells of the given stacks."""
    states = {cell.state for stack in stacks for cell in suite.of(stack)}
    if stopped:
        return ExitCode.INTERRUPTED
    # No cell could be played, so the suite says nothing about any prediction.
    if not states - {State.NOT_PLAYED}:
        return ExitCode.NO_TRUNK
    # What was proven wrong outweighs what could not be judged.
    if states & {State.MISSES, State.CUT_SHORT}:
        return ExitCode.DISAGREE
    return ExitCode.VOID if State.VOID in states else ExitCode.OK


def _read_profiles(wanted: Sequence[str | Path] | None) -> dict[str, Study]:
    """Return profile -> study, in the given order."""
    known = {path.stem: path for path in sorted(PROFILES.glob("*.yaml"))}
    paths = list(known.values()) if wanted is None else [known.get(str(name), Path(name)) for name in wanted]
    unknown = [path for path in paths if not path.exists()]
    if unknown or not paths:
        what = f"is no profile of the suite and no file; known are {', '.join(known)}"
        raise InputError("--profile", [Problem(where=str(path), what=what) for path in unknown or [Path("none")]])
    return {path.stem: read_study(path) for path in paths}


def _begun(out: Path, study: Study, command: str) -> Suite:
    """Return the suite that the folder already has, with the origin of this run."""
    here = Provenance.collect(study, command)
    origin = {"date": here.started, "command": command, "machine": here.machine, "versions": here.versions}
    return Suite(origin, read_suite(out).cells if (out / SUITE).exists() else ())


async def _with_run(suite: Suite, task: _Task) -> Suite:
    """Run a cell, and return the table with it. Its evidence is in its folder.

    A run that the user cut short does not replace a completed one.
    """
    # Kept until the new run is over: the user may stop it, and then the old one still counts.
    before = _set_aside(task.folder)
    cell = await _run_cell(task)
    cut_by_user = task.stop.is_set() and cell.state is State.CUT_SHORT
    if cut_by_user and suite.cell(cell.stack, cell.profile) is not None:
        shutil.rmtree(task.folder)
        before.rename(task.folder)
        return suite
    shutil.rmtree(before, ignore_errors=True)
    return suite.with_cell(cell)


def _set_aside(folder: Path) -> Path:
    """Move a folder's old content aside, and return where it is now."""
    shutil.rmtree(_void(folder), ignore_errors=True)
    # Beside it and not in /tmp: a rename works only within one file system.
    aside = folder.with_name(f"{folder.name}-before")
    shutil.rmtree(aside, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    folder.rename(aside)
    return aside


async def _run_cell(task: _Task) -> Cell:
    """Run one cell. Errors of the stack are a result of the cell."""
    try:
        # Before the trunk is started, so that a profile that cannot be played costs no time.
        check_playable(task.study)
        cell = await _run(task)
        return await _run_again(task, cell) if cell.state is State.VOID and not task.stop.is_set() else cell
    except InputError as error:
        return _not_played(task, [str(problem) for problem in error.problems])
    except StackError as error:
        return _not_played(task, [str(error)])


async def _run(task: _Task) -> Cell:
    comparison = await validate_async(
        task.study, task.folder, advance=task.advance, stop=task.stop, command=task.command
    )
    task.pages.of_run(comparison, task.folder)
    return played_cell(task.profile, comparison.to_json())


async def _run_again(task: _Task, void: Cell) -> Cell:
    """Repeat a VOID run once. The evidence of the VOID run is kept too."""
    reasons = "; ".join(void.comparison["generator"]["reasons"])
    task.advance(0.0, f"VOID ({reasons}); once more after {PAUSE_S:.0f} s")
    if await _stopped_within(task.stop, PAUSE_S):
        return void
    # The same folder is used again, and the evidence of the first run must not mix with that of the second.
    task.folder.rename(_void(task.folder))
    cell = await _run(task)
    said = f"the first run was VOID ({reasons}); this is the second, {PAUSE_S:.0f} s later"
    # A reader must see that a first run was thrown away.
    return replace(cell, why=(said, *cell.why))


def _void(folder: Path) -> Path:
    """Return the folder for the evidence of a VOID run."""
    return folder.with_name(f"{folder.name}-void")


async def _stopped_within(stop: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await stop.wait()
    except TimeoutError:
        return False


def _not_played(task: _Task, why: Sequence[str]) -> Cell:
    return Cell(task.study.pop.stack, task.profile, task.study.name, State.NOT_PLAYED, why=tuple(why))
