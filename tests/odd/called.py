"""What called peers do, one script each: the odd trunk plays them to `load`, odd telephones to the trunk of `serve`.

Each name says where the rule stands. Each script is right by the standard, unless its result says otherwise.
"""

from __future__ import annotations

import asyncio
import re
import ssl

from tests.odd.audio import DTLS, EVENT, PCMA, PCMU, STUN, SUITE_32
from tests.odd.peer import STRANGER, Call, Wire, new_branch, write
from tests.odd.scenario import Right, called

TRUNK = ("trunk",)


def refused(status: int, disposition: str, *says: str, **columns: object) -> Right:
    return Right(disposition, says, status, is_heard=False, columns=columns)


def broken(*says: str) -> Right:
    return Right("media_failed", says, is_heard=False)


async def answer(call: Call, body: str | None = None, **options: object) -> None:
    """Ring, answer, speak, and wait for the ACK."""
    call.ring()
    await asyncio.sleep(0.05)
    call.answer(call.sdp() if body is None else body, **options)
    call.audio.start()
    await call.expect("ACK")


async def finish(call: Call) -> None:
    """Wait for the BYE; their audio must have been right."""
    await call.until_bye()
    assert call.audio.good >= 20, f"only {call.audio.good} packets of theirs were heard"
    assert call.audio.bad == 0, f"{call.audio.bad} packets of theirs could not be used"


# Crypto (RFC 4568).


@called()
async def rfc3264_5_1_a_plain_call(call: Call) -> None:
    await answer(call)
    await finish(call)


@called(line="suites")
async def rfc4568_5_1_3_the_answer_takes_the_last_offered_suite(call: Call) -> None:
    tag, suite, _, _ = call.offer.crypto[-1]
    assert suite == SUITE_32, "the study has two suites, and only one is offered"
    call.audio.new_key(suite)
    call.follow(call.offer, tag=tag)
    await answer(call, call.sdp(crypto=[f"{tag} {suite} {call.audio.inline}"]))
    await finish(call)


@called()
async def rfc4568_6_1_the_key_has_a_lifetime_as_a_power(call: Call) -> None:
    await answer(call, call.sdp(crypto=[f"1 {call.audio.suite} {call.audio.inline}|2^31"]))
    await finish(call)


@called()
async def rfc4568_6_1_the_key_has_a_lifetime_as_a_number(call: Call) -> None:
    await answer(call, call.sdp(crypto=[f"1 {call.audio.suite} {call.audio.inline}|1048576"]))
    await finish(call)


@called(broken("crypto"))
async def rfc4568_5_1_3_the_answer_has_a_tag_that_was_not_offered(call: Call) -> None:
    await answer(call, call.sdp(crypto=[f"7 {call.audio.suite} {call.audio.inline}"]))
    await call.until_bye()


@called(broken("crypto"))
async def rfc4568_6_3_2_the_answer_wants_unencrypted_srtp(call: Call) -> None:
    await answer(call, call.sdp(crypto=[f"1 {call.audio.suite} {call.audio.inline} UNENCRYPTED_SRTP"]))
    await call.until_bye()


# Packets.


async def _packets_of(call: Call, milliseconds: int) -> None:
    call.audio.packet_ms = milliseconds
    await answer(call, call.sdp(lines=[f"a=ptime:{milliseconds}"]))
    await finish(call)


@called()
async def rfc3551_4_2_packets_of_30_ms(call: Call) -> None:
    await _packets_of(call, 30)


@called()
async def rfc3551_4_2_packets_of_40_ms(call: Call) -> None:
    await _packets_of(call, 40)


@called()
async def rfc3551_4_2_packets_of_60_ms(call: Call) -> None:
    await _packets_of(call, 60)


@called(line="long")
async def rfc3551_4_2_packet_time_changes_in_mid_call(call: Call) -> None:
    await answer(call)
    await asyncio.sleep(0.7)
    call.audio.packet_ms = 60
    await asyncio.sleep(0.7)
    call.audio.packet_ms = 30
    await finish(call)


@called(line="long")
async def rfc3551_4_1_pauses_in_speech(call: Call) -> None:
    await answer(call)
    for _ in range(3):
        await asyncio.sleep(0.4)
        await call.audio.pause(0.5)
    await finish(call)


@called(line="long")
async def rfc3389_comfort_noise_in_pauses(call: Call) -> None:
    await answer(call, call.sdp(codecs=(PCMA, 13, EVENT)))
    for _ in range(2):
        await asyncio.sleep(0.4)
        await call.audio.pause(0.8, noise_every_s=0.2)
    await finish(call)


