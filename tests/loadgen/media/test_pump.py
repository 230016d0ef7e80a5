"""Both pumps over real UDP sockets of this machine: whole calls, sabotage, stalls, and what is left behind."""

import asyncio
import contextlib
import ctypes
import os
import random
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trunkproof.loadgen.media.compiled.memory import HEARD_TOGETHER
from trunkproof.loadgen.media.compiled.pump import CompiledFlow, CompiledPump, NoRoomError
from trunkproof.loadgen.media.flow import Flow
from trunkproof.loadgen.media.plain_pump import PlainPump
from trunkproof.loadgen.media.pump import VARIABLE, MediaPump, PumpKind, make_pump, pump_warnings, why_not_compiled
from trunkproof.loadgen.media.report import MediaReport
from trunkproof.loadgen.media.sockets import SO_TIMESTAMPNS, bind_pair
from trunkproof.loadgen.media.srtp import Cipher, PlainCipher, SrtpCipher
from trunkproof.loadgen.media.stream import MediaStream
from trunkproof.loadgen.media.terms import MediaTerms
from trunkproof.loadgen.media.voiceprint import Side
from trunkproof.models.errors import InputError

SUITE = "AES_CM_128_HMAC_SHA1_80"
HOME = "127.0.0.1"
Pair = tuple[socket.socket, socket.socket]


def _pair() -> Pair:
    for port in range(61_000, 65_000, 2):
        try:
            return bind_pair(HOME, port)
        except OSError:
            continue
    raise AssertionError("no free port pair")


def _ciphers() -> tuple[SrtpCipher, SrtpCipher]:
    ours, theirs = os.urandom(30), os.urandom(30)
    return SrtpCipher(ours, theirs, SUITE), SrtpCipher(theirs, ours, SUITE)


def _add(
    pump: MediaPump,
    cipher: Cipher,
    sockets: Pair,
    peer: Pair,
    side: Side,
    *,
    row: int = 7,
    event_type: int | None = None,
) -> Flow:
    flow = pump.add(_stream(pump, side, row), *sockets)
    pump.follow(flow, _terms(cipher, peer, sent_event_type=event_type, heard_event_type=event_type))
    return flow


def _stream(pump: MediaPump, side: Side, row: int = 7) -> MediaStream:
    return MediaStream(row=row, side=side, random_source=random.Random(side), now=pump.now())


def _terms(cipher: Cipher, peer: Pair, **changed: Any) -> MediaTerms:
    rtp, rtcp = (one.getsockname()[:2] for one in peer)
    return replace(MediaTerms(cipher, rtp, rtcp, payload_type=8, heard_types=(8, 0)), **changed)


def _call(
    pump: MediaPump,
    near: Cipher,
    far: Cipher,
    *,
    row: int = 7,
    far_row: int | None = None,
    event_type: int | None = None,
) -> tuple[Flow, Flow]:
    one, other = _pair(), _pair()
    return (
        _add(pump, near, one, other, Side.CALLER, row=row, event_type=event_type),
        _add(pump, far, other, one, Side.CALLED, row=row if far_row is None else far_row, event_type=event_type),
    )


async def _sent(flow: Flow, frames: int) -> None:
    while flow.sent < frames:
        await asyncio.sleep(0.01)


Kinds = pytest.mark.parametrize("kind", PumpKind)
Scene = Callable[[MediaPump], Coroutine[None, None, None]]


def _run(scene: Scene, kind: PumpKind) -> None:
    async def main() -> None:
        pump = make_pump(kind)
        try:
            await scene(pump)
        finally:
            pump.close()

    asyncio.run(main())


def _talk(kind: PumpKind, near: Cipher, far: Cipher, far_row: int | None = None) -> tuple[MediaReport, MediaReport]:
    """Ten frames or more of one call; the reports of caller and called."""
    reports: list[MediaReport] = []

    async def scene(pump: MediaPump) -> None:
        flows = _call(pump, near, far, far_row=far_row)
        await _sent(flows[1], 10)
        reports.extend(pump.remove(flow) for flow in flows)

    _run(scene, kind)
    return reports[0], reports[1]


