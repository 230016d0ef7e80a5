"""The real programs, started and stopped."""

from __future__ import annotations

import os
import socket
import ssl
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psutil
import pytest

from trunkproof.loadgen.stacks.endpoints import StackEndpoints
from trunkproof.loadgen.stacks.kamailio import programs
from trunkproof.loadgen.stacks.kamailio.internal import choose_internal
from trunkproof.loadgen.stacks.kamailio.programs import kamailio_programs
from trunkproof.models.errors import InputError, StackError
from trunkproof.models.study import Study

KAMAILIO = pytest.mark.requires("kamailio")
RTPENGINE = pytest.mark.requires("rtpengine", package="rtpengine-daemon")


def _every_throttle(trunk_of: Callable[..., dict[str, Any]]) -> list[dict[str, Any]]:
    throttles = [
        {"policy": "fixed_window", "window_s": 2.5, "refusal_status": 600},
        {"policy": "token_bucket", "limit": 7, "window_s": 3},
        {"policy": "pipelimit", "window_s": 30, "algorithm": "red", "counts": "outbound"},
        {"policy": "pipelimit", "window_s": 30, "retry_after_s": None},
        {"policy": "none"},
    ]
    networks = ["10.0.0.0/8", "127.0.40.9/32"]
    return [trunk_of(n, throttle=throttle, whitelist=networks[:n]) for n, throttle in enumerate(throttles, start=1)]


@KAMAILIO
@RTPENGINE
@pytest.mark.parametrize("media", ["rtp", "srtp"])
@pytest.mark.parametrize("legs", [1, 2])
def test_kamailio_takes_every_rendering(
    media: str,
    legs: int,
    study_of: Callable[..., Study],
    trunk_of: Callable[..., dict[str, Any]],
    endpoints_for: Callable[[Study], StackEndpoints],
) -> None:
    study = study_of(*_every_throttle(trunk_of), carrier={"media": media}, ports={"legs": legs})
    kamailio_programs(study, endpoints_for(study))  # raises what `kamailio -c` finds wrong


def test_a_study_that_cannot_be_played_is_not_started(
    study_of: Callable[..., Study],
    trunk_of: Callable[..., dict[str, Any]],
    endpoints_for: Callable[[Study], StackEndpoints],
) -> None:
    study = study_of(trunk_of(throttle={"policy": "shaper"}), ports={"quarantine_s": 0.5})
    with pytest.raises(InputError, match="2 problems"):
        kamailio_programs(study, endpoints_for(study))


def test_a_missing_program_is_named_with_its_package(
    study_of: Callable[..., Study], endpoints_for: Callable[[Study], StackEndpoints], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of()
    monkeypatch.setattr(programs.shutil, "which", lambda *_, **__: None)
    with pytest.raises(StackError, match="rtpengine is not installed: sudo apt-get install rtpengine-daemon"):
        kamailio_programs(study, endpoints_for(study))


@RTPENGINE
@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "ERROR: load_module(): could not find module <tls.so> in </usr/lib/modules>",
            "module tls.so is not installed: sudo apt-get install kamailio kamailio-tls-modules",
        ),
        ("parse error in config file", "does not take its configuration: parse error"),
    ],
)
def test_a_kamailio_that_refuses_is_quoted(
    said: str,
    told: str,
    study_of: Callable[..., Study],
    endpoints_for: Callable[[Study], StackEndpoints],
    monkeypatch: Any,
) -> None:
    study = study_of()
    endpoints = endpoints_for(study)
    kamailio = endpoints.folder / "kamailio"
    kamailio.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 255\n")
    kamailio.chmod(0o700)
    monkeypatch.setenv("PATH", f"{endpoints.folder}:{os.environ['PATH']}")
    with pytest.raises(StackError, match=told):
        kamailio_programs(study, endpoints)


@KAMAILIO
@RTPENGINE
def test_it_starts_shows_its_metrics_and_leaves_nothing(
    running: Callable[[Study], AbstractContextManager[Any]], study_of: Callable[..., Study], tmp_path: Path
) -> None:
    before = {path.name for path in Path("/run").iterdir()} | {path.name for path in Path("/tmp").iterdir()}
    with running(study_of(machine={"cores": 2})) as kamailio:
        assert list(kamailio.programs.pids) == ["rtpengine", "kamailio"]
        family = [
            process
            for pid in kamailio.programs.pids.values()
            for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))
        ]
        for name, word in (("rtpengine", "rtpengine_ports_free"), ("kamailio", "kamailio_core_rcv_requests")):
            with urllib.request.urlopen(kamailio.metrics[name], timeout=5) as page:
                assert word in page.read().decode()
        ours = {process.pid for process in family}
        listening = {
            connection.laddr
            for connection in psutil.net_connections("inet")
            if connection.pid in ours and not connection.raddr
        }
        assert {address.ip for address in listening} == {"127.0.41.1", "127.0.41.2"}
    assert not any(process.is_running() for process in family)
    for address in listening:
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind((address.ip, address.port))
    after = {path.name for path in Path("/run").iterdir()} | {path.name for path in Path("/tmp").iterdir()}
    assert not [name for name in after - before if "kamailio" in name or "rtpengine" in name]


@KAMAILIO
@RTPENGINE
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda version: version.name)
def test_sessions_are_resumed(
    version: ssl.TLSVersion,
    running: Callable[[Study], AbstractContextManager[Any]],
    study_of: Callable[..., Study],
    trunk_of: Callable[..., dict[str, Any]],
) -> None:
    trunk = trunk_of()
    trunk["traffic"] = {**trunk["traffic"], "tls": {"policy": "per_call", "resumption_share": 1.0}}
    study = study_of(trunk, machine={"cores": 2})
    with running(study) as kamailio:
        context = ssl.create_default_context(cafile=str(kamailio.endpoints.ca_file))
        context.minimum_version = context.maximum_version = version
        session, reused = None, []
        for _ in range(6):
            raw = socket.create_connection(("127.0.41.1", kamailio.endpoints.edge_port), 5)
            with context.wrap_socket(raw, server_hostname=study.pop.host, session=session) as tls:
                reused.append(tls.session_reused)
                # Reading an answer takes in the ticket, which TLS 1.3 sends after the handshake.
                tls.sendall(
                    b"OPTIONS sip:edge SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.40.1;branch=z9hG4bKx\r\n"
                    b"From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: a@b\r\nCSeq: 1 OPTIONS\r\n"
                    b"Content-Length: 0\r\n\r\n"
                )
                assert tls.recv(4096).startswith(b"SIP/2.0 200")
                session = tls.session
    assert reused == [False] + [True] * 5


def test_internal_ports_are_all_different(study_of: Callable[..., Study]) -> None:
    internal = choose_internal(study_of().pop.inner_address)
    ports = {internal.rtpengine_ng, internal.rtpengine_http, internal.kamailio_http}
    assert len(ports) == 3
    assert ports.isdisjoint(vars(choose_internal(study_of().pop.inner_address, frozenset(ports))).values())
