"""The `trunkproof` command: the list of commands, where the code of each is, and how all of them end.

The module of a command is imported only when the command is called, so `trunkproof --help` answers at once. Nothing is
computed here. Exit codes are in `experiments.common.exit_codes`.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import sys
from collections.abc import Iterator
from enum import StrEnum
from importlib import import_module
from importlib.metadata import version as installed_version
from typing import Annotated, Any, NamedTuple, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_NO_ROOM = 7
"""The same code as in `experiments.common.exit_codes`, which cannot be imported without memory."""
_ALONE = frozenset({"--verbose", "-v", "--quiet", "-q", "--version"})
_WITH_VALUE = frozenset({"--set", "--log-level"})
"""Options of every command, which may stand anywhere in the line."""


class _Command(NamedTuple):
    module: str
    """Name of the module in `experiments.cli`."""
    help: str
    """The first sentence of the command's own help. It is repeated here because the list imports no command."""


COMMANDS = {
    "new": _Command("writing", "Write a new study or request, commented and ready to run."),
    "studies": _Command("writing", "List, show or copy the studies that are shipped."),
    "notebooks": _Command("writing", "List or copy the notebooks that are shipped."),
    "schema": _Command("writing", "Print the JSON Schema of a study or a request, for editors."),
    "plan": _Command("predicting", "Say what a study will do, before it does it."),
    "simulate": _Command("predicting", "Predict: run a study on the model of the trunk."),
    "serve": _Command("serving", "Play the study's trunk, until Ctrl-C."),
    "load": _Command("calling", "Place the study's calls, for real, on a trunk that is running, and judge them."),
    "answer": _Command(
        "answering", "Play the carrier behind a trunk that others run: answer the study's numbers, until Ctrl-C."
    ),
    "validate": _Command("proving", "Predict a study, place its calls, and compare both"),
    "report": _Command("proving", "Write the page of a load test, a validation or a suite again, from what it left"),
    "compare": _Command("comparing", "Compare two runs of one study: what is the same, better or worse."),
    "calibrate": _Command("proving", "Measure what a stack spends on each kind of work, on this machine."),
    "knee": _Command("finding", "Find the largest load that a trunk carries at quality, on the model and for real."),
    "check": _Command("checking", "Check up a trunk before any load: what holds, what does not, and what to do."),
    "identify": _Command(
        "identifying", "Tell a trunk's throttle from outside: by short calls, or from the records of a run."
    ),
    "bundle": _Command("bundling", "Make a zip for the operator's support, of the calls that a run has captured."),
    "review": _Command("reviewing", "Decide on a request to raise a throttle, from the customer's call history."),
    "history": _Command("histories", "Look into a customer's call history, or make one with known truth."),
    "version": _Command("version", "Say which version this is."),
}


class LazyGroup(TyperGroup):
    """The commands of `COMMANDS`, each imported when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return all names, in the order in which one would use them."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of that name; None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        import_module(f"trunkproof.experiments.cli.{COMMANDS[cmd_name].module}")
        # The module has registered its commands with `app`; this group was made before it did.
        return typer.main.get_group(app).commands[cmd_name]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that was typed, or suggest the nearest one."""
        # Typer suggests from `commands`, which holds only what was imported so far.
        self.commands = {name: self.commands.get(name) or TyperCommand(name) for name in COMMANDS}
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in COMMANDS.items()])

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the options of every command from anywhere in the line, and `--json` from before the command."""
        with _in_our_words():
            return super().parse_args(ctx, _in_order(args))

    def invoke(self, ctx: Any) -> Any:
        """Run the command. After Ctrl-C it leaves quietly with 130; Typer alone would print a word and leave with 1."""
        # `--help` needs none of these imports, which are slow.
        from trunkproof.experiments.cli.app import held  # noqa: PLC0415
        from trunkproof.experiments.cli.invocation import current_invocation  # noqa: PLC0415
        from trunkproof.experiments.common.exit_codes import ExitCode  # noqa: PLC0415
        from trunkproof.models.errors import InputError  # noqa: PLC0415

        try:
            with held, _in_our_words():
                return super().invoke(ctx)
        except InputError as error:
            raise current_invocation().at_its_keys(error) from None
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None


@contextlib.contextmanager
def _in_our_words() -> Iterator[None]:
    """Say what is wrong with an option as with a key of a study. Typer says what Pydantic does, in Python's types."""
    try:
        yield
    except typer.BadParameter as error:
        from pydantic import ValidationError  # noqa: PLC0415

        from trunkproof.models.forms import explain  # noqa: PLC0415

        if isinstance(error.__cause__, ValidationError):
            error.message = explain(error.__cause__.errors()[0])
        raise


