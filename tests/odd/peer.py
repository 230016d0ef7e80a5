"""Odd SIP peers for scripts: real TLS connections, messages from plain string templates, one `Call` for each call.

A script reads like a ladder diagram:

    await call.expect("INVITE")
    call.ring()
    call.answer(call.sdp())
    await call.expect("ACK")

Nothing of our own SIP or SDP code is used, so the peer is a second opinion. It is as strict as its script: it checks
nothing by itself, and sends whatever it is told to.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import secrets
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from tests.odd.audio import EVENT, PCMA, PCMU, OddAudio

from trunkproof.loadgen.media.voiceprint import Side

WITHIN_S = 5.0
"""How long a script waits for a message that must come at once."""
COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length"}
COMPACT |= {"c": "content-type", "k": "supported", "s": "subject", "e": "content-encoding"}
PHRASES = {100: "Trying", 180: "Ringing", 183: "Session Progress", 200: "OK", 302: "Moved Temporarily"}
Rows = Sequence[tuple[str, str]]

STRANGER = "127.0.61.66"
"""From where those connect who belong to no call."""


@dataclass(frozen=True)
class Message:
    """A SIP message as it came: start line, header rows, body."""

    start: str
    rows: tuple[tuple[str, str], ...]
    body: str = ""

    @classmethod
    def read(cls, head: str, body: str) -> Message:
        start, *lines = re.sub(r"\r\n[ \t]+", " ", head).split("\r\n")
        pairs = (line.partition(":") for line in lines if line)
        return cls(start, tuple((name.strip(), value.strip()) for name, _, value in pairs), body)

    def all(self, name: str) -> list[str]:
        wanted = name.lower()
        return [value for key, value in self.rows if COMPACT.get(key.lower(), key.lower()) == wanted]

    def __getitem__(self, name: str) -> str:
        return next(iter(self.all(name)), "")

    @property
    def status(self) -> int | None:
        return int(self.start.split()[1]) if self.start.startswith("SIP/") else None

    @property
    def method(self) -> str:
        """The method of a request, or of the request that a response answers."""
        return self["CSeq"].split()[1] if self.status is not None else self.start.split()[0]

    @property
    def number(self) -> int:
        return int(self["CSeq"].split()[0])

    @property
    def uri(self) -> str:
        return self.start.split()[1]

    def is_a(self, what: str) -> bool:
        """Whether it is "BYE" (a request), "200 INVITE" or "2xx UPDATE" (a response)."""
        status, _, method = what.rpartition(" ")
        if not status:
            return self.status is None and self.method == method
        pattern = status.replace("x", r"\d")
        return self.status is not None and self.method == method and re.fullmatch(pattern, str(self.status)) is not None

    @property
    def sdp(self) -> Sdp:
        return Sdp(self.body)


class Sdp:
    """What a script wants to know of the other side's SDP."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = [line for line in text.replace("\r\n", "\n").split("\n") if line]
        starts = [index for index, line in enumerate(self.lines) if line.startswith("m=")]
        ends = [*starts[1:], len(self.lines)]
        self.common = self.lines[: starts[0]] if starts else self.lines
        self.media = [self.lines[start:end] for start, end in zip(starts, ends, strict=True)]

    @property
    def audio(self) -> list[str]:
        """The lines of the first audio that is not refused."""
        lines = [one for one in self.media if one[0].startswith("m=audio ") and one[0].split()[1] != "0"]
        assert lines, f"no audio in the SDP:\n{self.text}"
        return lines[0]

    @property
    def port(self) -> int:
        return int(self.audio[0].split()[1].partition("/")[0])

    @property
    def address(self) -> str:
        rows = [line for line in (*self.audio, *self.common) if line.startswith("c=")]
        return rows[0].split()[2]

    @property
    def crypto(self) -> list[tuple[int, str, bytes, str]]:
        """Tag, suite, key and the whole value of each crypto attribute of the audio."""
        values = [line.removeprefix("a=crypto:") for line in self.audio if line.startswith("a=crypto:")]
        parts = [value.split() for value in values]
        keys = [part[2].removeprefix("inline:").partition("|")[0].partition(";")[0] for part in parts]
        return [
            (int(part[0]), part[1], base64.b64decode(key), value)
            for part, key, value in zip(parts, keys, values, strict=True)
        ]

    @property
    def direction(self) -> str:
        known = {"a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"}
        found = [line for line in (*self.audio, *self.common) if line in known]
        return found[0].removeprefix("a=") if found else "sendrecv"

    @property
    def version(self) -> int:
        return int(next(line for line in self.lines if line.startswith("o=")).split()[2])


