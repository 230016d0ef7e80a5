"""One side of a call's audio without sockets: two streams face each other, and the test is the network between."""

import os
import random
from dataclasses import replace
from typing import Any

import pytest

from trunkproof.loadgen.media.report import MediaReport
from trunkproof.loadgen.media.rtp import RtpPacket
from trunkproof.loadgen.media.srtp import Cipher, Failure, PlainCipher, SrtpCipher
from trunkproof.loadgen.media.stream import MediaStream
from trunkproof.loadgen.media.terms import MediaTerms, Origin
from trunkproof.loadgen.media.voiceprint import Side
from trunkproof.loadgen.media.voices import TIMED_FRAMES
from trunkproof.models.voice import mos, r_factor

SUITE = "AES_CM_128_HMAC_SHA1_80"
EVENTS = 101
PEER, PEER_RTCP = ("127.0.0.1", 40_000), ("127.0.0.1", 40_001)
CLEAN_MOS = mos(r_factor(80.0, 0.0))
"""20 ms of packet and 60 ms of buffer, nothing lost."""


def _ciphers() -> tuple[SrtpCipher, SrtpCipher]:
    ours, theirs = os.urandom(30), os.urandom(30)
    return SrtpCipher(ours, theirs, SUITE), SrtpCipher(theirs, ours, SUITE)


def _stream(cipher: Cipher, side: Side, row: int = 7, event_type: int | None = EVENTS) -> MediaStream:
    made = MediaStream(row=row, side=side, random_source=random.Random(side), now=0.0)
    made.follow(terms(cipher, sent_event_type=event_type, heard_event_type=event_type), 0.0)
    return made


def terms(cipher: Cipher, **changed: Any) -> MediaTerms:
    return replace(MediaTerms(cipher, PEER, PEER_RTCP, payload_type=8, heard_types=(8, 0)), **changed)


def _call() -> tuple[MediaStream, MediaStream]:
    near, far = _ciphers()
    return _stream(near, Side.CALLER), _stream(far, Side.CALLED)


def _packet_of(speaker: MediaStream) -> bytes:
    packet = speaker.next_packet()
    assert packet is not None
    return packet


def _report_of(speaker: MediaStream) -> bytes:
    report = speaker.next_rtcp(1.0, 1e9)
    assert report is not None
    return report


def _talk(speaker: MediaStream, listener: MediaStream, frames: int) -> MediaReport:
    for number in range(frames):
        listener.receive(_packet_of(speaker), number * 0.02)
    return listener.report(frames * 0.02)


def test_a_clean_call() -> None:
    report = _talk(*_call(), 100)
    assert report == MediaReport(
        received=100,
        authenticated=100,
        matched=100,
        sources=1,
        jitter_ms=report.jitter_ms,
        silence_s=report.silence_s,
        mos=report.mos,
    )
    assert report.jitter_ms == pytest.approx(0.0, abs=1e-6)
    assert report.silence_s == pytest.approx(0.02)
    assert report.mos == pytest.approx(CLEAN_MOS)


def test_rfc_3550_5_1_frames_step_by_one_number_and_160_samples() -> None:
    speaker = _stream(PlainCipher(), Side.CALLER)
    first, second = (RtpPacket.parse(_packet_of(speaker)) for _ in range(2))
    assert (first.marker, second.marker) == (True, False)
    assert second.sequence - first.sequence == 1
    assert (second.timestamp - first.timestamp) & 0xFFFFFFFF == 160


def test_loss_duplicates_and_reordering_are_counted_each() -> None:
    speaker, listener = _call()
    packets = [_packet_of(speaker) for _ in range(100)]
    order = [*range(10), 11, 10, 12, 12, *range(13, 50), *range(60, 100)]
    for place, number in enumerate(order):
        listener.receive(packets[number], place * 0.02)
    report = listener.report(2.0)
    assert (report.lost, report.replayed, report.reordered, report.failed) == (10, 1, 1, 0)
    assert report.authenticated == 90
    assert report.mos < CLEAN_MOS


