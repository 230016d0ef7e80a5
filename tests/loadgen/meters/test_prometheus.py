from __future__ import annotations

import asyncio
import socket
import time
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from trunkproof.loadgen.guard import Guard
from trunkproof.loadgen.meters.prometheus import Page, PrometheusPage, parse
from trunkproof.models.errors import GuardError, InputError, RemoteError, StackError

RTPENGINE = """\
# HELP rtpengine_sessions Total sessions currently
# TYPE rtpengine_sessions gauge
rtpengine_sessions{type="own"} 3
rtpengine_sessions{type="foreign"} 0

# TYPE rtpengine_packets_total counter
rtpengine_packets_total{type="userspace"} 15008
# TYPE rtpengine_mos gauge
rtpengine_mos NaN
"""
KAMAILIO = """\
# User defined metrics
kamailio_trunk_invites{trunk="a", result="ok"} 7 1795502846202

# Kamailio whole internal statistics
kamailio_core_rcv_requests_invite 12 1795502846202
"""


def test_a_page_that_declares_its_kinds() -> None:
    page = parse(RTPENGINE)
    assert page.values == {
        'rtpengine_sessions{type="own"}': 3,
        'rtpengine_sessions{type="foreign"}': 0,
        'rtpengine_packets_total{type="userspace"}': 15008,
    }
    assert page.kinds['rtpengine_packets_total{type="userspace"}'] == "counter"
    assert page.kinds['rtpengine_sessions{type="own"}'] == "gauge"


def test_a_page_without_kinds_with_labels_and_times() -> None:
    page = parse(KAMAILIO)
    assert page.values == {'kamailio_trunk_invites{result="ok",trunk="a"}': 7, "kamailio_core_rcv_requests_invite": 12}
    assert set(page.kinds.values()) == {"unknown"}


@pytest.mark.parametrize("text", ["<html>no</html>\n", "a\n", "a b\n", 'a{b="c} 1\n', "{} 1\n"])
def test_what_is_no_page(text: str) -> None:
    with pytest.raises(RemoteError, match="no Prometheus page"):
        parse(text)


def _read(url: str, timeout_s: float = 1.0) -> Page:
    return asyncio.run(PrometheusPage(url, timeout_s=timeout_s).read())


def test_a_page_is_read_over_http(page_server: Any) -> None:
    page_server.text = KAMAILIO
    assert _read(page_server.url) == parse(KAMAILIO)
    assert page_server.asked == ["/metrics?all=1"]


def test_nobody_there(free_tcp_port: int) -> None:
    with pytest.raises(StackError, match="does not answer"):
        _read(f"http://127.0.0.1:{free_tcp_port}/metrics")


def test_a_page_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(StackError, match="timed out"):
        _read(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout_s=0.1)


def test_a_page_that_drips_is_given_up(page_server: Any) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(200):
                handler.wfile.write(b"# \n")
                time.sleep(0.02)
        except OSError:
            return

    page_server.answer = drip
    with pytest.raises(StackError, match="does not end"):
        _read(page_server.url, timeout_s=0.2)


def test_a_redirect_is_not_followed(page_server: Any) -> None:
    def away(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", page_server.url)
        handler.end_headers()

    page_server.answer = away
    with pytest.raises(RemoteError, match="302"):
        _read(page_server.url)
    assert len(page_server.asked) == 1


def test_a_server_of_something_else(page_server: Any) -> None:
    page_server.answer = lambda handler: handler.wfile.write(b"SIP/2.0 400 Bad Request\r\n\r\n")
    with pytest.raises(RemoteError, match="HTTP"):
        _read(page_server.url)


def test_the_event_loop_goes_on_while_a_page_is_slow() -> None:
    async def run(port: int) -> int:
        reading = asyncio.create_task(PrometheusPage(f"http://127.0.0.1:{port}/", timeout_s=0.3).read())
        turns = 0
        while not reading.done():
            await asyncio.sleep(0.001)
            turns += 1
        assert isinstance(reading.exception(), StackError)
        return turns

    with socket.create_server(("127.0.0.1", 0)) as silent:
        # A blocked loop would have had one turn.
        assert asyncio.run(run(silent.getsockname()[1])) > 2


@pytest.mark.parametrize("url", ["https://127.0.0.1/metrics", "127.0.0.1:9090", "http://", "file:///etc/hosts"])
def test_only_plain_http(url: str) -> None:
    with pytest.raises(InputError, match="metrics"):
        PrometheusPage(url)


def test_only_where_the_user_lets_it() -> None:
    url = "http://203.0.113.7:9090/metrics"  # RFC 5737: never anyone's address
    with pytest.raises(GuardError, match="allow list"):
        PrometheusPage(url)
    PrometheusPage(url, Guard(frozenset({"203.0.113.7"}), confirmed_calls_per_minute=200))