class Wire:
    """One TLS connection: messages in, text out, and the log of both."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.local: tuple[str, int] = writer.get_extra_info("sockname")[:2]
        self.remote: tuple[str, int] = writer.get_extra_info("peername")[:2]

    def send(self, data: str | bytes) -> None:
        # A run that is over has closed it: nobody is harmed by what is said then.
        with contextlib.suppress(ConnectionError, RuntimeError):
            self._writer.write(data.encode() if isinstance(data, str) else data)

    async def read(self) -> Message | None:
        """The next message, or None at the end of the connection."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            while not head.strip():
                head = await self._reader.readuntil(b"\r\n\r\n")
            text = head.decode().lstrip("\r\n").removesuffix("\r\n\r\n")
            message = Message.read(text, "")
            body = await self._reader.readexactly(int(message["Content-Length"] or 0))
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            return None
        return Message.read(text, body.decode())

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
            await asyncio.wait_for(self._writer.wait_closed(), 1)

    def abort(self) -> None:
        """Reset the connection."""
        self._writer.transport.abort()


Script = Callable[["Call"], Awaitable[None]]


@dataclass(eq=False)
class Call:
    """One call of an odd peer, caller or called, with its audio, its dialog and all that was said."""

    wire: Wire
    row: int
    address: str
    """Of our audio."""
    contact: str
    """Our address and port for signalling, as in a URI."""
    call_id: str
    peer: OddPeer
    is_caller: bool = False
    invite: Message = field(default_factory=lambda: Message("", ()))
    """The INVITE that began the call, ours or theirs."""
    said: list[str] = field(default_factory=list)
    audio: OddAudio = field(init=False)
    tag: str = field(default_factory=lambda: secrets.token_hex(4))
    """Ours."""
    their_tag: str = ""
    target: str = ""
    """The remote target: the other side's Contact."""
    routes: list[str] = field(default_factory=list)
    local: str = ""
    """From or To without a tag."""
    theirs: str = ""
    cseq: int = 700
    version: int = 1
    hung_up: bool = False
    """A BYE was sent or has come."""
    record_route: list[str] = field(default_factory=list)
    """Written into our responses, as by a proxy between the trunk and this telephone."""

    def __post_init__(self) -> None:
        self.opened: list[OddAudio] = []
        self.audio = self.more_audio()
        self._waiting: list[Message] = []
        self._came = asyncio.Event()

    def more_audio(self) -> OddAudio:
        """Another socket pair, key and source for this call."""
        self.opened.append(OddAudio(self.address, self.row, Side.CALLER if self.is_caller else Side.CALLED))
        return self.opened[-1]

    # What comes.

    def take(self, message: Message | None) -> None:
        """Note a message of this call."""
        if message is None:
            self.said.append("<< connection closed")
        else:
            self.said.append(f"<< {message.start} [{message['CSeq']}]")
            if message.is_a("INVITE") and not self.invite.start:
                self._begin(message)
            else:
                self._waiting.append(message)
        self._came.set()

    def _begin(self, invite: Message) -> None:
        self.invite = invite
        self.local, self.theirs = invite["To"], invite["From"]
        self.their_tag = tag_of(invite["From"])
        self.target = uri_of(invite["Contact"])
        self.routes = [route for value in invite.all("Record-Route") for route in value.split(",")]
        if invite.body:
            self.follow(invite.sdp)

    def follow(self, sdp: Sdp, *, tag: int | None = None) -> None:
        """Send audio to where this SDP says, and decrypt with its key (the one with that tag, else the first)."""
        self.audio.remote = (sdp.address, sdp.port)
        for number, suite, key, _ in sdp.crypto:
            if tag in {None, number} and suite.startswith("AES_CM_128"):
                self.audio.hear_with(key, suite)
                return

    @property
    def offer(self) -> Sdp:
        return self.invite.sdp

    def find(self, *what: str) -> Message | None:
        """Take the first message of one of these kinds that has come, if there is one."""
        for message in self._waiting:
            if any(message.is_a(kind) for kind in what):
                self._waiting.remove(message)
                return message
        return None

    async def expect(self, *what: str, within_s: float = WITHIN_S) -> Message:
        """Wait for a message of one of these kinds, such as "BYE", "200 INVITE" or "2xx UPDATE"."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while (found := self.find(*what)) is None:
            self._came.clear()
            try:
                await asyncio.wait_for(self._came.wait(), max(0.0, until - loop.time()))
            except TimeoutError:
                raise AssertionError(f"no {' or '.join(what)} within {within_s:g} s") from None
        return found

    async def expect_none(self, what: str, within_s: float) -> None:
        """Wait for so long, and see that no such message comes."""
        await asyncio.sleep(within_s)
        assert self.find(what) is None, f"{what} came, and must not"

    # What is sent.

    def send(self, text: str | bytes, wire: Wire | None = None) -> None:
        line = text.split("\r\n", 1)[0] if isinstance(text, str) else repr(text[:60])
        self.said.append(f">> {line}")
        (wire or self.wire).send(text)

    def response(
        self,
        status: int,
        *,
        body: str = "",
        headers: Rows = (),
        tag: str | None = None,
        to: Message | None = None,
        phrase: str | None = None,
        kind: str = "application/sdp",
        contact: str | None = None,
    ) -> str:
        """The text of a response to a request, by default to the INVITE."""
        request = to or self.invite
        remote = request["To"] if "tag=" in request["To"] else f"{request['To']};tag={tag or self.tag}"
        rows = [("Via", via) for via in request.all("Via")]
        rows += [("Record-Route", route) for route in self.record_route if request.method == "INVITE"]
        rows += [("Record-Route", route) for route in request.all("Record-Route")]
        rows += [("From", request["From"]), ("To", request["To"] if status == 100 else remote)]
        rows += [("Call-ID", request["Call-ID"]), ("CSeq", request["CSeq"])]
        if request.method in {"INVITE", "UPDATE"} and 100 < status < 400:
            rows.append(("Contact", contact or f"<sip:odd@{self.contact};transport=tls>"))
        line = f"SIP/2.0 {status} {PHRASES.get(status, 'Odd') if phrase is None else phrase}"
        return write(line, [*rows, *headers], body, kind)

    def respond(self, status: int, **options: object) -> None:
        self.send(self.response(status, **options))  # type: ignore[arg-type]

    def ring(self) -> None:
        self.respond(180)

    def answer(self, body: str, **options: object) -> None:
        self.respond(200, body=body, **options)

    def sdp(self, **options: object) -> str:
        """Our SDP: an answer to their first crypto attribute, or an offer, unless options say otherwise."""
        return sdp(self, **options)  # type: ignore[arg-type]

    def request(
        self,
        method: str,
        *,
        body: str = "",
        headers: Rows = (),
        cseq: int | None = None,
        kind: str = "application/sdp",
        branch: str | None = None,
        their_tag: str | None = None,
    ) -> str:
        """The text of a request in the dialog."""
        if cseq is None:
            self.cseq += 1
        number = self.cseq if cseq is None else cseq
        rows = [("Via", f"SIP/2.0/TLS {self.contact};branch={branch or new_branch()};rport"), ("Max-Forwards", "70")]
        rows += [("Route", route) for route in self.routes]
        tag = self.their_tag if their_tag is None else their_tag
        rows += [("From", f"{bare(self.local)};tag={self.tag}"), ("To", f"{bare(self.theirs)};tag={tag}")]
        rows += [("Call-ID", self.call_id), ("CSeq", f"{number} {method}")]
        if method in {"INVITE", "UPDATE"}:
            rows.append(("Contact", f"<sip:odd@{self.contact};transport=tls>"))
        return write(f"{method} {self.target} SIP/2.0", [*rows, *headers], body, kind)

    def ack(self, response: Message, *, body: str = "") -> None:
        """Acknowledge a final response to an INVITE of ours."""
        status = response.status or 0
        if status >= 300 or not self.target:
            self.send(self._ack_of_failure(response))
        else:
            self.send(self.request("ACK", cseq=response.number, body=body))

    def _ack_of_failure(self, response: Message) -> str:
        rows = [(name, response[name]) for name in ("Via", "From", "To", "Call-ID")]
        rows += [("CSeq", f"{response.number} ACK"), ("Max-Forwards", "70")]
        rows += [("Route", route) for route in self.routes]
        return write(f"ACK {self.target or self.invite.uri} SIP/2.0", rows)

    async def ask(self, method: str, *, within_s: float = WITHIN_S, **options: object) -> Message:
        """Send a request in the dialog, and return the final response; that to an INVITE is acknowledged."""
        self.send(self.request(method, **options))  # type: ignore[arg-type]
        number = self.cseq
        while True:
            final = await self.expect(*(f"{kind}xx {method}" for kind in range(2, 7)), within_s=within_s)
            if final.number == number:
                break
        if method == "INVITE" and final.status and final.status >= 300:
            self.ack(final)
        return final

    async def reinvite(self, body: str, method: str = "INVITE") -> Message:
        """Send an offer in the dialog, see it accepted, acknowledge it and follow the answer."""
        final = await self.ask(method, body=body)
        assert final.status == 200, f"{method} in the dialog got {final.start}"
        assert final.body, f"the 200 to {method} has no answer"
        if method == "INVITE":
            self.ack(final)
        if final.sdp.address != "0.0.0.0":
            self.follow(final.sdp)
        return final

    async def until_bye(self, within_s: float = 12.0) -> Message:
        """Wait for BYE, stop the audio, and answer 200."""
        bye = await self.expect("BYE", within_s=within_s)
        self.hung_up = True
        self.audio.stop()
        self.respond(200, to=bye)
        return bye

    async def hang_up(self, *, headers: Rows = ()) -> Message:
        """Send BYE and wait for its response."""
        self.audio.stop()
        self.hung_up = True
        return await self.ask("BYE", headers=headers)


def write(line: str, rows: Rows, body: str = "", kind: str = "application/sdp") -> str:
    """The text of a message."""
    content = [("Content-Type", kind)] if body else []
    lines = [f"{name}: {value}" for name, value in (*rows, *content, ("Content-Length", str(len(body.encode()))))]
    return "\r\n".join([line, *lines, "", body])


def sdp(
    call: Call,
    *,
    address: str | None = None,
    port: int | None = None,
    crypto: Sequence[str] | None = None,
    codecs: Sequence[int] = (PCMA, EVENT),
    direction: str = "sendrecv",
    profile: str = "RTP/SAVP",
    lines: Sequence[str] = (),
    before: Sequence[str] = (),
    after: Sequence[str] = (),
    session: Sequence[str] = (),
    family: str | None = None,
) -> str:
    """SDP with one audio line. `lines` are added to it, `before` and `after` are whole media around it.

    `crypto` are the values of the attributes; by default it is our key under tag 1.
    """
    call.version += 1
    own = "IP6" if ":" in call.address else "IP4"
    names = {PCMA: "PCMA/8000", PCMU: "PCMU/8000", 13: "CN/8000", EVENT: "telephone-event/8000"}
    values = [f"1 {call.audio.suite} {call.audio.inline}"] if crypto is None else crypto
    rows = [
        "v=0",
        f"o=odd {call.row + 1} {call.version} IN {own} {call.address}",
        "s=odd",
        f"c=IN {family or own} {address or call.address}",
        *session,
        "t=0 0",
        *before,
        f"m=audio {call.audio.port if port is None else port} {profile} {' '.join(map(str, codecs))}",
        *(f"a=rtpmap:{codec} {names[codec]}" for codec in codecs if codec in names),
        *(["a=fmtp:101 0-15"] if EVENT in codecs else []),
        *(f"a=crypto:{value}" for value in values),
        *lines,
        f"a={direction}",
        *after,
    ]
    return "".join(f"{row}\r\n" for row in rows)


def at(address: str, port: int) -> str:
    """Address and port as they stand in a URI."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def new_branch() -> str:
    return f"z9hG4bK{secrets.token_hex(6)}"


