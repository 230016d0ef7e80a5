"""RFC 5621 and RFC 2046: the session description is found in whatever body carries it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkproof.loadgen.sip.body import sdp_part

SDP = b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/SAVP 8\r\n"
ISUP = b"\x01\x11\x00--\x00"


def multipart(*parts: tuple[str, bytes], boundary: str = "x-1") -> bytes:
    text = b"This is for old mail readers.\r\n"
    for head, content in parts:
        text += f"--{boundary}\r\n{head}\r\n".encode() + content + b"\r\n"
    return text + f"--{boundary}--\r\nepilogue v=0\r\n".encode()


@pytest.mark.parametrize("kind", ["application/sdp", "Application/SDP ; charset=utf-8", "application/sdp;version=0"])
def test_rfc3261_7_4_1_sdp_alone_is_the_body(kind: str) -> None:
    assert sdp_part(kind, SDP) == SDP


@pytest.mark.parametrize("kind", ["text/plain", "application/isup", "multipart/mixed", "multipart/mixed;boundary="])
def test_rfc3261_21_4_13_body_without_sdp(kind: str) -> None:
    assert sdp_part(kind, SDP) is None


def test_body_without_content_type_is_looked_at() -> None:
    assert sdp_part(None, SDP) == SDP
    assert sdp_part(None, b"hello") is None


@pytest.mark.parametrize("kind", ["mixed", "alternative", "related"])
@pytest.mark.parametrize("quoted", ['"x-1"', "x-1"])
def test_rfc5621_3_1_sdp_among_other_parts(kind: str, quoted: str) -> None:
    body = multipart(
        ("Content-Type: application/isup\r\nContent-Disposition: signal; handling=optional\r\n", ISUP),
        ("", b"v=0 in a part that is plain text"),
        ("content-type : application/SDP\r\nContent-Disposition: session\r\n", SDP),
        ("Content-Type: application/pidf+xml\r\n", b"<xml/>"),
    )
    assert sdp_part(f"multipart/{kind}; type=a; Boundary={quoted}", body) == SDP.replace(b"\r\n", b"\n")


def test_rfc2046_5_1_folded_header_and_parts_within_parts() -> None:
    inner = multipart(("Content-Type:\r\n application/sdp\r\n", SDP), boundary="x-12")
    outer = multipart(("Content-Type: multipart/alternative;\r\n\tboundary=x-12\r\n", inner))
    assert sdp_part('multipart/mixed;boundary="x-1"', outer) == SDP.replace(b"\r\n", b"\n")


def test_parts_are_not_followed_without_end() -> None:
    body, kind = SDP, "application/sdp"
    for depth in range(40):
        body = multipart((f"Content-Type: {kind}\r\n", body), boundary=f"b{depth}x")
        kind = f"multipart/mixed;boundary=b{depth}x"
    assert sdp_part(kind, body) is None
    assert sdp_part("multipart/mixed;boundary=-", b"--" * 30_000) is None


@given(st.text(max_size=60), st.binary(max_size=200))
def test_any_body_is_read_or_not(kind: str, body: bytes) -> None:
    sdp_part(f"multipart/mixed;boundary={kind}", body)
    sdp_part(kind, body)


def test_rfc3959_3_a_description_for_early_media_alone_is_not_the_sessions() -> None:
    early = ("Content-Type: application/sdp\r\nContent-Disposition: early-session\r\n", SDP.replace(b"4000", b"5000"))
    whole = ("Content-Type: application/sdp\r\n", SDP)
    kind = "multipart/mixed;boundary=x-1"
    assert sdp_part(kind, multipart(early, whole)) == SDP.replace(b"\r\n", b"\n")
    assert sdp_part(kind, multipart(early)) is None
