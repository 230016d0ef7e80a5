"""What healthy telephones and trunks do, as both pumps judge it: a call is clean, or its fault has its true name.

The network delivers the same to the compiled stream and to the plain one, and `check` demands equal reports.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from tests.loadgen.media.listeners import EVENTS, KEYS, SUITES, WITHOUT, C, Network, cipher_of

from trunkproof.loadgen.media.report import MediaReport
from trunkproof.loadgen.media.rtcp import write_report
from trunkproof.loadgen.media.rtp import RtpPacket
from trunkproof.loadgen.media.srtp import SrtpCipher
from trunkproof.loadgen.media.stream import GRACE_S, MOST_SOURCES
from trunkproof.loadgen.media.voiceprint import Side, write_frame
from trunkproof.loadgen.parties.audio import media_fault
from trunkproof.models.voice import mos, r_factor

CLEAN_MOS = mos(r_factor(80.0, 0.0))
"""4.37: 20 ms of packet and 60 ms of buffer, nothing lost."""
SUITE = SUITES[0]
VOICE = write_frame(Side.CALLER, 7, 0)
both_ciphers = pytest.mark.parametrize("c", [C, WITHOUT], ids=["flat", "libsrtp"])


def _talk(network: Network, packets: int, **settings: Any) -> None:
    for _ in range(packets):
        network.send(network.frame((VOICE * 8)[: network.samples], **settings))


def _pause(network: Network, seconds: float, *, frozen: bool = False) -> None:
    network.clock += seconds
    network.pauses += 0 if frozen else int(8000 * seconds)


def _clean(network: Network, *, packets: int) -> MediaReport:
    report = network.check()
    assert (report.authenticated, report.lost, report.late, report.failed) == (packets, 0, 0, 0)
    assert report.mos == pytest.approx(CLEAN_MOS)
    assert report.mos == pytest.approx(4.37, abs=0.005)
    assert media_fault(report) is None
    return report


@pytest.mark.parametrize("milliseconds", [10, 20, 30, 40, 60, 150])
def test_rfc3551_4_5_packets_of_any_length_are_in_time(milliseconds: int) -> None:
    network = Network(SUITE)
    network.samples = 8 * milliseconds
    _talk(network, 500)
    report = _clean(network, packets=500)
    assert report.jitter_ms == pytest.approx(0.0, abs=1e-6)


def test_rfc3550_5_1_a_packet_time_that_changes_in_mid_call() -> None:
    network, stamp = Network(SUITE), 12_345
    for samples in (160, 480, 240, 160):
        network.samples = samples
        for _ in range(50):
            network.send(network.frame(VOICE, timestamp=stamp))
            stamp += samples
    _clean(network, packets=200)


@pytest.mark.parametrize("seconds", [0.5, 3.0, 30.0])
def test_rfc3551_4_1_a_pause_is_no_silence_and_makes_nothing_late(seconds: float) -> None:
    network = Network(SUITE)
    _talk(network, 50)
    _pause(network, seconds)
    _talk(network, 1, marker=True)
    _talk(network, 50)
    report = _clean(network, packets=101)
    assert report.paused_s == pytest.approx(seconds + 0.02 + 0.5)  # with the half second at the end
    assert report.silence_s == pytest.approx(0.02)


def test_rfc3551_4_1_a_pause_in_which_the_timestamps_stand_still() -> None:
    network = Network(SUITE)
    for _ in range(3):
        _talk(network, 50)
        _pause(network, 1.5, frozen=True)
        _talk(network, 1, marker=True)
    _clean(network, packets=153)


def test_a_pause_may_lose_the_packets_beside_it() -> None:
    network = Network(SUITE)
    _talk(network, 50)
    network.sent += [b"", b""]
    _pause(network, 8.0)
    _talk(network, 50)
    report = network.check()
    assert (report.lost, report.late) == (2, 0)
    assert report.paused_s == pytest.approx(8.02 + 0.5)
    assert media_fault(report) is None


def test_audio_that_stops_and_comes_back_with_a_loss_is_a_silence() -> None:
    network = Network(SUITE)
    _talk(network, 50)
    for _ in range(250):
        network.sent.append(b"")
        network.clock += 0.02
    _talk(network, 50)
    report = network.check()
    assert (report.lost, report.paused_s) == (250, 0.0)
    assert media_fault(report) == "no audio came back for 5.0 s"


def test_a_stall_of_the_network_is_a_silence_too() -> None:
    """It delays every packet and loses none: the numbers and the timestamps go on, though time has passed."""
    network = Network(SUITE)
    _talk(network, 50)
    network.clock += 5.0
    _talk(network, 50)
    report = network.check()
    assert report.silence_s == pytest.approx(5.02)


def test_audio_that_never_comes_back_is_a_silence() -> None:
    network = Network(SUITE)
    _talk(network, 50)
    network.clock += 5.0
    assert media_fault(network.check()) == "no audio came back for 5.5 s"


@pytest.mark.parametrize("announced", [True, False])
def test_rfc3389_a_pause_at_the_end_is_told_by_comfort_noise(announced: bool) -> None:
    network = Network(SUITE)
    _talk(network, 50)
    if announced:
        network.send(network.frame(b"\x40", payload_type=13))
    network.clock += 5.0
    assert (media_fault(network.check()) is None) == announced


def test_rfc3389_comfort_noise_is_neither_voice_nor_late() -> None:
    network = Network(SUITE)
    for _ in range(5):
        _talk(network, 20)
        network.send(network.frame(b"\x40", payload_type=13))
        _pause(network, 0.5)
    report = _clean(network, packets=105)
    assert (report.unknown, report.other_types) == (0, 0)


def test_rfc4733_2_2_1_keys_are_not_late_and_leave_the_voice_in_time() -> None:
    network = Network(SUITE)
    _talk(network, 50)
    for key in range(10):
        begun = network.timestamp()
        for number in range(20):
            end = number > 16
            payload = bytes([key, 0x8A if end else 0x0A]) + (160 * (number + 1)).to_bytes(2, "big")
            network.send(network.frame(payload, payload_type=EVENTS, timestamp=begun, marker=number == 0))
        _talk(network, 10)
    report = _clean(network, packets=350)
    assert report.digits == "0123456789"


def test_rfc3550_8_2_each_source_has_its_own_numbers() -> None:
    network = Network(SUITE)
    for ssrc, first in ((1, 60_000), (2, 10), (3, 30_000)):
        network.ssrc, network.first_sequence = ssrc, first - len(network.sent)
        _talk(network, 200)
    report = _clean(network, packets=600)
    assert report.sources == 3


def test_rfc3550_8_2_two_sources_at_the_same_time() -> None:
    network = Network(SUITE)
    for number in range(400):
        packet = RtpPacket(8, number // 2 + 1000 * (number % 2), number // 2 * 160, 5 + number % 2, VOICE)
        network.sent.append(network.speaker.protect(bytes(packet)))
        network.clock += 0.01
        network.deliver(network.sent[-1])
    report = _clean(network, packets=400)
    assert report.sources == 2


@both_ciphers
def test_a_new_source_for_every_packet_takes_no_memory(c: Any) -> None:
    network = Network(SUITE, c=c)
    for number in range(500):
        network.ssrc = 1000 + number
        _talk(network, 2)
    report = _clean(network, packets=1000)
    assert report.sources == 500
    assert network.compiled.slot["source_count"] == len(network.plain._sources) == MOST_SOURCES
    # What a source sent before it was forgotten may seem new.
    network.deliver(network.sent[0])
    assert network.check().sources == 501


def test_rfc3550_8_2_our_own_source_at_the_peer_is_told() -> None:
    network = Network(SUITE)
    network.ssrc = network.plain.ssrc
    _talk(network, 5)
    assert network.check().collided == 5


def test_rfc3550_a_1_a_source_that_counts_anew_has_lost_nothing() -> None:
    network = Network(None, 50_000)
    _talk(network, 200)
    network.first_sequence = 7 - len(network.sent)
    _talk(network, 200)
    _clean(network, packets=400)


@both_ciphers
def test_rfc3711_3_3_1_numbers_anew_under_the_same_key_are_not_authentic(c: Any) -> None:
    network = Network(SUITE, 50_000, c)
    _talk(network, 200)
    network.first_sequence = 7 - len(network.sent)
    network.speaker = cipher_of(KEYS, SUITE)
    _talk(network, 200)
    report = network.check()
    # Taken for the next rollover, whose tags are others.
    assert (report.authenticated, report.failed, report.lost) == (200, 200, 0)
    assert "numbered anew with an old key" in (media_fault(report) or "")


@both_ciphers
def test_rfc3711_3_3_1_each_source_rolls_over_by_itself(c: Any) -> None:
    network = Network(SUITE, 65_500, c)
    _talk(network, 100)
    network.ssrc = 78
    network.first_sequence = 100 - len(network.sent)
    _talk(network, 50)
    network.ssrc = 77
    network.first_sequence = 65_600 - len(network.sent)
    _talk(network, 1, marker=True)
    _talk(network, 49)
    report = _clean(network, packets=200)
    assert report.sources == 2


@both_ciphers
@pytest.mark.parametrize("suite", SUITES)
def test_rfc3261_13_2_1_early_media_is_told_apart_from_the_call(suite: str | None, c: Any) -> None:
    network = Network(suite, c=c, agreed=False)
    _talk(network, 500)
    network.clock += 5.0
    network.agree()
    _talk(network, 200)
    assert _clean(network, packets=200).early == 500


@both_ciphers
@pytest.mark.parametrize("suite", SUITES)
def test_rfc3264_4_an_early_answer_decrypts_and_the_call_begins_with_the_200(suite: str | None, c: Any) -> None:
    network = Network(suite, 65_400, c, agreed=False)
    _talk(network, 100)
    network.agree(early=True)
    # Over the rollover: whoever decrypts only later takes the numbers for small ones.
    _talk(network, 200)
    assert network.plain.next_packet() is network.compiled.next_packet() is None
    network.clock += 5.0
    network.answer()
    assert network.plain.next_packet() == network.compiled.next_packet() is not None
    _talk(network, 200)
    report = _clean(network, packets=200)
    assert (report.early, report.sent) == (300, 1)


def test_rfc3261_13_2_1_an_announcement_with_another_key_or_none_fails_nothing() -> None:
    network = Network(SUITE, agreed=False)
    network.agree(early=True)
    for cipher in (cipher_of(KEYS[::-1], SUITE), cipher_of(KEYS, None)):
        for _ in range(20):
            network.deliver(cipher.protect(network.frame(VOICE, ssrc=9)))
            network.sent.append(b"")
    network.answer()
    network.clock += 0.01
    _talk(network, 50)
    assert _clean(network, packets=50).early == 40


def test_a_packet_that_was_read_late_belongs_to_the_time_at_which_it_came() -> None:
    network = Network(SUITE)
    network.plain.answered = network.compiled.slot["answered"] = 0.5
    _talk(network, 50)
    report = network.check()
    assert (report.early, report.received) == (24, 26)


def test_rfc7983_7_what_is_no_rtp_is_neither_forged_nor_heard() -> None:
    network = Network(SUITE)
    others = {
        "stun": bytes.fromhex("000100002112a442") + bytes(12),
        "dtls": bytes.fromhex("16fefd0000000000000000") + bytes(20),
        "zrtp": bytes.fromhex("10000000") + b"ZRTP" + bytes(20),
        "turn": bytes.fromhex("40000020") + bytes(32),
        "keep_alive": b"\r\n",
        "other": b"\xff" * 30,
    }
    _talk(network, 50)
    for data in (*others.values(), b"", bytes(4)):
        network.deliver(data)
    _talk(network, 50)
    report = _clean(network, packets=100)
    assert {name: getattr(report, name) for name in others} == dict.fromkeys(others, 1) | {"keep_alive": 3}
    assert (report.received, report.not_rtp) == (100, 8)


def test_rfc5761_4_rtcp_at_the_rtp_port_is_rtcp() -> None:
    network = Network(SUITE)
    _talk(network, 50)
    told = write_report(network.ssrc, wall_s=1.0, timestamp=0, packets=3, block=None)
    network.deliver(network.speaker.protect_rtcp(told))
    network.deliver_rtcp(network.speaker.protect_rtcp(told))
    network.deliver_rtcp(network.sent[-1])
    report = _clean(network, packets=50)
    assert (report.rtcp_received, report.rtcp_muxed, report.rtp_on_rtcp, report.rtcp_failed) == (2, 1, 1, 0)


def test_only_stun_is_one_way_audio_that_says_so() -> None:
    network = Network(SUITE)
    for _ in range(20):
        network.deliver(bytes(20))
        network.clock += 0.1
    told = "no audio came back (one-way audio); 20 datagrams were neither RTP nor RTCP (STUN, DTLS, keep-alive, ...)"
    assert media_fault(network.check()) == told


@both_ciphers
@pytest.mark.parametrize("suite", SUITES[:2])
def test_rfc4568_7_1_4_a_new_key_in_mid_call_costs_no_packet(suite: str, c: Any) -> None:
    # Beyond a rollover: the old key goes on with it, and the new one begins at 0.
    network = Network(suite, 65_500, c)
    _talk(network, 100)
    network.follow((b"o" * 30, b"n" * 30))
    _talk(network, 20)
    network.speaker = cipher_of((b"n" * 30, b"o" * 30), suite)
    _talk(network, 200)
    report = _clean(network, packets=320)
    assert report.sources == 1


@both_ciphers
def test_rfc4568_7_1_4_the_old_key_ends_with_the_grace(c: Any) -> None:
    network = Network(SUITE, c=c)
    _talk(network, 50)
    network.follow((KEYS[1], b"n" * 30))
    network.clock += GRACE_S
    _talk(network, 10)
    report = network.check()
    assert (report.authenticated, report.failed) == (50, 10)


def test_rfc4568_6_1_our_new_key_begins_at_rollover_0() -> None:
    network = Network(SUITE)
    for _ in range(66_000):
        network.plain.next_packet()
    network.compiled.slot["sent"] = network.compiled.slot["frames"] = network.plain.sent
    network.compiled.slot["speaks"] = 1
    network.follow((b"o" * 30, KEYS[0]))
    far = SrtpCipher(KEYS[0], b"o" * 30, SUITE or "")
    for _ in range(100):
        packet = network.plain.next_packet()
        assert packet == network.compiled.next_packet()
        assert isinstance(far.unprotect(packet or b""), bytes)


@pytest.mark.parametrize("mki", [b"\x01", b"\0\0\0\x07", bytes(128)])
@pytest.mark.parametrize("suite", SUITES[:2])
@both_ciphers
def test_rfc3711_3_1_packets_that_name_their_key(c: Any, suite: str, mki: bytes) -> None:
    network = Network(suite, c=c)
    for one in (network.plain, network.compiled):
        terms = one.terms
        assert terms is not None
        one.follow(replace(terms, cipher=SrtpCipher(*KEYS[::-1], suite, rx_mki=mki, tx_mki=mki)), 0.0)
    network.speaker = SrtpCipher(*KEYS, suite, tx_mki=mki, rx_mki=mki)
    _talk(network, 50)
    network.deliver_rtcp(network.speaker.protect_rtcp(write_report(77, wall_s=1, timestamp=0, packets=3, block=None)))
    assert _clean(network, packets=50).rtcp_received == 1
    sent = [network.plain.next_packet(), network.compiled.next_packet()]
    assert sent[0] == sent[1]
    assert isinstance(network.speaker.unprotect(sent[0] or b""), bytes)
    reports = [network.plain.next_rtcp(0.0, 1.0), network.compiled.next_rtcp(1_000_000_000, bye=False)]
    assert reports[0] == reports[1]
    assert isinstance(network.speaker.unprotect_rtcp(reports[0] or b""), bytes)
    # Another MKI, and none.
    for other in (SrtpCipher(*KEYS, suite, tx_mki=b"\xff" * len(mki)), SrtpCipher(*KEYS, suite)):
        network.deliver(other.protect(network.frame(VOICE)))
    assert network.check().failed == 2


def test_rfc3264_6_1_on_hold_we_send_nothing_and_silence_is_no_fault() -> None:
    network = Network(SUITE)
    sent = []
    for sends in (True, False, True):
        network.follow(sends=sends, hears=sends)
        for _ in range(200):
            sent.append(network.plain.next_packet())
            assert sent[-1] == network.compiled.next_packet()
            if sends:
                _talk(network, 1)
            else:
                _pause(network, 0.02)
    assert [packet is None for packet in sent] == [False] * 200 + [True] * 200 + [False] * 200
    report = _clean(network, packets=400)
    assert report.sent == 400


def test_rfc3551_4_1_after_a_hold_our_numbers_go_on_and_our_timestamps_did_not_stop() -> None:
    network = Network(None)
    first = network.plain.next_packet()
    network.follow(sends=False)
    assert [network.plain.next_packet() for _ in range(9)] == [None] * 9
    network.follow(sends=True)
    before, after = (RtpPacket.parse(packet or b"") for packet in (first, network.plain.next_packet()))
    assert (after.sequence - before.sequence, (after.timestamp - before.timestamp) % 2**32) == (1, 1600)
    assert (before.marker, after.marker) == (True, True)


def test_one_way_audio_is_still_found_after_a_hold() -> None:
    network = Network(SUITE)
    _talk(network, 50)
    network.follow(hears=False)
    network.clock += 60.0
    network.follow(hears=True)
    network.clock += 3.0
    assert media_fault(network.check()) == "no audio came back for 3.5 s"


def test_rfc3264_8_the_codec_may_change_at_any_packet() -> None:
    network = Network(SUITE)
    for number in range(100):
        _talk(network, 1, payload_type=8 if number % 2 else 0)
    assert _clean(network, packets=100).unknown == 0


def test_rfc3264_5_1_a_payload_type_that_nobody_agreed_on_is_told() -> None:
    network = Network(SUITE)
    _talk(network, 50, payload_type=97)
    report = network.check()
    assert (report.other_types, report.late, report.lost) == (50, 0, 0)
    assert media_fault(report) == "50 of 50 packets had a payload type that was not agreed"


def test_rfc3264_5_1_each_side_names_the_type_of_the_keys_that_it_hears() -> None:
    network = Network(None)
    network.follow(sent_event_type=96, heard_event_type=101)
    for one in (network.plain, network.compiled):
        one.press("5")
    packet = network.plain.next_packet()
    assert packet == network.compiled.next_packet()
    assert RtpPacket.parse(packet or b"").payload_type == 96
    network.send(network.frame(bytes([3, 0x8A, 3, 32]), payload_type=101))
    network.send(network.frame(bytes([4, 0x8A, 3, 32]), payload_type=96))
    assert network.check().digits == "3"


def test_frames_that_were_given_up_are_lost_to_the_peer_and_not_late() -> None:
    speaker, network = Network(None).plain, Network(None)
    for number in range(100):
        if number == 50:
            speaker.give_up(15)
            network.clock += 0.3
        network.clock += 0.02
        network.deliver(speaker.next_packet() or b"")
    report = network.check()
    assert (report.lost, report.late) == (15, 0)


def test_jitter_and_late_packets_are_still_found() -> None:
    network, source = Network(SUITE), random.Random(1)
    for number in range(1000):
        network.send(network.frame(VOICE), 0.2 if number % 10 == 5 else source.uniform(0.0, 0.02))
    report = network.check()
    assert (report.late, report.lost) == (100, 0)
    assert report.mos == pytest.approx(mos(r_factor(80.0, 0.1)))