@Kinds
def test_whole_calls_beside_each_other_hear_only_their_own(kind: PumpKind) -> None:
    async def scene(pump: MediaPump) -> None:
        calls = [_call(pump, *_ciphers(), row=row) for row in range(5)]
        await _sent(calls[-1][1], 25)
        for caller, called in calls:
            near, far = pump.remove(caller), pump.remove(called)
            assert near.received == near.authenticated > 0
            assert far.received == far.authenticated == near.sent - far.early
            assert (near.failed, near.foreign, near.echoed, near.unknown, near.stray) == (0, 0, 0, 0, 0)
            assert (far.failed, far.foreign, far.echoed, far.unknown, far.stray) == (0, 0, 0, 0, 0)

    _run(scene, kind)


@Kinds
def test_what_waits_is_heard_though_the_peer_has_gone_and_refuses_our_packets(kind: PumpKind) -> None:
    async def scene(pump: MediaPump) -> None:
        # As many as are heard together: each has heard up to another of the frames that were sent to it.
        calls = [_call(pump, *_ciphers(), row=row) for row in range(HEARD_TOGETHER)]
        await _sent(calls[-1][1], 10)
        for caller, called in calls:
            near = pump.remove(caller)
            await _sent(called, called.sent + 1)
            far = pump.remove(called)
            # The caller may have spoken before the called side was served.
            assert far.authenticated + far.early == near.sent

    _run(scene, kind)


@Kinds
def test_the_goodbye_of_one_side_reports_to_the_other(kind: PumpKind) -> None:
    _, far = _talk(kind, *_ciphers())
    assert (far.rtcp_received, far.rtcp_failed, far.remote_lost) == (1, 0, 0)


@Kinds
def test_wrong_key(kind: PumpKind) -> None:
    near, _ = _talk(kind, _ciphers()[0], _ciphers()[1])
    assert near.failed == near.received > 0
    assert (near.authenticated, near.plain) == (0, 0)


@Kinds
def test_plain_rtp_where_srtp_was_agreed(kind: PumpKind) -> None:
    near, _ = _talk(kind, _ciphers()[0], PlainCipher())
    assert near.plain == near.failed == near.received > 0


@Kinds
def test_another_calls_audio(kind: PumpKind) -> None:
    near, _ = _talk(kind, *_ciphers(), far_row=8)
    assert near.foreign == near.authenticated > 0


@Kinds
def test_calls_without_encryption_run_the_same_way(kind: PumpKind) -> None:
    near, _ = _talk(kind, PlainCipher(), PlainCipher())
    assert near.authenticated == near.received > 0
    assert near.foreign == 0


@Kinds
def test_a_strangers_packets_are_told_and_harm_nothing(kind: PumpKind) -> None:
    async def scene(pump: MediaPump) -> None:
        one, other, (ours, theirs) = _pair(), _pair(), _ciphers()
        near = _add(pump, ours, one, other, Side.CALLER)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for _ in range(3):
                stranger.sendto(b"\x80" * 182, one[0].getsockname())
            await _sent(near, 10)
            far = _add(pump, theirs, other, one, Side.CALLED)
            await _sent(far, 20)
            stranger.sendto(b"\x80" * 182, one[0].getsockname())
            stranger.sendto(b"\x80\xc8" * 20, one[1].getsockname())
        report = pump.remove(near)
        assert (report.stray, report.failed, report.rtcp_stray, report.rtcp_failed) == (4, 0, 1, 0)
        assert report.received == report.authenticated > 0
        pump.remove(far)

    _run(scene, kind)


