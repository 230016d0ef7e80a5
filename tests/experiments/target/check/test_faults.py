"""Planted faults: each is named by the right check, with the operator's remedy, and nothing else is blamed for it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.experiments.target.check import faulty_trunks as play
from tests.experiments.target.check.faulty_trunks import FaultyTrunk, TwoEdges

from trunkproof.experiments.target.check.findings import CheckName, CheckReport, State
from trunkproof.experiments.target.check.run import CheckOptions
from trunkproof.experiments.target.remedies import PathFault, Trouble, remedy_for
from trunkproof.loadgen.sip.offer_answer import SdpFault
from trunkproof.loadgen.system.loop import run_loop
from trunkproof.loadgen.tls.connection import ConnectFailure
from trunkproof.models.faults import AudioFault, CertificateFault

LIES = CheckOptions(hold_s=1.0, machine=False, wrong_exophone=True)
LONG = CheckOptions(hold_s=1.0, machine=False, long_s=2.0)

TRUNKS: dict[str, tuple[FaultyTrunk, CheckName, Trouble, str]] = {
    "expired certificate": (
        FaultyTrunk(101, ended_ago=timedelta(days=3)),
        CheckName.CERTIFICATE,
        CertificateFault.EXPIRED,
        "days ago",
    ),
    "wrong name": (
        FaultyTrunk(102, certified="other.example"),
        CheckName.CERTIFICATE,
        CertificateFault.WRONG_NAME,
        "other.example",
    ),
    "not whitelisted": (
        FaultyTrunk(103, play.refuses_everybody, options_status=403),
        CheckName.WHITELIST,
        PathFault.NOT_WHITELISTED,
        "Source not allowed",
    ),
    "wrong Exophone": (
        FaultyTrunk(104, play.knows_its_callers, caller="+918040009999", checked=LIES),
        CheckName.IDENTITY,
        PathFault.WRONG_EXOPHONE,
        "Caller is no Exophone",
    ),
    "wrong domain": (
        FaultyTrunk(105, play.knows_its_callers, domain="wrong.example"),
        CheckName.IDENTITY,
        PathFault.WRONG_DOMAIN,
        "admitted as +91********34@right.pstn.exotel.com",
    ),
    "wrong account": (
        FaultyTrunk(116, play.knows_its_numbers, account="wrong", checked=LIES),
        CheckName.IDENTITY,
        PathFault.WRONG_DOMAIN,
        "Domain not allowed",
    ),
    "one of the three": (
        FaultyTrunk(117, play.knows_its_callers, account="wrong", checked=LIES),
        CheckName.IDENTITY,
        PathFault.WRONG_IDENTITY,
        "Domain not allowed",
    ),
    "no G.711": (FaultyTrunk(106, play.has_no_g711), CheckName.SDP, PathFault.NO_G711, "G722"),
    "plain RTP": (FaultyTrunk(107, play.wants_plain_rtp), CheckName.SDP, PathFault.WANTS_PLAIN_RTP, "200"),
    "plain RTP in the answer": (
        FaultyTrunk(108, play.answers_in_plain_rtp),
        CheckName.SDP,
        SdpFault.PLAIN_RTP,
        "RTP/AVP",
    ),
    "one-way audio": (
        FaultyTrunk(109, play.hears_and_says_nothing),
        CheckName.AUDIO_IN,
        AudioFault.ONE_WAY,
        "RTCP packets came",
    ),
    "rewritten SDP": (
        FaultyTrunk(110, play.its_sdp_is_rewritten),
        CheckName.SDP_WAY,
        PathFault.SDP_CHANGED,
        "127.0.110.3",
    ),
    "ALG-like Via": (FaultyTrunk(111, play.its_via_is_rewritten), CheckName.VIA, PathFault.VIA_CHANGED, "192.0.2.7"),
    "dropped after 30 s": (
        FaultyTrunk(112, play.cuts_calls_off, checked=LONG),
        CheckName.STAYS_UP,
        PathFault.DROPPED_EARLY,
        "of 2 s",
    ),
    "no ACK": (FaultyTrunk(113, play.hears_no_ack), CheckName.ACK, PathFault.ACK_LOST, "1 times more"),
    "closed media ports": (
        FaultyTrunk(114, play.its_media_ports_are_closed),
        CheckName.AUDIO_IN,
        PathFault.MEDIA_CLOSED,
        "its host says that the port is closed",
    ),
    "private address": (
        FaultyTrunk(115, play.names_a_private_address),
        CheckName.MEDIA_ADDRESS,
        PathFault.PRIVATE_ADDRESS,
        "10.11.12.13",
    ),
}
HEALTHY = FaultyTrunk(100, checked=CheckOptions(hold_s=1.5, machine=False, long_s=2.0))
FOLLOWS = {
    # Audio that may go nowhere fails on its way too.
    "rewritten SDP": {CheckName.AUDIO_IN, CheckName.AUDIO_OUT},
    "private address": {CheckName.AUDIO_OUT},
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CheckReport]:
    """All check-ups, at the same time: they mostly wait."""
    folder = tmp_path_factory.mktemp("faulty")
    trunks = {name: trunk for name, (trunk, *_) in TRUNKS.items()}
    trunks |= {"healthy": HEALTHY, "two edges": TwoEdges(118)}

    async def check_all() -> list[CheckReport]:
        return await asyncio.gather(*(trunk.check(folder) for trunk in trunks.values()))

    return dict(zip(trunks, run_loop(check_all()), strict=True))


@pytest.mark.parametrize("fault", TRUNKS)
def test_a_planted_fault_is_named_with_its_remedy(fault: str, reports: dict[str, CheckReport]) -> None:
    _, name, trouble, says = TRUNKS[fault]
    broken = {check.name: check for check in reports[fault].broken}
    assert name in broken, [f"{check.name}: {check.state}: {check.seen}" for check in reports[fault].checks]
    check = broken[name]
    assert check.troubles[0] is trouble
    assert check.remedy == remedy_for(trouble) is not None
    assert says in check.seen


@pytest.mark.parametrize("fault", TRUNKS)
def test_nothing_else_is_blamed(fault: str, reports: dict[str, CheckReport]) -> None:
    _, name, *_ = TRUNKS[fault]
    also = {CheckName.CALL, *FOLLOWS.get(fault, set())}
    blamed = {check.name for check in reports[fault].broken} - {name} - also
    assert not blamed, [f"{check.name}: {check.seen}" for check in reports[fault].broken]


def test_all_holds_of_a_healthy_trunk(reports: dict[str, CheckReport]) -> None:
    report = reports["healthy"]
    assert not report.broken, [f"{check.name}: {check.seen}" for check in report.broken]
    # The trunk of these tests gives no CallSid, and nothing else is odd about it.
    remarks = {check.name for check in report.checks if check.state is State.REMARK}
    assert remarks <= {CheckName.IDENTIFIERS, CheckName.RESUMPTION}
    held = {check.name for check in report.checks if check.state is State.HOLDS}
    assert held >= {
        *(CheckName.TCP, CheckName.TLS, CheckName.CERTIFICATE, CheckName.OPTIONS, CheckName.CALL, CheckName.SDP),
        *(CheckName.AUDIO_IN, CheckName.NETWORK, CheckName.ACK, CheckName.WHITELIST, CheckName.IDENTITY),
        *(CheckName.HOLD, CheckName.REFRESH, CheckName.CANCEL, CheckName.STAYS_UP, CheckName.VIA, CheckName.NAT),
    }


def test_what_depends_on_a_failed_step_is_not_tried(reports: dict[str, CheckReport]) -> None:
    report = reports["expired certificate"]
    after = {check.name: check.state for check in report.checks}
    # TCP was connected: there is a trunk.
    assert report.is_reached
    assert after[CheckName.OPTIONS] is after[CheckName.CALL] is State.NOT_TRIED


def test_every_edge_of_the_study_is_checked(reports: dict[str, CheckReport]) -> None:
    """One is away, one is not allowed, and the calls go over the one that is there."""
    report = reports["two edges"]
    assert [(check.name, check.troubles) for check in report.broken] == [(CheckName.TCP, (ConnectFailure.REFUSED,))]
    assert report.broken[0].subject == "edge 127.0.118.1:5999"
    skipped = next(check for check in report.checks if check.subject == "edge 192.0.2.1:443")
    assert skipped.state is State.NOT_TRIED
    assert "allow list" in skipped.seen
    assert report.is_reached
    assert next(check for check in report.checks if check.name is CheckName.CALL).state is State.HOLDS


def test_numbers_are_masked_in_the_result(reports: dict[str, CheckReport]) -> None:
    told = str([report.to_json() for report in reports.values()])
    assert "8040001234" not in told
    assert "8040009999" not in told
