"""A call through a real Kamailio, message by message: what each side sees of the other, and what changes on the way."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from trunkproof.loadgen.tls.certificates import client_context, server_context
from trunkproof.models.study import Study

pytestmark = [pytest.mark.requires("kamailio"), pytest.mark.requires("rtpengine", package="rtpengine-daemon")]

KEY = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"
SAVP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.40.1\r\ns=-\r\nc=IN IP4 127.0.40.1\r\nt=0 0\r\nm=audio 21900 RTP/SAVP 8 101\r\n"
    f"a=rtpmap:101 telephone-event/8000\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\na=sendrecv\r\n"
)
AVP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.41.3\r\ns=-\r\nc=IN IP4 127.0.41.3\r\nt=0 0\r\nm=audio 21910 RTP/AVP 8 101\r\n"
    "a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
)


class Peer:
    """One end of a TLS connection that speaks SIP as told."""

    def __init__(self, tls: ssl.SSLSocket) -> None:
        self._tls = tls
        self._waiting = b""
        tls.settimeout(5)

    def send(self, start: str, rows: list[str], body: str = "") -> None:
        kind = ["Content-Type: application/sdp"] if body else []
        text = "\r\n".join([start, *rows, *kind, f"Content-Length: {len(body)}", "", body])
        self._tls.sendall(text.encode())

    def receive(self, start: str) -> str:
        """The next message, which begins so; provisional answers of 100 are passed over."""
        while True:
            while b"\r\n\r\n" not in self._waiting:
                self._waiting += self._tls.recv(8192)
            head, _, rest = self._waiting.partition(b"\r\n\r\n")
            length = int(re.search(rb"Content-Length: *(\d+)", head, re.IGNORECASE)[1])  # type: ignore[index]
            while len(rest) < length:
                rest += self._tls.recv(8192)
            message, self._waiting = (head + b"\r\n\r\n" + rest[:length]).decode(), rest[length:]
            if not message.startswith("SIP/2.0 100"):
                assert message.startswith(start), message
                return message


def _rows(message: str, *names: str) -> list[str]:
    return [row for row in message.split("\r\n") if row.partition(":")[0] in names]


def _answer_rows(request: str, tag: str, contact: str) -> list[str]:
    rows = _rows(request, "Via", "Record-Route", "From", "To", "Call-ID", "CSeq")
    return [f"{row};tag={tag}" if row.startswith("To:") and "tag=" not in row else row for row in rows] + [
        f"Contact: <{contact}>"
    ]


def _routes_of_caller(answer: str) -> list[str]:
    return [row.replace("Record-Route", "Route") for row in reversed(_rows(answer, "Record-Route"))]


def _target(message: str) -> str:
    return re.search(r"Contact: .*?<([^>]+)>", message)[1]  # type: ignore[index]


@pytest.fixture
def stage(
    running: Callable[[Study], AbstractContextManager[Any]], study_of: Callable[..., Study]
) -> Iterator[tuple[Any, Peer, Callable[[], Peer]]]:
    """Kamailio, its customer on a connection, and the carrier's end of the connection that Kamailio opens."""
    study = study_of()
    with running(study) as kamailio, socket.socket() as listener:
        endpoints = kamailio.endpoints
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.41.3", endpoints.carrier_port))
        listener.listen()
        listener.settimeout(5)
        opened: list[ssl.SSLSocket] = []

        def accept() -> Peer:
            raw, source = listener.accept()
            assert source[0] == "127.0.41.2"
            opened.append(server_context(endpoints.certificate).wrap_socket(raw, server_side=True))
            return Peer(opened[-1])

        context = client_context(endpoints.ca_file)
        with socket.create_connection(("127.0.41.1", endpoints.edge_port), 5, source_address=("127.0.40.1", 0)) as raw:
            opened.append(context.wrap_socket(raw, server_hostname=study.pop.host))
            yield kamailio, Peer(opened[0]), accept
            for tls in opened:
                tls.close()


def _identity(branch: str, cseq: str, to_tag: str = "") -> list[str]:
    return [
        f"Via: SIP/2.0/TLS 127.0.40.1:5061;branch=z9hG4bK{branch}",
        "Max-Forwards: 70",
        "From: <sip:+911@account1.pstn.exotel.com>;tag=customer",
        f"To: <sip:+912@127.0.41.1>{to_tag}",
        "Call-ID: dialog@account1.pstn.exotel.com",
        f"CSeq: {cseq}",
        "Contact: <sip:+911@127.0.40.1:5061;transport=tls>",
    ]