def test_duplicates_without_srtp_are_found_by_their_number() -> None:
    speaker, listener = _stream(PlainCipher(), Side.CALLER), _stream(PlainCipher(), Side.CALLED)
    packet = _packet_of(speaker)
    listener.receive(packet, 0.0)
    listener.receive(packet, 0.001)
    assert (listener.report(1.0).duplicate, listener.report(1.0).replayed) == (1, 0)


def test_late_packets_are_lost_ones_to_the_score() -> None:
    speaker, listener = _call()
    for number in range(100):
        late = 0.1 if number % 10 == 5 else 0.0
        listener.receive(_packet_of(speaker), number * 0.02 + late)
    report = listener.report(2.0)
    assert (report.late, report.lost) == (10, 0)
    assert report.mos == pytest.approx(mos(r_factor(80.0, 0.1)))


def test_wrong_key_is_failed_and_not_plain() -> None:
    speaker, _ = _call()
    _, listener = _call()
    report = _talk(speaker, listener, 10)
    assert (report.received, report.authenticated, report.failed, report.plain) == (10, 0, 10, 0)
    assert report.mos == 1.0


def test_plain_rtp_where_srtp_was_agreed_is_named() -> None:
    report = _talk(_stream(PlainCipher(), Side.CALLER), _call()[1], 10)
    assert (report.authenticated, report.failed, report.plain) == (0, 10, 10)


def test_another_calls_audio_is_foreign() -> None:
    near, far = _ciphers()
    report = _talk(_stream(near, Side.CALLER, row=8), _stream(far, Side.CALLED, row=7), 10)
    assert (report.authenticated, report.foreign, report.echoed) == (10, 10, 0)


def test_own_voice_back_is_echoed() -> None:
    near, far = _ciphers()
    report = _talk(_stream(near, Side.CALLED), _stream(far, Side.CALLED), 10)
    assert (report.echoed, report.foreign) == (10, 0)


def test_a_round_trip_is_from_a_frames_own_sending_to_its_return() -> None:
    ours, echo = _stream(PlainCipher(), Side.CALLER), []
    for number in range(10):
        echo.append(_packet_of(ours))
        # Each is sent 1 ms later than the one before, and comes back after 70 ms.
        ours.note_sent(number * 0.021)
    for number, packet in enumerate(echo):
        ours.receive(packet, number * 0.021 + 0.07)
    assert ours.report(1.0).round_trip_ms == pytest.approx(70)


def test_an_echo_from_longer_ago_than_is_remembered_is_not_timed() -> None:
    ours = _stream(PlainCipher(), Side.CALLER)
    old = _packet_of(ours)
    for _ in range(TIMED_FRAMES):
        _packet_of(ours)
    ours.receive(old, 3.0)
    report = ours.report(3.0)
    assert (report.echoed, report.round_trip_ms) == (1, None)


def test_audio_without_voiceprint_is_unknown() -> None:
    near, far = _ciphers()
    listener = _stream(far, Side.CALLED)
    listener.receive(near.protect(bytes(RtpPacket(8, 1, 160, 5, b"\xd5" * 160))), 0.0)
    assert listener.report(1.0).unknown == 1


def test_bytes_that_only_begin_like_rtp_are_failed() -> None:
    listener = _stream(PlainCipher(), Side.CALLED)
    listener.receive(b"\x9f" + b"\x08" * 40, 0.0)
    assert (listener.report(1.0).received, listener.report(1.0).failed) == (1, 1)


@pytest.mark.parametrize(
    ("arrivals", "silence_s"),
    [([], 9.0), ([4.0, 4.02], 4.98), ([0.0, 3.5, 6.0], 3.5), ([6.0, 8.9], 6.0)],
    ids=["never heard", "at the end", "in between", "at the beginning"],
)
def test_longest_silence(arrivals: list[float], silence_s: float) -> None:
    speaker, listener = _call()
    for arrival in arrivals:
        listener.receive(_packet_of(speaker), arrival)
    assert listener.report(9.0).silence_s == pytest.approx(silence_s)


def test_rfc_3711_3_3_1_a_call_longer_than_the_sequence_numbers() -> None:
    report = _talk(*_call(), 66_500)
    assert (report.authenticated, report.failed, report.lost, report.reordered) == (66_500, 0, 0, 0)
    assert report.late == 0


