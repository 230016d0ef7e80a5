"""Play the carrier alone, for a stack that others run: the answering side of `trunkproof answer`.

It is the same `Carrier` as behind our own stacks. It listens until it is stopped, and tells of each call.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trunkproof.loadgen.bugs import collecting_bugs
from trunkproof.loadgen.guard import LOOPBACK_ONLY, Guard
from trunkproof.loadgen.parties.call_book import OnCall
from trunkproof.loadgen.parties.carrier import Carrier
from trunkproof.loadgen.sip.invite import Place
from trunkproof.loadgen.sip.trace import Trace
from trunkproof.loadgen.stacks.server import CERTIFICATES, ServeEnd
from trunkproof.loadgen.system.ports import cannot_listen
from trunkproof.loadgen.tls.certificates import Authority, CertificateFiles
from trunkproof.loadgen.tls.endpoints import LocalNetworkError
from trunkproof.models.plan import draw_plan
from trunkproof.models.study import Study


@dataclass(frozen=True)
class AnswerOptions:
    """How the carrier is played, beside what the study says."""

    port: int = 0
    """Where it listens. 0 takes a free one."""
    certificate: CertificateFiles | None = None
    """What it shows. None: one that is made for the run."""
    guard: Guard = LOOPBACK_ONLY
    """Decides who may call beside this machine, and where audio may go."""
    keylog: Path | None = None
    trace: Trace | None = None
    on_call: OnCall | None = None
    """Is called with each call when it is over."""


async def answer(
    study: Study,
    folder: Path,
    options: AnswerOptions,
    *,
    on_ready: Callable[[Place, Path], None],
    stop: asyncio.Event | None = None,
) -> ServeEnd:
    """Answer until SIGINT, SIGTERM or `stop`.

    `on_ready` gets the place where it listens, and the authority of its certificate.

    Raises:
        StackError: it cannot listen on its address and port.
    """
    stop = stop or asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    authority = Authority(folder / CERTIFICATES)
    with collecting_bugs() as bugs:
        carrier = Carrier(
            draw_plan(study),
            authority,
            port=options.port,
            certificate=options.certificate,
            guard=options.guard,
            keylog=options.keylog,
            trace=options.trace,
            on_call=options.on_call,
        )
        try:
            port = await carrier.start()
            on_ready(Place(carrier.host, port), authority.ca_file)
            await stop.wait()
            await carrier.hang_up()
        except LocalNetworkError as error:
            raise cannot_listen("the carrier", carrier.host, options.port, error.__cause__) from error
        finally:
            await carrier.close()
            authority.discard()
    return ServeEnd(carrier.limiter.refused, bugs.found)
