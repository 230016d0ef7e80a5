"""What commands share: options, the folder for results, and how a result is printed.

Results go to stdout, as text for people or with `--json` for programs. Progress and messages go to stderr.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Annotated, Any, ClassVar

import typer
from rich.console import Console
from typer.core import TyperGroup

from trunkproof.experiments.cli.invocation import current_invocation
from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.common.result_folder import ResultFolder, open_results
from trunkproof.loadgen.guard import Guard, Resolve, resolve
from trunkproof.loadgen.journal.writer import flush_all
from trunkproof.loadgen.stacks.registry import STACKS, definition_of
from trunkproof.models.errors import InputError, Problem, nearest
from trunkproof.models.hosts import is_host
from trunkproof.models.study import STUDY, StackName, Study
from trunkproof.simulator.run import Engine


class _Terminal(Console):
    """A console whose reader may leave, as `head` does. The command goes on, and keeps its exit code."""

    def on_broken_pipe(self) -> None:
        """Print no more."""
        nobody_reads(self.file)


def nobody_reads(stream: IO[str]) -> None:
    """Send what is still written to a stream nowhere. Otherwise Python complains again at the end of the process."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError, ValueError):
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


err = _Terminal(stderr=True, highlight=False, soft_wrap=True)
out = _Terminal(highlight=False, soft_wrap=True)

held = ExitStack()
"""What the command holds until its end: the locks of its folders."""
ALL_STACKS = "all"
STACK_METAVAR = f"[{'|'.join(STACKS)}]"


def stack_named(word: str) -> StackName:
    """Return the stack that an option names.

    Raises:
        BadParameter: there is none of that name.
    """
    if word not in STACKS:
        raise typer.BadParameter(f"there is no stack `{word}`; {nearest(word, STACKS)}")
    return word


StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study: one YAML file.", show_default=False)]
StackOption = Annotated[
    StackName | None,
    typer.Option(
        "--stack",
        metavar=STACK_METAVAR,
        parser=stack_named,
        help="Stack that plays the trunk, instead of the study's.",
    ),
]
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
Capture = Annotated[
    bool,
    typer.Option("--capture", help="Keep the packets of failed and of the slowest calls, with keys, for `bundle`."),
]
TraceFile = Annotated[Path | None, typer.Option("--trace", metavar="FILE", help="SIP trace with masked numbers.")]
CardFile = Annotated[
    Path | None, typer.Option("--trunk", metavar="FILE", help="The trunk's card, as written by `serve`.")
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="HOST:PORT",
        help="Address of a trunk, instead of a card; or `study`: the edges of pop.edges or pop.dns.srv.",
    ),
]
CaFile = Annotated[Path | None, typer.Option("--ca", help="Certificate authority of the target.")]
ServerName = Annotated[
    str | None, typer.Option("--server-name", help="Host name in the target's certificate, if not the study's.")
]
Allow = Annotated[
    list[str] | None, typer.Option("--allow", help="Host outside loopback that may be called, or sent audio to.")
]
Ceiling = Annotated[float | None, typer.Option("--ceiling", help="Calls per minute confirmed for that host.", min=0)]
Production = Annotated[bool, typer.Option("--production", help="Allow calls to the operator's production.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the results.", show_default=False)]


def guard_of(
    allow: Sequence[str] | None,
    ceiling: float | None = None,
    production: bool = False,
    resolve: Resolve = resolve,
) -> Guard:
    """Return what the options allow.

    Raises:
        InputError: a host is no name and no address, or the ceiling is no number of calls.
    """
    what = "is no host name and no IP address: name each host by itself, without a port or a network"
    problems = [Problem(where=f"--allow {host}", what=what) for host in allow or () if not is_host(host.strip("[]"))]
    if ceiling is not None and not math.isfinite(ceiling):
        problems.append(Problem(where="--ceiling", what=f"must be a number of calls per minute, not `{ceiling}`"))
    if problems:
        raise InputError("the hosts that may be called", problems)
    return Guard(frozenset(allow or ()), ceiling, production, resolve=resolve)


class _Log(logging.Handler):
    """Shows what the libraries log. A warning is shown once: several customers may find the same."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Show one message; the traceback, too, of what is a bug of ours."""
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        if record.levelno < logging.WARNING:
            text = f"{record.created:.3f} {record.levelname.lower()} {record.name.removeprefix('trunkproof.')}: {text}"
        elif text in self._shown:
            return
        self._shown.add(text)
        typer.echo(text, err=True)


def show_log(level: int = logging.WARNING) -> None:
    """Show what our libraries log on stderr, for as long as this process lives. `level` is as in `logging`."""
    logger = logging.getLogger("trunkproof")
    if not any(isinstance(handler, _Log) for handler in logger.handlers):
        logger.addHandler(_Log())
    logger.setLevel(level)
    # Progress and notes are less than a warning.
    err.quiet = level > logging.WARNING


class FileFirst(TyperGroup):
    """A group whose first word may be a file instead of a command: `review REQUEST`, `history TRUTH`."""

    meant: ClassVar[str]
    """The command that is meant where none is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Add the name of the meant command where the first word is a file."""
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = [self.meant, *args]
        return super().parse_args(ctx, args)


def read_as_asked(path: Path, seed: int | None = None, stack: StackName | None = None) -> Study:
    """Return the study of that file, with the seed and the stack of the options where they are given."""
    study = current_invocation().read(path, STUDY)
    study = study if seed is None else study.model_copy(update={"seed": seed})
    study = study if stack is None else study.on(stack)
    definition_of(study.pop.stack)
    return study


def folder_at(path: Path, *, fresh: bool = False) -> ResultFolder:
    """Return the folder for results, locked until the command ends. If `fresh`, without an earlier result in it.

    Raises:
        InputError: it cannot be made or written to, or another process uses it.
        StorageError: there is no room in it.
    """
    return held.enter_context(open_results(path, fresh=fresh))


@contextmanager
def stop_on_ctrl_c() -> Iterator[asyncio.Event]:
    """Yield an event that Ctrl-C, SIGTERM or SIGHUP sets. A second Ctrl-C ends the process at once.

    The journal is whole then too. The trunk's programs and the workers notice the end of this process, and end.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def interrupted(number: signal.Signals) -> None:
        if stop.is_set():
            if number is signal.SIGINT:
                _leave_at_once()
            return
        # Before the words: after SIGHUP there may be no terminal to write to.
        stop.set()
        with suppress(OSError):
            err.print("ending every call; press Ctrl-C again to leave at once")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # `nohup` ignores SIGHUP, and means it.
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, interrupted, number)
    yield stop


def _leave_at_once() -> None:
    flush_all()
    with suppress(OSError):
        err.show_cursor()
        err.print("left at once; what was measured is in the journal: `trunkproof report` writes the page")
    os._exit(ExitCode.INTERRUPTED)


def command_line() -> str:
    """Return the command as it was typed."""
    return shlex.join(["trunkproof", *sys.argv[1:]])


def leave_with(code: ExitCode) -> None:
    """End the command with that code."""
    if code is not ExitCode.OK:
        raise typer.Exit(code)


def print_result(value: Mapping[str, Any], human: Callable[[], None], *, as_json: bool) -> None:
    """Print a result for people or for programs."""
    try:
        if as_json:
            typer.echo(json.dumps(value, indent=2, allow_nan=False))
        else:
            human()
        sys.stdout.flush()
    except BrokenPipeError:
        nobody_reads(sys.stdout)