@called(line="long")
async def rfc4733_2_5_a_key_in_mid_call(call: Call) -> None:
    await answer(call)
    await asyncio.sleep(0.4)
    await call.audio.press("5", lasts_packets=5)
    await asyncio.sleep(0.3)
    await call.audio.press("#", lasts_packets=20)
    await finish(call)


@called()
async def rfc3550_5_1_numbers_pass_65535(call: Call) -> None:
    call.audio.sequence = 65_510
    await answer(call)
    await finish(call)


@called()
async def rfc3550_5_1_the_timestamp_passes_its_end(call: Call) -> None:
    call.audio.timestamp = 2**32 - 20 * 160
    await answer(call)
    await finish(call)


@called()
async def rfc3550_a_1_every_packet_comes_twice(call: Call) -> None:
    call.audio.twice = True
    await answer(call)
    await finish(call)


# Sources.


@called()
async def rfc3550_8_2_another_source_at_the_answer(call: Call) -> None:
    call.respond(183, body=call.sdp())
    call.audio.start()
    await asyncio.sleep(0.5)
    call.audio.new_source()
    call.answer(call.sdp())
    await call.expect("ACK")
    await finish(call)


@called(line="long")
async def rfc3550_8_2_another_source_in_mid_call(call: Call) -> None:
    await answer(call)
    for _ in range(2):
        await asyncio.sleep(0.6)
        call.audio.new_source()
    await finish(call)


# Early media.


@called(roles=TRUNK)
async def rfc3960_3_ten_seconds_of_early_media_with_sdp(call: Call) -> None:
    call.respond(183, body=call.sdp())
    call.audio.start()
    await asyncio.sleep(10)
    call.answer(call.sdp())
    await call.expect("ACK")
    await finish(call)


@called(roles=TRUNK)
async def rfc3960_3_ten_seconds_of_early_media_without_sdp(call: Call) -> None:
    # The key is not yet known there: what comes before the answer can only be counted.
    call.respond(183)
    call.audio.start()
    await asyncio.sleep(10)
    await answer(call)
    await finish(call)


@called()
async def rfc3261_13_2_1_the_answer_is_in_a_183_and_the_200_has_no_body(call: Call) -> None:
    call.respond(183, body=call.sdp())
    call.audio.start()
    await asyncio.sleep(0.3)
    call.answer("")
    await call.expect("ACK")
    await finish(call)


@called()
async def rfc3261_13_2_1_the_200_repeats_the_answer_of_the_183(call: Call) -> None:
    body = call.sdp()
    call.respond(183, body=body)
    call.respond(180)
    call.audio.start()
    await asyncio.sleep(0.2)
    call.answer(body)
    await call.expect("ACK")
    await finish(call)


@called()
async def rfc3262_5_the_answer_is_in_a_reliable_183(call: Call) -> None:
    call.respond(183, body=call.sdp(), headers=[("Require", "100rel"), ("RSeq", "4711")])
    prack = await call.expect("PRACK", within_s=2)
    assert prack["RAck"].split() == ["4711", *call.invite["CSeq"].split()], prack["RAck"]
    call.respond(200, to=prack)
    call.audio.start()
    await asyncio.sleep(0.2)
    call.answer("")
    await call.expect("ACK")
    await finish(call)


@called()
async def rfc3311_5_2_an_update_before_the_answer(call: Call) -> None:
    call.respond(183, body=call.sdp(), headers=[("Require", "100rel"), ("RSeq", "1")])
    prack = await call.expect("PRACK", within_s=2)
    call.respond(200, to=prack)
    call.audio.start()
    call.audio.move()
    final = await call.ask("UPDATE", body=call.sdp())
    assert final.status == 200, f"the UPDATE got {final.start}"
    assert final.sdp.version >= call.offer.version
    call.answer("")
    await call.expect("ACK")
    await finish(call)


@called()
async def rfc3311_5_2_an_update_without_sdp_before_the_answer(call: Call) -> None:
    call.ring()
    final = await call.ask("UPDATE")
    assert final.status == 200, f"the UPDATE got {final.start}"
    await answer(call)
    await finish(call)


async def _two_forks(call: Call, *, body_in_200: bool) -> None:
    first, second = call.audio, call.more_audio()
    call.respond(183, body=call.sdp(), tag="fork-one")
    first.start()
    await asyncio.sleep(0.3)
    first.stop()
    call.audio = second
    call.follow(call.offer)
    body = call.sdp()
    call.respond(183, body=body, tag="fork-two")
    second.start()
    await asyncio.sleep(0.2)
    call.tag = "fork-two"
    call.answer(body if body_in_200 else "")
    await call.expect("ACK")
    await finish(call)


