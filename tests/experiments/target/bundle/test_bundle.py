"""A bundle of real calls on the embedded trunk, opened by tshark: decrypted with keys, and without a secret masked."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import subprocess
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from trunkproof.experiments.cli.root import app
from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.target.bundle.choice import CallChoice
from trunkproof.experiments.target.bundle.text import keys_in
from trunkproof.experiments.target.bundle.write import write_bundle
from trunkproof.loadgen.capture.capture import CapturedCall, read_captures
from trunkproof.loadgen.capture.options import FOLDER, CaptureOptions
from trunkproof.loadgen.media.pump import VARIABLE
from trunkproof.loadgen.media.srtp import SrtpCipher
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.run import drive
from trunkproof.loadgen.stacks.process import running_trunk
from trunkproof.models.errors import InputError
from trunkproof.models.plan import draw_plan
from trunkproof.models.records import write_records
from trunkproof.models.study_file import parse_study

NEEDS_TSHARK = pytest.mark.requires("tshark")
EXOPHONE, SECRET = "+918041112222", "918049998888"
WORKERS, CALLS, ADMITTED = 2, 10, 4
STUDY = f"""\
name: bundled
seed: 5
duration_s: 4
trunk:
  customer_address: 127.0.0.59
  throttle: {{policy: fixed_window, limit: {ADMITTED}}}
  headers: {{X-Customer-Note: "call {SECRET} back"}}
