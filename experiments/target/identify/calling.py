"""Identify a throttle in one call: from records, from the folder of a run, or by short calls to a running trunk."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from trunkproof.experiments.common.result_folder import MEASURED
from trunkproof.experiments.target.identify.judgement import CLOCK_S, Identification
from trunkproof.experiments.target.identify.live import probe_trunk
from trunkproof.experiments.target.identify.probe import Probe, ProbeBounds
from trunkproof.experiments.target.identify.recorded import identify_records
from trunkproof.loadgen.card import TrunkCard, read_card
from trunkproof.loadgen.options import DEFAULTS, RunOptions
from trunkproof.loadgen.system.loop import run_loop
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.plan import draw_plan
from trunkproof.models.records import read_records
from trunkproof.models.study import Study


def identify(
    source: Study | pl.DataFrame | Path | str,
    trunk: TrunkCard | Path | str | None = None,
    *,
    name: str | None = None,
    bounds: ProbeBounds | None = None,
    clock_s: float = CLOCK_S,
    options: RunOptions = DEFAULTS,
    stop: asyncio.Event | None = None,
) -> Identification:
    """Tell the throttle of one trunk from outside.

    Args:
        source: a study, to probe its trunk by short calls; or records, or the folder of a run, to read theirs.
        trunk: the card of the running trunk, or the card's file. Only for a study.
        name: which trunk of the study or of the records; by default the only one, and of a study the first.
        bounds: the most calls, seconds, and calls per minute of a probe.
        clock_s: how wrong instants may be.
        options: of the calls.
        stop: ends the probe early.

    Raises:
        InputError: there is no such trunk, or several and no name, or no attempts; or the study lacks a card.
        GuardError: the trunk may not be called.
        StackError: the trunk cannot be reached, or goes away.
    """
    if isinstance(source, Study):
        return run_loop(
            identify_async(source, trunk, name=name, bounds=bounds, clock_s=clock_s, options=options, stop=stop)
        )
    records = source if isinstance(source, pl.DataFrame) else read_records(Path(source) / MEASURED)
    found = identify_records(records, clock_s)
    if name is None and len(found) > 1:
        raise InputError("identify", [Problem(where="name", what=f"is needed: one of {', '.join(found)}")])
    _check_name(name, list(found))
    if not found:
        raise InputError("identify", [Problem(where="records", what="have no attempts")])
    return next(iter(found.values())) if name is None else found[name]


async def identify_async(
    study: Study,
    trunk: TrunkCard | Path | str | None,
    *,
    name: str | None = None,
    bounds: ProbeBounds | None = None,
    clock_s: float = CLOCK_S,
    options: RunOptions = DEFAULTS,
    stop: asyncio.Event | None = None,
) -> Identification:
    """Do the same as `identify` with a study, for callers that have an event loop."""
    if trunk is None:
        what = "is needed: the card of a running trunk, as `trunkproof serve` writes it"
        raise InputError("identify", [Problem(where="trunk", what=what)])
    card = trunk if isinstance(trunk, TrunkCard) else read_card(Path(trunk))
    names = [one.name for one in study.trunks]
    _check_name(name, names)
    index = 0 if name is None else names.index(name)
    probe = Probe(bounds or ProbeBounds(), clock_s)
    found, _ = await probe_trunk(draw_plan(study), card, options, probe, trunk=index, stop=stop)
    return found


def _check_name(name: str | None, names: Sequence[str]) -> None:
    if name is not None and name not in names:
        raise InputError("identify", [Problem(where="name", what=f"{name} is none of {', '.join(names)}")])
