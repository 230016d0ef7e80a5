"""What both sides agreed on for a call's audio, as one side sees it: the result of offer and answer (RFC 3264).

`offer_answer` makes it, on the offering side from the answer that came back, on the answering side from the offer.
`media` follows it, at the start of a call and again whenever a re-INVITE or UPDATE changes it.
"""

from __future__ import annotations

from dataclasses import dataclass

from trunkproof.loadgen.sip.sdes import Crypto
from trunkproof.loadgen.sip.sdp import Codec

NOWHERE = frozenset({"0.0.0.0", "::"})  # compared with what a peer names, never bound
"""Addresses that put a call on hold in the old way (RFC 3264 section 8.4)."""


@dataclass(frozen=True, slots=True)
class MediaAgreement:
    """One audio stream as agreed. Two equal agreements need no change of the media."""

    remote_address: str
    """Where the peer receives audio: IPv4 or IPv6. 0.0.0.0 on an old-style hold (RFC 3264 section 8.4)."""
    remote_port: int
    remote_rtcp_port: int
    """Equal to `remote_port` where RTCP shares the port of RTP (RFC 5761)."""
    codec: Codec
    """What we send, with the payload type that the peer gave it."""
    heard_codecs: tuple[Codec, ...]
    """What the peer may send, with our payload types: it may change between them at any packet (RFC 3264 section 8)."""
    sends: bool = True
    """Whether we may send audio."""
    hears: bool = True
    """Whether the peer may send audio. Silence is no fault where it may not, as on hold."""
    sent_event_type: int | None = None
    """Payload type with which we send keys (RFC 4733): the one that the peer named."""
    heard_event_type: int | None = None
    """Payload type with which the peer sends keys: the one that we named."""
    local_crypto: Crypto | None = None
    """Encrypts what we send. None for plain RTP."""
    remote_crypto: Crypto | None = None
    """Decrypts what the peer sends: the attribute that was chosen (RFC 4568 section 5.1.3), not the first."""