@pytest.mark.parametrize("plain", [False, True], ids=["srtp", "plain"])
@Kinds
def test_rfc3264_5_1_audio_from_elsewhere_is_heard_and_ours_goes_to_the_agreed_address(
    kind: PumpKind, plain: bool
) -> None:
    async def scene(pump: MediaPump) -> None:
        one, told, other = _pair(), _pair(), _pair()
        ours, theirs = (PlainCipher(), PlainCipher()) if plain else _ciphers()
        heard_at = told[0].getsockname()
        near = _add(pump, ours, one, told, Side.CALLER)
        # The far side sends from a port that no SDP of it has named.
        far = _add(pump, theirs, other, one, Side.CALLED)
        await _sent(near, 20)
        reports = [pump.remove(flow) for flow in (near, far)]
        assert heard_at == told[0].getsockname()
        waiting = 0
        with contextlib.suppress(BlockingIOError):
            while told[0].recv(2048):
                waiting += 1
        for each in told:
            each.close()
        assert reports[0].received == reports[0].authenticated == reports[0].stray > 10
        assert (reports[0].failed, reports[0].lost) == (0, 0)
        assert (waiting, reports[1].received) == (reports[0].sent, 0)

    _run(scene, kind)


@Kinds
def test_rfc3264_8_3_1_who_was_found_elsewhere_is_still_heard_when_the_agreed_address_moves(kind: PumpKind) -> None:
    async def scene(pump: MediaPump) -> None:
        one, told, other, moved = _pair(), _pair(), _pair(), _pair()
        near = _add(pump, PlainCipher(), one, told, Side.CALLER)
        far = _add(pump, PlainCipher(), other, one, Side.CALLED)
        await _sent(near, 20)
        pump.follow(near, _terms(PlainCipher(), moved))
        await _sent(far, far.sent + 20)
        report = pump.remove(near)
        # Within the time of grace the old address is no stranger's.
        assert (report.received - report.stray > 10, report.failed, report.lost) == (True, 0, 0)
        pump.remove(far)
        for each in (*told, *moved):
            each.close()

    _run(scene, kind)


@Kinds
def test_a_peer_that_is_gone_stops_nothing(kind: PumpKind) -> None:
    async def scene(pump: MediaPump) -> None:
        sockets, gone = _pair(), _pair()
        flow = _add(pump, _ciphers()[0], sockets, gone, Side.CALLER)
        for closed in gone:
            closed.close()
        await _sent(flow, 10)
        report = pump.remove(flow)
        assert report.received == 0
        assert report.silence_s > 0.1

    _run(scene, kind)


@Kinds
def test_a_stream_removed_twice_or_after_close_gives_the_same_report(kind: PumpKind) -> None:
    async def scene(pump: MediaPump) -> None:
        near, far = _call(pump, *_ciphers())
        await _sent(near, 3)
        report = pump.remove(near)
        assert pump.remove(near) is report
        pump.close()
        assert pump.remove(far).sent > 0

    _run(scene, kind)


class _SlowCipher(PlainCipher):
    """Takes longer for a frame than a frame lasts, and notes how many go without anything else running."""

    def __init__(self) -> None:
        self.in_a_row = self.longest = 0

    def protect(self, packet: bytes) -> bytes:
        self.in_a_row += 1
        self.longest = max(self.longest, self.in_a_row)
        if self.in_a_row > 20:
            raise AssertionError("the pump never yields")
        time.sleep(0.025)
        return packet


def test_a_pump_with_more_work_than_time_lets_signalling_run() -> None:
    async def scene(pump: MediaPump) -> None:
        cipher, sockets = _SlowCipher(), _pair()
        flow = _add(pump, cipher, sockets, sockets, Side.CALLER)
        while flow.sent < 30 and cipher.longest <= 20:
            cipher.in_a_row = 0
            await asyncio.sleep(0)
        # At most five missed frames are caught up in one go, after the one that is due.
        assert cipher.longest <= 6

    _run(scene, PumpKind.PLAIN)


def test_a_stall_is_confessed_and_its_frames_are_given_up() -> None:
    async def scene(pump: MediaPump) -> None:
        near, far = _call(pump, *_ciphers())
        await _sent(near, 3)
        time.sleep(0.3)
        await _sent(near, 10)
        # Of the 14 frames that a sleep of 0.3 s covers at least, one is sent late and the others are not.
        assert pump.remove(near).given_up >= 13
        assert pump.lateness_p99_ms >= 250
        pump.remove(far)

    _run(scene, PumpKind.PLAIN)


