"""The command `check`: the check-up of a trunk before any load."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from trunkproof.experiments.cli.app import (
    Allow,
    CaFile,
    CardFile,
    Ceiling,
    Json,
    Production,
    ServerName,
    StudyFile,
    Target,
    err,
    guard_of,
    leave_with,
    out,
    print_result,
    read_as_asked,
    stop_on_ctrl_c,
)
from trunkproof.experiments.cli.calling import card_of, certificate_of
from trunkproof.experiments.cli.root import app
from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.target.check.findings import Check, CheckReport, State
from trunkproof.experiments.target.check.incoming import InboundOptions, check_inbound
from trunkproof.experiments.target.check.run import LONG_S, CheckOptions, check_trunk
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.system.loop import run_loop
from trunkproof.models.errors import InputError, Problem, nearest
from trunkproof.models.plan import draw_plan
from trunkproof.models.study import Study

_USUAL, _USUAL_INBOUND = CheckOptions(), InboundOptions()
_STYLES = {State.HOLDS: "green", State.REMARK: "yellow", State.BROKEN: "bold red", State.NOT_TRIED: "dim"}


@app.command()
def check(
    study_file: StudyFile,
    *,
    trunk: CardFile = None,
    target: Target = None,
    ca_file: CaFile = None,
    server_name: ServerName = None,
    certificate: Annotated[Path | None, typer.Option(help="Client certificate chain; needs --key.")] = None,
    key: Annotated[Path | None, typer.Option(help="Private key of --certificate.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Which trunk of the study; by default the first.")] = None,
    hold: Annotated[float, typer.Option(help="For how long calls are up, in seconds.", min=1, max=600)] = _USUAL.hold_s,
    long: Annotated[bool, typer.Option("--long", help=f"Hold one more call for {LONG_S:g} s.")] = False,
    inbound: Annotated[
        bool, typer.Option("--inbound", help="Wait for a call to us instead, answer it, and tell what was seen.")
    ] = False,
    wait: Annotated[float, typer.Option(help="With --inbound: seconds to wait.", min=1)] = _USUAL_INBOUND.wait_s,
    wrong_exophone: Annotated[
        bool, typer.Option("--wrong-exophone", help="Also call under a number that is nobody's: it must be refused.")
    ] = False,
    workers: Annotated[int, typer.Option(help="Processes of the load to come, for the speed.", min=1, max=64)] = 1,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", metavar="FILE", help="Zip of all calls for the operator's support, masked."),
    ] = None,
    allow: Allow = None,
    ceiling: Ceiling = None,
    production: Production = False,
    as_json: Json = False,
) -> None:
    """Check up a trunk before any load: what holds, what does not, and what to do."""
    study = read_as_asked(study_file)
    names = [one.name for one in study.trunks]
    problems, shows = list[Problem](), None
    if name is not None and name not in names:
        what = f"the study has no trunk `{name}`; {nearest(name, names)}"
        problems.append(Problem(where="--name", what=what))
    try:
        shows = certificate_of("check", certificate, key)
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError("check", problems)
    index = 0 if name is None else names.index(name)
    options = RunOptions(guard=guard_of(allow, ceiling, production), client_certificate=shows, workers=workers)
    if inbound:
        report = run_loop(_wait_for_call(study, options, InboundOptions(index, wait)))
        _tell(report, as_json=as_json)
        return
    card = card_of(study, trunk, target, ca_file or _usual_authorities(trunk), server_name)
    checked = CheckOptions(
        trunk=index,
        hold_s=hold,
        long_s=LONG_S if long else None,
        wrong_exophone=wrong_exophone,
        bundle=bundle,
    )
    with err.status("check") as status:
        work = check_trunk(draw_plan(study), card, options, checked, lambda words: status.update(f"check: {words}"))
        found = run_loop(_until_stopped(work))
    if found is None:
        raise typer.Exit(ExitCode.INTERRUPTED)
    _tell(found, as_json=as_json)


async def _until_stopped(work: Coroutine[Any, Any, CheckReport]) -> CheckReport | None:
    """Return the report, or None after Ctrl-C, which hangs up the call under way."""
    with stop_on_ctrl_c() as stop:
        checking, stopped = asyncio.create_task(work), asyncio.create_task(stop.wait())
        await asyncio.wait((checking, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not checking.done():
            checking.cancel()
            await asyncio.gather(checking, return_exceptions=True)
            return None
        return checking.result()


async def _wait_for_call(study: Study, options: RunOptions, inbound: InboundOptions) -> CheckReport:
    def ready(place: str) -> None:
        err.print(f"Waiting for a call to {place}, for {inbound.wait_s:g} s at most; Ctrl-C ends it.")

    with stop_on_ctrl_c() as stop:
        return await check_inbound(study, options, inbound, ready, stop)


def _tell(report: CheckReport, *, as_json: bool) -> None:
    print_result(report.to_json(), lambda: show(report), as_json=as_json)
    leave_with(code_of(report))


def _usual_authorities(trunk: Path | None) -> Path | None:
    """Return this machine's own list of authorities, for a trunk with a public certificate."""
    usual = ssl.get_default_verify_paths()
    found = [path for path in (usual.cafile, usual.openssl_cafile) if path and Path(path).exists()]
    return None if trunk is not None or not found else Path(found[0])


def code_of(report: CheckReport) -> ExitCode:
    """Return the exit code of a check-up."""
    if not report.is_reached:
        return ExitCode.NO_TRUNK
    return ExitCode.CHECK_FAILED if report.broken else ExitCode.OK


def show(report: CheckReport) -> None:
    """Print the table of all checks, and below it what to do."""
    out.print(f"Check-up of {report.trunk}: {report.target}", markup=False)
    table = Table(box=None, pad_edge=False, show_header=True, header_style="bold")
    table.add_column("check", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("seen", overflow="fold")
    subject = ""
    # What was not tried for one reason stands in one row.
    for (about, state, seen), alike in groupby(report.checks, key=lambda one: (one.subject, one.state, one.seen)):
        if about != subject:
            subject = about
            table.add_row(Text(subject, style="bold"), "", "")
        table.add_row("\n".join(f"  {one.name}" for one in alike), Text(state, style=_STYLES[state]), Text(seen))
    out.print(table, soft_wrap=False)
    _show_remedies([one for one in report.checks if one.troubles])
    counts = report.to_json()["counts"]
    out.print(", ".join(f"{count} {state}" for state, count in counts.items() if count), markup=False)


def _show_remedies(troubled: list[Check]) -> None:
    told: dict[tuple[str, str], list[Check]] = {}
    for one in sorted(troubled, key=lambda one: one.state is not State.BROKEN):
        if (remedy := one.remedy) is not None:
            told.setdefault((remedy.meaning, remedy.action), []).append(one)
    if not told:
        return
    out.print()
    out.print(Text("What to do", style="bold"))
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for (meaning, action), checks in told.items():
        names = "\n".join(dict.fromkeys(one.name for one in checks))
        table.add_row(Text(names, style=_STYLES[checks[0].state]), Text.assemble(meaning, "\n", (action, "bold")))
    out.print(table, soft_wrap=False)
    out.print()
