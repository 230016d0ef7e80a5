"""`validate --suite`: check its options, run the suite, and print the table of all profiles and stacks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trunkproof.experiments.cli import console as shown
from trunkproof.experiments.cli.app import ALL_STACKS, err, leave_with, out, print_result, stop_on_ctrl_c
from trunkproof.experiments.common.result_folder import PAGE as RUN_PAGE
from trunkproof.experiments.report.page import write_report
from trunkproof.experiments.report.suite_page import suite_lines, suite_markdown, write_suite_page
from trunkproof.experiments.validation.compare import Comparison
from trunkproof.experiments.validation.suite.cells import Suite, read_suite, write_suite
from trunkproof.experiments.validation.suite.run import Pages, run_suite, suite_exit_code
from trunkproof.loadgen.stacks.registry import STACKS
from trunkproof.loadgen.system.files import write_text
from trunkproof.loadgen.system.loop import run_loop
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.study import StackName

PAGE, MARKDOWN = "suite.html", "suite.md"


class SuitePages(Pages):
    """Writes the page of each run and, after every cell, the suite's own."""

    def of_run(self, comparison: Comparison, folder: Path) -> None:
        """Write the page of a run beside its evidence."""
        write_report(comparison, folder / RUN_PAGE)

    def of_suite(self, suite: Suite, folder: Path) -> None:
        """Write the suite's page and its table for a README."""
        write_suite_page(suite, folder / PAGE)
        write_text(folder / MARKDOWN, suite_markdown(suite))


def rewrite_suite(folder: Path) -> Suite:
    """Write the page of a suite again, from its suite.json and the newest notes.

    Raises:
        InputError: the folder holds no suite.
    """
    suite = read_suite(folder)
    write_suite(suite, folder)
    SuitePages().of_suite(suite, folder)
    return suite


def checked_stacks(
    named: Sequence[str], *, suite: bool, study: Path | None, profiles: Sequence[str], for_one: Sequence[str]
) -> list[StackName]:
    """Check that the options of `validate` fit each other, and return the stacks of these names.

    `for_one` has those of the given options that only a single study takes.

    Raises:
        InputError: some options do not fit; lists all of them.
    """
    checks = (
        (suite and study is not None, "STUDY", "leave it out with --suite; use --profile FILE for a study of your own"),
        (not suite and study is None, "STUDY", "is missing: give a study, or run the whole suite with --suite"),
        (not suite and len(named) > 1, "--stack", "only --suite takes several stacks"),
        (not suite and bool(profiles), "--profile", "only --suite takes profiles"),
        *((suite, option, "is for one study, not for the suite") for option in for_one),
        (not suite and ALL_STACKS in named, "--stack", f"only --suite takes {ALL_STACKS}"),
        *(
            (name not in (*STACKS, ALL_STACKS), "--stack", f"{name} is not a stack; choose one of {', '.join(STACKS)}")
            for name in named
        ),
    )
    problems = [Problem(where=where, what=what) for wrong, where, what in checks if wrong]
    if problems:
        raise InputError("validate", problems)
    return [stack for name in named for stack in (STACKS if name == ALL_STACKS else (name,))]


def run_and_show(
    stacks: Sequence[StackName], profiles: Sequence[str], folder: Path, command: str, *, as_json: bool
) -> None:
    """Run the suite, print its table, and leave with its exit code."""

    async def run() -> tuple[Suite, bool]:
        with stop_on_ctrl_c() as stop, shown.progress(err) as advance:
            table = await run_suite(
                stacks,
                folder,
                profiles=profiles or None,
                advance=advance,
                stop=stop,
                pages=SuitePages(),
                command=command,
            )
            return table, stop.is_set()

    table, stopped = run_loop(run())
    show_suite(table, folder, as_json=as_json)
    leave_with(suite_exit_code(table, stacks, stopped=stopped))


def show_suite(table: Suite, folder: Path, *, as_json: bool) -> None:
    """Print the table, and where its page is."""

    def human() -> None:
        out.print(suite_lines(table), markup=False)
        out.print(f"Page: {folder / PAGE}")

    print_result(table.to_json(), human, as_json=as_json)
