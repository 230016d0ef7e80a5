"""What a log may show of SIP text."""

from __future__ import annotations

import pytest

from trunkproof.loadgen.sip.mask import mask, mask_call_id


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
        ("o=919812345678 1234567890 1 IN IP4 h", "o=91********78 1234567890 1 IN IP4 h"),
        # Numbers without quotes, with separators, escaped, and in headers that nobody thinks of.
        ("From: Ravi 9812345678 <sip:a@b>", "From: Ravi ********78 <sip:a@b>"),
        ("From: 98123 45678 <sip:a@b>", "From: ********78 <sip:a@b>"),
        ("From: (080) 4567-8901<sip:a@b>;tag=1", "From: (*********01<sip:a@b>;tag=1"),
        ("<sip:98123.45678@h>", "<sip:********78@h>"),
        ('"98123\r\n 45678" <sip:a@b>', '"********78" <sip:a@b>'),
        ('"98123 45678" <sip:a@b>', '"********78" <sip:a@b>'),
        ("P-Charge-Info: <tel:+91-98-1234-5678>", "P-Charge-Info: <tel:+91********78>"),
        ("tel:022-1234.5678", "tel:*********78"),
        ("<sip:%39%31%39%38%31%32%33%34@h>", "<sip:91****34@h>"),
        ("SIP/2.0 404 919812345678 is not here", "SIP/2.0 404 91********78 is not here"),
        ('Warning: 399 h "call 919812345678"', 'Warning: 399 h "call 91********78"'),
        ("X-Own: u919812345678x", "X-Own: u91********78x"),
        ("Expires: 919812345678", "Expires: 91********78"),
        # Keys, passwords and signatures.
        ("a=crypto:1 X inline: AAEC|2^20;inline:AAED", "a=crypto:1 X inline:***|2^20;inline:***"),
        ("a=crypto:1 X other:AAEC", "a=crypto:1 X ***"),
        ("k=clear:secret", "k=***"),
        # Line ends and spaces as `sdp_reader` takes them.
        ("v=0\rk=clear:secret\ra=ice-pwd:secret\rt=0 0", "v=0\rk=***\ra=ice-pwd:***\rt=0 0"),
        ("s=-\r\n k = clear:secret\r\nt=0 0", "s=-\r\n k =***\r\nt=0 0"),
        ("a=key-mgmt:mikey AQAF", "a=key-mgmt:***"),
        ("sip:user:secret@h", "sip:user:***@h"),
        ("Identity: eyJ.x.y;info=<https://c>;alg=ES256", "Identity: ***"),
        ('WWW-Authenticate: Digest nonce="x"', "WWW-Authenticate: ***"),
    ],
)
def test_secrets_are_hidden_and_the_rest_is_not(text: str, shown: str) -> None:
    assert mask(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "Via: SIP/2.0/TLS 192.168.100.200:50610;branch=z9hG4bK1234567890;rport=50610",
        "<sip:192.168.100.200:50610>;tag=1234567890",
        "CSeq: 2147483647 INVITE\r\nContent-Length: 65536\r\nRAck: 2147483647 2147483646 INVITE",
        "Retry-After: 2147483647",
        "t=3900000000 3900000001\r\na=ssrc:4294967295 cname:x",
        "Call-ID: 5e0c1234-1234-4123-8123-123456789012@h",
        "X-Exotel-CallSid: 1234567890abcdef1234567890abcdef",
    ],
)
def test_what_a_trace_is_read_by_stays(text: str) -> None:
    assert mask(text) == text


def test_messages_of_a_call_can_still_be_found_by_a_call_id_that_is_a_number() -> None:
    first, second = mask("Call-ID: 1733053178123456@h"), mask("Call-ID: 1733053178999956@h")
    assert first == mask("i: 1733053178123456@h").replace("i: ", "Call-ID: ") != second
    assert "1733053178" not in first + second
    assert mask_call_id("1733053178123456@h") == first.removeprefix("Call-ID: ")


@pytest.mark.parametrize(
    "piece",
    ["sip:a:", "inline:", '"', ";", "1 ", "%3", "k=\n", "Identity:\n ", "1-", "+", "a1", "1.", "1\n ", "\r ", "1 <"],
)
def test_no_text_takes_time_with_the_square_of_its_length(piece: str) -> None:
    # 200,000 characters take milliseconds. With the square of the length it would be minutes, and the suite would stop.
    mask(piece * (200_000 // len(piece)))
