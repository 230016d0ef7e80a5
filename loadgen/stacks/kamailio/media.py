"""Write what Kamailio tells rtpengine about a call's media: the side, the profile, the crypto suites."""

from __future__ import annotations

from collections.abc import Sequence

from trunkproof.models.study import MediaProfile

# The suites that rtpengine 10.5 offers by default. It has no flag for "only this one".
_SUITES = (
    "AEAD_AES_256_GCM",
    "AEAD_AES_128_GCM",
    "AES_256_CM_HMAC_SHA1_80",
    "AES_256_CM_HMAC_SHA1_32",
    "AES_192_CM_HMAC_SHA1_80",
    "AES_192_CM_HMAC_SHA1_32",
    "AES_CM_128_HMAC_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32",
    "F8_128_HMAC_SHA1_80",
    "F8_128_HMAC_SHA1_32",
    "NULL_HMAC_SHA1_80",
    "NULL_HMAC_SHA1_32",
)
_ALWAYS = "replace-origin replace-session-connection ICE=remove DTLS=off"


def towards_customer(suites: Sequence[str], media: MediaProfile) -> str:
    """Return the flags for SDP that goes to a customer: SRTP with one of these suites, or plain RTP."""
    profile = "RTP/AVP" if media == "rtp" else f"RTP/SAVP {_without(suites)}"
    return f"{_ALWAYS} {profile} direction=inside direction=outside"


def towards_carrier(media: str) -> str:
    """Return the flags for SDP that goes to the carrier, which takes `rtp` or `srtp`."""
    profile = "RTP/AVP" if media == "rtp" else f"RTP/SAVP {_without(('AES_CM_128_HMAC_SHA1_80',))}"
    return f"{_ALWAYS} {profile} direction=outside direction=inside"


def _without(suites: Sequence[str]) -> str:
    # Every other suite is forbidden by name, which leaves only the wanted ones.
    return " ".join(f"SDES-no-{suite}" for suite in _SUITES if suite not in suites)
