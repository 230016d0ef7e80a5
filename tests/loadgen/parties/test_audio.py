"""The audio of one side over real sockets of this machine, in both pumps, and when it is held against a call."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Callable, Coroutine
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from tests.loadgen.scripted import row

from trunkproof.loadgen.guard import Guard
from trunkproof.loadgen.media.datagrams import Kind, kind_of
from trunkproof.loadgen.media.pump import VARIABLE, PumpKind
from trunkproof.loadgen.media.report import MediaReport
from trunkproof.loadgen.parties.audio import (
    Audio,
    AudioFactory,
    MediaAddressError,
    NoPortError,
    media_fault,
    note_media,
)
from trunkproof.loadgen.sip.agreement import MediaAgreement
from trunkproof.loadgen.sip.sdes import AES_CM_128_HMAC_SHA1_80, KEY_BYTES, Crypto
from trunkproof.loadgen.sip.sdp import Codec
from trunkproof.loadgen.stacks.embedded.trunk import TrunkReservation
from trunkproof.models.plan import PlanRow
from trunkproof.models.records import Direction, Disposition, FarEnd, Record
from trunkproof.models.study_file import parse_study

STUDY = parse_study(
    """\
name: audio
duration_s: 10
trunk: {}
traffic:
  arrivals: {kind: poisson, rate_per_minute: 60}
  holding: {kind: exponential, mean_s: 5}
