"""The control channel over real sockets: typed questions and answers, events for all who watch, and its death."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from trunkproof.loadgen.bugs import Bug
from trunkproof.loadgen.stack_events import StackEvent, StackEventKind
from trunkproof.loadgen.stacks import control
from trunkproof.loadgen.stacks.control import (
    Began,
    ControlClient,
    ControlServer,
    Finished,
    StackStatus,
    TrunkDiedError,
    TrunkSilentError,
)
from trunkproof.models.errors import StackError

HOST = "127.0.60.1"
STATUS = StackStatus(calls=3, channels_used=2, ports_in_use=None, programs={"kamailio": 42})


class Scripted:
    """A trunk that answers as it was told to, and notes what it was asked."""

    def __init__(self, *, silent: bool = False) -> None:
        self.asked: list[object] = []
        self.silent = silent

    def status(self) -> StackStatus:
        return STATUS

    def begin(self, zero: float) -> Mapping[str, float]:
        self.asked.append(zero)
        return {"bank": -1.25}

    async def finish(self, *, stop: bool) -> Finished:
        self.asked.append(stop)
        if self.silent:
            await asyncio.Event().wait()
        return Finished(Path("inbound.parquet"), None)


def test_questions_are_answered_and_their_values_arrive() -> None:
    async def run() -> None:
        trunk = Scripted()
        server = ControlServer(trunk)
        client = await ControlClient.connect(HOST, await server.listen(HOST), server.secret)
        assert await client.status() == STATUS
        assert await client.begin(5.5) == Began({"bank": -1.25})
        assert await client.finish(stop=True) == Finished(Path("inbound.parquet"), None)
        assert trunk.asked == [5.5, True]
        await client.close()
        server.close()

    asyncio.run(run())


def test_who_watches_is_told_events() -> None:
    event = StackEvent(StackEventKind.STARTED, "kamailio", 7.5, pid=42)

    async def run() -> StackEvent:
        server = ControlServer(Scripted())
        client = await ControlClient.connect(HOST, await server.listen(HOST), server.secret)
        first = asyncio.ensure_future(anext(client.events()))
        while not first.done():
            server.tell(event)
            await asyncio.sleep(0.01)
        await client.close()
        server.close()
        return first.result()

    assert asyncio.run(run()) == event


@pytest.mark.parametrize("line", [b"no JSON\n", b'{"type": "Nonsense"}\n', b'{"type": "Begin"}\n', b"[1]\n"])
def test_who_speaks_another_protocol_is_hung_up_on_and_others_are_served(line: bytes) -> None:
    async def run() -> None:
        server = ControlServer(Scripted())
        port = await server.listen(HOST)
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(line)
        assert await reader.read() == b""
        writer.close()
        client = await ControlClient.connect(HOST, port, server.secret)
        assert await client.status() == STATUS
        await client.close()
        server.close()

    asyncio.run(run())


def test_a_trunk_that_is_gone_and_one_that_hangs_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_ENDS_CALLS_WITHIN_S", 0.05)

    async def run() -> None:
        server = ControlServer(Scripted(silent=True))
        port = await server.listen(HOST)
        client = await ControlClient.connect(HOST, port, server.secret)
        with pytest.raises(TrunkSilentError, match="has not answered"):
            await client.finish(stop=True)
        await client.close()
        server.close()

        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            await reader.readline()
            writer.close()

        other = await asyncio.start_server(hang_up, HOST, 0)
        client = await ControlClient.connect(HOST, other.sockets[0].getsockname()[1], "")
        with pytest.raises(TrunkDiedError):
            await client.status()
        await client.close()
        other.close()
        with pytest.raises(StackError, match="does not answer"):
            await ControlClient.connect(HOST, port, server.secret)

    asyncio.run(run())


def test_an_answer_to_another_question_is_no_answer() -> None:
    async def run() -> None:
        async def confused(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()  # Hello
            await reader.readline()
            writer.write(json.dumps({"type": "Began", "anchors": {}}).encode() + b"\n")
            await reader.readline()
            writer.close()

        server = await asyncio.start_server(confused, HOST, 0)
        client = await ControlClient.connect(HOST, server.sockets[0].getsockname()[1], "")
        with pytest.raises(StackError, match="answers Began to AskStatus"):
            await client.status()
        await client.close()
        server.close()

    asyncio.run(run())


@pytest.mark.parametrize("secret", ["", "wrong", "ü"])
def test_who_does_not_know_the_secret_of_the_card_is_told_nothing_and_counted(secret: str) -> None:
    async def run() -> None:
        trunk = Scripted()
        server = ControlServer(trunk)
        port = await server.listen(HOST)
        stranger = await ControlClient.connect(HOST, port, secret)
        with pytest.raises(TrunkDiedError):
            await stranger.finish(stop=True)
        await stranger.close()
        # Not even a question in the place of `Hello` is answered.
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b'{"type": "Finish", "stop": true}\n')
        assert await reader.read() == b""
        writer.close()
        assert (trunk.asked, server.refused) == ([], 2)
        client = await ControlClient.connect(HOST, port, server.secret)
        assert await client.status() == STATUS
        await client.close()
        server.close()

    asyncio.run(run())


def test_two_trunks_have_two_secrets() -> None:
    assert ControlServer(Scripted()).secret != ControlServer(Scripted()).secret


def test_who_connects_and_stays_silent_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_HELLO_WITHIN_S", 0.05)

    async def run() -> None:
        server = ControlServer(Scripted())
        reader, writer = await asyncio.open_connection(HOST, await server.listen(HOST))
        assert await reader.read() == b""
        writer.close()
        assert server.refused == 1
        server.close()

    asyncio.run(run())


def test_silent_connections_beyond_a_number_are_hung_up_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_MOST_UNKNOWN", 2)

    async def run() -> None:
        server = ControlServer(Scripted())
        port = await server.listen(HOST)
        silent = [await asyncio.open_connection(HOST, port) for _ in range(2)]
        reader, writer = await asyncio.open_connection(HOST, port)
        assert await reader.read() == b""
        for _, each in [*silent, (reader, writer)]:
            each.close()
        server.close()

    asyncio.run(run())


def test_the_secret_is_not_shown_where_a_message_is() -> None:
    assert "hush" not in repr(control.Hello("hush"))


def test_bugs_and_refusals_of_the_trunks_process_come_typed() -> None:
    finished = Finished(Path("a"), None, (Bug("a timer", "KeyError: 7", "Traceback", 2),), {"strangers: x": 3})
    assert control._ANSWERS.decode(control._ANSWERS.encode(finished)) == finished
