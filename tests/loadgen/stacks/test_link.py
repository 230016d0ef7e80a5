"""What a run hears of its trunk over a real control channel: anchors, records, restarts, deaths."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest

from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.stack_events import THE_TRUNK, StackEvent, StackEventKind
from trunkproof.loadgen.stacks import control, link
from trunkproof.loadgen.stacks.control import ControlClient, ControlServer, Finished, StackStatus, TrunkSilentError
from trunkproof.loadgen.stacks.link import FinalReport, TrunkLink, open_link
from trunkproof.loadgen.verdict import Measurements, Verdict, judge
from trunkproof.models.errors import StackError
from trunkproof.models.records import Direction, Disposition, Record, to_frame, write_records

HOST = "127.0.60.1"
STOPPED = asyncio.Event()
STOPPED.set()
DIED = StackEventKind.DIED


class Trunk:
    """A trunk whose answers are given."""

    def __init__(self, finished: Finished | None = None) -> None:
        self._finished = finished

    def status(self) -> StackStatus:
        return StackStatus(0, 0, 0)

    def begin(self, zero: float) -> Mapping[str, float]:
        if zero < 0:
            raise ValueError(zero)  # The channel is closed then, as where the trunk process dies.
        return {"bank": -1.25}

    async def finish(self, *, stop: bool) -> Finished:
        assert self._finished is not None
        return self._finished


def with_link(trunk: Trunk, test: Callable[[TrunkLink, ControlServer], Awaitable[None]]) -> None:
    """Run a test on a link to a trunk, Kamailio by its card."""

    async def run() -> None:
        server = ControlServer(trunk)
        port = await server.listen(HOST)
        card = TrunkCard(
            stack="kamailio",
            server_name="a.example",
            host=HOST,
            port=5443,
            ca_file="ca.pem",
            control_port=port,
            control_secret=server.secret,
        )
        try:
            async with open_link(card) as opened:
                await test(opened, server)
        finally:
            server.close()

    asyncio.run(run())


def test_anchors_come_by_trunk() -> None:
    async def test(opened: TrunkLink, _: ControlServer) -> None:
        assert await opened.begin(5.0) == {"bank": -1.25}

    with_link(Trunk(), test)


@pytest.mark.parametrize("loop_lag_s", [0.0, 1.0])
def test_the_final_report_has_the_inbound_records_and_the_carriers_health(loop_lag_s: float, tmp_path: Path) -> None:
    record = Record(
        row=3,
        call=3,
        attempt=0,
        trunk="bank",
        direction=Direction.INBOUND,
        disposition=Disposition.BUSY,
        intended_s=0.5,
    )
    records = to_frame([record])
    write_records(records, tmp_path / "inbound.parquet")
    health = judge(Measurements(loop_lag_s=[loop_lag_s] * 100))

    async def test(opened: TrunkLink, _: ControlServer) -> None:
        report = await opened.finish(asyncio.Event())
        assert report.inbound is not None
        assert report.inbound.equals(records)
        assert report.carrier == health
        assert (report.carrier.verdict is Verdict.VALID) == (loop_lag_s == 0)

    with_link(Trunk(Finished(tmp_path / "inbound.parquet", health)), test)


def test_the_embedded_trunk_has_no_carrier_to_judge(tmp_path: Path) -> None:
    write_records(to_frame([]), tmp_path / "inbound.parquet")

    async def test(opened: TrunkLink, _: ControlServer) -> None:
        assert (await opened.finish(STOPPED)).carrier is None

    with_link(Trunk(Finished(tmp_path / "inbound.parquet", None)), test)


def test_calls_that_are_waited_for_are_ended_once_the_run_is_stopped(tmp_path: Path) -> None:
    write_records(to_frame([]), tmp_path / "inbound.parquet")

    class Busy(Trunk):
        """Has calls for ever, unless they are ended."""

        def __init__(self) -> None:
            super().__init__(Finished(tmp_path / "inbound.parquet", None))
            self.asked: list[bool] = []

        async def finish(self, *, stop: bool) -> Finished:
            self.asked.append(stop)
            if not stop:
                stopping.set()
                await asyncio.Event().wait()
            return await super().finish(stop=stop)

    trunk, stopping = Busy(), asyncio.Event()

    async def test(opened: TrunkLink, _: ControlServer) -> None:
        async with asyncio.timeout(20):
            report = await opened.finish(stopping)
        assert report.inbound is not None

    with_link(trunk, test)
    assert trunk.asked == [False, True]


def test_with_the_edge_the_trunk_is_dead_and_with_a_helper_it_is_not() -> None:
    told: list[StackEvent] = []
    events = [
        StackEvent(StackEventKind.STARTED, "kamailio", 0.25, pid=42),
        StackEvent(StackEventKind.SILENT, "kamailio", 0.5),
        StackEvent(DIED, "rtpengine", 1.0, detail="killed by SIGKILL"),
        StackEvent(DIED, "kamailio", 2.0, detail="ended with exit code 1"),
    ]

    async def test(opened: TrunkLink, server: ControlServer) -> None:
        async def listen() -> None:
            async for event in opened.events():
                told.append(event)
                if event.is_the_end:
                    return

        listening = asyncio.create_task(listen())
        while not server._watchers:
            await asyncio.sleep(0.01)
        for event in events:
            server.tell(event)
        async with asyncio.timeout(5):
            await listening

    with_link(Trunk(), test)
    assert told == [*events, StackEvent(DIED, THE_TRUNK, 2.0, detail="died with kamailio")]
    assert [str(event) for event in told] == [
        "kamailio was started again, process 42",
        "kamailio does not answer",
        "rtpengine killed by SIGKILL",
        "kamailio ended with exit code 1",
        "the trunk died with kamailio",
    ]


def test_a_line_that_breaks_is_the_death_of_the_trunk() -> None:
    async def test(opened: TrunkLink, server: ControlServer) -> None:
        coming = asyncio.ensure_future(anext(opened.events()))
        while not server._watchers:
            await asyncio.sleep(0.01)
        for writer in server._watchers:
            writer.close()
        death = await asyncio.wait_for(coming, 5)
        assert death.is_the_end
        assert str(death) == "the trunk died"

    with_link(Trunk(), test)


def test_a_trunk_that_is_gone_cannot_be_asked() -> None:
    async def run() -> None:
        server = ControlServer(Trunk())
        port = await server.listen(HOST)
        card = TrunkCard(
            server_name="a.example",
            host=HOST,
            port=5443,
            ca_file="ca.pem",
            control_port=port,
            control_secret=server.secret,
        )
        async with open_link(card) as opened:
            with pytest.raises(StackError, match="the trunk died"):
                await opened.begin(-1.0)
        server.close()
        with pytest.raises(StackError, match="does not answer"):
            async with open_link(card):
                pass

    asyncio.run(run())


def test_a_trunk_without_a_control_channel_tells_nothing() -> None:
    async def run() -> None:
        card = TrunkCard(stack="foreign", server_name="a.example", host=HOST, port=5443, ca_file="ca.pem")
        async with open_link(card) as opened:
            assert await opened.begin(0.0) == {}
            assert await opened.finish(STOPPED) == FinalReport()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(opened.events()), 0.05)

    asyncio.run(run())


def test_a_trunk_that_hangs_while_its_inbound_calls_are_awaited_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_ASK_EVERY_S", 0.01)
    monkeypatch.setattr(control, "_ANSWERS_WITHIN_S", 0.2)

    async def run() -> None:
        async def frozen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()  # as a process that was stopped: the kernel takes what comes, and nobody answers
            writer.close()

        server = await asyncio.start_server(frozen, HOST, 0)
        port = server.sockets[0].getsockname()[1]
        card = TrunkCard(server_name="a.example", host=HOST, port=5443, ca_file="ca.pem", control_port=port)
        async with asyncio.timeout(20), open_link(card) as opened:
            with pytest.raises(TrunkSilentError):
                await opened.finish(asyncio.Event())
        server.close()

    asyncio.run(run())


def test_calls_that_last_longer_than_an_answer_may_take_are_awaited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "_ASK_EVERY_S", 0.01)
    monkeypatch.setattr(control, "_ANSWERS_WITHIN_S", 1.0)
    write_records(to_frame([]), tmp_path / "inbound.parquet")
    asked = asyncio.Event()

    class Long(Trunk):
        """Has calls until it was asked twenty times whether it still lives."""

        times = 0

        def status(self) -> StackStatus:
            self.times += 1
            if self.times == 20:
                asked.set()
            return super().status()

        async def finish(self, *, stop: bool) -> Finished:
            await asked.wait()
            return await super().finish(stop=stop)

    async def test(opened: TrunkLink, _: ControlServer) -> None:
        async with asyncio.timeout(20):
            assert (await opened.finish(asyncio.Event())).inbound is not None

    with_link(Long(Finished(tmp_path / "inbound.parquet", None)), test)


def test_where_the_second_channel_cannot_be_opened_the_first_one_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        server = ControlServer(Trunk())
        port = await server.listen(HOST)
        connect, opened = link.ControlClient.connect, list[ControlClient]()

        async def once(host: str, port: int, secret: str) -> ControlClient:
            if opened:
                raise StackError("no more descriptors")
            opened.append(await connect(host, port, secret))
            return opened[0]

        monkeypatch.setattr(link.ControlClient, "connect", once)
        card = TrunkCard(
            server_name="a.example",
            host=HOST,
            port=5443,
            ca_file="ca.pem",
            control_port=port,
            control_secret=server.secret,
        )
        with pytest.raises(StackError, match="no more descriptors"):
            async with open_link(card):
                pass
        (first,) = opened
        assert first._writer.is_closing()
        server.close()

    asyncio.run(run())
