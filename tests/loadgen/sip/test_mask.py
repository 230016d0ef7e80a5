"""What a log may show of SIP text."""

from __future__ import annotations

import pytest

from trunkproof.loadgen.sip.mask import mask


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('"+919812345678" <sip:+919812345678@h>', '"+91********78" <sip:+91********78@h>'),
        ("INVITE sip:919812345678@h SIP/2.0", "INVITE sip:91********78@h SIP/2.0"),
        ("<sip:%2B14155550123@h>", "<sip:%2B*********23@h>"),
        ('"09812345678"', '"*********78"'),
        ("a=crypto:1 X inline:AAEC/+12345678==|2^20|1:4", "a=crypto:1 X inline:***|2^20|1:4"),
        ('Authorization: Digest response="x",\r\n nonce="y"\r\nTo: a', "Authorization: ***\r\nTo: a"),
        ("Proxy-authorization: Basic x", "Proxy-authorization: ***"),
        ("o=root 1234567890 1 IN IP4 127.0.0.1", "o=root 1234567890 1 IN IP4 127.0.0.1"),
    ],
)
def test_secrets_are_hidden_and_the_rest_is_not(text: str, shown: str) -> None:
    assert mask(text) == shown