def test_rfc_4733_2_5_1_4_a_digit_ends_three_times_on_one_timestamp() -> None:
    speaker = _stream(PlainCipher(), Side.CALLER)
    _packet_of(speaker)
    speaker.press("5")
    packets = [RtpPacket.parse(_packet_of(speaker)) for _ in range(9)]
    digit, voice = packets[:8], packets[8]
    assert [packet.payload_type for packet in packets] == [EVENTS] * 8 + [8]
    assert len({packet.timestamp for packet in digit}) == 1
    assert [packet.marker for packet in digit] == [True] + [False] * 7
    assert [packet.payload[1] >> 7 for packet in digit] == [0] * 5 + [1] * 3
    assert len({packet.payload for packet in digit[-3:]}) == 1
    assert (voice.timestamp - digit[0].timestamp) & 0xFFFFFFFF == 8 * 160


def test_digits_are_heard_once_each_and_leave_jitter_alone() -> None:
    speaker, listener = _call()
    for digit in "11#A":
        speaker.press(digit)
    report = _talk(speaker, listener, 60)
    assert (report.digits, report.lost, report.unknown) == ("11#A", 0, 0)
    assert report.jitter_ms == pytest.approx(0.0, abs=1e-6)


def test_a_digit_survives_the_loss_of_all_but_one_end() -> None:
    speaker, listener = _call()
    speaker.press("9")
    packets = [_packet_of(speaker) for _ in range(8)]
    listener.receive(packets[0], 0.0)
    listener.receive(packets[7], 0.14)
    assert listener.report(1.0).digits == "9"


@pytest.mark.parametrize("digit", ["", "Z", "12"])
def test_no_key_of_a_telephone_is_our_error_when_pressed(digit: str) -> None:
    speaker, _ = _call()
    with pytest.raises(ValueError, match="no key"):
        speaker.press(digit)
    assert _packet_of(speaker)


def test_pressing_without_agreed_events_sends_voice() -> None:
    speaker = _stream(PlainCipher(), Side.CALLER, event_type=None)
    speaker.press("5")
    assert RtpPacket.parse(_packet_of(speaker)).payload_type == 8


def test_rfc_3550_6_4_each_side_learns_what_the_other_lost() -> None:
    speaker, listener = _call()
    for number in range(50):
        packet = _packet_of(speaker)
        if number not in (20, 21):
            listener.receive(packet, number * 0.02)
    speaker.receive_rtcp(_report_of(listener), 1.0)
    report = speaker.report(1.0)
    assert (report.remote_lost, report.rtcp_received, report.rtcp_failed) == (2, 1, 0)


def test_rtcp_that_is_forged_or_of_another_key_is_failed() -> None:
    speaker, listener = _call()
    stranger, _ = _call()
    report = bytearray(_report_of(listener))
    report[12] ^= 1
    speaker.receive_rtcp(bytes(report), 1.0)
    speaker.receive_rtcp(_report_of(stranger), 1.0)
    assert (speaker.report(1.0).rtcp_received, speaker.report(1.0).rtcp_failed) == (0, 2)
    assert speaker.report(1.0).remote_lost is None


def test_rfc_3550_6_2_reports_are_due_after_half_to_one_and_a_half_intervals() -> None:
    speaker, _ = _call()
    waits = []
    for _ in range(200):
        now = speaker.next_report
        speaker.next_rtcp(now, 1e9)
        waits.append(speaker.next_report - now)
    assert min(waits) >= 2.5
    assert max(waits) <= 7.5
    assert len(set(waits)) > 1


def test_rfc3264_5_1_authentic_audio_from_elsewhere_is_heard_and_told() -> None:
    near, far = _call()
    assert [near.receive(_packet_of(far), 0.02 * n, Origin.ELSEWHERE) for n in range(10)] == [True] * 10
    near.receive_rtcp(_report_of(far), 0.2, Origin.ELSEWHERE)
    report = near.report(0.2)
    assert (report.received, report.authenticated, report.failed, report.lost, report.stray) == (10, 10, 0, 0, 10)
    assert (report.rtcp_received, report.rtcp_stray) == (1, 1)


