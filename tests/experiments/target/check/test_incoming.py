"""`check --inbound`: an operator's test call, played by a scripted telephone, and nobody who calls."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from tests.odd.peer import OddPeer, at
from tests.odd.play import Telephone

from trunkproof.experiments.target.check.findings import Check, CheckName, CheckReport, State
from trunkproof.experiments.target.check.incoming import InboundOptions, check_inbound
from trunkproof.experiments.target.remedies import PathFault
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.system.loop import run_loop
from trunkproof.models.study import Study

CUSTOMER, TRUNK, PORT = "127.0.121.2", "127.0.121.1", 5061
SIDS = (("X-Exotel-CallSid", "a1b2c3d4e5f6"), ("X-Exotel-TrunkSid", "trmum1aabbcc"))


def study() -> Study:
    traffic = {"arrivals": {"kind": "constant", "rate_per_minute": 60}, "holding": 1}
    return Study.model_validate({"name": "inbound", "trunks": [{"customer_address": CUSTOMER, "traffic": traffic}]})


async def place_test_call(headers: tuple[tuple[str, str], ...] = SIDS, **sdp: Any) -> None:
    """Call as the operator's trunk does, and hear ourselves in the echo for half a second."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    peer = OddPeer()
    wire = await peer.connect(CUSTOMER, PORT, TRUNK, context, "")
    call = Telephone(wire, 0, TRUNK, at(TRUNK, wire.local[1]), "a1b2@pstn.mum1.exotel.com", peer, is_caller=True)
    call.card, call.account, call.dialled = {"host": CUSTOMER, "port": PORT}, "example", "+918040001234"
    peer.calls[call.call_id] = call
    try:
        call.dial(headers=headers, body=call.sdp(**sdp) if sdp else None)
        await call.answered()
        call.audio.hears_itself = True
        await call.talk(25)
    finally:
        await peer.close()


def checked(*, calls: bool = True, **sdp: Any) -> CheckReport:
    async def run() -> CheckReport:
        tasks: list[asyncio.Task[None]] = []

        def ready(place: str) -> None:
            if calls:
                tasks.append(asyncio.create_task(place_test_call(**sdp)))

        report = await check_inbound(study(), RunOptions(), InboundOptions(wait_s=10 if calls else 0.3), ready)
        await asyncio.gather(*tasks)
        return report

    return run_loop(run())


def by_name(report: CheckReport) -> dict[CheckName, Check]:
    return {check.name: check for check in report.checks}


def test_a_test_call_is_answered_and_described() -> None:
    found = by_name(checked())
    assert [f"{check.name}: {check.seen}" for check in found.values() if check.state is State.BROKEN] == []
    for name in (
        *(CheckName.REACHABLE, CheckName.CALL, CheckName.IDENTIFIERS, CheckName.CONTACT, CheckName.MEDIA_ADDRESS),
        *(CheckName.SDP_WAY, CheckName.MEDIA_SOURCE, CheckName.AUDIO_IN, CheckName.NETWORK, CheckName.ACK),
    ):
        assert found[name].state is State.HOLDS, found[name]
    assert "a1b2c3d4e5f6" in found[CheckName.IDENTIFIERS].seen
    assert "8040001234" not in str(found)


def test_nobody_who_calls_is_told_with_what_to_do() -> None:
    report = checked(calls=False)
    check = by_name(report)[CheckName.REACHABLE]
    assert check.state is State.BROKEN
    assert check.troubles == (PathFault.CONTACT_UNREACHABLE,)
    assert by_name(report)[CheckName.CALL].state is State.NOT_TRIED
    assert not report.is_reached