@called()
async def rfc3261_13_2_2_4_two_forks_and_the_second_answers(call: Call) -> None:
    await _two_forks(call, body_in_200=True)


@called()
async def rfc3261_13_2_2_4_two_forks_and_the_second_answers_without_a_body(call: Call) -> None:
    await _two_forks(call, body_in_200=False)


@called()
async def rfc3261_13_2_2_4_a_second_200_of_another_fork_is_acknowledged_and_ended(call: Call) -> None:
    await answer(call)
    tag, call.tag = call.tag, "other-fork"
    call.answer(call.sdp())
    ack = await call.expect("ACK")
    assert "tag=other-fork" in ack["To"]
    bye = await call.expect("BYE")
    assert "tag=other-fork" in bye["To"]
    call.respond(200, to=bye)
    call.tag = tag
    await finish(call)


# Changes in mid-call (RFC 3264 section 8).


async def _hold(call: Call, seconds: float = 0.8, **options: object) -> None:
    held = await call.reinvite(call.sdp(**options))
    assert held.sdp.direction in {"recvonly", "inactive"}, f"the answer to a hold is {held.sdp.direction}"
    await asyncio.sleep(0.1)
    heard = call.audio.good
    await asyncio.sleep(seconds)
    assert call.audio.good == heard, f"{call.audio.good - heard} packets came on hold"
    call.audio.silent = False
    resumed = await call.reinvite(call.sdp())
    assert resumed.sdp.direction == "sendrecv"
    assert resumed.sdp.version > held.sdp.version, "the session version did not rise (RFC 3264 section 8)"
    await call.audio.hear(20)


@called(line="long")
async def rfc3264_8_4_hold_with_music_and_resume(call: Call) -> None:
    await answer(call)
    await call.audio.hear(10)
    await _hold(call, direction="sendonly")
    await finish(call)


@called(line="long")
async def rfc3264_8_4_hold_in_silence_and_resume(call: Call) -> None:
    await answer(call)
    await call.audio.hear(10)
    call.audio.silent = True
    await _hold(call, 2.3, direction="inactive")
    await finish(call)


@called(line="long")
async def rfc3264_8_4_hold_by_address_zero_and_resume(call: Call) -> None:
    await answer(call)
    await call.audio.hear(10)
    held = await call.reinvite(call.sdp(address="0.0.0.0"))
    assert held.sdp.direction in {"sendrecv", "recvonly", "inactive"}
    await asyncio.sleep(0.8)
    await call.reinvite(call.sdp())
    await call.audio.hear(20)
    await finish(call)


async def _move(call: Call, method: str) -> None:
    """Go to another port, and speak there at once: SDP says only where audio is to be sent."""
    call.audio.move()
    await call.reinvite(call.sdp(), method)
    await call.audio.hear(50)


@called(line="long")
async def rfc3264_8_3_1_media_moves_to_another_port(call: Call) -> None:
    await answer(call)
    await call.audio.hear(10)
    await _move(call, "INVITE")
    await finish(call)


@called(line="long")
async def rfc3311_5_1_media_moves_by_update(call: Call) -> None:
    await answer(call)
    await call.audio.hear(10)
    await _move(call, "UPDATE")
    await finish(call)


@called(line="long")
async def rfc4568_7_1_4_another_key_in_mid_call(call: Call) -> None:
    await answer(call)
    await call.audio.hear(10)
    call.audio.draw_key()
    final = await call.reinvite(call.sdp())
    call.audio.use_key()
    assert final.sdp.crypto[0][0] == 1
    await call.audio.hear(50)
    await finish(call)


@called(line="long")
async def rfc3264_8_3_2_another_codec_in_mid_call(call: Call) -> None:
    await answer(call)
    await call.audio.hear(10)
    call.audio.payload_type = PCMU
    await call.reinvite(call.sdp(codecs=(PCMU, EVENT)))
    await asyncio.sleep(0.3)
    assert call.audio.payload_types[PCMU], f"heard {dict(call.audio.payload_types)}"
    await finish(call)


@called(line="long")
async def rfc3261_14_2_what_cannot_be_done_gets_488_and_the_call_goes_on(call: Call) -> None:
    await answer(call)
    video = "v=0\r\no=odd 9 9 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=video 30000 RTP/SAVP 99\r\n"
    final = await call.ask("INVITE", body=video.format(call.address) + "a=rtpmap:99 H264/90000\r\n")
    assert final.status == 488, f"an offer of video only got {final.start}"
    await call.audio.hear(30)
    await finish(call)


