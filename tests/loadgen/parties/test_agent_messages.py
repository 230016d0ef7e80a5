"""A user agent over real TLS: what a message that cannot be read costs, and what a message of another peer does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.loadgen.sip.torture.cases import CASES, request, response

from trunkproof.loadgen.parties.agent import IncomingCall, SipAgent
from trunkproof.loadgen.sip.call import UserAgent
from trunkproof.loadgen.sip.call_state import CallState
from trunkproof.loadgen.sip.trace import open_trace
from trunkproof.loadgen.tls.certificates import Authority, CertificateFiles, client_context, server_context
from trunkproof.loadgen.tls.endpoints import Connection, Connector, serve_tls

SERVER_NAME = "pstn.trunk.test"
BROKEN = [case for case in CASES if case.name in ("bigcode", "scalarlg", "badvers", "lwsruri", "insuf")]


class Raw:
    """A connection of a peer, and the status lines that came over it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.lines: list[str] = []
        connection.deliver_to(self._take)

    def _take(self, data: bytes) -> None:
        self.lines += [line for line in data.decode().split("\r\n") if line.startswith("SIP/2.0 ")]

    async def say(self, data: bytes, answer: str) -> None:
        """Write, and wait for a status line that begins so."""
        self.connection.write(data)
        async with asyncio.timeout(5):
            while not any(line.startswith(answer) for line in self.lines):
                await asyncio.sleep(0.001)


Connect = Callable[[str], Awaitable[Raw]]


@pytest.fixture
def play(
    authority: Authority, server_files: CertificateFiles, tmp_path: Path
) -> Callable[[Callable[[SipAgent, Connect, list[IncomingCall]], Awaitable[None]]], None]:
    def run(scenario: Callable[[SipAgent, Connect, list[IncomingCall]], Awaitable[None]]) -> None:
        async def main() -> None:
            calls: list[IncomingCall] = []
            peers: list[Raw] = []
            with open_trace(tmp_path / "trace.txt") as trace:
                agent = SipAgent(UserAgent("127.0.0.1", 5061), random.Random(1), on_invite=calls.append, trace=trace)
                server = await serve_tls("127.0.0.1", 0, server_context(server_files), agent.attach)

                async def connect(source: str) -> Raw:
                    connector = Connector(client_context(authority.ca_file), SERVER_NAME, source)
                    peers.append(Raw(await connector.connect(*server.address)))
                    return peers[-1]

                try:
                    await scenario(agent, connect, calls)
                finally:
                    await server.close()
                    await asyncio.gather(*(peer.connection.wait_closed() for peer in peers))

        asyncio.run(main())

    return run


def test_a_message_that_cannot_be_read_costs_that_message_and_not_the_connection(
    play: Callable[..., None], tmp_path: Path
) -> None:
    async def scenario(agent: SipAgent, connect: Connect, _: list[IncomingCall]) -> None:
        peer = await connect("127.0.0.2")
        for case in BROKEN:
            peer.connection.write(case.data)
        peer.connection.write(response("SIP/2.0 200 OK", {"CSeq": None}))
        await peer.say(request("after"), "SIP/2.0 200")
        assert [line.split()[1] for line in peer.lines] == ["400", "505", "400", "200"]
        assert agent.malformed == len(BROKEN) + 1
        assert peer.connection.closed is None
        # Without a length the place of the next message is unknown.
        await peer.say(request("ncl", length="Content-Length: x"), "SIP/2.0 400 Bad Request (no single")
        async with asyncio.timeout(5):
            await peer.connection.wait_closed()

    play(scenario)
    assert "919812345678" not in (tmp_path / "trace.txt").read_text()


def test_another_peer_cannot_end_a_call_and_the_same_peer_can_over_a_new_connection(play: Callable[..., None]) -> None:
    async def scenario(agent: SipAgent, connect: Connect, calls: list[IncomingCall]) -> None:
        ours, other, again = [await connect(source) for source in ("127.0.0.2", "127.0.0.3", "127.0.0.2")]
        invite = request("call", "INVITE")
        ours.connection.write(invite)
        async with asyncio.timeout(5):
            while not calls:
                await asyncio.sleep(0.001)
        cancel = request("call", "CANCEL")
        await other.say(cancel, "SIP/2.0 481")
        assert calls[0].call.state is CallState.INCOMING
        await again.say(cancel, "SIP/2.0 200")
        assert calls[0].call.ended

    play(scenario)
