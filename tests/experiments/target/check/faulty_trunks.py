"""Trunks with one planted fault each, as scripts of `tests.odd`, which has SIP, SDP and audio of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from tests.odd.peer import Call, Message, OddPeer, Wire, at, bare, uri_of, write
from tests.odd.play import server

from trunkproof.experiments.target.check.findings import CheckReport
from trunkproof.experiments.target.check.run import CheckOptions, check_trunk
from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.options import RunOptions
from trunkproof.models.plan import draw_plan, row_of
from trunkproof.models.study import Study

HOST, ACCOUNT, CALLER = "trunk.example", "right", "+918040001234"
RINGS_S = 0.3
"""How long a call rings. Our CANCEL comes in half of that."""
G722 = 9

Script = Callable[["Answering"], Awaitable[None]]


@dataclass
class Answering:
    """One call of a faulty trunk."""

    call: Call
    trunk: FaultyTrunk
    body: str = ""
    """Our answer. Another one differs in version and direction."""

    async def ring(self) -> bool:
        """Ring, and return whether the caller is still there."""
        self.call.ring()
        try:
            cancel = await self.call.expect("CANCEL", within_s=RINGS_S)
        except AssertionError:
            return True
        self.call.respond(200, to=cancel)
        self.call.respond(487)
        return False

    async def talk(self, body: str | None = None, *, speaks: bool = True, **options: object) -> None:
        """Answer, and follow the call to its end."""
        self.body = body or self.call.sdp()
        self.call.answer(self.body, **options)
        if speaks:
            self.call.audio.start()
        await self.until_over()

    async def until_over(self) -> None:
        while True:
            message = await self.call.expect("BYE", "INVITE", "ACK", within_s=10)
            if message.method == "BYE":
                self.call.respond(200, to=message)
                return
            if message.method == "INVITE":
                direction = {"sendonly": "recvonly"}.get(message.sdp.direction, "sendrecv")
                origin = f"o=odd {self.call.row + 1} "
                self.call.version += 1
                again = self.body.replace(f"{origin}{self.call.version - 1}", f"{origin}{self.call.version}")
                self.call.respond(200, to=message, body=again.replace("a=sendrecv", f"a={direction}"))
                self.body = again


async def healthy(one: Answering) -> None:
    if await one.ring():
        await one.talk()


async def refuses_everybody(one: Answering) -> None:
    one.call.respond(403, phrase="Source not allowed")


async def knows_its_callers(one: Answering) -> None:
    """Look at the domain first, as the operator's trunk does, then at the Exophone."""
    number, _, domain = uri_of(one.call.invite["From"]).removeprefix("sip:").partition("@")
    if domain != f"{ACCOUNT}.pstn.exotel.com":
        one.call.respond(403, phrase="Domain not allowed")
    elif number != CALLER:
        one.call.respond(403, phrase="Caller is no Exophone")
    else:
        await healthy(one)


async def knows_its_numbers(one: Answering) -> None:
    """Look at the Exophone first."""
    number, _, domain = uri_of(one.call.invite["From"]).removeprefix("sip:").partition("@")
    if number == CALLER and domain == f"{ACCOUNT}.pstn.exotel.com":
        await healthy(one)
    else:
        one.call.respond(403, phrase="Caller is no Exophone" if number != CALLER else "Domain not allowed")


async def has_no_g711(one: Answering) -> None:
    offered = next(line for line in one.call.offer.lines if line.startswith("m=audio")).split()[3:]
    if str(G722) not in offered:
        one.call.respond(488, phrase="Not Acceptable Here")
    else:
        await one.talk(one.call.sdp(codecs=(G722,), lines=["a=rtpmap:9 G722/8000"]), speaks=False)


async def wants_plain_rtp(one: Answering) -> None:
    if "RTP/SAVP" in one.call.offer.text:
        one.call.respond(488, phrase="Not Acceptable Here")
    else:
        await one.talk(one.call.sdp(profile="RTP/AVP", crypto=()), speaks=False)


async def answers_in_plain_rtp(one: Answering) -> None:
    if await one.ring():
        await one.talk(one.call.sdp(profile="RTP/AVP", crypto=()), speaks=False)


async def hears_and_says_nothing(one: Answering) -> None:
    if not await one.ring():
        return
    audio = one.call.audio

    async def report() -> None:
        while True:
            await asyncio.sleep(0.2)
            audio.rtcp.sendto(audio.receiver_report(), (audio.remote[0], audio.remote[1] + 1))  # type: ignore[index]

    reports = asyncio.create_task(report())
    try:
        await one.talk(speaks=False)
    finally:
        reports.cancel()


async def its_sdp_is_rewritten(one: Answering) -> None:
    """An ALG changes the address in the 200, and did not in the 183."""
    one.call.respond(183, body=one.call.sdp())
    one.call.version -= 1
    await one.talk(one.call.sdp(address=one.trunk.other))


async def its_via_is_rewritten(one: Answering) -> None:
    if not await one.ring():
        return
    own, one.body = at(one.trunk.customer, 5061), one.call.sdp()
    changed = one.call.response(200, body=one.body).replace(f"TLS {own}", "TLS 192.0.2.7:41234", 1)
    one.call.send(changed)
    one.call.audio.start()
    await one.until_over()