def test_a_stall_of_the_thread_is_confessed_too() -> None:
    library = ctypes.CDLL(None)

    async def scene(pump: MediaPump) -> None:
        near, far = _call(pump, *_ciphers())
        await _sent(near, 3)
        assert isinstance(near, CompiledFlow)
        lock = ctypes.c_void_p(int(near.slot["lock_at"]))
        library.pthread_mutex_lock(lock)
        time.sleep(0.3)
        library.pthread_mutex_unlock(lock)
        await _sent(near, 10)
        assert pump.remove(near).given_up >= 13
        assert pump.lateness_p99_ms >= 250
        pump.remove(far)

    _run(scene, PumpKind.COMPILED)


def test_a_stall_of_the_event_loop_does_not_stop_the_thread() -> None:
    async def scene(pump: MediaPump) -> None:
        near, far = _call(pump, *_ciphers())
        await _sent(near, 3)
        before, begun = near.sent, time.monotonic()
        while time.monotonic() < begun + 0.5:
            pass
        assert near.sent > before
        pump.remove(near)
        pump.remove(far)

    _run(scene, PumpKind.COMPILED)


@Kinds
def test_a_pressed_key_is_heard(kind: PumpKind) -> None:
    async def scene(pump: MediaPump) -> None:
        near, far = _call(pump, PlainCipher(), PlainCipher(), event_type=101)
        near.press("4")
        near.press("2")
        await _sent(near, 25)
        pump.remove(near)
        assert pump.remove(far).digits == "42"

    _run(scene, kind)


def test_records_are_used_again_and_there_is_an_end_of_them() -> None:
    async def main() -> None:
        pump = CompiledPump(most_streams=4)
        try:
            for _ in range(3):
                flows = [flow for _ in range(2) for flow in _call(pump, *_ciphers())]
                await _sent(flows[-1], 5)
                spare = _pair()
                with pytest.raises(NoRoomError, match="room for 4"):
                    pump.add(_stream(pump, Side.CALLER), *spare)
                for bound in spare:
                    bound.close()
                for flow in flows:
                    report = pump.remove(flow)
                    assert report.received == report.authenticated > 0
                assert not pump._turns.any()
                # The pump must have begun a pass before it lets go of them.
                while pump._left[-1][1] >= pump._control[0]["passes"]:
                    await asyncio.sleep(0.001)
        finally:
            pump.close()

    asyncio.run(main())


@Kinds
def test_a_peer_that_comes_late_misses_nothing_from_then_on(kind: PumpKind) -> None:
    async def scene(pump: MediaPump) -> None:
        one, other = _pair(), _pair()
        where = other[0].getsockname()
        flow = _add(pump, _ciphers()[0], one, other, Side.CALLER)
        for each in other:
            each.close()
        # A refusal is told to the next one that is to be sent; that of the seventh is still to be told.
        await _sent(flow, 7)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late:
            late.setblocking(False)
            late.bind(where)
            before = flow.sent
            await _sent(flow, before + 12)
            wanted, came = pump.remove(flow).sent - before, 0
            with contextlib.suppress(BlockingIOError):
                while late.recv(2048):
                    came += 1
        assert came >= wanted

    _run(scene, kind)


def test_where_the_system_tells_no_time_of_arrival_every_frame_is_heard_when_it_comes() -> None:
    async def scene(pump: MediaPump) -> None:
        assert isinstance(pump, CompiledPump)
        one, other, (ours, theirs) = _pair(), _pair(), _ciphers()
        assert pump._control[0]["heard_together"] == HEARD_TOGETHER
        one[0].setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 0)
        near = _add(pump, ours, one, other, Side.CALLER)
        far = _add(pump, theirs, other, one, Side.CALLED)
        await _sent(near, 10)
        assert pump._control[0]["heard_together"] == 1
        report = pump.remove(near)
        assert report.received == report.authenticated > 0
        pump.remove(far)

    _run(scene, PumpKind.COMPILED)


