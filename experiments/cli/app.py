"""What commands share: options, the folder for results, and how a result is printed.

Results go to stdout, as text for people or with `--json` for programs. Progress and messages go to stderr.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer
from rich.console import Console
from typer.core import TyperGroup

from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.loadgen.verdict import Verdict
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.study import Stack, Study
from trunkproof.models.study_file import read_study
from trunkproof.simulator.run import Engine

err = Console(stderr=True, highlight=False, soft_wrap=True)
out = Console(highlight=False, soft_wrap=True)

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study: one YAML file.", show_default=False)]
StackName = Annotated[Stack | None, typer.Option("--stack", help="Stack that plays the trunk, instead of the study's.")]
EngineName = Annotated[
    Engine | None,
    typer.Option("--engine", help="Engine; the compiled kernel gives the same as SimPy, sooner."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Seed = Annotated[int | None, typer.Option(help="Use this seed instead of the study's.", min=0)]
OptionalOut = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder for the results.")]
KeyLog = Annotated[
    Path | None, typer.Option("--keylog", metavar="FILE", help="Append TLS secrets to this file, to decode a capture.")
]
Workers = Annotated[
    int,
    typer.Option("--workers", help="Processes that share the calls among them.", min=1, max=64),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the results.", show_default=False)]


class FileFirst(TyperGroup):
    """A group whose first word may be a file instead of a command: `review REQUEST`, `history TRUTH`."""

    meant: ClassVar[str]
    """The command that is meant where none is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Add the name of the meant command where the first word is a file."""
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = [self.meant, *args]
        return super().parse_args(ctx, args)


def read_as_asked(path: Path, seed: int | None = None, stack: Stack | None = None) -> Study:
    """Return the study of that file, with the seed and the stack of the options where they are given."""
    study = read_study(path)
    study = study if seed is None else study.model_copy(update={"seed": seed})
    return study if stack is None else study.on(stack)


def folder_at(path: Path) -> Path:
    """Return the folder for results; make it where it is missing."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("--out", [Problem(where=str(path), what=f"cannot be made ({error.strerror})")]) from error
    return path


@contextmanager
def stop_on_ctrl_c() -> Iterator[asyncio.Event]:
    """Yield an event that the first Ctrl-C (or SIGTERM) sets. A second Ctrl-C ends the process at once."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def interrupted() -> None:
        err.print("ending every call; press Ctrl-C again to leave at once")
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted)
    yield stop


def code_of_run(verdict: Verdict, interrupted: str | None) -> ExitCode:
    """How a run of real calls leaves, whatever it found."""
    if interrupted is not None and not interrupted.startswith("worker"):  # which is the generator's, and VOID
        return ExitCode.INTERRUPTED if interrupted.startswith("interrupted") else ExitCode.NO_TRUNK
    return ExitCode.VOID if verdict is Verdict.VOID else ExitCode.OK


def leave_with(code: ExitCode) -> None:
    """End the command with that code."""
    if code is not ExitCode.OK:
        raise typer.Exit(code)


def print_result(value: Mapping[str, Any], human: Callable[[], None], *, as_json: bool) -> None:
    """Print a result for people or for programs."""
    if as_json:
        typer.echo(json.dumps(value, indent=2, allow_nan=False))
    else:
        human()