def _in_order(words: list[str]) -> list[str]:
    """Return a command line with the options of every command first, and `--json` last."""
    first, rest, last = [], [], []
    left = iter(words)
    for word in left:
        if word == "--":
            rest += [word, *left]
        elif word in _ALONE or word.startswith(tuple(f"{name}=" for name in _WITH_VALUE)):
            first.append(word)
        elif word in _WITH_VALUE:
            first += [word, *itertools.islice(left, 1)]
        elif word == "--json" and not rest:
            last.append(word)
        else:
            rest.append(word)
    return first + rest + last


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    context_settings={"auto_envvar_prefix": "TRUNKPROOF"},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Predict what a SIP trunk can carry, then prove it with real encrypted calls.",
)


class LogLevel(StrEnum):
    """How much is told on stderr."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"trunkproof {installed_version('trunkproof')}")
        raise typer.Exit


@app.callback()
def _every_command(
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            envvar="TRUNKPROOF_SET",
            help="Give a key of the study or request another value, such as seed=2; repeatable.",
        ),
    ] = None,
    log_level: Annotated[LogLevel, typer.Option("--log-level", help="What is told on stderr.")] = LogLevel.WARNING,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Short for --log-level info.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Short for --log-level error; no progress.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Prepare every command."""
    # `--help` needs none of these imports, which are slow.
    from trunkproof.experiments.cli.app import show_log  # noqa: PLC0415
    from trunkproof.experiments.cli.invocation import begin_invocation  # noqa: PLC0415
    from trunkproof.loadgen.media.pump import asked_for  # noqa: PLC0415

    level = LogLevel.ERROR if quiet else LogLevel.INFO if verbose else log_level
    show_log(getattr(logging, level.name))
    begin_invocation(changes or [])
    asked_for()  # Fail early on a wrong environment, before anything is started.


def run() -> None:
    """Run the command that was typed, and leave with its exit code.

    Mistakes of the user and of the peer end in a message, not in a traceback.
    """
    try:
        app()
    except BrokenPipeError:
        # The reader of our output has closed it, as `head` does. Without this Python complains again at exit.
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        _end_with(error)


def _memory_limit() -> int | None:
    """Return how many bytes of memory this process may use; None where there is no limit, as on Windows."""
    if resource is None:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


def _end_with(error: Exception) -> NoReturn:
    """Say what went wrong, and leave with its exit code. A bug of ours is raised again, with its traceback."""
    limit = _memory_limit()
    # A library that finds no memory for itself has many words for it, but no error of its own. And nothing of ours can
    # be imported then.
    if limit is not None and (
        isinstance(error, ImportError | MemoryError | SystemError)
        or (isinstance(error, OSError) and error.errno in {None, errno.ENOMEM})
    ):
        allowed = f"this process may use {limit / 2**20:.0f} MiB of memory (ulimit -v)"
        typer.echo(f"{allowed}, which is too little: {error}", err=True)
        sys.exit(_NO_ROOM)
    # Imported late: `--help` needs none of them.
    from trunkproof.experiments.common.exit_codes import exit_code_of, shortage_of  # noqa: PLC0415
    from trunkproof.models.errors import TrunkproofError  # noqa: PLC0415

    told = error if isinstance(error, TrunkproofError) else shortage_of(error)
    if told is None:
        raise error
    with contextlib.suppress(OSError):  # After SIGHUP there may be no terminal.
        typer.echo(str(told), err=True)
    sys.exit(exit_code_of(told))