def test_streams_come_and_go_while_others_talk() -> None:
    async def scene(pump: MediaPump) -> None:
        lasting = _call(pump, *_ciphers(), row=1)
        for row in range(2, 60):
            near, far = _call(pump, *_ciphers(), row=row)
            await asyncio.sleep(0.01)
            for flow in (near, far):
                report = pump.remove(flow)
                assert (report.failed, report.foreign, report.echoed, report.unknown) == (0, 0, 0, 0)
        for flow in lasting:
            report = pump.remove(flow)
            assert report.received == report.authenticated > 0
            assert (report.lost, report.foreign) == (0, 0)

    _run(scene, PumpKind.COMPILED)


def test_the_compiled_pump_is_made_unless_another_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def kind() -> type[MediaPump]:
        pump = make_pump()
        pump.close()
        return type(pump)

    assert why_not_compiled() is None
    monkeypatch.delenv(VARIABLE, raising=False)
    assert asyncio.run(kind()) is CompiledPump
    monkeypatch.setenv(VARIABLE, "plain")
    assert asyncio.run(kind()) is PlainPump
    monkeypatch.setenv(VARIABLE, "best")
    with pytest.raises(InputError, match="compiled, plain"):
        asyncio.run(kind())


def test_a_machine_without_the_compiled_pump_has_the_plain_one_and_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert pump_warnings() == ()
    monkeypatch.setitem(sys.modules, "trunkproof.loadgen.media.compiled.c", None)
    (warning,) = pump_warnings()
    assert warning.startswith(
        "audio is sent by the plain pump, which carries only a few hundred calls: Numba cannot be used"
    )
    # Who asked for it needs no warning.
    monkeypatch.setenv(VARIABLE, "plain")
    assert pump_warnings() == ()


def test_bind_pair_is_both_ports_or_none() -> None:
    rtp, rtcp = _pair()
    port = rtp.getsockname()[1]
    assert rtcp.getsockname() == (HOME, port + 1)
    rtp.close()
    held = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="in use"):
        bind_pair(HOME, port)
    assert len(list(Path("/proc/self/fd").iterdir())) == held
    rtcp.close()


@Kinds
def test_nothing_is_left_open(kind: PumpKind) -> None:
    async def scene(pump: MediaPump) -> None:
        held = len(list(Path("/proc/self/fd").iterdir())) - (1 if pump.has_thread else 0)
        removed = [flow for _ in range(3) for flow in _call(pump, *_ciphers())]
        left = _call(pump, *_ciphers())
        await _sent(left[1], 3)
        for flow in removed:
            pump.remove(flow)
        pump.close()
        assert len(list(Path("/proc/self/fd").iterdir())) == held

    _run(scene, kind)


@Kinds
def test_the_round_trip_of_an_echo_is_timed_frame_by_frame(kind: PumpKind) -> None:
    held_s, reports = 0.05, []

    async def scene(pump: MediaPump) -> None:
        near, far = _pair(), _pair()
        flow = _add(pump, PlainCipher(), near, far, Side.CALLER)
        loop = asyncio.get_running_loop()

        def hold() -> None:
            data, source = far[0].recvfrom(2048)
            loop.call_later(held_s, far[0].sendto, data, source)

        loop.add_reader(far[0], hold)
        await _sent(flow, 30)
        loop.remove_reader(far[0])
        reports.append(pump.remove(flow))
        # What is still held goes nowhere.
        await asyncio.sleep(held_s)
        for one in far:
            one.close()

    _run(scene, kind)
    assert reports[0].echoed > 0
    assert reports[0].round_trip_ms is not None
    assert 1000 * held_s <= reports[0].round_trip_ms


@Kinds
def test_without_an_echo_there_is_no_round_trip(kind: PumpKind) -> None:
    assert {report.round_trip_ms for report in _talk(kind, PlainCipher(), PlainCipher())} == {None}
