"""Real calls over TCP and TLS, with RTP and SRTP, through our own trunk and through an outbound proxy."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from trunkproof.loadgen.media.pump import VARIABLE
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.run import RunResult, drive, reach
from trunkproof.loadgen.stacks.process import running_trunk
from trunkproof.loadgen.system.ports import free_port
from trunkproof.loadgen.system.programs import Program, Programs
from trunkproof.models.errors import GuardError, InputError
from trunkproof.models.plan import draw_plan
from trunkproof.models.records import ConnectionKind
from trunkproof.models.study import Study
from trunkproof.simulator.run import simulate

PROXY = "127.0.0.46"


def study(**trunk: Any) -> Study:
    traffic = {
        "arrivals": {"kind": "constant", "rate_per_minute": 600},
        "holding": 0.7,
        "ringing": 0.1,
        "inbound_share": 0.5,
    }
    base = {"customer_address": "127.0.0.45", "customer_port": 5475, "traffic": traffic | trunk.pop("traffic", {})}
    pop = {"carrier": {"setup": 0.02}}
    return Study.model_validate({"name": "t", "duration_s": 0.9, "pop": pop, "trunks": [base | trunk]})


def real(question: Study, folder: Path) -> tuple[RunResult, list[str]]:
    """Place the calls. Return the result, and what was sent and received."""
    told: list[str] = []

    def trace(_: str, data: bytes) -> None:
        told.append(data.decode())

    async def run() -> RunResult:
        async with running_trunk(question, folder) as card:
            assert card.transport == question.transport
            return await drive(draw_plan(question), card, RunOptions(trace=trace))

    return asyncio.run(run()), told


@pytest.mark.parametrize(
    ("transport", "media", "pump"),
    [("tcp", "rtp", "compiled"), ("tcp", "rtp", "plain"), ("tcp", "srtp", "plain"), ("tls", "rtp", "plain")],
)
def test_each_transport_carries_each_media_in_both_directions(
    transport: str, media: str, pump: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, pump)
    question = study(transport=transport, media=media)
    result, told = real(question, tmp_path)
    records = result.records
    assert set(records["disposition"]) == {"completed"}, records["reason"].to_list()
    assert records["direction"].n_unique() == 2
    # The voiceprint tells whose audio it was, also where nothing is authenticated.
    assert (records["rtp_received"] > 20).all()
    assert set(records["rtp_foreign"]) == {0}
    is_plain = media == "rtp"
    assert (records["rtp_authenticated"] == 0).all() == is_plain
    assert (result.heard.plain > 0, result.heard.received > 0) == (is_plain, not is_plain)
    invites = [text for text in told if text.startswith("INVITE ")]
    bodies = [text for text in told if "m=audio" in text]
    assert all(f"SIP/2.0/{transport.upper()} " in text and f";transport={transport}>" in text for text in invites)
    assert all(("RTP/AVP" in text, "a=crypto" in text) == (is_plain, not is_plain) for text in bodies)
    opened = records.filter(pl.col("connection") != "reused")["connection"].unique().to_list()
    assert opened == [ConnectionKind.TCP if transport == "tcp" else ConnectionKind.FULL]
    # The prediction has the same columns, and knows the difference.
    predicted = simulate(question)
    assert predicted.filter(pl.col("direction") == "outbound")["connection"].to_list()[0] == opened[0]
    assert (predicted["rtp_authenticated"] == 0).all() == is_plain


def test_trunks_of_one_pop_have_one_transport() -> None:
    trunks = [study(name="a").trunks[0], study(name="b", customer_address="127.0.0.47", transport="tcp").trunks[0]]
    written = {"name": "t", "duration_s": 1, "trunks": [trunk.model_dump(mode="json") for trunk in trunks]}
    with pytest.raises(ValueError, match="different transports"):
        Study.model_validate(written)


_PROXY = """
listen=tcp:{proxy}:{port}
log_stderror=yes
children=1
tcp_children=1
tcp_source_ipv4={proxy}
{modules}
request_route {{
    if (is_method("CANCEL")) {{ if (t_check_trans()) {{ t_relay(); }} exit; }}
    if (!has_totag()) {{
        # The Route that brought the request here names this proxy, and is taken off (RFC 3261 section 16.4).
        if (!is_present_hf("Route")) {{ sl_send_reply("403", "No Route"); exit; }}
        loose_route();
        record_route();
        $du = "sip:{trunk};transport=tcp";
    }} else if (!loose_route()) {{ exit; }}
    t_relay();
}}
"""


@pytest.mark.requires("kamailio")
def test_rfc3261_8_1_2_calls_go_through_an_outbound_proxy_to_an_unchanged_request_uri(tmp_path: Path) -> None:
    port, sent = free_port(PROXY), list[str]()

    def trace(direction: str, data: bytes) -> None:
        if direction == "sent":
            sent.append(data.decode())

    # The trunk sees the proxy's address.
    changes = {"transport": "tcp", "outbound_proxy": f"{PROXY}:{port}", "whitelist": [f"{PROXY}/32"]}
    question = study(**changes, traffic={"inbound_share": 0.0})

    async def run() -> tuple[RunResult, str]:
        programs = Programs()
        async with running_trunk(question, tmp_path) as card:
            modules = "".join(f'loadmodule "{name}.so"\n' for name in ("sl", "tm", "rr", "pv", "siputils", "textops"))
            text = _PROXY.format(proxy=PROXY, port=port, modules=modules, trunk=card.place)
            (tmp_path / "proxy.cfg").write_text(text, encoding="utf-8")
            try:
                await programs.start(_kamailio(tmp_path, port))
                await reach(draw_plan(question), card)
                return await drive(draw_plan(question), card, RunOptions(trace=trace)), card.place
            finally:
                await programs.close()

    result, trunk = asyncio.run(run())
    assert set(result.records["disposition"]) == {"completed"}, result.records["reason"].to_list()
    invites = [text for text in sent if text.startswith("INVITE ")]
    assert invites
    for invite in invites:
        assert f"@{trunk} SIP/2.0\r\n" in invite
        assert f"Route: <sip:{PROXY}:{port};transport=tcp;lr>\r\n" in invite
    # In the dialog the proxy's own Record-Route counts.
    assert all(f"Route: <sip:{PROXY}:{port};" in text for text in sent if text.startswith(("ACK ", "BYE ")))


def _kamailio(folder: Path, port: int) -> Program:
    found = shutil.which("kamailio") or shutil.which("kamailio", path="/usr/sbin")
    assert found is not None
    command = (found, "-f", str(folder / "proxy.cfg"), "-DD", "-E", "-P", str(folder / "proxy.pid"), "-Y", str(folder))

    async def answers() -> bool:
        try:
            _, writer = await asyncio.open_connection(PROXY, port)
        except OSError:
            return False
        writer.close()
        return True

    return Program("proxy", command, folder / "proxy.log", answers)


def test_a_proxy_outside_this_machine_needs_the_guards_leave(tmp_path: Path) -> None:
    question = study(transport="tcp", outbound_proxy="192.0.2.9:5060")

    async def run() -> None:
        async with running_trunk(question, tmp_path) as card:
            await reach(draw_plan(question), card)

    with pytest.raises((GuardError, InputError), match=r"192\.0\.2\.9"):
        asyncio.run(run())
