"""A whole check-up: the edges, the calls, the path, this machine. What depends on a failed step is not tried.

    report = await check_trunk(plan, card, options, CheckOptions(long_s=40))

The order is that of a call: name, TCP, TLS, SIP, a call to each kind of far end, and then what several calls together
say. Calls are placed one after another.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from trunkproof.experiments.target.bundle.choice import CallChoice
from trunkproof.experiments.target.bundle.write import write_bundle
from trunkproof.experiments.target.check.calls import CheckCalls, PlacedCall
from trunkproof.experiments.target.check.diagnosis import Diagnosis
from trunkproof.experiments.target.check.edges import Door, EdgeCheck, EdgeFound
from trunkproof.experiments.target.check.findings import Check, CheckName, CheckReport, Checks
from trunkproof.experiments.target.check.judging import (
    description_of,
    judge_call,
    judge_cancel,
    judge_length,
    judge_mid_call,
)
from trunkproof.experiments.target.check.machine import judge_machine
from trunkproof.experiments.target.check.path import Ends, judge_descriptions, judge_path, judge_port
from trunkproof.experiments.target.check.rows import canaries, given_up, held_for, talking
from trunkproof.experiments.target.check.wiretap import Trail, Wiretap
from trunkproof.loadgen.capture.capture import CapturedTrunk, prepare_folder, write_capture
from trunkproof.loadgen.capture.options import FOLDER, CaptureOptions
from trunkproof.loadgen.capture.recorder import Recorder
from trunkproof.loadgen.capture.secrets import TlsSecrets
from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.guard import Target
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.parties.customer import Customer, check_numbers
from trunkproof.loadgen.sip.fields import uri_host
from trunkproof.models.destinations import masked_number
from trunkproof.models.errors import GuardError, InputError, StackError
from trunkproof.models.plan import Plan, PlanRow
from trunkproof.models.records import FarEnd
from trunkproof.models.traffic import TlsPolicy

CALLS_PER_MINUTE = 20
"""What has to be confirmed for a host outside loopback: a check-up places fewer calls in a minute."""
LONG_S = 40.0
"""Calls that lack an ACK or audio are cut off after 32 s (64 * T1, RFC 3261 section 13.3.1.4)."""
_REFUSED_WAIT_S = 0.2
_MOST_CALLS = 50
"""More than a check-up places: all of them go into its bundle."""
_WORDS = {
    FarEnd.PLAN: "call of the plan",
    FarEnd.ECHO: "call to an echo",
    FarEnd.PLAYS: "call to an announcement",
    FarEnd.ANSWERS: "call to what answers",
    FarEnd.REJECTS: "call to what rejects",
    FarEnd.RINGS: "call to what rings",
}


@dataclass(frozen=True)
class CheckOptions:
    """What a check-up does beyond the usual, and for how long its calls are up."""

    trunk: int = 0
    """Which trunk of the study."""
    hold_s: float = 3.0
    long_s: float | None = None
    """Place one more call that is held for so long."""
    wrong_exophone: bool = False
    """Place calls under a wrong identity."""
    machine: bool = True
    """Look at this machine too."""
    bundle: Path | None = None
    """Write a bundle of all calls for the operator's support, masked."""


Advance = Callable[[str], None]
"""Is told what is tried next."""


async def check_trunk(
    plan: Plan,
    card: TrunkCard,
    options: RunOptions,
    checked: CheckOptions | None = None,
    advance: Advance = lambda words: None,
) -> CheckReport:
    """Check up one trunk of a plan's study, at the target that `card` names.

    Raises:
        InputError: the study has no call to place.
        GuardError: the target may not be called.
        StackError: the customer cannot listen at its address.
    """
    checked = checked or CheckOptions()
    # Calls go to the target alone: the other edges are checked one by one.
    checkup = _CheckUp(_usual_connection(plan), card.model_copy(update={"edges": ()}), options, checked, advance)
    await checkup.run()
    trunk = plan.study.trunks[checked.trunk]
    return CheckReport(plan.study.name, trunk.name, card.place, tuple(checkup.found), is_reached=checkup.is_reached)


def _usual_connection(plan: Plan) -> Plan:
    """Return the plan with one connection for all calls of each trunk."""
    trunks = []
    for trunk in plan.study.trunks:
        tls = trunk.traffic.tls.model_copy(update={"policy": TlsPolicy.PERSISTENT})
        trunks.append(trunk.model_copy(update={"traffic": trunk.traffic.model_copy(update={"tls": tls})}))
    return Plan(plan.study.model_copy(update={"trunks": tuple(trunks)}), plan.table)