def test_a_call_is_changed_and_ended_from_both_sides(stage: tuple[Any, Peer, Callable[[], Peer]]) -> None:
    kamailio, customer, accept = stage
    customer.send("INVITE sip:+912@127.0.41.1 SIP/2.0", _identity("a", "1 INVITE"), SAVP)
    carrier = accept()
    invite = carrier.receive("INVITE sip:+912@127.0.41.1")
    assert "RTP/AVP " in invite
    assert "a=crypto" not in invite
    assert "c=IN IP4 127.0.41.2" in invite
    contact = f"sip:carrier@127.0.41.3:{kamailio.endpoints.carrier_port};transport=tls"
    carrier.send("SIP/2.0 200 OK", _answer_rows(invite, "carrier", contact), AVP)
    answer = customer.receive("SIP/2.0 200")
    assert "RTP/SAVP " in answer
    assert "c=IN IP4 127.0.41.1" in answer
    first_key = re.search(r"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:(\S{40})", answer)[1]  # type: ignore[index]
    assert first_key != KEY
    routes, target, tag = _routes_of_caller(answer), _target(answer), ";tag=carrier"
    customer.send(f"ACK {target} SIP/2.0", [*routes, *_identity("b", "1 ACK", tag)])
    carrier.receive("ACK ")

    customer.send(f"INVITE {target} SIP/2.0", [*routes, *_identity("c", "2 INVITE", tag)], SAVP)
    again = carrier.receive("INVITE ")
    assert "RTP/AVP " in again
    carrier.send("SIP/2.0 200 OK", _answer_rows(again, "carrier", contact), AVP)
    changed = customer.receive("SIP/2.0 200")
    assert f"inline:{first_key}" in changed
    assert _rows(changed, "CSeq") == ["CSeq: 2 INVITE"]
    customer.send(f"ACK {target} SIP/2.0", [*routes, *_identity("d", "2 ACK", tag)])
    carrier.receive("ACK ")

    # The customer listens nowhere here: the carrier's BYE has to come over the connection that it called on.
    rows = [row.replace("Record-Route", "Route") for row in _rows(invite, "Record-Route")]
    rows += [
        "Via: SIP/2.0/TLS 127.0.41.3:5061;branch=z9hG4bKbye",
        "Max-Forwards: 70",
        "Call-ID: dialog@account1.pstn.exotel.com",
    ]
    rows += [
        "From: <sip:+912@127.0.41.1>;tag=carrier",
        "To: <sip:+911@account1.pstn.exotel.com>;tag=customer",
        "CSeq: 1 BYE",
    ]
    carrier.send(f"BYE {_target(invite)} SIP/2.0", rows)
    bye = customer.receive("BYE ")
    customer.send("SIP/2.0 200 OK", _rows(bye, "Via", "From", "To", "Call-ID", "CSeq"))
    carrier.receive("SIP/2.0 200")


@pytest.mark.parametrize("refused", ["486 Busy Here", "503 Service Unavailable", "404 Not Found"])
def test_the_carriers_refusals_pass(refused: str, stage: tuple[Any, Peer, Callable[[], Peer]]) -> None:
    _, customer, accept = stage
    customer.send("INVITE sip:+912@127.0.41.1 SIP/2.0", _identity("a", "1 INVITE"), SAVP)
    carrier = accept()
    invite = carrier.receive("INVITE ")
    rows = [*_answer_rows(invite, "carrier", "sip:c@127.0.41.3"), "Reason: Q.850;cause=34", "Retry-After: 3"]
    carrier.send(f"SIP/2.0 {refused}", rows)
    answer = customer.receive(f"SIP/2.0 {refused}")
    assert _rows(answer, "Reason", "Retry-After") == ["Reason: Q.850;cause=34", "Retry-After: 3"]


@pytest.mark.parametrize(
    "offer", ["", AVP, SAVP.replace("SHA1_80", "SHA1_32"), SAVP.replace("SAVP 8 101", "SAVP 18 101")]
)
def test_offers_without_what_the_trunk_asks_for(offer: str, stage: tuple[Any, Peer, Callable[[], Peer]]) -> None:
    _, customer, _ = stage
    customer.send("INVITE sip:+912@127.0.41.1 SIP/2.0", _identity("a", "1 INVITE"), offer)
    customer.receive("SIP/2.0 488")