@pytest.mark.parametrize("origin", [Origin.FOUND, Origin.ELSEWHERE])
def test_rfc3711_3_4_what_is_not_authentic_counts_against_the_call_only_from_the_agreed_address(origin: Origin) -> None:
    near, far = _call()
    stranger = _stream(_ciphers()[0], Side.CALLED)
    again = _packet_of(far)
    near.receive(again, 0.0)
    for data in (_packet_of(stranger), again, b"\x80", b"\x00" * 40, bytes(RtpPacket(8, 1, 160, 5, bytes(160)))):
        assert not near.receive(data, 0.1, origin)
    near.receive_rtcp(_report_of(stranger), 0.1, origin)
    report = near.report(0.2)
    assert (report.received, report.failed, report.replayed, report.plain, report.not_rtp) == (1, 0, 0, 0, 0)
    assert (report.rtcp_failed, report.stray, report.rtcp_stray) == (0, 5, 1)
    near.receive(_packet_of(stranger), 0.2)
    assert near.report(0.2).failed == 1


class _CountingCipher(SrtpCipher):
    checked = 0

    def unprotect(self, data: bytes) -> bytes | Failure:
        self.checked += 1
        return super().unprotect(data)


def test_forgeries_from_elsewhere_cost_little_and_do_not_silence_the_peer() -> None:
    ours, theirs = os.urandom(30), os.urandom(30)
    cipher = _CountingCipher(ours, theirs, SUITE)
    near, far = _stream(cipher, Side.CALLER), _stream(SrtpCipher(theirs, ours, SUITE), Side.CALLED)
    forgery = _packet_of(_stream(_ciphers()[0], Side.CALLED))
    assert near.receive(_packet_of(far), 0.0, Origin.ELSEWHERE)
    for number in range(10_000):
        near.receive(forgery, number / 1000, Origin.ELSEWHERE)
        if number % 20 == 19:
            near.receive(_packet_of(far), number / 1000, Origin.FOUND)
    report = near.report(10.0)
    assert (report.authenticated, report.failed, report.stray) == (501, 0, 10_501)
    # 50 a second, and 50 more at once, beside the peer's own.
    assert cipher.checked - 501 <= 50 * 10 + 51


def test_rfc4961_4_plain_audio_from_elsewhere_is_heard_as_long_as_the_agreed_address_is_silent() -> None:
    near, far = (_stream(PlainCipher(), side) for side in (Side.CALLER, Side.CALLED))
    other_type = bytes(RtpPacket(96, 1, 160, 5, bytes(160)))
    assert [near.receive(each, 0.0, Origin.ELSEWHERE) for each in (other_type, b"\x80" * 5, _packet_of(far))] == [
        False,
        False,
        True,
    ]
    assert near.receive(_packet_of(far), 0.02, Origin.FOUND)
    near.receive(_packet_of(far), 0.04)
    # The agreed address speaks after all: nobody else does now.
    for origin in (Origin.FOUND, Origin.ELSEWHERE):
        assert not near.receive(_packet_of(far), 0.06, origin)
    report = near.report(0.1)
    assert (report.received, report.stray, report.failed, report.other_types) == (3, 6, 0, 0)
    # Another address is agreed: it has not spoken yet.
    near.follow(terms(PlainCipher(), remote=("127.0.0.1", 41_000)), 1.0)
    near.receive(_packet_of(far), 1.0, Origin.BEFORE)
    assert near.receive(_packet_of(far), 1.1, Origin.ELSEWHERE)


def test_rfc3261_13_2_1_plain_audio_from_elsewhere_before_the_answer_is_not_taken_for_the_called_side() -> None:
    near = MediaStream(row=7, side=Side.CALLER, random_source=random.Random(1), now=0.0)
    near.follow(terms(PlainCipher()), 0.0, early=True)
    far = _stream(PlainCipher(), Side.CALLED)
    assert not near.receive(_packet_of(far), 0.1, Origin.ELSEWHERE)
    near.answer(1.0)
    assert near.receive(_packet_of(far), 1.1, Origin.ELSEWHERE)
    report = near.report(1.2)
    assert (report.early, report.received, report.stray) == (0, 1, 2)
