"""What a load test did not measure, and how it can be: a reader must not take silence for good news."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from trunkproof.loadgen.meters.report import MeterReport
from trunkproof.loadgen.verdict import Verdict
from trunkproof.models.records import Direction
from trunkproof.models.study import Study


def not_measured(study: Study, records: pl.DataFrame, generator: Verdict, meters: MeterReport | None) -> Iterator[str]:
    """Yield one sentence for each thing that this run says nothing about."""
    yield "How these calls should have ended: no prediction was made. `trunkproof validate` makes one."
    if generator is Verdict.VOID:
        yield "Nothing of the trunk: the generator could not keep up. Use a faster machine, or fewer calls."
    seen = {} if meters is None else meters.programs
    if not seen:
        yield (
            "CPU and memory of the trunk: none of its programs can be seen from here. `--metrics NAME=URL` reads a "
            "Prometheus page of it."
        )
    elif any(program.cpu_s is None for program in seen.values()):
        names = ", ".join(name for name, program in seen.items() if program.cpu_s is None)
        yield f"The CPU of {names}: neither the process nor its page showed it."
    answered = records.filter(pl.col("answered_s").is_not_null())
    if not answered.height:
        yield "Audio and voice quality: no call was answered."
    elif not answered["mos"].drop_nulls().len():
        yield "Voice quality: no packet of audio came that could be read."
    if answered.height and not answered["uplink_lost"].drop_nulls().len():
        yield "What arrived of our audio at the other side: the peer sent no RTCP report."
    if records.height and not records["call_sid"].drop_nulls().len():
        yield "The trunk's own names of the calls: it sent no X-Exotel-CallSid."
    wants_inbound = any(trunk.traffic.inbound_share > 0 for trunk in study.trunks)
    if wants_inbound and not (records["direction"] == Direction.INBOUND.value).any():
        yield "Inbound calls: only a trunk of ours places them."
