"""The `trunkproof` command: reads the words, calls the code, prints the result, chooses the exit code.

Nothing is computed here. People read stdout; `--json` gives programs the same on stdout; progress and complaints go to
stderr. Exit codes: `experiments/exit_codes.py`.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from experiments import console as shown
from experiments.compare import Comparison
from experiments.exit_codes import ExitCode, exit_code_of
from experiments.forecast import forecast
from experiments.prediction import predict
from experiments.report.page import write_report
from experiments.validate import MEASURED, PAGE, PREDICTED, read_evidence, validate_async
from loadgen.certificates import CertificateFiles
from loadgen.guard import Guard
from loadgen.health import Verdict
from loadgen.run import Drive, drive, reach
from loadgen.sip.trace import open_trace
from loadgen.stacks.card import TrunkCard, read_card
from loadgen.stacks.server import serve as serve_trunk
from models.errors import InputError, Problem, TrunkproofError
from models.plan import draw_plan
from models.reading import read_study
from models.records import write_records
from models.study import Stack, Study
from simulator.run import Start

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Predict what a SIP trunk can carry, then prove it with real encrypted calls.",
)
err = Console(stderr=True, highlight=False, soft_wrap=True)
out = Console(highlight=False, soft_wrap=True)

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study: one YAML file.", show_default=False)]
StackName = Annotated[
    Stack | None, typer.Option("--stack", help="What plays the trunk, where it is not what the study says.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Seed = Annotated[int | None, typer.Option(help="Roll other dice than the study's.", min=0)]
OptionalOut = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder for the results.")]
KeyLog = Annotated[
    Path | None, typer.Option("--keylog", metavar="FILE", help="Append TLS secrets, to decode a capture.")
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the results.", show_default=False)]


@app.command()
def plan(study_file: StudyFile, *, seed: Seed = None, out_dir: OptionalOut = None, as_json: Json = False) -> None:
    """Say what a study will do, before it does it."""
    drawn = draw_plan(_study(study_file, seed))
    expected = forecast(drawn)
    if out_dir is not None:
        drawn.table.write_parquet(_folder(out_dir) / "plan.parquet")

    def human() -> None:
        out.print(expected.sentence)
        out.print(shown.forecast_table(expected))

    _print(expected.to_json(), human, as_json=as_json)


@app.command()
def simulate(
    study_file: StudyFile,
    *,
    seed: Seed = None,
    stack: StackName = None,
    replications: Annotated[int, typer.Option(help="Repeat with other seeds, for intervals.", min=0)] = 0,
    precision: Annotated[
        float | None, typer.Option(help="Repeat until refused_share is known to this share of itself.", min=1e-4)
    ] = None,
    anchor: Annotated[
        float, typer.Option(metavar="SECONDS", help="When, after plan zero, a window of the throttle begins.")
    ] = 0.0,
    stationary: Annotated[bool, typer.Option(help="Start in the stationary state, not empty.")] = False,
    out_dir: OptionalOut = None,
    as_json: Json = False,
) -> None:
    """Predict: run a study on the model of the trunk."""
    study = _study(study_file, seed, stack)
    start = Start.STATIONARY if stationary else Start.EMPTY
    with err.status("simulating"):
        prediction = predict(study, replications=replications, precision=precision, start=start, anchor_s=anchor)
    if out_dir is not None:
        write_records(prediction.records, _folder(out_dir) / PREDICTED)

    def human() -> None:
        out.print(shown.kpi_table(prediction.kpis, prediction.intervals))
        out.print(shown.disposition_table(prediction.kpis))
        out.print(shown.target_lines(prediction.targets))
        out.print(shown.twin_lines(prediction.twin))

    _print(prediction.to_json(), human, as_json=as_json)


@app.command()
def serve(
    study_file: StudyFile,
    *,
    stack: StackName = None,
    port: Annotated[int, typer.Option(help="TLS port of the edge; 0 takes a free one.", min=0, max=65535)] = 5443,
    keylog: KeyLog = None,
    out_dir: Out = Path("out/serve"),
    as_json: Json = False,
) -> None:
    """Play the study's trunk, until Ctrl-C."""
    study = _study(study_file, stack=stack)
    folder = _folder(out_dir)

    def ready(card: TrunkCard) -> None:
        def human() -> None:
            out.print(f"{study.pop.host} is played by {card.stack} at {card.host}:{card.port} (TLS); Ctrl-C ends it.")
            out.print(f"Its processes: {', '.join(f'{name} {pid}' for name, pid in card.processes.items())}")
            out.print(f"Its certificate authority: {card.ca_file}")
            out.print(f"Call it: trunkproof load {study_file} --trunk {folder / 'trunk.json'}")

        _print(card.model_dump(mode="json"), human, as_json=as_json)

    asyncio.run(serve_trunk(study, folder, port=port, keylog=keylog, on_ready=ready))


