"""What calling telephones do to the trunk of `serve`, one script each. A script says itself what is right."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import Awaitable, Callable
from typing import cast

from tests.odd.audio import DTLS, EVENT, PCMA, PCMU, STUN, SUITE_32, SUITE_80, inline
from tests.odd.peer import Message, Wire, new_branch, write
from tests.odd.play import Telephone
from tests.odd.scenario import Script, caller

LONG_KEY = "inline:" + "QUJD" * 15 + "QQ=="
"""46 octets: the key of an AES_256_CM suite (RFC 6188)."""
VIDEO = ("m=video 30000 RTP/SAVP 99", "a=rtpmap:99 H264/90000")


def dials(
    *, line: str = "short", run: str = "calls"
) -> Callable[[Callable[[Telephone], Awaitable[None]]], Callable[[Telephone], Awaitable[None]]]:
    """Declare a script of a calling telephone."""

    def declare(script: Callable[[Telephone], Awaitable[None]]) -> Callable[[Telephone], Awaitable[None]]:
        caller(line=line, run=run)(cast(Script, script))
        return script

    return declare


async def healthy(call: Telephone, **options: object) -> Message:
    """Dial, be answered, hear the called side, hang up."""
    call.dial(**options)
    final = await call.answered()
    await call.talk()
    return final


def chosen(final: Message) -> tuple[int, str]:
    """Tag and suite of the answer."""
    ((tag, suite, _, value),) = final.sdp.crypto
    assert value.split()[2].count("|") == 0, f"the answer has key parameters: {value}"
    return tag, suite


# Crypto (RFC 4568).


@dials()
async def rfc3264_5_1_a_plain_call(call: Telephone) -> None:
    await healthy(call)


@dials()
async def rfc4568_5_1_2_aes_256_is_offered_first(call: Telephone) -> None:
    own = f"2 {SUITE_80} {call.audio.inline}"
    final = await healthy(call, body=call.sdp(crypto=[f"1 AES_256_CM_HMAC_SHA1_80 {LONG_KEY}", own]))
    assert chosen(final) == (2, SUITE_80)


@dials(line="suites")
async def rfc4568_5_1_2_the_short_tag_is_offered_first(call: Telephone) -> None:
    other = f"1 {SUITE_32} {inline(os.urandom(30))}"
    call.dial(body=call.sdp(crypto=[other, f"2 {SUITE_80} {call.audio.inline}"]))
    final = await call.final()
    assert final.status == 200, final.start
    call.established(final)
    call.ack(final)
    if chosen(final)[1] == SUITE_32:
        # Either may be taken where the study has both; then both sides must use it.
        call.audio.new_key(SUITE_32)
        await call.hang_up()
        return
    call.follow(final.sdp)
    call.audio.start()
    await call.talk()


@dials()
async def rfc4568_5_1_2_the_short_tag_is_offered_first_and_not_ours(call: Telephone) -> None:
    other = inline(os.urandom(30))
    final = await healthy(call, body=call.sdp(crypto=[f"1 {SUITE_32} {other}", f"2 {SUITE_80} {call.audio.inline}"]))
    assert chosen(final) == (2, SUITE_80)


async def _second_of(call: Telephone, first: str) -> None:
    """An attribute that we do not do comes first; the next one must be taken."""
    final = await healthy(call, body=call.sdp(crypto=[first, f"2 {SUITE_80} {call.audio.inline}"]))
    assert chosen(final) == (2, SUITE_80)


def _key() -> str:
    """The key of a stream that is never sent."""
    return inline(os.urandom(30))


@dials()
async def rfc4568_6_1_mki_is_offered_first(call: Telephone) -> None:
    await _second_of(call, f"1 {SUITE_80} {_key()}|2^20|1:4")


@dials()
async def rfc4568_6_1_mki_without_lifetime_is_offered_first(call: Telephone) -> None:
    await _second_of(call, f"1 {SUITE_80} {_key()}|1:4")


@dials()
async def rfc4568_6_1_two_keys_are_offered_first(call: Telephone) -> None:
    key = _key()
    await _second_of(call, f"1 {SUITE_80} {key}|2^20|1:4;{key}|2^20|2:4")


@dials()
async def rfc4568_6_3_2_unencrypted_srtp_is_offered_first(call: Telephone) -> None:
    await _second_of(call, f"1 {SUITE_80} {_key()} UNENCRYPTED_SRTP")


@dials()
async def rfc4568_6_3_3_unauthenticated_srtp_is_offered_first(call: Telephone) -> None:
    await _second_of(call, f"1 {SUITE_80} {_key()} UNAUTHENTICATED_SRTP")


@dials()
async def rfc4568_6_3_1_a_key_derivation_rate_is_offered_first(call: Telephone) -> None:
    await _second_of(call, f"1 {SUITE_80} {_key()} KDR=1")


@dials()
async def rfc4568_6_3_4_fec_order_is_offered_first(call: Telephone) -> None:
    await _second_of(call, f"1 {SUITE_80} {_key()} FEC_ORDER=FEC_SRTP")


@dials()
async def rfc4568_6_3_7_an_unknown_parameter_is_offered_first(call: Telephone) -> None:
    await _second_of(call, f"1 {SUITE_80} {_key()} ODD=1")


@dials()
async def rfc4568_6_3_7_an_unknown_parameter_may_be_ignored(call: Telephone) -> None:
    await healthy(call, body=call.sdp(crypto=[f"1 {SUITE_80} {call.audio.inline} -ODD=1"]))


@dials()
async def rfc4568_9_1_an_attribute_that_cannot_be_read_is_offered_first(call: Telephone) -> None:
    await _second_of(call, f"1 {SUITE_80} inline:odd!")


@dials()
async def rfc4568_6_1_a_lifetime_as_a_power(call: Telephone) -> None:
    await healthy(call, body=call.sdp(crypto=[f"1 {SUITE_80} {call.audio.inline}|2^48"]))


@dials()
async def rfc4568_6_1_a_lifetime_as_a_number(call: Telephone) -> None:
    await healthy(call, body=call.sdp(crypto=[f"1 {SUITE_80} {call.audio.inline}|1048576"]))


@dials()
async def rfc4568_7_1_2_nothing_that_we_do_is_offered(call: Telephone) -> None:
    lines = [f"1 AES_256_CM_HMAC_SHA1_80 {LONG_KEY}", f"2 {SUITE_80} {_key()} UNENCRYPTED_SRTP"]
    call.dial(body=call.sdp(crypto=lines))
    await call.refused(488)


@dials()
async def rfc4568_7_1_2_no_crypto_at_all(call: Telephone) -> None:
    call.dial(body=call.sdp(crypto=[]))
    await call.refused(488)


# Which audio line (RFC 3264 section 5.1).


def _answered_lines(final: Message) -> list[tuple[str, bool]]:
    """Each media line of the answer: what it is, and whether it was accepted."""
    return [(line[0].split()[0], line[0].split()[1] != "0") for line in final.sdp.media]


@dials()
async def rfc3264_6_avp_stands_before_savp(call: Telephone) -> None:
    avp = ["m=audio 30000 RTP/AVP 8", "a=rtpmap:8 PCMA/8000"]
    final = await healthy(call, body=call.sdp(before=avp))
    assert _answered_lines(final) == [("m=audio", False), ("m=audio", True)]


@dials()
async def rfc3264_6_of_two_secure_audio_lines_one_is_taken(call: Telephone) -> None:
    other = [f"m=audio 30000 RTP/SAVP {PCMA}", f"a=crypto:1 {SUITE_80} {_key()}"]
    final = await healthy(call, body=call.sdp(after=other))
    assert _answered_lines(final) == [("m=audio", True), ("m=audio", False)]


@dials()
async def rfc3264_6_an_audio_line_with_port_0_comes_first(call: Telephone) -> None:
    zero = [f"m=audio 0 RTP/SAVP {PCMA}", f"a=crypto:1 {SUITE_80} {_key()}"]
    final = await healthy(call, body=call.sdp(before=zero))
    assert _answered_lines(final) == [("m=audio", False), ("m=audio", True)]


@dials()
async def rfc3264_6_video_before_and_fax_after(call: Telephone) -> None:
    final = await healthy(call, body=call.sdp(before=VIDEO, after=["m=image 30002 udptl t38"]))
    assert _answered_lines(final) == [("m=video", False), ("m=audio", True), ("m=image", False)]


@dials()
async def rfc9143_7_a_bundle_group(call: Telephone) -> None:
    body = call.sdp(
        session=["a=group:BUNDLE a v"], lines=["a=mid:a", "a=rtcp-mux"], after=[*VIDEO, "a=mid:v", "a=bundle-only"]
    )
    final = await healthy(call, body=body)
    assert _answered_lines(final) == [("m=audio", True), ("m=video", False)]


@dials()
async def rfc3264_6_only_port_0_is_offered(call: Telephone) -> None:
    # A line with port 0 is answered with port 0; without any other there is nothing to agree on.
    call.dial(body=call.sdp(port=0))
    await call.refused(488)


@dials()
async def rfc4566_5_lines_that_nobody_needs(call: Telephone) -> None:
    session = ["i=odd", "u=http://odd.test/", "b=AS:64", "a=tool:odd", "k=prompt", "a=ice-lite"]
    await healthy(call, body=call.sdp(session=session, lines=["a=candidate:1 1 UDP 1 192.0.2.1 9 typ host", "a=x:"]))


@dials()
async def rfc3264_5_1_many_codecs_are_offered(call: Telephone) -> None:
    body = call.sdp(codecs=(111, 9, 18, PCMA, PCMU, 3, 97, EVENT), lines=["a=rtpmap:111 opus/48000/2"])
    await healthy(call, body=body)


@dials()
async def rfc3264_6_1_only_pcmu_is_offered(call: Telephone) -> None:
    call.audio.payload_type = PCMU
    await healthy(call, body=call.sdp(codecs=(PCMU, EVENT)))
    assert set(call.audio.payload_types) == {PCMU}


@dials()
async def rfc3264_6_1_no_codec_of_ours_is_offered(call: Telephone) -> None:
    call.dial(body=call.sdp(codecs=(18, 9)))
    await call.refused(488)


# Packets.


async def _packets_of(call: Telephone, milliseconds: int) -> None:
    call.audio.packet_ms = milliseconds
    await healthy(call, body=call.sdp(lines=[f"a=ptime:{milliseconds}"]))


@dials()
async def rfc3551_4_2_packets_of_40_ms(call: Telephone) -> None:
    await _packets_of(call, 40)


@dials()
async def rfc3551_4_1_pauses_and_comfort_noise(call: Telephone) -> None:
    call.dial(body=call.sdp(codecs=(PCMA, 13, EVENT)))
    await call.answered()
    await call.audio.hear(20)
    await call.audio.pause(0.6, noise_every_s=0.2)
    await call.audio.press("9")
    await call.talk()


@dials()
async def rfc3550_8_2_another_source_in_mid_call(call: Telephone) -> None:
    call.dial()
    await call.answered()
    await call.audio.hear(20)
    call.audio.new_source()
    await call.talk()


@dials()
async def rfc7983_7_datagrams_that_are_no_rtp(call: Telephone) -> None:
    call.dial(body=call.sdp(lines=["a=rtcp-mux"]))
    await call.answered()
    for datagram in (STUN, DTLS, b"", b"\r\n\r\n", call.audio.receiver_report(), b"\x80" * 40):
        call.audio.send(datagram)
        await asyncio.sleep(0.05)
    await call.talk()


# Late offer, 100rel, UPDATE.


@dials()
async def rfc3261_13_2_1_an_invite_without_body_gets_our_offer(call: Telephone) -> None:
    call.dial(body="")
    final = await call.final()
    assert final.status == 200, f"an INVITE without a body got {final.start}"
    call.established(final)
    call.follow(final.sdp)
    tag = final.sdp.crypto[0][0]
    call.ack(final, body=call.sdp(crypto=[f"{tag} {call.audio.suite} {call.audio.inline}"]))
    call.audio.start()
    await call.talk()


@dials()
async def rfc3261_13_2_1_a_late_answer_that_is_no_good_ends_the_call(call: Telephone) -> None:
    call.dial(body="")
    final = await call.final()
    assert final.status == 200, f"an INVITE without a body got {final.start}"
    call.established(final)
    call.ack(final)
    bye = await call.expect("BYE")
    call.respond(200, to=bye)


@dials(line="ringing")
async def rfc3262_3_100rel_is_required(call: Telephone) -> None:
    call.dial(headers=[("Require", "100rel")])
    first = await call.expect("18x INVITE")
    assert "100rel" in first["Require"], f"{first.start} is not reliable"
    call.established(first)
    final = await call.ask("PRACK", headers=[("RAck", f"{first['RSeq']} {first['CSeq']}")])
    assert final.status == 200, f"PRACK got {final.start}"
    await call.answered()
    await call.talk()


@dials(line="ringing")
async def rfc3262_3_100rel_is_supported(call: Telephone) -> None:
    call.dial(headers=[("Supported", "100rel, timer, replaces")])
    first = await call.expect("18x INVITE")
    if "100rel" in first["Require"]:
        call.established(first)
        final = await call.ask("PRACK", headers=[("RAck", f"{first['RSeq']} {first['CSeq']}")])
        assert final.status == 200, f"PRACK got {final.start}"
    await call.answered()
    await call.talk()


@dials(line="ringing")
async def rfc3311_5_2_an_update_before_the_answer(call: Telephone) -> None:
    call.dial()
    first = await call.expect("18x INVITE")
    call.established(first)
    final = await call.ask("UPDATE")
    assert final.status == 200, f"UPDATE got {final.start}"
    await call.answered()
    await call.talk()


@dials(line="ringing")
async def rfc3311_5_2_an_update_with_an_offer_before_ours_is_answered_gets_500_or_504(call: Telephone) -> None:
    call.dial()
    first = await call.expect("18x INVITE")
    call.established(first)
    final = await call.ask("UPDATE", body=call.sdp())
    # The offer of the INVITE is not yet answered (RFC 3311 section 5.2).
    assert final.status in {491, 500, 504}, f"UPDATE got {final.start}"
    await call.answered()
    await call.talk()


# Changes in mid-call.


async def _up(call: Telephone) -> None:
    call.dial()
    await call.answered()
    await call.audio.hear(15)


@dials()
async def rfc3264_8_4_hold_and_resume(call: Telephone) -> None:
    await _up(call)
    for options in ({"direction": "sendonly"}, {"direction": "inactive"}):
        held = await call.reinvite(call.sdp(**options))
        assert held.sdp.direction in {"recvonly", "inactive"}, held.sdp.direction
        await asyncio.sleep(0.1)
        heard = call.audio.good
        await asyncio.sleep(0.4)
        assert call.audio.good == heard, f"{call.audio.good - heard} packets came on hold"
    resumed = await call.reinvite(call.sdp())
    assert resumed.sdp.direction == "sendrecv"
    assert resumed.sdp.version > held.sdp.version, "the session version did not rise"
    await call.talk()


@dials()
async def rfc3264_8_4_hold_by_address_zero_and_resume(call: Telephone) -> None:
    await _up(call)
    await call.reinvite(call.sdp(address="0.0.0.0"))
    await asyncio.sleep(0.3)
    await call.reinvite(call.sdp())
    await call.talk()


@dials()
async def rfc3264_8_3_1_media_moves_to_another_port(call: Telephone) -> None:
    await _up(call)
    call.audio.move()
    await call.reinvite(call.sdp())
    await call.talk()


@dials()
async def rfc3311_5_1_media_moves_by_update(call: Telephone) -> None:
    await _up(call)
    call.audio.move()
    await call.reinvite(call.sdp(), "UPDATE")
    await call.talk()


@dials()
async def rfc4568_7_1_4_another_key_in_mid_call(call: Telephone) -> None:
    await _up(call)
    call.audio.stop()
    call.audio.new_key()
    call.audio.new_source()
    await call.reinvite(call.sdp())
    call.audio.start()
    await call.talk()


@dials()
async def rfc3264_8_3_2_another_codec_in_mid_call(call: Telephone) -> None:
    await _up(call)
    call.audio.payload_type = PCMU
    await call.reinvite(call.sdp(codecs=(PCMU, EVENT)))
    await asyncio.sleep(0.3)
    assert call.audio.payload_types[PCMU], f"heard {dict(call.audio.payload_types)}"
    await call.talk()


@dials()
async def rfc3261_14_2_what_cannot_be_done_gets_488_and_the_call_goes_on(call: Telephone) -> None:
    await _up(call)
    head = call.sdp().split("m=audio", maxsplit=1)[0]
    final = await call.ask("INVITE", body=head + "".join(f"{line}\r\n" for line in VIDEO))
    assert final.status == 488, f"an offer of video only got {final.start}"
    await call.talk()


@dials()
async def rfc3261_14_2_a_reinvite_without_body_gets_our_offer(call: Telephone) -> None:
    await _up(call)
    final = await call.ask("INVITE")
    assert final.status == 200, f"a re-INVITE without a body got {final.start}"
    tag = final.sdp.crypto[0][0]
    call.ack(final, body=call.sdp(crypto=[f"{tag} {call.audio.suite} {call.audio.inline}"]))
    await call.talk()


# SIP.


@dials()
async def rfc3261_20_30_a_bare_record_route_as_in_the_operators_sample(call: Telephone) -> None:
    route = f"sip:{call.contact};transport=tls;lr"
    call.dial(headers=[("Record-Route", route)])
    final = await call.answered()
    assert route in final["Record-Route"]
    call.routes = []
    await call.talk()


@dials()
async def rfc3261_20_30_lr_stands_behind_the_bracket(call: Telephone) -> None:
    call.dial(headers=[("Record-Route", f"<sip:{call.contact};transport=tls>;lr")])
    await call.answered()
    call.routes = []
    await call.talk()


@dials()
async def rfc3261_25_1_white_space_in_via(call: Telephone) -> None:
    await healthy(call, via=f"SIP / 2.0 / TLS  {call.contact} ; branch = {new_branch()} ;rport")


@dials()
async def rfc3261_7_3_3_compact_forms_and_folded_rows(call: Telephone) -> None:
    text = call.invitation()
    for long, short in [("Via", "v"), ("From", "f"), ("To", "t"), ("Call-ID", "i"), ("Contact", "m")]:
        text = text.replace(f"\r\n{long}: ", f"\r\n{short} :  ")
    call.send(text.replace("Content-Type: ", "c:\r\n ").replace("Content-Length: ", "l: "))
    await call.answered()
    await call.talk()


@dials()
async def rfc3261_7_5_crlf_before_the_invite_and_small_pieces(call: Telephone) -> None:
    text = ("\r\n\r\n" + call.invitation()).encode()
    for start in range(0, len(text), 60):
        call.wire.send(text[start : start + 60])
        await asyncio.sleep(0.002)
    await call.answered()
    await call.talk()


@dials()
async def rfc3966_5_the_dialled_number_is_a_tel_uri(call: Telephone) -> None:
    await healthy(call, uri=f"tel:{call.dialled}", to=f"<tel:{call.dialled}>")


@dials()
async def rfc3966_3_the_dialled_number_has_visual_separators(call: Telephone) -> None:
    number = call.dialled
    spaced = f"{number[:3]}-({number[3:6]})-{number[6:9]}.{number[9:]}"
    await healthy(call, uri=f"sip:{spaced}@{call.card['host']}:{call.card['port']};user=phone")


@dials()
async def rfc3261_19_1_1_the_dialled_number_has_parameters(call: Telephone) -> None:
    host = f"{call.card['host']}:{call.card['port']}"
    await healthy(call, uri=f"sip:{call.dialled};npdi;rn=+9180@{host};user=phone")


@dials()
async def rfc3261_19_1_2_the_dialled_number_is_escaped(call: Telephone) -> None:
    host = f"{call.card['host']}:{call.card['port']}"
    await healthy(call, uri=f"sip:%2B{call.dialled[1:]}@{host}")


@dials()
async def rfc3966_5_from_is_a_tel_uri(call: Telephone) -> None:
    # It names no account; the source address does.
    await healthy(call, from_="<tel:+91-80-1234-5678>")


@dials()
async def rfc3261_20_20_from_has_a_quoted_name_with_odd_signs(call: Telephone) -> None:
    name = '"Odd \\"<sip:x@y>;tag=z\\", \u00fc" '
    await healthy(call, from_=f"{name}<sip:+918012345678@{call.account}.pstn.exotel.com>")


def _refusal(name: str, statuses: tuple[int, ...], **options: object) -> None:
    async def script(call: Telephone) -> None:
        call.dial(**options)
        await call.refused(*statuses)

    script.__name__ = name
    dials()(script)


_refusal("rfc3261_8_2_3_a_body_that_is_no_sdp_gets_415", (415,), kind="text/plain", body="hello")
_refusal("rfc3261_8_2_3_an_encoded_body_gets_415", (415,), headers=[("Content-Encoding", "gzip")])
_refusal("rfc3261_8_2_3_an_optional_body_is_not_needed", (488, 200), headers=[("Accept", "application/sdp")], body="x")
_refusal("rfc3261_8_2_2_1_an_unknown_scheme_gets_416", (416,), uri="http://odd.test/")
_refusal("rfc3261_8_2_2_3_an_unknown_extension_gets_420", (420,), headers=[("Require", "odd")])
_refusal("rfc3261_21_4_7_nothing_acceptable_gets_406", (406,), headers=[("Accept", "text/plain")])
_refusal("rfc3261_8_2_2_1_an_unknown_number_gets_404", (404,), uri="sip:+919999999999@odd.test")
_refusal("rfc3261_8_2_2_1_a_number_that_is_none_gets_404_or_484", (404, 484), uri="sip:odd@odd.test")


@dials()
async def rfc3261_21_5_7_an_unknown_version_gets_505(call: Telephone) -> None:
    call.send(call.invitation().replace(" SIP/2.0\r\n", " SIP/7.0\r\n", 1))
    await call.refused(505)


@dials()
async def rfc3261_8_2_2_2_merged_requests_get_482(call: Telephone) -> None:
    text = call.invitation()
    call.send(text)
    branch = re.search(r"branch=(\S+?);", text)
    assert branch
    call.send(text.replace(branch[1], new_branch()))
    loop = await call.expect("482 INVITE")
    call.ack(loop)
    await call.answered()
    await call.talk()


@dials()
async def rfc3261_20_20_a_from_that_cannot_be_read_gets_a_final_answer(call: Telephone) -> None:
    call.dial(from_="<sip:[odd@:::>")
    await call.refused(400)


@dials()
async def rfc3261_20_10_a_contact_that_cannot_be_read_gets_a_final_answer(call: Telephone) -> None:
    call.dial(contact="<sip:")
    await call.refused(400)


@dials(line="ringing")
async def rfc3261_17_2_1_the_same_invite_comes_twice(call: Telephone) -> None:
    text = call.invitation()
    call.send(text)
    await call.expect("18x INVITE")
    call.send(text)
    await call.answered()
    await call.talk()


@dials(line="ringing")
async def rfc3261_9_2_cancel(call: Telephone) -> None:
    text = call.invitation()
    call.send(text)
    await call.expect("18x INVITE")
    call.send(_cancel(text))
    final = await call.expect("2xx CANCEL", "4xx CANCEL")
    assert final.status == 200, final.start
    await call.refused(487)


def _cancel(invite: str) -> str:
    head = Message.read(invite.partition("\r\n\r\n")[0], "")
    rows = [(name, head[name]) for name in ("Via", "From", "To", "Call-ID", "Max-Forwards")]
    number = head["CSeq"].split()[0]
    return write(f"CANCEL {head.uri} SIP/2.0", [*rows, ("CSeq", f"{number} CANCEL")])


@dials(line="busy")
async def rfc3261_21_4_24_busy(call: Telephone) -> None:
    call.dial()
    await call.refused(486)


@dials(line="ringing")
async def rfc3261_9_2_a_cancel_from_a_stranger_does_nothing(call: Telephone) -> None:
    text = call.invitation()
    call.send(text)
    await call.expect("18x INVITE")
    wire = await _stranger(call)
    call.send(_cancel(text), wire)
    await call.answered()
    await call.talk()


async def _stranger(call: Telephone, address: str = "127.0.61.77") -> Wire:
    """Another connection to the trunk, from an address on no whitelist."""
    context = ssl.create_default_context(cafile=call.card["ca_file"])
    return await call.peer.connect(call.card["host"], call.card["port"], address, context, call.card["server_name"])


@dials()
async def rfc3261_12_2_2_a_bye_over_a_strangers_connection_does_nothing(call: Telephone) -> None:
    await _up(call)
    wire = await _stranger(call)
    call.send(call.request("BYE"), wire)
    await asyncio.sleep(0.3)
    await call.talk()


@dials()
async def rfc3261_12_2_2_a_reinvite_over_a_strangers_connection_does_nothing(call: Telephone) -> None:
    await _up(call)
    port = call.audio.port
    wire = await _stranger(call)
    call.send(call.request("INVITE", body=call.sdp(port=port + 2 if port < 40_000 else port - 2)), wire)
    await asyncio.sleep(0.3)
    await call.talk()


@dials()
async def rfc5923_the_same_customer_goes_on_over_a_new_connection(call: Telephone) -> None:
    await _up(call)
    old, call.wire = call.wire, await _stranger(call, call.address)
    old.abort()
    await asyncio.sleep(0.1)
    await call.talk()


@dials()
async def rfc3261_12_2_2_requests_out_of_order(call: Telephone) -> None:
    await _up(call)
    assert (await call.ask("OPTIONS")).status == 200
    call.send(call.request("INFO", cseq=call.cseq - 1))
    final = await call.expect("5xx INFO", "4xx INFO", "2xx INFO")
    assert final.status == 500, f"a request that is out of order got {final.start}"
    await call.talk()


@dials()
async def rfc3261_12_2_2_a_request_of_no_dialog_gets_481(call: Telephone) -> None:
    await _up(call)
    final = await call.ask("BYE", their_tag="odd")
    assert final.status == 481, final.start
    await call.talk()


@dials()
async def rfc3261_8_2_1_methods_that_we_do_not_do_get_405(call: Telephone) -> None:
    await _up(call)
    for method in ("FOO", "PUBLISH"):
        final = await call.ask(method)
        assert final.status in {405, 501}, f"{method} got {final.start}"
    await call.talk()


@dials()
async def rfc3261_11_2_options_outside_a_dialog(call: Telephone) -> None:
    rows = [("Via", f"SIP/2.0/TLS {call.contact};branch={new_branch()};rport"), ("Max-Forwards", "70")]
    rows += [("From", "<sip:odd@odd.test>;tag=1"), ("To", "<sip:odd@odd.test>"), ("Call-ID", call.call_id)]
    call.send(write(f"OPTIONS sip:{call.card['host']} SIP/2.0", [*rows, ("CSeq", "1 OPTIONS")]))
    final = await call.expect("2xx OPTIONS", "4xx OPTIONS")
    assert final.status == 200, final.start
    assert "INVITE" in final["Allow"]
    assert "application/sdp" in final["Accept"]


@dials()
async def rfc3261_13_3_1_4_the_ack_comes_late(call: Telephone) -> None:
    call.dial()
    final = await call.final()
    assert final.status == 200, final.start
    # The second 200 comes after T1.
    again = await call.final()
    assert again.body == final.body
    call.established(again)
    call.follow(again.sdp)
    call.ack(again)
    call.audio.start()
    await call.talk()


@dials()
async def rfc3261_15_1_the_bye_comes_before_the_ack(call: Telephone) -> None:
    call.dial()
    final = await call.final()
    assert final.status == 200, final.start
    call.established(final)
    bye = await call.hang_up()
    assert bye.status == 200, bye.start
    call.ack(final)


@dials()
async def rfc4028_9_a_session_timer_is_agreed(call: Telephone) -> None:
    call.dial(headers=[("Supported", "timer"), ("Session-Expires", "1800;refresher=uac"), ("Min-SE", "90")])
    final = await call.answered()
    assert final["Session-Expires"].replace(" ", "").lower().startswith("1800;refresher=uac")
    await call.talk()


@dials()
async def rfc4028_6_a_session_interval_that_is_too_small_gets_422(call: Telephone) -> None:
    call.dial(headers=[("Supported", "timer"), ("Session-Expires", "10")])
    final = await call.refused(422)
    assert int(final["Min-SE"]) >= 90


@dials()
async def rfc3261_18_2_2_the_response_has_rport_and_received(call: Telephone) -> None:
    await healthy(call, via=f"SIP/2.0/TLS odd.invalid:5061;branch={new_branch()};rport;alias")


# What must harm only its own call is refused before it is answered.


def _harm(name: str, **options: object) -> None:
    async def script(call: Telephone) -> None:
        call.dial(body=call.sdp(**options))
        await call.refused(488)

    script.__name__ = name
    dials()(script)


_harm("rfc3264_5_1_the_offer_has_port_65535", port=65535)
_harm("rfc4566_5_7_the_offer_has_an_ipv6_address", address="::1", family="IP6")
_harm("rfc4566_5_7_the_offer_names_a_third_host", address="192.0.2.7")
_harm("rfc4566_5_7_the_offer_has_a_name_for_an_address", address="media.odd.invalid")
_harm("rfc4566_5_7_the_offer_has_a_multicast_address", address="224.2.1.1/127")
_harm("rfc4566_5_7_the_offer_has_the_broadcast_address", address="255.255.255.255")


@dials()
async def rfc3264_8_a_reinvite_names_a_third_host_and_is_refused(call: Telephone) -> None:
    await _up(call)
    final = await call.ask("INVITE", body=call.sdp(address="192.0.2.7"))
    assert final.status == 488, f"the re-INVITE got {final.start}"
    await call.talk()


@dials()
async def rfc3261_21_4_4_a_stranger_gets_403(call: Telephone) -> None:
    call.wire = await _stranger(call)
    call.dial()
    await call.refused(403)


@dials()
async def rfc3261_18_3_what_is_no_sip_at_all_ends_its_connection_only(call: Telephone) -> None:
    wire = await _stranger(call, call.address)
    wire.send(b"GET / HTTP/1.1\r\nHost: odd.test\r\n\r\n" + b"\0\1\2" * 200)
    await asyncio.sleep(0.2)
    await healthy(call)


@dials(run="ipv6")
async def rfc3261_19_1_1_every_address_is_ipv6(call: Telephone) -> None:
    await healthy(call)
