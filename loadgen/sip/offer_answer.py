"""Offer and answer (RFC 3264, RFC 4568 section 7): make the answer to an offer, and judge an answer that came back.

These functions only compare session descriptions. They use no socket and draw no key. Every way in which an answer can
break the offer has its own name (`SdpFault`), because a report on a trunk must say exactly what the trunk did wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from trunkproof.loadgen.sip.agreement import NOWHERE, MediaAgreement
from trunkproof.loadgen.sip.sdes import SUITES, Crypto
from trunkproof.loadgen.sip.sdp import (
    AVP,
    SAVP,
    Codec,
    MalformedSdpError,
    MediaDirection,
    SessionDescription,
    write_sdp,
)
from trunkproof.loadgen.sip.sdp_reader import parse_sdp


class SdpFault(StrEnum):
    """A fault of a session description. The most fundamental comes first."""

    NO_SDP = "no session description"
    MALFORMED = "session description cannot be read"
    WRONG_STREAMS = "answer with other streams than were offered"
    PORT_ZERO = "audio refused with port zero"
    PLAIN_RTP = "plain RTP where SRTP is to be used"
    NOT_PLAIN = "SRTP where plain RTP is to be used"
    WRONG_PROFILE = "RTP profile that cannot be used"
    NO_CRYPTO = "no crypto attribute"
    BAD_KEY = "SRTP key that cannot be read or has the wrong length"
    SEVERAL_CRYPTO = "more than one crypto attribute in an answer"
    WRONG_TAG = "crypto tag that was not offered"
    NO_COMMON_SUITE = "no crypto suite in common"
    WRONG_SUITE = "crypto suite that was not offered under that tag"
    UNSUPPORTED_CRYPTO = "crypto attributes with parameters that are not supported"
    CRYPTO_PARAMETER = "crypto parameter that was not offered"
    REUSED_KEY = "the other side's own key is repeated"
    NO_COMMON_CODEC = "no codec in common"
    WRONG_DIRECTION = "media direction that the offer rules out"


@dataclass(frozen=True, slots=True)
class Capability:
    """What the answering side offers in return: address, codecs in its own order of preference, accepted suites."""

    address: str
    port: int
    key: bytes | None
    """This side's own 30 bytes of master key and salt for the call. None behind an edge, where audio is plain RTP."""
    codecs: tuple[Codec, ...] = (Codec.PCMA, Codec.PCMU)
    suites: tuple[str, ...] = SUITES
    rtcp_port: int | None = None
    ptime_ms: int | None = 20
    user: str = "-"
    session_id: int = 0

    def __repr__(self) -> str:
        return f"Capability({self.address}:{self.port}, {[codec.name for codec in self.codecs]}, {list(self.suites)})"


class Negotiated(NamedTuple):
    """Our answer to an offer, and what is agreed with it."""

    answer: SessionDescription
    agreement: MediaAgreement


def negotiate(
    offer: SessionDescription, capability: Capability, previous: SessionDescription | None = None
) -> Negotiated | SdpFault:
    """Return the answer to an offer, or the fault for which to refuse it (488, RFC 3261 section 21.4.26).

    Of several audio streams the first one that can be used is answered, and all others are refused. So a telephone
    that offers plain RTP beside SRTP gets SRTP. The codec is the first of *ours* that is offered. The answer repeats
    the crypto tag and suite, with our own key.

    Args:
        offer: the offer, with its other audio streams.
        capability: what we can do.
        previous: our last description in this call, if there was one (RFC 3264 section 8). The answer keeps its
            session id and its keys, and has a higher version only if it says something else.
    """
    streams = [offer, *offer.alternatives]
    if previous is not None:
        # A stream keeps its place for the whole call (RFC 3264 section 8), so it is tried first.
        streams.sort(key=lambda stream: len(stream.before) != len(previous.before))
    faults = []
    for stream in streams:
        negotiated = _answer(stream, capability, previous)
        if isinstance(negotiated, Negotiated):
            return negotiated
        faults.append(negotiated)
    # The stream that came nearest to an answer tells most.
    return max(faults, key=_ORDER.index)


_ORDER = list(SdpFault)