@app.command()
def load(
    study_file: StudyFile,
    *,
    trunk: Annotated[Path | None, typer.Option(metavar="FILE", help="The card that `serve` wrote.")] = None,
    target: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Or: a trunk's address.")] = None,
    ca_file: Annotated[Path | None, typer.Option("--ca", help="Authority of the target's certificate.")] = None,
    server_name: Annotated[str | None, typer.Option(help="Host name in it, where it is not the study's.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="Client certificate chain, with --key.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key.")] = None,
    keylog: KeyLog = None,
    trace: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a masked SIP trace.")] = None,
    allow: Annotated[list[str] | None, typer.Option(help="A host outside loopback that may be called.")] = None,
    ceiling: Annotated[float | None, typer.Option(help="Calls per minute confirmed for it.", min=0)] = None,
    production: Annotated[bool, typer.Option(help="Do call the operator's production.")] = False,
    out_dir: Out = Path("out/load"),
    as_json: Json = False,
) -> None:
    """Place the study's calls, for real, on a trunk that is running."""
    study = _study(study_file)
    card = _card(study, trunk, target, ca_file, server_name)
    shows = CertificateFiles(certificate, key) if certificate and key else None
    guard = Guard(frozenset(allow or ()), ceiling, production)
    folder = _folder(out_dir)

    drawn = draw_plan(study)

    async def run() -> Drive:
        await reach(card, guard, 60 * drawn.calls / study.duration_s, shows)
        with _stop_on_ctrl_c() as stop, shown.progress(err) as advance, open_trace(trace) as tracer:
            return await drive(
                drawn,
                card,
                guard=guard,
                watch=advance,
                stop=stop,
                client_certificate=shows,
                keylog=keylog,
                trace=tracer,
            )

    driven = asyncio.run(run())
    write_records(driven.records, folder / MEASURED)
    _print(shown.drive_json(driven), lambda: out.print(shown.drive_lines(driven)), as_json=as_json)
    _leave(_code_of_run(driven.generator.verdict, driven.interrupted))


@app.command()
def validate(
    study_file: StudyFile, *, seed: Seed = None, stack: StackName = None, out_dir: Out, as_json: Json = False
) -> None:
    """Predict a study, place its calls on a trunk of this machine, and compare both."""
    study, folder = _study(study_file, seed, stack), _folder(out_dir)
    command = shlex.join(["trunkproof", *sys.argv[1:]])

    async def run() -> Comparison:
        with _stop_on_ctrl_c() as stop, shown.progress(err) as advance:
            return await validate_async(study, folder, advance=advance, stop=stop, command=command)

    comparison = asyncio.run(run())
    _show(comparison, folder, as_json=as_json)
    code = _code_of_run(comparison.generator.verdict, comparison.interrupted)
    _leave(code if code is not ExitCode.OK or comparison.agrees else ExitCode.DISAGREE)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `validate` wrote.", show_default=False)],
    *,
    as_json: Json = False,
) -> None:
    """Write the page of a validation again, from its records."""
    comparison = read_evidence(folder)
    write_report(comparison, folder / PAGE)
    _show(comparison, folder, as_json=as_json)


@app.command()
def version(*, as_json: Json = False) -> None:
    """Say which version this is."""
    number = installed_version("trunkproof")
    _print({"trunkproof": number}, lambda: out.print(f"trunkproof {number}"), as_json=as_json)


def main() -> None:
    """Run the command; errors of the user's or the peer's end in a message, not in a traceback."""
    try:
        app()
    except TrunkproofError as error:
        err.print(str(error), markup=False)
        sys.exit(exit_code_of(error))
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(ExitCode.OK)


def _study(path: Path, seed: int | None = None, stack: Stack | None = None) -> Study:
    study = read_study(path)
    study = study if seed is None else study.model_copy(update={"seed": seed})
    return study if stack is None else study.on(stack)


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("--out", [Problem(where=str(path), what=f"cannot be made ({error.strerror})")]) from error
    return path


def _card(
    study: Study, trunk: Path | None, target: str | None, ca_file: Path | None, server_name: str | None
) -> TrunkCard:
    """The card of the trunk to be called, read or made of the options."""
    if trunk is not None and target is None:
        card = read_card(trunk)
        if card.stack != "foreign" and card.study_digest not in {None, study.on(card.stack).digest()}:
            raise InputError(str(trunk), [Problem(where="study_digest", what="this trunk plays another study")])
        return card
    host, _, port = (target or "").rpartition(":")
    problems = [Problem(where="--target", what="name the trunk as HOST:PORT, or give its card with --trunk")] * (
        not host or not port.isdecimal() or not 0 < int(port) <= 65535 or trunk is not None
    )
    if ca_file is None:
        problems.append(Problem(where="--ca", what="is needed with --target: who signed the trunk's certificate"))
    if problems or ca_file is None:
        raise InputError("load", problems)
    return TrunkCard(
        stack="foreign", server_name=server_name or study.pop.host, host=host, port=int(port), ca_file=str(ca_file)
    )


@contextmanager
def _stop_on_ctrl_c() -> Iterator[asyncio.Event]:
    """An event that the first Ctrl-C (or SIGTERM) sets; a second one ends the process at once."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def interrupted() -> None:
        err.print("ending every call; once more to leave at once")
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted)
    yield stop


def _show(comparison: Comparison, folder: Path, *, as_json: bool) -> None:
    def human() -> None:
        out.print(comparison.sentence)
        out.print(shown.comparison_table(comparison))
        out.print(shown.target_lines(comparison.targets))
        out.print(f"Page: {folder / PAGE}")

    _print(comparison.to_json(), human, as_json=as_json)


def _code_of_run(verdict: Verdict, interrupted: str | None) -> ExitCode:
    if interrupted is not None:
        return ExitCode.INTERRUPTED if interrupted.startswith("interrupted") else ExitCode.NO_TRUNK
    return ExitCode.VOID if verdict is Verdict.VOID else ExitCode.OK


def _leave(code: ExitCode) -> None:
    if code is not ExitCode.OK:
        raise typer.Exit(code)


def _print(value: Mapping[str, Any], human: Callable[[], None], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(value, indent=2, allow_nan=False))
    else:
        human()


if __name__ == "__main__":
    main()
