"""The command `identify`: tell a trunk's throttle from outside, or from the records of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from trunkproof.experiments.cli.app import (
    Allow,
    CaFile,
    CardFile,
    Ceiling,
    Json,
    OptionalOut,
    Production,
    ServerName,
    Target,
    folder_at,
    guard_of,
    leave_with,
    out,
    print_result,
    read_as_asked,
    stop_on_ctrl_c,
)
from trunkproof.experiments.cli.calling import card_of
from trunkproof.experiments.cli.root import app
from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.common.result_folder import MEASURED
from trunkproof.experiments.report.identify_page import write_identify_page
from trunkproof.experiments.target.identify.judgement import CLOCK_S, Identification
from trunkproof.experiments.target.identify.live import probe_trunk
from trunkproof.experiments.target.identify.probe import Probe, ProbeBounds
from trunkproof.experiments.target.identify.recorded import identify_records
from trunkproof.experiments.target.identify.words import lines, throttle_block, to_json
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.parties.doors import with_edges_found
from trunkproof.loadgen.system.dns_names import Names
from trunkproof.loadgen.system.files import write_text
from trunkproof.loadgen.system.loop import run_loop
from trunkproof.models.errors import InputError, Problem, nearest
from trunkproof.models.plan import draw_plan
from trunkproof.models.records import read_records, write_records

RESULT, PAGE = "identify.json", "identify.html"
_USUAL = ProbeBounds()


@app.command()
def identify(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="STUDY|DIR", help="A study, to probe its trunk; or the folder of a run, to read its records."
        ),
    ],
    *,
    trunk: CardFile = None,
    target: Target = None,
    ca_file: CaFile = None,
    server_name: ServerName = None,
    name: Annotated[str | None, typer.Option("--name", help="Which trunk of the study; by default the first.")] = None,
    calls: Annotated[int, typer.Option(help="Most calls in all.", min=1)] = _USUAL.calls,
    seconds: Annotated[float, typer.Option(help="Longest time.", min=1)] = _USUAL.seconds,
    per_minute: Annotated[int, typer.Option(help="Most calls in any minute.", min=1)] = _USUAL.per_minute,
    clock_ms: Annotated[float, typer.Option(help="How wrong instants may be.", min=0.1)] = CLOCK_S * 1000,
    allow: Allow = None,
    ceiling: Ceiling = None,
    production: Production = False,
    out_dir: OptionalOut = None,
    as_json: Json = False,
) -> None:
    """Tell a trunk's throttle from outside: by short calls, or from the records of a run."""
    if source.is_dir():
        folder = folder_at(out_dir or source)
        found = identify_records(read_records(source / MEASURED), clock_ms / 1000)
        if not found:
            raise InputError(str(source), [Problem(where=MEASURED, what="has no attempts")])
    else:
        study = read_as_asked(source)
        study = with_edges_found(study) if target == "study" else study
        card = card_of(study, trunk, target, ca_file, server_name)
        resolve = Names(study.pop.dns).resolve
        options = RunOptions(guard=guard_of(allow, ceiling, production, resolve=resolve))
        names = [one.name for one in study.trunks]
        if name is not None and name not in names:
            raise InputError(
                "identify", [Problem(where="--name", what=f"the study has no trunk `{name}`; {nearest(name, names)}")]
            )
        folder = folder_at(out_dir or Path("out/identify"))
        probe = Probe(ProbeBounds(calls=calls, seconds=seconds, per_minute=per_minute), clock_ms / 1000)
        index = 0 if name is None else names.index(name)

        async def run() -> tuple[Identification, pl.DataFrame]:
            with stop_on_ctrl_c() as stop:
                return await probe_trunk(draw_plan(study), card, options, probe, trunk=index, stop=stop)

        result, records = run_loop(run())
        write_records(records, folder / MEASURED)
        found = {names[index]: result}
    values = {trunk_name: to_json(one) for trunk_name, one in found.items()}
    write_text(folder / RESULT, json.dumps(values, indent=2, allow_nan=False))
    for trunk_name, one in found.items():
        write_text(folder / f"throttle_{trunk_name}.yaml", throttle_block(one))
    write_identify_page(found, folder / PAGE)

    def human() -> None:
        for trunk_name, one in found.items():
            out.print(f"Trunk {trunk_name}", markup=False)
            for line in lines(one):
                out.print(f"  {line}", markup=False)
            out.print(f"  For a study: {folder / f'throttle_{trunk_name}.yaml'}", markup=False)
        out.print(f"Page: {folder / PAGE}", markup=False)

    print_result(values, human, as_json=as_json)
    leave_with(ExitCode.OK if all(one.is_sure for one in found.values()) else ExitCode.DISAGREE)
