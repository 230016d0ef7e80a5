"""Mutated media packets into both pumps: no error of ours, equal counts, no memory that grows, and no stall.

A tenth as many packets are tried as messages, which is a million in `make fuzz`. The seed is fixed, so that what fails
can be repeated.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Callable

import psutil
import pytest
from tests.fuzz.amount import amount
from tests.loadgen.media.listeners import EVENTS, KEYS, SUITES, WITHOUT, C, Network, cipher_of, terms

from trunkproof.loadgen.media.pump import PumpKind, make_pump
from trunkproof.loadgen.media.rtcp import ReportBlock, write_report
from trunkproof.loadgen.media.rtp import RtpPacket
from trunkproof.loadgen.media.sockets import bind_pair
from trunkproof.loadgen.media.srtp import SrtpCipher
from trunkproof.loadgen.media.stream import MediaStream
from trunkproof.loadgen.media.voiceprint import Side, write_frame

PACKETS = amount(10)
SEED = 15
MOST_GROWTH_BYTES = 24_000_000
"""Numba, NumPy and the allocator take a few megabytes for themselves. A leak of 100 bytes a packet would take 100 MB in
a million packets.
"""


class Sender:
    """Makes packets of a peer that holds the right keys and means no good."""

    def __init__(self, suite: str | None, draws: random.Random) -> None:
        self.draws, self.suite = draws, suite
        self.cipher = cipher_of(KEYS, suite)
        self.stranger = cipher_of((b"s" * 30, b"t" * 30), suite)
        self.sequence = self.timestamp = 0
        self.sent = 0

    def datagram(self) -> bytes:
        """Return the next one, mutated or not."""
        self.sent += 1
        # A sender keeps each source for ever too.
        if self.sent % 5000 == 0:
            self.cipher = cipher_of(KEYS, self.suite)
        kinds: list[tuple[int, Callable[[], bytes]]] = [
            (10, self._voice),
            (2, self._event),
            (2, self._report),
            (1, self._other),
            (1, self._any),
        ]
        make = self.draws.choices([one for _, one in kinds], [weight for weight, _ in kinds])[0]
        data = make()
        return self._mutated(data) if self.draws.random() < 0.3 else data

    def _protected(self, packet: bytes) -> bytes:
        cipher = self.stranger if self.draws.random() < 0.05 else self.cipher
        try:
            return packet if self.draws.random() < 0.05 else cipher.protect(packet)
        except Exception:  # libsrtp encrypts no old number twice
            return packet

    def _voice(self) -> bytes:
        draws = self.draws
        jump = draws.choices([1, 2, -1, 0, draws.randrange(65_536)], [90, 4, 3, 1, 0.2])[0]
        self.sequence = (self.sequence + jump) % 65_536
        self.timestamp = (self.timestamp + draws.choice([160, 160, 160, 240, 480, draws.getrandbits(32)])) % 2**32
        ssrc = draws.choices([77, draws.randrange(12), draws.getrandbits(32)], [90, 5, 5])[0]
        payload = write_frame(draws.choice(list(Side)), draws.choice([7, 7, 7, 8]), self.sent)
        payload_type = draws.choices([8, 0, 13, EVENTS, draws.randrange(128)], [80, 5, 5, 5, 5])[0]
        size = draws.choice([160, 160, 160, 0, 1, 480, 1200, 1480])
        packet = bytes(
            RtpPacket(
                payload_type,
                self.sequence,
                self.timestamp,
                ssrc,
                (payload * 10)[:size],
                marker=draws.random() < 0.1,
            )
        )
        return self._protected(self._header_options(packet))

    def _header_options(self, packet: bytes) -> bytes:
        """Sometimes add contributing sources, an extension or padding, rightly or not."""
        draws = self.draws
        if draws.random() < 0.9:
            return packet
        first = packet[0] | draws.choice([0x01, 0x0F, 0x10, 0x20, 0x3F])
        middle = draws.randbytes(draws.choice([0, 4, 8, 60])) + struct.pack("!HH", 0xBEDE, draws.choice([0, 1, 65_535]))
        return bytes([first]) + packet[1:12] + middle + packet[12:] + bytes([draws.randrange(256)])

    def _event(self) -> bytes:
        self.sequence = (self.sequence + 1) % 65_536
        payload = self.draws.randbytes(self.draws.choice([4, 4, 4, 0, 3, 8]))
        return self._protected(bytes(RtpPacket(EVENTS, self.sequence, self.timestamp, 77, payload)))

    def _report(self) -> bytes:
        draws = self.draws
        block = ReportBlock(draws.getrandbits(32), 1, draws.randrange(-(1 << 23), 1 << 23), draws.getrandbits(32), 5)
        ssrc = draws.choice([77, draws.getrandbits(32)])
        told = write_report(ssrc, wall_s=1.0, timestamp=0, packets=3, block=draws.choice([None, block]), bye=True)
        if draws.random() < 0.3:
            told = self._mutated(told)
        try:
            return self.cipher.protect_rtcp(told) if draws.random() < 0.9 else told
        except Exception:  # libsrtp encrypts no broken packet
            return told

    def _other(self) -> bytes:
        first = self.draws.choice([0, 1, 16, 20, 22, 63, 64, 79, 80, 127, 192, 255])
        return bytes([first]) + self.draws.randbytes(self.draws.randrange(60))

    def _any(self) -> bytes:
        return self.draws.randbytes(self.draws.choice([0, 1, 2, 8, 11, 12, 20, 100, 1500, 2000]))

    def _mutated(self, data: bytes) -> bytes:
        draws, changed = self.draws, bytearray(data)
        match draws.randrange(5):
            case 0:
                return data[: draws.randrange(len(data) + 1)]
            case 1:
                return data + draws.randbytes(draws.randrange(40))
            case 2:
                return (data * 12)[: draws.randrange(2048)]
            case _:
                for _ in range(draws.randrange(1, 4)):
                    if changed:
                        changed[draws.randrange(len(changed))] = draws.randrange(256)
                return bytes(changed)


@pytest.mark.parametrize("c", [C, WITHOUT], ids=["flat", "libsrtp"])
@pytest.mark.parametrize("suite", SUITES)
def test_whatever_comes_both_pumps_count_the_same_and_keep_their_memory(suite: str | None, c: object) -> None:
    draws = random.Random(SEED)
    network, sender = Network(suite, c=c), Sender(suite, draws)
    many, held = max(1000, PACKETS // 6), 0
    for number in range(many):
        data = sender.datagram()
        network.clock += draws.choice([0.0, 0.001, 0.02, 0.02, 0.3])
        (network.deliver if draws.random() < 0.8 else network.deliver_rtcp)(data)
        match draws.randrange(500):
            case 0:
                # A new key now and then, which both hold at the same time as the sender.
                keys = (draws.randbytes(30), draws.randbytes(30))
                network.follow(keys)
                sender.cipher = cipher_of(keys[::-1], suite)
            case 1:
                network.follow(sends=draws.random() < 0.5, hears=draws.random() < 0.5)
            case 2:
                network.check()
        if number == many // 4:
            held = psutil.Process().memory_info().rss
    network.check()
    assert psutil.Process().memory_info().rss - held < MOST_GROWTH_BYTES


@pytest.mark.parametrize("kind", PumpKind)
def test_a_flood_of_such_packets_stops_no_other_call(kind: PumpKind) -> None:
    """Over real sockets: one call gets them, its neighbour is clean."""
    asyncio.run(_flood(kind, max(500, PACKETS // 20)))


async def _flood(kind: PumpKind, packets: int) -> None:
    pump = make_pump(kind)
    draws = random.Random(SEED)
    sender = Sender(SUITES[0], draws)
    pairs = [_pair() for _ in range(3)]
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind(("127.0.0.1", 0))
    keys = (draws.randbytes(30), draws.randbytes(30))
    ciphers = [
        cipher_of(KEYS[::-1], SUITES[0]),
        SrtpCipher(*keys, SUITES[0] or ""),
        SrtpCipher(*keys[::-1], SUITES[0] or ""),
    ]
    remotes = [peer.getsockname(), pairs[2][0].getsockname(), pairs[1][0].getsockname()]
    flows = []
    try:
        for number, (cipher, remote, pair) in enumerate(zip(ciphers, remotes, pairs, strict=True)):
            side = Side.CALLER if number == 1 else Side.CALLED
            stream = MediaStream(row=7, side=side, random_source=random.Random(number), now=pump.now())
            flow = pump.add(stream, *pair)
            pump.follow(flow, terms(cipher, remote=remote, remote_rtcp=(remote[0], remote[1] + 1)))
            flows.append(flow)
        to = pairs[0][0].getsockname()
        for number in range(packets):
            peer.sendto(sender.datagram(), to)
            # Slower than a socket's buffer overflows: what was lost there would try nothing.
            if number % 20 == 19:
                await asyncio.sleep(0.02)
        flooded, near, far = (pump.remove(flow) for flow in flows)
    finally:
        pump.close()
        peer.close()
    assert flooded.fault is None
    assert flooded.received + flooded.not_rtp + flooded.rtcp_muxed > packets / 2
    for report, peers in ((near, far), (far, near)):
        assert report.received == report.authenticated > 0
        assert (report.failed, report.fault) == (0, None)
        # Frames that this process gave up, because it stood still, are no fault of the packets.
        assert report.lost <= peers.given_up


def _pair() -> tuple[socket.socket, socket.socket]:
    for port in range(51_000, 60_000, 2):
        try:
            return bind_pair("127.0.0.1", port)
        except OSError:
            continue
    raise AssertionError("no free port pair")
