"""The result of a load test: records, judged thresholds, verdict, reasons; its JSON, and its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import polars as pl
import yaml

from trunkproof.experiments.common.exit_codes import ExitCode, code_of_run
from trunkproof.experiments.common.provenance import Provenance
from trunkproof.experiments.common.result_folder import MEASURED, METERS, REPLAY, STUDY, ResultFolder, check_result
from trunkproof.experiments.common.saved_run import read_run
from trunkproof.experiments.common.saved_study import without_numbers
from trunkproof.experiments.load.judge import JudgedRow, LoadVerdict, judge_load, verdict_of
from trunkproof.experiments.load.reasons import Observation, Reason, observations_of, reasons_of
from trunkproof.experiments.load.replay import replayed_study
from trunkproof.experiments.load.unmeasured import not_measured
from trunkproof.loadgen.bugs import Bug, write_bugs
from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.control import AppliedControl
from trunkproof.loadgen.meters.report import MeterReport, read_report
from trunkproof.loadgen.parties.audio import Heard
from trunkproof.loadgen.run import RunResult
from trunkproof.loadgen.run_end import COMPLETED, RunEnd
from trunkproof.loadgen.verdict import GeneratorVerdict, Verdict
from trunkproof.models.errors import InputError, Problem, why_unreadable
from trunkproof.models.html import html_table
from trunkproof.models.kpis import Kpis, compute_kpis
from trunkproof.models.records import read_records, write_records
from trunkproof.models.study import Study

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

LOAD = "load.json"


@dataclass(frozen=True, eq=False)
class LoadResult:
    """What a load test found."""

    study: Study
    records: pl.DataFrame
    generator: GeneratorVerdict
    provenance: Provenance
    stack: str
    """Who plays the trunk. "foreign": somebody else."""
    heard: Heard = field(default_factory=Heard)
    not_placed: int = 0
    end: RunEnd = COMPLETED
    troubles: tuple[str, ...] = ()
    meters: MeterReport | None = None
    samples: pl.DataFrame | None = None
    bugs: tuple[Bug | str, ...] = ()
    """As words where the result was read from a folder."""
    refused: Mapping[str, int] = field(default_factory=dict)
    controls: tuple[AppliedControl, ...] = ()
    """What the user changed while the run lasted, in the order of time."""
    missing: tuple[str, ...] = ()
    """What is missing of a run that was killed, one sentence each."""

    @classmethod
    def of(cls, study: Study, driven: RunResult, card: TrunkCard, provenance: Provenance) -> Self:
        """Return the result of a run of real calls."""
        return cls(
            study=study,
            records=driven.records,
            generator=driven.generator,
            provenance=provenance,
            stack=card.stack,
            heard=driven.heard,
            not_placed=driven.not_placed,
            end=driven.end,
            troubles=driven.troubles,
            meters=driven.meters,
            samples=driven.samples,
            bugs=driven.bugs,
            refused=driven.refused,
            controls=driven.controls,
        )

    @property
    def valid(self) -> bool:
        """Tell whether the run says anything about the trunk."""
        return self.generator.verdict is not Verdict.VOID

    @cached_property
    def kpis(self) -> Kpis:
        """Return the indicators. Do not show them for a VOID run."""
        return compute_kpis(self.records)

    @cached_property
    def rows(self) -> tuple[JudgedRow, ...]:
        """Return every quality target and threshold, judged. Empty for a VOID run."""
        return judge_load(self.study, self.records, self.kpis) if self.valid else ()

    @property
    def verdict(self) -> LoadVerdict:
        """Return the verdict in one word."""
        return verdict_of(self.rows, self.generator.verdict, self.end, bugs=bool(self.bugs))

    @property
    def exit_code(self) -> ExitCode:
        """Return the exit code of the command."""
        code = ExitCode.BUG if self.bugs else code_of_run(self.generator.verdict, self.end)
        return ExitCode.MISSED if code is ExitCode.OK and self.verdict is LoadVerdict.MISSED else code

    @cached_property
    def reasons(self) -> tuple[Reason, ...]:
        """Return what went wrong, the most frequent first."""
        return reasons_of(self.records)

    @cached_property
    def observations(self) -> tuple[Observation, ...]:
        """Return what else the run showed."""
        return observations_of(self.records)

    @property
    def not_measured(self) -> tuple[str, ...]:
        """Return what the run says nothing about."""
        told = not_measured(self.study, self.records, self.generator.verdict, self.meters)
        return (*(f"{line[:1].upper()}{line[1:]}." for line in self.missing), *told)

    @property
    def sentence(self) -> str:
        """Return the verdict in one sentence."""
        missed = [row for row in self.rows if row.holds is False]
        attempts, verdict = self.records.height, self.verdict
        if verdict is LoadVerdict.VOID:
            return f"VOID: the generator could not keep up ({'; '.join(self.generator.reasons)})."
        if verdict is LoadVerdict.CUT_SHORT:
            why = str(self.end) if self.end.cut_short else "trunkproof itself failed"
            return f"CUT SHORT: {why}, after {attempts:,} attempts."
        if not attempts:
            return "MISSED: no call was placed, so nothing was kept."
        if verdict is LoadVerdict.ABORTED:
            return f"ABORTED: {self.end}, after {attempts:,} attempts."
        judged = sum(row.holds is not None for row in self.rows)
        if verdict is LoadVerdict.KEPT:
            return f"KEPT: all {judged} targets and thresholds hold on {attempts:,} attempts."
        named = "; ".join(f"{row.name} is {row.shown}" for row in missed)
        return f"MISSED: {len(missed)} of {judged} do not hold on {attempts:,} attempts: {named}."

    def to_json(self) -> dict[str, Any]:
        """Return the content of `load.json`. A VOID run has no indicators."""
        return {
            "study": self.study.name,
            "stack": self.stack,
            "verdict": self.verdict.value,
            "sentence": self.sentence,
            "exit_code": int(self.exit_code),
            "attempts": self.records.height,
            "thresholds": [row.to_json() for row in self.rows],
            "reasons": [reason.to_json() for reason in self.reasons],
            "observations": {one.what: one.value for one in self.observations},
            "not_measured": list(self.not_measured),
            "generator": asdict(self.generator),
            "interrupted": self.end.interrupted,
            "ended": self.end.to_json(),
            "troubles": list(self.troubles),
            "not_placed": self.not_placed,
            "bugs": [str(bug) for bug in self.bugs],
            "refused": dict(self.refused),
            "controls": [applied.to_json() for applied in self.controls],
            "srtp": asdict(self.heard),
            "meters": None if self.meters is None else asdict(self.meters),
            "kpis": dict(self.kpis.values) if self.valid else None,
            "dispositions": {kind.value: count for kind, count in self.kpis.dispositions.items()},
            "counted_as_throttled": {
                trunk.name: list(map(str, trunk.throttle.refusal_rules)) for trunk in self.study.trunks
            },
            "provenance": self.provenance.to_json(),
        }

    def plot(self) -> Figure:
        """Return a Plotly figure: attempts per minute over time, by what came of them."""
        from trunkproof.models.plots import endings_over_time, shown  # noqa: PLC0415  # Plotly takes long to load.

        return shown(endings_over_time(self.records), f"{self.study.name}, measured")

    def _repr_html_(self) -> str:
        judged = [(row.word, row.name, row.shown) for row in self.rows]
        wrong = [(f"{one.attempts} attempts", one.what, one.words) for one in self.reasons]
        return html_table(("result", "of", "measured"), [*judged, *wrong], caption=self.sentence)

    def __repr__(self) -> str:
        return f"<LoadResult of {self.study.name!r}: {self.sentence}>"


def begin_load(
    study: Study, card: TrunkCard, provenance: Provenance, folder: ResultFolder, *, show_numbers: bool = False
) -> None:
    """Write what is known before the first call, for a run that may be killed."""
    _write_study(study, folder, show_numbers=show_numbers)
    _write_json({"stack": card.stack, "provenance": provenance.to_json()}, folder)


def write_load(result: LoadResult, folder: ResultFolder, *, show_numbers: bool = False) -> None:
    """Write study, summary, records, meters and bugs. It makes no page. Numbers of the study get stand-ins."""
    _write_study(result.study, folder, show_numbers=show_numbers)
    with folder.writing(MEASURED) as path:
        write_records(result.records, path)
    write_bugs([bug for bug in result.bugs if isinstance(bug, Bug)], folder.path)
    if result.samples is not None:
        with folder.writing(METERS) as path:
            result.samples.write_parquet(path)
    if result.controls:
        replayed = replayed_study(result.study, result.controls)
        written = replayed if show_numbers else without_numbers(replayed)
        folder.write(REPLAY, yaml.safe_dump(written.model_dump(mode="json"), sort_keys=False))
    # Last, because whoever finds a verdict in it takes the others for complete.
    _write_json(result.to_json(), folder)


def _write_study(study: Study, folder: ResultFolder, *, show_numbers: bool) -> None:
    written = study if show_numbers else without_numbers(study)
    folder.write(STUDY, written.model_dump_json(indent=2) + "\n")


def _write_json(values: Mapping[str, Any], folder: ResultFolder) -> None:
    # NaN is no JSON, and other programs would refuse the whole file.
    folder.write(LOAD, json.dumps(values, indent=2, allow_nan=False) + "\n")


def read_load(folder: Path) -> LoadResult:
    """Read the result that `write_load` wrote. Where the run was killed, read it from its journal.

    Raises:
        InputError: the folder has none, or one of another version.
    """
    check_result(folder)
    try:
        study = Study.model_validate_json((folder / STUDY).read_text(encoding="utf-8"))
        saved = json.loads((folder / LOAD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        problem = Problem(where="folder", what=f"holds no load test that can be read ({why_unreadable(error)})")
        raise InputError(str(folder), [problem]) from error
    try:
        if "verdict" not in saved:
            return _from_journal(saved, folder)
        generator = saved["generator"]
        generator |= {"verdict": Verdict(generator["verdict"]), "reasons": tuple(generator["reasons"])}
        return LoadResult(
            study=study,
            records=read_records(folder / MEASURED),
            generator=GeneratorVerdict(**generator),
            provenance=Provenance(**saved["provenance"]),
            stack=saved["stack"],
            heard=Heard(**saved["srtp"]),
            not_placed=saved["not_placed"],
            end=RunEnd.from_json(saved),
            troubles=tuple(saved["troubles"]),
            meters=read_report(saved["meters"]),
            bugs=tuple(saved["bugs"]),
            refused=saved["refused"],
            controls=tuple(map(AppliedControl.from_json, saved.get("controls", ()))),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        what = "is damaged, or was written by another version of trunkproof; run load again"
        raise InputError(str(folder), [Problem(where=LOAD, what=what)]) from error


def _from_journal(saved: Mapping[str, Any], folder: Path) -> LoadResult:
    run = read_run(folder)
    return LoadResult(
        study=run.study,
        records=run.records,
        generator=run.generator,
        provenance=Provenance(**saved["provenance"]),
        stack=saved["stack"],
        heard=run.heard,
        not_placed=run.not_placed,
        end=run.end,
        troubles=run.troubles,
        meters=run.meters,
        samples=run.samples,
        bugs=run.bugs,
        refused=run.refused,
        controls=run.controls,
        missing=run.missing,
    )