def tag_of(value: str) -> str:
    found = re.search(r";\s*tag=([^;>\s]+)", value)
    return found[1] if found else ""


def uri_of(value: str) -> str:
    found = re.search(r"<([^>]*)>", value)
    return found[1] if found else value.split(";", maxsplit=1)[0].strip()


def bare(value: str) -> str:
    """From or To without its tag."""
    return re.sub(r";\s*tag=[^;>\s]+", "", value)


class OddPeer:
    """A host of calls: it listens or dials, and hands each message to its call by Call-ID."""

    def __init__(
        self,
        on_invite: Callable[[OddPeer, Wire, Message], Call | None] | None = None,
        on_stray: Callable[[Wire, Message], None] | None = None,
    ) -> None:
        self._on_invite, self._on_stray = on_invite, on_stray
        self.calls: dict[str, Call] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []
        self._wires: list[Wire] = []
        self.strays: list[Message] = []
        """Messages of no call."""

    async def listen(self, address: str, port: int, context: ssl.SSLContext) -> int:
        """Listen, and return the port."""

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.serve(Wire(reader, writer))

        server = await asyncio.start_server(connected, address, port, ssl=context)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def connect(self, host: str, port: int, address: str, context: ssl.SSLContext, name: str) -> Wire:
        """Open a connection from that address."""
        streams = await asyncio.open_connection(
            host, port, ssl=context, server_hostname=name, local_addr=(address, 0), ssl_handshake_timeout=20
        )
        wire = Wire(*streams)
        self.serve(wire)
        return wire

    def serve(self, wire: Wire) -> None:
        self._wires.append(wire)
        task = asyncio.create_task(self._read(wire))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, wire: Wire) -> None:
        while (message := await wire.read()) is not None:
            call = self.calls.get(message["Call-ID"])
            if call is None and message.is_a("INVITE") and self._on_invite is not None:
                call = self._on_invite(self, wire, message)
            if call is not None:
                # A caller that has lost its connection goes on over another one.
                if message.status is None and not call.is_caller:
                    call.wire = wire
                call.take(message)
            else:
                self.strays.append(message)
                if self._on_stray is not None:
                    self._on_stray(wire, message)
        for call in self.calls.values():
            if call.wire is wire:
                call.take(None)

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for call in self.calls.values():
            for audio in call.opened:
                audio.close()
        for wire in self._wires:
            await wire.close()
