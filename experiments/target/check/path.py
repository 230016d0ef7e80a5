"""What stands between us and the trunk: NAT and SIP ALG, read from the messages of all calls, and our own port.

A NAT is seen where the trunk tells the address from which it sees us (`received` and `rport`, RFC 3581). An ALG is seen
where something comes back otherwise than it must: our Via in a response, our Contact in a request of the trunk, or a
description of the trunk that changes without a new version (RFC 3264 section 8).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from trunkproof.experiments.target.check.findings import CheckName, Checks
from trunkproof.experiments.target.check.wiretap import Trail
from trunkproof.experiments.target.remedies import PathFault
from trunkproof.loadgen.media.report import MediaReport
from trunkproof.loadgen.sip.agreement import NOWHERE
from trunkproof.loadgen.sip.fields import Via, uri_host
from trunkproof.loadgen.sip.mask import mask

_ORIGIN = re.compile(rb"^o=\S+ (\S+) (\S+) IN IP[46] (\S+)", re.MULTILINE)
_CONNECTION = re.compile(rb"^c=IN IP[46] ([^\s/]+)", re.MULTILINE)
_AUDIO = re.compile(rb"^m=audio (\d+)", re.MULTILINE)
_SHARED = ipaddress.ip_network("100.64.0.0/10")
"""Between customers and carrier-grade NATs (RFC 6598)."""


class Reach(StrEnum):
    """From where an address can be reached."""

    LOOPBACK = "loopback"
    PRIVATE = "private"
    PUBLIC = "public"
    UNKNOWN = "a name"


def reach_of(address: str) -> Reach:
    """Return from where an address can be reached."""
    try:
        found = ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        return Reach.UNKNOWN
    if found.is_loopback:
        return Reach.LOOPBACK
    private = found.is_private or found.is_link_local or (found.version == _SHARED.version and found in _SHARED)
    return Reach.PRIVATE if private else Reach.PUBLIC


@dataclass(frozen=True, slots=True)
class Ends:
    """The addresses at the two ends of the signalling."""

    ours: str
    """What our Via, Contact and SDP name."""
    local: str
    """Where we call from."""
    theirs: str


def judge_path(ends: Ends, trails: Sequence[Trail], checks: Checks) -> None:
    """Add what all messages say about the path of signalling."""
    _vias(ends, trails, checks)
    _contact(trails, checks)


def _vias(ends: Ends, trails: Sequence[Trail], checks: Checks) -> None:
    pairs = [pair for trail in trails for pair in trail.vias()]
    if not pairs:
        checks.not_tried("no response came", CheckName.VIA, CheckName.NAT)
        return
    changed = next(((sent, back) for sent, back in pairs if _place(sent) != _place(back)), None)
    if changed is not None:
        words = "we sent {}, and {} came back".format(*(" ".join(_place(via)) for via in changed))
        checks.broken(CheckName.VIA, words, PathFault.VIA_CHANGED)
    else:
        checks.holds(CheckName.VIA, f"came back as we sent it, in {len(pairs)} responses")
    # An empty value is our own, and unanswered.
    received = {back.params.get("received") for _, back in pairs} - {None, ""}
    ports = {back.params.get("rport") for _, back in pairs} - {None, ""}
    seen_as = next(iter(sorted(filter(None, received))), None)
    port = f", port {', '.join(sorted(filter(None, ports)))}" if ports else ""
    if seen_as is not None and uri_host(seen_as) != uri_host(ends.ours):
        words = f"the trunk sees us as {seen_as}{port}, and our messages name {ends.ours}"
        checks.broken(CheckName.NAT, words, PathFault.NAT)
    elif reach_of(ends.theirs) is Reach.PUBLIC and reach_of(ends.ours) is Reach.PRIVATE:
        words = f"our messages name the private address {ends.ours}, and the trunk is at {ends.theirs}"
        checks.broken(CheckName.NAT, words, PathFault.NAT)
    elif ends.ours != ends.local:
        checks.holds(CheckName.NAT, f"we call from {ends.local}, and name {ends.ours}{port}")
    else:
        checks.holds(CheckName.NAT, f"none seen: the trunk names no other address than {ends.ours}{port}")


def _place(via: Via) -> tuple[str, str]:
    return via.transport, f"{via.host}:{via.port or ''}"


def _contact(trails: Sequence[Trail], checks: Checks) -> None:
    asked = 0
    for trail in trails:
        ours = trail.contact()
        for request in trail.requests():
            if ours is None or request.method == "ACK":
                continue
            asked += 1
            # Parameters may be left out by a peer that keeps only the address.
            if request.uri.partition(";")[0] != ours.partition(";")[0]:
                words = f"{request.method} came for {mask(request.uri)}, and our Contact is {mask(ours)}"
                checks.broken(CheckName.CONTACT, words, PathFault.CONTACT_CHANGED)
                return
    if asked:
        checks.holds(CheckName.CONTACT, f"{asked} requests of the trunk came for the Contact that we sent")
    else:
        checks.not_tried("cannot be told from here: the trunk sent no request in our calls", CheckName.CONTACT)


def judge_port(accepted: int, place: str, trails: Sequence[Trail], checks: Checks) -> None:
    """Add whether the trunk can reach the address that our Contact names."""
    if accepted:
        checks.holds(CheckName.REACHABLE, f"a connection was opened to {place}")
    elif any(trail.requests() for trail in trails):
        why = f"the trunk's requests came over our own connection; whether it can open one to {place}: --inbound"
        checks.not_tried(why, CheckName.REACHABLE)
    else:
        why = f"cannot be told from here whether the trunk can open a connection to {place}: --inbound"
        checks.not_tried(why, CheckName.REACHABLE)


def judge_descriptions(trail: Trail, report: MediaReport, ends: Ends, checks: Checks) -> None:
    """Add what the peer's descriptions, and the sources of its packets, say about the path of one call's audio."""
    descriptions = trail.descriptions()
    if not descriptions:
        return
    _private(descriptions[-1].address, ends, checks)
    changed = _changed(trail.bodies(ours=False))
    if changed:
        checks.broken(CheckName.SDP_WAY, changed, PathFault.SDP_CHANGED)
    else:
        checks.holds(CheckName.SDP_WAY, "the trunk's SDP is consistent; what it made of ours cannot be told from here")
    if not report.received and not report.stray:
        checks.not_tried("no audio came", CheckName.MEDIA_SOURCE)
    elif report.stray:
        words = f"{report.stray} packets came from another address than {descriptions[-1].address} of the SDP"
        note = checks.remark if report.authenticated else checks.broken
        note(CheckName.MEDIA_SOURCE, words, PathFault.RTP_FROM_ELSEWHERE)
    else:
        checks.holds(CheckName.MEDIA_SOURCE, f"all audio came from {descriptions[-1].address}, as signalled")


def _private(address: str, ends: Ends, checks: Checks) -> None:
    media, signalling = reach_of(address), reach_of(ends.theirs)
    if address in NOWHERE:
        return
    if media is Reach.UNKNOWN:
        checks.broken(CheckName.MEDIA_ADDRESS, f"the SDP names {address!r}, which is no address", PathFault.SDP_CHANGED)
    elif media is not signalling and media is not Reach.PUBLIC:
        words = f"audio is to go to {address} ({media}), and signalling is at {ends.theirs} ({signalling})"
        checks.broken(CheckName.MEDIA_ADDRESS, words, PathFault.PRIVATE_ADDRESS)
    else:
        checks.holds(CheckName.MEDIA_ADDRESS, f"{address} ({media})")


def _changed(bodies: Sequence[bytes]) -> str:
    """Return how the peer's descriptions contradict each other or themselves, empty where they do not."""
    known: dict[tuple[bytes, bytes], tuple[str, str]] = {}
    for body in bodies:
        origin, audio = _ORIGIN.search(body), (_first(_CONNECTION, body), _first(_AUDIO, body))
        if origin is None:
            continue
        # Only what an ALG changes: many peers say hold and resume without a new version, which they should not.
        before = known.setdefault((origin[1], origin[2]), audio)
        if before != audio:
            version = origin[2].decode()
            return f"two SDPs of version {version} put audio at {':'.join(before)} and at {':'.join(audio)}"
        if _translated(origin[3].decode(), audio[0]):
            return f"its origin is {origin[3].decode()}, and its audio is at {audio[0]}"
    return ""


def _first(pattern: re.Pattern[bytes], body: bytes) -> str:
    found = pattern.search(body)
    return "" if found is None else found[1].decode()


def _translated(origin: str, connection: str) -> bool:
    """Tell whether an address was put in place of a public one: whoever knows a public one does not name another."""
    if connection in NOWHERE:
        return False
    return reach_of(origin) is Reach.PUBLIC and reach_of(connection) in {Reach.PRIVATE, Reach.LOOPBACK}
