"""The `trunkproof` command: the list of commands, where the code of each is, and how all of them end.

The module of a command is imported only when the command is called, so `trunkproof --help` answers at once. Nothing is
computed here. Exit codes are in `experiments.common.exit_codes`.
"""

from __future__ import annotations

import contextlib
import errno
import resource
import sys
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

_NO_ROOM = 7
"""The same code as in `experiments.common.exit_codes`, which cannot be imported without memory."""


class _Command(NamedTuple):
    module: str
    """Name of the module in `experiments.cli`."""
    help: str
    """The first sentence of the command's own help. It is repeated here because the list imports no command."""


COMMANDS = {
    "plan": _Command("predicting", "Say what a study will do, before it does it."),
    "simulate": _Command("predicting", "Predict: run a study on the model of the trunk."),
    "serve": _Command("calling", "Play the study's trunk, until Ctrl-C."),
    "load": _Command("calling", "Place the study's calls, for real, on a trunk that is running."),
    "validate": _Command("proving", "Predict a study, place its calls on a trunk of this machine, and compare both."),
    "report": _Command(
        "proving", "Write the page of a validation or of a suite again, from what it left; also of one that was killed."
    ),
    "calibrate": _Command("proving", "Measure what a stack spends on each kind of work, on this machine."),
    "knee": _Command("finding", "Find the largest load that a trunk carries at quality, on the model and for real."),
    "identify": _Command(
        "identifying", "Tell a trunk's throttle from outside: by short calls, or from the records of a run."
    ),
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

    def invoke(self, ctx: Any) -> Any:
        """Run the command. After Ctrl-C it leaves quietly with 130; Typer alone would print a word and leave with 1."""
        try:
            # `--help` needs neither of these imports, which are slow.
            from trunkproof.experiments.cli.app import held, show_warnings  # noqa: PLC0415
            from trunkproof.loadgen.media.pump import asked_for  # noqa: PLC0415

            show_warnings()
            asked_for()  # Fail early on a wrong environment, before anything is started.
            with held:
                return super().invoke(ctx)
        except KeyboardInterrupt:
            from trunkproof.experiments.common.exit_codes import ExitCode  # noqa: PLC0415  # `--help` needs none

            raise typer.Exit(ExitCode.INTERRUPTED) from None


app = typer.Typer(
    cls=LazyGroup,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Predict what a SIP trunk can carry, then prove it with real encrypted calls.",
)


@app.callback()
def _every_command() -> None:
    """Prepare every command."""


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


def _end_with(error: Exception) -> NoReturn:
    """Say what went wrong, and leave with its exit code. A bug of ours is raised again, with its traceback."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    # A library that finds no memory for itself has many words for it, but no error of its own. And nothing of ours can
    # be imported then.
    if limit != resource.RLIM_INFINITY and (
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
