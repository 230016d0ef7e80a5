"""The command `answer`: our answering side alone, for a stack that others run to route its calls to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from trunkproof.experiments.cli.app import (
    Allow,
    Json,
    KeyLog,
    Out,
    StudyFile,
    TraceFile,
    folder_at,
    guard_of,
    leave_with,
    out,
    print_result,
    read_as_asked,
)
from trunkproof.experiments.cli.calling import certificate_of
from trunkproof.experiments.cli.root import app
from trunkproof.experiments.cli.serving import ServedRecords, run_served
from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.loadgen.sip.invite import Place
from trunkproof.loadgen.sip.trace import open_trace
from trunkproof.loadgen.stacks.answering import AnswerOptions
from trunkproof.loadgen.stacks.answering import answer as answer_calls
from trunkproof.loadgen.stacks.server import ServeEnd
from trunkproof.models.records import FarEnd
from trunkproof.models.study import Study


@app.command()
def answer(
    study_file: StudyFile,
    *,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 chooses a free one.", min=0, max=65535)] = 5061,
    certificate: Annotated[Path | None, typer.Option(help="Certificate chain to show; needs --key.")] = None,
    key: Annotated[Path | None, typer.Option(help="Private key of --certificate.")] = None,
    allow: Allow = None,
    keylog: KeyLog = None,
    trace: TraceFile = None,
    out_dir: Out = Path("out/answer"),
    as_json: Json = False,
) -> None:
    """Play the carrier behind a trunk that others run: answer the study's numbers, until Ctrl-C."""
    study = read_as_asked(study_file)
    shows = certificate_of("answer", certificate, key)
    guard = guard_of(allow)
    folder = folder_at(out_dir, fresh=True)
    served = ServedRecords()

    def ready(place: Place, ca_file: Path) -> None:
        carrier = study.pop.carrier
        told: dict[str, Any] = {
            "host": place.host,
            "port": place.port,
            "transport": carrier.transport,
            "media": carrier.media,
            "numbers": numbers_of(study),
        }
        if carrier.transport == "tls":
            told["ca_file"] = None if certificate is not None else str(ca_file.resolve())

        def human() -> None:
            how = f"{carrier.transport.upper()}, {carrier.media.upper()}"
            out.print(f"The carrier answers at {place} ({how}); Ctrl-C ends it.")
            if told.get("ca_file"):
                out.print(f"Its certificate authority: {told['ca_file']}")
            for line in told["numbers"]:
                out.print(f"It answers {line}; any other number gets 404.")

        print_result(told, human, as_json=as_json)
        # Whoever starts this in a script waits for these lines through a pipe, which would keep them.
        sys.stdout.flush()

    async def play() -> ServeEnd:
        with open_trace(trace) as tracer:
            options = AnswerOptions(
                port=port,
                certificate=shows,
                guard=guard,
                keylog=keylog,
                trace=tracer,
                on_call=served.ended,
            )
            return await answer_calls(study, folder.path, options, on_ready=ready)

    end = run_served(play(), served, folder)
    leave_with(ExitCode.BUG if end.bugs else ExitCode.OK)


def numbers_of(study: Study) -> list[str]:
    """Return in words which numbers are answered, and how, without the numbers themselves."""
    entries = [entry for trunk in study.trunks for entry in trunk.traffic.destinations]
    words = []
    if not entries or any(entry.far_end is FarEnd.PLAN and entry.range is None for entry in entries):
        words.append("the numbers that are made from the plan, as it says")
    for entry in entries:
        if entry.far_end is not FarEnd.PLAN:
            words.append(f"{entry.places} listed with far_end {entry.far_end}")
        elif entry.range is not None:
            words.append(f"a block of {len(entry.range)} as the plan says")
    return words