@called(line="long")
async def rfc3264_8_1_a_video_line_is_added_and_refused_with_port_0(call: Call) -> None:
    await answer(call)
    video = ["m=video 30000 RTP/SAVP 99", "a=rtpmap:99 H264/90000"]
    final = await call.reinvite(call.sdp(after=video))
    assert [line[0].split()[:2] for line in final.sdp.media][1] == ["m=video", "0"]
    await call.audio.hear(30)
    await finish(call)


@called(line="long")
async def rfc3261_14_2_a_reinvite_without_body_gets_our_offer(call: Call) -> None:
    await answer(call)
    final = await call.ask("INVITE")
    assert final.status == 200, f"a re-INVITE without a body got {final.start}"
    assert final.sdp.port == call.offer.port
    call.ack(final, body=call.sdp())
    await call.audio.hear(30)
    await finish(call)


@called(line="long")
async def rfc3261_12_2_2_a_reinvite_that_is_no_sdp_gets_415(call: Call) -> None:
    await answer(call)
    final = await call.ask("INVITE", body="hello", kind="text/plain")
    assert final.status == 415, f"a body of text got {final.start}"
    await call.audio.hear(30)
    await finish(call)


@called(line="long")
async def rfc4028_7_4_a_refresh_without_change(call: Call) -> None:
    body = call.sdp()
    await answer(call, body)
    for method in ("INVITE", "UPDATE"):
        final = await call.ask(method, body=body)
        assert final.status == 200, f"the refresh got {final.start}"
        if method == "INVITE":
            call.ack(final)
    await finish(call)


# What is no RTP (RFC 7983, 5761).


async def _with_datagrams(call: Call, *datagrams: bytes) -> None:
    await answer(call)
    for _ in range(3):
        await asyncio.sleep(0.2)
        for datagram in datagrams:
            call.audio.send(datagram)
    await finish(call)


@called()
async def rfc7983_7_stun_on_the_rtp_port(call: Call) -> None:
    await _with_datagrams(call, STUN)


@called()
async def rfc7983_7_dtls_on_the_rtp_port(call: Call) -> None:
    await _with_datagrams(call, DTLS)


@called()
async def rfc6263_4_1_empty_and_crlf_datagrams_on_the_rtp_port(call: Call) -> None:
    await _with_datagrams(call, b"", b"\r\n\r\n", b"\0\0\0\0")


@called()
async def rfc5761_4_rtcp_on_the_rtp_port(call: Call) -> None:
    await answer(call, call.sdp(lines=["a=rtcp-mux"]))
    for _ in range(3):
        await asyncio.sleep(0.2)
        call.audio.send(call.audio.receiver_report())
    await finish(call)


@called(broken("not authentic"))
async def rfc3711_3_3_srtp_under_another_key_is_no_good(call: Call) -> None:
    body = call.sdp()
    call.audio.new_key()
    await answer(call, body)
    await call.until_bye()


@called()
async def rfc3264_5_1_audio_comes_from_another_port_than_it_goes_to(call: Call) -> None:
    # SDP says only where audio is to be sent; where it comes from is free (RFC 4961 merely recommends the same).
    other = call.more_audio()
    body = call.sdp(crypto=[f"1 {other.suite} {other.inline}"])
    other.remote = call.audio.remote
    call.answer(body)
    other.start()
    await call.expect("ACK")
    await call.until_bye()
    other.stop()
    assert call.audio.good >= 20


# SDP.


@called()
async def rfc4566_5_lines_that_nobody_needs(call: Call) -> None:
    session = ["i=odd", "u=http://odd.test/", "e=odd@odd.test", "p=+91 80 1234", "b=CT:10000", "b=X-odd:1"]
    lines = ["a=silenceSupp:off - - - -", "a=sqn: 0", "a=cdsc: 1 image udptl t38", "a=ssrc:1 cname:odd", "a=x"]
    await answer(call, call.sdp(session=session, lines=lines))
    await finish(call)


@called()
async def rfc4566_5_lines_end_in_lf_alone(call: Call) -> None:
    await answer(call, call.sdp().replace("\r\n", "\n"))
    await finish(call)


@called()
async def rfc3264_6_1_the_answer_has_both_codecs_and_pcmu_is_spoken(call: Call) -> None:
    call.audio.payload_type = PCMU
    await answer(call, call.sdp(codecs=(PCMA, PCMU, EVENT)))
    await finish(call)


