"""Session descriptions of real telephones, broken in every way: they are read or refused, in time that grows no faster.

A tenth as many descriptions are tried as messages. They are drawn from the seed alone: a failure names its number.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from tests.fuzz.amount import amount

from trunkproof.loadgen.sip.agreement import MediaAgreement
from trunkproof.loadgen.sip.invite import customer_offer, trunk_offer
from trunkproof.loadgen.sip.offer_answer import (
    Capability,
    Judgement,
    Negotiated,
    SdpFault,
    judge_answer,
    negotiate,
    offer_again,
)
from trunkproof.loadgen.sip.sdes import SUITES
from trunkproof.loadgen.sip.sdp import MalformedSdpError, MediaDirection, SessionDescription, write_sdp
from trunkproof.loadgen.sip.sdp_reader import parse_sdp, read_lines, read_usual

COUNT = amount(10)
SEED = 15
KEY, OTHER_KEY = bytes(range(30)), bytes(range(1, 31))
SECURE = Capability("192.0.2.1", 10_000, KEY, rtcp_port=10_001, session_id=7)
CAPABILITIES = [SECURE, replace(SECURE, key=None), replace(SECURE, suites=SUITES[1:], address="2001:db8::1")]
OFFERS = [
    customer_offer("192.0.2.1", 20_000, KEY, session_id=7, suites=SUITES),
    customer_offer("2001:db8::1", 20_000, None, session_id=7),
    offer_again(trunk_offer("192.0.2.1", 10_000, KEY, session_id=7), MediaDirection.SENDONLY),
    replace(trunk_offer("192.0.2.1", 10_000, KEY, session_id=7), before=("video 0 RTP/AVP 31",)),
]
TELEPHONES = [path.read_bytes() for path in sorted((Path(__file__).parents[1] / "cases" / "sdp").glob("*.sdp"))]
ANSWERS = [
    write_sdp(negotiated.answer)
    for offer in OFFERS
    if isinstance(negotiated := negotiate(offer, replace(SECURE, key=OTHER_KEY if offer.crypto else None)), Negotiated)
]
SEEDS = [text.replace(b"\n", b"\r\n") for text in TELEPHONES] + ANSWERS + [write_sdp(offer) for offer in OFFERS]
LINES = [line for text in SEEDS for line in text.split(b"\r\n") if line]
NUMBERS = [
    b"0",
    b"1",
    b"-1",
    b"65535",
    b"65536",
    b"99999999999999999999",
    b"9" * 5000,
    b"1e3",
    b"2^48",
    b"\xd9\xa3",
    b"",
]
BYTES = [
    b"\0",
    b"\r",
    b"\n",
    b"\r\n",
    b" ",
    b"\t",
    b"\xff",
    b"\xe2\x80\xa8",
    b"\x85",
    b"=",
    b":",
    b"/",
    b"|",
    b";",
    b"a=",
]


def change_number(text: bytes, draws: random.Random) -> bytes:
    places = [at for at, byte in enumerate(text) if 48 <= byte <= 57]
    if not places:
        return text
    at = draws.choice(places)
    end = at + 1
    while end < len(text) and 48 <= text[end] <= 57:
        end += 1
    return text[:at] + draws.choice(NUMBERS) + text[end:]


def put_in_bytes(text: bytes, draws: random.Random) -> bytes:
    at = draws.randint(0, len(text))
    return text[:at] + draws.choice(BYTES) + text[at + draws.choice((0, 0, 1, 3)) :]


def change_case(text: bytes, draws: random.Random) -> bytes:
    at = draws.randint(0, len(text))
    return text[:at] + text[at : at + 20].swapcase() + text[at + 20 :]


def cut_short(text: bytes, draws: random.Random) -> bytes:
    return text[: draws.randint(0, len(text))]


def change_ends(text: bytes, draws: random.Random) -> bytes:
    return text.replace(b"\r\n", draws.choice((b"\n", b"\r", b"\r\n ", b"\r\r\n", b"\0\r\n")))


def change_lines(text: bytes, draws: random.Random) -> bytes:
    """Drop, repeat, move or put in a line, perhaps one of another telephone."""
    lines = text.split(b"\r\n")
    at = draws.randrange(len(lines))
    match draws.randrange(6):
        case 0:
            del lines[at]
        case 1:
            lines[at:at] = [lines[at]] * draws.choice((1, 2, 30))
        case 2:
            lines.insert(draws.randrange(len(lines)), lines.pop(at))
        case 3:
            # From a media line on: a whole stream more.
            streams = [place for place, line in enumerate(lines) if line.startswith(b"m=")]
            lines += lines[draws.choice(streams) :] if streams else []
        case _:
            lines.insert(at, draws.choice(LINES))
    return b"\r\n".join(lines)


CHANGES: list[Callable[[bytes, random.Random], bytes]] = [
    change_number, change_number, put_in_bytes, change_case, cut_short, change_ends, *[change_lines] * 3
]  # fmt: skip


def description(number: int) -> bytes:
    """Return the description of that number: one that was changed up to six times."""
    draws = random.Random(SEED * 1_000_000_007 + number)
    text = draws.choice(SEEDS)
    for _ in range(draws.randint(0, 6)):
        text = draws.choice(CHANGES)(text, draws)
    return text


def read(text: bytes) -> SessionDescription | None:
    try:
        return parse_sdp(text)
    except MalformedSdpError:
        return None


def check_agreement(agreed: MediaAgreement, *, secure: bool) -> None:
    assert 0 < agreed.remote_port <= 65_535
    assert 0 < agreed.remote_rtcp_port <= 65_536
    assert agreed.remote_address
    assert agreed.codec.name in {codec.name for codec in agreed.heard_codecs}
    for crypto in (agreed.local_crypto, agreed.remote_crypto):
        assert (crypto is not None) == secure
        assert crypto is None or (len(crypto.key) == 30 and crypto.suite in SUITES and not crypto.unsupported)


def check_negotiated(offer: SessionDescription, capability: Capability, previous: SessionDescription) -> None:
    """Check an answer of ours: it repeats the streams, is accepted by the peer, and is made again alike."""
    found = negotiate(offer, capability, previous)
    if not isinstance(found, Negotiated):
        assert isinstance(found, SdpFault)
        return
    answer, agreed = found
    check_agreement(agreed, secure=capability.key is not None)
    streams = [one for one in (offer, *offer.alternatives) if len(one.before) == len(answer.before)]
    assert len(answer.after) == len(streams[0].after)
    tags = [crypto.tag for crypto in streams[0].crypto]
    written = write_sdp(answer)
    judgement = judge_answer(streams[0], written)
    # Tags are unique within a stream (RFC 4568 section 9.1). Where they are not, the peer cannot know which one is
    # meant.
    if len(set(tags)) == len(tags):
        assert judgement.faults == ()
        check_mirrored(judgement, agreed)
    again = negotiate(offer, capability, answer)
    assert isinstance(again, Negotiated)
    assert write_sdp(again.answer) == written


def check_mirrored(judgement: Judgement, agreed: MediaAgreement) -> None:
    theirs = judgement.agreement
    assert theirs is not None
    assert theirs.heard_codecs[0] == agreed.codec
    assert theirs.heard_event_type == agreed.sent_event_type
    assert (theirs.local_crypto, theirs.remote_crypto) == (agreed.remote_crypto, agreed.local_crypto)
    # On an old-style hold the two sides differ: only one of them knows that nobody listens at 0.0.0.0.
    assert agreed.remote_address in {"0.0.0.0", "::"} or (theirs.sends, theirs.hears) == (agreed.hears, agreed.sends)


def check(number: int) -> None:
    text = description(number)
    offer = read(text)
    usual = read_usual(text.decode(errors="replace"))
    if usual is not None:
        assert usual == read_lines(text.decode(errors="replace"))
    if offer is not None:
        check_negotiated(offer, CAPABILITIES[number % 3], OFFERS[number % 4])
    ours = OFFERS[number % 4]
    judgement = judge_answer(ours, text)
    assert (judgement.agreement is None) == bool(judgement.faults)
    if judgement.agreement is not None:
        check_agreement(judgement.agreement, secure=bool(ours.crypto))


@pytest.mark.parametrize("part", range(10))
def test_any_description_is_read_or_refused(part: int) -> None:
    for number in range(part, COUNT, 10):
        try:
            check(number)
        except Exception as error:
            raise AssertionError(f"description {number}: {description(number)!r}") from error


def work(action: Callable[[], object]) -> int:
    """Return how many lines of Python an action runs."""
    lines = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return lines


@pytest.mark.parametrize(
    "repeated",
    [b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n", b"a=rtpmap:8 PCMA/8000\r\n", b"c=IN IP4 192.0.2.1\n", b"a=x\n",
     b"m=video 4000 RTP/AVP 31\r\n", b"m=audio 4000 RTP/AVP 31\r\n", b"a=sendrecv\n", b"x\r\n", b"a=ptime:x\r\n"],
)  # fmt: skip
@pytest.mark.parametrize("seed", range(0, len(SEEDS), 4))
def test_twice_as_many_lines_cost_no_more_than_twice_the_work(repeated: bytes, seed: int) -> None:
    def answer(times: int) -> Callable[[], object]:
        text = SEEDS[seed] + repeated * times

        def act() -> object:
            offer = read(text)
            judge_answer(OFFERS[0], text)
            return None if offer is None else negotiate(offer, SECURE)

        return act

    # The first time fills caches.
    answer(100)(), answer(200)()
    assert work(answer(200)) <= 2.1 * work(answer(100)) + 100


def test_longest_description_is_refused_or_read_in_bounded_work() -> None:
    body = SEEDS[0] + b"m=audio 4000 RTP/SAVP " + b"8 " * 30_000
    assert work(lambda: judge_answer(OFFERS[0], body)) < 1_000_000
    assert read(b"a=" * 40_000) is None
