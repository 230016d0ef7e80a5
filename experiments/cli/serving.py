"""The command `serve`: play a study's trunk. What `answer` shares with it is here too."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from trunkproof.experiments.cli import console as shown
from trunkproof.experiments.cli.app import (
    Allow,
    Json,
    KeyLog,
    Out,
    StackOption,
    StudyFile,
    TraceFile,
    err,
    folder_at,
    guard_of,
    leave_with,
    out,
    print_result,
    read_as_asked,
)
from trunkproof.experiments.cli.root import app
from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.common.result_folder import SERVED, ResultFolder
from trunkproof.loadgen.bugs import write_bugs
from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.parties.call_book import ServedCall
from trunkproof.loadgen.sip.trace import open_trace
from trunkproof.loadgen.stack_events import StackEvent, StackEventKind
from trunkproof.loadgen.stacks.registry import edge_of
from trunkproof.loadgen.stacks.server import ServeEnd
from trunkproof.loadgen.stacks.server import serve as serve_trunk
from trunkproof.loadgen.stacks.stack import ServeOptions
from trunkproof.loadgen.system.loop import run_loop
from trunkproof.models.errors import StackError
from trunkproof.models.records import Record, to_frame, write_records

_CALLS_PER_TABLE = 10_000


class ServedRecords:
    """The records of a served trunk's calls, which may be those of days: a table takes a tenth of their memory."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._tables: list[pl.DataFrame] = []

    def ended(self, call: ServedCall) -> None:
        """Tell that a call is over, and keep its record."""
        # Not by Rich, which takes as long for a line as the trunk for a call.
        typer.echo(shown.call_line(call), err=True)
        self._records.append(call.record)
        if len(self._records) == _CALLS_PER_TABLE:
            self._tables.append(to_frame(self._records))
            self._records.clear()

    def table(self) -> pl.DataFrame:
        """Return all records as one table."""
        return pl.concat([*self._tables, to_frame(self._records)])


def run_served(play: Coroutine[Any, Any, ServeEnd], served: ServedRecords, folder: ResultFolder) -> ServeEnd:
    """Play until the end, write the records of all calls, and tell what went wrong."""
    try:
        end = run_loop(play)
    finally:
        # On every way out: what a telephone did is what these commands are for.
        with folder.writing(SERVED) as path:
            write_records(served.table(), path)
    write_bugs(end.bugs, folder.path)
    for line in shown.serve_lines(end):
        err.print(line, markup=False)
    return end


@app.command()
def serve(
    study_file: StudyFile,
    *,
    stack: StackOption = None,
    port: Annotated[int, typer.Option(help="Port of the edge; 0 chooses a free one.", min=0, max=65535)] = 5443,
    keylog: KeyLog = None,
    trace: TraceFile = None,
    allow: Allow = None,
    answer_any: Annotated[
        bool, typer.Option("--answer-any", help="Answer every number, not only those that the study's plan dials.")
    ] = False,
    out_dir: Out = Path("out/serve"),
    as_json: Json = False,
) -> None:
    """Play the study's trunk, until Ctrl-C."""
    study = read_as_asked(study_file, stack=stack)
    guard = guard_of(allow)
    folder = folder_at(out_dir, fresh=True)
    served = ServedRecords()

    def ready(card: TrunkCard) -> None:
        def human() -> None:
            where = f"{card.place} ({card.transport.upper()})"
            out.print(f"{study.pop.host} is played by {card.stack} at {where}; Ctrl-C ends it.")
            out.print(f"Its processes: {', '.join(f'{name} {pid}' for name, pid in card.processes.items())}")
            if card.transport == "tls":
                out.print(f"Its certificate authority: {card.ca_file}")
            out.print(f"Call it: trunkproof load {study_file} --trunk {folder / 'trunk.json'}")

        # The secret is for whoever may read the card, and not for everybody who sees this output.
        print_result(card.model_dump(mode="json", exclude={"control_secret"}), human, as_json=as_json)

    lost: list[str] = []

    async def play() -> ServeEnd:
        stop = asyncio.Event()

        def heard(event: StackEvent) -> None:
            err.print(str(event))
            if event.kind is StackEventKind.DIED and event.program == edge_of(study.pop.stack):
                lost.append(event.program)
                stop.set()

        with open_trace(trace) as tracer:
            options = ServeOptions(
                port=port,
                keylog=keylog,
                trace=tracer,
                guard=guard,
                answer_any=answer_any,
                on_call=served.ended,
            )
            return await serve_trunk(study, folder.path, options=options, on_ready=ready, on_event=heard, stop=stop)

    end = run_served(play(), served, folder)
    if lost:
        raise StackError(f"{lost[0]} ended, so there is no trunk any more; the logs of its programs are in {folder}")
    leave_with(ExitCode.BUG if end.bugs else ExitCode.OK)