traffic:
  arrivals: {{kind: replay, instants_s: {[0.1 * number for number in range(CALLS)]}}}
  holding: 1
  ringing: 0.1
  inbound_share: 0.3
  callers: ["{EXOPHONE}"]
  tls: {{policy: pool, pool_size: {WORKERS}}}
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result folder of a run with a capture, from two workers."""
    folder = tmp_path_factory.mktemp("run")
    study = parse_study(STUDY)
    options = RunOptions(workers=WORKERS, capture=CaptureOptions(folder / FOLDER))

    async def run() -> None:
        async with running_trunk(study, folder / "trunk") as card:
            driven = await drive(draw_plan(study), card, options)
        write_records(driven.records, folder / "measured.parquet")
        (folder / "study.json").write_text(study.model_dump_json())

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "plain")
        asyncio.run(run())
    return folder


def unpacked(source: Path, to: Path, which: CallChoice | None = None, *, masked: bool = True) -> dict[str, Any]:
    """Write a bundle and unpack it. Return its summary."""
    write_bundle(source, to / "b.zip", which=which or CallChoice(), masked=masked)
    with zipfile.ZipFile(to / "b.zip") as archive:
        archive.extractall(to)
    (to / "b.zip").unlink()
    summary: dict[str, Any] = json.loads((to / "summary.json").read_text())
    return summary


def captured(source: Path) -> list[CapturedCall]:
    return [call for one in read_captures(source / FOLDER) for call in one.calls]


def tshark(path: Path, shown: str, *fields: str, options: Iterable[str] = ()) -> list[list[str]]:
    """Return fields of the packets that a display filter shows."""
    columns = [word for field in fields for word in ("-e", field)]
    command = ["tshark", "-r", str(path), *options, "-Y", shown, "-T", "fields", *columns]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return [line.split("\t") for line in out.splitlines()]


@NEEDS_TSHARK
def test_tshark_decrypts_the_signalling_with_the_secrets_inside(source: Path, tmp_path: Path) -> None:
    summary = unpacked(source, tmp_path, masked=False)
    # The command stands in the bundle itself.
    told = re.search(r"wireshark (-d \S+) as_sent\.pcapng", (tmp_path / "README.txt").read_text())
    assert told
    found = tshark(tmp_path / "as_sent.pcapng", "sip", "sip.Call-ID", "ip.src", options=told[1].split())
    shown = [call_id for cell, _ in found for call_id in cell.split(",")]
    for call in captured(source):
        for call_id in call.call_ids:
            assert shown.count(call_id) == len(call.messages)
    assert {one for call in summary["calls"] for one in call["call_ids"]} <= set(shown)
    assert tshark(tmp_path / "as_sent.pcapng", "srtp.auth_tag", "frame.number")


@NEEDS_TSHARK
def test_tshark_reads_the_decrypted_calls_and_calls_nothing_malformed(source: Path, tmp_path: Path) -> None:
    unpacked(source, tmp_path, masked=False)
    path = tmp_path / "calls.pcapng"
    messages = sum(len(call.messages) for call in captured(source))
    assert len(tshark(path, "sip", "sip.Call-ID")) == messages
    assert not tshark(path, "_ws.malformed || srtp.auth_tag", "frame.number")
    payloads = {cell for (cell,) in tshark(path, "rtp && !rtcp && rtp.p_type == 8", "rtp.payload")}
    # What libsrtp makes of what our side has sent.
    checked = 0
    for call in captured(source):
        for key in keys_in(message for message in call.messages if message.sent):
            cipher = SrtpCipher(bytes(30), key.key, key.suite)
            opened = [
                cipher.unprotect(packet.data) for packet in call.audio if packet.sent and packet.data[1] & 0x7F == 8
            ]
            checked += len(opened)
            assert {packet[12:].hex() for packet in opened if isinstance(packet, bytes)} <= payloads
            assert all(isinstance(packet, bytes) for packet in opened)
    assert checked >= 40 * ADMITTED


def test_a_masked_bundle_holds_no_number_key_or_secret(source: Path, tmp_path: Path) -> None:
    unpacked(source, tmp_path)
    assert not (tmp_path / "as_sent.pcapng").exists()
    secrets: set[bytes] = {EXOPHONE[1:].encode(), SECRET.encode()}
    for capture in read_captures(source / FOLDER):
        for stream in capture.streams:
            for line in stream.secrets:
                secrets |= {line.split()[2].encode(), bytes.fromhex(line.split()[2])}
            secrets |= {chunk.data[-16:] for chunk in stream.chunks}
        for call in capture.calls:
            keys = keys_in(call.messages)
            secrets |= {key.key for key in keys} | {base64.b64encode(key.key) for key in keys}
            secrets |= {packet.data[-20:] for packet in call.audio}
            for message in call.messages:
                secrets |= set(re.findall(rb"\+?(\d{10,})@", message.data))
    # So the search below would find something.
    assert len(secrets) > 500
    content = _content(tmp_path)
    assert b"INVITE sip:+91********" in content
    assert not [secret for secret in secrets if secret in content]
    # Nor a part of a number that would do.
    assert not re.search(rb"(?<![0-9a-f-])\+?91\d{6,}", content)


def _content(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_an_open_bundle_holds_what_the_search_of_a_masked_one_looks_for(source: Path, tmp_path: Path) -> None:
    unpacked(source, tmp_path, masked=False)
    content = _content(tmp_path)
    for secret in (EXOPHONE[1:], SECRET):
        assert secret.encode() in content
    for call in captured(source):
        for key in keys_in(call.messages):
            assert base64.b64encode(key.key) in content
        assert all(packet.data[-20:] in content for packet in call.audio)


def test_a_masked_bundle_is_as_long_and_lets_the_audio_be_judged(source: Path, tmp_path: Path) -> None:
    for name, masked in (("masked", True), ("open", False)):
        (tmp_path / name).mkdir()
        unpacked(source, tmp_path / name, masked=masked)
    assert sum(1 for _ in (tmp_path / "masked/calls").iterdir()) == sum(1 for _ in (tmp_path / "open/calls").iterdir())
    lines = (tmp_path / "masked/calls").glob("*/ladder.txt")
    assert any("audio from" in path.read_text() for path in lines)


@NEEDS_TSHARK
def test_masked_audio_has_the_same_sequence_numbers_and_is_silent(source: Path, tmp_path: Path) -> None:
    unpacked(source, tmp_path)
    found = tshark(tmp_path / "calls.pcapng", "rtp", "rtp.seq", "rtp.payload")
    sent = [packet for call in captured(source) for packet in call.audio if packet.data[1] & 0x7F == 8]
    assert sorted(int(seq) for seq, _ in found) == sorted(int.from_bytes(packet.data[2:4]) for packet in sent)
    assert {payload for _, payload in found} == {"d5" * 160}


def test_failed_calls_are_chosen_with_their_facts(source: Path, tmp_path: Path) -> None:
    calls = unpacked(source, tmp_path, CallChoice(failed=True))["calls"]
    assert {call["disposition"] for call in calls} == {"throttled"}
    for call in calls:
        assert call["account_sid"] == "example"
        assert call["transport"].startswith("TLS (TLSv1.3")
        assert call["began_utc"].endswith("+00:00")
        assert (call["status"], call["direction"]) == (503, "outbound")
        ladder = (tmp_path / "calls" / call["name"] / "ladder.txt").read_text()
        assert re.search(r"INVITE with SDP -+> \|", ladder)
        assert re.search(r"\| <-+ 503 ", ladder)


def test_inbound_calls_have_the_operators_call_sid_and_the_record_of_the_trunk(source: Path, tmp_path: Path) -> None:
    calls = [call for call in unpacked(source, tmp_path)["calls"] if call["direction"] == "inbound"]
    assert calls
    for call in calls:
        assert re.fullmatch(r"[0-9a-f]{32}", call["x_exotel_call_sid"])
        assert call["disposition"] is not None


def test_the_slowest_and_single_calls_are_chosen(source: Path, tmp_path: Path) -> None:
    waits = sorted(call["first_sign_after_s"] for call in unpacked(source, tmp_path)["calls"])
    (slowest,) = unpacked(source, tmp_path, CallChoice(slowest=1))["calls"]
    assert slowest["first_sign_after_s"] == waits[-1]
    (one,) = unpacked(source, tmp_path, CallChoice(calls=(0,)))["calls"]
    assert one["name"] == "call-0"
    with pytest.raises(InputError, match=r"--call 99: was not captured(?s:.*)--call 98"):
        write_bundle(source, tmp_path / "b.zip", which=CallChoice(calls=(99, 0, 98)))


def test_the_command_asks_twice_before_it_writes_keys(source: Path, tmp_path: Path) -> None:
    to = tmp_path / "support.zip"
    words = ["bundle", str(source), "--out", str(to), "--unmasked"]
    refused = CliRunner().invoke(app, words)
    assert isinstance(refused.exception, InputError)
    assert "add --yes-with-keys" in str(refused.exception)
    assert not to.exists()
    done = CliRunner().invoke(app, [*words, "--yes-with-keys", "--json"])
    assert done.exit_code == ExitCode.OK
    assert json.loads(done.stdout)["masked"] is False
    assert to.stat().st_mode & 0o077 == 0
    masked = CliRunner().invoke(app, ["bundle", str(source), "--failed", "--out", str(to)])
    assert masked.exit_code == ExitCode.OK
    assert "masked" in masked.stdout
    with zipfile.ZipFile(to) as archive:
        assert "srtp_keys.txt" not in archive.namelist()


def test_a_run_without_a_capture_is_said_to_have_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="with --capture"):
        write_bundle(tmp_path, tmp_path / "b.zip", which=CallChoice())
