"""What a run hears of its trunk over a real control channel: anchors, records, restarts, deaths."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.stacks.control import Answer, ControlServer
from trunkproof.loadgen.stacks.link import Farewell, Started, Trouble, TrunkLink, open_link
from trunkproof.loadgen.verdict import Measurements, Verdict, judge
from trunkproof.models.errors import StackError
from trunkproof.models.records import Direction, Disposition, Record, to_frame, write_records

HOST = "127.0.60.1"


def with_link(answers: dict[str, Answer], test: Callable[[TrunkLink, ControlServer], Awaitable[None]]) -> None:
    """Run a test on a link to a trunk, Kamailio by its card, that gives these answers."""

    async def answer(question: Answer) -> Answer:
        return answers[question["do"]]

    async def run() -> None:
        server = ControlServer(answer)
        port = await server.listen(HOST)
        card = TrunkCard(
            stack="kamailio", server_name="a.example", host=HOST, port=5443, ca_file="ca.pem", control_port=port
        )
        try:
            async with open_link(card) as link:
                await test(link, server)
        finally:
            server.close()

    asyncio.run(run())


def test_anchors_come_by_trunk() -> None:
    async def test(link: TrunkLink, _: ControlServer) -> None:
        assert await link.begin(5.0) == {"bank": -1.25}

    with_link({"begin": {"anchors": {"bank": -1.25}}}, test)


@pytest.mark.parametrize("loop_lag_s", [0.0, 1.0])
def test_the_farewell_has_the_inbound_records_and_the_carriers_health(loop_lag_s: float, tmp_path: Path) -> None:
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

    async def test(link: TrunkLink, _: ControlServer) -> None:
        farewell = await link.finish(stop=False)
        assert farewell.inbound is not None
        assert farewell.inbound.equals(records)
        assert farewell.carrier == health
        assert (farewell.carrier.verdict is Verdict.VALID) == (loop_lag_s == 0)

    # As it goes over the line: JSON knows no tuples and no enumerations.
    told = {**asdict(health), "reasons": list(health.reasons), "verdict": str(health.verdict)}
    with_link({"finish": {"records": str(tmp_path / "inbound.parquet"), "health": told}}, test)


def test_the_embedded_trunk_has_no_carrier_to_judge(tmp_path: Path) -> None:
    write_records(to_frame([]), tmp_path / "inbound.parquet")

    async def test(link: TrunkLink, _: ControlServer) -> None:
        assert (await link.finish(stop=True)).carrier is None

    with_link({"finish": {"records": str(tmp_path / "inbound.parquet"), "health": None}}, test)


def test_with_the_edge_the_trunk_is_dead_and_with_a_helper_it_is_not() -> None:
    told: list[Trouble | Started] = []

    async def test(link: TrunkLink, server: ControlServer) -> None:
        async def listen() -> None:
            async for news in link.news():
                told.append(news)
                if isinstance(news, Trouble) and news.is_the_trunk:
                    return

        listening = asyncio.create_task(listen())
        while not server._watchers:
            await asyncio.sleep(0.01)
        server.tell({"news": "started", "program": "kamailio", "pid": 42})
        server.tell({"news": "health", "program": "kamailio", "at": 0.5, "how": "does not answer"})
        server.tell({"news": "death", "program": "rtpengine", "at": 1.0, "how": "killed by SIGKILL"})
        server.tell({"news": "death", "program": "kamailio", "at": 2.0, "how": "ended with exit code 1"})
        async with asyncio.timeout(5):
            await listening

    with_link({}, test)
    assert told == [
        Started("kamailio", 42),
        Trouble("kamailio", 0.5, "does not answer"),
        Trouble("rtpengine", 1.0, "killed by SIGKILL"),
        Trouble("kamailio", 2.0, "ended with exit code 1"),
        Trouble("the trunk", 2.0, "with kamailio"),
    ]


def test_a_line_that_breaks_is_the_death_of_the_trunk() -> None:
    async def test(link: TrunkLink, server: ControlServer) -> None:
        news = link.news()
        coming = asyncio.ensure_future(anext(news))
        while not server._watchers:
            await asyncio.sleep(0.01)
        for writer in server._watchers:
            writer.close()
        death = await asyncio.wait_for(coming, 5)
        assert isinstance(death, Trouble)
        assert death.is_the_trunk
        assert death.how == "died"

    with_link({}, test)


def test_a_trunk_that_is_gone_cannot_be_asked() -> None:
    async def refuse(question: Answer) -> Answer:
        raise ValueError(question)

    async def run() -> None:
        server = ControlServer(refuse)
        port = await server.listen(HOST)
        card = TrunkCard(server_name="a.example", host=HOST, port=5443, ca_file="ca.pem", control_port=port)
        async with open_link(card) as link:
            with pytest.raises(StackError, match="the trunk died"):
                await link.begin(0.0)
        server.close()
        with pytest.raises(StackError, match="does not answer"):
            async with open_link(card):
                pass

    asyncio.run(run())


def test_a_foreign_trunk_has_no_farewell() -> None:
    async def run() -> None:
        card = TrunkCard(stack="foreign", server_name="a.example", host=HOST, port=5443, ca_file="ca.pem")
        async with open_link(card) as link:
            assert await link.finish(stop=True) == Farewell()

    asyncio.run(run())
