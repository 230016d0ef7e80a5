"""Programs of others as the other end of a call: baresip and SIPp through a served trunk, and baresip to our answerers.

What baresip heard is read from its recording: G.711 decodes and encodes without loss, so the voiceprint says whose
audio it was, frame by frame.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
import urllib.request
import wave
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.loadgen.stacks.conftest import CUSTOMER, POP, assert_nothing_left, study

from trunkproof.loadgen.card import TrunkCard, read_card
from trunkproof.loadgen.guard import LOOPBACK_ONLY
from trunkproof.loadgen.media.voiceprint import Side, read_frame, write_frame
from trunkproof.loadgen.options import DEFAULTS
from trunkproof.loadgen.parties.carrier import Carrier
from trunkproof.loadgen.parties.customer import Customer
from trunkproof.loadgen.stacks.server import CARD
from trunkproof.loadgen.stacks.stack import customer_files
from trunkproof.loadgen.system.ports import free_port
from trunkproof.loadgen.tls.certificates import Authority
from trunkproof.models.packets import PAYLOAD_BYTES
from trunkproof.models.plan import Outcome, Plan, dialled_number, draw_plan
from trunkproof.models.records import Direction
from trunkproof.models.study import Study

ROOT = Path(__file__).parents[3]
SCENARIO = Path(__file__).with_name("sipp_srtp_caller.xml")
CALLER = "127.0.0.1"
"""Where baresip is: it binds no address, and the kernel takes this one."""
CALL_S = 3
PACKETS = 50 * CALL_S
needs_kamailio = [pytest.mark.requires("kamailio"), pytest.mark.requires("rtpengine", package="rtpengine-daemon")]
needs_baresip = pytest.mark.requires("baresip", package="baresip-core")
CONFIGURATION = """\
poll_method epoll
sip_listen {address}:0
sip_cafile {ca_file}
sip_trans_def tls
net_interface {address}
rtp_ports 52000-53000
jitter_buffer_delay 0-1
audio_source aufile,{folder}/says.wav
audio_player aubridge,heard
audio_alert aubridge,alert
audio_level no
snd_path {folder}
module_path {modules}
module g711.so
module aufile.so
module aubridge.so
module sndfile.so
module srtp.so
module_tmp account.so
module_app menu.so
"""


def _pcm(code: int) -> int:
    """The linear sample of an A-law octet (ITU-T G.711)."""
    flipped = code ^ 0x55
    segment, step = (flipped & 0x70) >> 4, (flipped & 0x0F) << 4
    size = step + 8 if segment == 0 else (step + 0x108) << (segment - 1)
    return size if flipped & 0x80 else -size


PCM = {code: _pcm(code).to_bytes(2, "little", signed=True) for code in range(256)}
ALAW = {pcm: code for code, pcm in PCM.items()}


def write_wav(path: Path, alaw: bytes) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(b"".join(PCM[code] for code in alaw))


def frames_in(recording: Path) -> Counter[tuple[Side, int] | None]:
    """(who spoke, the plan's row) -> frames of 20 ms; whatever is no frame of ours is `None`."""
    with wave.open(str(recording)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
        samples = file.readframes(file.getnframes())
    alaw = bytes(ALAW.get(samples[at : at + 2], 0xD5) for at in range(0, len(samples), 2))
    frames = (read_frame(alaw[at : at + PAYLOAD_BYTES]) for at in range(0, len(alaw), PAYLOAD_BYTES))
    return Counter(frame and (frame.side, frame.row) for frame in frames)


def speech(row: int) -> bytes:
    """What the caller of that row says in ten seconds."""
    return b"".join(write_frame(Side.CALLER, row, number) for number in range(500))


def baresip(folder: Path, uri: str, *, ca_file: str, row: int) -> tuple[str, ...]:
    """The command that calls `uri` with mandatory SRTP, says what the row's caller says, and hangs up after a while."""
    folder.mkdir(parents=True, exist_ok=True)
    modules = next(Path("/usr/lib").glob("**/baresip/modules"))
    text = CONFIGURATION.format(address=CALLER, ca_file=ca_file, folder=folder, modules=modules)
    (folder / "config").write_text(text)
    account = "<sip:+918000000000@example.pstn.exotel.com;transport=tls>;regint=0;mediaenc=srtp-mand;audio_codecs=pcma"
    (folder / "accounts").write_text(account + "\n")
    write_wav(folder / "says.wav", speech(row))
    return ("baresip", "-f", str(folder), "-t", str(CALL_S + 1), "-e", f"d {uri}")


def assert_heard(folder: Path, row: int, said: str) -> None:
    """The called side of that row, all the time, and nothing else but a frame at the edges."""
    assert "SRTP is Enabled (cryptosuite=AES_CM_128_HMAC_SHA1_80)" in said, said
    (recording,) = folder.glob("dump-*-dec.wav")
    heard = frames_in(recording)
    assert heard[Side.CALLED, row] >= 0.9 * PACKETS, said
    assert set(heard) <= {(Side.CALLED, row), None}


def row_with(plan: Plan, outcome: Outcome, direction: Direction = Direction.OUTBOUND) -> int:
    return next(row.row for row in plan.rows.values() if (row.outcome, row.direction) == (outcome, direction))


OUTCOMES = {"busy": 0.3}


@pytest.fixture(scope="module")
def question() -> Study:
    return study(trunk={"whitelist": [f"{CUSTOMER}/32", f"{CALLER}/32"]}, duration_s=5, outcomes=OUTCOMES)


@pytest.fixture(scope="module")
def served(question: Study, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrunkCard]:
    """`trunkproof serve --stack kamailio`, as a user starts it."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "study.yaml").write_text(question.model_dump_json())
    command = (
        sys.executable,
        "-m",
        "trunkproof.experiments.cli",
        "serve",
        str(folder / "study.yaml"),
        "--stack",
        "kamailio",
    )
    port = free_port(POP["address"])
    process = subprocess.Popen(
        [*command, "--port", str(port), "--out", str(folder)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert process.stdout is not None
        assert f"is played by kamailio at 127.0.60.1:{port} (TLS)" in process.stdout.readline()
        yield read_card(folder / CARD)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 0
    assert_nothing_left(folder)


def relayed(card: TrunkCard) -> dict[str, float]:
    """rtpengine's own counters."""
    with urllib.request.urlopen(card.metrics["rtpengine"], timeout=5) as page:
        rows = (row.rpartition(" ") for row in page.read().decode().splitlines() if not row.startswith("#"))
        return {name: float(value) for name, _, value in rows}


def call(command: tuple[str, ...], cwd: Path) -> str:
    done = subprocess.run(
        command, check=False, cwd=cwd, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )
    return done.stdout + done.stderr


class TestServed:
    pytestmark = needs_kamailio

    @needs_baresip
    def test_baresip_with_mandatory_srtp_is_heard_and_hears(
        self, served: TrunkCard, question: Study, tmp_path: Path
    ) -> None:
        row = row_with(draw_plan(question), Outcome.ANSWERED)
        before = relayed(served)
        uri = f"sip:{dialled_number(row)}@{served.host}:{served.port}"
        said = call(baresip(tmp_path, uri, ca_file=served.ca_file, row=row), tmp_path)
        assert_heard(tmp_path, row, said)
        after = relayed(served)
        name = 'rtpengine_packets_total{type="userspace"}'
        assert after[name] - before[name] >= 2 * 0.9 * PACKETS
        for none in ("rtpengine_one_way_sessions_total", "rtpengine_zero_packet_streams_total"):
            assert after[none] == before[none]

    @needs_baresip
    def test_the_dialled_row_decides(self, served: TrunkCard, question: Study, tmp_path: Path) -> None:
        row = row_with(draw_plan(question), Outcome.BUSY)
        uri = f"sip:{dialled_number(row)}@{served.host}:{served.port}"
        said = call(baresip(tmp_path, uri, ca_file=served.ca_file, row=row), tmp_path)
        assert "486 Busy Here" in said

    def test_sipp_makes_twenty_calls_with_srtp(
        self, served: TrunkCard, question: Study, sipp: tuple[str, ...], tmp_path: Path
    ) -> None:
        rows = [row.row for row in draw_plan(question).rows.values() if row.outcome is Outcome.ANSWERED][:20]
        (tmp_path / "numbers.csv").write_text("SEQUENTIAL\n" + "".join(f"{dialled_number(row)};\n" for row in rows))
        (tmp_path / "frames.alaw").write_bytes(speech(rows[0]))
        shutil.copy(SCENARIO, tmp_path / "caller.xml")
        before = relayed(served)
        options = f"""
            {served.host}:{served.port} -t l1 -tls_ca {served.ca_file} -i {CUSTOMER} -mi {CUSTOMER}
            -sf caller.xml -inf numbers.csv -m 20 -r 10 -d {1000 * CALL_S} -timeout 40 -timeout_error
            -min_rtp_port 53000 -max_rtp_port 54000 -nostdin -trace_err -trace_stat -fd 1
        """
        command = (*sipp, *options.split())
        done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        errors = "".join(path.read_text() for path in tmp_path.glob("*errors.log"))
        # Its exit code is 0 only if all calls succeeded.
        assert done.returncode == 0, errors or done.stdout[-2000:]
        after = relayed(served)
        told = {name: after[name] - before[name] for name in after}
        assert told["rtpengine_sessions_total"] == 20
        assert told['rtpengine_packets_total{type="userspace"}'] >= 20 * 2 * 0.9 * PACKETS
        assert told["rtpengine_one_way_sessions_total"] == told["rtpengine_zero_packet_streams_total"] == 0


@needs_baresip
class TestAnswering:
    """Our answering side, called by baresip without any trunk between."""

    async def _call(self, folder: Path, uri: str, ca_file: Path, row: int) -> str:
        process = await asyncio.create_subprocess_exec(
            *baresip(folder, uri, ca_file=str(ca_file), row=row),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        return (await process.communicate())[0].decode()

    def test_the_carrier_takes_a_call_from_baresip(self, tmp_path: Path) -> None:
        plan = draw_plan(study(carrier={"media": "srtp"}, outcomes=OUTCOMES))
        answered, busy = row_with(plan, Outcome.ANSWERED), row_with(plan, Outcome.BUSY)

        async def run() -> None:
            authority = Authority(tmp_path / "certificates")
            carrier = Carrier(plan, authority, inner_port=1)
            port = await carrier.start()
            try:
                uri = f"sip:{dialled_number(answered)}@{carrier.host}:{port}"
                said = await self._call(tmp_path / "answered", uri, authority.ca_file, answered)
                assert_heard(tmp_path / "answered", answered, said)
                uri = f"sip:{dialled_number(busy)}@{carrier.host}:{port}"
                assert "486 Busy Here" in await self._call(tmp_path / "busy", uri, authority.ca_file, busy)
                assert (carrier.limits.used, carrier.answerer.under_way) == (0, 0)
                assert carrier.audio.heard.received == carrier.audio.heard.authenticated
                assert carrier.audio.heard.received >= 0.9 * PACKETS
            finally:
                await carrier.close()

        asyncio.run(run())

    def test_the_customers_listener_takes_a_call_from_baresip(self, tmp_path: Path) -> None:
        port = free_port(CUSTOMER)
        question = study(trunk={"customer_port": port}, inbound_share=0.7, outcomes=OUTCOMES)
        plan = draw_plan(question)
        row = row_with(plan, Outcome.ANSWERED, Direction.INBOUND)

        async def run() -> None:
            authority = Authority(tmp_path / "certificates")
            card = TrunkCard(
                server_name=question.pop.host,
                host=CALLER,
                port=1,
                ca_file=str(authority.ca_file),
                customers=customer_files(question, authority),
            )
            async with Customer(plan, 0, card, LOOPBACK_ONLY.check(CALLER, 1, 0), DEFAULTS) as customer:
                uri = f"sip:{dialled_number(row)}@{CUSTOMER}:{port}"
                said = await self._call(tmp_path / "baresip", uri, authority.ca_file, row)
                assert_heard(tmp_path / "baresip", row, said)
                assert customer.audio.heard.received == customer.audio.heard.authenticated
                assert customer.audio.heard.received >= 0.9 * PACKETS

        asyncio.run(run())
