from __future__ import annotations

from trunkproof.loadgen.stacks.kamailio.media import towards_carrier, towards_customer

ONLY_80 = "SDES-no-AES_CM_128_HMAC_SHA1_80"
ONLY_32 = "SDES-no-AES_CM_128_HMAC_SHA1_32"


def test_suites_that_a_trunk_does_not_have_are_not_offered() -> None:
    flags = towards_customer(["AES_CM_128_HMAC_SHA1_80"], "srtp").split()
    assert ONLY_80 not in flags
    assert ONLY_32 in flags
    assert "SDES-no-AEAD_AES_256_GCM" in flags
    both = towards_customer(["AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"], "srtp").split()
    assert ONLY_32 not in both


def test_plain_rtp_has_no_suites() -> None:
    assert "RTP/AVP" in towards_customer(["AES_CM_128_HMAC_SHA1_80"], "rtp").split()
    flags = towards_carrier("rtp").split()
    assert "RTP/AVP" in flags
    assert not any(flag.startswith("SDES") for flag in flags)
    assert {"RTP/SAVP", ONLY_32} <= set(towards_carrier("srtp").split())
