"""Strangers who attack a trunk: INVITEs by the thousand, idle connections, and messages that never become complete.

They call from loopback addresses that no study has on a whitelist, and come back whenever they are refused. Run as a
process of its own: `python -m trunkproof.experiments.benchmarks.peers.strangers CARD SECONDS INVITES IDLE HALVES`. It
prints what it did as one JSON object.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path

from trunkproof.loadgen.card import TrunkCard, read_card
from trunkproof.loadgen.sip.identifiers import Identifiers
from trunkproof.loadgen.sip.invite import Place, outbound_invite
from trunkproof.loadgen.sip.message import serialize
from trunkproof.loadgen.system.descriptors import raise_open_file_limit
from trunkproof.loadgen.tls.certificates import client_context
from trunkproof.loadgen.tls.connection import ConnectError, Connection
from trunkproof.loadgen.tls.endpoints import Connector, LocalNetworkError

FLOODERS, IDLERS, HALVERS = "127.0.97", "127.0.98", "127.0.99"
"""The networks of the three kinds of strangers. Each has twenty hosts, so that barring one does not end its attack."""
_HOSTS = 20
_TICK_S = 0.01
_RETRIES_PER_S = 1000
"""So often all idlers together, or all halvers, come back after they were refused."""


@dataclass
class Attack:
    """What the strangers did."""

    invites: int = 0
    """INVITEs written to a connection."""
    connections: int = 0
    """Connections that the trunk let them open, TLS included."""
    refused: int = 0
    """Connections that ended before the strangers ended them, or never came about."""
    idle: int = 0
    """TCP connections of idlers that were open at the end."""
    halves: int = 0
    """Connections with half a message that were open at the end."""


class Strangers:
    """All strangers of one attack."""

    def __init__(self, card: TrunkCard) -> None:
        self._card = card
        self._context = client_context(Path(card.ca_file or ""))
        self._ids = Identifiers(random.Random())
        self._numbers = itertools.count()
        self.done = Attack()

    def invite(self) -> bytes:
        """Return an INVITE with a branch and a Call-ID of its own."""
        number, host = next(self._numbers), f"{FLOODERS}.1"
        return serialize(
            outbound_invite(
                self._ids,
                dialled=f"+91{number:010d}",
                exophone="+918000000000",
                domain="stranger.pstn.exotel.com",
                trunk=Place(self._card.host, self._card.port),
                customer=Place(host, 5061),
                sdp=b"v=0\r\n" * 60,
            )
        )

    async def flood(self, per_s: float) -> None:
        """Send INVITEs at that rate in all, from all hosts, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for host in range(1, _HOSTS + 1):
                group.create_task(self._flood_from(f"{FLOODERS}.{host}", per_s / _HOSTS))

    async def _flood_from(self, source: str, per_s: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            async with self._connected(source) as connection:
                began, sent = loop.time(), 0
                while connection is not None and connection.closed is None:
                    due = int((loop.time() - began) * per_s) - sent
                    for _ in range(due):
                        connection.write(self.invite())
                    sent, self.done.invites = sent + due, self.done.invites + due
                    await asyncio.sleep(_TICK_S)
                self.done.refused += 1
            await asyncio.sleep(_TICK_S)

    @contextlib.asynccontextmanager
    async def _connected(self, source: str) -> AsyncIterator[Connection | None]:
        connection = None
        # Refused, or out of ports: either way there is none, and the stranger tries again.
        with contextlib.suppress(ConnectError, LocalNetworkError):
            connector = Connector(self._context, self._card.server_name, source)
            connection = await connector.connect(self._card.host, self._card.port, timeout_s=5.0)
            connection.deliver_to(lambda data: None)
            self.done.connections += 1
        try:
            yield connection
        finally:
            if connection is not None:
                connection.abort()

    async def idle(self, many: int) -> None:
        """Keep so many TCP connections open, on which nothing is ever sent, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(many):
                group.create_task(self._idle_from(f"{IDLERS}.{1 + number % _HOSTS}", many))

    async def _idle_from(self, source: str, many: int) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(random.uniform(0, 2 * many / _RETRIES_PER_S))
            with socket.socket() as sock, contextlib.suppress(OSError):
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
                sock.bind((source, 0))
                await loop.sock_connect(sock, (self._card.host, self._card.port))
                self.done.idle += 1
                try:
                    await loop.sock_recv(sock, 1)
                finally:
                    self.done.idle -= 1
            self.done.refused += 1

    async def halve(self, many: int) -> None:
        """Keep so many TLS connections open, with half a message on each, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(many):
                group.create_task(self._halve_from(f"{HALVERS}.{1 + number % _HOSTS}", many))

    async def _halve_from(self, source: str, many: int) -> None:
        while True:
            await asyncio.sleep(random.uniform(0, 2 * many / _RETRIES_PER_S))
            async with self._connected(source) as connection:
                if connection is not None:
                    connection.write(self.invite()[:200])
                    self.done.halves += 1
                    try:
                        await connection.wait_closed()
                    finally:
                        self.done.halves -= 1
            self.done.refused += 1


async def attack(card: TrunkCard, seconds: float, *, invites_per_s: float, idle: int, halves: int) -> Attack:
    """Attack the trunk of that card for some seconds. Return what was done."""
    strangers = Strangers(card)
    works = (strangers.flood(invites_per_s), strangers.idle(idle), strangers.halve(halves))
    tasks = [asyncio.create_task(work) for work in works]
    await asyncio.wait(tasks, timeout=seconds)
    # Copied before the tasks are cancelled, as that closes what they hold open.
    done = Attack(**asdict(strangers.done))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return done


def main() -> None:
    """Attack, and print what was done."""
    card, seconds, invites, idle, halves = sys.argv[1:]
    raise_open_file_limit()
    # Attackers have machines of their own. Here they must not take the cores from the trunk and its customers.
    os.nice(5)
    # Not uvloop, which ends the process where thousands of sockets are closed under it at once.
    done = asyncio.run(
        attack(read_card(Path(card)), float(seconds), invites_per_s=float(invites), idle=int(idle), halves=int(halves))
    )
    print(json.dumps(asdict(done)))


if __name__ == "__main__":
    main()