"""
)
HOMES = pytest.mark.parametrize("home", ["127.0.0.1", "::1"])
Kinds = pytest.mark.parametrize("kind", PumpKind)
NEAR, FAR = row(), row(direction=Direction.INBOUND)
Scene = Callable[[AudioFactory], Coroutine[None, None, None]]


def _run(scene: Scene, kind: PumpKind, monkeypatch: pytest.MonkeyPatch, home: str = "127.0.0.1") -> None:
    async def main() -> None:
        monkeypatch.setenv(VARIABLE, kind)
        ports = (62_000, 64_000)
        factory = AudioFactory(home, STUDY, at_trunk=False, check_media=Guard().check_media, ports=ports)
        try:
            await scene(factory)
        finally:
            factory.close()

    asyncio.run(main())


def _agreed(ours: Audio, theirs: Audio, **changed: Any) -> MediaAgreement:
    assert ours.key is not None
    assert theirs.key is not None
    made = MediaAgreement(
        theirs.address,
        theirs.port,
        theirs.port + 1,
        Codec.PCMA,
        (Codec.PCMA, Codec.PCMU),
        local_crypto=Crypto(1, AES_CM_128_HMAC_SHA1_80, ours.key),
        remote_crypto=Crypto(1, AES_CM_128_HMAC_SHA1_80, theirs.key),
    )
    return replace(made, **changed)


def _call(factory: AudioFactory) -> tuple[Audio, Audio]:
    """Both sides of one call, which hear each other."""
    near, far = factory.open(NEAR), factory.open(FAR)
    near.follow(_agreed(near, far))
    far.follow(_agreed(far, near))
    return near, far


def _sent(audio: Audio) -> int:
    assert audio._flow is not None
    return audio._flow.sent


async def _until(audio: Audio, packets: int) -> None:
    while _sent(audio) < packets:
        await asyncio.sleep(0.01)


def _clean(*ended: Audio) -> None:
    for audio in ended:
        audio.close()
        report = audio.report
        assert media_fault(report) is None
        assert report.received == report.authenticated > 0
        assert (report.lost, report.failed, report.unknown, report.foreign, report.stray) == (0, 0, 0, 0, 0)


@Kinds
@HOMES
def test_rfc4291_a_call_over_ipv4_and_over_ipv6(home: str, kind: PumpKind, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(factory: AudioFactory) -> None:
        near, far = _call(factory)
        await _until(far, 20)
        _clean(near, far)

    _run(scene, kind, monkeypatch, home)


@Kinds
def test_rfc3264_8_3_1_media_that_moves_loses_nothing(kind: PumpKind, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(factory: AudioFactory) -> None:
        near, far = _call(factory)
        await _until(far, 10)
        # The near side knows first. The far one goes on from its old port for a while.
        moved = factory.open(FAR)
        moved.key = far.key
        near.follow(_agreed(near, moved))
        await _until(far, 15)
        moved.follow(_agreed(moved, near))
        await _until(moved, 20)
        for audio in (near, moved, far):
            audio.close()
        report = near.report
        assert (report.lost, report.stray, report.failed, report.sources) == (0, 0, 0, 2)
        assert report.received == report.authenticated > 30
        # The near side went on to the new address: the moved one heard it from its first packet on.
        assert moved.report.authenticated + moved.report.early > 15

    _run(scene, kind, monkeypatch)


@Kinds
def test_rfc4568_7_1_4_keys_that_change_on_both_sides_at_different_times(
    kind: PumpKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(factory: AudioFactory) -> None:
        near, far = _call(factory)
        await _until(far, 10)
        near.key, far.key = os.urandom(KEY_BYTES), os.urandom(KEY_BYTES)
        near.follow(_agreed(near, far))
        await asyncio.sleep(0.1)
        far.follow(_agreed(far, near))
        await _until(far, 30)
        # Until the far side knew the new key, it could not read the near side.
        near.close()
        far.close()
        assert near.report.received == near.report.authenticated > 20
        assert (near.report.lost, near.report.failed) == (0, 0)
        assert far.report.authenticated + far.report.failed == far.report.received

    _run(scene, kind, monkeypatch)


@Kinds
def test_rfc3264_8_4_hold_and_resume(kind: PumpKind, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(factory: AudioFactory) -> None:
        near, far = _call(factory)
        await _until(far, 10)
        # The old way: no address, where nobody receives.
        for one, other in ((near, far), (far, near)):
            one.follow(_agreed(one, other, remote_address="0.0.0.0", sends=False, hears=False))
        held = _sent(near), _sent(far)
        await asyncio.sleep(2.5)
        assert (_sent(near), _sent(far)) == held
        for one, other in ((near, far), (far, near)):
            one.follow(_agreed(one, other))
        await _until(far, held[1] + 10)
        _clean(near, far)
        assert near.report.silence_s < 1.0

    _run(scene, kind, monkeypatch)


@Kinds
def test_rfc3261_13_2_1_ten_seconds_of_ringback_and_a_perfect_call(
    kind: PumpKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(factory: AudioFactory) -> None:
        near, far = factory.open(NEAR), factory.open(FAR)
        near.listen()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ringback:
            # As many packets as 10 s have, and more than a socket's buffer holds.
            for number in range(500):
                ringback.sendto(b"\x80\x08" + number.to_bytes(2, "big") + bytes(178), (near.address, near.port))
                await asyncio.sleep(0.002)
        near.follow(_agreed(near, far))
        far.follow(_agreed(far, near))
        await _until(far, 20)
        _clean(near, far)
        assert near.report.early == 500
        record = _record()
        note_media(record, near.report)
        assert (record.early_rtp, record.rtp_sources) == (500, 1)

    _run(scene, kind, monkeypatch)


@Kinds
def test_rfc3262_an_early_answer_is_heard_and_nothing_is_sent_until_the_200(
    kind: PumpKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(factory: AudioFactory) -> None:
        near, far = factory.open(NEAR), factory.open(FAR)
        near.follow(_agreed(near, far), early=True)
        far.follow(_agreed(far, near))
        await _until(far, 10)
        assert _sent(near) == 0
        near.answered()
        await _until(near, 10)
        near.close()
        far.close()
        assert near.report.early > 0
        assert near.report.received == near.report.authenticated > 0
        assert (near.report.lost, near.report.failed) == (0, 0)

    _run(scene, kind, monkeypatch)


@pytest.mark.parametrize("authentic", [True, False])
@Kinds
def test_rfc3264_5_1_audio_from_another_port_than_the_agreed_one(
    kind: PumpKind, authentic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(factory: AudioFactory) -> None:
        near, far, other = (factory.open(row) for row in (NEAR, FAR, FAR))
        near.follow(_agreed(near, far))
        if authentic:
            other.key = far.key
        other.follow(_agreed(other, near))
        await _until(other, 30)
        for audio in (other, near, far):
            audio.close()
        assert near.report.stray > 20
        told = f"no audio came back (one-way audio); {near.report.stray} packets came from another address"
        fault = media_fault(near.report)
        assert fault is None if authentic else (fault or "").startswith(told)
        assert near.report.received == (near.report.stray if authentic else 0)

    _run(scene, kind, monkeypatch)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"remote_rtcp_port": 65_536}, "port 65536, where"),
        ({"remote_port": 70_000}, "port 70000, where"),
        ({"remote_port": 0}, "port 0, where"),
        ({"remote_address": "::1"}, "IPv4 and one is IPv6"),
        ({"remote_address": "192.0.2.7"}, "neither the target nor loopback"),
        ({"remote_address": "media.example.com"}, "not names"),
    ],
)
@Kinds
def test_an_address_where_nothing_may_be_sent_is_the_peers_error_and_harms_no_other_call(
    kind: PumpKind, changed: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(factory: AudioFactory) -> None:
        near, far = _call(factory)
        odd = factory.open(NEAR)
        for act in (odd.check, odd.follow):
            with pytest.raises(MediaAddressError, match=told):
                act(_agreed(odd, far, **changed))
        with pytest.raises(MediaAddressError, match=told):
            near.follow(_agreed(near, far, **changed))
        await _until(far, 10)
        odd.close()
        _clean(near, far)

    _run(scene, kind, monkeypatch)


def test_a_stream_that_fails_in_the_plain_pump_ends_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(factory: AudioFactory) -> None:
        near, far = _call(factory)
        broken, other = _call(factory)
        flow: Any = broken._flow
        # A cipher of nothing: an error of ours, at each packet.
        flow.stream.terms = replace(flow.stream.terms, cipher=None)
        await _until(far, 20)
        broken.close()
        other.close()
        assert (media_fault(broken.report) or "").startswith("our audio failed: AttributeError")
        _clean(near, far)

    _run(scene, PumpKind.PLAIN, monkeypatch)


@Kinds
def test_audio_may_be_told_anything_at_any_time(kind: PumpKind, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(factory: AudioFactory) -> None:
        near, far = factory.open(NEAR), factory.open(FAR)
        near.answered()
        near.listen()
        near.answered()
        near.listen()
        near.stop()
        near.stop()
        near.follow(_agreed(near, far))
        near.answered()
        near.close()
        near.close()
        far.close()
        far.follow(_agreed(far, near))
        assert near.report == far.report == MediaReport()

    _run(scene, kind, monkeypatch)


def test_descriptors_that_run_out_cost_no_port_of_a_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(factory: AudioFactory) -> None:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        # Fewer than are open already: not one more can be.
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            # Another port would not help, so none is withdrawn from the pool.
            with pytest.raises(NoPortError, match="ulimit"):
                factory.open_on(62_002, pytest.fail, NEAR)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    _run(scene, PumpKind.PLAIN, monkeypatch)


def test_descriptors_that_run_out_give_the_port_back_to_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(factory: AudioFactory) -> None:
        given_back: list[tuple[int, ...]] = []
        limits = SimpleNamespace(give_back=lambda _index, ports, _now: given_back.append(ports))
        trunk: Any = SimpleNamespace(audio=factory, gate=SimpleNamespace(limits=limits), now=lambda: 0.0)
        reservation = TrunkReservation(trunk, 0, NEAR, (62_002, 62_004))
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
        try:
            with pytest.raises(NoPortError, match="ulimit"):
                reservation.open_audio()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        reservation.close()
        assert given_back == [(62_002, 62_004)]

    _run(scene, PumpKind.PLAIN, monkeypatch)


@pytest.mark.parametrize(("seconds", "fault"), [(0.39, None), (0.4, "no audio came back (one-way audio)")])
def test_g114_a_call_of_less_than_400_ms_cannot_tell_late_audio_from_none(seconds: float, fault: str | None) -> None:
    assert media_fault(MediaReport(sent=20, silence_s=seconds)) == fault


def test_packets_that_could_not_be_sent_are_told() -> None:
    report = MediaReport(sent=50, unsent=40, received=50, authenticated=50)
    assert media_fault(report) == "40 of 50 packets could not be sent: is there a route to the peer's address?"


def _record(planned: PlanRow = NEAR) -> Record:
    return Record(
        row=planned.row,
        call=planned.call,
        attempt=planned.attempt,
        trunk="t",
        direction=planned.direction,
        disposition=Disposition.COMPLETED,
        intended_s=0.0,
    )


@Kinds
def test_rfc5761_5_1_1_reports_leave_by_the_rtp_port_where_both_share_one(
    kind: PumpKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(factory: AudioFactory) -> None:
        near, far = factory.open(NEAR), factory.open(FAR)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.setblocking(False)
            peer.bind(("127.0.0.1", 0))
            port = peer.getsockname()[1]
            near.follow(_agreed(near, far, remote_port=port, remote_rtcp_port=port))
            await _until(near, 5)
            near.close()
            came = [peer.recvfrom(2048) for _ in range(near.report.sent + 1)]
        far.close()
        kinds = [kind_of(data) for data, _ in came]
        assert kinds == [Kind.RTP] * (len(came) - 1) + [Kind.RTCP]
        assert {source for _, source in came} == {("127.0.0.1", near.port)}

    _run(scene, kind, monkeypatch)


HEARD = MediaReport(sent=100, received=100, authenticated=100)


@pytest.mark.parametrize(
    ("far_end", "report", "fault"),
    [
        ("echo", replace(HEARD, echoed=100), None),
        ("echo", replace(HEARD, echoed=10, unknown=90), "only 10 of 100 packets were our own audio"),
        ("echo", MediaReport(sent=100, silence_s=1.0), "no audio came back (one-way audio)"),
        ("plays", replace(HEARD, unknown=100, silence_s=9.0), None),
        ("plays", MediaReport(sent=100, silence_s=1.0), "no audio came back (one-way audio)"),
        ("answers", MediaReport(sent=100, silence_s=9.0), None),
        ("answers", replace(HEARD, failed=50), None),
        ("answers", MediaReport(fault="ours"), "our audio failed: ours"),
        ("plan", replace(HEARD, silence_s=9.0), "no audio came back for 9.0 s"),
    ],
)
def test_audio_is_judged_by_what_the_far_end_is_for(far_end: str, report: MediaReport, fault: str | None) -> None:
    found = media_fault(report, FarEnd(far_end))
    assert found is None if fault is None else (found or "").startswith(fault)
