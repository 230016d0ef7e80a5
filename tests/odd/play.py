"""Play scripts to the real commands: `load` calls the odd trunk, `serve` calls odd telephones and is called by them.

Many scripts share one run: each call of the plan dials its own number, and the number says which script answers it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import ssl
import sys
import traceback
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
from tests.odd.peer import STRANGER, Call, Message, OddPeer, Wire, at, new_branch, tag_of, uri_of, write
from tests.odd.scenario import Scenario

from trunkproof.models.plan import dialled_number, draw_plan, row_of
from trunkproof.models.records import read_records
from trunkproof.models.study import Study

ROOT = Path(__file__).parents[2]
NAME = "pstn.odd.test"
APART_S = 0.06
"""Between two calls of a run."""
BEGINS_WITHIN_S = 180.0
"""The first start on a machine compiles for a minute."""
OVER_S, LONG_OVER_S = 20.0, 55.0
"""A run that goes on for so long after the last call of its plan was placed is interrupted. The second one: where
telephones ring for 35 s."""
LINES: dict[str, dict[str, Any]] = {
    "short": {"holding": 1.5},
    "long": {"holding": 3.5},
    "very long": {"holding": 29.0},
    "suites": {"holding": 1.5},
    "abandon": {"holding": 1.5, "outcomes": {"abandoned": 1.0}, "patience": 0.4},
    "own": {"holding": 1.5, "tls": {"policy": "per_call"}},
    "ringing": {"holding": 1.5, "ringing": 1.5},
    "busy": {"holding": 1.5, "outcomes": {"busy": 1.0}},
}
SUITES = {"suites": ["AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"]}


@dataclass
class Played:
    """What came of one script."""

    call: Call | None = None
    record: Mapping[str, Any] | None = None
    """The row of the record table, where there is one."""
    fault: str = "its call never came"
    """Why the script could not be followed to its end. Empty where it was."""
    output: str = ""
    """The end of what the command said."""

    def story(self) -> str:
        said = "\n".join(self.call.said) if self.call is not None else "no call"
        shown = {key: value for key, value in (self.record or {}).items() if value not in (None, 0, False)}
        return f"\n--- said ---\n{said}\n--- record ---\n{shown}\n--- command ---\n{self.output[-1500:]}"


@dataclass
class Stage:
    """One study, its scripts by plan row, and what came of them by name."""

    name: str
    scenarios: Sequence[Scenario]
    net: str
    """The first three octets of all addresses of this stage; `::1` is the only one where it is that."""
    inbound: bool = False
    old: bool = False
    """The peer knows TLS 1.2 at most."""
    played: dict[str, Played] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Those that take longest are placed first, or the whole run would wait for them.
        self.scenarios = sorted(self.scenarios, key=lambda one: not one.is_long)
        self.played = {one.name: Played() for one in self.scenarios}
        self.lines = [line for line in LINES if any(one.line == line for one in self.scenarios)]
        self.study = Study.model_validate(self._study())
        self.by_row = self._assign()

    def _study(self) -> dict[str, Any]:
        order = list(self.scenarios)
        trunks = []
        for number, line in enumerate(self.lines):
            instants = [0.2 + APART_S * index for index, one in enumerate(order) if one.line == line]
            traffic = {"arrivals": {"kind": "replay", "instants_s": instants}, "ringing": 0.1}
            traffic |= LINES[line] | {"inbound_share": float(self.inbound)}
            name = line.replace(" ", "-")
            trunk = {"name": name, "account": name, "customer_address": self.customer(number), "traffic": traffic}
            # One may connect that is no edge of the trunk: what it says of others' calls must do nothing all the same.
            trunk["trusted"] = [STRANGER]
            trunk |= {"throttle": {"policy": "none"}} | ({"suites": SUITES[line]} if line in SUITES else {})
            trunks.append(trunk)
        pop = {"address": self.trunk, "host": NAME, "carrier": {"setup": 0.05}}
        duration_s = 0.5 + APART_S * len(order)
        return {"name": f"odd {self.name}", "duration_s": duration_s, "pop": pop, "trunks": trunks}

    @property
    def trunk(self) -> str:
        """The trunk's address."""
        return self.net if ":" in self.net else f"{self.net}.1"

    def customer(self, number: int) -> str:
        return self.net if ":" in self.net else f"{self.net}.{10 + number}"

    def _assign(self) -> dict[int, Scenario]:
        waiting = {line: [one for one in self.scenarios if one.line == line] for line in self.lines}
        rows = draw_plan(self.study).first_attempts()
        return {row.row: waiting[self.lines[row.trunk]].pop(0) for row in rows}

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "study.yaml"
        path.write_text(self.study.model_dump_json())
        return path

    def read(self, folder: Path, output: str) -> None:
        """Give each script its record."""
        files = sorted(folder.glob("*.parquet"), key=lambda path: path.name != "measured.parquet")
        records = read_records(files[0]) if files else None
        rows = {} if records is None else {row["row"]: row for row in records.iter_rows(named=True)}
        for row, one in self.by_row.items():
            self.played[one.name].record = rows.get(row)
            self.played[one.name].output = output

    async def script(self, one: Scenario, call: Call) -> None:
        """Follow one script to its end, or note why it cannot be."""
        played = self.played[one.name]
        played.call, played.fault = call, "it was not at its end when the run was"
        try:
            await one.script(call)
            played.fault = ""
        except AssertionError as error:
            played.fault = str(error)
            await self._end(call)
        except Exception as error:
            played.fault = f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-3)}"
            await self._end(call)
        finally:
            call.audio.stop()

    async def _end(self, call: Call) -> None:
        """A script that failed leaves a call; it is ended in good manners, or the whole run would wait for it."""
        for _ in range(40):
            if (request := call.find("BYE", "CANCEL", "INVITE", "UPDATE", "PRACK", "OPTIONS")) is not None:
                call.respond(200 if request.method in {"BYE", "CANCEL", "PRACK", "OPTIONS"} else 488, to=request)
                if request.method == "CANCEL":
                    call.respond(487)
                if request.method in {"BYE", "CANCEL"}:
                    return
            await asyncio.sleep(0.1)
        if call.is_caller and call.target:
            call.send(call.request("BYE"))
        elif not call.is_caller and call.find("ACK") is None:
            call.respond(503)