def _answer(
    offer: SessionDescription, capability: Capability, previous: SessionDescription | None
) -> Negotiated | SdpFault:
    fault = _transport_fault(offer, _PLAIN if capability.key is None else _SECURE)
    if fault is not None:
        return fault
    local = remote = None
    if capability.key is not None:
        chosen = _chosen_crypto(offer, capability)
        if isinstance(chosen, SdpFault):
            return chosen
        remote = chosen
        # In mid-call our key stays what it was: the peer decrypts with it already (RFC 4568 section 7.1.4).
        kept = [crypto.key for crypto in previous.crypto if crypto.suite == remote.suite] if previous else []
        local = Crypto(remote.tag, remote.suite, kept[0] if kept else capability.key)
        # With one key for both directions, two packets could be encrypted with the same key stream (RFC 3711 section
        # 9.1).
        if local.key in [crypto.key for crypto in offer.crypto]:
            return SdpFault.REUSED_KEY
    wanted = _shared(capability.codecs, offer.codecs)
    if not wanted:
        return SdpFault.NO_COMMON_CODEC
    answer = SessionDescription(
        address=capability.address,
        port=capability.port,
        codecs=_shared(offer.codecs, wanted[:1]),
        telephone_event=offer.telephone_event,
        crypto=() if local is None else (local,),
        profile=offer.profile,
        direction=offer.direction.mirrored(),
        ptime_ms=capability.ptime_ms,
        # Where RTCP shares the port of RTP, there is no other port to tell of (RFC 5761 section 5.1.1).
        rtcp_port=None if offer.rtcp_mux else capability.rtcp_port,
        user=capability.user,
        session_id=capability.session_id,
        session_version=capability.session_id,
        before=offer.before,
        after=offer.after,
        rtcp_mux=offer.rtcp_mux,
    )
    if previous is not None:
        answer = _continued(answer, previous)
    return Negotiated(answer, _agreement(answer, offer, local, remote))


def offer_again(previous: SessionDescription, direction: MediaDirection) -> SessionDescription:
    """Return our offer in mid-call, from our last description in it: the same streams, ports and keys.

    SENDONLY or INACTIVE holds the call, SENDRECV resumes it (RFC 3264 section 8.4).
    """
    return _continued(replace(previous, direction=direction), previous)


def _continued(session: SessionDescription, previous: SessionDescription) -> SessionDescription:
    """Return a description as the successor of our last one: a change raises its version by 1 (RFC 3264 section 8)."""
    same = replace(
        session, user=previous.user, session_id=previous.session_id, session_version=previous.session_version
    )
    return same if write_sdp(same) == write_sdp(previous) else replace(same, session_version=same.session_version + 1)


def _agreement(
    ours: SessionDescription, theirs: SessionDescription, local: Crypto | None, remote: Crypto | None
) -> MediaAgreement:
    """Return what two descriptions with a codec in common agree on. `local` and `remote` are of the chosen tag."""
    # A payload type belongs to the side that receives it (RFC 3264 section 5.1): we send with the peer's numbers.
    both_events = ours.telephone_event is not None and theirs.telephone_event is not None
    # The old way to hold a call: the address is zero, and the direction stays (RFC 3264 section 8.4).
    held = theirs.address in NOWHERE
    return MediaAgreement(
        remote_address=theirs.address,
        remote_port=theirs.port,
        remote_rtcp_port=theirs.port if ours.rtcp_mux and theirs.rtcp_mux else theirs.effective_rtcp_port,
        codec=_shared(theirs.codecs, ours.codecs)[0],
        heard_codecs=_shared(ours.codecs, theirs.codecs),
        sends=not held and ours.direction.sends and theirs.direction.receives,
        hears=not held and ours.direction.receives and theirs.direction.sends,
        sent_event_type=theirs.telephone_event.payload_type if both_events and theirs.telephone_event else None,
        heard_event_type=ours.telephone_event.payload_type if both_events and ours.telephone_event else None,
        local_crypto=local,
        remote_crypto=remote,
    )


@lru_cache(maxsize=64)
def _shared(codecs: tuple[Codec, ...], others: tuple[Codec, ...]) -> tuple[Codec, ...]:
    """Return those codecs that the others have too, under whatever payload type. Cached: few peers differ in this."""
    names = {other.name for other in others}
    return tuple(codec for codec in codecs if codec.name in names)


def _chosen_crypto(offer: SessionDescription, capability: Capability) -> Crypto | SdpFault:
    """Return the first attribute of an offer that we can use.

    The offer's order counts: it lists what it prefers first (RFC 4568 section 5.1.1).
    """
    known = [crypto for crypto in offer.crypto if crypto.suite in capability.suites]
    for crypto in known:
        # A session parameter that we do not support must not be accepted (RFC 4568 section 7.1.2).
        if not crypto.unsupported:
            return crypto
    if known:
        return SdpFault.UNSUPPORTED_CRYPTO
    # A key that could not be read may have been of our suite, and says more about the peer.
    return SdpFault.BAD_KEY if offer.broken_crypto else SdpFault.NO_COMMON_SUITE


