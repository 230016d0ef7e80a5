"""Place a plan's calls on a real trunk: prepare, begin, finish.

    async with Run(plan, card, options) as run:
        anchors = await run.begin()
        ...                             # Predict here, before the first call is placed.
        driven = await run.finish()

A run plays the customers: their outbound calls, and the PBX that answers their inbound calls. It measures its own
health meanwhile. It ends every call, whether the plan ends, the user presses Ctrl-C, or the trunk dies. An error of
our own does not end it without a result: all records are kept, and the error is in `RunResult.bugs`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Self

import polars as pl

from trunkproof.loadgen.bugs import Bug, Bugs, collecting_bugs, describe, merged, note_bug, noting_bugs
from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.control import AppliedControl, Control, ControlKind, RunControls
from trunkproof.loadgen.guard import Target
from trunkproof.loadgen.journal.keeper import RUN, JournalKeeper, keeping_journal
from trunkproof.loadgen.meters.meter import Meter
from trunkproof.loadgen.meters.report import MeterReport
from trunkproof.loadgen.meters.stalls import find_stalls
from trunkproof.loadgen.observer import Observers, RunProgress
from trunkproof.loadgen.options import DEFAULTS, RunOptions
from trunkproof.loadgen.parties.audio import Heard, note_keys
from trunkproof.loadgen.parties.customer import check_family, check_inbound, check_numbers, connector_of
from trunkproof.loadgen.parties.doors import Doors
from trunkproof.loadgen.parties.first_hop import FirstHop, first_hop
from trunkproof.loadgen.run_end import COMPLETED, EndKind, RunEnd, when
from trunkproof.loadgen.sip.fields import uri_host
from trunkproof.loadgen.stack_events import StackEventKind
from trunkproof.loadgen.stacks.control import InboundAttempt, TrunkSilentError
from trunkproof.loadgen.stacks.link import FinalReport, TrunkLink, open_link
from trunkproof.loadgen.stacks.registry import edge_of
from trunkproof.loadgen.system.cores import keeping_off
from trunkproof.loadgen.system.linux import require_linux
from trunkproof.loadgen.tls.endpoints import ConnectError, LocalNetworkError
from trunkproof.loadgen.verdict import GeneratorVerdict, judge, void, worse
from trunkproof.loadgen.workers.choice import make_placer
from trunkproof.loadgen.workers.placer import RECORD_ORDER, CallPlacer
from trunkproof.models.edges import Edge
from trunkproof.models.errors import StackError
from trunkproof.models.plan import Plan
from trunkproof.models.records import Record, record_from_json, to_frame
from trunkproof.models.study import Trunk

logger = logging.getLogger(__name__)

Anchors = dict[str, float]
"""Trunk name -> an instant, in seconds after plan zero, at which a window of its throttle begins."""
_PROGRESS_EVERY_S = 0.25
_PLANNED_S = 2.0
"""A stall that begins so soon after an incident of the study is that incident."""


@dataclass(frozen=True, eq=False)
class RunResult:
    """The results of a run of real calls."""

    records: pl.DataFrame
    """One row per attempt begun, as in `models.records`."""
    generator: GeneratorVerdict
    anchors: Anchors
    """Empty where the trunk does not tell them."""
    heard: Heard
    """The packets that all customers together received."""
    not_placed: int = 0
    """Calls and redials that were left out, because the dialled number was at its own limit."""
    end: RunEnd = COMPLETED
    """How the run ended."""
    troubles: tuple[str, ...] = ()
    """One sentence for each program of the trunk that died or did not answer: when and how, in the order of time."""
    meters: MeterReport | None = None
    """What the trunk's programs spent, from plan zero to the end."""
    samples: pl.DataFrame | None = None
    """All readings of the meters."""
    bugs: tuple[Bug, ...] = ()
    """Errors of trunkproof itself that the run, its workers and the trunk's process met."""
    controls: tuple[AppliedControl, ...] = ()
    """What the user changed while the run lasted, in the order of time."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """What the trunk's limits refused to its peers -> how often. Empty for a trunk that is not ours."""
    keys: Mapping[int, str] = field(default_factory=dict)
    """Plan row -> keys that our answering side received. The records have them too."""

    def to_json(self) -> dict[str, Any]:
        """Return everything but tables and meters, ready for `json.dumps`. The journal ends with it."""
        return {
            "ended": self.end.to_json(),
            "generator": asdict(self.generator),
            "anchors": self.anchors,
            "heard": asdict(self.heard),
            "not_placed": self.not_placed,
            "troubles": list(self.troubles),
            "bugs": [asdict(bug) for bug in self.bugs],
            "controls": [applied.to_json() for applied in self.controls],
            "refused": dict(self.refused),
            "keys": dict(self.keys),
        }

    def __repr__(self) -> str:
        cut = f", {self.end}" if self.end.cut_short else ""
        return f"<RunResult: {self.records.height} attempts, generator {self.generator.verdict}{cut}>"