@called()
async def rfc3264_6_1_the_answer_has_another_event_type_than_the_offer(call: Call) -> None:
    body = call.sdp(codecs=(PCMA,), lines=["a=rtpmap:96 telephone-event/8000", "a=fmtp:96 0-15"])
    await answer(call, body.replace("RTP/SAVP 8\r\n", "RTP/SAVP 8 96\r\n"))
    await finish(call)


@called()
async def rfc3264_6_1_the_address_stands_in_the_media_only(call: Call) -> None:
    body = call.sdp()
    row = f"c=IN IP4 {call.address}\r\n"
    media = body.replace(row, "").replace("a=rtpmap:8", f"{row}a=rtpmap:8", 1)
    await answer(call, media)
    await finish(call)


# SIP.


@called()
async def rfc3261_13_2_2_4_no_ringing_at_all(call: Call) -> None:
    call.answer(call.sdp())
    call.audio.start()
    await call.expect("ACK")
    await finish(call)


async def _record_routes(call: Call, route: str) -> None:
    call.record_route = [route]
    call.answer(call.sdp())
    call.audio.start()
    for request in (await call.expect("ACK"), await call.until_bye()):
        # A loose router: the target stays the Contact, and the route names the router (RFC 3261 section 12.2.1.1).
        assert request.uri == f"sip:odd@{call.contact};transport=tls", request.start
        routes = request.all("Route")
        assert any(call.contact in one and "lr" in one for one in routes), routes
    assert call.audio.good >= 20


@called()
async def rfc3261_20_30_a_bare_record_route_as_in_the_operators_sample(call: Call) -> None:
    await _record_routes(call, f"sip:{call.contact};transport=tls;lr")


@called()
async def rfc3261_20_30_lr_stands_behind_the_bracket(call: Call) -> None:
    await _record_routes(call, f"<sip:{call.contact};transport=tls>;lr")


@called()
async def rfc3261_20_30_lr_has_a_value(call: Call) -> None:
    await _record_routes(call, f"<sip:{call.contact};transport=tls;lr=on;ftag=1;did=a.b>")


@called()
async def rfc3261_25_1_white_space_in_via(call: Call) -> None:
    def spaced(text: str) -> str:
        return re.sub(r"Via: SIP/2\.0/TLS ([^;]+);", r"Via: SIP / 2.0 / TLS  \1 ; ", text)

    call.send(spaced(call.response(180)))
    call.send(spaced(call.response(200, body=call.sdp())))
    call.audio.start()
    await call.expect("ACK")
    await finish(call)


@called()
async def rfc3261_7_3_3_compact_forms_and_folded_rows(call: Call) -> None:
    text = call.response(200, body=call.sdp())
    for long, short in [("Via", "v"), ("From", "f"), ("To", "t"), ("Call-ID", "i"), ("Contact", "m")]:
        text = text.replace(f"\r\n{long}: ", f"\r\n{short} :  ")
    text = text.replace("Content-Type: ", "c:\r\n ").replace("Content-Length: ", "l: ").replace(";tag=", "\r\n ;tag=")
    call.send(text)
    call.audio.start()
    await call.expect("ACK")
    await finish(call)


@called()
async def rfc3966_3_tel_uris_with_separators(call: Call) -> None:
    headers = [
        ("P-Asserted-Identity", "<tel:+91-80-(1234)-5678;phone-context=+91>"),
        ("P-Asserted-Identity", '"Odd, one" <sip:+918012345678;npdi;rn=+9180@odd.test;user=phone>'),
        ("Remote-Party-ID", "<tel:+91.80.1234.5678>;party=called;privacy=off"),
    ]
    await answer(call, headers=headers)
    await finish(call)


@called()
async def rfc3261_19_1_1_the_contact_has_parameters_in_its_user_part(call: Call) -> None:
    uri = f"sip:+918012345678;npdi;rn=+9180@{call.contact};transport=tls;user=phone;x-odd=1"
    call.answer(call.sdp(), contact=f'"Odd, <one>" <{uri}>;expires=60;+sip.instance="<urn:uuid:1>"')
    call.audio.start()
    ack = await call.expect("ACK")
    assert ack.uri == uri, ack.uri
    await finish(call)


@called()
async def rfc3261_18_3_a_response_that_cannot_be_parsed_between_good_ones(call: Call) -> None:
    call.ring()
    text = call.response(183)
    call.send(text.replace("SIP/2.0 183", "SIP/2.0 one-eighty-three"))
    call.send(text.replace("From: ", "From: <<<"))
    call.send(text.replace(f"CSeq: {call.invite['CSeq']}", "CSeq: odd"))
    await asyncio.sleep(0.1)
    await answer(call)
    await finish(call)


