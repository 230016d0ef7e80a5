"""The audio of an odd peer: its own RTP and SRTP over real sockets, with pylibsrtp and nothing of ours but the content.

What it says are voiceprint frames, because that is what a call of ours listens for. Everything else of a packet
(numbers, timestamps, marks, packet time, source) is the script's, so that it can be as odd as other people's packets.
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
import socket
import struct
from collections import Counter
from dataclasses import dataclass, field

import pylibsrtp

from trunkproof.loadgen.media.voiceprint import Side, read_frame, write_frame

SUITE_80, SUITE_32 = "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"
PROFILES = {
    SUITE_80: pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    SUITE_32: pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
}
PCMU, PCMA, COMFORT_NOISE, EVENT = 0, 8, 13, 101
FRAME_MS, SAMPLES = 20, 160
LATE_S = 0.02
"""A packet that this peer itself sent later than this is no proof of anything: the playout buffer has 60 ms."""
STUN = struct.pack("!HHI", 0x0001, 0, 0x2112A442) + b"odd-stun-txn"
"""A binding request (RFC 8489 section 5)."""
DTLS = bytes([22, 254, 253]) + bytes(8) + struct.pack("!H", 4) + b"odd!"
"""A handshake record of DTLS 1.2: its first octet is in 20 to 63 (RFC 7983 section 7)."""


def session(key: bytes, suite: str, kind: int) -> pylibsrtp.Session:
    return pylibsrtp.Session(pylibsrtp.Policy(key=key, ssrc_type=kind, srtp_profile=PROFILES[suite]))


def inline(key: bytes) -> str:
    return f"inline:{base64.b64encode(key).decode()}"


def pair(address: str) -> tuple[socket.socket, socket.socket]:
    """Two UDP sockets on an even port and the next."""
    while True:
        port = random.randrange(30_000, 48_000, 2)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sockets = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_DGRAM)
        try:
            for number, bound in enumerate(sockets):
                bound.setblocking(False)
                bound.bind((address, port + number))
        except OSError:
            for bound in sockets:
                bound.close()
            continue
        return sockets


@dataclass(eq=False)
class OddAudio:
    """One side of one call's audio. Change its fields at any time: the next packet follows them."""

    address: str
    row: int
    side: Side
    """Who speaks here; the other side is listened for."""
    suite: str = SUITE_80
    payload_type: int = PCMA
    packet_ms: int = 20
    silent: bool = False
    """The clock of the timestamps goes on, no packet is sent, no sequence number is used: DTX (RFC 3551 4.1)."""
    twice: bool = False
    """Every packet is sent twice."""
    remote: tuple[str, int] | None = None
    hears_itself: bool = False
    """The other end is an echo."""
    good: int = 0
    bad: int = 0
    """Came, and could not be decrypted or was of somebody else."""
    late_sent: int = 0
    sent: int = 0
    payload_types: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.key = os.urandom(30)
        self._out = session(self.key, self.suite, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        self._in: list[pylibsrtp.Session] = []
        self.new_source()
        self.mark = True
        self._task: asyncio.Task[None] | None = None
        self._more = asyncio.Event()
        self.rtp, self.rtcp = pair(self.address)
        self._listen()

    @property
    def port(self) -> int:
        return int(self.rtp.getsockname()[1])

    @property
    def inline(self) -> str:
        return inline(self.key)

    def new_source(self) -> None:
        """Go on as another source: its own SSRC, numbers and timestamps (RFC 3550 section 8)."""
        self.ssrc = random.getrandbits(32)
        self.sequence = random.getrandbits(15)
        self.timestamp = random.getrandbits(32)
        self._frames = 0
        self.mark = True

    def new_key(self, suite: str | None = None) -> None:
        """Encrypt with another key from the next packet on."""
        self.suite = suite or self.suite
        self.draw_key()
        self.use_key()

    def draw_key(self) -> None:
        """Draw another key to be offered. Until `use_key`, the one before it encrypts."""
        self.key = os.urandom(30)

    def use_key(self) -> None:
        """Encrypt with the key that was drawn last, from the next packet on."""
        self._out = session(self.key, self.suite, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)

    def move(self) -> None:
        """Go to another port; nothing that comes to the old one is heard."""
        asyncio.get_running_loop().remove_reader(self.rtp)
        self.rtp.close()
        self.rtcp.close()
        self.rtp, self.rtcp = pair(self.address)
        self._listen()

    def hear_with(self, key: bytes, suite: str) -> None:
        """Decrypt with this key too. Older keys stay valid: packets may be under way."""
        self._in.append(session(key, suite, pylibsrtp.Policy.SSRC_ANY_INBOUND))

    def start(self) -> None:
        """Speak from now on."""
        if self._task is None:
            self._task = asyncio.create_task(self._speak())

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def close(self) -> None:
        self.stop()
        asyncio.get_running_loop().remove_reader(self.rtp)
        self.rtp.close()
        self.rtcp.close()

    async def hear(self, packets: int = 10, within_s: float = 3.0) -> None:
        """Wait for so many more good packets."""
        wanted = self.good + packets

        async def until() -> None:
            while self.good < wanted:
                self._more.clear()
                await self._more.wait()

        try:
            await asyncio.wait_for(until(), within_s)
        except TimeoutError:
            what = f"{self.good} good, {self.bad} bad, kinds {dict(self.payload_types)}"
            raise AssertionError(f"{packets} more packets were not heard in {within_s:g} s ({what})") from None

    def packet(self, payload: bytes, *, payload_type: int | None = None, timestamp: int | None = None) -> bytes:
        """The next RTP packet in clear, with its number used up."""
        kind = self.payload_type if payload_type is None else payload_type
        stamp = (self.timestamp if timestamp is None else timestamp) & 0xFFFFFFFF
        header = struct.pack(
            "!BBHII", 0x80, kind | (0x80 if self.mark else 0), self.sequence & 0xFFFF, stamp, self.ssrc
        )
        self.sequence += 1
        self.mark = False
        return header + payload

    def send(self, datagram: bytes) -> None:
        """Send any datagram to where the audio goes."""
        if self.remote is not None:
            self.rtp.sendto(datagram, self.remote)

    def protect(self, packet: bytes) -> bytes:
        return bytes(self._out.protect(packet))

    def protect_rtcp(self, packet: bytes) -> bytes:
        return bytes(self._out.protect_rtcp(packet))

    def receiver_report(self) -> bytes:
        """An empty receiver report (RFC 3550 section 6.4.2), encrypted."""
        return self.protect_rtcp(struct.pack("!BBHI", 0x80, 201, 1, self.ssrc))

    def speech(self) -> bytes:
        """The next payload: as many frames as the packet time holds, the last one cut where it holds no whole one."""
        octets = self.packet_ms * SAMPLES // FRAME_MS
        first, count = self._frames, -(-octets // SAMPLES)
        self._frames += count
        return b"".join(write_frame(self.side, self.row, first + n) for n in range(count))[:octets]

    def say(self) -> None:
        """Send the next packet of speech now."""
        packet = self.protect(self.packet(self.speech()))
        self.sent += 1
        for _ in range(1 + self.twice):
            self.send(packet)

    async def press(self, digit: str, *, lasts_packets: int = 5) -> None:
        """A key in place of speech (RFC 4733): one timestamp, growing duration, the end three times."""
        was, self.silent = self.silent, True
        stamp, code = self.timestamp, "0123456789*#ABCD".index(digit)
        self.mark = True
        for step in range(lasts_packets + 2):
            end = step >= lasts_packets - 1
            duration = min(step + 1, lasts_packets) * SAMPLES
            body = struct.pack("!BBH", code, (0x80 if end else 0) | 10, duration)
            self.send(self.protect(self.packet(body, payload_type=EVENT, timestamp=stamp)))
            await asyncio.sleep(FRAME_MS / 1000)
        self.silent, self.mark = was, True

    async def pause(self, seconds: float, *, noise_every_s: float | None = None) -> None:
        """Say nothing for so long; with comfort noise in between (RFC 3389) where that is asked for."""
        self.silent = True
        if noise_every_s is None:
            await asyncio.sleep(seconds)
        else:
            for _ in range(int(seconds / noise_every_s)):
                self.send(self.protect(self.packet(bytes([60]), payload_type=COMFORT_NOISE)))
                await asyncio.sleep(noise_every_s)
        self.silent, self.mark = False, True

    async def _speak(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            if not self.silent:
                self.late_sent += loop.time() - due > LATE_S
                self.say()
            self.timestamp += self.packet_ms * SAMPLES // FRAME_MS
            due += self.packet_ms / 1000
            await asyncio.sleep(max(0.0, due - loop.time()))

    def _listen(self) -> None:
        asyncio.get_running_loop().add_reader(self.rtp, self._receive)

    def _receive(self) -> None:
        while True:
            try:
                data = self.rtp.recv(2048)
            except (BlockingIOError, ConnectionError):
                return
            self._take(data)

    def _take(self, data: bytes) -> None:
        if len(data) < 12 or data[0] >> 6 != 2 or 192 <= data[1] <= 223:
            return  # no RTP (RFC 7983, 5761)
        if not self._in:
            return  # before the peer's key is known
        for inbound in reversed(self._in):
            try:
                packet = bytes(inbound.unprotect(data))
            except pylibsrtp.Error:
                continue
            kind = packet[1] & 0x7F
            self.payload_types[kind] += 1
            frame = read_frame(packet[12:]) if kind in {PCMA, PCMU} else None
            speaker = self.side if self.hears_itself else self.side.other
            if kind in {PCMA, PCMU} and (frame is None or (frame.row, frame.side) != (self.row, speaker)):
                self.bad += 1
            else:
                self.good += 1
                self._more.set()
            return
        self.bad += 1