async def drive(
    plan: Plan, card: TrunkCard, options: RunOptions = DEFAULTS, *, stop: asyncio.Event | None = None
) -> RunResult:
    """Place the plan's calls on the trunk that `card` names: a whole `Run` in one call, without a prediction between.

    Once `stop` is set, the run ends every call and returns the records so far.

    Raises:
        InputError: so many workers cannot place this study's calls, or cannot write a trace.
        GuardError: the target may not be called.
        StackError: the trunk cannot be reached, or a worker does not start.
    """
    async with Run(plan, card, options) as run:
        await run.begin()
        return await run.finish(stop)


async def reach(plan: Plan, card: TrunkCard, options: RunOptions = DEFAULTS) -> None:
    """Open one connection as each customer will, and close it again: checks address, versions and certificates.

    Raises:
        GuardError: the target may not be called.
        StackError: no connection can be made. The message says why.
    """
    rate = 60 * plan.calls / plan.study.duration_s
    target = options.guard.check(card.host, card.port, rate)
    for trunk in plan.study.trunks:
        hop = _checked_hop(trunk, target, card, options, rate)
        check_family(trunk, hop.target)
        near = hop.card(card)
        doors = Doors(near, hop.target, options.guard, rate, plan.study.pop.dns)
        failures = [
            failure
            for door, place in zip(near.doors, doors.targets, strict=True)
            if (failure := await _why_unreachable(trunk, card, door, place, options)) is not None
        ]
        # One edge that is away is what the others are there for.
        if len(failures) == len(near.doors):
            raise StackError("; ".join(failures))
        for failure in failures:
            logger.warning("%s", failure)


async def _why_unreachable(trunk: Trunk, card: TrunkCard, door: Edge, place: Target, options: RunOptions) -> str | None:
    """Return why no connection can be made to an edge, or None where one was made, and closed again."""
    try:
        connection = await connector_of(trunk, card, door.host, options).connect(place.address, place.port)
    except (ConnectError, LocalNetworkError) as error:
        where = f"{uri_host(place.address)}:{place.port}"
        name = f" as {door.host}" if trunk.transport == "tls" else ""
        return f"no {trunk.transport.upper()} connection from {trunk.customer_address} to {where}{name}: {error}"
    connection.close()
    await connection.wait_closed()
    return None


def _checked_hop(trunk: Trunk, target: Target, card: TrunkCard, options: RunOptions, rate: float) -> FirstHop:
    """Return where a customer connects, once it is sure that it may call there, and the trunk behind it."""
    hop = first_hop(trunk, target, card.server_name, options.guard, rate)
    for there in {target, hop.target}:
        check_numbers(trunk, there)
    return hop


