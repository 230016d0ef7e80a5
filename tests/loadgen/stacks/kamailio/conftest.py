"""Studies for Kamailio, endpoints to start it at, and a probe that asks a throttle one question after the other."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from trunkproof.loadgen.stacks.endpoints import StackEndpoints
from trunkproof.loadgen.stacks.kamailio.programs import kamailio_programs
from trunkproof.loadgen.system.ports import free_port
from trunkproof.loadgen.system.programs import Programs
from trunkproof.loadgen.tls.certificates import Authority, client_context
from trunkproof.models.study import Study, Trunk

TRAFFIC = {
    "arrivals": {"kind": "poisson", "rate_per_minute": 60},
    "holding": {"kind": "constant", "value_s": 1},
}


def _trunk_of(number: int = 1, **values: Any) -> dict[str, Any]:
    named = {"name": f"trunk-{number}", "account": f"account{number}", "customer_address": f"127.0.40.{number}"}
    return {**named, "traffic": TRAFFIC, **values}


def _study_of(*trunks: dict[str, Any], carrier: dict[str, Any] | None = None, **pop: Any) -> Study:
    addresses = {"stack": "kamailio", "address": "127.0.41.1", "inner_address": "127.0.41.2"}
    values = {**addresses, "carrier": {"address": "127.0.41.3", **(carrier or {})}, **pop}
    return Study.model_validate({"name": "kamailio", "pop": values, "trunks": trunks or (_trunk_of(),)})


def _endpoints_for(study: Study, folder: Path) -> StackEndpoints:
    authority = Authority(folder / "certificates")
    outer, inner = str(study.pop.address), str(study.pop.inner_address)
    certificate = authority.issue(study.pop.host, outer, inner)
    carrier_port = free_port(str(study.pop.carrier.address))
    return StackEndpoints(folder, free_port(outer), free_port(inner), carrier_port, certificate, authority.ca_file)


@pytest.fixture
def trunk_of() -> Callable[..., dict[str, Any]]:
    """A trunk as a study writes it; each number has its own names and address."""
    return _trunk_of


@pytest.fixture
def study_of() -> Callable[..., Study]:
    """A study of these trunks; other values are the PoP's."""
    return _study_of


@pytest.fixture
def endpoints_for(tmp_path: Path) -> Callable[[Study], StackEndpoints]:
    """Free ports and a certificate for one start."""
    return lambda study: _endpoints_for(study, tmp_path)


@dataclass(frozen=True)
class Running:
    """A Kamailio at work, with rtpengine."""

    study: Study
    endpoints: StackEndpoints
    programs: Programs
    metrics: dict[str, str]

    @contextlib.contextmanager
    def probe(self, trunk: Trunk, source: str | None = None) -> Any:
        """A connection of the trunk's customer, or of another `source`."""
        context = client_context(self.endpoints.ca_file)
        place = (str(self.study.pop.address), self.endpoints.edge_port)
        with (
            socket.create_connection(place, 5, source_address=(source or str(trunk.customer_address), 0)) as raw,
            context.wrap_socket(raw, server_hostname=self.study.pop.host) as tls,
        ):
            yield Probe(tls, trunk.domain)


class Probe:
    """INVITEs without an offer: they meet whitelist and throttle, and are refused with 488 by what comes after."""

    _numbers = itertools.count()

    def __init__(self, tls: ssl.SSLSocket, domain: str) -> None:
        self._tls = tls
        self._domain = domain

    def ask(self) -> tuple[float, str, float]:
        """The answer, between the instants of asking and of hearing it."""
        number = next(self._numbers)
        rows = (
            "INVITE sip:+910000000001@127.0.41.1 SIP/2.0",
            f"Via: SIP/2.0/TLS 127.0.40.1:5061;branch=z9hG4bK-probe-{number}",
            "Max-Forwards: 70",
            f"From: <sip:+911@{self._domain}>;tag={number}",
            "To: <sip:+910000000001@127.0.41.1>",
            f"Call-ID: probe-{number}@{self._domain}",
            "CSeq: 1 INVITE",
            "Contact: <sip:+911@127.0.40.1:5061;transport=tls>",
            "Content-Length: 0",
        )
        before = time.monotonic()
        self._tls.sendall("\r\n".join((*rows, "", "")).encode())
        answer = self._tls.recv(4096).decode()
        return before, answer, time.monotonic()

    def admitted(self) -> tuple[float, bool, float]:
        """Whether the throttle let it pass, between two instants."""
        before, answer, after = self.ask()
        assert answer.startswith(("SIP/2.0 488", "SIP/2.0 503")), answer
        return before, answer.startswith("SIP/2.0 488"), after


@pytest.fixture
def running(tmp_path: Path) -> Callable[[Study], contextlib.AbstractContextManager[Running]]:
    """`with running(study)`: Kamailio and rtpengine for that study, and nothing of them afterwards."""

    @contextlib.contextmanager
    def start(study: Study) -> Iterator[Running]:
        endpoints = _endpoints_for(study, tmp_path)
        programs, metrics = kamailio_programs(study, endpoints)
        with asyncio.Runner() as runner:
            children = Programs()
            try:
                for program in programs:
                    runner.run(children.start(program))
                yield Running(study, endpoints, children, metrics)
            finally:
                runner.run(children.close())

    return start
