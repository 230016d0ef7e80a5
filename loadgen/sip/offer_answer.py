"""Offer and answer (RFC 3264, RFC 4568 section 7): make the answer to an offer, and judge an answer that came back.

These functions only compare session descriptions. They use no socket and draw no key. Every way in which an answer can
break the offer has its own name (`SdpFault`), because a report on a trunk must say exactly what the trunk did wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from trunkproof.loadgen.sip.agreement import MediaAgreement
from trunkproof.loadgen.sip.sdes import SUITES, Crypto
from trunkproof.loadgen.sip.sdp import AVP, SAVP, Codec, MalformedSdpError, SessionDescription
from trunkproof.loadgen.sip.sdp_reader import parse_sdp


class SdpFault(StrEnum):
    """A fault of a session description. The most fundamental comes first."""

    NO_SDP = "no session description"
    MALFORMED = "session description cannot be read"
    PORT_ZERO = "audio refused with port zero"
    PLAIN_RTP = "plain RTP where SRTP is to be used"
    NOT_PLAIN = "SRTP where plain RTP is to be used"
    WRONG_PROFILE = "neither RTP/AVP nor RTP/SAVP"
    NO_CRYPTO = "no crypto attribute"
    BAD_KEY = "SRTP key that cannot be read or has the wrong length"
    SEVERAL_CRYPTO = "more than one crypto attribute in an answer"
    WRONG_TAG = "crypto tag that was not offered"
    WRONG_SUITE = "crypto suite that was not offered under that tag"
    REUSED_KEY = "answer repeats the offerer's own key"
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


def negotiate(offer: SessionDescription, capability: Capability) -> Negotiated | SdpFault:
    """Return the answer to an offer, or the fault for which to refuse it (488, RFC 3261 section 21.4.26).

    The codec is the first of *ours* that is offered. The answer repeats the crypto tag and suite, with our own key.
    """
    fault = _transport_fault(offer, SAVP if capability.key is not None else AVP)
    if fault is not None:
        return fault
    codec = next((found for ours in capability.codecs if (found := ours.within(offer.codecs))), None)
    if codec is None:
        return SdpFault.NO_COMMON_CODEC
    chosen = _chosen_crypto(offer, capability)
    if isinstance(chosen, SdpFault):
        return chosen
    ours = None if chosen is None or capability.key is None else Crypto(chosen.tag, chosen.suite, capability.key)
    answer = SessionDescription(
        address=capability.address,
        port=capability.port,
        codecs=(codec,),
        telephone_event=offer.telephone_event,
        crypto=() if ours is None else (ours,),
        profile=offer.profile,
        direction=offer.direction.mirrored(),
        ptime_ms=capability.ptime_ms,
        rtcp_port=capability.rtcp_port,
        user=capability.user,
        session_id=capability.session_id,
        session_version=capability.session_id,
        before=offer.before,
        after=offer.after,
    )
    return Negotiated(answer, _agreement(answer, offer, ours, chosen))


def _agreement(
    ours: SessionDescription, theirs: SessionDescription, local: Crypto | None, remote: Crypto | None
) -> MediaAgreement:
    """Return what two descriptions with a codec in common agree on. `local` and `remote` are of the chosen tag."""
    # A payload type belongs to the side that receives it (RFC 3264 section 5.1): we send with the peer's numbers.
    common = [codec for codec in theirs.codecs if codec.within(ours.codecs)]
    both_events = ours.telephone_event is not None and theirs.telephone_event is not None
    # The old way to hold a call: the address is zero, and the direction stays (RFC 3264 section 8.4).
    held = theirs.address in _NOWHERE
    return MediaAgreement(
        remote_address=theirs.address,
        remote_port=theirs.port,
        remote_rtcp_port=theirs.effective_rtcp_port,
        codec=common[0],
        heard_codecs=tuple(codec for codec in ours.codecs if codec.within(common)),
        sends=not held and ours.direction.sends and theirs.direction.receives,
        hears=not held and ours.direction.receives and theirs.direction.sends,
        sent_event_type=theirs.telephone_event.payload_type if both_events and theirs.telephone_event else None,
        heard_event_type=ours.telephone_event.payload_type if both_events and ours.telephone_event else None,
        local_crypto=local,
        remote_crypto=remote,
    )


_NOWHERE = {"0.0.0.0", "::"}  # compared with what a peer names, never bound


def _chosen_crypto(offer: SessionDescription, capability: Capability) -> Crypto | SdpFault | None:
    if capability.key is None:
        return None
    # The offer's order counts: it lists the suite that it prefers first (RFC 4568 section 5.1.1).
    chosen = next((crypto for crypto in offer.crypto if crypto.suite in capability.suites), None)
    if chosen is None:
        # A key that could not be read may have been of our suite, and says more about the peer than "wrong suite".
        return SdpFault.BAD_KEY if offer.broken_crypto else SdpFault.WRONG_SUITE
    return chosen


def _transport_fault(session: SessionDescription, wanted: str) -> SdpFault | None:
    """Return what is wrong with a description's port, profile or crypto attributes, or None."""
    if session.port == 0:
        return SdpFault.PORT_ZERO
    if session.profile != wanted:
        return _WRONG_PROFILES.get(session.profile, SdpFault.WRONG_PROFILE)
    if wanted == SAVP and not session.crypto:
        return SdpFault.BAD_KEY if session.broken_crypto else SdpFault.NO_CRYPTO
    return None


_WRONG_PROFILES = {AVP: SdpFault.PLAIN_RTP, "RTP/AVPF": SdpFault.PLAIN_RTP, SAVP: SdpFault.NOT_PLAIN}


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
    """Compare a received answer with the offer that it answers. No answer of a peer makes this raise an error."""
    if not body.strip():
        return Judgement((SdpFault.NO_SDP,))
    try:
        answer = parse_sdp(body)
    except MalformedSdpError:
        return Judgement((SdpFault.MALFORMED,))
    fault = _transport_fault(answer, offer.profile)
    faults = [fault] if fault is not None else _crypto_faults(offer, answer)
    if fault is not SdpFault.PORT_ZERO:
        # A refused stream needs neither codec nor direction, so these two are judged only where it is not refused.
        if not any(codec.within(offer.codecs) for codec in answer.codecs):
            faults.append(SdpFault.NO_COMMON_CODEC)
        if not _direction_allowed(offer, answer):
            faults.append(SdpFault.WRONG_DIRECTION)
    if faults:
        return Judgement(tuple(faults), answer)
    remote = answer.crypto[0] if offer.crypto else None
    local = next((crypto for crypto in offer.crypto if remote is not None and crypto.tag == remote.tag), None)
    return Judgement((), answer, _agreement(offer, answer, local, remote))


def _crypto_faults(offer: SessionDescription, answer: SessionDescription) -> list[SdpFault]:
    """Return the faults of an answer's crypto attributes.

    RFC 4568 section 7.1.2 asks for exactly one attribute, with an offered tag, the suite of that tag, and a new key.
    """
    if not offer.crypto:
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
    # With one key for both directions, two packets could be encrypted with the same key stream (RFC 3711 section 9.1).
    if chosen.key in [crypto.key for crypto in offer.crypto]:
        faults.append(SdpFault.REUSED_KEY)
    return faults


def _direction_allowed(offer: SessionDescription, answer: SessionDescription) -> bool:
    """Return whether the offer permits the answer's direction (RFC 3264 section 6.1).

    An answer may send only if the offer receives, and receive only if the offer sends.
    """
    wants, gives = offer.direction, answer.direction
    return (wants.receives or not gives.sends) and (wants.sends or not gives.receives)