_SECURE: Final = (SAVP, "RTP/SAVPF")
_PLAIN: Final = (AVP, "RTP/AVPF")
"""Feedback (RFC 4585, RFC 5124) is accepted, and none is sent: it is optional for each format. DTLS-SRTP
(`UDP/TLS/RTP/SAVPF`) is not accepted, and neither are keys on a plain profile (RFC 8643): TRUNK.md asks for RTP/SAVP.
"""


def _transport_fault(session: SessionDescription, wanted: tuple[str, ...]) -> SdpFault | None:
    """Return what is wrong with a description's port, profile or crypto attributes, or None."""
    secure = wanted[0] in _SECURE
    if session.port == 0:
        return SdpFault.PORT_ZERO
    if session.profile not in wanted:
        if session.profile in _PLAIN and secure:
            return SdpFault.PLAIN_RTP
        return SdpFault.NOT_PLAIN if session.profile in _SECURE and not secure else SdpFault.WRONG_PROFILE
    if secure and not session.crypto:
        return SdpFault.BAD_KEY if session.broken_crypto else SdpFault.NO_CRYPTO
    return None


@dataclass(frozen=True, slots=True)
class Judgement:
    """An answer, all its faults, and what is agreed where it has none."""

    faults: tuple[SdpFault, ...]
    answer: SessionDescription | None = None
    agreement: MediaAgreement | None = None
    """What is agreed. None where there is a fault."""

    @property
    def accepted(self) -> bool:
        """Return whether the answer keeps to the offer."""
        return not self.faults


def judge_answer(offer: SessionDescription, body: bytes) -> Judgement:
    """Compare a received answer with the offer that it answers. No answer of a peer makes this raise an error.

    An answer has as many streams as the offer, in the same order (RFC 3264 section 6).
    """
    if not body.strip():
        return Judgement((SdpFault.NO_SDP,))
    try:
        answer = parse_sdp(body)
    except MalformedSdpError:
        return Judgement((SdpFault.MALFORMED,))
    stream = next((one for one in (answer, *answer.alternatives) if _same_place(one, offer)), None)
    if stream is None:
        return Judgement((SdpFault.WRONG_STREAMS,), answer)
    answer = stream
    fault = _transport_fault(answer, (offer.profile,))
    faults = [fault] if fault is not None else _crypto_faults(offer, answer)
    if fault is not SdpFault.PORT_ZERO:
        # A refused stream needs neither codec nor direction, so these two are judged only where it is not refused.
        if not _shared(answer.codecs, offer.codecs):
            faults.append(SdpFault.NO_COMMON_CODEC)
        if not _direction_allowed(offer, answer):
            faults.append(SdpFault.WRONG_DIRECTION)
    if faults:
        return Judgement(tuple(faults), answer)
    remote = answer.crypto[0] if offer.profile in _SECURE else None
    local = next((crypto for crypto in offer.crypto if remote is not None and crypto.tag == remote.tag), None)
    return Judgement((), answer, _agreement(offer, answer, local, remote))


def _same_place(stream: SessionDescription, offered: SessionDescription) -> bool:
    return len(stream.before) == len(offered.before) and len(stream.after) == len(offered.after)


def _crypto_faults(offer: SessionDescription, answer: SessionDescription) -> list[SdpFault]:
    """Return the faults of an answer's crypto attributes.

    RFC 4568 section 7.1.2 asks for exactly one attribute, with an offered tag, the suite of that tag, and a new key.
    """
    if offer.profile not in _SECURE:
        return []
    if answer.broken_crypto:
        return [SdpFault.BAD_KEY]
    chosen = answer.crypto[0]
    faults = [SdpFault.SEVERAL_CRYPTO] if len(answer.crypto) > 1 else []
    offered = next((crypto for crypto in offer.crypto if crypto.tag == chosen.tag), None)
    if offered is None:
        faults.append(SdpFault.WRONG_TAG)
        if chosen.suite not in [crypto.suite for crypto in offer.crypto]:
            faults.append(SdpFault.WRONG_SUITE)
    elif offered.suite != chosen.suite:
        faults.append(SdpFault.WRONG_SUITE)
    if chosen.unsupported:
        faults.append(SdpFault.CRYPTO_PARAMETER)
    if chosen.key in [crypto.key for crypto in offer.crypto]:
        faults.append(SdpFault.REUSED_KEY)
    return faults


def _direction_allowed(offer: SessionDescription, answer: SessionDescription) -> bool:
    """Return whether the offer permits the answer's direction (RFC 3264 section 6.1).

    An answer may send only if the offer receives, and receive only if the offer sends.
    """
    wants, gives = offer.direction, answer.direction
    return (wants.receives or not gives.sends) and (wants.sends or not gives.receives)