def server(certificate: Path, key: Path, *, old: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if old:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context


def client(ca_file: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


class Command:
    """One run of the `trunkproof` command in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, *words: str | Path) -> Command:
        command = (sys.executable, "-m", "trunkproof.experiments.cli", *map(str, words))
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=asyncio.subprocess.STDOUT
        )
        return cls(process)

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(line.decode(errors="replace"))

    async def ends(self, within_s: float) -> str:
        """Wait for its end, hasten it after so long, and return what it said."""
        for last_word in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), within_s)
                break
            self.lines.append(f"[not ended within {within_s:g} s: {last_word.name}]\n")
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(last_word)
            within_s = 5.0
        await self._reading
        return "".join(self.lines)


async def settle(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Give scripts a moment to see the end of their call."""
    if tasks:
        await asyncio.wait(tasks, timeout=1.5)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Called:
    """The peer of a stage whose scripts answer calls."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.tasks: list[asyncio.Task[None]] = []
        self.peer = OddPeer(self._invited)
        self._began = asyncio.Event()

    async def ends(self, command: Command) -> str:
        """Wait until `load` has ended and all scripts have seen it. Return what it said."""
        began = asyncio.create_task(self._began.wait())
        ended = asyncio.create_task(command.process.wait())
        await asyncio.wait((began, ended), timeout=BEGINS_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        began.cancel()
        over_s = LONG_OVER_S if any(one.is_long for one in self.stage.scenarios) else OVER_S
        output = await command.ends(self.stage.study.duration_s + over_s)
        ended.cancel()
        await settle(self.tasks)
        return output

    def _invited(self, peer: OddPeer, wire: Wire, invite: Message) -> Call | None:
        row = row_of(uri_of(invite.uri).removeprefix("sip:").partition("@")[0])
        one = self.stage.by_row.get(-1 if row is None else row)
        if one is None or row is None:
            return None
        self._began.set()
        host, port = wire.local
        call = Call(wire, row, host, at(host, port), invite["Call-ID"], peer)
        peer.calls[call.call_id] = call
        self.tasks.append(asyncio.create_task(self.stage.script(one, call)))
        return call


async def play_trunk(stage: Stage, folder: Path) -> None:
    """The odd trunk, called by `trunkproof load --target`."""
    study, (certificate, key, ca_file) = stage.write(folder), certificates(folder, stage.trunk)
    odd = Called(stage)
    port = await odd.peer.listen(stage.trunk, 0, server(certificate, key, old=stage.old))
    target = ("--target", at(stage.trunk, port), "--ca", ca_file, "--server-name", NAME)
    output = "it was not started"
    try:
        command = await Command.start("load", study, *target, "--out", folder / "load", "--json")
        output = await odd.ends(command)
    finally:
        await odd.peer.close()
        stage.read(folder / "load", output)


def certificates(folder: Path, address: str) -> tuple[Path, Path, Path]:
    """A certificate, its key, and who signed it."""
    authority = trustme.CA(organization_name="odd authority")
    leaf = authority.issue_cert(NAME, address)
    paths = folder / "certificate.pem", folder / "key.pem", folder / "ca.pem"
    paths[0].write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    paths[1].write_bytes(leaf.private_key_pem.bytes())
    paths[2].write_bytes(authority.cert_pem.bytes())
    return paths


@contextlib.asynccontextmanager
async def served(stage: Stage, folder: Path) -> AsyncIterator[tuple[dict[str, Any], Command]]:
    """The trunk of `trunkproof serve`, and its card."""
    study = stage.write(folder)
    command = await Command.start("serve", study, "--port", "0", "--out", folder / "serve", "--json")
    path = folder / "serve" / "trunk.json"
    try:
        for _ in range(int(10 * BEGINS_WITHIN_S)):
            if path.exists() or command.process.returncode is not None:
                break
            await asyncio.sleep(0.1)
        assert path.exists(), f"no trunk: {''.join(command.lines)}"
        yield json.loads(path.read_text()), command
    finally:
        with contextlib.suppress(ProcessLookupError):
            command.process.send_signal(signal.SIGINT)
        await command.ends(10)


async def play_telephones(stage: Stage, folder: Path) -> None:
    """Odd telephones, called by the trunk of `trunkproof serve` when `trunkproof load` begins the run."""
    odd, output = Called(stage), "it was not started"
    async with served(stage, folder) as (card, trunk):
        try:
            for trunk_settings in stage.study.trunks:
                files = card["customers"][trunk_settings.name]
                context = server(Path(files["certificate"]), Path(files["key"]), old=stage.old)
                await odd.peer.listen(str(trunk_settings.customer_address), trunk_settings.customer_port, context)
            # It is the odd telephones who are called: `load`, which begins the run, listens beside them.
            beside = [one.model_dump(mode="json") | {"customer_port": 5071} for one in stage.study.trunks]
            study = folder / "beside.yaml"
            study.write_text(json.dumps(stage.study.model_dump(mode="json") | {"trunks": beside}))
            (folder / "card.json").write_text(json.dumps(card | {"study_digest": None}))
            load = await Command.start(
                "load", study, "--trunk", folder / "card.json", "--out", folder / "load", "--json"
            )
            output = await odd.ends(load)
        finally:
            await odd.peer.close()
            stage.read(folder / "load", output + "".join(trunk.lines))


class Telephone(Call):
    """A calling telephone: a `Call` that dials first."""

    card: dict[str, Any]
    account: str
    dialled: str

    def invitation(
        self,
        *,
        body: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
        uri: str | None = None,
        via: str | None = None,
        from_: str | None = None,
        to: str | None = None,
        kind: str = "application/sdp",
        forwards: str = "70",
        contact: str | None = None,
        branch: str | None = None,
    ) -> str:
        """The text of an INVITE to the trunk."""
        host = at(self.card["host"], self.card["port"])
        self.local = from_ or f"<sip:+918012345678@{self.account}.pstn.exotel.com>"
        self.theirs = to or f"<sip:{self.dialled}@{host}>"
        target = uri or f"sip:{self.dialled}@{host}"
        self.cseq += 1
        sent = via or f"SIP/2.0/TLS {self.contact};branch={branch or new_branch()};rport"
        rows = [("Via", sent), ("Max-Forwards", forwards)]
        rows += [("From", f"{self.local};tag={self.tag}"), ("To", self.theirs), ("Call-ID", self.call_id)]
        rows += [("CSeq", f"{self.cseq} INVITE"), ("Contact", contact or f"<sip:odd@{self.contact};transport=tls>")]
        rows += [("Allow", "INVITE, ACK, CANCEL, BYE, UPDATE, PRACK, OPTIONS"), *headers]
        text = write(f"INVITE {target} SIP/2.0", rows, self.sdp() if body is None else body, kind)
        head, _, rest = text.partition("\r\n\r\n")
        self.invite = Message.read(head, rest)
        return text

    def dial(self, **options: Any) -> None:
        self.send(self.invitation(**options))

    async def answered(self, *, body: str = "", follow: bool = True) -> Message:
        """Wait for the 200, acknowledge it, and speak."""
        final = await self.final()
        assert final.status == 200, f"the INVITE got {final.start}"
        self.established(final)
        if follow:
            self.follow(final.sdp)
        self.ack(final, body=body)
        self.audio.start()
        return final

    def established(self, response: Message) -> None:
        """Note the dialog of a response."""
        self.their_tag = tag_of(response["To"])
        self.target = uri_of(response["Contact"])
        self.routes = [route for value in response.all("Record-Route") for route in value.split(",")][::-1]

    async def final(self, within_s: float = 5.0) -> Message:
        """The final response to the INVITE; one that is not 2xx is acknowledged."""
        final = await self.expect(*(f"{kind}xx INVITE" for kind in range(2, 7)), within_s=within_s)
        if final.status and final.status >= 300:
            self.ack(final)
        return final

    async def refused(self, *statuses: int) -> Message:
        """Wait for a refusal with one of these statuses."""
        final = await self.final()
        if final.status == 200:
            self.established(final)
            self.ack(final)
            await self.hang_up()
        assert final.status in statuses, f"the INVITE got {final.start}"
        return final

    async def talk(self, packets: int = 40) -> None:
        """Hear the trunk for a while, then hang up."""
        await self.audio.hear(packets)
        final = await self.hang_up()
        assert final.status == 200, f"the BYE got {final.start}"
        assert self.audio.bad == 0, f"{self.audio.bad} packets of theirs could not be used"


async def play_callers(stage: Stage, folder: Path) -> None:
    """Odd telephones that call the trunk of `trunkproof serve`, each over its own connection."""
    peer = OddPeer()
    async with served(stage, folder) as (card, command):
        context = client(card["ca_file"])

        async def play(one: Scenario, row: int) -> None:
            index = stage.lines.index(one.line)
            address = stage.customer(index)
            try:
                wire = await peer.connect(card["host"], card["port"], address, context, NAME)
            except (OSError, ssl.SSLError) as error:
                stage.played[one.name].fault = f"no connection: {error}"
                return
            call = Telephone(
                wire, row, address, at(address, wire.local[1]), f"odd-{row}@odd.test", peer, is_caller=True
            )
            call.card, call.dialled = card, dialled_number(row)
            call.account = stage.study.trunks[index].account
            peer.calls[call.call_id] = call
            await stage.script(one, call)

        tasks = []
        try:
            for row, one in stage.by_row.items():
                tasks.append(asyncio.create_task(play(one, row)))
                await asyncio.sleep(APART_S)
            await asyncio.wait(tasks, timeout=30)
            await settle(tasks)
        finally:
            await peer.close()
            for played in stage.played.values():
                played.output = "".join(command.lines)