@dataclass
class _CheckUp:
    """The state of one check-up."""

    plan: Plan
    card: TrunkCard
    options: RunOptions
    checked: CheckOptions
    advance: Advance
    found: list[Check] = field(default_factory=list)
    is_reached: bool = False

    async def run(self) -> None:
        """Check everything, in order."""
        rows = canaries(self.plan, self.checked.trunk)
        trunk = self.plan.study.trunks[self.checked.trunk]
        guard = self.options.guard
        # Name by name below. Here only whether the user may call it at all: before the first packet.
        target = _approved(self.card, guard.check)
        if target is not None:
            check_numbers(trunk, target)
        tap = Wiretap(asyncio.get_running_loop().time)
        options = replace(self.options, trace=tap)
        # Where the name does not resolve nobody is called, and the address stands for none.
        there = target or Target(self.card.host, str(trunk.customer_address), self.card.port)
        with self._capturing(there) as recorder:
            customer = Customer(self.plan, self.checked.trunk, self.card, there, options, recorder=recorder)
            async with customer:
                customer.begin(asyncio.get_running_loop().time())
                edge = await self._edges(customer, tap)
                if edge.is_open and target is not None:
                    await self._calls(customer, target, tap, rows, edge)
                else:
                    skipped = Checks("calls")
                    skipped.not_tried("no connection to the trunk", CheckName.CALL)
                    self._add(skipped)
        if self.checked.machine:
            self.advance("this machine")
            machine = Checks("this machine")
            await judge_machine(self.plan, machine, workers=self.options.workers)
            self._add(machine)

    @contextlib.contextmanager
    def _capturing(self, target: Target) -> Iterator[Recorder | None]:
        """Capture the calls of the block, and write them into the bundle that was asked for."""
        if self.checked.bundle is None:
            yield None
            return
        with (
            tempfile.TemporaryDirectory(prefix="trunkproof-") as folder,
            contextlib.closing(TlsSecrets(self.options.keylog)) as secrets,
        ):
            captured = Path(folder) / FOLDER
            recorder = Recorder(CaptureOptions(captured, per_disposition=_MOST_CALLS, slowest=_MOST_CALLS), secrets)
            began_s = asyncio.get_running_loop().time()
            yield recorder
            trunk = self.plan.study.trunks[self.checked.trunk]
            place = f"{target.host}:{target.port}"
            known = CapturedTrunk(trunk.name, trunk.account, trunk.domain, place)
            prepare_folder(captured)
            write_capture(recorder.result(began_s, (known,)), captured, 0)
            checks = Checks("for support")
            try:
                written = write_bundle(Path(folder), self.checked.bundle, which=CallChoice())
            except InputError as error:
                # What was found is worth more than its bundle.
                checks.not_tried("; ".join(problem.what for problem in error.problems), CheckName.BUNDLE)
            else:
                checks.holds(CheckName.BUNDLE, f"{written.path}: {len(written.calls)} calls, masked")
            self._add(checks)

    async def _edges(self, customer: Customer, tap: Wiretap) -> EdgeFound:
        """Check the target, then the other edges of the study. Return what was found of the target."""
        check = EdgeCheck(self.plan.study.trunks[self.checked.trunk], self.card, self.options, CALLS_PER_MINUTE)
        main = Door(self.card.host, self.card.port, self.card.server_name)
        self.advance(f"edge {main}")
        found = await check.check(main, customer.agent, tap)
        self._add(found.checks)
        self.is_reached = found.is_reached
        for edge in self.plan.study.pop.edges:
            door = Door(str(edge.address or edge.host), edge.port, edge.host)
            if (edge.host, edge.port) == (main.server_name, main.port) or str(door) == str(main):
                continue
            self.advance(f"edge {door}")
            try:
                other = await check.check(door, customer.agent, tap)
            except GuardError as error:
                refused = Checks(f"edge {door}")
                refused.not_tried(str(error), CheckName.NAME)
                self._add(refused)
                continue
            self.is_reached |= other.is_reached
            self._add(other.checks)
        return found

    async def _calls(
        self, customer: Customer, target: Target, tap: Wiretap, rows: dict[FarEnd, PlanRow], edge: EdgeFound
    ) -> None:
        calls = CheckCalls(customer, self.plan, self.checked.trunk, tap)
        identity, path = Checks("identity"), Checks("path")
        answered = edge.answer is not None and edge.answer.response is not None
        sip_answers = answered and edge.answer is not None and edge.answer.status not in {401, 403, 407}
        diagnosis = Diagnosis(calls, identity, may_lie=self.checked.wrong_exophone, sip_answers=sip_answers)
        placed: list[PlacedCall] = []
        refused: str | None = None
        first = True
        for far_end in sorted(rows, key=list(_WORDS).index):
            checks = self._subject(far_end, rows[far_end])
            row = held_for(rows[far_end], self.checked.hold_s)
            call = None if refused else await self._place(calls, row, checks.subject)
            if call is None:
                checks.not_tried(refused or "the number may not be called so often", CheckName.CALL)
                self._add(checks)
                continue
            if first:
                first = False
                other = await diagnosis.explain(call, row)
                if other is not None:
                    calls.identity = other
                    call = await self._place(calls, row, checks.subject) or call
                elif _is_admitted(call):
                    diagnosis.admitted(call)
                elif (call.record.status is not None and call.record.status in _STOPS) or call.is_silent:
                    refused = "the first call was refused for a reason that concerns all calls"
            placed.append(call)
            await self._judge(call, customer, checks, target)
            self._add(checks)
        if not refused:
            await diagnosis.stranger(held_for(next(iter(rows.values())), 0.0))
        self._add(identity)
        await self._more_calls(calls, rows, placed, refused)
        trails = [call.trail for call in placed if call.trail.seen]
        trails += [edge.options] if edge.options is not None else []
        self._path(customer, target, trails, placed, path)

    def _path(
        self, customer: Customer, target: Target, trails: list[Trail], placed: list[PlacedCall], path: Checks
    ) -> None:
        trunk = self.plan.study.trunks[self.checked.trunk]
        agent = customer.agent.user_agent
        ends = Ends(agent.host, str(trunk.customer_address), target.address)
        judge_path(ends, trails, path)
        talked = next((call for call in placed if call.is_answered and call.trail.descriptions()), None)
        if talked is not None:
            judge_descriptions(talked.trail, talked.report, ends, path)
        judge_port(customer.accepted, f"{uri_host(agent.host)}:{agent.port}", trails, path)
        self._add(path)

    async def _more_calls(
        self, calls: CheckCalls, rows: dict[FarEnd, PlanRow], placed: list[PlacedCall], refused: str | None
    ) -> None:
        """Try what needs calls of its own: hold and refresh, CANCEL, and a long call."""
        row, checks = talking(rows), Checks("in mid-call")
        long_s = self.checked.long_s
        if refused or row is None or not any(call.is_answered for call in placed):
            why = refused or "no call was answered"
            checks.not_tried(why, CheckName.HOLD, CheckName.REFRESH, CheckName.CANCEL, CheckName.STAYS_UP)
            self._add(checks)
            return
        call = await self._place(calls, held_for(row, self.checked.hold_s), "hold and refresh", in_mid_call=True)
        if call is None:
            checks.not_tried("the number may not be called so often", CheckName.HOLD, CheckName.REFRESH)
        else:
            placed.append(call)
            judge_mid_call(call, checks)
        await self._cancelled(calls, rows, placed, checks)
        longest = max((one for one in placed if one.is_answered), key=lambda one: one.row.hold_s)
        if long_s is not None:
            held = await self._place(calls, held_for(row, long_s), f"one call of {long_s:g} s")
            longest = held or longest
            placed += [held] if held is not None else []
        judge_length(longest, checks)
        self._add(checks)

    async def _cancelled(
        self, calls: CheckCalls, rows: dict[FarEnd, PlanRow], placed: list[PlacedCall], checks: Checks
    ) -> None:
        known = next((call for call in placed if call.far_end is FarEnd.RINGS), None)
        row = given_up(self.plan, self.checked.trunk, rows)
        call = known
        if known is None and row is not None:
            call = await self._place(calls, row, "CANCEL")
            placed += [call] if call is not None else []
        if call is None:
            checks.not_tried("the number may not be called so often", CheckName.CANCEL)
        else:
            judge_cancel(call, checks)

    async def _judge(self, call: PlacedCall, customer: Customer, checks: Checks, target: Target) -> None:
        judgement = description_of(call.trail)
        answer = None if judgement is None else judgement.answer
        refused = False
        if answer is not None and not call.report.received:
            with contextlib.suppress(GuardError):
                address = self.options.guard.check_media(answer.address, target)
                source = str(self.plan.study.trunks[self.checked.trunk].customer_address)
                refused = await _is_refused(source, address, answer.port)
        judge_call(
            call,
            checks,
            lambda address: self.options.guard.check_media(address, target),
            udp_refused=refused,
        )

    async def _place(
        self, calls: CheckCalls, row: PlanRow, what: str, *, in_mid_call: bool = False
    ) -> PlacedCall | None:
        self.advance(what)
        return await calls.place(row, in_mid_call=in_mid_call)

    def _subject(self, far_end: FarEnd, row: PlanRow) -> Checks:
        number = "" if row.destination is None else f" {masked_number(self.plan.dialled(row))}"
        return Checks(f"{_WORDS[far_end]}{number}")

    def _add(self, checks: Checks) -> None:
        self.found.extend(checks)


_STOPS = frozenset({401, 403, 407, 406, 415, 488, 606})
"""What is refused so is refused to all calls alike."""


def _is_admitted(call: PlacedCall) -> bool:
    status = call.record.status
    return status is not None and status not in {401, 403, 407, 408}


def _approved(card: TrunkCard, check: Callable[[str, int, float], Target]) -> Target | None:
    """Return the target, or None where its name does not resolve.

    Raises:
        GuardError: it may not be called.
    """
    try:
        return check(card.host, card.port, CALLS_PER_MINUTE)
    except StackError:
        return None


async def _is_refused(source: str, address: str, port: int) -> bool:
    """Tell whether the host at an address says that nobody listens on a UDP port (ICMP port unreachable)."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.setblocking(False)
        try:
            probe.bind((source, 0))
            probe.connect((address, port))
            # A keep-alive, which nobody answers (RFC 6263 section 4.1).
            probe.send(b"")
            await asyncio.sleep(_REFUSED_WAIT_S)
            probe.recv(1)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