@called(line="own", roles=TRUNK)
async def rfc3261_18_3_a_response_comes_in_small_pieces(call: Call) -> None:
    text = call.response(200, body=call.sdp()).encode()
    for start in range(0, len(text), 40):
        call.wire.send(text[start : start + 40])
        await asyncio.sleep(0.005)
    call.audio.start()
    await call.expect("ACK")
    await finish(call)


@called()
async def rfc3261_13_2_2_4_the_200_comes_twice(call: Call) -> None:
    call.answer(text := call.sdp())
    call.audio.start()
    await call.expect("ACK")
    call.answer(text)
    await call.expect("ACK")
    await finish(call)


@called()
async def rfc3261_13_3_1_4_the_ack_is_lost(call: Call) -> None:
    body = call.sdp()
    call.answer(body)
    call.audio.start()
    for wait_s in (0.5, 1.0):
        await call.expect("ACK")
        await asyncio.sleep(wait_s / 2)
        call.answer(body)
    await call.expect("ACK")
    await finish(call)


@called()
async def rfc3261_15_1_byes_cross(call: Call) -> None:
    await answer(call)
    bye = await call.expect("BYE", within_s=10)
    call.audio.stop()
    call.send(call.request("BYE"))
    call.respond(200, to=bye)
    final = await call.expect("2xx BYE", "4xx BYE")
    assert final.status in {200, 481}
    call.hung_up = True
    assert call.audio.good >= 20


@called(Right("dropped", ("hung up",), is_heard=False, columns={"ended_by": "peer", "bye_cause": 38}), line="long")
async def rfc3326_2_the_far_end_hangs_up_early_and_says_why(call: Call) -> None:
    await answer(call)
    await asyncio.sleep(0.6)
    final = await call.hang_up(headers=[("Reason", 'Q.850;cause=38;text="Network out of order"')])
    assert final.status == 200


@called(Right("dropped", ("hung up",), is_heard=False, columns={"ended_by": "peer"}), line="long")
async def rfc3261_15_1_the_far_end_hangs_up_early(call: Call) -> None:
    await answer(call)
    await asyncio.sleep(0.6)
    assert (await call.hang_up()).status == 200


@called(line="long")
async def rfc3261_12_2_2_requests_out_of_order(call: Call) -> None:
    await answer(call)
    final = await call.ask("OPTIONS")
    assert final.status == 200, f"OPTIONS in the dialog got {final.start}"
    call.send(call.request("INFO", cseq=call.cseq - 1))
    final = await call.expect("5xx INFO", "4xx INFO")
    assert final.status == 500, f"a request that is out of order got {final.start}"
    await finish(call)


@called(line="long")
async def rfc3261_8_2_1_methods_that_we_do_not_do(call: Call) -> None:
    await answer(call)
    for method in ("FOO", "PUBLISH"):
        final = await call.ask(method)
        assert final.status in {405, 501}, f"{method} got {final.start}"
    for method in ("INFO", "MESSAGE", "NOTIFY", "REFER"):
        final = await call.ask(method)
        assert final.status, method
    await finish(call)


@called(line="very long", roles=TRUNK, is_long=True)
async def rfc3261_14_1_a_refresh_that_fails_is_tried_again(call: Call) -> None:
    headers = [("Require", "timer"), ("Session-Expires", "48;refresher=uac")]
    await answer(call, headers=headers)
    for status in (491, 503):
        refresh = await call.expect("INVITE", "UPDATE", within_s=26)
        call.respond(status, to=refresh)
        if refresh.method == "INVITE":
            await call.expect("ACK")
    await call.until_bye(within_s=30)


@called(Right("abandoned", (), 487, is_heard=False), line="abandon")
async def rfc3261_9_1_the_caller_gives_up(call: Call) -> None:
    call.ring()
    cancel = await call.expect("CANCEL")
    call.respond(200, to=cancel)
    call.respond(487)
    await call.expect("ACK")


@called(Right("abandoned", (), 487, is_heard=False), line="abandon")
async def rfc3261_9_1_the_200_crosses_the_cancel(call: Call) -> None:
    call.ring()
    cancel = await call.expect("CANCEL")
    call.answer(call.sdp())
    call.respond(200, to=cancel)
    await call.expect("ACK")
    bye = await call.expect("BYE")
    call.respond(200, to=bye)


# Refusals get their true names.


def _refusal(name: str, status: int, right: Right, **headers: str) -> None:
    async def script(call: Call) -> None:
        rows = [(key.replace("_", "-"), value) for key, value in headers.items()]
        call.respond(status, headers=rows)
        await call.expect("ACK")

    script.__name__ = name
    called(right)(script)


