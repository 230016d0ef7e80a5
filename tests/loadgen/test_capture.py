"""A captured call, as a foreign program sees it: tshark reads every message, and the SDES keys open the audio."""

from __future__ import annotations

import asyncio
import base64
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trunkproof.loadgen.media.rtp import RtpPacket
from trunkproof.loadgen.media.srtp import Failure, SrtpCipher
from trunkproof.loadgen.media.voiceprint import Side, read_frame
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.run import drive
from trunkproof.loadgen.stacks.embedded.trunk import EmbeddedTrunk
from trunkproof.models.plan import draw_plan
from trunkproof.models.study import Study

_METHODS = {"INVITE", "ACK", "BYE"}
_STATUSES = {"100", "180", "200"}


@contextmanager
def captured(path: Path) -> Iterator[None]:
    """Everything of the test's own addresses on loopback, while the block runs."""
    mine = "host 127.0.0.77 and (tcp or udp)"
    command = ["tshark", "-i", "lo", "-f", mine, "-w", str(path), "-q"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        # The file is there as soon as packets are taken; one who may not capture never gets it.
        while process.poll() is None and not (path.exists() and path.stat().st_size):
            time.sleep(0.05)
        if process.returncode is not None:
            pytest.skip("tshark may not capture on lo: it needs root, or membership of the group wireshark")
        yield
        # The capturing process hands over what it has several times a second, and loses the rest when it is ended.
        time.sleep(1.0)
    finally:
        process.terminate()
        process.communicate()


def fields_of(capture: Path, *arguments: str) -> list[list[str]]:
    command = ["tshark", "-r", str(capture), "-T", "fields", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split("\t") for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, int]:
    """One captured call: the capture, the TLS secrets and the trunk's port."""
    folder = tmp_path_factory.mktemp("capture")
    traffic = {
        "arrivals": {"kind": "replay", "instants_s": [0.1]},
        "holding": 1.0,
        "ringing": 0.1,
    }
    question = Study.model_validate(
        {"name": "captured", "pop": {"address": "127.0.0.77"}, "trunks": [{"traffic": traffic}]}
    )

    async def run() -> int:
        trunk = EmbeddedTrunk(draw_plan(question), folder)
        card = await trunk.start()
        try:
            driven = await drive(draw_plan(question), card, RunOptions(keylog=folder / "keys.log"))
        finally:
            await trunk.close()
        assert driven.records["disposition"].to_list() == ["completed"]
        return card.port

    with captured(folder / "call.pcapng"):
        port = asyncio.run(run())
    return folder / "call.pcapng", folder / "keys.log", port


def signalling_options(keys: Path, port: int) -> list[str]:
    return ["-o", f"tls.keylog_file:{keys}", "-d", f"tcp.port=={port},tls", "-d", f"tls.port=={port},sip"]


@pytest.mark.requires("tshark")
def test_tshark_reads_all_signalling_and_calls_nothing_malformed(call: tuple[Path, Path, int]) -> None:
    capture, keys, port = call
    options = signalling_options(keys, port)
    rows = fields_of(capture, *options, "-Y", "sip", "-e", "sip.Method", "-e", "sip.Status-Code")
    assert {method for row in rows for method in row[0].split(",")} >= _METHODS
    assert {status for row in rows if len(row) > 1 for status in row[1].split(",")} >= _STATUSES
    complaints = "_ws.malformed or _ws.expert.severity == error"
    assert fields_of(capture, *options, "-Y", complaints, "-e", "frame.number") == []


@pytest.mark.requires("tshark")
def test_the_sdes_keys_of_the_signalling_open_the_captured_audio(call: tuple[Path, Path, int]) -> None:
    capture, keys, port = call
    options = signalling_options(keys, port)
    rows = fields_of(capture, *options, "-Y", "sdp", "-e", "sdp.media", "-e", "sdp.media_attr")
    by_port = {}
    for media, attributes in rows:
        inline = re.search(r"inline:([A-Za-z0-9+/=]{40})", attributes)
        assert inline is not None
        by_port[re.findall(r"audio (\d+) RTP/SAVP", media)[0]] = base64.b64decode(inline[1])
    assert len(by_port) == 2
    for sender, key in by_port.items():
        packets = fields_of(capture, "-Y", f"udp.srcport == {sender}", "-e", "udp.payload")
        cipher = SrtpCipher(key, key, "AES_CM_128_HMAC_SHA1_80")
        opened = [cipher.unprotect(bytes.fromhex(payload)) for (payload,) in packets]
        assert len(opened) >= 45
        assert not any(isinstance(packet, Failure) for packet in opened)
        frames = [read_frame(RtpPacket.parse(packet).payload) for packet in opened if isinstance(packet, bytes)]
        assert {frame.row for frame in frames if frame is not None} == {0}
        assert len({frame.side for frame in frames if frame is not None}) == 1
        assert all(frame is not None for frame in frames)


@pytest.mark.requires("tshark")
def test_tshark_takes_the_audio_for_rtp(call: tuple[Path, Path, int]) -> None:
    capture, _, _ = call
    ports = {row[0] for row in fields_of(capture, "-Y", "udp and udp.length > 180", "-e", "udp.srcport")}
    assert len(ports) == len(Side)
    for sender in ports:
        decode = ["-d", f"udp.port=={sender},rtp", "-Y", f"rtp and udp.srcport == {sender}"]
        kinds = fields_of(capture, *decode, "-e", "rtp.version", "-e", "rtp.p_type")
        assert {tuple(row) for row in kinds} == {("2", "8")}
