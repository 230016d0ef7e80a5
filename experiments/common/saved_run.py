"""Read a run of real calls from its result folder, whether it ended well or was killed.

What the run wrote at its end counts. Where that is missing, the journal tells what happened until then, and `missing`
says what nobody knows any more.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from trunkproof.experiments.common.result_folder import JOURNAL, MEASURED, METERS, STUDY
from trunkproof.loadgen.bugs import Bug
from trunkproof.loadgen.control import AppliedControl
from trunkproof.loadgen.journal.keeper import RUN, WORKERS
from trunkproof.loadgen.journal.reading import Journalled, read_journal
from trunkproof.loadgen.meters.report import MeterReport, make_report
from trunkproof.loadgen.parties.audio import Heard, note_keys
from trunkproof.loadgen.run_end import EndKind, RunEnd
from trunkproof.loadgen.verdict import GeneratorVerdict, Measurements, Verdict, judge
from trunkproof.loadgen.workers.merge import merge_measurements
from trunkproof.loadgen.workers.placer import RECORD_ORDER
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.records import read_records, to_frame
from trunkproof.models.study import Study


@dataclass(frozen=True, eq=False)
class SavedRun:
    """A run of real calls, as its folder tells it."""

    study: Study
    records: pl.DataFrame
    """One row per attempt that is known to have begun. Those in `under_way` are `still_up`."""
    under_way: tuple[int, ...]
    """The plan rows of the attempts that were under way when their process was killed."""
    samples: pl.DataFrame | None
    """All readings of the meters. None where nothing was metered."""
    generator: GeneratorVerdict
    """Of a killed run: as far as its health was noted."""
    end: RunEnd
    missing: tuple[str, ...]
    """What is missing of a run that was killed, one sentence each. Empty for a whole run."""
    anchors: Mapping[str, float]
    heard: Heard
    not_placed: int
    troubles: tuple[str, ...]
    refused: Mapping[str, int]
    bugs: tuple[Bug, ...]
    controls: tuple[AppliedControl, ...] = ()
    """What the user changed while the run lasted."""

    @property
    def meters(self) -> MeterReport | None:
        """Return what the trunk's programs spent. Numbers of their own pages are in `samples` only."""
        if self.samples is None or self.samples.is_empty():
            return None
        return make_report(self.samples, {}, 0.0, float(self.samples.select(pl.col("at_s").max()).item()))


def read_run(folder: Path) -> SavedRun:
    """Read the run that a folder holds.

    Raises:
        InputError: it holds none, or one of another version.
    """
    try:
        study = Study.model_validate_json((folder / STUDY).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(str(folder), [Problem(where=STUDY, what=f"cannot be read ({error})")]) from error
    if not (folder / JOURNAL / RUN).exists():
        raise InputError(str(folder), [Problem(where=JOURNAL, what="is missing: no run has begun here")])
    run = read_journal(folder / JOURNAL / RUN)
    workers = [read_journal(path) for path in sorted((folder / JOURNAL).glob(WORKERS.format("*")))]
    return _read(folder, study, run, [run, *workers])


def _read(folder: Path, study: Study, run: Journalled, journals: list[Journalled]) -> SavedRun:
    told = run.result or {}
    is_whole = bool(told) and (folder / MEASURED).exists()
    if is_whole:
        records, under_way = read_records(folder / MEASURED), set[int]()
    else:
        by_row = {row: record for journal in journals for row, record in journal.records.items()}
        keys = {int(row): keys for row, keys in told.get("keys", {}).items()}
        records = note_keys(to_frame(by_row.values()).sort(RECORD_ORDER), keys)
        under_way = {row for journal in journals for row in journal.under_way}
    if (folder / METERS).exists():
        samples: pl.DataFrame | None = pl.read_parquet(folder / METERS)
    else:
        samples = run.table if run.samples else None
    heard = [journal.heard for journal in journals]
    return SavedRun(
        study=study,
        records=records,
        under_way=tuple(sorted(under_way)),
        samples=samples,
        generator=_generator(told["generator"]) if told else _judged(journals),
        end=RunEnd.from_json(told)
        if told
        else RunEnd(EndKind.KILLED, _last_s(journals) if run.zero is not None else None),
        missing=() if is_whole else _missing(journals, len(under_way), killed=not told),
        anchors=run.anchors,
        heard=Heard(**told["heard"])
        if told
        else Heard(sum(one.received for one in heard), sum(one.authenticated for one in heard)),
        not_placed=told.get("not_placed", 0),
        troubles=tuple(told.get("troubles", run.troubles)),
        refused=told.get("refused", {}),
        bugs=tuple(Bug(**bug) for bug in told.get("bugs", ())),
        controls=tuple(run.controls),
    )


def _generator(saved: Mapping[str, Any]) -> GeneratorVerdict:
    # JSON knows neither enums nor tuples.
    return GeneratorVerdict(**{**saved, "verdict": Verdict(saved["verdict"]), "reasons": tuple(saved["reasons"])})


def _judged(journals: list[Journalled]) -> GeneratorVerdict:
    """Judge a killed generator by the health that it had noted."""
    parts = [journal.measured for journal in journals if journal.health]
    return judge(merge_measurements(parts, cores=os.cpu_count() or 1) if parts else Measurements())


def _last_s(journals: list[Journalled]) -> float | None:
    return max((journal.last_s for journal in journals if journal.last_s is not None), default=None)


def _missing(journals: list[Journalled], under_way: int, *, killed: bool) -> tuple[str, ...]:
    said = []
    if killed:
        said.append(
            "the run broke off before it could write its results: this is what the journal tells, which may lack the "
            "last second, what the trunk's own limits refused, keys that our answering side received, and bugs"
        )
    if under_way:
        said.append(f"{under_way} attempts were under way, and how they ended is not known")
    for journal in journals:
        if journal.damaged:
            said.append(f"the journal of {journal.who} has {journal.damaged} damaged batches, which are left out")
        if journal.torn_bytes:
            said.append(f"the journal of {journal.who} ends in the middle of a batch, which is left out")
    return tuple(said)
