"""NAT and SIP ALG, read from messages: what comes back otherwise than it was sent."""

from __future__ import annotations

import pytest

from trunkproof.experiments.target.check.findings import CheckName, Checks, State
from trunkproof.experiments.target.check.path import Ends, Reach, judge_descriptions, judge_path, reach_of
from trunkproof.experiments.target.check.wiretap import Trail, Wiretap
from trunkproof.experiments.target.remedies import PathFault
from trunkproof.loadgen.media.report import MediaReport

OURS = "SIP/2.0/TLS 10.0.0.5:5061;alias;branch=z9hG4bK1"
ENDS = Ends("10.0.0.5", "10.0.0.5", "10.0.0.1")


def text(line: str, via: str, body: str = "") -> bytes:
    rows = [
        ("Via", via),
        ("From", "<sip:a@b>;tag=1"),
        ("To", "<sip:c@d>;tag=2"),
        ("Call-ID", "x"),
        ("CSeq", "1 INVITE"),
    ]
    rows += [("Contact", "<sip:a@10.0.0.5:5061;transport=tls>")] if line.startswith("INVITE") else []
    rows += [("Content-Type", "application/sdp")] if body else []
    lines = [line, *(f"{name}: {value}" for name, value in rows), f"Content-Length: {len(body)}", "", body]
    return "\r\n".join(lines).encode()


def trail(*answers: tuple[str, str] | tuple[str, str, str]) -> Trail:
    tap = Wiretap(lambda: 0.0)
    tap("sent", text("INVITE sip:c@d SIP/2.0", OURS))
    for answer in answers:
        tap("received", text(*answer))
    return tap.trail("x")


def sdp(*, address: str, origin: str = "10.0.0.1", version: int = 1) -> str:
    lines = (
        "v=0",
        f"o=- 1 {version} IN IP4 {origin}",
        "s=-",
        f"c=IN IP4 {address}",
        "t=0 0",
        "m=audio 4000 RTP/SAVP 8",
    )
    return "".join(f"{line}\r\n" for line in lines)


@pytest.mark.parametrize(
    ("back", "name", "trouble", "says"),
    [
        (f"{OURS};received=203.0.113.9", CheckName.NAT, PathFault.NAT, "203.0.113.9"),
        (OURS.replace("10.0.0.5:5061", "198.51.100.1:40000"), CheckName.VIA, PathFault.VIA_CHANGED, "198.51.100.1"),
        (OURS.replace("/TLS", "/TCP"), CheckName.VIA, PathFault.VIA_CHANGED, "TCP"),
    ],
)
def test_rfc3581_4_what_comes_back_in_via(back: str, name: CheckName, trouble: PathFault, says: str) -> None:
    checks = Checks("path")
    judge_path(ENDS, [trail(("SIP/2.0 200 OK", back))], checks)
    broken = [check for check in checks if check.state is State.BROKEN]
    assert [(check.name, check.troubles) for check in broken] == [(name, (trouble,))]
    assert says in broken[0].seen


def test_a_private_address_in_our_messages_is_told_where_the_trunk_is_public() -> None:
    checks = Checks("path")
    judge_path(Ends("10.0.0.5", "10.0.0.5", "198.51.100.1"), [trail(("SIP/2.0 200 OK", OURS))], checks)
    found = {check.name: check.state for check in checks}
    # Documentation addresses count as private in Python's list.
    assert found[CheckName.NAT] is State.HOLDS
    judge_path(Ends("10.0.0.5", "10.0.0.5", "8.8.8.8"), [trail(("SIP/2.0 200 OK", OURS))], checks)
    assert checks[-2].name is CheckName.NAT
    assert checks[-2].state is State.BROKEN


def test_a_request_for_another_contact_was_changed_on_the_way() -> None:
    checks = Checks("path")
    bye = ("BYE sip:a@192.168.1.7:5061;transport=tls SIP/2.0", "SIP/2.0/TLS 10.0.0.1;branch=z9hG4bK2")
    judge_path(ENDS, [trail(("SIP/2.0 200 OK", OURS), bye)], checks)
    assert [check.troubles for check in checks if check.name is CheckName.CONTACT] == [(PathFault.CONTACT_CHANGED,)]


@pytest.mark.parametrize(
    ("bodies", "is_changed"),
    [
        ([sdp(address="10.0.0.2"), sdp(address="10.0.0.2")], False),
        ([sdp(address="10.0.0.2"), sdp(address="10.0.0.3")], True),
        ([sdp(address="10.0.0.2"), sdp(address="10.0.0.3", version=2)], False),
        ([sdp(address="10.0.0.2", origin="8.8.8.8")], True),
        ([sdp(address="8.8.8.8", origin="10.0.0.2")], False),
    ],
)
def test_rfc3264_8_a_description_changes_only_with_its_version(bodies: list[str], is_changed: bool) -> None:
    checks = Checks("path")
    answers = [("SIP/2.0 183 Session Progress", OURS, body) for body in bodies]
    judge_descriptions(trail(*answers), MediaReport(), ENDS, checks)
    states = {check.name: check.state for check in checks}
    assert states[CheckName.SDP_WAY] is (State.BROKEN if is_changed else State.HOLDS)


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("127.0.0.1", Reach.LOOPBACK),
        ("[::1]", Reach.LOOPBACK),
        ("192.168.1.1", Reach.PRIVATE),
        ("100.64.0.1", Reach.PRIVATE),
        ("fd00::1", Reach.PRIVATE),
        ("8.8.8.8", Reach.PUBLIC),
        ("media.example", Reach.UNKNOWN),
    ],
)
def test_from_where_an_address_can_be_reached(address: str, reach: Reach) -> None:
    assert reach_of(address) is reach