async def cuts_calls_off(one: Answering) -> None:
    """As after 32 s without an ACK, only sooner."""
    if not await one.ring():
        return
    one.call.answer(one.call.sdp())
    one.call.audio.start()
    await one.call.expect("ACK")
    await asyncio.sleep(0.5)
    await one.call.hang_up(headers=[("Reason", 'Q.850;cause=102;text="Recovery on timer expiry"')])


async def hears_no_ack(one: Answering) -> None:
    """It repeats its 200, as where ACKs are lost behind a NAT (RFC 3261 section 13.3.1.4)."""
    if not await one.ring():
        return
    one.body = one.call.sdp()
    one.call.answer(one.body)
    one.call.audio.start()
    await asyncio.sleep(0.3)
    one.call.answer(one.body)
    await one.until_over()


async def its_media_ports_are_closed(one: Answering) -> None:
    if not await one.ring():
        return
    body = one.call.sdp()
    # From now on nobody listens there, and nothing is sent.
    one.call.audio.close()
    one.call.opened.remove(one.call.audio)
    await one.talk(body, speaks=False)


async def names_a_private_address(one: Answering) -> None:
    if await one.ring():
        await one.talk(one.call.sdp(address="10.11.12.13"), speaks=False)


@dataclass
class FaultyTrunk:
    """A trunk with one fault, and the check-up of it."""

    number: int
    """Which addresses it has."""
    script: Script = healthy
    options_status: int = 200
    caller: str = CALLER
    """As whom the study calls."""
    account: str = ACCOUNT
    domain: str | None = None
    """The domain in From. None: the account's."""
    certified: str = HOST
    ended_ago: timedelta | None = None
    """The certificate is out of date for so long."""
    checked: CheckOptions = field(default_factory=lambda: CheckOptions(hold_s=1.0, machine=False))
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.{self.number}.1"

    @property
    def customer(self) -> str:
        return f"127.0.{self.number}.2"

    @property
    def other(self) -> str:
        """Another address of the trunk's network."""
        return f"127.0.{self.number}.3"

    def study(self) -> Study:
        traffic: dict[str, Any] = {
            "arrivals": {"kind": "constant", "rate_per_minute": 60},
            "holding": 2,
            "ringing": RINGS_S,
            "callers": [self.caller],
        }
        trunk = {"customer_address": self.customer, "account": self.account, "traffic": traffic}
        trunk |= {} if self.domain is None else {"from_domain": self.domain}
        return Study.model_validate({"name": "faulty", "duration_s": 3, "pop": {"host": HOST}, "trunks": [trunk]})

    async def check(self, folder: Path) -> CheckReport:
        """Play the trunk, and check it up."""
        authority = trustme.CA(organization_name="faulty authority")
        ends = None if self.ended_ago is None else datetime.now(UTC) - self.ended_ago
        begins = None if ends is None else ends - timedelta(days=90)
        leaf = authority.issue_cert(self.certified, not_before=begins, not_after=ends)
        certificate, key, ca_file = (folder / f"{self.number}-{name}.pem" for name in ("certificate", "key", "ca"))
        certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        key.write_bytes(leaf.private_key_pem.bytes())
        ca_file.write_bytes(authority.cert_pem.bytes())
        peer = OddPeer(self._invited, self._asked)
        port = await peer.listen(self.address, 0, server(certificate, key))
        card = TrunkCard(stack="foreign", server_name=HOST, host=self.address, port=port, ca_file=str(ca_file))
        try:
            return await check_trunk(draw_plan(self.study()), card, RunOptions(), self.checked)
        finally:
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
            await peer.close()

    def _invited(self, peer: OddPeer, wire: Wire, invite: Message) -> Call | None:
        row = row_of(uri_of(invite.uri).removeprefix("sip:").partition("@")[0])
        assert row is not None, "only numbers of the plan are dialled here"
        host, port = wire.local
        call = Call(wire, row, host, at(host, port), invite["Call-ID"], peer)
        peer.calls[call.call_id] = call

        async def play() -> None:
            await asyncio.sleep(0)  # the INVITE is taken after this returns
            await self.script(Answering(call, self))

        self.tasks.append(asyncio.create_task(play()))
        return call

    def _asked(self, wire: Wire, message: Message) -> None:
        if message.is_a("OPTIONS"):
            rows = [(name, message[name]) for name in ("Via", "From", "Call-ID", "CSeq")]
            rows.append(("To", f"{bare(message['To'])};tag=odd"))
            wire.send(write(f"SIP/2.0 {self.options_status} Odd", rows))


class TwoEdges(FaultyTrunk):
    """A trunk whose second edge is away, and whose third is no address of this machine."""

    def study(self) -> Study:
        edges = [
            {"host": "second.example", "port": 5999, "address": self.address},
            {"host": "192.0.2.1", "port": 443},
        ]
        study = super().study()
        return Study.model_validate(study.model_dump() | {"pop": {"host": HOST, "edges": edges}})