_DIGEST = 'Digest realm="odd.test", nonce="1", algorithm=MD5, qop="auth"'
_refusal("rfc3261_22_401_is_unauthorised", 401, refused(401, "unauthorised"), WWW_Authenticate=_DIGEST)
_refusal("rfc3261_22_407_is_unauthorised", 407, refused(407, "unauthorised"), Proxy_Authenticate=_DIGEST)
_refusal("rfc3261_21_4_4_403_is_forbidden", 403, refused(403, "forbidden"))
_refusal(
    "rfc3326_2_403_with_a_reason",
    403,
    refused(403, "forbidden", cause=57),
    Reason='Q.850;cause=57;text="not on the whitelist"',
)
_refusal("rfc3261_21_4_5_404", 404, refused(404, "not_found"))
_refusal("rfc6585_4_429_is_throttled", 429, refused(429, "throttled", retry_after_s=7.0), Retry_After="7")
_refusal("rfc3261_21_4_26_488", 488, refused(488, "not_acceptable"))
_refusal("rfc3261_21_4_19_480_is_no_answer", 480, refused(480, "no_answer"))
_refusal("rfc3261_21_4_22_484", 484, refused(484, "not_found"))
_refusal("rfc3261_21_4_24_486_is_busy", 486, refused(486, "busy"))
_refusal("rfc3261_21_6_1_600_is_busy", 600, refused(600, "busy"))
_refusal("rfc3261_21_6_2_603", 603, refused(603, "carrier_rejected"))
_refusal(
    "rfc3261_21_5_4_503_with_retry_after", 503, refused(503, "throttled", retry_after_s=3.0), Retry_After="3 (odd)"
)
_refusal("rfc3326_2_503_without_circuit", 503, refused(503, "no_channel", cause=34), Reason="Q.850;cause=34")
_refusal(
    "rfc3326_2_503_with_two_reasons",
    503,
    refused(503, "throttled", cause=42),
    Reason='SIP;cause=503;text="a, b; cause=1", Q.850 ;cause= 42 ;text="congestion"',
)
_refusal(
    "rfc3261_8_1_3_4_a_redirect_is_told",
    302,
    refused(302, "redirected"),
    Contact="<sip:+918012345678@192.0.2.7;transport=tls>;q=0.5, <tel:+918012345678>",
)


@called(refused(403, "forbidden", "Exophone 12 is not yours", "odd.test"))
async def rfc3261_20_43_a_refusal_says_why_in_a_warning(call: Call) -> None:
    warning = [("Warning", '399 odd.test "Exophone 12 is not yours"')]
    call.respond(403, phrase="Forbidden (odd.test)", headers=warning)
    await call.expect("ACK")


# What takes long.


@called(roles=TRUNK, is_long=True)
async def rfc3261_13_3_1_1_ringing_for_35_seconds(call: Call) -> None:
    call.ring()
    for _ in range(7):
        await asyncio.sleep(5)
        assert call.find("CANCEL") is None, "the caller gave up"
        call.ring()
    await answer(call)
    await finish(call)


# What must harm nobody else: all other calls are its neighbours.


async def _answers_with(call: Call, body: str) -> None:
    call.ring()
    call.answer(body)
    await call.expect("ACK")
    await call.until_bye()


@called(broken())
async def rfc3264_5_1_the_answer_has_port_65535(call: Call) -> None:
    await _answers_with(call, call.sdp(port=65535))


@called(broken())
async def rfc3264_5_1_the_answer_has_port_65535_and_rtcp_of_its_own(call: Call) -> None:
    await _answers_with(call, call.sdp(port=65535, lines=["a=rtcp:65536"]))


@called(broken())
async def rfc3264_6_the_answer_has_port_0(call: Call) -> None:
    await _answers_with(call, call.sdp(port=0))


@called(broken())
async def rfc4566_5_7_the_answer_has_an_ipv6_address(call: Call) -> None:
    await _answers_with(call, call.sdp(address="::1", family="IP6"))


@called(broken("192.0.2.7"))
async def rfc4566_5_7_the_answer_names_a_third_host(call: Call) -> None:
    await _answers_with(call, call.sdp(address="192.0.2.7"))


@called(broken())
async def rfc4566_5_7_the_answer_has_a_name_for_an_address(call: Call) -> None:
    await _answers_with(call, call.sdp(address="media.odd.invalid"))


@called(broken())
async def rfc4566_5_7_the_answer_has_a_multicast_address(call: Call) -> None:
    await _answers_with(call, call.sdp(address="224.2.1.1/127"))