class Run:
    """One run of a plan against the trunk that `card` names.

    Inside its `async with` block everything is ready to call. After the block all connections and processes are closed,
    even if the run was never begun or never finished.
    """

    def __init__(self, plan: Plan, card: TrunkCard, options: RunOptions = DEFAULTS) -> None:
        self._plan, self._card, self._options = plan, card, options
        self._observers = Observers(options.observers)
        self._keeper: JournalKeeper | None = None
        self._inbound: dict[int, Record] = {}
        """The calls from the PSTN, by their plan row, as far as the trunk has told them."""
        self._inbound_over: set[int] = set()
        self._link: TrunkLink
        self._placer: CallPlacer
        self._meter: Meter
        self._stack = contextlib.AsyncExitStack()
        self._clock = asyncio.get_running_loop().time
        self._zero: float | None = None
        self._anchors: Anchors = {}
        self._end = COMPLETED
        self._stopping = asyncio.Event()
        self._controls = RunControls(plan, self._approve_rate)
        self._controlled: list[AppliedControl] = []
        self._troubles: list[str] = []
        self._bugs = Bugs()

    async def __aenter__(self) -> Self:
        """Connect to the trunk's control channel, and start the call placer and the meter.

        Raises:
            InputError: so many workers cannot place this study's calls, or cannot write a trace.
            GuardError: the target may not be called.
            StackError: the trunk cannot be reached, or a worker does not start.
        """
        require_linux()
        plan, card, options = self._plan, self._card, self._options
        rate = 60 * plan.calls / plan.study.duration_s
        target = options.guard.check(card.host, card.port, rate)
        check_inbound(plan.study, card)
        for trunk in plan.study.trunks:
            _checked_hop(trunk, target, card, options, rate)
        async with contextlib.AsyncExitStack() as stack:
            self._bugs = stack.enter_context(collecting_bugs())
            if options.journal is not None:
                journal = keeping_journal(options.journal / RUN, "the run", self._journal_failed())
                self._keeper = stack.enter_context(journal)
                self._observers = Observers((self._keeper, *options.observers))
            # First, because the worker processes inherit the cores that this process may use.
            stack.enter_context(keeping_off(card.cores))
            # Entered in this order and left in the reverse one: the calls end while the trunk can still be told of
            # it.
            self._link = await stack.enter_async_context(open_link(card))
            self._placer = await stack.enter_async_context(make_placer(plan, card, target, options, self._keeper))
            self._meter = await stack.enter_async_context(
                Meter(card, guard=options.guard, on_reading=self._observers.metered)
            )
            # Only now: if one of the steps above fails, those before it are undone here.
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections and processes."""
        await self._stack.__aexit__(kind, error, trace)

    async def begin(self) -> Anchors:
        """Set plan zero to `head_start_s` from now, and tell it to the trunk, the call placer and the meter.

        Returns:
            The trunk's anchors, for a prediction. Predict before plan zero: the calls do not wait for it.

        Raises:
            StackError: the trunk has ended, or does not answer.
        """
        zero = self._clock() + self._options.head_start_s
        self._anchors = await self._link.begin(zero)
        # No await from here to `_placer.begin`. Once `_zero` is set, `_cut_short` stops the placer, which must have
        # begun by then.
        self._zero = zero
        self._observers.run_began(zero, self._anchors)
        self._placer.begin(zero)
        self._meter.begin(zero)
        # The run may have been stopped while the trunk's answer was awaited.
        if self._end.cut_short:
            self._placer.stop()
        await self._stack.enter_async_context(_alongside([self._follow_workers(), self._follow_stack()]))
        logger.info("plan zero is %.1f s away; %d calls are planned", self._options.head_start_s, self._plan.calls)
        return self._anchors

    def stop(self) -> None:
        """End every call under way and place no more. `finish` then returns the records so far."""
        self._cut_short(RunEnd(EndKind.INTERRUPTED, self._now_s()))

    def abort(self, missed: str) -> None:
        """End every call under way because a threshold was missed, which `missed` names. As `stop` otherwise."""
        self._cut_short(RunEnd(EndKind.THRESHOLD, self._now_s(), detail=missed))

    def control(self, control: Control) -> AppliedControl:
        """Change the rate of the calls, pause, resume, drain or stop. It holds a moment later (`control.LEAD_S`).

        Raises:
            ControlError: it cannot be done.
            GuardError: the user has not confirmed so many calls per minute for this target.
            RuntimeError: the run has not begun.
        """
        if self._zero is None:
            raise RuntimeError("the run has not begun")
        applied = self._controls.decide(control, self._now_s())
        if applied.change is not None:
            self._placer.change_tempo(applied.change)
        self._controlled.append(applied)
        self._observers.controlled(applied)
        logger.info("%s from %.2f s on: %.4g calls per minute", applied.kind, applied.at_s, applied.per_minute)
        if control.kind is ControlKind.STOP:
            self.stop()
        return applied

    def _approve_rate(self, per_minute: float) -> None:
        self._options.guard.check(self._card.host, self._card.port, per_minute)

    async def finish(self, stop: asyncio.Event | None = None) -> RunResult:
        """Place all calls, wait for the last one to end, and return the results.

        Args:
            stop: once it is set, the run ends as with `Run.stop`.

        Raises:
            RuntimeError: the run has not begun.
        """
        if self._zero is None:
            raise RuntimeError("the run has not begun")
        beside: list[Coroutine[Any, Any, None]] = [self._tell_progress()]
        if stop is not None:
            beside.append(self._stop_on(stop))
        async with _alongside(beside):
            await self._place()
            await self._wait_until(max(self._options.at_least_s, self._answers_until_s))
            # This ends with the last inbound call. Only then has the trunk spent all of its CPU, and are the placer's
            # records complete.
            report = await self._final_report()
            with noting_bugs("the last reading of the meters"):
                await self._meter.read()
            placed = await self._placer.finish()
        # A worker may die so late that `_follow_workers` is cancelled before it sees the loss.
        if placed.lost and not self._end.cut_short:
            self._end = placed.lost[0].end
        keys = {**placed.keys, **report.keys}
        records = note_keys(pl.concat([placed.records, self._inbound_records(report)]).sort(RECORD_ORDER), keys)
        self._troubles += self._stalls(records)
        logger.info("the run ended: %s", self._end)
        result = RunResult(
            records=records,
            generator=void(
                worse(judge(placed.measured), "the carrier", report.carrier),
                # A bug of the trunk's process is no fault of the generator.
                map(str, (*placed.lost, *self._bugs.found, *placed.bugs)),
            ),
            anchors=self._anchors,
            heard=placed.heard,
            not_placed=placed.not_placed,
            end=self._end,
            troubles=tuple(self._troubles),
            meters=self._meter.report(),
            samples=self._meter.samples,
            bugs=merged([self._bugs.found, placed.bugs, report.bugs]),
            controls=tuple(self._controlled),
            refused=report.refused,
            keys=keys,
        )
        if self._keeper is not None:
            self._keeper.finished(result.to_json())
        return result

    def _stalls(self, records: pl.DataFrame) -> list[str]:
        """Say when the program that takes the calls stood still, where it could be metered.

        An edge that the study takes away does so as planned.
        """
        programs = list(self._card.processes)
        if not programs:
            return []
        edge = programs[0] if len(programs) == 1 else edge_of(self._card.stack)
        planned = [incident for incident in self._plan.study.pop.incidents if incident.kind != "carrier_brown_out"]
        stalls = find_stalls(self._meter.samples, records, edge or programs[0])
        return [
            str(stall)
            for stall in stalls
            # Readings are a second apart, and the program begins anew after the incident.
            if not any(stall.from_s - _PLANNED_S <= each.at_s <= stall.to_s for each in planned)
        ]

    def _inbound_records(self, report: FinalReport) -> pl.DataFrame:
        """Return the calls from the PSTN: all of them, or of a trunk that died those that it had told."""
        if report.inbound is None:
            for number, record in self._inbound.items():
                if number not in self._inbound_over:
                    # The trunk is gone, and its callers with it.
                    record.ended_s = self._end.at_s
            return to_frame(self._inbound.values())
        # Its news come on another channel than its report, and may be a moment later.
        late = ~pl.col("row").is_in(list(self._inbound_over))
        for row in report.inbound.filter(late).iter_rows(named=True):
            self._observers.attempt_ended(record_from_json(row))
        return report.inbound

    def _journal_failed(self) -> Callable[[OSError], None]:
        """Return what cuts the run short where its journal cannot be written. It may be called from any thread."""
        loop = asyncio.get_running_loop()

        def failed(error: OSError) -> None:
            end = RunEnd(EndKind.NO_ROOM, self._now_s(), detail=error.strerror or str(error))
            with contextlib.suppress(RuntimeError):  # The loop has ended, and the run with it.
                loop.call_soon_threadsafe(self._cut_short, end)

        return failed

    @property
    def _answers_until_s(self) -> float:
        """Return until when others may call the customers' inbound numbers, in seconds after plan zero."""
        study = self._plan.study
        return study.duration_s if any(trunk.traffic.inbound for trunk in study.trunks) else 0.0

    async def _wait_until(self, at_s: float) -> None:
        """Wait until an instant after plan zero, or until the run is cut short."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, at_s - self._now_s())):
                await self._stopping.wait()

    async def _place(self) -> None:
        try:
            await self._placer.place()
        except Exception as error:
            # The records of what was placed so far are worth more than a quick end.
            note_bug("the placing of the calls", error)
            self._cut_short(RunEnd(EndKind.BUG, self._now_s(), detail=describe(error)))

    def _now_s(self) -> float:
        """Return the seconds after plan zero. Before `begin` has set it, assume that it is a whole head start away."""
        return -self._options.head_start_s if self._zero is None else self._clock() - self._zero

    async def _final_report(self) -> FinalReport:
        try:
            return await self._link.finish(self._stopping)
        except TrunkSilentError:
            self._cut_short(RunEnd(EndKind.TRUNK_SILENT, self._now_s()))
        except StackError:
            self._cut_short(RunEnd(EndKind.TRUNK_DIED, self._now_s()))
        except Exception as error:
            note_bug("the trunk's final report", error)
            self._cut_short(RunEnd(EndKind.BUG, self._now_s(), detail=describe(error)))
        return FinalReport()

    async def _follow_stack(self) -> None:
        async for event in self._link.events():
            if isinstance(event, InboundAttempt):
                self._note_inbound(event)
                continue
            at_s = event.at - (self._zero or 0.0)
            self._observers.stack_event(event, at_s)
            # Nothing comes after it. What the dead trunk's programs say is no separate trouble.
            if event.is_the_end:
                self._cut_short(RunEnd(EndKind.TRUNK_DIED, at_s))
                return
            if event.kind is StackEventKind.STARTED:
                if event.pid is not None:
                    self._meter.follow(event.program, event.pid)
                continue
            self._troubles.append(f"{event} {when(at_s)}")
            logger.warning("trouble in the trunk: %s", self._troubles[-1])

    def _note_inbound(self, attempt: InboundAttempt) -> None:
        record = record_from_json(attempt.record)
        self._inbound[record.row] = record
        if attempt.over:
            self._inbound_over.add(record.row)
            self._observers.attempt_ended(record)
        else:
            self._observers.attempt_began(record)

    async def _follow_workers(self) -> None:
        self._cut_short((await self._placer.lost()).end)

    async def _stop_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.stop()

    def _cut_short(self, end: RunEnd) -> None:
        # The first reason counts: a run that is being stopped loses its trunk and its workers too.
        if not self._end.cut_short:
            self._end = end
            if end.kind is not EndKind.INTERRUPTED:
                logger.warning("the run is cut short: %s", end)
        self._stopping.set()
        if self._zero is not None:
            self._placer.stop()

    async def _tell_progress(self) -> None:
        rows: Sequence[Any] = tuple(self._plan.rows.values())
        # Redials have no planned instant. They count as 0 here, and the progress stops at 1 while they last.
        total = max(
            [self._answers_until_s or 1.0]
            + [(row.place_s or 0.0) + row.setup_s + row.ring_s + row.hold_s for row in rows]
        )
        while True:
            await asyncio.sleep(_PROGRESS_EVERY_S)
            begun, ended = self._placer.counts
            now_s = self._now_s()
            plan_s, speed = self._controls.tempo.plan_s(now_s), self._controls.tempo.speed
            left_s = max(0.0, total - plan_s) / speed if speed > 0 else None
            asked = self._controls.asked_per_minute(now_s)
            self._observers.progressed(RunProgress(now_s, min(1.0, plan_s / total), begun, ended, asked, left_s))


@contextlib.asynccontextmanager
async def _alongside(coroutines: Sequence[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run coroutines beside a block, and cancel those that have not ended when it does."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        # Wait for them: a cancelled task still runs its `finally` blocks.
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            # Without this an error would vanish, for nobody asks these tasks for a result.
            if isinstance(outcome, Exception):
                note_bug("a task beside the run", outcome)
