"""Packets that are made for an analyser: tshark finds their checksums right, over IPv4 and IPv6, and no gap."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from trunkproof.experiments.target.bundle.packets import sip_pdu, tcp_packets, udp_packet
from trunkproof.experiments.target.bundle.pcapng import LINK_RAW_IP, LINK_UPPER_PDU, PcapngWriter
from trunkproof.loadgen.capture.capture import Chunk, Stream

PAIRS = [(("192.0.2.7", 40_000), ("198.51.100.9", 5061)), (("2001:db8::7", 40_000), ("2001:db8::9", 5061))]
AT_S = 1_796_138_577.25


def tshark(path: Path, shown: str, *fields: str) -> list[list[str]]:
    columns = [word for field in fields for word in ("-e", field)]
    checked = [word for kind in ("ip", "tcp", "udp") for word in ("-o", f"{kind}.check_checksum:TRUE")]
    command = ["tshark", "-r", str(path), *checked, "-Y", shown, "-T", "fields", *columns]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return [line.split("\t") for line in out.splitlines()]


@pytest.mark.requires("tshark")
@pytest.mark.parametrize("calls_out", [True, False])
@pytest.mark.parametrize(("here", "there"), PAIRS)
def test_rfc9293_a_connection_is_whole_whichever_side_opened_it(
    here: tuple[str, int], there: tuple[str, int], calls_out: bool, tmp_path: Path
) -> None:
    chunks = (
        Chunk(AT_S, calls_out, b"a" * 3001),
        Chunk(AT_S + 1, not calls_out, b"b" * 7),
        Chunk(AT_S + 2, True, b"c"),
    )
    path = tmp_path / "t.pcapng"
    with path.open("wb") as file:
        writer = PcapngWriter(file, "a test")
        interface = writer.interface(LINK_RAW_IP, "as sent")
        for at_s, packet in tcp_packets(Stream(here, there, calls_out, "", True, (), chunks)):
            writer.packet(interface, at_s, packet)
    caller = here if calls_out else there
    (syn,) = tshark(path, "tcp.flags.syn == 1 && tcp.flags.ack == 0", "tcp.srcport", "frame.time_epoch")
    assert syn == [str(caller[1]), "1796138577.250000000"]
    found = tshark(path, "tcp", "tcp.checksum.status", "tcp.len")
    assert {status for status, _ in found} == {"1"}
    assert sum(int(size) for _, size in found) == 3009
    assert not tshark(path, "tcp.analysis.flags || ip.checksum.status == 0", "frame.number")


@pytest.mark.requires("tshark")
@pytest.mark.parametrize(("here", "there"), PAIRS)
def test_rfc768_datagrams_and_sip_messages_have_their_addresses(
    here: tuple[str, int], there: tuple[str, int], tmp_path: Path
) -> None:
    path = tmp_path / "t.pcapng"
    with path.open("wb") as file:
        writer = PcapngWriter(file, "a test")
        audio, sip = writer.interface(LINK_RAW_IP, "audio"), writer.interface(LINK_UPPER_PDU, "SIP")
        for size in range(4):
            writer.packet(audio, AT_S, udp_packet(here, there, b"\xff" * size))
        writer.packet(sip, AT_S, sip_pdu(here, there, b"OPTIONS sip:x SIP/2.0\r\nCall-ID: 1@x\r\n\r\n"))
    found = tshark(path, "udp", "udp.checksum.status", "udp.length", "udp.dstport")
    assert found == [["1", str(8 + size), str(there[1])] for size in range(4)]
    assert tshark(path, "sip", "_ws.col.Source", "_ws.col.Destination", "sip.Call-ID") == [[here[0], there[0], "1@x"]]


def test_a_connection_that_was_never_made_has_no_packets() -> None:
    assert not list(tcp_packets(Stream(("", 0), ("", 0), True, "", True, (), (Chunk(AT_S, True, b"x"),))))
