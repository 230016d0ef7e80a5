"""A study's figures stand in the configuration, and what Asterisk cannot play is told all at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.loadgen.stacks.asterisk.conftest import CUSTOMER, POP, study

from trunkproof.loadgen.stacks.asterisk.find import Installation
from trunkproof.loadgen.stacks.asterisk.render import Instance, render, render_pbx
from trunkproof.loadgen.stacks.asterisk.unsupported import unsupported
from trunkproof.loadgen.stacks.endpoints import StackEndpoints
from trunkproof.loadgen.tls.certificates import CertificateFiles
from trunkproof.models.study import Study

FOLDER = Path("folder")
CERTIFICATE = CertificateFiles(FOLDER / "chain.pem", FOLDER / "key.pem")
INSTANCE = Instance(FOLDER / "asterisk", Installation(("asterisk",), Path("modules"), Path("data")), 4000)
ENDPOINTS = StackEndpoints(FOLDER, 22_443, 22_061, 22_062, CERTIFICATE, FOLDER / "ca.pem")


def files(question: Study) -> dict[str, str]:
    return render(question, ENDPOINTS, INSTANCE, 22_080)


def section(text: str, name: str) -> dict[str, list[str]]:
    """The settings of one section; a key may stand several times."""
    body = re.search(rf"^\[{re.escape(name)}\]\n(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    assert body is not None, name
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+) = (.*)$", body[1], re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def test_both_sides_listen_where_the_places_say() -> None:
    text = files(study())["pjsip.conf"]
    assert section(text, "edge")["bind"] == ["127.0.51.1:22443"]
    assert section(text, "inner")["bind"] == ["127.0.51.2:22061"]
    assert section(text, "edge")["cert_file"] == [str(CERTIFICATE.cert_chain_pem)]


def test_a_trunk_is_known_by_its_whitelist_or_else_by_its_customers_address() -> None:
    listed = study(trunk={"whitelist": ["127.0.50.0/28", "127.0.50.32/32"]})
    assert section(files(study())["pjsip.conf"], "trunk0-sources")["match"] == [CUSTOMER]
    assert section(files(listed)["pjsip.conf"], "trunk0-sources")["match"] == ["127.0.50.0/28", "127.0.50.32/32"]


def test_media_of_a_trunk_are_encrypted_and_the_carriers_as_the_study_says() -> None:
    trunk = {"codecs": ["PCMU", "PCMA"], "suites": ["AES_CM_128_HMAC_SHA1_32"]}
    text = files(study({"carrier": POP["carrier"] | {"media": "srtp"}}, trunk))["pjsip.conf"]
    for name in ("trunk0", "carrier0"):
        assert section(text, name)["media_encryption"] == ["sdes"]
        assert section(text, name)["srtp_tag_32"] == ["yes"]
        assert section(text, name)["allow"] == ["ulaw,alaw"]
    assert section(files(study())["pjsip.conf"], "carrier0")["media_encryption"] == ["no"]
    assert section(files(study())["pjsip.conf"], "trunk0")["media_encryption"] == ["sdes"]


@pytest.mark.parametrize(("legs", "address"), [(1, "127.0.51.2"), (2, "127.0.51.1")])
def test_the_carriers_leg_takes_its_ports_from_the_same_range_where_a_call_has_two(legs: int, address: str) -> None:
    rendered = files(study({"ports": {"low": 30_000, "high": 30_020, "legs": legs}}))
    assert section(rendered["pjsip.conf"], "carrier0")["media_address"] == [address]
    # 30000-30001 to 30018-30019: ten pairs, as in trunkproof.models.ports.
    assert section(rendered["rtp.conf"], "general")["rtpend"] == ["30019"]


@pytest.mark.parametrize(
    ("throttle", "lines"),
    [
        ({"policy": "fixed_window", "limit": 7, "window_s": 2.5}, ["/ 2500000)", "< 7]", "Hangup(42)"]),
        (
            {"policy": "token_bucket", "limit": 80, "window_s": 60, "burst": 3, "refusal_status": 480},
            ["<= 1500000]", "* 750000]", "Hangup(19)"],
        ),
    ],
)
def test_the_throttle_stands_before_the_calls_that_it_counts(throttle: dict[str, Any], lines: list[str]) -> None:
    both = files(study(trunk={"throttle": throttle}))["extensions.conf"]
    outbound = files(study(trunk={"throttle": throttle | {"counts": "outbound"}}))["extensions.conf"]
    for line in lines:
        assert (both.count(line), outbound.count(line)) == (2, 1) or line == "Hangup(19)"
    assert both.index("LOCK(throttle0)") < both.index("Dial(PJSIP/carrier0")
    assert "LOCK" not in files(study())["extensions.conf"]


def test_everything_that_is_written_lies_in_the_folder() -> None:
    text = files(study())["asterisk.conf"]
    for line in re.findall(r"^ast\w+dir => (.*)$", text, re.MULTILINE):
        assert line in {str(INSTANCE.folder), "modules", "data"}
    assert "maxfiles = 4000" in text


def test_the_pbx_is_the_operators_sample() -> None:
    question = study(trunk={"customer_port": 22_061})
    rendered = render_pbx(question, 0, INSTANCE, certificate=CERTIFICATE, ca_file=FOLDER / "ca.pem", phone_port=22_070)
    trunk = section(rendered["pjsip.conf"], "trunk")
    assert trunk["context"] == ["incoming"]
    assert trunk["allow"] == ["alaw,ulaw"]
    assert trunk["media_encryption"] == ["sdes"]
    assert section(rendered["pjsip.conf"], "trunk-sources")["match"] == ["127.0.51.1"]
    assert section(rendered["pjsip.conf"], "edge")["bind"] == [f"{CUSTOMER}:22061"]
    assert rf"@{CUSTOMER}:22070\;transport=tls" in rendered["extensions.conf"]
    assert section(rendered["http.conf"], "general") == {"enabled": ["no"]}


def test_tcp_and_plain_rtp_are_the_customers_side_only() -> None:
    rendered = files(study(trunk={"transport": "tcp", "media": "rtp"}))
    edge, inner = (section(rendered["pjsip.conf"], name) for name in ("edge", "inner"))
    assert (edge["protocol"], inner["protocol"]) == (["tcp"], ["tls"])
    assert "cert_file" not in edge
    assert section(rendered["pjsip.conf"], "trunk0")["media_encryption"] == ["no"]
    assert r"\;transport=tcp,," in rendered["extensions.conf"]


def test_a_study_that_asterisk_can_play_meets_no_objection() -> None:
    assert unsupported(study()) == []


def test_a_limit_that_trunks_share_is_told() -> None:
    shared = {"policy": "fixed_window", "limit": 5, "retry_after_s": None}
    named = {"shared": "line"}
    (problem,) = unsupported(study({"throttles": {"line": shared}}, {"throttle": named}))
    assert (problem.where, "shared as line" in problem.what) == ("trunks[0].throttle", True)
    assert unsupported(study({"throttles": {"line": shared | {"per": "trunk"}}}, {"throttle": named})) == []


def test_all_that_asterisk_cannot_play_is_told_at_once() -> None:
    question = study(
        {
            "inner_address": "127.0.51.1",
            "ports": {"low": 1000, "high": 2000, "quarantine_s": 1},
            "incidents": [{"kind": "edge_restart", "at_s": 1}],
            "carrier": {"address": CUSTOMER},
        },
        {"throttle": {"policy": "shaper", "refusal_status": 429}},
        outcomes={"rejected": [{"status": 404, "share": 0.1}, {"status": 504, "share": 0.1}]},
    )
    assert [problem.where for problem in unsupported(question)] == [
        "pop.incidents[0]",
        "pop.ports.quarantine_s",
        "pop.ports.low",
        "pop.ports.legs",
        "trunks[0].throttle.policy",
        "trunks[0].throttle.refusal_status",
        "trunks[0].throttle.retry_after_s",
        "trunks[0].traffic.outcomes.rejected[1].status",
        "trunks[0].customer_address",
    ]