@called(broken())
async def rfc4566_5_7_the_answer_has_the_broadcast_address(call: Call) -> None:
    await _answers_with(call, call.sdp(address="255.255.255.255"))


@called(broken())
async def rfc3264_6_the_answer_is_no_sdp(call: Call) -> None:
    await _answers_with(call, "\0\1\2 nothing \xff")


@called(broken())
async def rfc3264_6_the_answer_is_missing(call: Call) -> None:
    await _answers_with(call, "")


@called(line="long")
async def rfc3264_8_a_reinvite_names_a_third_host_and_is_refused(call: Call) -> None:
    await answer(call)
    final = await call.ask("INVITE", body=call.sdp(address="192.0.2.7"))
    assert final.status == 488, f"the re-INVITE got {final.start}"
    await call.audio.hear(20)
    await finish(call)


@called(line="long")
async def rfc3264_8_a_reinvite_has_port_65535_and_is_refused(call: Call) -> None:
    await answer(call)
    final = await call.ask("INVITE", body=call.sdp(port=65535))
    assert final.status in {200, 488}
    if final.status == 200:
        call.ack(final)
        final = await call.ask("INVITE", body=call.sdp())
        call.ack(final)
    await call.audio.hear(20)
    await finish(call)


@called(Right("connection_failed", ("connection",), None, is_heard=False), line="own", roles=TRUNK)
async def rfc3261_18_4_the_connection_is_reset_while_it_rings(call: Call) -> None:
    call.ring()
    await asyncio.sleep(0.1)
    call.wire.abort()


@called(line="own", roles=TRUNK)
async def rfc5923_the_connection_is_lost_in_mid_call_and_the_bye_takes_another(call: Call) -> None:
    await answer(call)
    await asyncio.sleep(0.3)
    first = call.wire
    first.abort()
    await call.until_bye()
    assert call.wire is not first


async def _to_their_contact(call: Call) -> Wire:
    """A connection of a stranger to where the other side says that it listens."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    found = re.fullmatch(r"sips?:(?:[^@]*@)?([^:;]+):(\d+).*", call.target)
    assert found, call.target
    try:
        return await call.peer.connect(found[1], int(found[2]), STRANGER, context, found[1])
    except OSError as error:
        raise AssertionError(f"nobody listens on their Contact {call.target}: {error}") from None


@called()
async def rfc3261_8_1_1_8_their_contact_is_listened_on(call: Call) -> None:
    await answer(call)
    await _to_their_contact(call)
    await finish(call)


@called()
async def rfc3261_17_1_3_a_response_over_a_strangers_connection_does_nothing(call: Call) -> None:
    call.ring()
    wire = await _to_their_contact(call)
    call.send(call.response(603), wire)
    await asyncio.sleep(0.3)
    assert call.find("ACK") is None, "a stranger's 603 was taken for the answer"
    await answer(call)
    await finish(call)


@called(line="long")
async def rfc3261_12_2_2_a_bye_over_a_strangers_connection_does_nothing(call: Call) -> None:
    await answer(call)
    wire = await _to_their_contact(call)
    call.send(call.request("BYE"), wire)
    await asyncio.sleep(0.5)
    await call.audio.hear(20)
    await finish(call)


@called(line="long")
async def rfc3261_11_2_options_outside_a_dialog(call: Call) -> None:
    await answer(call)
    rows = [("Via", f"SIP/2.0/TLS {call.contact};branch={new_branch()}"), ("Max-Forwards", "70")]
    rows += [("From", "<sip:odd@odd.test>;tag=1"), ("To", f"<{call.target}>"), ("Call-ID", call.call_id)]
    call.send(write(f"OPTIONS {call.target} SIP/2.0", [*rows, ("CSeq", "1 OPTIONS")]))
    final = await call.expect("2xx OPTIONS", "4xx OPTIONS", "5xx OPTIONS")
    assert final.status == 200, f"OPTIONS got {final.start}"
    await finish(call)


# Other addresses, other versions.


@called(run="ipv6", line="long", roles=TRUNK)
async def rfc3261_19_1_1_every_address_is_ipv6(call: Call) -> None:
    await answer(call)
    await finish(call)


@called(run="ipv6", line="long", roles=TRUNK)
async def rfc4566_5_7_media_moves_under_ipv6(call: Call) -> None:
    await answer(call)
    await call.audio.hear(10)
    await _move(call, "INVITE")
    await finish(call)


@called(run="tls12", roles=TRUNK)
async def rfc5246_the_peer_knows_tls_1_2_only(call: Call) -> None:
    await answer(call)
    await finish(call)
