"""Programs of others as the other end of a call: baresip and SIPp through a served trunk, and baresip to our answerers.

What else telephones do in calls is in the folder `telephones`.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from tests.loadgen.stacks.conftest import CUSTOMER, POP, assert_nothing_left, study
from tests.loadgen.stacks.telephones.baresip import Baresip
from tests.loadgen.stacks.telephones.telephone import Setup
from tests.loadgen.stacks.telephones.voice import speech, write_wav

from trunkproof.loadgen.card import TrunkCard, read_card
from trunkproof.loadgen.guard import LOOPBACK_ONLY
from trunkproof.loadgen.media.voiceprint import Side
from trunkproof.loadgen.options import DEFAULTS
from trunkproof.loadgen.parties.carrier import Carrier
from trunkproof.loadgen.parties.customer import Customer
from trunkproof.loadgen.stacks.server import CARD
from trunkproof.loadgen.stacks.stack import customer_files
from trunkproof.loadgen.system.ports import free_port
from trunkproof.loadgen.tls.certificates import Authority
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


@dataclass(frozen=True)
class Said:
    """What baresip said of a call, and what it has recorded."""

    words: str
    heard: Counter[tuple[Side, int] | None]

    def assert_heard(self, row: int) -> None:
        """The called side of that row, all the time, and nothing else but a frame at the edges."""
        assert "SRTP is Enabled (cryptosuite=AES_CM_128_HMAC_SHA1_80)" in self.words, self.words
        assert self.heard[Side.CALLED, row] >= 0.9 * PACKETS, self.words
        assert set(self.heard) <= {(Side.CALLED, row), None}


def baresip_calls(folder: Path, row: int, *, where: str, ca_file: str | Path) -> Said:
    """Call that row's number at `host:port`. Where it is answered, say what its caller says for a while."""
    folder.mkdir(parents=True, exist_ok=True)
    write_wav(folder / "says.wav", speech(Side.CALLER, row))
    setup = Setup(folder, CALLER, free_port(CALLER), where, str(ca_file), account="example.pstn.exotel.com")
    telephone = Baresip(setup)
    try:
        telephone.begin(folder / "says.wav")
        telephone.dial(dialled_number(row))
        if telephone.until_up_or_over():
            time.sleep(CALL_S)
            telephone.hang_up()
            telephone.until_over()
        return Said(telephone.program.said, telephone.heard())
    finally:
        telephone.close()


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


class TestServed:
    pytestmark = needs_kamailio

    @needs_baresip
    def test_baresip_with_mandatory_srtp_is_heard_and_hears(
        self, served: TrunkCard, question: Study, tmp_path: Path
    ) -> None:
        row = row_with(draw_plan(question), Outcome.ANSWERED)
        before = relayed(served)
        said = baresip_calls(tmp_path, row, where=f"{served.host}:{served.port}", ca_file=served.ca_file)
        said.assert_heard(row)
        after = relayed(served)
        name = 'rtpengine_packets_total{type="userspace"}'
        assert after[name] - before[name] >= 2 * 0.9 * PACKETS
        for none in ("rtpengine_one_way_sessions_total", "rtpengine_zero_packet_streams_total"):
            assert after[none] == before[none]

    @needs_baresip
    def test_the_dialled_row_decides(self, served: TrunkCard, question: Study, tmp_path: Path) -> None:
        row = row_with(draw_plan(question), Outcome.BUSY)
        said = baresip_calls(tmp_path, row, where=f"{served.host}:{served.port}", ca_file=served.ca_file)
        assert "486 Busy Here" in said.words

    def test_sipp_makes_twenty_calls_with_srtp(
        self, served: TrunkCard, question: Study, sipp: tuple[str, ...], tmp_path: Path
    ) -> None:
        rows = [row.row for row in draw_plan(question).rows.values() if row.outcome is Outcome.ANSWERED][:20]
        (tmp_path / "numbers.csv").write_text("SEQUENTIAL\n" + "".join(f"{dialled_number(row)};\n" for row in rows))
        (tmp_path / "frames.alaw").write_bytes(speech(Side.CALLER, rows[0]))
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

    def test_the_carrier_takes_a_call_from_baresip(self, tmp_path: Path) -> None:
        plan = draw_plan(study(carrier={"media": "srtp"}, outcomes=OUTCOMES))
        answered, busy = row_with(plan, Outcome.ANSWERED), row_with(plan, Outcome.BUSY)

        async def run() -> None:
            authority = Authority(tmp_path / "certificates")
            carrier = Carrier(plan, authority, inner_port=1)
            port = await carrier.start()
            try:
                calls = partial(baresip_calls, where=f"{carrier.host}:{port}", ca_file=authority.ca_file)
                said = await asyncio.to_thread(calls, tmp_path / "answered", answered)
                said.assert_heard(answered)
                said = await asyncio.to_thread(calls, tmp_path / "busy", busy)
                assert "486 Busy Here" in said.words
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
                said = await asyncio.to_thread(
                    baresip_calls, tmp_path / "baresip", row, where=f"{CUSTOMER}:{port}", ca_file=authority.ca_file
                )
                said.assert_heard(row)
                assert customer.audio.heard.received == customer.audio.heard.authenticated
                assert customer.audio.heard.received >= 0.9 * PACKETS

        asyncio.run(run())
