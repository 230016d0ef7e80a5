"""The command `load`: place real calls on a trunk that is running, and judge them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from trunkproof.experiments.cli.app import (
    Allow,
    CaFile,
    Capture,
    CardFile,
    Ceiling,
    Json,
    KeyLog,
    Out,
    Production,
    ServerName,
    StudyFile,
    Target,
    TraceFile,
    Workers,
    command_line,
    err,
    folder_at,
    guard_of,
    leave_with,
    read_as_asked,
    stop_on_ctrl_c,
)
from trunkproof.experiments.cli.cockpit import Live, LiveCommand, Prometheus, cockpit_of
from trunkproof.experiments.cli.loaded import show_load
from trunkproof.experiments.cli.root import app
from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.common.result_folder import PAGE
from trunkproof.experiments.load.exports import junit, threshold_csv
from trunkproof.experiments.load.result import LoadResult, write_load
from trunkproof.experiments.load.run import load_async
from trunkproof.experiments.prediction.open_files import check_open_files
from trunkproof.experiments.report.load_page import write_load_page
from trunkproof.loadgen.capture.options import FOLDER as CAPTURE
from trunkproof.loadgen.capture.options import CaptureOptions
from trunkproof.loadgen.card import FOREIGN, TrunkCard, read_card
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.parties.doors import card_of_edges, with_edges_found
from trunkproof.loadgen.schedule.share import check_divisible
from trunkproof.loadgen.sip.trace import open_trace
from trunkproof.loadgen.system.dns_names import Names
from trunkproof.loadgen.system.files import write_text
from trunkproof.loadgen.system.loop import run_loop
from trunkproof.loadgen.tls.certificates import CertificateFiles
from trunkproof.loadgen.tls.pem import check_certificate
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.plan import draw_plan
from trunkproof.models.study import Study


@app.command(cls=LiveCommand)
def load(
    study_file: StudyFile,
    *,
    trunk: CardFile = None,
    target: Target = None,
    ca_file: CaFile = None,
    server_name: ServerName = None,
    certificate: Annotated[Path | None, typer.Option(help="Client certificate chain; needs --key.")] = None,
    key: Annotated[Path | None, typer.Option(help="Private key of --certificate.")] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=URL", help="Prometheus page of a program of the target."),
    ] = None,
    workers: Workers = 1,
    keylog: KeyLog = None,
    trace: TraceFile = None,
    capture: Capture = False,
    live: Live = None,
    prometheus: Prometheus = None,
    allow: Allow = None,
    ceiling: Ceiling = None,
    production: Production = False,
    junit_file: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write the verdict as JUnit XML, for a CI.")
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the judged targets and thresholds as CSV.")
    ] = None,
    exit_zero: Annotated[
        bool, typer.Option("--exit-zero", help="Leave with 0 where targets or thresholds were missed.")
    ] = False,
    show_numbers: Annotated[
        bool, typer.Option("--show-numbers", help="Write the study's telephone numbers into study.json.")
    ] = False,
    out_dir: Out = Path("out/load"),
    as_json: Json = False,
) -> None:
    """Place the study's calls, for real, on a trunk that is running, and judge them."""
    study = read_as_asked(study_file)
    if target == "study":
        study = with_edges_found(study)
    check_divisible(study, workers)
    card = card_of(study, trunk, target, ca_file, server_name)
    card = card.model_copy(update={"metrics": card.metrics | _pages(metrics or [])})
    shows = certificate_of("load", certificate, key)
    guard = guard_of(allow, ceiling, production, resolve=Names(study.pop.dns).resolve)
    cockpit = cockpit_of(study, live, prometheus)
    folder = folder_at(out_dir, fresh=True)

    for warning in check_open_files(draw_plan(study), processes=workers):
        err.print(warning)

    async def run() -> LoadResult:
        options = RunOptions(
            guard=guard,
            workers=workers,
            client_certificate=shows,
            keylog=keylog,
            capture=CaptureOptions(folder / CAPTURE) if capture else None,
        )
        with stop_on_ctrl_c() as stop, open_trace(trace) as tracer:
            told = replace(options, trace=tracer, observers=(cockpit.state,))
            async with cockpit.open():
                return await load_async(
                    study,
                    card,
                    folder=folder,
                    show_numbers=show_numbers,
                    options=told,
                    stop=stop,
                    command=command_line(),
                    beside=cockpit.steer,
                )

    result = run_loop(run())
    write_load(result, folder, show_numbers=show_numbers)
    write_load_page(result, folder / PAGE)
    for path, text in ((junit_file, junit), (csv_file, threshold_csv)):
        if path is not None:
            write_text(path, text(result))
    show_load(result, folder / PAGE, as_json=as_json)
    overlooked = exit_zero and result.exit_code in {ExitCode.MISSED, ExitCode.ABORTED}
    leave_with(ExitCode.OK if overlooked else result.exit_code)


def certificate_of(command: str, certificate: Path | None, key: Path | None) -> CertificateFiles | None:
    """Return the certificate that the options name; None where they name none.

    Raises:
        InputError: one of the two is given without the other, or they cannot be used.
    """
    if (certificate is None) != (key is None):
        lacking = "--key" if key is None else "--certificate"
        raise InputError(command, [Problem(where=lacking, what="is missing: a certificate and its key go together")])
    if certificate is None or key is None:
        return None
    check_certificate(certificate, key)
    return CertificateFiles(certificate, key)


def _pages(named: list[str]) -> dict[str, str]:
    """Map each program to the address of its page, from options such as `kamailio=http://127.0.1.2:9090/metrics`."""
    pairs = [word.partition("=") for word in named]
    what = "write NAME=URL, such as kamailio=http://127.0.1.2:9090/metrics"
    if wrong := [Problem(where=f"--metrics {name}", what=what) for name, _, url in pairs if not name or not url]:
        raise InputError("load", wrong)
    return {name: url for name, _, url in pairs}


def card_of(
    study: Study, trunk: Path | None, target: str | None, ca_file: Path | None, server_name: str | None
) -> TrunkCard:
    """Return the card of the trunk to call: read from its file, or made from the options."""
    if trunk is not None and target is None:
        card = read_card(trunk)
        if not card.is_foreign and card.study_digest not in {None, study.on(card.stack).digest()}:
            raise InputError(
                str(trunk),
                [
                    Problem(
                        where="study_digest",
                        what="this trunk plays another study: start it with this one",
                    )
                ],
            )
        return card
    is_ready = ca_file is not None or study.transport != "tls"
    if target == "study" and is_ready and trunk is None:
        return card_of_edges(study, ca_file)
    host, _, port = (target or "").rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    problems = [Problem(where="--target", what="name the trunk as HOST:PORT, or give its card with --trunk")] * (
        not host or not port.isdecimal() or not 0 < int(port) <= 65535 or trunk is not None
    )
    if not is_ready:
        problems.append(Problem(where="--ca", what="is needed with --target: who signed the trunk's certificate"))
    if target == "study" and trunk is None:
        problems.pop(0)
    if problems:
        raise InputError("the trunk to call", problems)
    return TrunkCard(
        stack=FOREIGN,
        server_name=server_name or study.pop.host,
        host=host,
        port=int(port),
        transport=study.transport,
        ca_file=None if ca_file is None else str(ca_file),
    )
