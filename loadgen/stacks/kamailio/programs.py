"""Prepare the two programs of a Kamailio trunk: write their files, and say how to start them and see them ready.

`loadgen.system.programs` starts and watches them.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import shutil
import subprocess
from dataclasses import replace
from functools import partial

from trunkproof.loadgen.stacks.endpoints import StackEndpoints
from trunkproof.loadgen.stacks.kamailio.internal import Internal, choose_internal
from trunkproof.loadgen.stacks.kamailio.render import render
from trunkproof.loadgen.stacks.kamailio.unsupported import unsupported
from trunkproof.loadgen.system.programs import Program
from trunkproof.loadgen.tls.certificates import client_context
from trunkproof.models.errors import InputError, StackError
from trunkproof.models.study import Study

_PACKAGES = {"kamailio": "kamailio kamailio-tls-modules", "rtpengine": "rtpengine-daemon"}
_SHARED_MB, _PRIVATE_MB = 1024, 16
"""Kamailio's memory. Unused memory costs nothing, and 128 MB were too little for 1,000 calls per second."""
_ANSWER_WITHIN_S = 1.0


def kamailio_programs(study: Study, endpoints: StackEndpoints) -> tuple[list[Program], dict[str, str]]:
    """Write the configuration into `endpoints.folder`, and that of each further edge into its own.

    Returns:
        The programs in the order of starting, and program name -> its Prometheus page.

    Raises:
        InputError: the study asks for what this stack cannot play.
        StackError: a program or a module is not installed.
    """
    if problems := unsupported(study):
        raise InputError(f"study {study.name} on Kamailio", problems)
    # Nobody listens on the first two yet, so the system could hand them out once more.
    edges = (endpoints, *endpoints.others)
    taken = {endpoints.carrier_port, *(port for edge in edges for port in (edge.edge_port, edge.inner_port))}
    internal = choose_internal(study.pop.inner_address, frozenset(taken))
    # The order of starting: when Kamailio takes its first call, rtpengine has to answer it.
    programs, inner = [_rtpengine(study, endpoints, internal)], study.pop.inner_address
    pages = {"rtpengine": f"http://{inner}:{internal.rtpengine_http}/metrics"}
    for number, edge in enumerate(edges):
        taken |= {internal.rtpengine_ng, internal.rtpengine_http, internal.kamailio_http}
        # All edges ask the same rtpengine.
        own = replace(internal, kamailio_http=choose_internal(inner, frozenset(taken)).kamailio_http)
        internal = internal if number == 0 else own
        edge.folder.mkdir(exist_ok=True)
        for name, text in render(study, edge, internal).items():
            (edge.folder / name).write_text(text, encoding="utf-8")
        programs.append(_kamailio(study, edge, edge_name(number)))
        pages[edge_name(number)] = f"http://{inner}:{internal.kamailio_http}/metrics"
    return programs, pages


def edge_name(edge: int) -> str:
    """Return the name of the Kamailio that is an edge."""
    return "kamailio" if edge == 0 else f"kamailio-{edge + 1}"


def _rtpengine(study: Study, endpoints: StackEndpoints, internal: Internal) -> Program:
    program = _installed("rtpengine")
    return Program(
        name="rtpengine",
        command=(program, "--config-file", str(endpoints.folder / "rtpengine.conf"), "--config-section", "rtpengine"),
        log=endpoints.folder / "rtpengine.log",
        is_ready=partial(_answers_ping, str(study.pop.inner_address), internal.rtpengine_ng),
    )


def _kamailio(study: Study, endpoints: StackEndpoints, name: str) -> Program:
    folder = endpoints.folder
    configuration = ("-f", str(folder / "kamailio.cfg"), "-m", str(_SHARED_MB), "-M", str(_PRIVATE_MB))
    command = (_installed("kamailio"), *configuration, "-Y", str(folder))
    # Before it is started: a missing module is then named with the package that has it.
    _check(command)
    return Program(
        name=name,
        # Keep the first process in the foreground, so that the process that we started is the one that we watch.
        command=(*command, "-DD", "-E", "-P", str(folder / "kamailio.pid")),
        log=folder / "kamailio.log",
        # The inner side, because it always speaks TLS.
        is_ready=partial(_takes_tls, str(study.pop.inner_address), endpoints.inner_port),
    )


def _installed(name: str) -> str:
    # Daemons are in /usr/sbin, which may not be in PATH.
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise StackError(f"{name} is not installed: sudo apt-get install {_PACKAGES[name]}")
    return found


def _check(command: tuple[str, ...]) -> None:
    """Let Kamailio check its configuration without starting. It names what is missing."""
    said = subprocess.run((*command, "-c", "-E"), capture_output=True, text=True, check=False)
    if said.returncode == 0:
        return
    words = said.stderr + said.stdout
    if missing := re.search(r"could not find module <?([\w.]+)>?", words):
        packages = _PACKAGES["kamailio"]
        raise StackError(f"Kamailio's module {missing[1]} is not installed: sudo apt-get install {packages}")
    raise StackError(f"kamailio does not take its configuration: {words.strip()[-800:] or 'it said nothing'}")


async def _answers_ping(host: str, port: int) -> bool:
    """Tell whether rtpengine answers on its control port (ng protocol: a cookie and a bencoded dictionary)."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()
    # The answer repeats the cookie, so an answer to an earlier ping cannot be taken for this one.
    cookie = secrets.token_hex(4).encode()
    with contextlib.suppress(OSError, TimeoutError):
        transport, _ = await loop.create_datagram_endpoint(lambda: _Ping(answer), remote_addr=(host, port))
        try:
            transport.sendto(cookie + b" d7:command4:pinge")
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                return await answer == cookie + b" d6:result4:ponge"
        finally:
            transport.close()
    return False


class _Ping(asyncio.DatagramProtocol):
    def __init__(self, answer: asyncio.Future[bytes]) -> None:
        self._answer = answer

    def datagram_received(self, data: bytes, _: object) -> None:
        if not self._answer.done():
            self._answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(exc)


async def _takes_tls(host: str, port: int) -> bool:
    """Tell whether the edge completes a TLS handshake. The kernel accepts connections before Kamailio reads them."""
    # The question is whether it answers, not who it is: customers check its certificate.
    context = client_context(None, verify=False)
    try:
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
